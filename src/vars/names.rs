//! The names that variables have, and those that they may not have.
//!
//! 1. The [documented names](NAMES) may stand in an error, whatever the body is.
//! 2. A name that occurs twice is refused: some readers take the first value, some the last.
//! 3. So is a name that serde_json gives a meaning of its own: see [`MARKER`].

use super::VarsError;

/// The documented names.
pub(super) const NAMES: &[&str] = &[
    "bucket",
    "object",
    "etag",
    "size",
    "mimeType",
    "imageInfo.height",
    "imageInfo.width",
    "imageInfo.format",
    "crc64",
    "contentMd5",
    "vpcId",
    "clientIp",
    "reqId",
    "operation",
];

/// The name of a newtype that takes numbers and booleans as their own text, and everything else as it
/// is. serde has no word for it: a visitor of any value would be shown `1.50` as the number 1.5, and
/// write another text than a guard reads.
pub(super) const OWN_TEXT: &str = "$oss_callback::OwnText";

/// What serde_json's own markers begin with. A `serde_json::Value` that meets one as the first name of
/// an object becomes the JSON *in its value*: a handler would read variables that no guard can see.
const MARKER: &str = "$serde_json::private::";

/// Refuses such names in the time that sorting takes, whatever the names are.
pub(super) fn check<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Result<(), VarsError> {
    if names.clone().any(|name| name.starts_with(MARKER)) {
        return Err(VarsError::Marker);
    }
    // Numbers are sorted several times as fast as names.
    if are_distinct(names.clone().map(digest)) || are_distinct(names) {
        Ok(())
    } else {
        Err(VarsError::Duplicate)
    }
}

fn are_distinct<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items.is_sorted_by(|one, next| one < next)
}

/// Equal for equal names, and by chance or malice for others.
fn digest(name: &str) -> u64 {
    name.as_bytes().chunks(8).fold(0, |digest: u64, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        // The constant is 2^64 divided by the golden ratio, as in Fibonacci hashing.
        (digest.rotate_left(26) ^ u64::from_le_bytes(word)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// `+1`, ` 1` and `1_000` are numbers to some readers and not to others.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_name_twice_is_found_among_many() {
        for count in [2, 20, 21, 2000] {
            let mut names: Vec<String> = (0..count).map(|index| format!("x:{index}")).collect();
            assert_eq!(check(names.iter().map(String::as_str)), Ok(()));
            names[count / 2] = names[0].clone();
            let checked = check(names.iter().map(String::as_str));
            assert_eq!(checked, Err(VarsError::Duplicate), "{count}");
        }
    }

    #[test]
    fn names_of_one_digest_are_told_apart() {
        let names = ["x", "x\0", "x\0\0"];
        assert_eq!(digest(names[0]), digest(names[1]));
        assert_eq!(check(names.into_iter()), Ok(()));
        let doubled = names.into_iter().chain(["x\0"]);
        assert_eq!(check(doubled), Err(VarsError::Duplicate));
    }

    proptest! {
        #[test]
        fn what_is_refused_is_a_name_that_occurs_twice(
            names in proptest::collection::vec("[ab\0]{0,3}|.{0,20}", 0..12),
        ) {
            let distinct: std::collections::HashSet<&String> = names.iter().collect();
            let checked = check(names.iter().map(String::as_str));
            prop_assert_eq!(checked.is_ok(), distinct.len() == names.len());
        }
    }
}
