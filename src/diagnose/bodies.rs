//! Bodies from which the received one may have been made.

use encoding_rs::{GBK, WINDOWS_1252};

use super::{
    CapturedRequest, Cause,
    encoding::{Pair, Style, pairs},
    json_text::{Json, Layout},
    order::permutations,
};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Longer bodies are not parsed and written again: a callback has some hundred bytes.
const MAX_PARSED_LEN: usize = 64 * 1024;

/// The bodies that one change of bytes makes.
pub(super) fn candidates(request: &CapturedRequest, body: &[u8]) -> Vec<(Cause, Vec<u8>)> {
    let mut found: Vec<(Cause, Vec<u8>)> = Vec::new();
    let mut add = |cause, candidate: Vec<u8>| {
        if candidate != body {
            found.push((cause, candidate));
        }
    };
    match body.strip_prefix(BOM) {
        Some(plain) => add(Cause::BodyBom, plain.to_vec()),
        None => add(Cause::BodyBom, [BOM, body].concat()),
    }
    add(Cause::BodyNewline, body.trim_ascii().to_vec());
    add(Cause::BodyNewline, body.trim_ascii_start().to_vec());
    add(Cause::BodyNewline, body.trim_ascii_end().to_vec());
    if let Some(shorter) = body.strip_suffix(b"\n") {
        add(Cause::BodyNewline, shorter.to_vec());
        add(
            Cause::BodyNewline,
            shorter.strip_suffix(b"\r").unwrap_or(shorter).to_vec(),
        );
    }
    for end in [b"\n".as_slice(), b"\r\n", b"\r", b" ", b"\0"] {
        add(Cause::BodyNewline, [body, end].concat());
    }
    add(Cause::BodyNewline, replace(body, b"\r\n", b"\n"));
    add(
        Cause::BodyNewline,
        replace(&replace(body, b"\r\n", b"\n"), b"\n", b"\r\n"),
    );
    add(Cause::BodyNewline, replace(body, b"\r\n", b""));
    add(Cause::BodyNewline, replace(body, b"\n", b""));
    if let Some(cut) = request
        .declared_len()
        .and_then(|declared| body.get(..declared))
    {
        add(Cause::BodyAppended, cut.to_vec());
    }
    for candidate in in_other_charsets(body) {
        add(Cause::BodyCharset, candidate);
    }
    found
}

fn replace(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(body.len());
    let mut rest = body;
    while !rest.is_empty() {
        match rest.strip_prefix(from) {
            Some(after) => {
                replaced.extend(to);
                rest = after;
            }
            None => {
                replaced.push(rest[0]);
                rest = &rest[1..];
            }
        }
    }
    replaced
}

