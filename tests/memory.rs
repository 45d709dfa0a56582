//! A body that comes byte by byte costs its length. Alone in its process, which it measures.
#![cfg(feature = "axum")]
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use axum::{Router, routing::post};
use bytes::Bytes;
use oss_callback::{CallbackAnswer, VerifiedCallback, test_util::CallbackSigner};
use support::builder;

const LIMIT: usize = 64 * 1024;

/// How many bytes are sent between two looks at the memory.
const STEP: usize = 1024;

/// Resident memory of this process in bytes, counted page by page. Pages of files come and go with the
/// system's cache, and are none of a body's.
fn resident() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = kib.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<usize>().unwrap() * 1024
}

#[derive(Clone, Copy)]
enum Framing {
    /// All at once.
    Whole,
    /// One packet for each byte.
    Packets,
    /// One chunk, in its own packet, for each byte.
    Chunks,
}

/// Sends a callback byte by byte. Returns by how much memory grew at most while it was under way.
fn send(address: SocketAddr, body: &'static [u8], framing: Framing) -> usize {
    let (parts, _) = CallbackSigner::new().form("/cb", body).into_parts();
    let mut head = String::from("POST /cb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    for (name, value) in &parts.headers {
        if name != "content-length" {
            head += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
    }
    head += &match framing {
        Framing::Whole | Framing::Packets => format!("Content-Length: {}\r\n\r\n", body.len()),
        Framing::Chunks => "Transfer-Encoding: chunked\r\n\r\n".to_owned(),
    };

    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_nodelay(true).unwrap();
    connection.write_all(head.as_bytes()).unwrap();
    let before = resident();
    let mut peak = before;
    for step in body.chunks(STEP) {
        match framing {
            Framing::Whole => connection.write_all(step).unwrap(),
            Framing::Packets => step
                .iter()
                .for_each(|byte| connection.write_all(&[*byte]).unwrap()),
            Framing::Chunks => step.iter().for_each(|byte| {
                let chunk = [b'1', b'\r', b'\n', *byte, b'\r', b'\n'];
                connection.write_all(&chunk).unwrap();
            }),
        }
        peak = peak.max(resident());
    }
    if let Framing::Chunks = framing {
        connection.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    peak.max(resident()) - before
}

#[tokio::test]
async fn a_body_byte_by_byte_takes_less_than_1_mib() {
    let body: &'static [u8] = {
        let mut body = b"object=".to_vec();
        body.resize(LIMIT, b'a');
        body.leak()
    };
    let handler = async |proof: VerifiedCallback| {
        assert_eq!(Bytes::len(proof.body()), LIMIT);
        CallbackAnswer::ok()
    };
    let app = Router::new().route("/cb", post(handler).route_layer(builder().build().unwrap()));
    let address = support::serve(app).await;

    let sender = tokio::task::spawn_blocking(move || {
        // What is allocated once, by the server and by this thread, is not what a body costs.
        send(address, body, Framing::Whole);
        for framing in [Framing::Packets, Framing::Chunks] {
            let grown = send(address, body, framing);
            println!("64 KiB byte by byte: {} KiB", grown / 1024);
            assert!(grown < 1024 * 1024, "{grown} bytes");
        }
    });
    sender.await.unwrap();
}
