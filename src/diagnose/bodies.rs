//! Bodies from which the received one may have been made by a change of bytes, without being understood.

use std::ops::ControlFlow;

use super::{CapturedRequest, Cause, charsets::converted, order::Pieces};

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Longer bodies are not converted to other charsets.
const MAX_CONVERTED_LEN: usize = 64 * 1024;

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
        let mut plain = body.to_vec();
        for (escape, character) in [
            ("&quot;", "\""),
            ("&#34;", "\""),
            ("&#39;", "'"),
            ("&#x27;", "'"),
            ("&lt;", "<"),
            ("&gt;", ">"),
            ("&#x2F;", "/"),
            ("&amp;", "&"),
        ] {
            plain = replace(&plain, escape.as_bytes(), character.as_bytes());
        }
        if plain != body {
            visit(&plain)?;
        }
    }
    if body.contains(&b'\\') {
        visit(&replace(body, b"\\\"", b"\""))?;
        visit(&replace(body, b"\\/", b"/"))?;
    }
    ControlFlow::Continue(())
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
