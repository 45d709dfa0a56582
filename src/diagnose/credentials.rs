//! What the `Authorization` header of a request is.
//!
//! 1. A signature that opens under the key counts, wherever it is found: in the header, in a second one
//!    of that name, or in one to which gateways move it.
//! 2. A text that is nearly a signature is [repaired](super::header_repair), and counts only if the
//!    repaired one opens under the key. One character that changed, went or came is searched for at
//!    [full](Effort::Full) effort alone.
//! 3. Credentials of other schemes are recognised by their form: an OSS request signature, a bearer
//!    token, Basic, any other word with parameters, a MAC of a known length.
//! 4. A text that lost what a signature needs, so that it cannot be repaired, is said to be altered only
//!    if its form shows it.
//! 5. What is left was made by another key, and so was a signature that was altered and would be whole if it
//!    had not been.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    CapturedRequest, Cause, Effort, Evidence,
    header_repair::{
        altered_signature, hexadecimal, is_searched, lenient_bytes, open_canonical, repair,
        repair_one_character,
    },
};
use crate::{
    PublicKey,
    keys::{LOCAL_OSS_URLS, V1_URL},
    verify::names::KEY_URL,
};

/// Headers to which gateways and web servers move credentials that they replace.
const MOVED_TO: [&str; 9] = [
    "x-forwarded-authorization",
    "x-original-authorization",
    "x-amzn-remapped-authorization",
    "x-authorization",
    "x-oss-authorization",
    "x-http-authorization",
    "http-authorization",
    "redirect-http-authorization",
    "proxy-authorization",
];

/// How programs write a value that is not there, and then send it.
const PLACEHOLDERS: [&str; 7] = ["-", "(null)", "nil", "None", "null", "NULL", "undefined"];

/// The lengths of MACs: of MD5, SHA-1, SHA-224 to SHA-512.
const MAC_LENGTHS: [usize; 6] = [16, 20, 28, 32, 48, 64];

/// The lengths of RSA signatures.
pub(super) const SIGNATURE_LENGTHS: [usize; 5] = [64, 128, 256, 384, 512];

/// A signature that the key made.
pub(super) struct Credentials {
    pub(super) digest: [u8; 16],
    /// The header had to be repaired, or found elsewhere.
    pub(super) altered: Option<Cause>,
    pub(super) evidence: Vec<Evidence>,
}

pub(super) enum Judgement {
    Genuine(Credentials),
    Foreign {
        cause: Cause,
        evidence: Vec<Evidence>,
    },
}

pub(super) fn judge(request: &CapturedRequest, key: &PublicKey, effort: Effort) -> Judgement {
    let values: Vec<Option<&str>> = request
        .headers()
        .get_all("authorization")
        .iter()
        .map(|value| value.to_str().ok())
        .collect();
    let mut texts = values.iter().copied().flatten();
    if let Some(digest) = texts.find_map(|text| open_canonical(text, key)) {
        let doubled = values.len() > 1;
        return Judgement::Genuine(Credentials {
            digest,
            altered: doubled.then_some(Cause::HeaderAltered),
            evidence: doubled
                .then_some(Evidence::AuthorizationRepeated)
                .into_iter()
                .collect(),
        });
    }
    for text in values.iter().copied().flatten() {
        if let Some((digest, evidence)) = repair(text, key) {
            return altered(Cause::HeaderAltered, digest, evidence);
        }
    }
    let own = values.first().map(|first| match first {
        Some(text) => foreign(text, key),
        None => (Cause::HeaderAltered, Some(Evidence::AuthorizationNotBase64)),
    });
    for name in MOVED_TO {
        let moved = request
            .header(name)
            .and_then(|text| open_canonical(text, key).or_else(|| Some(repair(text, key)?.0)));
        if let Some(digest) = moved {
            let cause = own.map_or(Cause::AuthorizationMissing, |(cause, _)| cause);
            return altered(cause, digest, Evidence::AuthorizationMoved(name));
        }
    }
    let searched = values.iter().copied().flatten();
    for text in searched.filter(|_| effort == Effort::Full) {
        if let Some((digest, evidence)) = repair_one_character(text, key) {
            return altered(Cause::HeaderAltered, digest, evidence);
        }
    }
    let (cause, evidence) = own.unwrap_or((Cause::AuthorizationMissing, None));
    let searched = effort == Effort::Full && is_searched(key);
    let (cause, further) = match cause {
        Cause::AuthorizationMissing => {
            let is_callback = is_like_a_callback(request);
            (
                cause,
                [(!is_callback).then_some(Evidence::NoCallback), None],
            )
        }
        // Its length is another key's: there is nothing to search for.
        Cause::WrongKey if searched || evidence.is_some() => {
            let is_named = names(request, key) || names_published(request, key);
            (cause, [is_named.then_some(Evidence::OwnKeyUrl), None])
        }
        Cause::WrongKey if names(request, key) => (
            Cause::HeaderAltered,
            [
                Some(Evidence::OwnKeyUrl),
                Some(Evidence::AuthorizationNotSearched),
            ],
        ),
        Cause::WrongKey => (cause, [Some(Evidence::AuthorizationNotSearched), None]),
        _ => (cause, [None, None]),
    };
    Judgement::Foreign {
        cause,
        evidence: evidence
            .into_iter()
            .chain(further.into_iter().flatten())
            .collect(),
    }
}

