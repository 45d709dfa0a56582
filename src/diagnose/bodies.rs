//! Bodies from which the received one may have been made by a change of bytes, without being understood.

use std::ops::ControlFlow;

use super::{CapturedRequest, Cause, charsets::converted, order::Pieces};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Longer bodies are not converted to other charsets.
const MAX_CONVERTED_LEN: usize = 16 * 1024;

/// Is shown bodies with what was done to them, and breaks to see no more.
pub(super) trait Visitor {
    fn body(&mut self, cause: Cause, body: &[u8]) -> ControlFlow<()>;

    /// Every order of some parts. Those who look for pairs of changes leave them out: they are many.
    fn orders(&mut self, _cause: Cause, _pieces: &Pieces) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(Cause, &[u8]) -> ControlFlow<()>> Visitor for F {
    fn body(&mut self, cause: Cause, body: &[u8]) -> ControlFlow<()> {
        self(cause, body)
    }
}

/// The bodies that one change of bytes makes.
pub(super) fn changed(
    request: &CapturedRequest,
    body: &[u8],
    visitor: &mut dyn Visitor,
) -> ControlFlow<()> {
    match body.strip_prefix(BOM) {
        Some(plain) => visitor.body(Cause::BodyBom, plain)?,
        None => visitor.body(Cause::BodyBom, &[BOM, body].concat())?,
    }
    let declared = request.declared_len().filter(|len| *len < body.len());
    if let Some(declared) = declared {
        let cut = &body[..declared];
        let is_white = body[declared..].iter().all(u8::is_ascii_whitespace);
        let cause = match is_white {
            true => Cause::BodyNewline,
            false => Cause::BodyAppended,
        };
        visitor.body(cause, cut)?;
    }
    newlines(body, &mut |body| visitor.body(Cause::BodyNewline, body))?;
    if body.len() <= MAX_CONVERTED_LEN {
        for (_, other) in converted(body) {
            visitor.body(Cause::BodyCharset, &other)?;
        }
    }
    escaped(body, &mut |body| {
        visitor.body(Cause::BodyReserialized, body)
    })
}

/// The likeliest of them, for those who combine them with other changes: a mark or a line end that came or
/// went, a parameter that came, and the end of a document that is missing.
pub(super) fn likely(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    match body.strip_prefix(BOM) {
        Some(plain) => visitor.body(Cause::BodyBom, plain)?,
        None => visitor.body(Cause::BodyBom, &[BOM, body].concat())?,
    }
    let trimmed = body.trim_ascii();
    if trimmed.len() < body.len() {
        visitor.body(Cause::BodyNewline, trimmed)?;
        visitor.body(Cause::BodyNewline, body.trim_ascii_end())?;
    }
    for end in [b"\n".as_slice(), b"\r\n"] {
        match body.strip_suffix(end) {
            Some(shorter) => visitor.body(Cause::BodyNewline, shorter)?,
            None => visitor.body(Cause::BodyNewline, &[body, end].concat())?,
        }
    }
    let is_separator = |byte: &u8| *byte == b'&';
    if let Some(last) = body.iter().rposition(is_separator) {
        visitor.body(Cause::BodyAppended, &body[..last])?;
    }
    if let Some(first) = body.iter().position(is_separator) {
        visitor.body(Cause::BodyAppended, &body[first + 1..])?;
    }
    if body.starts_with(b"{") && !body.ends_with(b"}") {
        for end in [b"}".as_slice(), b"\"}"] {
            visitor.body(Cause::BodyTruncated, &[body, end].concat())?;
        }
    }
    ControlFlow::Continue(())
}

/// Line ends and white space: around the body, or everywhere.
fn newlines(body: &[u8], visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut visit = |candidate: &[u8]| match candidate == body {
        true => ControlFlow::Continue(()),
        false => visit(candidate),
    };
    visit(body.trim_ascii())?;
    visit(body.trim_ascii_start())?;
    visit(body.trim_ascii_end())?;
    if let Some(shorter) = body.strip_suffix(b"\n") {
        visit(shorter)?;
        visit(shorter.strip_suffix(b"\r").unwrap_or(shorter))?;
    }
    for end in [
        b"\n".as_slice(),
        b"\r\n",
        b"\r",
        b" ",
        b"\0",
        b"\n\n",
        b"\r\n\r\n",
        b"\t",
        b"  ",
    ] {
        visit(&[body, end].concat())?;
    }
    for start in [b"\n".as_slice(), b"\r\n", b" "] {
        visit(&[start, body].concat())?;
    }
    visit(&[b"\n", body, b"\n"].concat())?;
    visit(&[b" ", body, b" "].concat())?;
    let unix = replace(&replace(body, b"\r\n", b"\n"), b"\r", b"\n");
    let windows = replace(&unix, b"\n", b"\r\n");
    for other in [
        replace(&unix, b"\n", b"\r"),
        replace(body, b"\r\n", b""),
        replace(body, b"\n", b""),
        replace(body, b"\t", b"    "),
        replace(body, b"\t", b" "),
    ] {
        visit(&other)?;
    }
    // Together with an end that came or went.
    for text in [unix, windows] {
        visit(&text)?;
        let line_end: &[u8] = match text.windows(2).any(|pair| pair == b"\r\n") {
            true => b"\r\n",
            false => b"\n",
        };
        visit(text.trim_ascii_end())?;
        visit(&[text.as_slice(), line_end].concat())?;
    }
    ControlFlow::Continue(())
}

/// Texts that were escaped for HTML or for a string, by a filter that takes them for something else.
fn escaped(body: &[u8], visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    if body.contains(&b'&') {
        let plain = without_references(body);
        if plain != body {
            visit(&plain)?;
        }
    }
    if body.contains(&b'\\') {
        visit(&replace(body, b"\\\"", b"\""))?;
        visit(&replace(body, b"\\/", b"/"))?;
        visit(&without_backslashes(body))?;
    }
    ControlFlow::Continue(())
}

/// With the characters that the references of HTML stand for: `&quot;`, `&#39;`, `&#x56FE;`.
fn without_references(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((byte, after)) = rest.split_first() {
        let name = after
            .iter()
            .take(MAX_REFERENCE)
            .position(|byte| *byte == b';');
        let name = name.and_then(|end| std::str::from_utf8(&after[..end]).ok());
        match name.filter(|_| *byte == b'&').and_then(referred) {
            Some((character, length)) => {
                plain.extend(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &after[length + 1..];
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

/// What a reference stands for, and how long its name is.
fn referred(name: &str) -> Option<(char, usize)> {
    let character = match name {
        "quot" => '"',
        "apos" => '\'',
        "lt" => '<',
        "gt" => '>',
        "amp" => '&',
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)?
        }
    };
    Some((character, name.len()))
}

/// The longest name of a reference, with its `;`: `#x10FFFF;`.
const MAX_REFERENCE: usize = 9;

/// Without the backslashes that a string's quotes need, as PHP's `addslashes` puts them in.
fn without_backslashes(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(body.len());
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'\\' => bytes.next().unwrap_or(byte),
            other => other,
        };
        plain.push(*byte);
    }
    plain
}

fn replace(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((first, after)) = rest.split_first() {
        match rest.strip_prefix(from) {
            Some(after) => {
                replaced.extend(to);
                rest = after;
            }
            None => {
                replaced.push(*first);
                rest = after;
            }
        }
    }
    replaced
}
