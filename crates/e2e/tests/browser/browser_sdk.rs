//! ali-oss as it is built for browsers, in a page of another origin than the local OSS.
//!
//! At an IP address it names its bucket neither in the host nor in the path.

use std::path::Path;

use axum::{
    Json, Router,
    response::Html,
    routing::{get, post},
};
use oss_callback_local::LocalOss;
use serde_json::{Value, json};

use super::{driver::Browser, turn};

const UPLOADS: &str = r#"
    const [endpoint, isV4, url] = arguments;
    const client = new OSS({ endpoint, bucket: "photos", region: "oss-cn-hangzhou", secure: false,
        accessKeyId: "local-oss-access-key-id", accessKeySecret: "local-oss-access-key-secret",
        stsToken: "a+token/==", authorizationV4: isV4 });
    const callback = { url, body: "o=${object}&s=${size}&u=${x:uid}", customValue: { uid: "用户 42" },
        contentType: "application/x-www-form-urlencoded" };
    const key = "dir/示例 a+b.bin";
    const large = new File([new Uint8Array(250_000)], "large.bin");
    return (async () => {
        const put = await client.put(key, new Blob(["hello"]), { callback });
        const parts = await client.multipartUpload(key, large, { partSize: 102_400, callback });
        const head = await client.head(key);
        const failed = await client.put(key, new Blob(["x"]), { callback: { ...callback, url: url + "/none" } })
            .catch((error) => error.code);
        return [put.data, parts.data, head.res.headers["content-length"], head.res.headers.etag, failed];
    })()"#;

/// A page, and what its uploads call back.
async fn app(oss: &LocalOss) -> String {
    let answer = post(async |body: String| Json(json!({ "seen": body })));
    let router = Router::new()
        .route(
            "/",
            get(async || Html("<!doctype html><title>Uploads</title>")),
        )
        .route("/cb", answer.layer(oss.layer()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_uploads_with_an_sdk_and_reads_the_applications_answer() {
    let Some(_turn) = turn().await else {
        return;
    };
    let sdk = "../../target/e2e/node/node_modules/ali-oss/dist/aliyun-oss-sdk.min.js";
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join(sdk);
    let Ok(sdk) = std::fs::read_to_string(&sdk) else {
        let message = format!(
            "{} is missing: crates/e2e/clients/install.sh installs it",
            sdk.display()
        );
        let is_required = std::env::var_os("OSS_CALLBACK_REQUIRE_SDKS").is_some();
        assert!(!is_required, "{message}");
        eprintln!("SKIPPED: {message}");
        return;
    };
    let oss = LocalOss::builder().bucket("photos").start().await.unwrap();
    let app = app(&oss).await;
    let browser = Browser::start("en").await;
    browser.open(&app).await;
    browser.run(&sdk, json!([])).await;
    let seen = |size: usize| {
        let body =
            format!("o=dir%2F%E7%A4%BA%E4%BE%8B%20a%2Bb.bin&s={size}&u=%E7%94%A8%E6%88%B7%2042");
        json!({ "seen": body })
    };
    let named = oss.endpoint().replace("127.0.0.1", "localhost");
    for (endpoint, is_v4) in [
        (oss.endpoint(), false),
        (oss.endpoint(), true),
        (named.clone(), false),
        (named, true),
    ] {
        let callback = format!("{app}/cb");
        let got = browser
            .run(UPLOADS, json!([endpoint, is_v4, callback]))
            .await;
        let Value::Array(got) = got else {
            panic!("{endpoint} {is_v4}: {got}");
        };
        assert_eq!(
            got[..3],
            [seen(5), seen(250_000), json!("250000")],
            "{endpoint} {is_v4}"
        );
        assert!(got[3].as_str().unwrap().ends_with("-3\""), "{}", got[3]);
        assert_eq!(got[4], "CallbackFailed", "{endpoint} {is_v4}");
    }
}
