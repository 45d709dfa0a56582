//! Other programs that tests start.

use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::ports::free_port;

/// Some compile first, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program that ends with the test, however that ends.
pub struct Running(Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether a program can be run with these arguments. If not, the test says that it is skipped.
pub fn is_there(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let is_there = command.status().is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: there is no {program}, or not what it needs");
    }
    is_there
}

pub fn free_address() -> SocketAddr {
    ([127, 0, 0, 1], free_port()).into()
}

pub async fn wait_for(address: SocketAddr) {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_err() {
        assert!(Instant::now() < end, "it does not listen");
        sleep(Duration::from_millis(20)).await;
    }
}
