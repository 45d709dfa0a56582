//! A signed callback, and its way over TCP.

use std::{net::SocketAddr, time::Duration};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request};
use oss_callback::test_util::CallbackSigner;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub const FORM: &str = "bucket=photos&object=a%2Fb%20c.jpg&size=7&mimeType=image%2Fjpeg";
pub const JSON: &str =
    r#"{"bucket":"photos","object":"a/图 b.jpg","size":7,"mimeType":"image/jpeg"}"#;

/// What OSS sends.
#[derive(Clone, Debug)]
pub struct Callback {
    pub target: String,
    pub body: Bytes,
    headers: HeaderMap,
}

impl Callback {
    pub fn new(target: &str, body: &str) -> Self {
        let signer = CallbackSigner::new();
        let request = match body.starts_with('{') {
            true => signer.json(target, body.to_owned()),
            false => signer.form(target, body.to_owned()),
        };
        let mut headers = request.headers().clone();
        headers.insert("host", "app.example.test".parse().unwrap());
        headers.insert("connection", "close".parse().unwrap());
        Self {
            target: target.to_owned(),
            body: body.to_owned().into(),
            headers,
        }
    }

    /// A copy of it, to the same path with a query that OSS did not sign.
    pub fn with_other_query(mut self) -> Self {
        let path = self.target.split('?').next().unwrap_or_default();
        self.target = format!("{path}?admin=1");
        self
    }

    pub fn request(&self) -> Request<Body> {
        let mut request = Request::post(&self.target)
            .body(Body::from(self.body.clone()))
            .unwrap();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// Sends it as OSS does, and returns the status of the answer: 0 if there is none within a minute.
    pub async fn send(&self, to: SocketAddr) -> u16 {
        let exchange = async {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let mut text = format!("POST {} HTTP/1.1\r\n", self.target).into_bytes();
            for (name, value) in &self.headers {
                text.extend(name.as_str().as_bytes());
                text.extend(b": ");
                text.extend(value.as_bytes());
                text.extend(b"\r\n");
            }
            text.extend(b"\r\n");
            text.extend(&self.body);
            stream.write_all(&text).await.unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            answer
        };
        let answer = tokio::time::timeout(Duration::from_secs(60), exchange).await;
        let answer = String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned();
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        status.unwrap_or_default()
    }
}
