//! Sends a callback that was made elsewhere, as this server sends its own.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;

use super::send::send_http;
use crate::journal::{Answer, CallbackOutcome};

/// The result of a [`deliver`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The application's answer, if there was one.
    pub answer: Option<Answer>,
    /// Whether the service would hand it to the uploader.
    pub outcome: CallbackOutcome,
    /// From the connection to the verdict.
    pub took: Duration,
}

/// Sends a callback to an address over plain HTTP, and judges the answer as the service does. For tools
/// that make and sign a request themselves.
///
/// The request is sent as it is, with its target in origin form and its headers in their order. `timeout`
/// is 5 s at the service; `None` waits for ever. Redirects are not followed.
///
/// ```
/// use std::{io::{Read, Write}, net::TcpListener, time::Duration};
/// use bytes::Bytes;
/// use oss_callback_local::{CallbackOutcome, deliver};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // An application that answers nothing that the service takes.
/// let app = TcpListener::bind("127.0.0.1:0")?;
/// let address = app.local_addr()?;
/// std::thread::spawn(move || {
///     let (mut stream, _) = app.accept()?;
///     stream.read(&mut [0; 4096])?;
///     stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK")
/// });
///
/// let request = http::Request::post("/oss/callback").header("host", "app.test");
/// let delivery = deliver(address, request.body(Bytes::new())?, Some(Duration::from_secs(5))).await;
/// let CallbackOutcome::Failed { message, .. } = delivery.outcome else { panic!() };
/// assert_eq!(message, "Response body is not valid json format.");
/// # Ok(()) }
/// ```
pub async fn deliver(
    address: SocketAddr,
    request: Request<Bytes>,
    timeout: Option<Duration>,
) -> Delivery {
    let sent = send_http(request.map(Full::new), &[address], timeout).await;
    Delivery {
        answer: sent.answer,
        outcome: match sent.verdict {
            Ok(_) => CallbackOutcome::Answered,
            Err(failure) => CallbackOutcome::Failed {
                ec: failure.ec,
                message: failure.message,
            },
        },
        took: sent.took,
    }
}
