//! A JSON body: an object, as OSS fills values into the app's template.
//!
//! 1. The text is read strictly and once, from its first byte to its last. A name that occurs twice in
//!    one object, half of a surrogate pair, both at any depth, and more than [`MAX_DEPTH`] levels are
//!    refused.
//! 2. OSS inserts text and does not look at the result: for a file that is no image,
//!    `"height":${imageInfo.height}` becomes `"height":`. So a value may be missing where a `:` is
//!    followed, blanks aside, by `,` or `}`, and is `null`. Valid JSON has no such place, so it is never
//!    read in another way; and nothing else is repaired.
//! 3. A nested value stays the text that it is, with its missing values written out as `null`:
//!    [decoding](super::value) reads it when a type asks for it.
//!
//! Why not serde_json, which the tests hold this to: it has no place for a missing value, so each body
//! that has one would be scanned, copied and parsed again; it scans a value once to find its end and
//! once more to read it, at every level; and its features, which any crate in the build may turn on,
//! change what it shows for a number.

use std::borrow::Cow;

use super::{
    VarsError,
    lexer::Lexer,
    names,
    syntax::Cause,
    variables::{ValueKind, VarEntry, Vars},
};

/// The levels of nesting, the body's own included. Templates nest one or two; reading takes a frame of
/// the stack for each.
const MAX_DEPTH: usize = 16;

pub(super) fn parse(body: &[u8]) -> Result<Vars, VarsError> {
    let body = std::str::from_utf8(body).map_err(|_| VarsError::NotUtf8)?;
    let mut parser = Parser {
        lexer: Lexer::new(body),
        names: Vec::new(),
        filled: String::new(),
        copied: 0,
    };
    parser.body(Vars::with_room_for(body.len()))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The names of the nested objects that are open, one object after the other: a list for each of
    /// them would be an allocation for each.
    names: Vec<Cow<'a, str>>,
    /// The nested value that is being read, up to the last place where a value was missing..
    filled: String,
    /// .. and where the text begins that follows it.
    copied: usize,
}

/// What an object or array had last, as far as the causes of errors differ by it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Previous {
    Nothing,
    Other,
    String,
}

