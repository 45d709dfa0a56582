//! A form body: `name=value` pairs, as OSS fills them into the app's template.
//!
//! 1. Pairs are separated by `&`; an empty pair is skipped. A pair without `=` has an empty value.
//! 2. `+` is a space and `%XX` a byte, in names and values; an incomplete escape stays as it is.
//!    OSS percent-encodes values and leaves the template's own text alone.
//! 3. The result is UTF-8.
//! 4. A body that is [JSON text](is_json) is refused. It comes from a JSON template without
//!    `callbackBodyType`, or its unsigned `Content-Type` was changed on the way; read as a form it would
//!    be a variable or two whose names are pieces of JSON, and the upload would be lost in silence.

use super::{
    VarsError,
    variables::{ValueKind, VarEntry, Vars},
};

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    if is_json(body) {
        return Err(VarsError::FormIsJson);
    }
    let mut vars = Vars::with_room_for(body.len());
    let mut text = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        let start = text.len();
        let mut name_end = None;
        let mut is_pair = false;
        // Runs of plain bytes are copied; what stands between them is looked at.
        loop {
            let is_plain = |byte: &u8| !matches!(byte, b'%' | b'&' | b'+' | b'=');
            let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
            text.extend_from_slice(&rest[..plain]);
            is_pair |= plain > 0;
            let Some((special, after)) = rest[plain..].split_first() else {
                rest = &[];
                break;
            };
            rest = after;
            match special {
                b'&' => break,
                b'=' if name_end.is_none() => name_end = Some(text.len()),
                b'+' => text.push(b' '),
                b'%' => {
                    let (byte, length) = decode_escape(rest);
                    text.push(byte);
                    rest = &rest[length..];
                }
                other => text.push(*other),
            }
            is_pair = true;
        }
        if is_pair {
            let name_end = name_end.unwrap_or(text.len());
            let kind = ValueKind::Text;
            vars.entries
                .push(VarEntry::new(start, name_end, text.len(), kind));
        }
    }
    vars.text = String::from_utf8(text).map_err(|_| VarsError::NotUtf8)?;
    // Neither a name nor a value may end within a character that the next one continues.
    if !vars
        .entries
        .iter()
        .all(|entry| entry.is_within_characters(&vars.text))
    {
        return Err(VarsError::NotUtf8);
    }
    vars.with_checked_names()
}

/// What stands behind a `%`: a byte and the number of digits that say it, or the `%` itself.
fn decode_escape(digits: &[u8]) -> (u8, usize) {
    let digit = |index: usize| char::from(*digits.get(index)?).to_digit(16);
    match (digit(0), digit(1)) {
        (Some(high), Some(low)) => ((high << 4 | low) as u8, 2),
        _ => (b'%', 0),
    }
}

/// Whether a body can only be JSON text: an object or array at its very beginning, percent-encoded or
/// not. JSON within a value is for the application, and a name may have brackets.
///
/// 1. Blanks, encoded ones too, empty pairs and a byte order mark may stand before it, and quotes
///    around it.
/// 2. `{`, a quoted name and `:` begin an object, `[` and an object or a quoted text begin an array,
///    whatever follows: OSS filled it as a form, with values that have no quotes and with a template's own
///    `&` and `=`, so the rest is seldom valid JSON, and often several pairs. The quotes may be single.
/// 3. Anything else in brackets is JSON text only as a whole, or to the end of its pair: `{}`, `[1]` and `{bucket:photos}` are,
///    while `{x:user}=42` is a pair.
fn is_json(body: &[u8]) -> bool {
    // Nearly all bodies are told apart by their first byte.
    if !matches!(
        body.first(),
        Some(
            b'{' | b'[' | b'"' | b'\'' | b'%' | b'+' | b'&' | 0..=b' ' | 0xc2 | 0xe2 | 0xe3 | 0xef
        )
    ) {
        return false;
    }
    // Empty pairs, a byte order mark, and the blanks that editors and web pages leave.
    let is_blank = |(byte, is_separator): &(u8, bool)| {
        *is_separator && *byte == b'&'
            || matches!(
                byte,
                0xef | 0xbb | 0xbf | 0xc2 | 0xa0 | 0xe3 | 0x80 | 0xe2 | 0x8b | 0x0b
            )
    };
    let mut tokens = Decoded(body)
        .filter(|(byte, _)| !byte.is_ascii_whitespace())
        .skip_while(is_blank)
        .peekable();
    let open = match tokens.next() {
        Some((open @ (b'{' | b'['), _)) => open,
        // A document in quotes: it was written as JSON twice.
        Some((b'"' | b'\'', _)) => return matches!(tokens.next(), Some((b'{' | b'[', _))),
        _ => return false,
    };
    let mut depth = 1_usize;
    while open == b'[' && tokens.next_if(|(byte, _)| *byte == b'[').is_some() {
        depth += 1;
    }
    let mut followers: &[u8] = if open == b'{' { b":" } else { b",]" };
    if open == b'[' && tokens.next_if(|(byte, _)| *byte == b'{').is_some() {
        depth += 1;
        followers = b":";
    }
    match tokens.peek() {
        Some((b'"' | b'\'', _)) => is_text_next(&mut tokens, followers),
        first => {
            let is_empty = matches!(first, Some((b'}' | b']', _)));
            is_enclosed(tokens, depth, open, is_empty)
        }
    }
}

