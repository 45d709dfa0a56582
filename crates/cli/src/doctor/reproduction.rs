//! A request to paste into an issue: the same case with other values.
//!
//! 1. Values are [masked](super::mask), in what was signed and in what arrived alike. Of the headers,
//!    those stay that a diagnosis looks at, with masked values; all others are left out.
//! 2. The masked text is signed again, with a [key](KEY_URL) that is printed in this command's source:
//!    no signature of the service leaves the machine. The doctor knows that key, so whoever gets the
//!    text can give it to `oss-callback doctor`.
//! 3. It is [faithful](Reproduction::is_faithful) only if the doctor says the same of it as of the
//!    original: diagnosis and refusal. If it does not, or what was signed is not known, the signature is
//!    left out. The reproduction has a key URL of its own, so a refusal of the original's is lost.

use std::fmt::Write;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use oss_callback::{
    PublicKey,
    diagnose::{Diagnosis, Evidence, Message},
    test_util::CallbackSigner,
};

use super::{examination::Examination, input, mask};

/// Nothing can be fetched from it, and no layer has it on its allowlist.
pub(crate) const KEY_URL: &str = "https://oss-callback-reproduction.invalid/key.pem";

/// It protects nothing, and is no secret.
const PRIVATE_KEY: &str = include_str!("reproduction_key.pem");

/// Headers that a diagnosis looks at, and whose values are no secrets.
const KEPT: [&str; 4] = [
    "Content-Type",
    "Content-Encoding",
    "Transfer-Encoding",
    "x-oss-signature-version",
];

/// Headers that a diagnosis looks at, with values to mask.
const MASKED: [&str; 10] = [
    "Forwarded",
    "Via",
    "X-Envoy-Original-Path",
    "X-Forwarded-For",
    "X-Forwarded-Path",
    "X-Forwarded-Prefix",
    "X-Forwarded-Uri",
    "X-Original-URI",
    "X-Original-URL",
    "X-Rewrite-URL",
];

/// A redacted request.
#[derive(Clone, Debug)]
pub(crate) struct Reproduction {
    /// Raw HTTP.
    pub(crate) text: String,
    /// Whether it is signed, and diagnosed as the original is.
    pub(crate) is_faithful: bool,
}

/// The key that reproductions are signed with.
pub(crate) fn public_key() -> PublicKey {
    signer().public_key()
}

fn signer() -> CallbackSigner {
    CallbackSigner::from_pem(PRIVATE_KEY).expect("the key was made to be usable")
}

impl Reproduction {
    pub(crate) fn of(examination: &Examination) -> Self {
        let received = Masked::of(examination.diagnosis.received());
        let signed = examination.diagnosis.signed().and_then(Masked::of);
        if let (Some(received), Some(signed)) = (&received, &signed) {
            let authorization = authorization(signed, &examination.diagnosis);
            let text = render(examination, received, Some(signed), &authorization, KEY_URL);
            if is_same(&text, examination) {
                return Self {
                    text,
                    is_faithful: true,
                };
            }
        }
        let received = received.unwrap_or_else(|| Masked::nothing(examination));
        let authorization = examination.capture.headers.get_all("authorization").iter();
        let shapes = authorization
            .map(|value| format!("<redacted, {} bytes>", value.len()))
            .collect::<Vec<_>>();
        Self {
            text: render(examination, &received, None, &shapes, ""),
            is_faithful: false,
        }
    }
}

/// A message with masked values.
struct Masked {
    target: String,
    body: String,
}

impl Masked {
    fn of(message: &Message) -> Option<Self> {
        let mut target = mask::path(message.path())?;
        if let Some(query) = message.query() {
            target.push('?');
            target.push_str(&mask::pairs(query)?);
        }
        Some(Self {
            target,
            body: mask::body(message.body())?,
        })
    }

    fn nothing(examination: &Examination) -> Self {
        let received = examination.diagnosis.received();
        Self {
            target: mask::path(received.path()).unwrap_or_else(|| "/<redacted>".to_owned()),
            body: format!("<redacted, {} bytes>", received.body().len()),
        }
    }

