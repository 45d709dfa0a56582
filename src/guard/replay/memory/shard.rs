//! A part of the callbacks: an open-addressing table that grows and shrinks by a quarter.

use std::{collections::HashMap, time::SystemTime};

/// Half of the SHA-256: as good as the whole for finding equal ones, and half the memory.
pub(super) type Id = [u8; 16];

/// A quarter of the SHA-256 of the message. It is compared where the ids are equal, which takes one
/// and the same ticket: who holds it would have to find a second message for 2^64 hashes, to have
/// their own upload answered without a run of the handler.
pub(super) type Fingerprint = [u8; 8];

/// Unix time. Lasts until 2106.
pub(super) type Seconds = u32;

/// An id and where it belongs.
#[derive(Clone, Copy)]
pub(super) struct Key {
    pub(super) id: Id,
    pub(super) hash: u64,
}

/// The secret that spreads ids, so that no sender can choose ids that meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spread(pub(super) [u64; 2]);

impl Spread {
    pub(super) fn key(self, hash: &[u8; 32]) -> Key {
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        Key {
            id,
            hash: self.hash(&id),
        }
    }

    fn hash(self, id: &Id) -> u64 {
        let mut head = [0; 8];
        head.copy_from_slice(&id[..8]);
        let factor = u128::from(self.0[1] | 1);
        let product = u128::from(u64::from_le_bytes(head) ^ self.0[0]) * factor;
        (product >> 64) as u64 ^ product as u64
    }
}

/// An id that is taken. Small, for there are many.
#[derive(Clone, Copy)]
struct Slot {
    id: Id,
    message: Fingerprint,
    /// The last second in which it matters; zero in an empty slot.
    end: Seconds,
}

const EMPTY: Slot = Slot {
    id: [0; 16],
    message: [0; 8],
    end: 0,
};

/// Who has an id that is not done.
#[derive(Clone, Copy)]
pub(super) struct Reserved {
    pub(super) owner: [u8; 16],
    /// The end of the lease. What is held lasts as long as its entry.
    pub(super) until: SystemTime,
    pub(super) is_held: bool,
}

/// The fewest slots that a table has once it has any.
const FEWEST: usize = 8;

/// How many slots are looked at for each callback that comes.
const SWEPT_AT_ONCE: usize = 8;

#[derive(Default)]
pub(super) struct Shard {
    slots: Vec<Slot>,
    len: usize,
    /// Those that are not done.
    reserved: HashMap<Id, Reserved>,
    /// No entry ends earlier.
    first_end: Option<Seconds>,
    /// Where the next sweep begins.
    hand: usize,
}

impl Shard {
    /// The end of an entry, be it over or not.
    pub(super) fn end(&self, key: &Key) -> Option<Seconds> {
        self.find(key).map(|at| self.slots[at].end)
    }

    pub(super) fn message(&self, key: &Key) -> Option<Fingerprint> {
        self.find(key).map(|at| self.slots[at].message)
    }

    pub(super) fn reserved(&self, key: &Key) -> Option<&Reserved> {
        // Most of what is known is done, and in most shards nothing else.
        if self.reserved.is_empty() {
            return None;
        }
        self.reserved.get(&key.id)
    }

    /// A lower bound of all ends.
    pub(super) fn first_end(&self) -> Option<Seconds> {
        self.first_end
    }

    /// Takes note of an entry, or prolongs it; `None` makes it done.
    pub(super) fn insert(
        &mut self,
        spread: Spread,
        key: &Key,
        message: Fingerprint,
        end: Seconds,
        reserved: Option<Reserved>,
    ) {
        // Zero is taken for empty slots, and over in any case.
        let end = end.max(1);
        match self.find(key) {
            Some(at) => {
                self.slots[at].end = self.slots[at].end.max(end);
                self.slots[at].message = message;
            }
            None => {
                self.make_room_for_one(spread);
                let id = key.id;
                self.place(key.hash, Slot { id, message, end });
                self.len += 1;
            }
        }
        self.first_end = Some(self.first_end.map_or(end, |first| first.min(end)));
        match reserved {
            Some(reserved) => {
                self.reserved.insert(key.id, reserved);
            }
            None if self.reserved.is_empty() => {}
            None => {
                self.reserved.remove(&key.id);
                self.shrink_reserved();
            }
        }
    }

    /// Whether there was such an entry.
    pub(super) fn remove(&mut self, spread: Spread, key: &Key) -> bool {
        let Some(at) = self.find(key) else {
            return false;
        };
        self.remove_at(spread, at);
        self.shrink(spread);
        true
    }

    /// Drops those that are over among the next few. How many there were.
    pub(super) fn sweep(&mut self, spread: Spread, now: Seconds) -> usize {
        if self.first_end.is_none_or(|first| first >= now) {
            return 0;
        }
        let before = self.len;
        for _ in 0..SWEPT_AT_ONCE {
            self.hand = if self.hand < self.slots.len() {
                self.hand
            } else {
                0
            };
            let Some(slot) = self.slots.get(self.hand) else {
                break;
            };
            if slot.end != 0 && slot.end < now {
                // Another may have moved here, which is looked at next.
                self.remove_at(spread, self.hand);
            } else {
                self.hand += 1;
            }
        }
        before - self.len
    }

