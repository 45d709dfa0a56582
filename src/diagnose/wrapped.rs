//! Bodies that still hold the original: encoded as a whole, compressed, or as one value among others.
//!
//! 1. Base64, as API gateways hand bodies to functions, and a JSON string.
//! 2. Compressed with gzip or zlib by something in front. The other way round, the usual parameters of
//!    one compressor are tried; compressors differ, so that this is seldom enough.
//! 3. One text of a document, or one value of a form: an event whose member is the body, a JSON document
//!    that was taken for the name of a form's variable. And an object or a list inside a document.
//! 4. Hexadecimal digits, a list of bytes, the literal of a byte string, and the chunks of HTTP/1.1.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{Read, Write},
    ops::ControlFlow,
};

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use flate2::{
    Compression,
    read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder},
    write::{GzEncoder, ZlibEncoder},
};

use serde_json::value::RawValue;

use super::{
    Cause, bodies::Visitor, capture::MAX_BODY_LEN, encoding::pairs, header_repair::hexadecimal,
    json_text::Json,
};

/// Longer bodies are not taken apart.
const MAX_PARSED_LEN: usize = 64 * 1024;

/// Longer ones are not compressed: each way takes as long as some hundred hashes.
const MAX_COMPRESSED_LEN: usize = 4 * 1024;

/// Texts of a document beyond these are not looked at.
const MAX_TEXTS: usize = 64;

/// A text shorter than this is no body that was wrapped.
const MIN_LEN: usize = 3;

/// The bodies that may be inside.
pub(super) fn unwrapped(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if let Some(inside) = decompressed(body) {
        visitor.body(Cause::ContentDecoded, &inside)?;
    }
    let mut visit = |inside: &[u8]| visitor.body(Cause::BodyConverted, inside);
    base64(body, &mut visit)?;
    if body.len() > MAX_PARSED_LEN {
        return ControlFlow::Continue(());
    }
    let others = [
        literal(body),
        in_quotes(body),
        in_digits(body),
        chunked(body),
    ];
    others
        .iter()
        .flatten()
        .try_for_each(|inside| visit(inside))?;
    if let Ok(text) = std::str::from_utf8(body) {
        let mut places = Vec::new();
        nested(text, MAX_DEPTH, &mut places);
        for place in places.into_iter().chain([text]) {
            if place.len() < text.len() {
                visit(place.as_bytes())?;
            }
            // A list of the bytes, as a buffer of Node becomes one.
            if let Ok(bytes) = serde_json::from_str::<Vec<u8>>(place) {
                visit(&bytes)?;
            }
        }
        if let Some((_, data)) = text.split_once(";base64,") {
            base64(data.as_bytes(), &mut visit)?;
        }
    }
    if let Some(json) = std::str::from_utf8(body).ok().and_then(Json::parse) {
        for text in json.texts().into_iter().take(MAX_TEXTS) {
            if text.len() >= MIN_LEN {
                visit(text.as_bytes())?;
                base64(text.as_bytes(), &mut visit)?;
            }
        }
    }
    for pair in pairs(body).into_iter().take(MAX_TEXTS) {
        let texts = [Some(pair.name), pair.value];
        for text in texts.into_iter().flatten() {
            if text.len() >= MIN_LEN && text != body {
                visit(&text)?;
                base64(&text, &mut visit)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// The objects and lists inside a document, as they are written there.
fn nested<'a>(text: &'a str, depth: usize, places: &mut Vec<&'a str>) {
    let text = text.trim_ascii();
    let inside: Vec<&RawValue> = match text.as_bytes().first() {
        Some(b'[') => serde_json::from_str(text).unwrap_or_default(),
        Some(b'{') => {
            let members: BTreeMap<Cow<'_, str>, &RawValue> =
                serde_json::from_str(text).unwrap_or_default();
            members.into_values().collect()
        }
        _ => return,
    };
    for value in inside {
        let value = value.get();
        if depth > 0 && places.len() < MAX_TEXTS && value.starts_with(['{', '[']) {
            places.push(value);
            nested(value, depth - 1, places);
        }
    }
}

/// Each level is read once more.
const MAX_DEPTH: usize = 4;

/// What Python writes for the bytes of a body: `b'..'`.
fn literal(body: &[u8]) -> Option<Vec<u8>> {
    let quoted = body.trim_ascii().strip_prefix(b"b")?;
    let (quote @ (b'\'' | b'"'), rest) = quoted.split_first()? else {
        return None;
    };
    let mut rest = rest.strip_suffix(&[*quote])?;
    let mut plain = Vec::with_capacity(rest.len());
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'\\' {
            plain.push(*byte);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        plain.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'x' => {
                let (digits, after) = rest.split_at_checked(2)?;
                rest = after;
                u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
            }
            other => *other,
        });
    }
    Some(plain)
}

/// A body in the quotes of a shell.
fn in_quotes(body: &[u8]) -> Option<Vec<u8>> {
    let inside = body.strip_prefix(b"'")?.strip_suffix(b"'")?;
    Some(inside.to_vec())
}

/// The bytes of a body of hexadecimal digits.
fn in_digits(body: &[u8]) -> Option<Vec<u8>> {
    hexadecimal(std::str::from_utf8(body).ok()?.trim())
}

/// The body in chunks that were not put together.
fn chunked(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = body.windows(2).position(|pair| pair == b"\r\n")?;
        let size = std::str::from_utf8(&body[..end]).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        body = &body[end + 2..];
        if size == 0 {
            return (!whole.is_empty()).then_some(whole);
        }
        let (chunk, rest) = body.split_at_checked(size)?;
        whole.extend(chunk);
        body = rest.strip_prefix(b"\r\n")?;
    }
}

