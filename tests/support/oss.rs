//! A stand-in for OSS itself, which is asked about objects.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use oss_callback::upload::{Credentials, ObjectClient, OssEndpoint};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::patience::PATIENCE;

/// The object that everything is about.
pub const STORED: &str = "HTTP/1.1 200 OK\r\n\
    Content-Length: 1000\r\n\
    Content-Type: image/jpeg\r\n\
    ETag: \"5eb63bbbe01eeed093cb22bb8f5acdc3\"\r\n\
    Last-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n\
    x-oss-hash-crc64ecma: 5981764153023615706\r\n\
    x-oss-version-id: CAEQ\r\n\r\n";

/// Its ETag as callbacks have it.
pub const ETAG: &str = "5EB63BBBE01EEED093CB22BB8F5ACDC3";

/// What is answered to every question; `None` for nothing at all.
pub type Answer = Option<String>;

/// Answers each question alike, and keeps what it was asked.
#[derive(Clone)]
pub struct Oss {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    connections: Arc<AtomicUsize>,
    questions: Arc<Mutex<Vec<String>>>,
}

impl Oss {
    pub async fn start(answer: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let oss = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(Some(answer.to_owned()))),
            connections: Arc::default(),
            questions: Arc::default(),
        };
        let server = oss.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                server.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(server.clone().serve(stream));
            }
        });
        oss
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut head = Vec::new();
        while let Ok(byte) = stream.read_u8().await {
            head.push(byte);
            if !head.ends_with(b"\r\n\r\n") {
                continue;
            }
            let question = String::from_utf8(std::mem::take(&mut head)).unwrap();
            self.questions.lock().unwrap().push(question);
            let answer = self.answer.lock().unwrap().clone();
            match answer {
                None => std::future::pending().await,
                Some(answer) => {
                    if stream.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    pub fn set_answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The heads of the requests so far.
    pub fn questions(&self) -> Vec<String> {
        self.questions.lock().unwrap().clone()
    }

    pub fn endpoint(&self) -> OssEndpoint {
        OssEndpoint::new("cn-hangzhou", &format!("http://{}", self.address)).unwrap()
    }

    pub fn client(&self) -> ObjectClient {
        let credentials = Credentials::new("LTAIexampleAccessKeyId", "exampleAccessKeySecret");
        self.client_at(SystemTime::now(), credentials)
    }

    /// One that signs at that time, and waits for the answer of a busy machine.
    pub fn client_at(&self, now: SystemTime, credentials: Credentials) -> ObjectClient {
        ObjectClient::builder(self.endpoint(), credentials)
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .clock(move || now)
            .build()
            .unwrap()
    }
}
