//! Orders in which the parts of a query, a form or an object may have stood.

/// More parts than these are not permuted: seven have 5,040 orders.
const MAX_PERMUTED: usize = 7;

/// Calls a function with every order of the parts but the given one, until it finds something.
pub(super) fn permutations<T: Clone, R>(
    parts: &[T],
    mut visit: impl FnMut(&[T]) -> Option<R>,
) -> Option<R> {
    let mut parts = parts.to_vec();
    if parts.len() < 2 || parts.len() > MAX_PERMUTED {
        return None;
    }
    // Heap's algorithm, without recursion.
    let mut counters = vec![0; parts.len()];
    let mut index = 1;
    while index < parts.len() {
        if counters[index] < index {
            let other = if index % 2 == 0 { 0 } else { counters[index] };
            parts.swap(other, index);
            if let Some(found) = visit(&parts) {
                return Some(found);
            }
            counters[index] += 1;
            index = 1;
        } else {
            counters[index] = 0;
            index += 1;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_other_order_is_visited_once() {
        let mut seen = BTreeSet::new();
        let found: Option<()> = permutations(&[1, 2, 3, 4], |order| {
            assert!(seen.insert(order.to_vec()));
            None
        });
        assert_eq!(found, None);
        assert_eq!(seen.len(), 23);
        assert!(!seen.contains([1, 2, 3, 4].as_slice()));
    }

    #[test]
    fn long_lists_are_left_alone() {
        assert_eq!(permutations(&[0; 8], |_| Some(())), None);
        assert_eq!(permutations(&[0; 1], |_| Some(())), None);
    }
}
