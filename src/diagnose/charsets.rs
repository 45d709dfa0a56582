//! The same text in another character encoding or normal form.

use encoding_rs::{
    BIG5, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_16BE, UTF_16LE, WINDOWS_1252,
};
use unicode_normalization::UnicodeNormalization;

/// The encodings that servers and clients of our users convert between.
const ENCODINGS: [&Encoding; 6] = [GBK, GB18030, WINDOWS_1252, BIG5, SHIFT_JIS, EUC_KR];

/// Each other text with the name of what was done, for logs.
pub(super) fn converted(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut found: Vec<(&'static str, Vec<u8>)> = Vec::new();
    let mut add = |name, other: Vec<u8>| {
        if other != bytes && found.iter().all(|(_, known)| *known != other) {
            found.push((name, other));
        }
    };
    let has_nul = bytes.contains(&0);
    if bytes.is_ascii() && !has_nul {
        return found;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if !has_nul => {
            // It was not UTF-8 before, or it was, and was taken for something else.
            for encoding in ENCODINGS {
                let (other, _, unmappable) = encoding.encode(text);
                if !unmappable {
                    add(encoding.name(), other.into_owned());
                }
            }
            let latin: Option<Vec<u8>> = text
                .chars()
                .map(|character| u8::try_from(u32::from(character)).ok())
                .collect();
            if let Some(latin) = latin {
                add("ISO-8859-1", latin);
            }
            add("NFC", text.nfc().collect::<String>().into_bytes());
            add("NFD", text.nfd().collect::<String>().into_bytes());
        }
        _ => {
            // It was UTF-8 before.
            let wide: &[&Encoding] = match has_nul || bytes.starts_with(b"\xff\xfe") {
                true => &[UTF_16LE, UTF_16BE],
                false => &[],
            };
            for encoding in wide.iter().copied().chain(ENCODINGS) {
                let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
                if let Some(text) = text {
                    let text = text.trim_start_matches('\u{feff}');
                    add(encoding.name(), text.as_bytes().to_vec());
                }
            }
            let latin: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            add("ISO-8859-1", latin.into_bytes());
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
    }

    #[test]
    fn a_misreading_is_undone() {
        let text = "caf\u{e9} 图";
        let latin: String = text.bytes().map(char::from).collect();
        assert!(leads_back(text, latin.as_bytes()));
        let (gbk, _) = GBK.decode_without_bom_handling("涓浗".as_bytes());
        assert!(leads_back("涓浗", gbk.as_bytes()));
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
