//! Sends a callback: one connection for one request, no redirects, one deadline for the exchange.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::AbortHandle};

use super::{
    judge::{self, Failure},
    request::SignedRequest,
};
use crate::{config::CallbackHttp, journal::Answer, spelling::Spelling};

/// The result of a request.
pub(super) struct Sent {
    /// The answer, if the application gave one.
    pub(super) answer: Option<Answer>,
    /// The whole body of an answer that the service accepts.
    pub(super) verdict: Result<Bytes, Failure>,
    pub(super) took: Duration,
}

pub(super) async fn send(
    request: &SignedRequest,
    addresses: &[SocketAddr],
    limit: Option<Duration>,
    version: CallbackHttp,
    spelling: &Spelling,
) -> Sent {
    let mut made = http_request(request, version);
    spelling.apply(made.extensions_mut());
    send_http(made, addresses, limit).await
}

/// Sends any request, to the first of the addresses that takes a connection.
pub(super) async fn send_http(
    request: Request<Full<Bytes>>,
    addresses: &[SocketAddr],
    limit: Option<Duration>,
) -> Sent {
    let begin = Instant::now();
    let mut answer = None;
    let exchange = exchange(request, addresses, &mut answer);
    let verdict = match limit {
        Some(limit) => match tokio::time::timeout(limit, exchange).await {
            Ok(verdict) => verdict,
            Err(_) => Err(Failure::timeout(
                &addresses
                    .first()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                begin.elapsed().as_millis(),
                limit.as_millis(),
            )),
        },
        None => exchange.await,
    };
    Sent {
        answer,
        verdict,
        took: begin.elapsed(),
    }
}

async fn exchange(
    request: Request<Full<Bytes>>,
    addresses: &[SocketAddr],
    answer: &mut Option<Answer>,
) -> Result<Bytes, Failure> {
    let stream = TcpStream::connect(addresses).await.map_err(|_| {
        Failure::status("-1. OSS can not connect to your callbackUrl, please check it")
    })?;
    // The peer does not speak HTTP, or broke off.
    let broken = |_: hyper::Error| Failure::status(502);
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let connection = tokio::spawn(async move {
        // `send_request` reports its errors.
        let _ = connection.await;
    });
    let _connection = AbortOnDrop(connection.abort_handle());

    let response = sender.send_request(request).await.map_err(broken)?;
    let (parts, body) = response.into_parts();
    *answer = Some(Answer {
        status: parts.status.as_u16(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes());
                (name.as_str().to_owned(), value.into_owned())
            })
            .collect(),
        body: Bytes::new(),
    });
    let judged = judge::head(parts.status.as_u16(), declared_length(&parts.headers));
    // The body of a refused answer is read for the journal only.
    let read = Limited::new(body, judge::MAX_BODY as usize).collect().await;
    let read = match (judged, read) {
        (Ok(()), Ok(read)) => read.to_bytes(),
        (Ok(()), Err(_)) => return Err(Failure::status(502)),
        (Err(failure), read) => {
            if let (Some(answer), Ok(read)) = (answer, read) {
                answer.body = kept(&read.to_bytes());
            }
            return Err(failure);
        }
    };
    let Some(answer) = answer else {
        return Err(Failure::status(502));
    };
    answer.body = kept(&read);
    judge::body(answer.header("content-type"), &read)?;
    Ok(read)
}

fn http_request(request: &SignedRequest, version: CallbackHttp) -> Request<Full<Bytes>> {
    let mut made = Request::new(Full::new(request.body.clone()));
    *made.method_mut() = Method::POST;
    *made.version_mut() = match version {
        CallbackHttp::Http10 => Version::HTTP_10,
        CallbackHttp::Http11 => Version::HTTP_11,
    };
    // Cannot fail: a callback URL is ASCII without spaces.
    *made.uri_mut() = request.url.target().parse().unwrap_or_default();
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value)) {
            made.headers_mut().append(name, value);
        }
    }
    made
}

/// The declared length. A chunked answer has none, even if it carries a `Content-Length`.
fn declared_length(headers: &HeaderMap) -> Option<u64> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return None;
    }
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Copies: a slice would keep the whole body alive.
fn kept(body: &Bytes) -> Bytes {
    Bytes::copy_from_slice(&body[..body.len().min(Answer::KEPT)])
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How large the head of an answer may be.
const MAX_HEAD: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// As `localhost` has two, and an application may listen on either.
    #[tokio::test]
    async fn the_first_address_that_takes_a_connection_is_called() {
        let listen = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (gone, app) = (listen().await, listen().await);
        let addresses = [gone.local_addr().unwrap(), app.local_addr().unwrap()];
        drop(gone);
        let called = tokio::spawn(async move {
            let (mut stream, _) = app.accept().await.unwrap();
            stream.read_u8().await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
            stream.write_all(answer).await.unwrap();
        });
        let request = Request::post("/").body(Full::default()).unwrap();
        let sent = send_http(request, &addresses, None).await;
        assert_eq!(sent.verdict, Ok(Bytes::from_static(b"{}")));
        called.await.unwrap();
    }
}
