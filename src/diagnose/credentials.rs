//! What the `Authorization` header of a request is.
//!
//! 1. Credentials of other schemes are recognised by their form: an OSS request signature, a bearer
//!    token, Basic, a MAC of a known length.
//! 2. A text that is nearly a signature is repaired, in the ways in which headers are known to be
//!    damaged, and counts only if the repaired signature opens under the key.
//! 3. A signature of the right length that does not open is tried with one character changed, at
//!    every place, if the key is short enough for that to be cheap.
//! 4. What is left was made by another key.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};

use super::{CapturedRequest, Cause, Evidence};
use crate::{PublicKey, verify::Signature};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Every place of a signature of 64 bytes with every other character costs some 5,600 openings of
/// a few microseconds. A longer key makes both factors larger.
const MAX_BITS_TO_REPAIR: usize = 512;

/// A signature that the key made.
pub(super) struct Credentials {
    pub(super) digest: [u8; 16],
    /// The header had to be repaired.
    pub(super) altered: Option<Cause>,
    pub(super) evidence: Vec<Evidence>,
}

pub(super) enum Judgement {
    Genuine(Credentials),
    Foreign {
        cause: Cause,
        evidence: Vec<Evidence>,
    },
    Absent,
}

pub(super) fn judge(request: &CapturedRequest, key: &PublicKey) -> Judgement {
    let mut values = request.headers().get_all("authorization").iter();
    let Some(first) = values.next() else {
        return Judgement::Absent;
    };
    let Ok(text) = first.to_str() else {
        return foreign(Cause::HeaderAltered, None);
    };
    if let Some(digest) = open_canonical(text, key) {
        let doubled = values.next().is_some();
        return Judgement::Genuine(Credentials {
            digest,
            altered: doubled.then_some(Cause::HeaderAltered),
            evidence: doubled
                .then_some(Evidence::AuthorizationRepeated)
                .into_iter()
                .collect(),
        });
    }
    if let Some((cause, evidence)) = other_scheme(text) {
        return foreign(cause, Some(evidence));
    }
    for (evidence, repaired) in repairs(text) {
        if let Some(digest) = open_lenient(&repaired, key) {
            return altered(digest, evidence);
        }
    }
    let Ok(bytes) = LENIENT.decode(text.trim()) else {
        return foreign(Cause::HeaderAltered, Some(Evidence::AuthorizationNotBase64));
    };
    if let Some((digest, place)) = repair_one_character(text, key) {
        return altered(digest, Evidence::AuthorizationCharacter(place));
    }
    let key_len = key.bits().div_ceil(8);
    if bytes.len() != key_len {
        let evidence = Evidence::AuthorizationLength {
            expected: key_len,
            received: bytes.len(),
        };
        return match bytes.len() {
            16 | 20 | 32 => foreign(Cause::Hmac, Some(evidence)),
            128 | 256 | 384 | 512 => foreign(Cause::WrongKey, Some(evidence)),
            _ => foreign(Cause::HeaderAltered, Some(evidence)),
        };
    }
    foreign(Cause::WrongKey, None)
}

fn foreign(cause: Cause, evidence: Option<Evidence>) -> Judgement {
    Judgement::Foreign {
        cause,
        evidence: evidence.into_iter().collect(),
    }
}

fn altered(digest: [u8; 16], evidence: Evidence) -> Judgement {
    Judgement::Genuine(Credentials {
        digest,
        altered: Some(Cause::HeaderAltered),
        evidence: vec![evidence],
    })
}

/// As the layer reads it.
fn open_canonical(text: &str, key: &PublicKey) -> Option<[u8; 16]> {
    key.open_bytes(&BASE64_STANDARD.decode(text).ok()?)
}

fn open_lenient(text: &str, key: &PublicKey) -> Option<[u8; 16]> {
    key.open_bytes(&LENIENT.decode(text).ok()?)
}

fn other_scheme(text: &str) -> Option<(Cause, Evidence)> {
    let text = text.trim();
    let scheme = text.split([' ', ':']).next().unwrap_or_default();
    let has_parameter = text.len() > scheme.len();
    if scheme.eq_ignore_ascii_case("OSS4-HMAC-SHA256") || scheme.eq_ignore_ascii_case("OSS2") {
        return Some((
            Cause::RequestSignature,
            Evidence::Scheme("OSS4-HMAC-SHA256"),
        ));
    }
    if scheme.eq_ignore_ascii_case("OSS") && has_parameter {
        return Some((Cause::RequestSignature, Evidence::Scheme("OSS")));
    }
    let known = [
        "Basic",
        "Digest",
        "Negotiate",
        "AWS4-HMAC-SHA256",
        "AWS",
        "acs",
        "ACS3-HMAC-SHA256",
    ];
    if let Some(known) = known
        .iter()
        .find(|known| scheme.eq_ignore_ascii_case(known))
    {
        return has_parameter.then_some((Cause::OtherCredentials, Evidence::Scheme(known)));
    }
    let token = match scheme.eq_ignore_ascii_case("Bearer") {
        true => text[scheme.len()..].trim(),
        false => text,
    };
    let is_jwt = token.starts_with("eyJ") && token.split('.').count() == 3;
    is_jwt.then_some((Cause::OtherCredentials, Evidence::Scheme("JWT")))
}

/// The ways in which a header's text is damaged without being lost.
fn repairs(text: &str) -> Vec<(Evidence, String)> {
    let mut repairs = Vec::new();
    let trimmed = text.trim().trim_matches(['"', '\'']).to_owned();
    if let Some((scheme, rest)) = trimmed.split_once([' ', ':']) {
        if scheme.len() < 20 {
            repairs.push((Evidence::AuthorizationPrefixed, rest.trim().to_owned()));
        }
    }
    if let Some((first, _)) = trimmed.split_once(',') {
        repairs.push((Evidence::AuthorizationRepeated, first.trim().to_owned()));
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(&trimmed).collect();
    if let Ok(decoded) = String::from_utf8(decoded) {
        repairs.push((Evidence::AuthorizationPercentEncoded, decoded));
    }
    repairs.push((Evidence::AuthorizationPlusLost, trimmed.replace(' ', "+")));
    let plain: String = trimmed.split_whitespace().collect();
    repairs.push((
        Evidence::AuthorizationUrlSafe,
        plain.replace('-', "+").replace('_', "/"),
    ));
    repairs.push((
        Evidence::AuthorizationSpaced,
        plain.replace("\\n", "").replace("\\/", "/"),
    ));
    repairs
}

fn repair_one_character(text: &str, key: &PublicKey) -> Option<([u8; 16], usize)> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    if key.bits() > MAX_BITS_TO_REPAIR {
        return None;
    }
    let mut bytes = text.trim().trim_end_matches('=').as_bytes().to_vec();
    if bytes.len() != (key.bits().div_ceil(8) * 8).div_ceil(6) {
        return None;
    }
    for place in 0..bytes.len() {
        let kept = bytes[place];
        for other in ALPHABET {
            bytes[place] = *other;
            let decoded = LENIENT.decode(&bytes).ok();
            if let Some(digest) = decoded.and_then(|decoded| key.open_bytes(&decoded)) {
                return Some((digest, place));
            }
        }
        bytes[place] = kept;
    }
    None
}

impl PublicKey {
    /// The digest in a signature of these bytes.
    fn open_bytes(&self, bytes: &[u8]) -> Option<[u8; 16]> {
        self.open(&Signature::from_base64(
            BASE64_STANDARD.encode(bytes).as_bytes(),
        )?)
    }
}