/// The URL of the key, decoded.
fn key_url(request: &CapturedRequest) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(request.header(KEY_URL)?.trim()).ok()
}

/// Whether the key URL is the one under which this key is published. Anybody can name it, so that a signature
/// that does not open is forged or damaged beyond what is searched.
fn names_published(request: &CapturedRequest, key: &PublicKey) -> bool {
    let is_published = key_url(request).is_some_and(|url| {
        let spelled_http = url.strip_prefix(b"http:");
        let rest = spelled_http.or(url.strip_prefix(b"https:"));
        rest.is_some() && rest == V1_URL.as_bytes().strip_prefix(b"https:")
    });
    is_published && *key == PublicKey::aliyun_v1()
}

/// Whether the key URL is one of a local OSS and names this key.
fn names(request: &CapturedRequest, key: &PublicKey) -> bool {
    key_url(request).is_some_and(|url| {
        let fingerprint = url
            .strip_prefix(LOCAL_OSS_URLS.as_bytes())
            .and_then(|rest| rest.strip_suffix(b".pem"));
        fingerprint.is_some_and(|text| text == key.fingerprint().as_bytes())
    })
}

/// Whether anything but the signature shows that OSS sent this.
fn is_like_a_callback(request: &CapturedRequest) -> bool {
    let mut names = request.headers().keys();
    if names.any(|name| name.as_str().starts_with("x-oss-")) {
        return true;
    }
    let agent = request.header("user-agent").unwrap_or_default().trim();
    let agents = ["aliyun-oss-callback", "http-client/", "ehttp-client/"];
    agents.into_iter().any(|known| agent.starts_with(known))
}

fn altered(cause: Cause, digest: [u8; 16], evidence: Evidence) -> Judgement {
    Judgement::Genuine(Credentials {
        digest,
        altered: Some(cause),
        evidence: vec![evidence],
    })
}

