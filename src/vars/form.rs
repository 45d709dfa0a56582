//! A form body: `name=value` pairs, as OSS fills them into the app's template.
//!
//! 1. Pairs are separated by `&`; an empty pair is none. A pair without `=` has an empty value.
//! 2. `+` is a space and `%XX` a byte, in names and values; an escape that is none stays as it is.
//!    OSS percent-encodes values and leaves the template's own text alone.
//! 3. The result is UTF-8.

use percent_encoding::percent_decode;

use super::{COMMON_ENTRIES, ValueKind, VarEntry, Vars, VarsError};

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    let mut text = Vec::with_capacity(body.len());
    let mut entries = Vec::with_capacity(COMMON_ENTRIES);
    for pair in body.split(|byte| *byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        decode(&mut text, parts.next().unwrap_or_default());
        let name_end = text.len();
        decode(&mut text, parts.next().unwrap_or_default());
        entries.push(VarEntry {
            name_end,
            end: text.len(),
            kind: ValueKind::Text,
        });
    }
    let text = String::from_utf8(text).map_err(|_| VarsError::NotUtf8)?;
    // Neither a name nor a value may end within a character that the next one continues.
    let ends = entries.iter().flat_map(|entry| [entry.name_end, entry.end]);
    if !ends.into_iter().all(|end| text.is_char_boundary(end)) {
        return Err(VarsError::NotUtf8);
    }
    Vars { text, entries }.with_checked_names()
}

/// Appends what a name or a value says.
fn decode(text: &mut Vec<u8>, encoded: &[u8]) {
    for (index, part) in encoded.split(|byte| *byte == b'+').enumerate() {
        if index > 0 {
            text.push(b' ');
        }
        if part.contains(&b'%') {
            text.extend(percent_decode(part));
        } else {
            text.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vars::{BodyKind, parsed};

    fn pairs(body: &[u8]) -> Result<Vec<(String, String)>, VarsError> {
        parse(body).map(|vars| {
            vars.iter()
                .map(|(name, value)| (name.to_owned(), value.text.to_owned()))
                .collect()
        })
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn pairs_are_decoded_once() {
        assert_eq!(
            pairs(b"object=a%2Fb%20c+d&size=7&x=%2525&&empty=&bare&raw=%zz%+1%4"),
            Ok(vec![
                pair("object", "a/b c d"),
                pair("size", "7"),
                pair("x", "%25"),
                pair("empty", ""),
                pair("bare", ""),
                pair("raw", "%zz% 1%4"),
            ]),
        );
        assert_eq!(pairs(b""), Ok(vec![]));
        assert_eq!(pairs(b"a=b=c"), Ok(vec![pair("a", "b=c")]));
        assert_eq!(pairs("名=值".as_bytes()), Ok(vec![pair("名", "值")]));
        assert_eq!(pairs(b"%e5%90%8d=%E5%80%BC"), Ok(vec![pair("名", "值")]));
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        assert_eq!(pairs(b"a=1&b=2&a=1"), Err(VarsError::Duplicate));
        assert_eq!(pairs(b"a=1&%61=2"), Err(VarsError::Duplicate));
        assert_eq!(pairs(b"a&a"), Err(VarsError::Duplicate));
        assert_eq!(
            pairs(b"%24serde_json::private::RawValue={}"),
            Err(VarsError::Marker)
        );
        assert_eq!(pairs(b"a=%ff"), Err(VarsError::NotUtf8));
        assert_eq!(pairs(b"a=\xff"), Err(VarsError::NotUtf8));
        assert_eq!(pairs(b"\xff=a"), Err(VarsError::NotUtf8));
        // Each is half a character, and together they are one.
        assert_eq!(pairs(b"%E5=%90%8D"), Err(VarsError::NotUtf8));
        assert_eq!(pairs(b"a=%E5&%90%8D"), Err(VarsError::NotUtf8));
        assert_eq!(pairs(b"a=\xE5%90\x8D"), Ok(vec![pair("a", "\u{540d}")]));
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn what_is_encoded_comes_back(
            vars in proptest::collection::btree_map(".{1,8}", ".{0,12}", 0..8)
        ) {
            let encode = |text: &str| {
                percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
                    .to_string()
            };
            let body: Vec<String> = vars
                .iter()
                .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
                .collect();
            let decoded = parsed(BodyKind::Form, body.join("&")).unwrap();
            for (name, value) in &vars {
                prop_assert_eq!(decoded.get(name), Some(value.as_str()));
            }
        }
    }
}