/// Whether a quoted text is next, and one of these bytes behind it.
fn is_text_next(tokens: &mut impl Iterator<Item = (u8, bool)>, followers: &[u8]) -> bool {
    let Some((quote @ (b'"' | b'\''), _)) = tokens.next() else {
        return false;
    };
    while let Some((byte, _)) = tokens.next() {
        match byte {
            b'\\' => drop(tokens.next()),
            byte if byte == quote => {
                let follower = tokens.next();
                return follower.is_some_and(|(byte, _)| followers.contains(&byte));
            }
            _ => {}
        }
    }
    false
}

/// Whether a text that has begun with a bracket ends with the one that closes it, and its first name
/// does not close it earlier.
fn is_enclosed(
    tokens: impl Iterator<Item = (u8, bool)>,
    mut depth: usize,
    open: u8,
    is_empty: bool,
) -> bool {
    let mut is_in_name = true;
    // A name in braces is no object without a colon.
    let mut is_value = open == b'[' || is_empty;
    let mut has_colon = false;
    let mut last = open;
    for (byte, is_separator) in tokens {
        let ends_pair = is_separator && byte == b'&';
        if ends_pair && open == b'{' && has_colon && last == b'}' {
            return true;
        }
        if is_in_name {
            if depth == 0 {
                return false;
            }
            match byte {
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                b':' => (is_value, has_colon) = (true, true),
                _ => {}
            }
            is_in_name = !is_separator;
        }
        last = byte;
    }
    is_value && last == if open == b'{' { b'}' } else { b']' }
}

