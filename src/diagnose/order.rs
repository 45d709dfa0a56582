//! Orders in which the parts of a query, a form or an object may have stood.

use std::ops::ControlFlow;

use md5::{Digest, Md5};

/// More parts than these are not permuted: seven have 5,040 orders.
const MAX_PERMUTED: usize = 7;

/// The names of a callback's variables, in the order in which the service's documentation and samples
/// have them.
const DOCUMENTED: [&str; 24] = [
    "bucket",
    "object",
    "filename",
    "key",
    "etag",
    "size",
    "mimetype",
    "mime",
    "imageinfo.height",
    "height",
    "imageinfo.width",
    "width",
    "imageinfo.format",
    "format",
    "imageinfo",
    "crc64",
    "contentmd5",
    "vpcid",
    "clientip",
    "reqid",
    "requestid",
    "operation",
    "ticket",
    "uid",
];

/// A text of parts that may stand in any order.
///
/// Orders that begin alike share the hash of their beginning, so that each costs little more than its last
/// part.
pub(super) struct Pieces {
    pub(super) open: &'static [u8],
    pub(super) parts: Vec<Vec<u8>>,
    pub(super) separator: &'static [u8],
    pub(super) close: &'static [u8],
}

impl Pieces {
    /// Whether there are orders to try, and not too many.
    pub(super) fn are_few(&self) -> bool {
        (2..=MAX_PERMUTED).contains(&self.parts.len())
    }

    /// Calls a function with the hash of every order, behind what is hashed already, until it says that
    /// it knows one, and returns that text. It ends when the function breaks.
    pub(super) fn find(
        &self,
        hashed: &Md5,
        is_it: &mut dyn FnMut(Md5) -> ControlFlow<bool>,
    ) -> Option<Vec<u8>> {
        if !self.are_few() {
            return None;
        }
        let mut state = hashed.clone();
        state.update(self.open);
        let mut order = Vec::with_capacity(self.parts.len());
        let found = self.walk(state, &mut order, is_it);
        matches!(found, ControlFlow::Break(true)).then(|| {
            let parts: Vec<&[u8]> = order.iter().map(|at| self.parts[*at].as_slice()).collect();
            [self.open, &parts.join(self.separator), self.close].concat()
        })
    }

    fn walk(
        &self,
        state: Md5,
        order: &mut Vec<usize>,
        is_it: &mut dyn FnMut(Md5) -> ControlFlow<bool>,
    ) -> ControlFlow<bool> {
        if order.len() == self.parts.len() {
            return is_it(state.chain_update(self.close));
        }
        for (at, part) in self.parts.iter().enumerate() {
            if order.contains(&at) {
                continue;
            }
            let mut state = state.clone();
            if !order.is_empty() {
                state.update(self.separator);
            }
            state.update(part);
            order.push(at);
            self.walk(state, order, is_it)?;
            order.pop();
        }
        ControlFlow::Continue(())
    }
}

/// Something with a name that stands in an order.
pub(super) trait Named {
    fn name(&self) -> &[u8];
}

impl Named for super::encoding::Pair {
    fn name(&self) -> &[u8] {
        &self.name
    }
}

