//! How an examination is shown: [to people](text) and [to programs](json).

pub(crate) mod json;
pub(crate) mod paint;
pub(crate) mod text;

#[cfg(test)]
mod tests {
    use oss_callback::test_util::CallbackSigner;
    use proptest::prelude::*;

    use super::{
        super::{examination::Examination, input, lang::Lang},
        *,
    };

    /// What happens to a genuine request on its way.
    #[derive(Clone, Debug)]
    enum Edit {
        Set(usize, u8),
        Insert(usize, Vec<u8>),
        Remove(usize),
        Truncate(usize),
    }

    fn edit() -> impl Strategy<Value = Edit> {
        let at = any::<usize>();
        prop_oneof![
            (at, any::<u8>()).prop_map(|(at, byte)| Edit::Set(at, byte)),
            (at, prop::collection::vec(any::<u8>(), 1..6))
                .prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
            at.prop_map(Edit::Remove),
            at.prop_map(Edit::Truncate),
        ]
    }

    impl Edit {
        fn apply(self, text: &mut Vec<u8>) {
            let length = text.len().max(1);
            match self {
                Self::Insert(at, bytes) => drop(text.splice(at % length..at % length, bytes)),
                _ if text.is_empty() => {}
                Self::Set(at, byte) => text[at % length] = byte,
                Self::Remove(at) => drop(text.remove(at % length)),
                Self::Truncate(at) => text.truncate(at % length),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        /// However a request was damaged, it is shown in both languages and as JSON, and no byte of it
        /// reaches the terminal as a command.
        #[test]
        fn every_damage_can_be_shown(edits in prop::collection::vec(edit(), 0..4)) {
            let signer = CallbackSigner::new();
            let (parts, _) = signer.form("/api/cb?id=1&t=x", "object=a%2Fb&size=7").into_parts();
            let mut text = b"POST /api/cb?id=1&t=x HTTP/1.1\r\n".to_vec();
            for (name, value) in &parts.headers {
                text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
            }
            text.extend_from_slice(b"\r\nobject=a%2Fb&size=7");
            for edit in edits {
                edit.apply(&mut text);
            }
            let examined = input::read(&text)
                .and_then(|capture| Examination::new(capture, Some(signer.public_key())));
            match examined {
                Ok(examination) => {
                    for lang in [Lang::En, Lang::Zh] {
                        let page = text::render(&examination, lang, paint::ColorChoice::Never.paint());
                        let obeyed = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\0');
                        prop_assert!(!page.contains(obeyed), "{page:?}");
                    }
                    let object = json::render(&examination);
                    prop_assert!(object.starts_with("{\"verdict\":"), "{object}");
                }
                Err(unusable) => {
                    let object = json::render_unusable(&unusable);
                    prop_assert!(object.contains("\"unusable\""), "{object}");
                }
            }
        }
    }
}
