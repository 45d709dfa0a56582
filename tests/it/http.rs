//! What HTTP itself does to callbacks on their way: axum, hyper and warp as real servers.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::support::{
    Vector, serve_connections,
    wire::{Answer, Connection},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use oss_callback::{
    CallbackAnswer, CallbackBody, OssCallbackLayer, Rejection, VerifiedCallback, handler_fn,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};
use tower::Layer;

/// One of the frameworks, listening.
struct Server {
    name: &'static str,
    address: SocketAddr,
    handled: Arc<AtomicUsize>,
}

/// Every framework that is compiled in. hyper is always.
async fn servers() -> Vec<Server> {
    vec![
        hyper().await,
        #[cfg(feature = "axum")]
        axum().await,
        #[cfg(feature = "warp")]
        warp().await,
    ]
}

async fn hyper() -> Server {
    let (listener, server) = listen("hyper").await;
    let handled = Arc::clone(&server.handled);
    let app = OssCallbackLayer::new().layer(handler_fn::<Full<Bytes>, _, _, _>(
        move |request: Request<CallbackBody>| echo(request, Arc::clone(&handled)),
    ));
    tokio::spawn(serve_connections(listener, app));
    server
}

#[cfg(feature = "axum")]
async fn axum() -> Server {
    use std::collections::BTreeSet;

    use axum::{Router, routing::post};

    let (listener, server) = listen("axum").await;
    let handled = Arc::clone(&server.handled);
    let uploaded = post(move |request: axum::extract::Request| echo(request, Arc::clone(&handled)))
        .route_layer(OssCallbackLayer::new());
    let paths: BTreeSet<_> = crate::support::vectors()
        .into_iter()
        .map(|it| it.path)
        .collect();
    let app = paths
        .iter()
        .fold(Router::new(), |app, path| app.route(path, uploaded.clone()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    server
}

#[cfg(feature = "warp")]
async fn warp() -> Server {
    use warp::Filter;

    let (listener, server) = listen("warp").await;
    let handled = Arc::clone(&server.handled);
    let callbacks = oss_callback::warp::route(OssCallbackLayer::new(), move |request| {
        echo(request, Arc::clone(&handled))
    });
    let app = warp::path("index.php")
        .or(warp::path("api"))
        .unify()
        .and(callbacks);
    tokio::spawn(warp::serve(app).incoming(listener).run());
    server
}

async fn listen(name: &'static str) -> (TcpListener, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        name,
        address: listener.local_addr().unwrap(),
        handled: Arc::default(),
    };
    (listener, server)
}

/// Answers with what was verified.
async fn echo<B>(
    request: Request<B>,
    handled: Arc<AtomicUsize>,
) -> Result<CallbackAnswer, Rejection> {
    handled.fetch_add(1, Ordering::SeqCst);
    let callback = VerifiedCallback::from_extensions(request.extensions())?;
    let body = String::from_utf8_lossy(callback.body());
    CallbackAnswer::json(&(callback.path(), callback.query(), body))
}

/// What [`echo`] answers.
fn echoed(vector: &Vector) -> String {
    let query = vector.query.strip_prefix('?');
    serde_json::to_string(&(&vector.path, query, &vector.body)).unwrap()
}

impl Server {
    async fn connect(&self) -> Connection {
        Connection::open(self.address).await
    }

    /// The answer to one request on a connection of its own.
    async fn ask(&self, request: &[u8]) -> Answer {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.answer().await
    }

    async fn connect_http2<B>(&self) -> http2::SendRequest<B>
    where
        B: http_body::Body<Data = Bytes, Error = Infallible> + Send + Unpin + 'static,
    {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}

/// Answered with 200 and the very bytes of the callback.
fn assert_accepted(answer: &Answer, vector: &Vector, context: &str) {
    assert_eq!(answer.status, 200, "{context}: {answer:?}");
    assert_eq!(answer.body, echoed(vector), "{context}");
    assert_eq!(answer.headers["content-type"], "application/json");
}

/// A callback whose query was altered: its headers alone do not give it away.
fn altered() -> Vector {
    let altered = crate::support::vectors().remove(4);
    assert!(!altered.verifies);
    altered
}

fn with_length(vector: &Vector) -> Vec<u8> {
    let length = vector.body.len();
    let mut request = vector.head(&format!("Content-Length: {length}\r\n"));
    request.extend_from_slice(vector.body.as_bytes());
    request
}

/// In chunks of one byte, with an extension and a trailer.
fn chunked(vector: &Vector) -> Vec<u8> {
    let mut request = vector.head("Transfer-Encoding: chunked\r\nTrailer: x-late\r\n");
    for byte in vector.body.bytes() {
        request.extend_from_slice(&[
            b'1', b';', b'a', b'=', b'b', b'\r', b'\n', byte, b'\r', b'\n',
        ]);
    }
    request.extend_from_slice(b"0\r\nx-late: 1\r\n\r\n");
    request
}

/// The request as another version, or with another start of its head.
fn replaced(request: &[u8], from: &str, to: &str) -> Vec<u8> {
    let request = std::str::from_utf8(request).unwrap();
    assert!(request.contains(from));
    request.replacen(from, to, 1).into_bytes()
}

fn http2_request(vector: &Vector) -> Request<Full<Bytes>> {
    let mut request = vector.request();
    *request.uri_mut() = format!("http://localhost{}", vector.target())
        .parse()
        .unwrap();
    request
}

async fn http2_answer(response: Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(parts.headers["content-length"], body.len().to_string());
    Answer {
        version: format!("{:?}", parts.version),
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

#[tokio::test]
async fn every_vector_gets_its_verdict_in_every_version() {
    for server in servers().await {
        let mut http2 = server.connect_http2().await;
        for vector in crate::support::vectors() {
            let http1 = vector.http1();
            let http2 = http2.send_request(http2_request(&vector)).await.unwrap();
            let answers = [
                server
                    .ask(&replaced(&http1, "HTTP/1.1\r\n", "HTTP/1.0\r\n"))
                    .await,
                server.ask(&http1).await,
                http2_answer(http2).await,
            ];
            for answer in answers {
                let context = format!("{} {}: {}", server.name, answer.version, vector.note);
                if vector.verifies {
                    assert_accepted(&answer, &vector, &context);
                } else {
                    assert_eq!(answer.status, 403, "{context}");
                    assert_eq!(
                        answer.code().as_deref(),
                        Some("InvalidSignature"),
                        "{context}"
                    );
                }
            }
        }
    }
}

#[tokio::test]
async fn a_connection_serves_callback_after_callback() {
    let vector = crate::support::official();
    for server in servers().await {
        let mut connection = server.connect().await;
        for _ in 0..2 {
            connection.send(&with_length(&vector)).await;
            assert_accepted(&connection.answer().await, &vector, server.name);
            connection.send(&with_length(&altered())).await;
            assert_eq!(connection.answer().await.status, 403, "{}", server.name);
        }
    }
}

#[tokio::test]
async fn a_connection_is_closed_when_the_client_asks_and_after_http_1_0() {
    let vector = crate::support::official();
    let closing = vector.http1();
    let http_1_0 = replaced(&with_length(&vector), "HTTP/1.1", "HTTP/1.0");
    for server in servers().await {
        for request in [&closing, &http_1_0] {
            let mut connection = server.connect().await;
            connection.send(request).await;
            assert_accepted(&connection.answer().await, &vector, server.name);
            assert!(connection.is_closed().await, "{}", server.name);
        }
    }
}

#[tokio::test]
async fn a_chunked_body_is_the_body_that_was_signed() {
    let vector = crate::support::official();
    for server in servers().await {
        let answer = server.ask(&chunked(&vector)).await;
        assert_accepted(&answer, &vector, server.name);
        let answer = server.ask(&chunked(&altered())).await;
        assert_eq!(answer.code().as_deref(), Some("InvalidSignature"));
    }
}

#[tokio::test]
async fn a_request_may_arrive_byte_by_byte() {
    let vector = crate::support::official();
    for server in servers().await {
        for request in [with_length(&vector), chunked(&vector)] {
            let mut connection = server.connect().await;
            connection.drip(&request).await;
            assert_accepted(&connection.answer().await, &vector, server.name);
        }

        let bytes = vector.body.clone().into_bytes();
        let frames = bytes.into_iter().map(|byte| {
            let data = Bytes::copy_from_slice(&[byte]);
            Ok::<_, Infallible>(Frame::data(data))
        });
        let body = StreamBody::new(stream::iter(frames));
        let request = http2_request(&vector).map(|_| body);
        let mut client = server.connect_http2().await;
        let answer = http2_answer(client.send_request(request).await.unwrap()).await;
        assert_accepted(&answer, &vector, server.name);
    }
}

/// What is there of a body when its client goes is no body: it is neither verified nor handled.
#[tokio::test]
async fn a_client_that_goes_half_way_disturbs_nobody() {
    let vector = crate::support::official();
    for server in servers().await {
        for request in [with_length(&vector), chunked(&vector)] {
            let half = &request[..request.len() - vector.body.len() / 2];
            let mut gone = server.connect().await;
            gone.send(half).await;
            drop(gone);

            let mut listening = server.connect().await;
            listening.send(half).await;
            listening.finish().await;
            let answer = listening.answer().await;
            assert_eq!(answer.status, 400, "{}", server.name);
            assert_eq!(
                answer.code().as_deref(),
                Some("BodyRead"),
                "{}",
                server.name
            );
            assert!(listening.is_closed().await, "{}", server.name);
        }

        // Over HTTP/2 the client takes back one request of several on its connection.
        let frame = Frame::data(Bytes::copy_from_slice(&vector.body.as_bytes()[..4]));
        let (send, sent) = oneshot::channel();
        let never = async move {
            send.send(()).unwrap();
            std::future::pending().await
        };
        let body = stream::iter([Ok::<_, Infallible>(frame)]).chain(stream::once(never));
        let request = http2_request(&vector).map(|_| StreamBody::new(body.boxed()));
        let mut client = server.connect_http2().await;
        let request = tokio::spawn(client.send_request(request));
        sent.await.unwrap();
        request.abort();

        let answer = server.ask(&vector.http1()).await;
        assert_accepted(&answer, &vector, server.name);
        assert_eq!(server.handled.load(Ordering::SeqCst), 1, "{}", server.name);
    }
}

#[tokio::test]
async fn doubled_headers_are_refused_over_http_2_too() {
    let vector = crate::support::official();
    for server in servers().await {
        let mut client = server.connect_http2().await;
        for name in ["authorization", "x-oss-pub-key-url", "content-type"] {
            let mut request = http2_request(&vector);
            let value = request.headers()[name].clone();
            request.headers_mut().append(name, value);
            let answer = http2_answer(client.send_request(request).await.unwrap()).await;
            assert_eq!(answer.status, 400, "{}", server.name);
            assert_eq!(answer.code().as_deref(), Some("DuplicateHeader"));
        }
    }
}

#[tokio::test]
async fn only_path_and_query_of_an_absolute_target_count() {
    let vector = crate::support::official();
    let request = replaced(&vector.http1(), "POST ", "POST http://elsewhere.example:81");
    let bare = replaced(&request, vector.path.as_str(), "");
    for server in servers().await {
        assert_accepted(&server.ask(&request).await, &vector, server.name);
        assert_ne!(server.ask(&bare).await.status, 200, "{}", server.name);
    }
}

/// hyper lets them through; the frameworks have no route for them, and the layer refuses the rest.
#[tokio::test]
async fn targets_that_are_no_paths_are_never_called() {
    let vector = crate::support::official();
    for server in servers().await {
        for target in ["*", "localhost", "localhost:80", "http://localhost?id=1"] {
            for method in ["POST", "CONNECT"] {
                let start = format!("POST {} HTTP", vector.target());
                let request = replaced(&vector.http1(), &start, &format!("{method} {target} HTTP"));
                let status = server.ask(&request).await.status;
                let context = format!("{}: {method} {target}: {status}", server.name);
                assert!((400..500).contains(&status), "{context}");
            }
        }
        assert_eq!(server.handled.load(Ordering::SeqCst), 0, "{}", server.name);
    }
}

#[tokio::test]
async fn pipelined_callbacks_are_answered_in_order() {
    let (vector, altered) = (crate::support::official(), altered());
    let requests = [
        with_length(&vector),
        chunked(&altered),
        chunked(&vector),
        vector.http1(),
    ];
    for server in servers().await {
        let mut connection = server.connect().await;
        connection.send(&requests.concat()).await;
        assert_accepted(&connection.answer().await, &vector, server.name);
        assert_eq!(connection.answer().await.status, 403, "{}", server.name);
        assert_accepted(&connection.answer().await, &vector, server.name);
        assert_accepted(&connection.answer().await, &vector, server.name);
        assert!(connection.is_closed().await, "{}", server.name);
    }
}

/// A body is asked for only once the headers are good, so 100 is the mark of that.
#[tokio::test]
async fn a_client_that_waits_for_100_is_not_asked_for_a_body_that_headers_refuse() {
    let vector = crate::support::official();
    let expect = |length: usize| {
        vector.head(&format!(
            "Expect: 100-continue\r\nContent-Length: {length}\r\n"
        ))
    };
    let refused = [
        (
            replaced(&expect(18), "authorization: ", "authorization: AAAA"),
            (403, "InvalidSignature"),
        ),
        (
            replaced(&expect(18), "authorization", "x-authorization"),
            (400, "MissingHeader"),
        ),
        (expect(64 * 1024 + 1), (413, "BodyTooLarge")),
    ];
    for server in servers().await {
        let mut connection = server.connect().await;
        connection.send(&expect(vector.body.len())).await;
        assert_eq!(connection.answer().await.status, 100, "{}", server.name);
        connection.send(vector.body.as_bytes()).await;
        assert_accepted(&connection.answer().await, &vector, server.name);

        for (request, (status, code)) in &refused {
            let answer = server.ask(request).await;
            assert_eq!(answer.status, *status, "{}", server.name);
            assert_eq!(answer.code().as_deref(), Some(*code), "{}", server.name);
        }
    }
}

/// `None` is hyper's own refusal: 400 with an empty body, before any of our code runs.
#[tokio::test]
async fn malformed_requests_get_their_documented_verdict() {
    let vector = crate::support::official();
    let length = format!("Content-Length: {}\r\n", vector.body.len());
    let request = with_length(&vector);
    let doubled = |name: &str, value: &str| {
        let name = format!("{name}: ");
        replaced(&request, &name, &format!("{name}{value}\r\n{name}"))
    };
    let lengths = |more: &str| replaced(&request, &length, &format!("{length}{more}\r\n"));
    let both = |request: &[u8], length: &str| {
        replaced(
            request,
            "Transfer-Encoding",
            &format!("{length}Transfer-Encoding"),
        )
    };
    let cases = [
        (
            "two signatures",
            doubled("authorization", "AAAA"),
            400,
            Some("DuplicateHeader"),
        ),
        (
            "two key URLs",
            doubled("x-oss-pub-key-url", "AAAA"),
            400,
            Some("DuplicateHeader"),
        ),
        (
            "two media types",
            doubled("content-type", "text/plain"),
            400,
            Some("DuplicateHeader"),
        ),
        (
            "a folded signature",
            replaced(&request, "authorization: ", "authorization:\r\n "),
            400,
            None,
        ),
        (
            "a folded key URL",
            replaced(&request, "x-oss-pub-key-url: ", "x-oss-pub-key-url: \r\n\t"),
            400,
            None,
        ),
        ("one length twice", lengths(length.trim_end()), 200, None),
        ("two lengths", lengths("Content-Length: 1"), 400, None),
        (
            "a list of lengths",
            replaced(&request, &length, "Content-Length: 18, 18\r\n"),
            400,
            None,
        ),
        (
            "a signed length",
            replaced(&request, &length, "Content-Length: +18\r\n"),
            400,
            None,
        ),
        (
            "a length and chunks",
            both(&chunked(&vector), &length),
            200,
            None,
        ),
        (
            "a wrong length and chunks",
            both(&chunked(&vector), "Content-Length: 1\r\n"),
            200,
            None,
        ),
        (
            "chunks of nothing known",
            replaced(&chunked(&vector), "chunked", "identity"),
            400,
            None,
        ),
        (
            "chunked twice",
            replaced(&chunked(&vector), "chunked", "chunked, chunked"),
            200,
            None,
        ),
        (
            "chunks in HTTP/1.0",
            replaced(&chunked(&vector), "HTTP/1.1", "HTTP/1.0"),
            400,
            None,
        ),
    ];
    for server in servers().await {
        for (what, request, status, code) in &cases {
            let answer = server.ask(request).await;
            let context = format!("{}: {what}", server.name);
            assert_eq!(answer.status, *status, "{context}");
            assert_eq!(answer.code().as_deref(), *code, "{context}");
        }
    }
}
