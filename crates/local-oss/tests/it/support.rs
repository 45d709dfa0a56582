//! Raw HTTP, and applications that are called back.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, StatusCode};
use oss_callback::VerifiedCallback;
use oss_callback_local::{LocalOss, LocalOssBuilder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A server that takes every request.
pub(crate) async fn open() -> LocalOss {
    LocalOss::builder().open().start().await.unwrap()
}

pub(crate) fn builder() -> LocalOssBuilder {
    LocalOss::builder().open()
}

pub(crate) fn address(oss: &LocalOss) -> SocketAddr {
    oss.endpoint()
        .strip_prefix("http://")
        .unwrap()
        .parse()
        .unwrap()
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether `100 Continue` came before it.
    pub(crate) was_continued: bool,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first element of this name.
    pub(crate) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        let (inner, _) = rest.split_once(&format!("</{name}>"))?;
        Some(
            inner
                .replace("&quot;", "\"")
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&amp;", "&"),
        )
    }

    pub(crate) fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }
}

/// Sends bytes as they are, and reads one answer.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> io::Result<Reply> {
    let mut stream = TcpStream::connect(address).await?;
    // The server may answer before it has read everything.
    let (mut read, mut write) = stream.split();
    let (written, reply) = tokio::join!(write.write_all(bytes), read_reply(&mut read));
    let _ = written;
    reply
}

/// A request of the usual kind.
/// A field of a form with the boundary `b`.
pub(crate) fn field(name: &str, value: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

/// Sends these fields as a form for the bucket `bucket-1`.
pub(crate) async fn send_form(oss: &LocalOss, fields: &str) -> Reply {
    let headers = [("Content-Type", "multipart/form-data; boundary=b")];
    let body = format!("{fields}--b--\r\n");
    send(address(oss), "POST", "/bucket-1", &headers, body.as_bytes()).await
}

pub(crate) async fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Reply {
    let mut text = format!("{method} {target} HTTP/1.1\r\n");
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        text.push_str(&format!("Host: {address}\r\n"));
    }
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("transfer-encoding"))
    {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    raw(address, &bytes).await.unwrap()
}

pub(crate) async fn read_reply(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Reply> {
    let mut was_continued = false;
    loop {
        let head = read_head(stream).await?;
        let mut lines = head.split("\r\n");
        let status: u16 = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .ok_or(io::ErrorKind::InvalidData)?;
        if status == 100 {
            was_continued = true;
            continue;
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let get = |name: &str| {
            headers
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        let mut body = Vec::new();
        if get("transfer-encoding").is_some() {
            read_chunks(stream, &mut body).await?;
        } else if let Some(len) = get("content-length") {
            body.resize(len.parse().map_err(|_| io::ErrorKind::InvalidData)?, 0);
            stream.read_exact(&mut body).await?;
        }
        return Ok(Reply {
            status,
            headers,
            body,
            was_continued,
        });
    }
}

async fn read_head(stream: &mut (impl AsyncReadExt + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn read_chunks(
    stream: &mut (impl AsyncReadExt + Unpin),
    body: &mut Vec<u8>,
) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(stream.read_u8().await?);
        }
        let text = String::from_utf8_lossy(&line);
        let len = usize::from_str_radix(text.trim(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut chunk = vec![0; len + 2];
        stream.read_exact(&mut chunk).await?;
        if len == 0 {
            return Ok(());
        }
        body.extend_from_slice(&chunk[..len]);
    }
}

/// What an application was called back with.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Seen {
    /// The decoded value of a form's variable.
    pub(crate) fn var(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body).into_owned();
        if self.headers["content-type"] == "application/json" {
            let json: serde_json::Value = serde_json::from_str(&text).ok()?;
            return match &json[name] {
                serde_json::Value::String(text) => Some(text.clone()),
                serde_json::Value::Null => None,
                other => Some(other.to_string()),
            };
        }
        text.split('&').find_map(|pair| {
            let (known, value) = pair.split_once('=')?;
            let value = percent_encoding::percent_decode_str(value)
                .decode_utf8()
                .ok()?;
            (known == name).then(|| value.into_owned())
        })
    }
}

/// An application behind the server's own layer.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

pub(crate) const ANSWER: &str = r#"{"Status":"OK"}"#;

impl App {
    pub(crate) async fn start(oss: &LocalOss) -> Self {
        Self::start_on(oss, "127.0.0.1:0").await
    }

    pub(crate) async fn start_on(oss: &LocalOss, address: &str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let app = Router::new()
            .fallback(post(callback).layer(oss.layer()))
            .with_state(seen.clone());
        let listener = listen(address).await;
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/callback", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

/// A fixed port may be in use by another run of the same test, which ends.
async fn listen(address: &str) -> TcpListener {
    for _ in 0..600 {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
    panic!("{address} is in use");
}

async fn callback(
    State(seen): State<Arc<Mutex<Vec<Seen>>>>,
    headers: HeaderMap,
    axum::Extension(verified): axum::Extension<VerifiedCallback>,
) -> Response {
    let body = Bytes::copy_from_slice(verified.body());
    seen.lock().unwrap().push(Seen { headers, body });
    (
        StatusCode::OK,
        [("content-type", "application/json")],
        ANSWER,
    )
        .into_response()
}

pub(crate) fn base64(text: impl AsRef<[u8]>) -> String {
    BASE64_STANDARD.encode(text)
}

/// The `x-oss-callback` of a form callback.
pub(crate) fn callback_header(url: &str, body: &str) -> String {
    let json = serde_json::json!({ "callbackUrl": url, "callbackBody": body });
    base64(json.to_string())
}

pub(crate) const TEMPLATE: &str =
    "bucket=${bucket}&object=${object}&etag=${etag}&size=${size}&mimeType=${mimeType}";

/// Uploads `body` as `key` with a callback to `url`.
pub(crate) async fn put(address: SocketAddr, key: &str, url: &str, body: &[u8]) -> Reply {
    let callback = callback_header(url, TEMPLATE);
    send(
        address,
        "PUT",
        &format!("/bucket-1/{key}"),
        &[("x-oss-callback", &callback)],
        body,
    )
    .await
}