    /// The text that is signed.
    fn message(&self) -> Vec<u8> {
        let (path, query) = match self.target.find('?') {
            Some(at) => self.target.split_at(at),
            None => (self.target.as_str(), ""),
        };
        let mut message = percent_decoded(path);
        message.extend_from_slice(query.as_bytes());
        message.push(b'\n');
        message.extend_from_slice(self.body.as_bytes());
        message
    }
}

fn percent_decoded(path: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits
            .filter(|digits| *first == b'%' && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    decoded
}

/// The `Authorization` headers, with the same damage as the original's.
fn authorization(signed: &Masked, diagnosis: &Diagnosis) -> Vec<String> {
    let value = signer().authorization(&signed.message());
    let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    for evidence in diagnosis.evidence() {
        match evidence {
            Evidence::AuthorizationCharacter(place) if value.is_char_boundary(*place) => {
                let other = if value[*place..].starts_with('A') {
                    "B"
                } else {
                    "A"
                };
                if *place < value.len() {
                    value.replace_range(place..&(place + 1), other);
                }
            }
            Evidence::AuthorizationPercentEncoded => {
                value = value
                    .replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D");
            }
            Evidence::AuthorizationPlusLost => value = value.replace('+', " "),
            Evidence::AuthorizationPrefixed => value.insert_str(0, "Signature "),
            Evidence::AuthorizationRepeated => return vec![value.clone(), value],
            Evidence::AuthorizationSpaced => value.insert(value.len() / 2, ' '),
            Evidence::AuthorizationUrlSafe => value = value.replace('+', "-").replace('/', "_"),
            _ => {}
        }
    }
    vec![value]
}

fn render(
    examination: &Examination,
    received: &Masked,
    signed: Option<&Masked>,
    authorization: &[String],
    key_url: &str,
) -> String {
    let capture = &examination.capture;
    let mut text = format!("{} {} HTTP/1.1\n", capture.method, received.target);
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}: {value}");
    };
    line("Host", "app.example");
    for value in authorization {
        line("Authorization", value);
    }
    if signed.is_some() {
        // Twice if it was twice, and once if the capture left it out.
        let times = capture.headers.get_all("x-oss-pub-key-url").iter().count();
        for _ in 0..times.max(1) {
            line("x-oss-pub-key-url", &BASE64_STANDARD.encode(key_url));
        }
    }
    if let Some(length) = capture.header("content-length") {
        line("Content-Length", length);
    }
    if let Some(md5) = content_md5(examination, received, signed) {
        line("Content-MD5", &md5);
    }
    for name in KEPT {
        let values = capture.headers.get_all(name).iter();
        for value in values.filter_map(|value| value.to_str().ok()) {
            line(name, value);
        }
    }
    for name in MASKED {
        if let Some(masked) = capture.header(name).and_then(masked_header) {
            line(name, &masked);
        }
    }
    text.push('\n');
    text.push_str(&received.body);
    text
}

/// A path is masked as the target is, so that it still names it.
fn masked_header(value: &str) -> Option<String> {
    match value.split_once('?') {
        Some((path, query)) if path.starts_with('/') => {
            Some(format!("{}?{}", mask::path(path)?, mask::pairs(query)?))
        }
        None if value.starts_with('/') => mask::path(value),
        _ => mask::value(value),
    }
}

/// The digest of the masked body that the original digest belongs to.
fn content_md5(
    examination: &Examination,
    received: &Masked,
    signed: Option<&Masked>,
) -> Option<String> {
    let sent = examination.capture.header("content-md5")?;
    let fits = |message: &Message| sent == super::examination::content_md5(message);
    let body = if fits(examination.diagnosis.received()) {
        &received.body
    } else {
        let signed = signed.filter(|_| examination.diagnosis.signed().is_some_and(fits));
        &signed?.body
    };
    Some(BASE64_STANDARD.encode(Md5::digest(body)))
}

fn is_same(text: &str, original: &Examination) -> bool {
    let masked = input::read(text.as_bytes()).and_then(|capture| Examination::new(capture, None));
    let Ok(masked) = masked else {
        return false;
    };
    let code = |of: &Examination| of.refusal.as_ref().map(|refusal| refusal.code.clone());
    masked.diagnosis.verdict() == original.diagnosis.verdict()
        && masked.diagnosis.cause() == original.diagnosis.cause()
        && masked.diagnosis.also() == original.diagnosis.also()
        && code(&masked) == code(original)
}
