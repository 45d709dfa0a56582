//! The names that variables have, and those that they may not have.
//!
//! 1. The [known names](known) may stand in an error, whatever the body is.
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

/// What the service's sample templates call some of them, and the one that it does not document.
const SAMPLE_NAMES: &[&str] = &["filename", "format", "height", "imageInfo", "width"];

/// The name of a newtype that takes numbers and booleans as their own text, and everything else as it
/// is. serde has no word for it: a visitor of any value would be shown `1.50` as the number 1.5, and
/// write another text than a guard reads.
pub(super) const OWN_TEXT: &str = "$oss_callback::OwnText";

/// What serde_json's own markers begin with. A `serde_json::Value` that meets one as the first name of
/// an object becomes the JSON *in its value*: a handler would read variables that no guard can see.
const MARKER: &str = "$serde_json::private::";

/// Up to so many names are compared each with each; more are sorted.
pub(super) const FEW: usize = 16;

/// A name as this crate knows it, and so without a byte of the sender.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let mut known = NAMES.iter().chain(SAMPLE_NAMES);
    known.find(|known| **known == name).copied()
}

/// Refuses such names in the time that sorting takes, whatever the names are. The order of the names
/// comes with it, if they are many.
pub(super) fn check<'a>(
    names: impl ExactSizeIterator<Item = &'a str>,
) -> Result<Option<Vec<usize>>, VarsError> {
    if names.len() > FEW {
        return sort(&names.collect::<Vec<_>>()).map(Some);
    }
    let mut seen = [""; FEW];
    for (count, name) in names.enumerate() {
        check_marker(name)?;
        if seen[..count].contains(&name) {
            return Err(VarsError::Duplicate(known(name)));
        }
        seen[count] = name;
    }
    Ok(None)
}

fn check_marker(name: &str) -> Result<(), VarsError> {
    if name.starts_with(MARKER) {
        Err(VarsError::Marker)
    } else {
        Ok(())
    }
}

/// The order of the names. Numbers are sorted several times as fast as names, so they are sorted by
/// their first eight bytes, and by the whole of them only where these are the same.
fn sort(names: &[&str]) -> Result<Vec<usize>, VarsError> {
    let mut keys = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        check_marker(name)?;
        keys.push(u128::from(prefix(name)) << 64 | index as u128);
    }
    keys.sort_unstable();
    let prefix_of = |key: &u128| (key >> 64) as u64;
    let mut order: Vec<usize> = keys.iter().map(|key| *key as u64 as usize).collect();
    let mut start = 0;
    for alike in keys.chunk_by(|one, next| prefix_of(one) == prefix_of(next)) {
        let alike = &mut order[start..start + alike.len()];
        start += alike.len();
        if alike.len() > 1 {
            alike.sort_unstable_by_key(|index| names[*index]);
            let twice = alike
                .windows(2)
                .find(|pair| names[pair[0]] == names[pair[1]]);
            if let Some(twice) = twice {
                return Err(VarsError::Duplicate(known(names[twice[0]])));
            }
        }
    }
    Ok(order)
}

/// The first eight bytes as a number that is ordered as they are.
fn prefix(name: &str) -> u64 {
    let mut prefix = [0; 8];
    let length = name.len().min(8);
    prefix[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(prefix)
}

/// `+1`, ` 1` and `1_000` are numbers to some readers and not to others.
pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(names: &[&str]) -> Result<(), VarsError> {
        let order = check(names.iter().copied())?;
        assert_eq!(order.is_some(), names.len() > FEW);
        if let Some(order) = order {
            assert!(order.is_sorted_by(|one, next| names[*one] < names[*next]));
        }
        Ok(())
    }

    #[test]
    fn one_name_twice_is_found_among_many() {
        for count in [2, FEW, FEW + 1, 20, 21, 2000] {
            let mut names: Vec<String> = (0..count).map(|index| format!("x:{index}")).collect();
            let names_of =
                |names: &[String]| checked(&names.iter().map(|n| &**n).collect::<Vec<_>>());
            assert_eq!(names_of(&names), Ok(()));
            names[count / 2] = names[0].clone();
            assert_eq!(names_of(&names), Err(VarsError::Duplicate(None)), "{count}");
            names[0] = "object".to_owned();
            names[count / 2] = "object".to_owned();
            assert_eq!(
                names_of(&names),
                Err(VarsError::Duplicate(Some("object"))),
                "{count}"
            );
        }
    }

    #[test]
    fn names_of_one_prefix_are_told_apart() {
        let ends = ["", "\0", "\0\0", "\0a", "a", "b"];
        for stem in ["", "x", "1234567", "12345678", "123456789"] {
            let mut names: Vec<String> = ends.iter().map(|end| format!("{stem}{end}")).collect();
            names.extend((0..FEW).map(|index| format!("{stem}-{index}")));
            let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
            assert_eq!(checked(&names), Ok(()));
            assert_eq!(checked(&names[..ends.len()]), Ok(()));
            names.push(names[2]);
            assert_eq!(checked(&names), Err(VarsError::Duplicate(None)));
        }
    }

    proptest! {
        #[test]
        fn what_is_refused_is_a_name_that_occurs_twice(
            names in proptest::collection::vec("[ab\0]{0,3}|abcdefg[ab\0]{0,4}|.{0,20}", 0..40),
        ) {
            let distinct: std::collections::HashSet<&String> = names.iter().collect();
            let all: Vec<&str> = names.iter().map(|name| &**name).collect();
            prop_assert_eq!(checked(&all).is_ok(), distinct.len() == names.len());
            let distinct: Vec<&str> = distinct.into_iter().map(|name| &**name).collect();
            prop_assert_eq!(checked(&distinct), Ok(()));
        }
    }
}
