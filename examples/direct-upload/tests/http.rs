//! The server over real HTTP, with a client in place of the page.

#![allow(clippy::unwrap_used)]

use std::{process::Command, time::Duration};

use example_direct_upload::{Config, Server};
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_SECURITY_POLICY, COOKIE, SET_COOKIE},
    multipart::{Form, Part},
};
use serde_json::{Value, json};

/// A browser with a session of its own.
struct Browser {
    client: Client,
    url: String,
    cookie: String,
}

async fn server() -> Server {
    Server::start(Config::local("127.0.0.1:0".parse().unwrap()))
        .await
        .unwrap()
}

impl Browser {
    async fn open(server: &Server) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        let url = server.url();
        let page = client.get(&url).send().await.unwrap();
        let cookie = page.headers()[SET_COOKIE].to_str().unwrap();
        Self {
            client,
            cookie: cookie.split(';').next().unwrap().to_owned(),
            url,
        }
    }

    async fn post(&self, path: &str, body: Value) -> Response {
        let request = self.client.post(format!("{}{path}", self.url));
        let request = request.header(COOKIE, &self.cookie).json(&body);
        request.send().await.unwrap()
    }

    async fn authorize(&self, name: &str, content_type: &str, size: usize) -> Value {
        let wanted = json!({ "name": name, "type": content_type, "size": size });
        let response = self.post("uploads", wanted).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// As the page does: the fields in their order, the file last.
    async fn upload(&self, granted: &Value, content: &[u8]) -> Response {
        let authorization = &granted["authorization"];
        let fields = authorization["fields"].as_object().unwrap();
        let form = fields.iter().fold(Form::new(), |form, (name, value)| {
            form.text(name.clone(), value.as_str().unwrap().to_owned())
        });
        let form = form.part("file", Part::bytes(content.to_vec()).file_name("a.png"));
        let url = authorization["url"].as_str().unwrap();
        self.client.post(url).multipart(form).send().await.unwrap()
    }

    async fn ask(&self, granted: &Value) -> Response {
        let upload = granted["upload"].as_str().unwrap();
        self.post(&format!("uploads/{upload}/ask"), json!({})).await
    }

    async fn fail_next(&self, fault: &str) {
        let response = self.post("faults", json!({ "fault": fault })).await;
        assert_eq!(response.status(), 204, "{fault}");
    }

    async fn listen(&self, last_seen: Option<&str>) -> Listener {
        let mut request = self.client.get(format!("{}events", self.url));
        if let Some(id) = last_seen {
            request = request.header("last-event-id", id);
        }
        let response = request.header(COOKIE, &self.cookie).send().await.unwrap();
        assert_eq!(response.status(), 200);
        Listener {
            response,
            text: String::new(),
        }
    }
}

/// Reads server-sent events.
struct Listener {
    response: Response,
    text: String,
}

impl Listener {
    /// The next event with data: its id, and the data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned())
                };
                let found = (line("id:"), line("data:"));
                self.text = rest.to_owned();
                if let (Some(id), Some(data)) = found {
                    return (id, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(60), self.response.chunk());
            let chunk = chunk.await.expect("an event").unwrap().unwrap();
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn of_kind(&mut self, kind: &str) -> Value {
        loop {
            let (_, event) = self.next().await;
            if event["kind"] == kind {
                return event;
            }
        }
    }
}

/// The head of an image of 640 × 480.
fn png() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02\0\0\0".to_vec();
    png.resize(4096, 0);
    png
}

#[tokio::test]
async fn an_authorized_upload_is_answered_and_its_user_sees_the_typed_callback() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    let mut events = browser.listen(None).await;
    let granted = browser.authorize("cat.png", "image/png", 4096).await;
    let answer = browser.upload(&granted, &png()).await;
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["recorded"], granted["object"]);
    assert_eq!(answer["size"], 4096);

    let verified = events.of_kind("verified").await;
    assert_eq!(verified["upload"], granted["upload"]);
    let fields = verified["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!(field("size")["type"], "u64");
    assert_eq!(field("size")["value"], "4096");
    assert_eq!(field("width")["value"], "Some(640)");
    assert_eq!(field("format")["type"], "Option<String>");
}

