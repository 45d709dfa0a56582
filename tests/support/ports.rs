//! Ports of loopback for programs that are told theirs and cannot say which one they took.
//!
//! A port that the system has just given and taken back is not free for long: it goes on to the next
//! listener, or is the near end of a connection, and a connection to it can even be to itself. These are
//! below those that the system gives to anyone, and below 18,000, as some tests need a fixed one there.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU64, Ordering},
};

/// The port ten thousand above is free too: a node of a Redis cluster takes it for its bus.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::SeqCst) * 7;
        let port = 10_000 + (u64::from(std::process::id()) * 131 + step) % 8000;
        let port = port as u16;
        if [port, port + 10_000]
            .iter()
            .all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        {
            return port;
        }
    }
}
