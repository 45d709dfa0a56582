//! The bucket guard: uploads to the application's own buckets.

use crate::support::guards::{form, layer, refusal};
use oss_callback::{BucketGuard, ConfigError, RejectionKind, VarNames, test_util::CallbackSigner};

const MISMATCH: Option<RejectionKind> = Some(RejectionKind::BucketMismatch);

async fn refused(body: &str) -> Option<RejectionKind> {
    refusal(layer().guard(BucketGuard::new(["a", "b"])), form(body)).await
}

#[tokio::test]
async fn the_buckets_of_the_list_are_accepted_and_no_other() {
    assert_eq!(refused("bucket=a").await, None);
    assert_eq!(refused("bucket=b&object=c").await, None);
    for other in ["bucket=c", "bucket=A", "bucket=a%20", "bucket=ab"] {
        assert_eq!(refused(other).await, MISMATCH, "{other}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_name_its_bucket_is_refused() {
    for body in [
        "",
        "object=a",
        "bucket=",
        "bucket",
        "Bucket=a",
        "x:bucket=a",
    ] {
        assert_eq!(refused(body).await, MISMATCH, "{body}");
    }
}

#[tokio::test]
async fn two_buckets_are_none() {
    let refused = refused("bucket=a&bucket=a").await;
    assert_eq!(refused, Some(RejectionKind::InvalidVariables));
}

#[tokio::test]
async fn the_header_does_not_count() {
    let mut request = form("object=o");
    let headers = request.headers_mut();
    headers.insert("x-oss-bucket", "a".parse().unwrap());
    let guarded = layer().guard(BucketGuard::new(["a"]));
    assert_eq!(refusal(guarded, request).await, MISMATCH);
}

#[tokio::test]
async fn in_json_a_bucket_is_text() {
    let guarded = || layer().guard(BucketGuard::new(["1", "true", r#"["a"]"#, "a"]));
    let json = |body: &'static str| CallbackSigner::new().json("/cb", body);
    assert_eq!(refusal(guarded(), json(r#"{"bucket":"a"}"#)).await, None);
    for body in [
        r#"{"bucket":1}"#,
        r#"{"bucket":true}"#,
        r#"{"bucket":["a"]}"#,
        r#"{"bucket":null}"#,
        r#"{"bucket":}"#,
    ] {
        assert_eq!(refusal(guarded(), json(body)).await, MISMATCH, "{body}");
    }
}

#[tokio::test]
async fn exactly_the_configured_name_counts() {
    let renamed = || {
        layer()
            .var_names(VarNames::new().bucket("store"))
            .guard(BucketGuard::new(["a"]))
    };
    assert_eq!(refusal(renamed(), form("store=a&bucket=c")).await, None);
    assert_eq!(refusal(renamed(), form("store=c&bucket=a")).await, MISMATCH);
    assert_eq!(refusal(renamed(), form("bucket=a")).await, MISMATCH);
}

#[test]
fn names_are_not_empty_and_differ() {
    let build = |names| layer().var_names(names).build();
    let default = VarNames::new();
    assert!(build(default.clone().object("filename").ticket("x:ticket")).is_ok());
    assert_eq!(
        build(default.clone().size("")).unwrap_err(),
        ConfigError::VarNames("size"),
    );
    assert_eq!(
        build(default.clone().ticket("object")).unwrap_err(),
        ConfigError::VarNames("ticket"),
    );
    let swapped = default.bucket("object").object("bucket");
    assert!(build(swapped).is_ok());
}
