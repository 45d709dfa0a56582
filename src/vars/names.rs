//! The names that variables have, and those that they may not have.
//!
//! 1. The [known names](known) may stand in an error, whatever the body is.
//! 2. A name that occurs twice is refused: some readers take the first value, some the last.
//! 3. So is a name that serde_json gives a meaning of its own: see [`MARKER`].

use super::VarsError;

/// The service's variables. Their names are case-sensitive. The whole `imageInfo` is in use, and not
/// documented.
pub(crate) const SYSTEM_VARIABLES: &[&str] = &[
    "bucket",
    "object",
    "etag",
    "size",
    "mimeType",
    "imageInfo.height",
    "imageInfo.width",
    "imageInfo.format",
    "imageInfo",
    "crc64",
    "contentMd5",
    "vpcId",
    "clientIp",
    "reqId",
    "operation",
];

/// What the service's sample templates call some of them.
const SAMPLE_NAMES: &[&str] = &["filename", "format", "height", "width"];

/// The name of a newtype that takes numbers and booleans as their own text, and everything else as it
/// is, objects and arrays as an empty array. serde has no word for it: a visitor of any value would be shown `1.50` as the number 1.5, and
/// write another text than a guard reads.
pub(super) const OWN_TEXT: &str = "$oss_callback::OwnText";

/// What serde_json's own markers begin with. A `serde_json::Value` that meets one as the first name of
/// an object becomes the JSON *in its value*: a handler would read variables that no guard can see.
const MARKER: &str = "$serde_json::private::";

/// Up to so many names are compared each with each; more are sorted.
pub(super) const FEW: usize = 16;

/// A name as this crate knows it, and so without a byte of the sender.
pub(super) fn known(name: &str) -> Option<&'static str> {
    let mut known = SYSTEM_VARIABLES.iter().chain(SAMPLE_NAMES);
    known.find(|known| **known == name).copied()
}

/// Refuses such names in linear time, but for names that share their first eight bytes, which are sorted.
/// The order of the names comes with it, if they are many.
pub(super) fn check<'a>(
    count: usize,
    name: impl Fn(usize) -> &'a str,
) -> Result<Option<Order>, VarsError> {
    if count > FEW {
        return sort(count, name).map(Some);
    }
    let mut seen = [""; FEW];
    for index in 0..count {
        let name = name(index);
        check_marker(name)?;
        if seen[..index].contains(&name) {
            return Err(VarsError::Duplicate(known(name)));
        }
        seen[index] = name;
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

/// The order of the names: by their first eight bytes, which numbers hold, and by the whole of them only
/// where these are the same.
fn sort<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Result<Order, VarsError> {
    let mut keys = Vec::with_capacity(count);
    for index in 0..count {
        let name = name(index);
        check_marker(name)?;
        keys.push(Key {
            prefix: prefix(name),
            index,
        });
    }
    sort_by_prefix(&mut keys);
    for alike in keys.chunk_by_mut(|one, next| one.prefix == next.prefix) {
        if alike.len() > 1 {
            alike.sort_unstable_by_key(|key| name(key.index));
            let mut pairs = alike.windows(2);
            let is_twice = |pair: &&[Key]| name(pair[0].index) == name(pair[1].index);
            if let Some(twice) = pairs.find(is_twice) {
                return Err(VarsError::Duplicate(known(name(twice[0].index))));
            }
        }
    }
    Ok(Order(keys))
}

/// The order of many names.
pub(super) struct Order(Vec<Key>);

impl Order {
    /// The places that the names have in the body, from the first name to the last.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = usize> {
        self.0.iter().map(|key| key.index)
    }
}

#[derive(Clone, Copy, Default)]
struct Key {
    prefix: u64,
    index: usize,
}

/// Sorts by one byte after the other, from the last to the first, which is linear. Most names share most
/// of their bytes, the lack of them too, and a byte that all names share is skipped.
fn sort_by_prefix(keys: &mut Vec<Key>) {
    let byte = |key: &Key, shift: u32| usize::from((key.prefix >> shift) as u8);
    let differing = match keys.first() {
        Some(first) => keys
            .iter()
            .fold(0, |bits, key| bits | (key.prefix ^ first.prefix)),
        None => 0,
    };
    let mut sorted = vec![Key::default(); keys.len()];
    for shift in (0..u64::BITS).step_by(8) {
        if (differing >> shift) as u8 == 0 {
            continue;
        }
        // First how many keys have each byte, then where the next of them goes.
        let mut places = [0_usize; 256];
        for key in keys.iter() {
            places[byte(key, shift)] += 1;
        }
        let mut next = 0;
        for place in &mut places {
            next += std::mem::replace(place, next);
        }
        for key in keys.iter() {
            let place = &mut places[byte(key, shift)];
            sorted[*place] = *key;
            *place += 1;
        }
        std::mem::swap(keys, &mut sorted);
    }
}

/// The first eight bytes as a number that is ordered as they are.
fn prefix(name: &str) -> u64 {
    let mut prefix = [0; 8];
    let length = name.len().min(8);
    prefix[..length].copy_from_slice(&name.as_bytes()[..length]);
    u64::from_be_bytes(prefix)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn checked(names: &[&str]) -> Result<(), VarsError> {
        let order = check(names.len(), |index| names[index])?;
        assert_eq!(order.is_some(), names.len() > FEW);
        if let Some(order) = order {
            let order: Vec<usize> = order.iter().collect();
            assert_eq!(order.len(), names.len());
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