#[tokio::test]
async fn a_page_that_reconnects_gets_what_it_missed_and_nothing_of_others() {
    let server = server().await;
    let (zoe, max) = (Browser::open(&server).await, Browser::open(&server).await);
    let mut events = zoe.listen(None).await;
    let first = zoe.authorize("1.png", "image/png", 4096).await;
    zoe.upload(&first, &png()).await;
    let (seen, event) = events.next().await;
    assert_eq!(event["kind"], "stored");
    drop(events);
    let others = max.authorize("2.png", "image/png", 4096).await;
    max.upload(&others, &png()).await;

    let mut events = zoe.listen(Some(&seen)).await;
    assert_eq!(events.next().await.1["kind"], "verified");
    let second = zoe.authorize("3.png", "image/png", 4096).await;
    zoe.upload(&second, &png()).await;
    assert_eq!(events.next().await.1["upload"], second["upload"]);
}

#[tokio::test]
async fn the_page_has_a_strict_policy_and_no_secret() {
    let server = server().await;
    let client = Client::builder().no_proxy().build().unwrap();
    let page = client.get(server.url()).send().await.unwrap();
    let policy = page.headers()[CONTENT_SECURITY_POLICY]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
    assert!(!policy.contains("unsafe-inline"));
    let cookie = page.headers()[SET_COOKIE].to_str().unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"));

    let secret = &server.local_oss().unwrap().credentials().access_key_secret;
    let browser = Browser::open(&server).await;
    let granted = browser.authorize("a.png", "image/png", 1).await;
    let config = client
        .get(format!("{}config", server.url()))
        .send()
        .await
        .unwrap();
    for text in [
        page.text().await.unwrap(),
        config.text().await.unwrap(),
        granted.to_string(),
    ] {
        assert!(!text.contains(secret.as_str()));
        assert!(!text.contains(browser.cookie.split('=').nth(1).unwrap()));
    }
}

#[tokio::test]
async fn nothing_is_authorized_without_a_session_or_beyond_the_limit() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    let wanted = json!({ "name": "a", "type": "", "size": 1 });
    let request = browser.client.post(format!("{}uploads", browser.url));
    let stranger = request.json(&wanted).send().await.unwrap();
    assert_eq!(stranger.status(), 401);
    let wanted = json!({ "name": "a", "type": "", "size": (100 << 20) + 1 });
    assert_eq!(browser.post("uploads", wanted).await.status(), 413);
    let unknown = browser.post("faults", json!({ "fault": "delay=9h" })).await;
    assert_eq!(unknown.status(), 404);

    // OSS holds the upload to the policy.
    let granted = browser.authorize("a.bin", "", 1).await;
    let mut altered = granted.clone();
    altered["authorization"]["fields"]["key"] = "uploads/other.bin".into();
    assert_eq!(browser.upload(&altered, b"x").await.status(), 403);
}

