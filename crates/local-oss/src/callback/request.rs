//! The request of a callback: what is sent, and what of it is signed.

use std::time::SystemTime;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use md5::{Digest, Md5};
use oss_callback::upload::CallbackUrl;
use percent_encoding::percent_decode_str;

use crate::{config::Config, fault::Fault, key::CallbackKey};

/// A signed request, whole: it can be sent again as it is.
#[derive(Clone, Debug)]
pub(super) struct SignedRequest {
    pub(super) url: CallbackUrl,
    /// In the order in which they are sent.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// What a request says besides its URL.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// `callbackHost`.
    pub(super) host: Option<&'a str>,
    pub(super) content_type: &'static str,
    pub(super) body: &'a Bytes,
    pub(super) bucket: &'a str,
    pub(super) request_id: &'a str,
    pub(super) now: SystemTime,
}

/// Makes and signs the request to one URL, with the fault that was asked for.
pub(super) fn sign(
    url: &CallbackUrl,
    message: Message<'_>,
    config: &Config,
    key: &CallbackKey,
    fault: Option<Fault>,
) -> SignedRequest {
    let signed = signed_text(&url.target(), message.body, config);
    let mut signature = match fault {
        Some(Fault::WrongKey) => CallbackKey::generate().sign(&signed),
        _ => key.sign(&signed),
    };
    if let (Some(Fault::CorruptSignature), Some(last)) = (fault, signature.last_mut()) {
        *last ^= 1;
    }
    let mut body = message.body.clone();
    if fault == Some(Fault::AlterBody) {
        // Still of its kind, so that only the signature can find it out.
        let more: &[u8] = match message.content_type {
            "application/json" => b" ",
            _ => b"&altered=1",
        };
        body = [&body, more].concat().into();
    }
    let host = message.host.unwrap_or_else(|| url.authority());
    let headers = vec![
        ("Host", host.to_owned()),
        ("Connection", "close".to_owned()),
        ("Content-Length", body.len().to_string()),
        ("Authorization", BASE64_STANDARD.encode(signature)),
        (
            "Content-MD5",
            BASE64_STANDARD.encode(Md5::digest(message.body)),
        ),
        ("Content-Type", message.content_type.to_owned()),
        ("Date", httpdate::fmt_http_date(message.now)),
        ("User-Agent", "aliyun-oss-callback".to_owned()),
        ("x-oss-additional-headers", String::new()),
        ("x-oss-bucket", message.bucket.to_owned()),
        ("x-oss-owner", ACCOUNT.to_owned()),
        ("x-oss-pub-key-url", BASE64_STANDARD.encode(key.url())),
        ("x-oss-request-id", message.request_id.to_owned()),
        ("x-oss-requester", ACCOUNT.to_owned()),
        ("x-oss-signature-version", "1.0".to_owned()),
        ("x-oss-tag", "CALLBACK".to_owned()),
    ];
    SignedRequest {
        url: url.clone(),
        headers,
        body,
    }
}

/// The path decoded once, the query as it is with its `?`, a line feed, the body. Two of its readings
/// are not known of the service, and are settings.
fn signed_text(target: &str, body: &[u8], config: &Config) -> Vec<u8> {
    let (path, query) = match target.find('?') {
        Some(at) => target.split_at(at),
        None => (target, ""),
    };
    let query = match query {
        "?" if config.sign_without_empty_query => "",
        query => query,
    };
    let path = if config.sign_plus_as_space {
        path.replace('+', " ")
    } else {
        path.to_owned()
    };
    let mut text: Vec<u8> = percent_decode_str(&path).collect();
    text.extend_from_slice(query.as_bytes());
    text.push(b'\n');
    text.extend_from_slice(body);
    text
}

/// An account id of the service's form.
const ACCOUNT: &str = "1000000000000001";