/// The same text in the encodings that servers of our users convert between.
fn in_other_charsets(body: &[u8]) -> Vec<Vec<u8>> {
    if body.is_ascii() {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let Ok(text) = std::str::from_utf8(body) {
        // It was not UTF-8 before, or it was, and was taken for something else.
        for encoding in [GBK, WINDOWS_1252] {
            let (bytes, _, unmappable) = encoding.encode(text);
            if !unmappable {
                found.push(bytes.into_owned());
            }
        }
        let latin: Option<Vec<u8>> = text
            .chars()
            .map(|c| u8::try_from(u32::from(c)).ok())
            .collect();
        found.extend(latin);
    } else {
        // It was UTF-8 before.
        for encoding in [GBK, WINDOWS_1252] {
            if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(body) {
                found.push(text.into_owned().into_bytes());
            }
        }
        found.push(
            body.iter()
                .map(|byte| char::from(*byte))
                .collect::<String>()
                .into_bytes(),
        );
    }
    found
}

/// The bodies from which a parser and a serializer make the received one, until one is found. The
/// cheap ones come first: those in the given order.
pub(super) fn rewritten<R>(
    body: &[u8],
    mut visit: impl FnMut(Cause, &[u8]) -> Option<R>,
) -> Option<R> {
    if body.len() > MAX_PARSED_LEN {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?.trim();
    match Json::parse(text) {
        Some(json) => {
            let mut as_json = |body: &[u8]| visit(Cause::BodyReserialized, body);
            if let Some(found) = json_layouts(&json, &mut as_json) {
                return Some(found);
            }
            let mut as_form = |body: &[u8]| visit(Cause::BodyConverted, body);
            forms_of_json(&json, &mut as_form)
        }
        None if text.contains('=') => {
            let pairs = pairs(text);
            let mut as_form = |body: &[u8]| visit(Cause::BodyReserialized, body);
            if let Some(found) = forms(&pairs, &mut as_form) {
                return Some(found);
            }
            let mut as_json = |body: &[u8]| visit(Cause::BodyConverted, body);
            json_of_form(&pairs, &mut as_json)
        }
        None => None,
    }
}

fn json_layouts<R>(json: &Json, visit: &mut impl FnMut(&[u8]) -> Option<R>) -> Option<R> {
    for layout in Layout::all() {
        let mut body = layout.write(json);
        if let Some(found) = visit(&body) {
            return Some(found);
        }
        body.push(b'\n');
        if let Some(found) = visit(&body) {
            return Some(found);
        }
    }
    let Json::Object(members) = json else {
        return None;
    };
    permutations(members, |members| {
        let json = Json::Object(members.to_vec());
        Layout::SPACINGS[..2]
            .iter()
            .find_map(|layout| visit(&layout.write(&json)))
    })
}

fn forms<R>(pairs: &[Pair], visit: &mut impl FnMut(&[u8]) -> Option<R>) -> Option<R> {
    let styles = Style::all(pairs);
    for style in &styles {
        if let Some(found) = visit(&style.write(pairs)) {
            return Some(found);
        }
    }
    permutations(pairs, |pairs| {
        let mut in_each = styles.iter().take(4);
        in_each.find_map(|style| visit(&style.write(pairs)))
    })
}

/// A form whose pairs became the members of an object.
fn forms_of_json<R>(json: &Json, visit: &mut impl FnMut(&[u8]) -> Option<R>) -> Option<R> {
    let Json::Object(members) = json else {
        return None;
    };
    let pairs: Vec<Pair> = members
        .iter()
        .map(|(name, value)| {
            let value = match value {
                Json::Text(text) | Json::Bare(text) if text != "null" => text.clone().into_bytes(),
                Json::Bare(_) | Json::Text(_) => Vec::new(),
                nested => Layout::SPACINGS[0].write(nested),
            };
            Pair {
                name: name.clone().into_bytes(),
                value: Some(value),
            }
        })
        .collect();
    forms(&pairs, visit)
}

/// An object whose members became the pairs of a form. A form does not say which values had quotes.
fn json_of_form<R>(pairs: &[Pair], visit: &mut impl FnMut(&[u8]) -> Option<R>) -> Option<R> {
    #[derive(Clone, Copy)]
    enum Bare {
        Numbers,
        SystemNumbers,
        Nothing,
    }
    const SYSTEM_NUMBERS: [&str; 6] = [
        "size",
        "height",
        "width",
        "imageInfo.height",
        "imageInfo.width",
        "filesize",
    ];
    for bare in [Bare::Numbers, Bare::SystemNumbers, Bare::Nothing] {
        let members: Option<Vec<_>> = pairs
            .iter()
            .map(|pair| {
                let name = String::from_utf8(pair.name.clone()).ok()?;
                let value = String::from_utf8(pair.value.clone().unwrap_or_default()).ok()?;
                let is_number =
                    !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                let is_bare = match bare {
                    Bare::Numbers => is_number,
                    Bare::SystemNumbers => is_number && SYSTEM_NUMBERS.contains(&name.as_str()),
                    Bare::Nothing => false,
                };
                let value = match is_bare || matches!(value.as_str(), "true" | "false" | "null") {
                    true => Json::Bare(value),
                    false => Json::Text(value),
                };
                Some((name, value))
            })
            .collect();
        if let Some(found) = json_layouts(&Json::Object(members?), visit) {
            return Some(found);
        }
    }
    None
}
