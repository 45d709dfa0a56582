//! A form body: `name=value` pairs, as OSS fills them into the app's template.
//!
//! 1. Pairs are separated by `&`; an empty pair is none. A pair without `=` has an empty value.
//! 2. `+` is a space and `%XX` a byte, in names and values; an escape that is none stays as it is.
//!    OSS percent-encodes values and leaves the template's own text alone.
//! 3. The result is UTF-8.

use std::ops::Range;

use percent_encoding::percent_decode;

use super::{Entry, ValueKind, Vars, VarsError};

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    let mut vars = Vars::with_capacity(body.len());
    for pair in body.split(|byte| *byte == b'&') {
        if pair.is_empty() {
            continue;
        }
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = append(&mut vars, parts.next().unwrap_or_default())?;
        let value = append(&mut vars, parts.next().unwrap_or_default())?;
        vars.entries.push(Entry {
            name,
            value,
            kind: ValueKind::Text,
        });
    }
    vars.with_checked_names()
}

/// Decodes straight into the text of `vars`, which was made large enough.
fn append(vars: &mut Vars, encoded: &[u8]) -> Result<Range<usize>, VarsError> {
    if !encoded.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        let text = std::str::from_utf8(encoded).map_err(|_| VarsError::FormNotUtf8)?;
        return Ok(vars.append(text));
    }
    let spaced: Vec<u8> = encoded
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    let text = percent_decode(&spaced)
        .decode_utf8()
        .map_err(|_| VarsError::FormNotUtf8)?;
    Ok(vars.append(&text))
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
            pairs(b"object=a%2Fb%20c+d&size=7&x=%2525&&empty=&bare&raw=%zz%4"),
            Ok(vec![
                pair("object", "a/b c d"),
                pair("size", "7"),
                pair("x", "%25"),
                pair("empty", ""),
                pair("bare", ""),
                pair("raw", "%zz%4"),
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
        assert_eq!(pairs(b"a=%ff"), Err(VarsError::FormNotUtf8));
        assert_eq!(pairs(b"a=\xff"), Err(VarsError::FormNotUtf8));
        assert_eq!(pairs(b"\xff=a"), Err(VarsError::FormNotUtf8));
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
