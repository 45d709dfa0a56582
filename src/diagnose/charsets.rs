//! The same text in another character encoding or normal form.
//!
//! Bytes are read in each encoding even if they are valid UTF-8: one character in GBK is often another
//! one in UTF-8.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1252,
};
use unicode_normalization::UnicodeNormalization;

/// The encodings that servers and clients of our users convert between.
const ENCODINGS: [&Encoding; 6] = [GBK, GB18030, WINDOWS_1252, BIG5, SHIFT_JIS, EUC_KR];

/// One way from a received text to the signed one.
#[derive(Clone, Copy)]
pub(super) enum Conversion {
    /// It was UTF-8, and became this.
    From(&'static Encoding),
    /// It was this and became UTF-8, or it was UTF-8 and was taken for this.
    To(&'static Encoding),
    FromUtf32(fn([u8; 4]) -> u32),
    FromLatin1,
    ToLatin1,
    Composed,
    Decomposed,
}

impl Conversion {
    fn all() -> impl Iterator<Item = Self> {
        let wide = [UTF_16LE, UTF_16BE].into_iter().map(Self::From);
        let encodings = ENCODINGS.into_iter();
        wide.chain([u32::from_le_bytes as fn(_) -> _, u32::from_be_bytes].map(Self::FromUtf32))
            .chain(encodings.clone().map(Self::From))
            .chain(encodings.map(Self::To))
            .chain([
                Self::FromLatin1,
                Self::ToLatin1,
                Self::Composed,
                Self::Decomposed,
            ])
    }

    /// `None` if the bytes cannot be of that encoding.
    pub(super) fn apply(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(bytes);
        match self {
            Self::From(encoding) => {
                let is_wide = encoding == UTF_16LE || encoding == UTF_16BE;
                if is_wide != bytes.contains(&0) {
                    return None;
                }
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
                Some(text.trim_start_matches('\u{feff}').as_bytes().to_vec())
            }
            Self::To(encoding) => {
                let (other, _, unmappable) = encoding.encode(text.ok()?);
                (!unmappable).then(|| other.into_owned())
            }
            Self::FromUtf32(number) => {
                let units = bytes.chunks_exact(4);
                let text = match units.remainder() {
                    [] => units.map(|unit| char::from_u32(number(unit.try_into().ok()?))),
                    _ => return None,
                };
                let text = text.collect::<Option<String>>()?;
                Some(text.trim_start_matches('\u{feff}').as_bytes().to_vec())
            }
            Self::FromLatin1 => {
                let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
                Some(text.into_bytes())
            }
            Self::ToLatin1 => {
                let characters = text.ok()?.chars();
                characters
                    .map(|character| u8::try_from(u32::from(character)).ok())
                    .collect()
            }
            Self::Composed => Some(text.ok()?.nfc().collect::<String>().into_bytes()),
            Self::Decomposed => Some(text.ok()?.nfd().collect::<String>().into_bytes()),
        }
    }
}

/// Every other text that the bytes may have been made from. None if they are ASCII, which all of these
/// have in common.
pub(super) fn converted(bytes: &[u8]) -> Vec<(Conversion, Vec<u8>)> {
    let mut found: Vec<(Conversion, Vec<u8>)> = Vec::new();
    if bytes.is_ascii() && !bytes.contains(&0) {
        return found;
    }
    for conversion in Conversion::all() {
        if let Some(other) = conversion.apply(bytes) {
            if other != bytes && found.iter().all(|(_, known)| *known != other) {
                found.push((conversion, other));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leads_back(signed: &str, received: &[u8]) -> bool {
        let mut others = converted(received).into_iter();
        others.any(|(_, other)| other == signed.as_bytes())
    }

    #[test]
    fn a_conversion_is_undone() {
        let text = "{\"o\":\"图片.jpg\"}";
        for encoding in [GBK, GB18030, BIG5, SHIFT_JIS] {
            let (received, _, unmappable) = encoding.encode(text);
            assert!(
                unmappable || leads_back(text, &received),
                "{}",
                encoding.name()
            );
        }
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(leads_back(text, &wide));
        assert!(leads_back(text, &[b"\xff\xfe".to_vec(), wide].concat()));
        for number in [u32::to_le_bytes, u32::to_be_bytes] {
            let wide: Vec<u8> = text.chars().flat_map(|c| number(c.into())).collect();
            assert!(leads_back(text, &wide));
            assert!(!leads_back(text, &wide[1..]));
            let mark = number(0xfeff);
            assert!(leads_back(text, &[mark.as_slice(), &wide].concat()));
        }
    }

    #[test]
    fn a_misreading_is_undone() {
        let text = "caf\u{e9} 图";
        let latin: String = text.bytes().map(char::from).collect();
        assert!(leads_back(text, latin.as_bytes()));
        // `图` of GBK is another character of UTF-8.
        assert!(leads_back("图", b"\xcd\xbc"));
        assert!(std::str::from_utf8(b"\xcd\xbc").is_ok());
        let (misread, _) = GBK.decode_without_bom_handling("中文".as_bytes());
        assert!(leads_back("中文", misread.as_bytes()));
    }

    #[test]
    fn a_normal_form_is_undone() {
        assert!(leads_back("e\u{301}", "\u{e9}".as_bytes()));
        assert!(leads_back("\u{e9}", "e\u{301}".as_bytes()));
    }

    #[test]
    fn plain_ascii_has_no_other_form() {
        assert!(converted(b"a=1").is_empty());
    }
}
