//! Who trusts the key of a local OSS, and what the others are told.

use std::error::Error;

use axum::http::{HeaderMap, HeaderValue};
use oss_callback::{KeyStore, RejectionKind};
use oss_callback_local::LocalOss;

use crate::support::base64;

/// The headers of a callback that name the key of this server.
fn naming(oss: &LocalOss) -> HeaderMap {
    let url = HeaderValue::from_str(&base64(oss.key().url())).unwrap();
    HeaderMap::from_iter([("x-oss-pub-key-url".parse().unwrap(), url)])
}

#[tokio::test]
async fn an_application_that_does_not_trust_it_learns_which_line_is_missing() {
    let oss = LocalOss::builder().start().await.unwrap();
    oss.key_store().resolve(&naming(&oss)).await.unwrap();

    let refused = KeyStore::default()
        .resolve(&naming(&oss))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), &RejectionKind::KeyUrlNotAllowed);
    let cause = refused.source().unwrap().to_string();
    for line in ["pin_key", "LocalOss::layer()", "--key-pem"] {
        assert!(cause.contains(line), "{cause}");
    }
}

#[tokio::test]
async fn the_key_of_another_start_is_another_key() {
    let former = LocalOss::builder().start().await.unwrap();
    let oss = LocalOss::builder().start().await.unwrap();
    let refused = former.key_store().resolve(&naming(&oss)).await.unwrap_err();
    assert_eq!(refused.kind(), &RejectionKind::KeyUrlNotAllowed);
    assert!(
        refused
            .source()
            .unwrap()
            .to_string()
            .contains("earlier start")
    );
}