    /// Drops all that are over. How many there were.
    pub(super) fn sweep_all(&mut self, spread: Spread, now: Seconds) -> usize {
        let before = self.len;
        let mut at = 0;
        while at < self.slots.len() {
            if self.slots[at].end != 0 && self.slots[at].end < now {
                self.remove_at(spread, at);
            } else {
                at += 1;
            }
        }
        // One that wrapped around may be left at the end; it is found next time.
        self.first_end = self
            .slots
            .iter()
            .map(|slot| slot.end)
            .filter(|end| *end != 0)
            .min();
        self.shrink(spread);
        before - self.len
    }

    fn find(&self, key: &Key) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(key.hash);
        loop {
            let slot = &self.slots[at];
            if slot.end == 0 {
                return None;
            }
            if slot.id == key.id {
                return Some(at);
            }
            at = self.next(at);
        }
    }

    /// The low half of the hash; the high one chose the shard.
    fn home(&self, hash: u64) -> usize {
        ((u64::from(hash as u32) * self.slots.len() as u64) >> 32) as usize
    }

    fn next(&self, at: usize) -> usize {
        if at + 1 == self.slots.len() {
            0
        } else {
            at + 1
        }
    }

    /// Into the first empty slot from its home on. There is one.
    fn place(&mut self, hash: u64, slot: Slot) {
        let mut at = self.home(hash);
        while self.slots[at].end != 0 {
            at = self.next(at);
        }
        self.slots[at] = slot;
    }

    /// Empties a slot, and moves what was displaced by it back towards its home.
    fn remove_at(&mut self, spread: Spread, at: usize) {
        if !self.reserved.is_empty() {
            self.reserved.remove(&self.slots[at].id);
        }
        self.slots[at] = EMPTY;
        self.len -= 1;
        let mut hole = at;
        let mut next = self.next(at);
        while self.slots[next].end != 0 {
            let home = self.home(spread.hash(&self.slots[next].id));
            // How far the hole and the slot are from its home, going round.
            let count = self.slots.len();
            let displaced = (next + count - home) % count;
            let from_hole = (next + count - hole) % count;
            if displaced >= from_hole {
                self.slots[hole] = self.slots[next];
                self.slots[next] = EMPTY;
                hole = next;
            }
            next = self.next(next);
        }
    }

    fn make_room_for_one(&mut self, spread: Spread) {
        let count = self.slots.len();
        if (self.len + 1) * 8 > count * 7 {
            self.resize(spread, (count + count / 4).max(FEWEST));
        }
    }

    fn shrink(&mut self, spread: Spread) {
        let count = self.slots.len();
        if self.len == 0 {
            self.slots = Vec::new();
            self.first_end = None;
        } else if count > 4 * FEWEST && self.len * 3 < count {
            self.resize(spread, count / 2);
        }
        self.shrink_reserved();
    }

    fn shrink_reserved(&mut self) {
        if self.reserved.capacity() > 64 && self.reserved.len() * 8 < self.reserved.capacity() {
            self.reserved.shrink_to_fit();
        }
    }

    fn resize(&mut self, spread: Spread, count: usize) {
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; count]);
        self.hand = 0;
        for slot in old {
            if slot.end != 0 {
                self.place(spread.hash(&slot.id), slot);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.slots.len() + self.reserved.capacity()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPREAD: Spread = Spread([7, 0x9E37_79B9_7F4A_7C15]);

    /// Ids that crowd few homes.
    fn key(number: u16) -> Key {
        let mut id = [0; 16];
        id[8..10].copy_from_slice(&number.to_be_bytes());
        id[0] = (number % 5) as u8;
        Key {
            id,
            hash: SPREAD.hash(&id),
        }
    }

    proptest! {
        #[test]
        fn it_finds_what_a_map_finds(
            steps in prop::collection::vec((0..3u8, 0..60u16, 1..100u32), 1..400),
        ) {
            let mut shard = Shard::default();
            let mut model: HashMap<u16, Seconds> = HashMap::new();
            for (step, number, second) in steps {
                match step {
                    0 => {
                        shard.insert(SPREAD, &key(number), [0; 8], second, None);
                        let end = model.entry(number).or_default();
                        *end = (*end).max(second);
                    }
                    1 => {
                        let removed = shard.remove(SPREAD, &key(number));
                        prop_assert_eq!(removed, model.remove(&number).is_some());
                    }
                    _ => {
                        let dropped = shard.sweep_all(SPREAD, second / 4);
                        let before = model.len();
                        model.retain(|_, end| *end >= second / 4);
                        // Twice, as one may have wrapped around.
                        let rest = shard.sweep_all(SPREAD, second / 4);
                        prop_assert_eq!(dropped + rest, before - model.len());
                    }
                }
                prop_assert_eq!(shard.len, model.len());
                for number in 0..60 {
                    prop_assert_eq!(shard.end(&key(number)), model.get(&number).copied());
                }
                prop_assert!(shard.slots.len() <= FEWEST.max(4 * model.len().max(8)));
            }
        }
    }
}
