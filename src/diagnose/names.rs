//! Names of variables as parsers and mappers of other languages change them.
//!
//! 1. PHP makes `_` of a dot in the name of a form's variable.
//! 2. Mappers write `mimeType` as `mime_type`, and the other way round: every name, or those alone that
//!    the service documents.
//! 3. Structs of Go and .NET are written with a capital: `Object`.

use crate::vars::SYSTEM_VARIABLES;

/// The ways from a received name to the one that was signed, the likelier first.
pub(super) fn changes() -> impl Iterator<Item = fn(&str) -> String> {
    let all: [fn(&str) -> String; 5] =
        [documented, dotted, camel_case, snake_case, without_capital];
    all.into_iter()
}

/// A documented name of several words as the service spells it, however they are joined here.
fn documented(name: &str) -> String {
    let joined = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.collect::<String>().to_ascii_lowercase()
    };
    let wanted = joined(name);
    let has_words = |known: &str| known.contains(|c: char| c == '.' || c.is_ascii_uppercase());
    let known = SYSTEM_VARIABLES
        .iter()
        .find(|known| has_words(known) && joined(known) == wanted);
    known.map_or_else(|| name.to_owned(), |known| (*known).to_owned())
}

fn dotted(name: &str) -> String {
    name.replace('_', ".")
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut name, word| {
        let mut letters = word.chars();
        name.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

fn without_capital(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

fn snake_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_those_that_were_signed() {
        for (signed, received) in [
            ("imageInfo.height", "imageInfo_height"),
            ("imageInfo.height", "image_info_height"),
            ("imageInfo.height", "imageInfoHeight"),
            ("mimeType", "mime_type"),
            ("mimeType", "MimeType"),
            ("contentMd5", "content_md5"),
            ("my.var", "my_var"),
            ("my_var", "myVar"),
            ("userId", "user_id"),
            ("object", "Object"),
            ("userId", "UserId"),
            ("é_A", "é_A"),
        ] {
            let found = changes().any(|change| change(received) == signed);
            assert!(found || signed == received, "{signed} {received}");
        }
    }

    #[test]
    fn a_name_of_ones_own_beside_documented_ones_is_kept() {
        assert_eq!(documented("my_var"), "my_var");
        assert_eq!(documented("imageInfo_width"), "imageInfo.width");
    }
}
