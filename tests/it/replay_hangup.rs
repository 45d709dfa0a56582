//! A sender that hangs up, at any moment and in any manner, has the handler run at most once.

use std::{net::SocketAddr, time::Duration};

use crate::support::{
    replay::{Effects, callback, layer},
    wire::{Connection, exchange, message},
};
use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use oss_callback::MemoryReplayStore;
use tokio::{net::TcpStream, sync::mpsc, time::sleep};

/// How long the handler goes on after its effect.
const AFTER_EFFECT: Duration = Duration::from_millis(8);

/// A server whose handler has its effect first and is in no hurry to answer.
async fn serve() -> (SocketAddr, Effects, mpsc::UnboundedReceiver<()>) {
    let effects = Effects::default();
    let (ended, endings) = mpsc::unbounded_channel();
    let handler = {
        let effects = effects.clone();
        move || async move {
            /// Tells when the handler is over, whether it answers or is cancelled.
            struct Ended(mpsc::UnboundedSender<()>);
            impl Drop for Ended {
                fn drop(&mut self) {
                    let _ = self.0.send(());
                }
            }
            let _ended = Ended(ended);
            effects.add();
            sleep(AFTER_EFFECT).await;
            StatusCode::OK
        }
    };
    let guarded = post(handler).route_layer(layer(MemoryReplayStore::new()));
    let address = crate::support::serve(Router::new().route("/cb", guarded)).await;
    (address, effects, endings)
}

/// Hangs up on the first copy at each millisecond. It may never have come to the handler; if it has,
/// no other copy does, while it runs and when it is over.
async fn hang_up_at_each_millisecond<F, Fut>(hang_up_after: F)
where
    F: Fn(SocketAddr, Duration) -> Fut,
    Fut: Future<Output = ()>,
{
    let mut statuses = Vec::new();
    for millisecond in 0..12 {
        let (address, effects, mut endings) = serve().await;
        hang_up_after(address, Duration::from_millis(millisecond)).await;
        statuses.push(exchange(address, callback(1)).await.status);
        endings.recv().await.unwrap();
        statuses.push(exchange(address, callback(1)).await.status);
        assert_eq!(effects.count(), 1, "hung up after {millisecond} ms");
    }
    assert!(statuses.contains(&409), "{statuses:?}");
}

#[tokio::test]
async fn over_http1_by_closing_the_connection() {
    hang_up_at_each_millisecond(|address, after| async move {
        let mut connection = Connection::open(address).await;
        connection.send(&message(address, callback(1)).await).await;
        sleep(after).await;
    })
    .await;
}

#[tokio::test]
async fn over_http2_by_resetting_the_stream() {
    hang_up_at_each_millisecond(|address, after| async move {
        let connection = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = h2::client::handshake(connection).await.unwrap();
        let connection = tokio::spawn(connection);
        let (mut parts, body) = callback(1).into_parts();
        parts.uri = format!("http://{address}{}", parts.uri).parse().unwrap();
        let (answer, mut stream) = sender
            .send_request(Request::from_parts(parts, ()), false)
            .unwrap();
        let body: Bytes = body.collect().await.unwrap().to_bytes();
        stream.send_data(body, true).unwrap();
        sleep(after).await;
        stream.send_reset(h2::Reason::CANCEL);
        drop((answer, stream, sender));
        connection.await.unwrap().unwrap();
    })
    .await;
}