/// What a text is that is no signature of the key.
fn foreign(text: &str, key: &PublicKey) -> (Cause, Option<Evidence>) {
    let text = text.trim();
    if text.is_empty() || PLACEHOLDERS.contains(&text) {
        return (Cause::AuthorizationMissing, None);
    }
    if let Some((cause, evidence)) = other_scheme(text) {
        return (cause, Some(evidence));
    }
    let expected = key.bits().div_ceil(8);
    let length = |received| Evidence::AuthorizationLength { expected, received };
    // With the name of the hash in front: `sha256=7f..`, `HMAC 7f..`.
    let digits = text.rsplit(['=', ' ', ':']).next().unwrap_or(text);
    if let Some(mac) = hexadecimal(digits).filter(|mac| MAC_LENGTHS.contains(&mac.len())) {
        return (Cause::Hmac, Some(length(mac.len())));
    }
    let Some(bytes) = lenient_bytes(text) else {
        // A signature that would be whole if it had not been altered, and that the key did not make.
        if let Some(evidence) = altered_signature(text) {
            return (Cause::WrongKey, Some(evidence));
        }
        if is_nothing_like_a_signature(text, expected) {
            return (Cause::OtherCredentials, Some(Evidence::Scheme("other")));
        }
        return (Cause::HeaderAltered, Some(Evidence::AuthorizationNotBase64));
    };
    // One case of letters alone: of 86 letters and digits that is no chance.
    let letters = || text.chars().filter(char::is_ascii_alphabetic);
    let one_case =
        letters().all(|c| c.is_ascii_lowercase()) || letters().all(|c| c.is_ascii_uppercase());
    if one_case && text.len() >= 40 {
        return (Cause::HeaderAltered, Some(Evidence::AuthorizationCase));
    }
    if bytes.len() == expected {
        return (Cause::WrongKey, None);
    }
    // Without its padding it is a part of a text that went on.
    let is_whole = BASE64_STANDARD.decode(text).is_ok();
    let cause = match bytes.len() {
        16 | 20 | 32 if is_whole => Cause::Hmac,
        length if SIGNATURE_LENGTHS.contains(&length) => Cause::WrongKey,
        _ => Cause::HeaderAltered,
    };
    (cause, Some(length(bytes.len())))
}

/// Whether a text begins with a word, has signs that no spelling of a signature has, or one more word, and
/// between them less than half of what a signature of that many bytes would be.
fn is_nothing_like_a_signature(text: &str, expected: usize) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "+/-_=".contains(c);
    let longest = text.split(|c| !is_letter(c)).map(str::len).max();
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && (text.contains([':', '#', '&', ';', '|', '@']) || text.split_whitespace().count() == 2)
        && longest.unwrap_or_default() < expected * 4 / 3 / 2
}

fn other_scheme(text: &str) -> Option<(Cause, Evidence)> {
    let scheme = text.split([' ', ':', '\t']).next().unwrap_or_default();
    let has_parameter = text.len() > scheme.len();
    let is = |name: &str| scheme.eq_ignore_ascii_case(name);
    if ["OSS4-HMAC-SHA256", "OSS2"].into_iter().any(is) {
        return Some((
            Cause::RequestSignature,
            Evidence::Scheme("OSS4-HMAC-SHA256"),
        ));
    }
    if is("OSS") && has_parameter {
        return Some((Cause::RequestSignature, Evidence::Scheme("OSS")));
    }
    let token = text.rsplit([' ', '\t']).next().unwrap_or(text);
    if token.starts_with("eyJ") && token.split('.').count() >= 3 {
        return Some((Cause::OtherCredentials, Evidence::Scheme("JWT")));
    }
    let known = [
        "Basic",
        "Bearer",
        "Digest",
        "Negotiate",
        "NTLM",
        "Hawk",
        "HOBA",
        "Mutual",
        "Signature",
        "Token",
        "ApiKey",
        "APPCODE",
        "AWS4-HMAC-SHA256",
        "AWS",
        "acs",
        "ACS3-HMAC-SHA256",
        "TC3-HMAC-SHA256",
    ];
    if let Some(known) = known.into_iter().find(|known| is(known)) {
        return Some((Cause::OtherCredentials, Evidence::Scheme(known)));
    }
    // Another scheme: a word, and after a blank what only parameters have.
    let (word, rest) = text.split_once([' ', '\t'])?;
    let is_word = word.len() <= 32
        && word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let rest = rest.trim();
    // A signature that lost its `+`, or was folded, is no word with parameters.
    let signature = lenient_bytes(&text.replace([' ', '\t'], "+"));
    let is_folded = altered_signature(text) == Some(Evidence::AuthorizationSpaced);
    if is_folded || signature.is_some_and(|bytes| SIGNATURE_LENGTHS.contains(&bytes.len())) {
        return None;
    }
    let has_parameters = rest.contains("=\"") || rest.split(',').all(|part| part.contains('='));
    (is_word && has_parameters).then_some((Cause::OtherCredentials, Evidence::Scheme("other")))
}
