//! A map with a limit, which forgets what was not used for longest.

use std::{collections::HashMap, hash::Hash};

/// The entries that were used most recently, and no more than the limit.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    limit: usize,
    uses: u64,
    entries: HashMap<K, (u64, V)>,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            uses: 0,
            entries: HashMap::new(),
        }
    }

    /// The entry, which is made if there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(key) && self.entries.len() >= self.limit {
            // A search through all of them: limits are small, and it happens only at the limit.
            let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.entries.remove(&oldest);
            }
        }
        self.uses += 1;
        let (used, value) = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| (0, make()));
        *used = self.uses;
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_what_was_not_used_for_longest() {
        let mut recent = Recent::new(2);
        recent.get_or_insert_with(&"a", || 1);
        recent.get_or_insert_with(&"b", || 2);
        assert_eq!(recent.get_or_insert_with(&"a", || 4), &1);
        recent.get_or_insert_with(&"c", || 3);
        assert!(!recent.entries.contains_key("b"));
        assert_eq!(recent.get_or_insert_with(&"a", || 4), &1);
        assert_eq!(recent.entries.len(), 2);
    }
}