impl Parser<'_> {
    fn body(&mut self, mut vars: Vars) -> Result<Vars, VarsError> {
        if self.lexer.peek_token() != Some(b'{') {
            return Err(self.no_object());
        }
        self.lexer.pass();
        let mut previous = Previous::Nothing;
        while self.is_member_next(previous)? {
            let start = vars.text.len();
            self.lexer.string()?.append_to(&mut vars.text);
            let name_end = vars.text.len();
            self.colon()?;
            let kind = self.append_value(&mut vars.text)?;
            let end = vars.text.len();
            vars.entries.push(VarEntry::new(start, name_end, end, kind));
            previous = match kind {
                ValueKind::Text => Previous::String,
                _ => Previous::Other,
            };
        }
        match self.lexer.peek_token() {
            None => vars.with_checked_names(),
            Some(_) => Err(self.lexer.error(Cause::behind(self.lexer.rest()))),
        }
    }

    /// Why a body is refused that does not begin with `{`.
    #[cold]
    fn no_object(&mut self) -> VarsError {
        let cause = Cause::at_start(self.lexer.rest());
        let error = self.lexer.error(cause);
        if cause != Cause::Unexpected {
            return error;
        }
        match self.value(0) {
            Ok(_) if self.lexer.peek_token().is_none() => VarsError::JsonNoObject,
            Ok(_) => self.lexer.error(Cause::SecondDocument),
            // There is no template around this text that could lack quotes.
            Err(VarsError::Json {
                cause: Cause::UnquotedText,
                ..
            }) => error,
            Err(error) => error,
        }
    }

    /// Reads a variable's value and appends it to the text of all.
    fn append_value(&mut self, text: &mut String) -> Result<ValueKind, VarsError> {
        match self.lexer.peek_token() {
            Some(b'"') => {
                self.lexer.string()?.append_to(text);
                Ok(ValueKind::Text)
            }
            Some(b'{' | b'[') => {
                self.copied = self.lexer.position();
                self.value(1)?;
                text.push_str(&self.filled);
                text.push_str(self.lexer.since(self.copied));
                self.filled.clear();
                Ok(ValueKind::Nested)
            }
            Some(b',' | b'}') => {
                text.push_str("null");
                Ok(ValueKind::Null)
            }
            _ => {
                let (kind, value) = self.lexer.bare_value()?;
                text.push_str(value);
                Ok(kind)
            }
        }
    }

    /// Passes a value within so many levels.
    fn value(&mut self, depth: usize) -> Result<Previous, VarsError> {
        match self.lexer.peek_token() {
            Some(b'"') => {
                self.lexer.string()?;
                return Ok(Previous::String);
            }
            Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(VarsError::JsonTooDeep),
            Some(b'{') => self.object(depth + 1)?,
            Some(b'[') => self.array(depth + 1)?,
            _ => {
                self.lexer.bare_value()?;
            }
        }
        Ok(Previous::Other)
    }

    fn object(&mut self, depth: usize) -> Result<(), VarsError> {
        self.lexer.pass();
        let outer = self.names.len();
        let mut previous = Previous::Nothing;
        while self.is_member_next(previous)? {
            self.names.push(self.lexer.string()?.decode());
            self.colon()?;
            let value = self.lexer.position();
            previous = if let Some(b',' | b'}') = self.lexer.peek_token() {
                self.fill(value);
                Previous::Other
            } else {
                self.value(depth)?
            };
        }
        let names = &self.names[outer..];
        names::check(names.len(), |index| &*names[index])?;
        self.names.truncate(outer);
        Ok(())
    }

    fn array(&mut self, depth: usize) -> Result<(), VarsError> {
        self.lexer.pass();
        if self.lexer.pass_if(b']') {
            return Ok(());
        }
        loop {
            let previous = self.value(depth)?;
            match self.lexer.peek_token() {
                Some(b',') => self.lexer.pass(),
                Some(b']') => {
                    self.lexer.pass();
                    return Ok(());
                }
                _ => return Err(self.unexpected_after(previous)),
            }
            if self.lexer.peek_token() == Some(b']') {
                return Err(self.lexer.error(Cause::TrailingComma));
            }
        }
    }

    /// Goes on to the name of the next member, or beyond the end of the object.
    fn is_member_next(&mut self, previous: Previous) -> Result<bool, VarsError> {
        let is_first = previous == Previous::Nothing;
        match self.lexer.peek_token() {
            Some(b'}') => {
                self.lexer.pass();
                return Ok(false);
            }
            Some(b',') if !is_first => self.lexer.pass(),
            _ if is_first => {}
            _ => return Err(self.unexpected_after(previous)),
        }
        match self.lexer.peek_token() {
            Some(b'"') => Ok(true),
            _ => Err(self
                .lexer
                .error(Cause::at_name(self.lexer.rest(), is_first))),
        }
    }

    fn colon(&mut self) -> Result<(), VarsError> {
        if self.lexer.pass_if(b':') {
            Ok(())
        } else {
            let (rest, is_apart) = (self.lexer.rest(), self.lexer.is_behind_blank());
            Err(self.lexer.error(Cause::at_colon(rest, is_apart)))
        }
    }

    /// Writes out a value that is missing directly behind its `:`.
    fn fill(&mut self, at: usize) {
        self.filled.push_str(self.lexer.between(self.copied, at));
        self.filled.push_str("null");
        self.copied = at;
    }

    #[cold]
    fn unexpected_after(&self, previous: Previous) -> VarsError {
        let is_apart = self.lexer.is_behind_blank();
        let cause = Cause::after(previous == Previous::String, self.lexer.rest(), is_apart);
        self.lexer.error(cause)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(body: &str) -> Result<Vec<(String, ValueKind, String)>, VarsError> {
        parse(body.as_bytes()).map(|vars| {
            vars.iter()
                .map(|(name, value)| (name.to_owned(), value.kind, value.text.to_owned()))
                .collect()
        })
    }

    fn entry(name: &str, kind: ValueKind, text: &str) -> (String, ValueKind, String) {
        (name.to_owned(), kind, text.to_owned())
    }

    #[test]
    fn values_keep_their_kind_and_their_text() {
        assert_eq!(
            kinds(
                r#" {"a":"x\u0020\"","b":7,"c":1e400,"d":true,"e":null,"f":{"g":[1, 2]},"h":-1.50} "#
            ),
            Ok(vec![
                entry("a", ValueKind::Text, "x \""),
                entry("b", ValueKind::Number, "7"),
                entry("c", ValueKind::Number, "1e400"),
                entry("d", ValueKind::Bool, "true"),
                entry("e", ValueKind::Null, "null"),
                entry("f", ValueKind::Nested, r#"{"g":[1, 2]}"#),
                entry("h", ValueKind::Number, "-1.50"),
            ]),
        );
        let digits = "1234567890".repeat(4);
        assert_eq!(
            kinds(&format!("{{\"a\" : {digits} }}")),
            Ok(vec![entry("a", ValueKind::Number, &digits)]),
        );
        assert_eq!(kinds("{}"), Ok(vec![]));
    }

    #[test]
    fn duplicates_are_refused_at_any_depth() {
        for body in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":{"c":1,"c":2}}]}"#,
        ] {
            assert_eq!(kinds(body), Err(VarsError::Duplicate(None)), "{body}");
        }
        for body in [
            r#"{"size":,"size":1}"#,
            r#"{"a":{"size":1,"b":{},"size":}}"#,
        ] {
            let size = VarsError::Duplicate(Some("size"));
            assert_eq!(kinds(body), Err(size), "{body}");
        }
    }

    #[test]
    fn the_markers_of_serde_json_are_no_names_at_any_depth() {
        for body in [
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            r#"{"\u0024serde_json::private::RawValue":"{}"}"#,
            r#"{"a":{"$serde_json::private::RawValue":"{}"}}"#,
            r#"{"a":[{"$serde_json::private::Number":"1"}]}"#,
        ] {
            assert_eq!(kinds(body), Err(VarsError::Marker), "{body}");
        }
        assert!(kinds(r#"{"a":"$serde_json::private::RawValue"}"#).is_ok());
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for body in ["[]", "1", "null", r#""a=b""#] {
            assert_eq!(kinds(body), Err(VarsError::JsonNoObject), "{body}");
        }
        for body in [
            "",
            "a=b",
            "{",
            r#"{"a":1}x"#,
            "{a:1}",
            r#"{"a":01}"#,
            r#"{"a":"\x"}"#,
            r#"{"a":["\u00g0"]}"#,
            "{\"a\":\"\n\"}",
            "{\"a\":[\"\0\"]}",
            "{\"\x1f\":1}",
        ] {
            assert!(matches!(kinds(body), Err(VarsError::Json { .. })), "{body}");
        }
        for body in [
            &b"{\"a\":\"\xff\"}"[..],
            b"{\"\xff\":1}",
            b"{\"a\":[\"\xff\"]}",
            b"\xff",
        ] {
            assert_eq!(parse(body).map(drop), Err(VarsError::NotUtf8));
        }
        assert!(parse(b"\xef\xbb\xbf{}").is_err(), "a byte order mark");
    }

    #[test]
    fn half_of_a_pair_is_no_text() {
        for string in [
            r"\ud800",
            r"\udc00",
            r"\udc00\ud800",
            r"\ud800\u0041",
            r"\ud800\n",
            r"\ud800u",
            r"a\ud83d\ude00\ud83d",
        ] {
            let name = format!("{{\"{string}\":1}}");
            assert_eq!(kinds(&name), Err(VarsError::LoneSurrogate), "{name}");
            for value in [
                format!("\"{string}\""),
                format!("[{{\"b\":\"{string}\"}}]"),
                format!("{{\"{string}\":1}}"),
            ] {
                let body = format!("{{\"a\":{value},\"z\":1}}");
                assert_eq!(kinds(&body), Err(VarsError::LoneSurrogate), "{body}");
            }
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested =
            |depth: usize| format!("{{\"a\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(kinds(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(kinds(&nested(MAX_DEPTH)), Err(VarsError::JsonTooDeep));
        let empty = nested(MAX_DEPTH).replace('1', "");
        assert_eq!(kinds(&empty), Err(VarsError::JsonTooDeep));
        assert!(kinds(&nested(30_000)).is_err());
    }

    #[test]
    fn the_holes_that_oss_leaves_are_null() {
        let null = |name| entry(name, ValueKind::Null, "null");
        assert_eq!(
            kinds(r#"{"height":,"width": ,"format":}"#),
            Ok(vec![null("height"), null("width"), null("format")]),
        );
        assert_eq!(
            kinds(r#"{"a":{"b":},"c":":,}"}"#),
            Ok(vec![
                entry("a", ValueKind::Nested, r#"{"b":null}"#),
                entry("c", ValueKind::Text, ":,}"),
            ]),
        );
        for body in [
            r#"{"a":[1,]}"#,
            r#"{"a":1,}"#,
            r#"{"a"}"#,
            r#"{:}"#,
            r#"{"a":"#,
            r#"{"a":]}"#,
            r#"{,"a":}"#,
            r#"{"a"::}"#,
        ] {
            assert!(kinds(body).is_err(), "{body}");
        }
    }

    #[test]
    fn the_repair_stays_out_of_strings() {
        for (body, expected) in [
            (r#"{"a":":}"}"#, entry("a", ValueKind::Text, ":}")),
            (r#"{"a\":,":1}"#, entry("a\":,", ValueKind::Number, "1")),
            (r#"{"a\\":}"#, entry("a\\", ValueKind::Null, "null")),
            (
                r#"{"a":[{"b\":,":1},":}"]}"#,
                entry("a", ValueKind::Nested, r#"[{"b\":,":1},":}"]"#),
            ),
        ] {
            assert_eq!(kinds(body), Ok(vec![expected]), "{body}");
        }
    }

    #[test]
    fn every_nested_value_that_is_missing_is_written_out() {
        let nested = |body: &str| kinds(body).unwrap().remove(0).2;
        for (body, expected) in [
            (
                r#"{"a":{"b":,"c": ,"d":}}"#,
                r#"{"b":null,"c":null ,"d":null}"#,
            ),
            (
                r#"{"a":[{"b":},{"b":{"c":\n}}]}"#,
                r#"[{"b":null},{"b":{"c":null\n}}]"#,
            ),
            (r#"{"a":{"é":,"ü":"é"}}"#, r#"{"é":null,"ü":"é"}"#),
        ] {
            let body = body.replace("\\n", "\n");
            assert_eq!(nested(&body), expected.replace("\\n", "\n"));
        }
        // What was written out for one variable is not for the next.
        let two = kinds(r#"{"x":{"b":},"y":[1]}"#).unwrap();
        assert_eq!(two[1], entry("y", ValueKind::Nested, "[1]"));
    }

    #[test]
    fn the_usual_causes_are_told() {
        use Cause::*;
        for (body, expected) in [
            ("", Empty),
            (" \r\n", Empty),
            ("\u{feff}{}", ByteOrderMark),
            ("filename=a&size=7", Form),
            (r#"filename="dir/a.jpg"&size=7"#, Form),
            ("\nx:user=1", Form),
            ("size=7", Form),
            ("7=1&8=2", Form),
            ("true=1", Form),
            ("imageInfo.height=&a", Form),
            ("%7B%22a%22%3A1%7D", PercentEncoded),
            ("${x:json}", Placeholder),
            ("'a'", SingleQuotes),
            ("// a\n{}", Comment),
            ("<a b=\"c\"/>", Unexpected),
            (r#"{"object":""a/b.jpg"","size":7}"#, Quotes),
            (r#"{"object":""7.jpg""}"#, Quotes),
            (r#"{"object":""名.jpg""}"#, Quotes),
            (r#"{"object":""""}"#, Quotes),
            (r#"{"path":"dir/"a.jpg""}"#, Quotes),
            (r#"{"a":[""b""]}"#, Quotes),
            (r#"{"a":{"b":""c""}}"#, Quotes),
            (r#"{""a"":1}"#, Quotes),
            (r#"{"bucket":photos,"size":7}"#, UnquotedText),
            (r#"{"object":a%2Fb.jpg}"#, UnquotedText),
            (r#"{"object":7a.jpg}"#, UnquotedText),
            (r#"{"object":true.jpg}"#, UnquotedText),
            (r#"{"object":%E5%90%8D}"#, UnquotedText),
            (r#"{"object":/a}"#, UnquotedText),
            (r#"{"n":NaN}"#, UnquotedText),
            (r#"{"n":+1}"#, Number),
            (r#"{"size":${size}}"#, Placeholder),
            (r#"{"size":$(size)}"#, Placeholder),
            (r#"{"size":%24%7Bsize%7D}"#, Placeholder),
            (r#"{"object":"a"${object}}"#, Quotes),
            (r#"{'a':1}"#, SingleQuotes),
            (r#"{"a":'b'}"#, SingleQuotes),
            (r#"{"a":1,'b':1}"#, SingleQuotes),
            (r#"{"a":1,}"#, TrailingComma),
            (r#"{"a":1,,"b":1}"#, DoubleComma),
            (r#"{"a":[1,]}"#, TrailingComma),
            (r#"{"a":[,]}"#, EmptyValue),
            (r#"{"a":[1,,2]}"#, EmptyValue),
            (r#"{"a":]}"#, EmptyValue),
            (r#"{"a":1}{"b":1}"#, SecondDocument),
            (r#"{"a":1}&b=1"#, FormBehind),
            (r#"[1] 2"#, SecondDocument),
            ("{", Unfinished),
            (r#"{"a"#, UnclosedString),
            (r#"{"a\"#, Unfinished),
            (r#"{"a""#, Unfinished),
            (r#"{"a":"b"#, UnclosedString),
            (r#"{"a":"#, Unfinished),
            (r#"{"a":1"#, Unfinished),
            (r#"{"a":1,"#, Unfinished),
            (r#"{"a":[1"#, Unfinished),
            (r#"{"a":["#, Unfinished),
            (r#"{a:1}"#, UnquotedName),
            (r#"{"a":1,b:1}"#, UnquotedName),
            (r#"{"a":5EB6}"#, UnquotedText),
            (r#"{"a":"b" "c":1}"#, MissingComma),
            (r#"{"a":"b""c":1}"#, MissingComma),
            (r#"{"a":1 "c":1}"#, MissingComma),
            (r#"{"a":"b""c"}"#, Quotes),
            (r#"{"a"=1}"#, Separator),
            (r#"{\"a\":1}"#, EscapedQuotes),
            (r#"{"a":01}"#, Number),
            (r#"{"a":1.}"#, Number),
            (r#"{"a":1e}"#, Number),
            (r#"{"a":-}"#, Number),
            (r#"{"a":1 /* b */}"#, Comment),
            (r#"{"a":// b"#, Comment),
            (r#"{"a":"\x"}"#, Escape),
            (r#"{"a":"\u12g4"}"#, Escape),
            ("{\"a\":\"\n\"}", ControlCharacter),
            (r#"{"a"::1}"#, Unexpected),
            (r#"{"a":1]"#, Unexpected),
            (r#"{:1}"#, Unexpected),
        ] {
            match kinds(body) {
                Err(VarsError::Json { cause, .. }) => assert_eq!(cause, expected, "{body}"),
                other => panic!("{body}: {other:?}"),
            }
        }
    }

    #[test]
    fn positions_are_counted_in_characters() {
        for (body, expected) in [
            ("", (1, 1)),
            ("{", (1, 2)),
            (r#"{"ü":x}"#, (1, 6)),
            ("{\n  \"ü\": 1,\n  x\n}", (3, 3)),
            ("{\n", (2, 1)),
        ] {
            match kinds(body) {
                Err(VarsError::Json { line, column, .. }) => {
                    assert_eq!((line, column), expected, "{body:?}");
                }
                other => panic!("{body:?}: {other:?}"),
            }
        }
    }

    /// The valid JSON that a text is read as: itself, or with `null` in the place of each value that is
    /// missing, where that makes it valid.
    fn meaning(body: &str) -> Option<String> {
        let is_json = |text: &str| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
        if is_json(body) {
            return Some(body.to_owned());
        }
        Some(repair(body)).filter(|text| is_json(text))
    }

    /// The text with `null` directly behind each `:` outside strings that `,` or `}` follows.
    fn repair(body: &str) -> String {
        let mut repaired = String::new();
        let (mut in_string, mut escaped) = (false, false);
        for (position, character) in body.char_indices() {
            repaired.push(character);
            if in_string {
                in_string = escaped || character != '"';
                escaped = !escaped && character == '\\';
            } else if character == '"' {
                in_string = true;
            } else if character == ':' {
                let rest = body[position + 1..].trim_start_matches([' ', '\t', '\n', '\r']);
                if rest.starts_with([',', '}']) {
                    repaired += "null";
                }
            }
        }
        repaired
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            "[ -~]{0,12}".prop_map(serde_json::Value::from),
            r#"[:,}{"\\\\ ]{0,6}"#.prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::btree_map("[a-c:,}\"]{0,3}", inner, 0..4)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn valid_json_has_nothing_to_repair(value in any_json(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_string_pretty(&value)
            } else {
                serde_json::to_string(&value)
            }
            .unwrap();
            prop_assert_eq!(repair(&text), &*text);
            let body = format!("{{\"a\":{text}}}");
            let read = kinds(&body).unwrap().remove(0).2;
            prop_assert_eq!(value.as_str().unwrap_or(&text), read, "identity");
        }

        #[test]
        fn only_missing_values_are_repaired(
            body in r#"\{("[ab]":([{}:,"a1 \\\[\]]{0,3}|\[|\{"c":|"d"|\}|\]|,|1){0,3},){0,3}"[ce]":[1"\}]{0,2}\}|[{}:,"a1 \\\[\]]{0,24}"#,
        ) {
            match (kinds(&body), meaning(&body)) {
                (Ok(read), Some(meaning)) => prop_assert_eq!(Ok(read), kinds(&meaning)),
                (Ok(_), None) => prop_assert!(false, "accepted what cannot be repaired"),
                (Err(VarsError::Json { .. }), Some(meaning)) => {
                    prop_assert!(false, "refused as no JSON: {}", meaning);
                }
                // Names that occur twice, or no object.
                (Err(_), _) => {}
            }
        }

        #[test]
        fn valid_json_is_read_as_serde_json_reads_it(
            members in proptest::collection::btree_map(".{0,8}", any_json(), 0..24),
        ) {
            let body = serde_json::to_string(&members).unwrap();
            let expected = members.iter().map(|(name, value)| {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let kind = match value {
                    serde_json::Value::Null => ValueKind::Null,
                    serde_json::Value::Bool(_) => ValueKind::Bool,
                    serde_json::Value::Number(_) => ValueKind::Number,
                    serde_json::Value::String(_) => ValueKind::Text,
                    _ => ValueKind::Nested,
                };
                (name.clone(), kind, text)
            });
            prop_assert_eq!(kinds(&body), Ok(expected.collect()));
        }

        #[test]
        fn a_string_is_what_serde_json_reads(
            pieces in proptest::collection::vec(
                prop_oneof![
                    ".{0,3}",
                    r#"\\["\\/bfnrtx]"#,
                    r"\\u[0-9a-fA-F]{4}",
                    r"\\ud[89ab][0-9a-f]{2}",
                    r"\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}",
                ],
                0..6,
            ),
        ) {
            let string = format!("\"{}\"", pieces.concat());
            let theirs = serde_json::from_str::<String>(&string).ok();
            let ours = kinds(&format!("{{\"a\":{string}}}")).ok();
            prop_assert_eq!(ours, theirs.clone().map(|text| vec![entry("a", ValueKind::Text, &text)]));
            let name = kinds(&format!("{{{string}:1}}")).ok();
            prop_assert_eq!(name, theirs.clone().map(|text| vec![entry(&text, ValueKind::Number, "1")]));
            let nested = format!("[{string}]");
            let ours = kinds(&format!("{{\"a\":{nested}}}")).ok();
            prop_assert_eq!(ours, theirs.map(|_| vec![entry("a", ValueKind::Nested, &nested)]));
        }

        #[test]
        fn any_body_is_decoded_or_refused(
            body in proptest::collection::vec(any::<u8>(), 0..200),
            text in r#"[{}:,"a1 \\\\\[\]ntrue]{0,40}"#,
        ) {
            let _ = parse(&body);
            let _ = parse(text.as_bytes());
        }
    }
}