#[tokio::test]
async fn each_attack_is_refused_with_its_reason() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    for attack in ["tampered-body", "replay"] {
        let response = browser.post(&format!("attacks/{attack}"), json!({})).await;
        assert_eq!(
            response.status(),
            StatusCode::CONFLICT,
            "there is no callback yet"
        );
    }
    let granted = browser.authorize("cat.png", "image/png", 4096).await;
    assert_eq!(browser.upload(&granted, &png()).await.status(), 200);

    for (attack, expected) in [
        (
            "tampered-body",
            &[(403, "InvalidSignature", "the body changed on the way")][..],
        ),
        ("replay", &[(409, "Replayed", "processed before")]),
        ("foreign-ticket", &[(403, "TicketMismatch", "object")]),
        (
            "other-object",
            &[(403, "AccessDenied", ""), (403, "TicketMismatch", "object")],
        ),
        ("forged-key-url", &[(403, "KeyUrlNotAllowed", "key URL")]),
        ("forged-body", &[(403, "ObjectMismatch", "no such object")]),
    ] {
        let response = browser.post(&format!("attacks/{attack}"), json!({})).await;
        let answer = response.text().await.unwrap();
        let attempts: Vec<Value> = serde_json::from_str(&answer).expect(&answer);
        assert_eq!(attempts.len(), expected.len(), "{attack}");
        for (attempt, (status, code, reason)) in attempts.iter().zip(expected) {
            assert_eq!(attempt["status"], *status, "{attempt}");
            assert!(
                attempt["body"].as_str().unwrap().contains(code),
                "{attempt}"
            );
            let logged = attempt["reason"].as_str().unwrap_or_default();
            assert!(logged.contains(reason), "{attempt}");
            assert_eq!(logged.is_empty(), reason.is_empty(), "{attempt}");
            assert!(
                !logged.contains("pin_key"),
                "no advice for Mallory: {logged}"
            );
            assert!(
                !attempt["sent"].as_str().unwrap().contains("eyJ"),
                "{attempt}"
            );
        }
    }
    assert_eq!(
        browser.post("attacks/unknown", json!({})).await.status(),
        400
    );
}

#[tokio::test]
async fn an_attack_on_a_recorded_upload_is_told_once_and_takes_nothing_back() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    let granted = browser.authorize("cat.png", "image/png", 4096).await;
    assert_eq!(browser.upload(&granted, &png()).await.status(), 200);
    for attack in ["tampered-body", "replay", "replay"] {
        browser.post(&format!("attacks/{attack}"), json!({})).await;
    }
    let mut events = browser.listen(None).await;
    for _ in 0..2 {
        let refused = events.of_kind("refused").await;
        assert_eq!(refused["code"], "Replayed");
        assert_eq!(refused["upload"], granted["upload"]);
    }
    let asked: Value = browser.ask(&granted).await.json().await.unwrap();
    assert_eq!(asked["record"]["by"], "callback");
}

/// Only what needs no network: an authorization is signed here.
#[tokio::test]
async fn with_the_real_service_uploads_go_there_and_nothing_local_is_offered() {
    let config = Config::from_vars(|name| {
        let value = match name {
            "LISTEN" => "127.0.0.1:0",
            "OSS_BUCKET" => "photos",
            "OSS_REGION" => "cn-hangzhou",
            "OSS_ACCESS_KEY_ID" => "an-id",
            "OSS_ACCESS_KEY_SECRET" => "a-secret",
            "PUBLIC_URL" => "https://app.example/",
            _ => return None,
        };
        Some(value.to_owned())
    });
    let server = Server::start(config.unwrap()).await.unwrap();
    assert_eq!(server.callback_url(), "https://app.example/oss/callback");
    let browser = Browser::open(&server).await;
    let granted = browser.authorize("a.png", "image/png", 1).await;
    let bucket = "https://photos.oss-cn-hangzhou.aliyuncs.com/";
    assert_eq!(granted["authorization"]["url"], bucket);
    assert!(!granted.to_string().contains("a-secret"));
    let page = browser.client.get(&browser.url).send().await.unwrap();
    let policy = page.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.contains("connect-src 'self' https://photos.oss-cn-hangzhou.aliyuncs.com;"));
    let faults = browser.post("faults", json!({ "fault": "drop" })).await;
    assert_eq!(faults.status(), 404);
    assert_eq!(
        browser.post("attacks/replay", json!({})).await.status(),
        404
    );
    // A stranger's callback, signed by nobody.
    let callback = browser.client.post(format!("{}oss/callback", browser.url));
    let refused = callback.body("size=1").send().await.unwrap();
    assert_eq!(refused.status(), 400);
    let answer: Value = refused.json().await.unwrap();
    assert_eq!(answer["code"], "MissingHeader");
}

