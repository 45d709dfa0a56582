//! A diagnosis names no cause that is not true.
//!
//! 1. What was signed and what arrived have nothing to do with each other: nothing is found.
//! 2. One edit of a production callback that no proxy or framework makes: nothing is found, or the text
//!    that was signed, which is then what the vector has.
//! 3. Signatures of other keys are not repaired into one of this key.
//!
//! `OSS_CALLBACK_SEED` repeats a run; `OSS_CALLBACK_MESSAGES` sets the number of messages, which is 10,000
//! in `.ci/run`.

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;
use oss_callback::{
    PublicKey,
    diagnose::{CapturedRequest, Cause, Effort, Verdict, diagnose, diagnose_with},
    test_util::CallbackSigner,
};

/// SplitMix64: any seed is a good one, and a run can be repeated.
struct Random(u64);

impl Random {
    fn new(salt: u64) -> Self {
        let seed = number("OSS_CALLBACK_SEED", 20_261_127);
        println!("OSS_CALLBACK_SEED={seed}");
        Self(seed ^ salt << 32)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn word(&mut self, alphabet: &[u8]) -> String {
        let length = 1 + self.below(8);
        let letters = (0..length).map(|_| char::from(alphabet[self.below(alphabet.len())]));
        letters.collect()
    }

    fn pairs(&mut self) -> String {
        let pairs: Vec<String> = (0..1 + self.below(5))
            .map(|_| format!("{}={}", self.word(LETTERS), self.word(VALUE)))
            .collect();
        pairs.join("&")
    }

    fn target(&mut self) -> String {
        let path: String = (0..1 + self.below(4))
            .map(|_| format!("/{}", self.word(VALUE)))
            .collect();
        match self.below(2) {
            0 => path,
            _ => format!("{path}?{}", self.pairs()),
        }
    }

    /// A form, JSON, a JSON template that OSS left malformed, a line of text, or bytes. None is so short
    /// that one might be the beginning of another by chance.
    fn body(&mut self) -> Vec<u8> {
        match self.below(5) {
            0 => self.pairs().into_bytes(),
            1 => {
                let members: Vec<String> = (0..1 + self.below(4))
                    .map(|_| format!("\"{}\":\"{}\"", self.word(LETTERS), self.word(LETTERS)))
                    .collect();
                format!("{{{}}}", members.join(",")).into_bytes()
            }
            2 => format!("{{\"{}\":,\"x\":1}}", self.word(LETTERS)).into_bytes(),
            3 => (0..8 + self.below(20))
                .map(|_| b"abc def\n&=%+"[self.below(12)])
                .collect(),
            _ => (0..8 + self.below(60))
                .map(|_| self.next().to_le_bytes()[0])
                .collect(),
        }
    }
}

const LETTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// What a path and a query hold, the characters that encoders treat differently among them.
const VALUE: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789-_.~:$!*'()+,;@";

fn number(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap())
}

/// The headers of a signed message, with a length that is that of what arrived, or none.
fn headers_of(signed: &CapturedRequest, received: usize, random: &mut Random) -> HeaderMap {
    let mut headers = signed.headers().clone();
    headers.insert("content-length", received.into());
    for name in ["content-md5", "content-length"] {
        if random.below(2) == 0 {
            headers.remove(name);
        }
    }
    headers
}

fn random_messages_are_not_found(salt: u64) {
    let mut random = Random::new(salt);
    let signer = CallbackSigner::new();
    let key = signer.public_key();
    for round in 0..number("OSS_CALLBACK_MESSAGES", 2_000) / 4 {
        let (target, body) = (random.target(), random.body());
        let (parts, _) = signer.form(&target, body.clone()).into_parts();
        let signed = CapturedRequest::from_parts(&parts, body.clone()).unwrap();
        let (other_target, other) = (random.target(), random.body());
        let headers = headers_of(&signed, other.len(), &mut random);
        let request = CapturedRequest::new(&other_target, headers, other.clone()).unwrap();
        // The search is the same, and longer.
        let effort = match round % 100 {
            0 => Effort::Full,
            _ => Effort::Small,
        };
        let diagnosis = diagnose_with(&request, &key, effort);
        let context = format!(
            "{target} {:?} {other_target} {:?} {diagnosis:?}",
            String::from_utf8_lossy(&body),
            String::from_utf8_lossy(&other),
        );
        assert_eq!(diagnosis.verdict(), Verdict::ChangedUnknown, "{context}");
        assert_eq!(diagnosis.cause(), None, "{context}");
        assert!(diagnosis.signed().is_none(), "{context}");
    }
}

#[test]
fn random_messages_are_not_found_1() {
    random_messages_are_not_found(1);
}

#[test]
fn random_messages_are_not_found_2() {
    random_messages_are_not_found(2);
}

#[test]
fn random_messages_are_not_found_3() {
    random_messages_are_not_found(3);
}

#[test]
fn random_messages_are_not_found_4() {
    random_messages_are_not_found(4);
}

