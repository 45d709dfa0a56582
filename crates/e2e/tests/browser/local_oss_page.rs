//! The page of the local OSS at `/_oss/`.

use axum::{Json, Router, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback_local::LocalOss;
use serde_json::{Value, json};

use super::{ENTER, TAB, driver::Browser, turn};

/// An application that is called back, and its URL.
async fn app(oss: &LocalOss) -> String {
    let answer = post(async || Json(json!({ "seen": true })));
    let router = Router::new().route("/cb", answer.layer(oss.layer()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/cb", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

async fn upload(oss: &LocalOss, key: &str, url: &str) {
    let callback = json!({ "callbackUrl": url, "callbackBody": "o=${object}" });
    let uploaded = reqwest::Client::builder()
        .no_proxy()
        .build()
        .unwrap()
        .put(format!("{}/bucket-1/{key}", oss.endpoint()))
        .header(
            "x-oss-callback",
            BASE64_STANDARD.encode(callback.to_string()),
        )
        .body("hello")
        .send()
        .await
        .unwrap();
    assert_eq!(uploaded.status(), 200, "{key}");
}

async fn count_is(browser: &Browser, callbacks: usize) {
    let script = "return document.querySelectorAll('#callbacks > li').length === arguments[0]";
    browser.wait_for(script, json!([callbacks])).await;
}

async fn eval(browser: &Browser, script: &str) -> Value {
    browser.run(script, json!([])).await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_callback_by_keyboard_is_not_disturbed_by_the_next_one() {
    let Some(_turn) = turn().await else {
        return;
    };
    let oss = LocalOss::builder().open().start().await.unwrap();
    let url = app(&oss).await;
    let browser = Browser::start("en").await;
    browser.resize(390, 844, true).await;
    browser.open(&format!("{}/_oss/", oss.endpoint())).await;
    upload(&oss, "first<img>.txt", &url).await;
    count_is(&browser, 1).await;

    // Past the button that forgets everything, to the callback, which Enter opens.
    browser.press(TAB).await;
    browser.press(TAB).await;
    browser.press(ENTER).await;
    let opened = "const open = document.querySelector('#callbacks details[open]');
        return open && document.activeElement.parentElement === open && open.innerText";
    let text = browser.wait_for(opened, json!([])).await;
    let text = text.as_str().unwrap();
    for part in [
        "first<img>.txt",
        "o=first%3Cimg%3E.txt",
        "Authorization: ",
        "{\"seen\":true}",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }

    upload(&oss, "second.txt", &url).await;
    count_is(&browser, 2).await;
    let still = eval(&browser, opened).await;
    assert_eq!(still.as_str(), Some(text));

    // Replayed by keyboard: the newest is first, and says so.
    browser.press(TAB).await;
    browser.press(ENTER).await;
    count_is(&browser, 3).await;
    let newest = "return document.querySelector('#callbacks summary').innerText";
    let newest = eval(&browser, newest).await;
    assert!(
        newest.as_str().unwrap().contains("(replay of 1)"),
        "{newest}"
    );
    assert_eq!(oss.callbacks().len(), 3);

    let is_narrow = "return document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(eval(&browser, is_narrow).await, true);
    let violations = browser.violations().await;
    assert!(violations.is_empty(), "{}", violations.join("\n"));
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