impl<T> Named for (String, T) {
    fn name(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Calls a function with every order of the parts but the given one, until it breaks.
pub(super) fn permutations<T: Clone>(
    parts: &[T],
    visit: &mut dyn FnMut(&[T]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut parts = parts.to_vec();
    if parts.len() < 2 || parts.len() > MAX_PERMUTED {
        return ControlFlow::Continue(());
    }
    // Heap's algorithm, without recursion.
    let mut counters = vec![0; parts.len()];
    let mut index = 1;
    while index < parts.len() {
        if counters[index] < index {
            let other = if index % 2 == 0 { 0 } else { counters[index] };
            parts.swap(other, index);
            visit(&parts)?;
            counters[index] += 1;
            index = 1;
        } else {
            counters[index] = 0;
            index += 1;
        }
    }
    ControlFlow::Continue(())
}

/// Calls a function with the order of the documentation, names of one's own in front, behind and in
/// between, each of them in the order in which they arrived and in the opposite one. And with one part
/// moved, and the order turned round. For lists that are too long to be permuted, too.
pub(super) fn canonical<T: Clone + Named>(
    parts: &[T],
    visit: &mut dyn FnMut(&[T]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if parts.len() < 2 || parts.len() > MAX_MOVED {
        return ControlFlow::Continue(());
    }
    let place = |part: &T| {
        let name = part.name().to_ascii_lowercase();
        // A name of two words, and `x:` in front of a custom one.
        let name = name.strip_prefix(b"x:").unwrap_or(&name).to_vec();
        let name: Vec<u8> = name.into_iter().filter(|byte| *byte != b'_').collect();
        DOCUMENTED.iter().position(|known| known.as_bytes() == name)
    };
    let (mut known, own): (Vec<T>, Vec<T>) = parts
        .iter()
        .cloned()
        .partition(|part| place(part).is_some());
    known.sort_by_key(|part| place(part));
    let turned: Vec<T> = own.iter().rev().cloned().collect();
    for own in [&own, &turned] {
        for at in (0..=known.len()).rev() {
            visit(&[&known[..at], own, &known[at..]].concat())?;
            if own.is_empty() {
                break;
            }
        }
    }
    // Own names in every order, behind the known ones and in front of them.
    permutations(&own, &mut |own| {
        visit(&[known.as_slice(), own].concat())?;
        visit(&[own, known.as_slice()].concat())
    })?;
    let mut turned = parts.to_vec();
    turned.reverse();
    visit(&turned)?;
    for from in 0..parts.len() {
        for to in 0..parts.len() {
            if from != to {
                let mut moved = parts.to_vec();
                let part = moved.remove(from);
                moved.insert(to, part);
                visit(&moved)?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Longer lists are left in their order.
const MAX_MOVED: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_other_order_is_visited_once() {
        let mut seen = BTreeSet::new();
        let flow = permutations(&[1, 2, 3, 4], &mut |order| {
            assert!(seen.insert(order.to_vec()));
            ControlFlow::Continue(())
        });
        assert!(flow.is_continue());
        assert_eq!(seen.len(), 23);
        assert!(!seen.contains([1, 2, 3, 4].as_slice()));
    }

    #[test]
    fn long_lists_are_not_permuted() {
        let mut stop = |_: &[i32]| ControlFlow::Break(());
        assert!(permutations(&[0; 8], &mut stop).is_continue());
        assert!(permutations(&[0; 1], &mut stop).is_continue());
    }

    #[test]
    fn an_order_is_found_by_its_hash() {
        let pieces = Pieces {
            open: b"{",
            parts: ["a", "b", "c", "d"].map(|part| part.into()).to_vec(),
            separator: b", ",
            close: b"}",
        };
        let wanted = Md5::digest(b"head{c, a, d, b}");
        let mut visited = 0;
        let head = Md5::new().chain_update(b"head");
        let found = pieces.find(&head, &mut |state| {
            visited += 1;
            match state.finalize() == wanted {
                true => ControlFlow::Break(true),
                false => ControlFlow::Continue(()),
            }
        });
        assert_eq!(found.as_deref(), Some(b"{c, a, d, b}".as_slice()));
        let all = pieces.find(&head, &mut |_| ControlFlow::Continue(()));
        assert_eq!(all, None);
        assert!(visited <= 24);
    }

    #[test]
    fn a_sorted_list_is_put_into_the_order_of_the_documentation() {
        let names = |text: &str| -> Vec<(String, ())> {
            text.split(' ').map(|name| (name.to_owned(), ())).collect()
        };
        let signed = names("bucket object etag size mimeType imageInfo.height my_b my_a");
        let received = names("bucket etag imageInfo.height mimeType my_a my_b object size");
        let flow = canonical(&received, &mut |order| match order == signed {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        });
        assert!(flow.is_break());
    }
}
