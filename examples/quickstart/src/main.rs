//! Receives a genuine callback over TCP, then altered copies of it, and prints what became of each.
//!
//! ```text
//! cargo run -p example-quickstart
//! ```

use std::{io, net::SocketAddr};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::Response,
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback::{CallbackAnswer, OssCallback, OssCallbackLayer, Rejection};
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What the server's operator reads. Nothing of it goes over the wire.
type Log = mpsc::UnboundedSender<String>;

fn app(log: Log) -> Router {
    Router::new()
        .route(
            "/index.php",
            post(uploaded).route_layer(OssCallbackLayer::new()),
        )
        .layer(from_fn_with_state(log.clone(), log_refusals))
        .with_state(log)
}

#[derive(Debug, Deserialize)]
struct Upload {
    #[expect(dead_code, reason = "it is shown")]
    bucket: String,
}

/// Called with genuine callbacks alone.
async fn uploaded(
    State(log): State<Log>,
    OssCallback(upload): OssCallback<Upload>,
) -> CallbackAnswer {
    let _ = log.send(format!("the handler received {upload:?}"));
    CallbackAnswer::ok()
}

/// The layer leaves the typed rejection in the extensions of the response that it answers with.
async fn log_refusals(State(log): State<Log>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(rejection) = response.extensions().get::<Rejection>() {
        let _ = log.send(rejection.to_string());
    } else if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let _ = log.send("the router has no such route: the layer was not asked".to_owned());
    }
    response
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let (log, mut logged) = mpsc::unbounded_channel();
    let server = serve(log).await?;
    println!("serving on http://{server}\n");
    println!("{:<22} {:<7} {:<17} log", "sent", "status", "code");
    for (name, callback) in callbacks() {
        let answer = callback.send(server).await?;
        let log = logged.try_recv().unwrap_or_default();
        println!(
            "{name:<22} {:<7} {:<17} {log}",
            answer.status,
            answer.code()
        );
    }
    Ok(())
}

async fn serve(log: Log) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app(log)).await });
    Ok(address)
}

/// The genuine callback, and copies of it that differ in one thing each.
fn callbacks() -> [(&'static str, Callback); 8] {
    [
        ("genuine", altered(|_| ())),
        (
            "query changed",
            altered(|it| it.target = "/index.php?id=1&index=3"),
        ),
        ("body changed", altered(|it| it.body = "bucket=yonghu-best")),
        (
            "signature bit flipped",
            altered(|it| it.signature = SIGNATURE.replacen('k', "l", 1)),
        ),
        (
            "forged key URL host",
            altered(|it| {
                it.key_url = "http://gosspublic.alicdn.com.example.net/callback_pub_key_v1.pem"
            }),
        ),
        ("signature missing", altered(|it| it.signature.clear())),
        ("method changed", altered(|it| it.method = "GET")),
        // The length is only declared: that is enough for a refusal.
        (
            "body too large",
            altered(|it| (it.content_length, it.body) = (64 * 1024 + 1, "")),
        ),
    ]
}

fn altered(alter: fn(&mut Callback)) -> Callback {
    let mut callback = Callback::default();
    alter(&mut callback);
    callback
}

const SIGNATURE: &str =
    "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";

struct Callback {
    method: &'static str,
    target: &'static str,
    signature: String,
    key_url: &'static str,
    content_length: usize,
    body: &'static str,
}

/// The example of the service's documentation, signed by OSS.
impl Default for Callback {
    fn default() -> Self {
        Self {
            method: "POST",
            target: "/index.php?id=1&index=2",
            signature: SIGNATURE.to_owned(),
            key_url: "http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
            content_length: 18,
            body: "bucket=yonghu-test",
        }
    }
}

impl Callback {
    /// Sends it as OSS does: one request per connection.
    async fn send(&self, server: SocketAddr) -> io::Result<Answer> {
        let mut connection = TcpStream::connect(server).await?;
        connection.write_all(self.http1().as_bytes()).await?;
        let mut response = String::new();
        connection.read_to_string(&mut response).await?;
        Answer::parse(&response)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not an HTTP response"))
    }

    /// The documentation's example is older than `Content-MD5`. It is unsigned, so it may be added,
    /// and lets the log tell a changed body from a changed path.
    fn http1(&self) -> String {
        let authorization = match self.signature.as_str() {
            "" => String::new(),
            signature => format!("Authorization: {signature}\r\n"),
        };
        format!(
            "{} {} HTTP/1.1\r\n\
             Host: localhost\r\n\
             Connection: close\r\n\
             Content-Length: {}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\
             Content-MD5: x1STW4EVzp0ZZRKUY72zTQ==\r\n\
             {}\
             x-oss-pub-key-url: {}\r\n\
             \r\n\
             {}",
            self.method,
            self.target,
            self.content_length,
            authorization,
            BASE64_STANDARD.encode(self.key_url),
            self.body,
        )
    }
}

struct Answer {
    status: u16,
    body: String,
}

impl Answer {
    fn parse(response: &str) -> Option<Self> {
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some(Self {
            status: head.split(' ').nth(1)?.parse().ok()?,
            body: body.to_owned(),
        })
    }

    /// What a refusal's body says to the sender.
    fn code(&self) -> String {
        serde_json::from_str::<serde_json::Value>(&self.body)
            .ok()
            .and_then(|body| Some(body["code"].as_str()?.to_owned()))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_genuine_callback_is_received_and_each_copy_is_refused_for_its_own_reason() {
        let expected = [
            (
                200,
                "",
                r#"the handler received Upload { bucket: "yonghu-test" }"#,
            ),
            (
                403,
                "InvalidSignature",
                "the path or query changed on the way",
            ),
            (403, "InvalidSignature", "the body changed on the way"),
            (403, "InvalidSignature", "it was not made by this key"),
            (403, "KeyUrlNotAllowed", "the public key URL is not allowed"),
            (400, "MissingHeader", "(authorization)"),
            (405, "", "the layer was not asked"),
            (413, "BodyTooLarge", "the body is too large"),
        ];
        let (log, mut logged) = mpsc::unbounded_channel();
        let server = serve(log).await.unwrap();
        for ((name, callback), (status, code, reason)) in callbacks().into_iter().zip(expected) {
            let answer = callback.send(server).await.unwrap();
            assert_eq!(answer.status, status, "{name}");
            assert_eq!(answer.code(), code, "{name}");
            let log = logged.try_recv().unwrap_or_default();
            assert!(log.ends_with(reason), "{name}: {log}");
        }
    }
}