/// Changes one letter or digit within a text for another, takes it out, or puts one in: not at the ends,
/// where text is cut and appended, and no character that has a meaning.
fn edited(text: &str, random: &mut Random) -> Option<String> {
    let places: Vec<usize> = (1..text.len().saturating_sub(1))
        .filter(|at| {
            let around = &text.as_bytes()[at - 1..at + 2];
            around.iter().all(u8::is_ascii_alphanumeric)
        })
        .collect();
    if places.is_empty() {
        return None;
    }
    let at = places[random.below(places.len())];
    let letter = char::from(LETTERS[random.below(LETTERS.len())]);
    let (head, tail) = (&text[..at], &text[at + 1..]);
    let edited = match random.below(3) {
        0 => format!("{head}{letter}{tail}"),
        1 => format!("{head}{tail}"),
        _ => format!("{head}{letter}{}", &text[at..]),
    };
    // `20` of `200` is cut short, wherever the digit was taken out.
    let is_other = !text.starts_with(&edited) && !text.ends_with(&edited);
    (is_other && edited != text).then_some(edited)
}

#[test]
fn one_edit_of_a_production_callback_is_not_found() {
    let mut random = Random::new(5);
    let key = PublicKey::aliyun_v1();
    let mut edits = 0;
    for vector in crate::support::vectors() {
        if !vector.verifies {
            continue;
        }
        for round in 0..100 {
            let mut query = vector.query.clone();
            let (mut path, mut body) = (vector.path.clone(), vector.body.clone());
            let part = match random.below(4) {
                0 => &mut path,
                1 => &mut query,
                _ => &mut body,
            };
            let Some(text) = edited(part, &mut random) else {
                continue;
            };
            *part = text;
            let mut headers = vector.headers();
            if random.below(2) == 0 {
                headers.insert("content-length", body.len().into());
            }
            let target = format!("{path}{query}");
            let request = CapturedRequest::new(&target, headers, body.clone()).unwrap();
            let effort = match round % 10 {
                0 => Effort::Full,
                _ => Effort::Small,
            };
            let diagnosis = diagnose_with(&request, &key, effort);
            let context = format!("{target} {body} {diagnosis:?}");
            if let Some(signed) = diagnosis.signed() {
                // The first segment was edited, and is a word that is tried in front.
                assert_eq!(signed.target(), vector.target(), "{context}");
                assert_eq!(signed.body(), &vector.body, "{context}");
                assert_eq!(diagnosis.cause(), Some(Cause::PathRewritten), "{context}");
                assert_ne!(path, vector.path, "{context}");
            } else {
                assert_eq!(diagnosis.verdict(), Verdict::ChangedUnknown, "{context}");
                assert_eq!(diagnosis.cause(), None, "{context}");
            }
            edits += 1;
        }
    }
    assert!(edits >= 200, "{edits}");
}

#[test]
fn altered_production_callbacks_are_named_by_what_was_altered() {
    let named = [
        ("one query value altered", None),
        ("trailing slash of the path", Some(Cause::TrailingSlash)),
        ("%2F written as %2f", Some(Cause::BodyReserialized)),
        ("newline appended", Some(Cause::BodyNewline)),
        ("one bit of the signature", Some(Cause::HeaderAltered)),
    ];
    let mut altered = crate::support::vectors();
    altered.retain(|vector| !vector.verifies);
    assert_eq!(altered.len(), named.len());
    for (vector, (note, cause)) in altered.into_iter().zip(named) {
        assert!(vector.note.starts_with(note), "{}", vector.note);
        let request =
            CapturedRequest::new(&vector.target(), vector.headers(), vector.body.clone()).unwrap();
        let diagnosis = diagnose(&request, &PublicKey::aliyun_v1());
        assert_eq!(diagnosis.cause(), cause, "{note}");
        assert_eq!(diagnosis.also(), None, "{note}");
    }
}

#[test]
fn signatures_of_other_keys_are_not_repaired() {
    let mut random = Random::new(6);
    let signer = CallbackSigner::new();
    for round in 0..12 {
        let bytes: Vec<u8> = (0..64).map(|_| random.next().to_le_bytes()[0]).collect();
        let mut headers = signer.form("/cb", "size=7").headers().clone();
        let text = BASE64_STANDARD.encode(&bytes);
        let text = match round % 3 {
            0 => text,
            1 => format!("Signature {text}"),
            _ => text.replace('+', "-").replace('/', "_"),
        };
        headers.insert("authorization", text.parse().unwrap());
        let request = CapturedRequest::new("/cb", headers, "size=7").unwrap();
        let diagnosis = diagnose(&request, &signer.public_key());
        assert_eq!(diagnosis.verdict(), Verdict::NotFromKey, "{diagnosis:?}");
        let named = [
            Cause::WrongKey,
            Cause::OtherCredentials,
            Cause::HeaderAltered,
        ];
        assert!(named.contains(&diagnosis.cause().unwrap()), "{diagnosis:?}");
        assert!(diagnosis.signed().is_none(), "{diagnosis:?}");
    }
}
