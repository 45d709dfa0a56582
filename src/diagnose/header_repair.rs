//! The ways in which a signature's text is known to be damaged without being lost.
//!
//! A repair counts only if the repaired signature opens under the key, so that a wrong one costs an
//! opening and nothing else.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use percent_encoding::percent_decode_str;

use super::{Evidence, credentials::SIGNATURE_LENGTHS};
use crate::{PublicKey, verify::Signature};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One character changed or lost at every place costs some 5,500 openings of a signature of 64 bytes, or
/// 10 ms, and 11,000 of one of 128 bytes, or 100 ms on a busy machine. With 2048 bits it would be a second.
const MAX_BITS_TO_SEARCH: usize = 1024;

/// Longer values are not repaired.
const MAX_LEN: usize = 4 * 1024;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The digest in a signature as the layer reads it.
pub(super) fn open_canonical(text: &str, key: &PublicKey) -> Option<[u8; 16]> {
    key.open_bytes(&BASE64_STANDARD.decode(text).ok()?)
}

/// The bytes of a text that is base64, with or without padding.
pub(super) fn lenient_bytes(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

/// The digest in the signature that a text once was, and what happened to it.
pub(super) fn repair(text: &str, key: &PublicKey) -> Option<([u8; 16], Evidence)> {
    if text.len() > MAX_LEN {
        return None;
    }
    candidates(text)
        .into_iter()
        .find_map(|(evidence, candidate)| {
            let digest = key.open_bytes(&candidate)?;
            Some((digest, evidence))
        })
}

/// How a text was altered, if it was a whole signature before, of any key. Blanks in it may have been any
/// characters, unless it is whole without them.
pub(super) fn altered_signature(text: &str) -> Option<Evidence> {
    if text.len() > MAX_LEN {
        return None;
    }
    let has_blanks = text.trim().contains([' ', '\t']);
    let is_certain = |evidence: &Evidence| {
        !has_blanks
            || matches!(
                evidence,
                Evidence::AuthorizationSpaced
                    | Evidence::AuthorizationRepeated
                    | Evidence::AuthorizationPrefixed
            )
    };
    let mut candidates = candidates(text).into_iter();
    let found = candidates
        .find(|(evidence, bytes)| is_certain(evidence) && SIGNATURE_LENGTHS.contains(&bytes.len()));
    found.map(|(evidence, _)| evidence)
}

/// Whether [`repair_one_character`] searches in signatures of this key.
pub(super) fn is_searched(key: &PublicKey) -> bool {
    key.bits() <= MAX_BITS_TO_SEARCH
}

/// The digest in a signature one character of which was changed, lost or added, or two of which
/// changed places.
pub(super) fn repair_one_character(text: &str, key: &PublicKey) -> Option<([u8; 16], Evidence)> {
    let length = (key.bits().div_ceil(8) * 8).div_ceil(6);
    let bytes = text.trim().trim_end_matches('=').as_bytes();
    if !is_searched(key) || bytes.len().abs_diff(length) > 2 {
        return None;
    }
    let open = |bytes: &[u8]| key.open_bytes(&LENIENT.decode(bytes).ok()?);
    let found = |digest, place| Some((digest, Evidence::AuthorizationCharacter(place)));
    for place in 0..=bytes.len() {
        let rest = bytes.get(place + 1..).unwrap_or_default();
        match bytes.len().cmp(&length) {
            std::cmp::Ordering::Less => {
                for other in ALPHABET {
                    let filled = [&bytes[..place], &[*other], &bytes[place..]].concat();
                    if let Some(digest) = open(&filled) {
                        return found(digest, place);
                    }
                }
            }
            std::cmp::Ordering::Equal => {
                let mut swapped = bytes.to_vec();
                if place + 1 < bytes.len() {
                    swapped.swap(place, place + 1);
                    if let Some(digest) = open(&swapped) {
                        return found(digest, place);
                    }
                }
                if place == bytes.len() {
                    break;
                }
                for other in ALPHABET {
                    let replaced = [&bytes[..place], &[*other], rest].concat();
                    if let Some(digest) = open(&replaced) {
                        return found(digest, place);
                    }
                }
            }
            std::cmp::Ordering::Greater => {
                if let Some(digest) = open(&[&bytes[..place], rest].concat()) {
                    return found(digest, place);
                }
            }
        }
    }
    // The last two characters are gone.
    if bytes.len() + 2 == length {
        for first in ALPHABET {
            for second in ALPHABET {
                if let Some(digest) = open(&[bytes, &[*first, *second]].concat()) {
                    return found(digest, bytes.len());
                }
            }
        }
    }
    None
}

/// The bytes that the text may have stood for, the likelier first.
fn candidates(text: &str) -> Vec<(Evidence, Vec<u8>)> {
    let mut found: Vec<(Evidence, Vec<u8>)> = Vec::new();
    let mut add = |evidence, candidate: &str| {
        if let Some(bytes) = lenient_bytes(candidate) {
            found.push((evidence, bytes));
        }
    };
    let trimmed = text
        .trim()
        .trim_matches(|c| "\"'<>[](){}`".contains(c))
        .trim();
    add(Evidence::AuthorizationSpaced, trimmed);
    // A word in front: a scheme, a label.
    for separator in [' ', ':', '=', '\t'] {
        if let Some((first, rest)) = trimmed.split_once(separator) {
            if first.len() < 40 {
                let rest = rest.trim().trim_matches(['"', '\'']);
                add(Evidence::AuthorizationPrefixed, rest);
                add(Evidence::AuthorizationPrefixed, &rest.replace(' ', "+"));
                add(Evidence::AuthorizationPrefixed, &standard_alphabet(rest));
            }
        }
    }
    for part in trimmed.split([',', ';', ' ', '\t', '|']) {
        add(Evidence::AuthorizationRepeated, part.trim());
        let part = part.split_once("=\"").map_or(part, |(_, rest)| rest);
        add(Evidence::AuthorizationPrefixed, part.trim_matches('"'));
    }
    let mut decoded = trimmed.to_owned();
    for _ in 0..2 {
        decoded = percent_decode_str(&decoded)
            .decode_utf8_lossy()
            .into_owned();
        add(Evidence::AuthorizationPercentEncoded, &decoded);
        add(
            Evidence::AuthorizationPercentEncoded,
            &decoded.replace(' ', "+"),
        );
    }
    add(
        Evidence::AuthorizationPlusLost,
        &trimmed.replace([' ', '\t'], "+"),
    );
    add(
        Evidence::AuthorizationPlusLost,
        &trimmed.replace("%20", "+"),
    );
    let plain: String = trimmed.split_whitespace().collect();
    add(Evidence::AuthorizationUrlSafe, &standard_alphabet(&plain));
    // Other alphabets that URL-safe variants use for the two signs and the padding.
    let other = plain.replace('.', "+").replace(['_', '~'], "/");
    add(Evidence::AuthorizationUrlSafe, &other);
    for breaks in ["\\r\\n", "\\n", "%0A", "%0D%0A", "&#10;"] {
        add(Evidence::AuthorizationSpaced, &plain.replace(breaks, ""));
    }
    let escapes = [
        ("\\/", "/"),
        ("\\u002b", "+"),
        ("\\u002B", "+"),
        ("\\u002f", "/"),
        ("\\u002F", "/"),
        ("\\u003d", "="),
        ("\\u003D", "="),
        ("\\x2b", "+"),
        ("&#43;", "+"),
        ("&#x2B;", "+"),
        ("&#x2F;", "/"),
        ("&#47;", "/"),
        ("&#61;", "="),
        ("&#x3D;", "="),
    ];
    let unescaped = escapes
        .iter()
        .fold(plain.clone(), |text, (from, to)| text.replace(from, to));
    add(Evidence::AuthorizationEscaped, &unescaped);
    let letters = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/');
    let stripped: String = plain.chars().filter(letters).collect();
    add(Evidence::AuthorizationSpaced, &stripped);
    // Base64 once more, and hexadecimal digits in its place.
    let behind_a_word = trimmed.split_once(' ').map_or("", |(_, rest)| rest.trim());
    for text in [plain.as_str(), behind_a_word] {
        let inner = lenient_bytes(text).and_then(|bytes| String::from_utf8(bytes).ok());
        if let Some(inner) = inner {
            // HTTP Basic puts a name and a colon in front.
            let inner = inner.trim().trim_matches(':');
            let inner = inner.rsplit(':').next().unwrap_or(inner);
            add(Evidence::AuthorizationEncodedAgain, inner);
        }
    }
    if let Some(bytes) = hexadecimal(&plain) {
        found.push((Evidence::AuthorizationHexadecimal, bytes));
    }
    found
}

/// The bytes of a text of hexadecimal digits, which may have a colon between bytes.
pub(super) fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .bytes()
        .filter(|byte| *byte != b':')
        .collect();
    if digits.is_empty() || digits.len() % 2 != 0 {
        return None;
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let bytes = digits
        .chunks(2)
        .map(|pair| u8::try_from(digit(&pair[0])? << 4 | digit(&pair[1])?).ok());
    bytes.collect()
}

fn standard_alphabet(text: &str) -> String {
    text.replace('-', "+").replace('_', "/")
}

impl PublicKey {
    /// The digest in a signature of these bytes.
    fn open_bytes(&self, bytes: &[u8]) -> Option<[u8; 16]> {
        if bytes.len() != self.bits().div_ceil(8) {
            return None;
        }
        self.open(&Signature::from_base64(
            BASE64_STANDARD.encode(bytes).as_bytes(),
        )?)
    }
}
