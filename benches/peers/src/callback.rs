//! The callback that everything here verifies.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use oss_callback::test_util::CallbackSigner;
use percent_encoding::percent_decode_str;
use serde::Deserialize;

/// Read by the ways of Node and Python as well.
pub const VECTORS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/vectors/oss_signed.json"
);

pub const PATH: &str = "/index.php";

#[derive(Clone)]
pub struct Callback {
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

#[derive(Deserialize)]
struct Vectors {
    key_pem: String,
    callbacks: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    path: String,
    query: String,
    body: String,
    authorization: String,
    pub_key_url: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../../tests/vectors/oss_signed.json"))
        .expect("the vectors are well-formed")
}

/// The production key.
pub fn key_pem() -> String {
    vectors().key_pem
}

/// The example of the service's documentation.
pub fn official() -> Callback {
    let vector = vectors().callbacks.swap_remove(0);
    assert_eq!(vector.path, PATH);
    let key_url = BASE64_STANDARD.encode(vector.pub_key_url);
    let value = |text: &str| HeaderValue::from_str(text).expect("base64 is ASCII");
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value(&vector.authorization));
    headers.insert("x-oss-pub-key-url", value(&key_url));
    headers.insert("content-length", HeaderValue::from(vector.body.len()));
    headers.insert(
        "content-type",
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    Callback {
        target: vector.path + &vector.query,
        headers,
        body: vector.body.into(),
    }
}

/// A callback with this body, signed by a key of this process.
pub fn signed(body: Bytes) -> Callback {
    let request = CallbackSigner::new().form(PATH, body.clone());
    Callback {
        target: PATH.to_owned(),
        headers: request.headers().clone(),
        body,
    }
}

impl Callback {
    /// The same signature over a body that was not signed.
    pub fn altered(&self) -> Self {
        Self {
            body: Bytes::from_static(b"bucket=yonghu-best"),
            ..self.clone()
        }
    }

    /// The same message, with a signature that no key made.
    pub fn garbage(&self) -> Self {
        let mut garbage = self.clone();
        let signature = HeaderValue::from_str(&BASE64_STANDARD.encode([0x42; 64]));
        let signature = signature.expect("base64 is ASCII");
        garbage.headers.insert("authorization", signature);
        garbage
    }

    pub fn signature(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.headers["authorization"]).ok()
    }

    /// What was signed: the decoded path, the query, a line feed, the body.
    pub fn message(&self) -> Vec<u8> {
        let query = self.target.find('?').unwrap_or(self.target.len());
        let (path, query) = self.target.split_at(query);
        let mut message: Vec<u8> = percent_decode_str(path).collect();
        message.extend_from_slice(query.as_bytes());
        message.push(b'\n');
        message.extend_from_slice(&self.body);
        message
    }

    pub fn request<B: From<Bytes>>(&self) -> Request<B> {
        let request = Request::post(&self.target);
        let mut request = request
            .body(B::from(self.body.clone()))
            .expect("the target is a path with a query");
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// The request on the wire.
    pub fn http1(&self, keep_alive: bool) -> Vec<u8> {
        let mut request = format!("POST {} HTTP/1.1\r\nHost: localhost\r\n", self.target);
        for (name, value) in &self.headers {
            let value = value.to_str().expect("the headers are ASCII");
            request += &format!("{name}: {value}\r\n");
        }
        if !keep_alive {
            request += "Connection: close\r\n";
        }
        request += "\r\n";
        let mut request = request.into_bytes();
        request.extend_from_slice(&self.body);
        request
    }
}