/// What the body would be if a plain one had been compressed before it was signed.
pub(super) fn compressed(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if body.is_empty() || body.len() > MAX_COMPRESSED_LEN {
        return ControlFlow::Continue(());
    }
    for level in [
        Compression::default(),
        Compression::fast(),
        Compression::best(),
    ] {
        let mut gzip = GzEncoder::new(Vec::new(), level);
        let mut zlib = ZlibEncoder::new(Vec::new(), level);
        let texts = [
            gzip.write_all(body).and_then(|()| gzip.finish()),
            zlib.write_all(body).and_then(|()| zlib.finish()),
        ];
        for text in texts.into_iter().flatten() {
            visitor.body(Cause::ContentDecoded, &text)?;
        }
    }
    ControlFlow::Continue(())
}

/// Whether the body says by its first bytes that it is compressed.
pub(super) fn is_gzip(body: &[u8]) -> bool {
    body.starts_with(b"\x1f\x8b\x08")
}

fn decompressed(body: &[u8]) -> Option<Vec<u8>> {
    let is_zlib = matches!(body, [first, second, ..]
        if first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)) % 31 == 0);
    if is_gzip(body) {
        return read(MultiGzDecoder::new(body));
    }
    if is_zlib {
        return read(ZlibDecoder::new(body));
    }
    // Raw deflate has no mark. A text begins with a byte that no short compressed block does.
    let is_text = std::str::from_utf8(body).is_ok();
    (!is_text).then(|| read(DeflateDecoder::new(body)))?
}

/// What a decoder gives, if it ends well and is no longer than a body may be.
fn read(decoder: impl Read) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let limit = MAX_BODY_LEN as u64 + 1;
    decoder.take(limit).read_to_end(&mut text).ok()?;
    (text.len() <= MAX_BODY_LEN).then_some(text)
}

/// Whether a body is the base64 of another.
pub(super) fn is_base64_of(body: &[u8], other: &[u8]) -> bool {
    base64(body, &mut |inside| match inside == other {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    })
    .is_break()
}

fn base64(text: &[u8], visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    if text.len() < MIN_LEN {
        return ControlFlow::Continue(());
    }
    let plain: Vec<u8> = text
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
        if let Ok(decoded) = GeneralPurpose::new(alphabet, LENIENT).decode(&plain) {
            return visit(&decoded);
        }
    }
    ControlFlow::Continue(())
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    fn holds(received: &[u8], signed: &[u8]) -> Option<Cause> {
        let mut found = None;
        let _ = unwrapped(received, &mut |cause, body: &[u8]| {
            if body == signed {
                found = Some(cause);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn what_is_inside_is_found() {
        let signed = br#"{"object":"a\/b.jpg"}"#;
        let base64 = BASE64_STANDARD.encode(signed);
        let text = std::str::from_utf8(signed).unwrap();
        let event = serde_json::json!({"body": base64, "isBase64Encoded": true}).to_string();
        let plain_event = serde_json::json!({"httpMethod": "POST", "body": text}).to_string();
        let string = serde_json::to_string(text).unwrap();
        let form = format!("payload={}", text.replace('"', "%22"));
        let name = format!("{}=", text.replace('"', "%22"));
        let digits: String = signed.iter().map(|byte| format!("{byte:02x}")).collect();
        let data = format!("data:application/json;base64,{base64}");
        let member = format!("{{\"code\": 0, \"data\": [{text}]}}");
        let bytes = format!("b'{}'", text.replace('\\', "\\\\"));
        let chunks = format!(
            "5\r\n{}\r\n{:X}\r\n{}\r\n0\r\n\r\n",
            &text[..5],
            text.len() - 5,
            &text[5..]
        );
        for received in [
            format!("'{text}'"),
            base64,
            event,
            plain_event,
            string,
            form,
            name,
            digits,
            data,
            member,
            bytes,
            chunks,
        ] {
            let cause = holds(received.as_bytes(), signed);
            assert_eq!(cause, Some(Cause::BodyConverted), "{received}");
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        gzip.write_all(signed).unwrap();
        let cause = holds(&gzip.finish().unwrap(), signed);
        assert_eq!(cause, Some(Cause::ContentDecoded));
    }

    #[test]
    fn what_expands_without_end_is_left_alone() {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(&vec![0; MAX_BODY_LEN + 1]).unwrap();
        assert_eq!(decompressed(&gzip.finish().unwrap()), None);
    }
}
