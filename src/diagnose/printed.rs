//! Documents as languages print them for people: a program that sends on what it parsed may send this.
//!
//! 1. Python's `{'a': 1}`, Ruby's `{"a"=>1}`, JavaScript's `{ a: 'b' }` and Java's `{a=b}` are read by one
//!    grammar: names and values with either quotes or bare, a separator, a comma.
//! 2. A bare value goes up to a comma with white space or a quote behind it, or to a bracket. What is a word of
//!    JSON or a number stays one.

use super::json_text::{Json, is_long};

/// Deeper documents are not read.
const MAX_DEPTH: usize = 8;

/// The document that was printed, unless it is JSON.
pub(super) fn parse(text: &str) -> Option<Json> {
    let text = text.trim();
    if !text.starts_with('{') || is_long(text) || Json::parse(text).is_some() {
        return None;
    }
    let mut rest = text;
    let json = value(&mut rest, MAX_DEPTH)?;
    rest.trim().is_empty().then_some(json)
}

fn value(rest: &mut &str, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    *rest = rest.trim_start();
    match rest.chars().next()? {
        '{' => {
            let mut members = Vec::new();
            list(rest, '}', &mut |rest| {
                let name = name(rest)?;
                members.push((name, value(rest, depth)?));
                Some(())
            })?;
            Some(Json::Object(members))
        }
        '[' => {
            let mut items = Vec::new();
            list(rest, ']', &mut |rest| {
                items.push(value(rest, depth)?);
                Some(())
            })?;
            Some(Json::Array(items))
        }
        '\'' | '"' => quoted(rest).map(Json::Text),
        _ => {
            // A comma is a part of Java's text, unless white space or a quoted name is behind it.
            let ends = |(at, sign): &(usize, &str)| {
                let behind = &rest[at + 1..];
                *sign != "," || behind.starts_with(|c: char| c.is_whitespace() || c == '\'')
            };
            let (end, _) = rest.match_indices([',', '}', ']']).find(ends)?;
            let (word, after) = rest.split_at(end);
            *rest = after;
            Some(bare(word.trim()))
        }
    }
}

/// The parts between brackets, each read by a function.
fn list(rest: &mut &str, close: char, part: &mut dyn FnMut(&mut &str) -> Option<()>) -> Option<()> {
    *rest = rest[1..].trim_start();
    while !rest.starts_with(close) {
        part(rest)?;
        *rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => *rest = after.trim_start(),
            None if rest.starts_with(close) => {}
            None => return None,
        }
    }
    *rest = &rest[close.len_utf8()..];
    Some(())
}

/// A name and its separator.
fn name(rest: &mut &str) -> Option<String> {
    *rest = rest.trim_start();
    let name = match rest.starts_with(['\'', '"']) {
        true => quoted(rest)?,
        false => {
            let end = rest.find([':', '='])?;
            let (name, after) = rest.split_at(end);
            *rest = after;
            name.trim().to_owned()
        }
    };
    let after = rest.trim_start();
    let mut separators = ["=>", ":", "="].into_iter();
    *rest = separators.find_map(|separator| after.strip_prefix(separator))?;
    Some(name)
}

fn quoted(rest: &mut &str) -> Option<String> {
    let mut characters = rest.char_indices();
    let (_, quote) = characters.next()?;
    let mut text = String::new();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => text.push(match characters.next()?.1 {
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                other => other,
            }),
            _ if character == quote => {
                *rest = &rest[at + 1..];
                return Some(text);
            }
            _ => text.push(character),
        }
    }
    None
}

fn bare(word: &str) -> Json {
    let word = match word {
        "True" => "true",
        "False" => "false",
        "None" | "nil" | "undefined" => "null",
        other => other,
    };
    let is_json = !word.starts_with('"') && Json::parse(word).is_some();
    match is_json {
        true => Json::Bare(word.to_owned()),
        false => Json::Text(word.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::json_text::Layout, *};

    #[test]
    fn what_languages_print_is_read() {
        let json = r#"{"object":"a/b's.jpg","size":7,"ok":true,"none":null,"in":{"w":[1,2]}}"#;
        for printed in [
            r#"{'object': "a/b's.jpg", 'size': 7, 'ok': True, 'none': None, 'in': {'w': [1, 2]}}"#,
            r#"{"object"=>"a/b's.jpg", "size"=>7, "ok"=>true, "none"=>nil, "in"=>{"w"=>[1, 2]}}"#,
            r"{ object: 'a/b\'s.jpg', size: 7, ok: true, none: null, in: { w: [ 1, 2 ] } }",
            "{\n  object: \"a/b's.jpg\",\n  size: 7,\n  ok: true,\n  none: null,\n  in: {w: [1,\n2]}\n}",
            r#"{'object':"a/b's.jpg",'size':7,'ok':true,'none':null,'in':{'w':[1, 2]}}"#,
            "{object=a/b's.jpg, size=7, ok=true, none=null, in={w=[1, 2]}}",
        ] {
            let parsed = parse(printed).unwrap_or_else(|| panic!("{printed}"));
            let written = Layout::COMPACT.write(&parsed);
            assert_eq!(String::from_utf8(written).unwrap(), json, "{printed}");
        }
    }

    #[test]
    fn what_is_json_or_no_document_is_not() {
        let deep = "{a=".repeat(60) + &"}".repeat(60);
        for text in [
            r#"{"a":1}"#,
            "a=1&b=2",
            "{a",
            "{a=1} b",
            "{'a': ",
            "{,}",
            "{\\",
            &deep,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