/// The bytes that a form says, and of each whether it ends a name.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = (u8, bool);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(match first {
            b'%' => {
                let (byte, length) = decode_escape(rest);
                self.0 = &rest[length..];
                (byte, false)
            }
            b'+' => (b' ', false),
            byte => (*byte, matches!(byte, b'&' | b'=')),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vars::{BodyKind, variables::parsed};

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
        assert_eq!(pairs(b"a=1&b=2&a=1"), Err(VarsError::Duplicate(None)));
        assert_eq!(pairs(b"a=1&%61=2"), Err(VarsError::Duplicate(None)));
        assert_eq!(pairs(b"a&a"), Err(VarsError::Duplicate(None)));
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

    const JSON: &[&str] = &[
        // Written as JSON twice, or pasted with quotes or blanks around it.
        r#""{\"object\":\"a\",\"size\":7}""#,
        r#"'{"object":"a"}'"#,
        r#"&{"object":"a"}"#,
        "\u{a0}{\"object\":\"a\"}",
        "\u{3000}{\"object\":\"a\"}",
        "\u{200b}{\"object\":\"a\"}",
        "\u{b}{\"object\":\"a\"}",
        // With a pair behind it.
        "{object:a,size:7}&ticket=x",
        "{object:a=b,x:1}&ticket=abc",
        r#"{"bucket":photos,"object":a%2Fb.jpg,"size":7}"#,
        r#"{"object":"a","size":7}"#,
        r#"{"url":"https://a/?b=1&c=2","object":a}"#,
        r#"{"object":"json","x":"&object=form&y="}"#,
        r#"{"a=b&c":1}"#,
        r#"{"md5":,"size":1}"#,
        "{\n  \"object\": a%2Fb.jpg,\r\n\t\"size\": 7\n}\n",
        " \t\r\n{ \"a\":1}",
        "\u{feff}{\"a\":1}",
        "\u{feff} {\"a\":1",
        "%EF%BB%BF%7B%22a%22%3A1%7D",
        "%7B%22object%22%3A%22a%22%7D",
        "%7b+%22object%22:1",
        "+%20%0A{%22object%22:1}",
        "{'object':a,'size':7}",
        "{object:a%2Fb.jpg,size:7}",
        "{object:a,url:b?c=1&d=2}",
        "{object:a,imageInfo:{format:png},size:7}",
        "{}",
        " { } ",
        "[]",
        "[1,2]",
        "[ [1], 2 ]",
        "[null]",
        r#"[{"object":a},{"object":b}]"#,
        r#"["a=b"]"#,
        r#"[[{"a":1&b"#,
    ];

    #[test]
    fn json_text_is_no_form() {
        for body in JSON {
            assert_eq!(pairs(body.as_bytes()), Err(VarsError::FormIsJson), "{body}");
        }
    }

    #[test]
    fn a_form_may_have_json_in_values_and_brackets_in_names() {
        for body in [
            r#"x={"a":1}&object=a"#,
            r#"object=a&{"a":1}"#,
            r#"object={"a":1}"#,
            r#"x=[{"a":1}]"#,
            r#"={"a":1}"#,
            "x%3A%7B%22=1",
            "{x:user}=42",
            "{x:user}=42&{size}=7",
            "{x:user}=42&y={}",
            "{object}=a&size=7",
            "{object}",
            "{}=a&b={}",
            "{}&object=a",
            "{=a&object=b",
            "%7B%27=a",
            r#"{"=a&object=b"#,
            r#"{"x"}=a"#,
            r#"["a"x]=b"#,
            "[{x}]=1",
            "{a&b}",
            "[]=a&[]x=b",
            "[0]=a&[1]=b",
            "[key]=a",
            "[a]&object=[b]",
            "%7Bx%7D=1",
            "%5B0%5D=a",
            " object=a",
            "+=a",
            "%20",
            "\u{feff}object=a",
            "%",
            "%7",
            "&object=a",
        ] {
            assert!(pairs(body.as_bytes()).is_ok(), "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_json_object_is_taken_for_a_form(
            members in proptest::collection::btree_map(".{0,8}", ".{0,12}", 0..4),
            blanks in "[ \t\r\n]{0,3}",
            pretty in any::<bool>(),
        ) {
            let json = if pretty {
                serde_json::to_string_pretty(&members)
            } else {
                serde_json::to_string(&members)
            }
            .unwrap();
            for body in [format!("{blanks}{json}{blanks}"), format!("{blanks}[{json}]")] {
                prop_assert_eq!(pairs(body.as_bytes()), Err(VarsError::FormIsJson));
                let encoded = percent_encoding::utf8_percent_encode(
                    &body,
                    percent_encoding::NON_ALPHANUMERIC,
                )
                .to_string();
                prop_assert_eq!(pairs(encoded.as_bytes()), Err(VarsError::FormIsJson));
            }
        }

        #[test]
        fn nothing_is_both_a_form_and_json(
            body in r#"[ \n]?(\{[ ]?("[a&=]{0,3}"[ ]?:[ ]?("[a&=%+]{0,4}"|1|\[\]|)[,}]?){0,3}\}?|[{}:,"a=&\[\]]{0,12})[ ]?"#,
        ) {
            if crate::vars::json::parse(body.as_bytes()).is_ok() {
                prop_assert_eq!(pairs(body.as_bytes()), Err(VarsError::FormIsJson));
            }
        }

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
            let body = body.join("&");
            // A first name such as `{"` is refused: only JSON text begins so.
            prop_assume!(!is_json(body.as_bytes()));
            let decoded = parsed(BodyKind::Form, body).unwrap();
            for (name, value) in &vars {
                prop_assert_eq!(decoded.get(name), Some(value.as_str()));
            }
        }
    }
}
