//! HTTP/1 as bytes on a socket, for what no client library would send.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri};
use http_body_util::BodyExt;
use oss_callback::CallbackBody;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

/// A server that has not answered by then never will: the test fails, rather than hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Connection(BufReader<TcpStream>);

/// Sends a request on a connection of its own, as OSS sends a callback.
pub async fn exchange(address: SocketAddr, request: Request<CallbackBody>) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.send(&message(address, request).await).await;
    connection.answer().await
}

/// A request to this host as bytes; the connection is closed behind it.
pub async fn message(host: SocketAddr, request: Request<CallbackBody>) -> Vec<u8> {
    let (parts, body) = request.into_parts();
    let mut message = format!(
        "{} {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
        parts.method, parts.uri,
    )
    .into_bytes();
    for (name, value) in &parts.headers {
        message.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    message.extend(b"\r\n");
    let Ok(body) = body.collect().await;
    message.extend(body.to_bytes());
    message
}

/// Uploads to a presigned URL, with the headers that belong to it.
pub async fn put(url: &str, headers: &[(String, String)], content: &'static [u8]) -> Answer {
    let url: Uri = url.parse().unwrap();
    let address = url.authority().unwrap().as_str().parse().unwrap();
    let mut request = Request::put(url.path_and_query().unwrap().as_str())
        .header("content-length", content.len());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let content = Bytes::from_static(content).into();
    exchange(address, request.body(content).unwrap()).await
}

#[derive(Debug)]
pub struct Answer {
    pub version: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(BufReader::new(stream))
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Sends a byte at a time, each in a packet of its own, as far as the kernel lets it.
    pub async fn drip(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send(&[*byte]).await;
            tokio::task::yield_now().await;
        }
    }

    /// Says that nothing more will be sent, and goes on listening.
    pub async fn finish(&mut self) {
        self.0.shutdown().await.unwrap();
    }

    /// The next answer. It must have an exact length, whatever it says.
    pub async fn answer(&mut self) -> Answer {
        timeout(PATIENCE, self.read_answer()).await.unwrap()
    }

    /// Nothing more comes, and the server has closed its side.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let end = timeout(PATIENCE, self.0.read_to_end(&mut rest));
        matches!(end.await, Ok(Ok(0) | Err(_)))
    }

    async fn read_answer(&mut self) -> Answer {
        let start = self.line().await;
        let (version, rest) = start.split_once(' ').unwrap();
        let status = rest[..3].parse().unwrap();
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else {
                assert_eq!(line, "");
                break;
            };
            let name: http::HeaderName = name.parse().unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        let mut body = Vec::new();
        if status >= 200 {
            assert!(!headers.contains_key("transfer-encoding"), "{headers:?}");
            let mut lengths = headers.get_all("content-length").iter();
            let length = lengths.next().expect("an exact length").to_str().unwrap();
            assert_eq!(lengths.next(), None);
            body.resize(length.parse().unwrap(), 0);
            self.0.read_exact(&mut body).await.unwrap();
        }
        Answer {
            version: version.to_owned(),
            status,
            headers,
            body: String::from_utf8(body).unwrap(),
        }
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.strip_suffix("\r\n")
            .unwrap_or_else(|| panic!("the connection ended: {line:?}"))
            .to_owned()
    }
}

impl Answer {
    /// The code of the crate's own refusal; `None` for any other answer, an HTTP library's included.
    pub fn code(&self) -> Option<String> {
        let body: serde_json::Value = serde_json::from_str(&self.body).ok()?;
        Some(body.get("code")?.as_str()?.to_owned())
    }
}