/// What each fault comes to: the status of the upload, the code of the refusal if the server refused, and
/// who recorded it when OSS is asked.
#[tokio::test]
async fn a_fault_ends_as_the_page_says_and_asking_settles_it_once() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    let mut events = browser.listen(None).await;
    for (fault, status, code, by) in [
        ("drop", 203, None, "asking"),
        ("duplicate", 200, Some("Replayed"), "callback"),
        ("corrupt-signature", 203, Some("InvalidSignature"), "asking"),
        ("wrong-key", 203, Some("InvalidSignature"), "asking"),
        ("stale-request-id=2h", 203, Some("Stale"), "asking"),
        ("alter-body", 203, Some("InvalidSignature"), "asking"),
        ("lose-answer", 203, None, "callback"),
    ] {
        browser.fail_next(fault).await;
        let granted = browser.authorize("cat.png", "image/png", 4096).await;
        assert_eq!(
            browser.upload(&granted, &png()).await.status(),
            status,
            "{fault}"
        );
        if let Some(code) = code {
            let refused = events.of_kind("refused").await;
            assert_eq!(refused["code"], code, "{fault}");
            assert_eq!(refused["upload"], granted["upload"], "{fault}");
            assert!(!refused["reason"].as_str().unwrap().is_empty());
        }
        for _ in 0..2 {
            let asked: Value = browser.ask(&granted).await.json().await.unwrap();
            assert_eq!(asked["outcome"], "recorded", "{fault}");
            assert_eq!(asked["record"]["by"], by, "{fault}");
            assert_eq!(asked["record"]["size"], 4096);
        }
    }
}

#[tokio::test]
async fn only_its_user_can_ask_about_an_upload_and_what_is_not_there_is_not_recorded() {
    let server = server().await;
    let (zoe, max) = (Browser::open(&server).await, Browser::open(&server).await);
    let granted = zoe.authorize("cat.png", "image/png", 4096).await;
    assert_eq!(max.ask(&granted).await.status(), 404);
    let asked: Value = zoe.ask(&granted).await.json().await.unwrap();
    assert_eq!(asked, json!({ "outcome": "absent" }));
}

#[tokio::test]
async fn sessions_that_were_made_up_and_a_flood_of_uploads_take_nothing_from_others() {
    let server = server().await;
    let (zoe, max) = (Browser::open(&server).await, Browser::open(&server).await);
    let granted = zoe.authorize("cat.png", "image/png", 4096).await;
    assert_eq!(zoe.upload(&granted, &png()).await.status(), 200);

    let made_up = Browser {
        cookie: format!("direct_upload_session={}", "0123456789abcdef".repeat(2)),
        client: max.client.clone(),
        url: max.url.clone(),
    };
    let wanted = json!({ "name": "a", "type": "", "size": 1 });
    assert_eq!(made_up.post("uploads", wanted).await.status(), 401);
    let events = made_up.client.get(format!("{}events", made_up.url));
    let events = events.header(COOKIE, &made_up.cookie).send().await.unwrap();
    assert_eq!(events.status(), 401);

    for _ in 0..300 {
        max.authorize("a.png", "image/png", 1).await;
    }
    let asked: Value = zoe.ask(&granted).await.json().await.unwrap();
    assert_eq!(asked["record"]["by"], "callback");
}

#[tokio::test]
async fn it_stops_with_a_page_open() {
    let server = server().await;
    let browser = Browser::open(&server).await;
    let _events = browser.listen(None).await;
    // Requests in flight have 10 s.
    let stopped = tokio::time::timeout(Duration::from_secs(8), server.stop());
    stopped
        .await
        .expect("it does not wait for the page")
        .unwrap();
}

#[test]
fn with_half_an_environment_it_refuses_to_start_and_says_what_is_missing() {
    let output = Command::new(env!("CARGO_BIN_EXE_example-direct-upload"))
        .env_clear()
        .env("OSS_BUCKET", "photos")
        .env("PUBLIC_URL", "https://app.example")
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        "This cannot start: with OSS_BUCKET, PUBLIC_URL set, uploads go to the real service, which also \
         needs OSS_REGION, OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET: set them, or unset OSS_BUCKET, \
         PUBLIC_URL to try it with a local OSS.\n"
    );
}
