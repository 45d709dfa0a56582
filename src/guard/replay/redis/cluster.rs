//! A Redis Cluster: which node has a key, and a connection to each.
//!
//! 1. Every command of the store has one key, so the map from slots to nodes is all that a client of a
//!    cluster needs here. Each node has a [link](Link) of its own: what one node suffers touches the
//!    callbacks of its slots alone.
//! 2. The map is asked of all known nodes at one time, and what two of them agree on is believed: one that
//!    is cut off from the others knows an old one. If they do not agree, it is the first that came. It is
//!    asked for anew when a node redirects, fails or is a replica by now, at most once in
//!    [`REFRESH_INTERVAL`].
//! 3. A redirection is followed at once, and remembered until the map is renewed.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{Stream, StreamExt, stream::FuturesUnordered};
use redis::{Value, cmd};
use tokio::time::{Instant, timeout_at};

use super::{
    connect::{Address, Endpoint, Session},
    fault::Fault,
    link::{Connector, Link},
};

/// A node that is down is asked after by every callback that needs it.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);

/// How long nodes are asked for the map.
const REFRESH_LIMIT: Duration = Duration::from_millis(500);

/// How long is waited for a second node that says the same as the first.
const AGREEMENT: Duration = Duration::from_millis(50);

/// How many of the nodes that it was configured with are asked for the map, and how many others.
const ASKED_AT_ONCE: usize = 8;

const SLOTS: usize = 16_384;

pub(super) struct Cluster {
    seeds: Vec<Address>,
    session: Session,
    nodes: Mutex<Nodes>,
    /// When the map was last asked for, and why it did not come. Held while it is asked for.
    refreshed: tokio::sync::Mutex<Option<(Instant, Result<(), Fault>)>>,
}

#[derive(Default)]
struct Nodes {
    links: HashMap<Address, Arc<Link>>,
    ranges: Vec<Range>,
    moved: HashMap<u16, Address>,
    is_stale: bool,
}

#[derive(Debug, PartialEq)]
struct Range {
    first: u16,
    last: u16,
    master: Address,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Address>, session: Session) -> Arc<Self> {
        Arc::new(Self {
            seeds,
            session,
            nodes: Mutex::default(),
            refreshed: tokio::sync::Mutex::default(),
        })
    }

    /// The link to the node that has a key.
    pub(super) async fn link(&self, key: &str, deadline: Instant) -> Result<Arc<Link>, Fault> {
        let slot = slot(key.as_bytes());
        let (mut address, is_stale) = self.lookup(slot);
        if address.is_none() || is_stale {
            let refreshed = timeout_at(deadline, self.refresh()).await;
            let refreshed = refreshed.unwrap_or_else(|_| Err(Fault::not_connected_in_time()));
            // An old map is better than none.
            if let (Err(fault), None) = (refreshed, &address) {
                return Err(fault);
            }
            address = self.lookup(slot).0;
        }
        match address {
            Some(address) => Ok(self.link_to(address)),
            None => Err(Fault::slot_not_served()),
        }
    }

    pub(super) fn link_to(&self, address: Address) -> Arc<Link> {
        let mut nodes = self.lock();
        let link = nodes.links.entry(address).or_insert_with_key(|address| {
            Link::new(Connector::Endpoint(Endpoint {
                address: address.clone(),
                session: self.session.clone(),
            }))
        });
        Arc::clone(link)
    }

    /// A node says that another one has the slot of this key.
    pub(super) fn moved(&self, key: &str, to: Address) {
        let mut nodes = self.lock();
        nodes.moved.insert(slot(key.as_bytes()), to);
        nodes.is_stale = true;
    }

    /// The map may be out of date.
    pub(super) fn doubt(&self) {
        self.lock().is_stale = true;
    }

    fn lookup(&self, slot: u16) -> (Option<Address>, bool) {
        let nodes = self.lock();
        let address = nodes.moved.get(&slot).or_else(|| {
            let range = |range: &&Range| (range.first..=range.last).contains(&slot);
            nodes.ranges.iter().find(range).map(|range| &range.master)
        });
        (address.cloned(), nodes.is_stale)
    }

    /// Asks for the map, unless somebody else just did.
    async fn refresh(&self) -> Result<(), Fault> {
        let mut refreshed = self.refreshed.lock().await;
        let now = Instant::now();
        match &*refreshed {
            Some((last, outcome)) if now < *last + REFRESH_INTERVAL => return outcome.clone(),
            _ => {}
        }
        // In case that nobody waits for the answer to the end.
        *refreshed = Some((now, Err(Fault::not_connected_in_time())));
        let outcome = self.renew_map(now + REFRESH_LIMIT).await;
        *refreshed = Some((now, outcome.clone()));
        outcome
    }

    async fn renew_map(&self, deadline: Instant) -> Result<(), Fault> {
        let answers: FuturesUnordered<_> = self
            .known()
            .into_iter()
            .map(|address| {
                let link = self.link_to(address.clone());
                async move { ask_for_ranges(&link, &address, deadline).await }
            })
            .collect();
        let ranges = agreed(answers).await.map_err(|fault| {
            let remedy = fault.remedy.clone();
            fault.before_the_command(remedy)
        })?;
        let mut nodes = self.lock();
        let masters = |address: &Address| ranges.iter().any(|range| range.master == *address);
        nodes.links.retain(|address, _| masters(address));
        nodes.moved.clear();
        nodes.ranges = ranges;
        nodes.is_stale = false;
        Ok(())
    }

    /// Nodes that can be asked for the map. Half of them are those that the cluster was configured with: all
    /// others may have new addresses after it was down. Where there are many, they are others each time.
    fn known(&self) -> HashSet<Address> {
        let nodes = self.lock();
        // Such a set has an order of its own each time.
        let seeds: HashSet<&Address> = self.seeds.iter().collect();
        let masters: HashSet<&Address> = nodes.ranges.iter().map(|range| &range.master).collect();
        let seeds = seeds.into_iter().take(ASKED_AT_ONCE);
        let masters = masters.into_iter().take(ASKED_AT_ONCE);
        seeds.chain(masters).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first answer that came twice, or else the first.
async fn agreed<T: PartialEq>(
    mut answers: impl Stream<Item = Result<T, Fault>> + Unpin,
) -> Result<T, Fault> {
    let mut came: Vec<T> = Vec::new();
    let mut failure = Fault::slot_not_served();
    let mut until = None;
    loop {
        let answer = match until {
            None => answers.next().await,
            Some(until) => timeout_at(until, answers.next()).await.unwrap_or_default(),
        };
        match answer {
            Some(Ok(answer)) if came.contains(&answer) => return Ok(answer),
            Some(Ok(answer)) => {
                came.push(answer);
                until = until.or(Some(Instant::now() + AGREEMENT));
            }
            Some(Err(fault)) => failure = fault,
            None => return came.into_iter().next().ok_or(failure),
        }
    }
}

async fn ask_for_ranges(
    link: &Arc<Link>,
    asked: &Address,
    deadline: Instant,
) -> Result<Vec<Range>, Fault> {
    let mut question = cmd("CLUSTER");
    question.arg("SLOTS");
    let reply = link.ask(question, deadline).await?;
    let ranges = parse_ranges(&reply, asked).ok_or_else(Fault::unexpected_reply)?;
    let served: usize = ranges
        .iter()
        .map(|range| usize::from(range.last) - usize::from(range.first) + 1)
        .sum();
    // A node that has just joined, or was just reset, knows nothing.
    if served < SLOTS / 2 {
        return Err(Fault::slot_not_served());
    }
    Ok(ranges)
}

/// `[[first, last, [host, port, ..], ..], ..]`. A host that is not named is the one that was asked.
fn parse_ranges(reply: &Value, asked: &Address) -> Option<Vec<Range>> {
    let Value::Array(reply) = reply else {
        return None;
    };
    let number = |value: &Value| match value {
        Value::Int(number) => u16::try_from(*number).ok(),
        _ => None,
    };
    let range = |range: &Value| {
        let Value::Array(range) = range else {
            return None;
        };
        let [first, last, Value::Array(master), ..] = range.as_slice() else {
            return None;
        };
        let host = match (master.first()?, asked) {
            (Value::BulkString(host), _) if !host.is_empty() && host != b"?" => {
                String::from_utf8(host.clone()).ok()?
            }
            (_, Address::Tcp(host, _)) => host.clone(),
            (_, Address::Unix(_)) => return None,
        };
        let (first, last) = (number(first)?, number(last)?);
        (first <= last).then_some(Range {
            first,
            last,
            master: Address::Tcp(host, number(master.get(1)?)?),
        })
    };
    let ranges: Option<Vec<Range>> = reply.iter().map(range).collect();
    // Nodes may tell the same in another order.
    ranges.map(|mut ranges| {
        ranges.sort_by_key(|range| range.first);
        ranges
    })
}

/// The slot of a key: a CRC-16 of it, or of the tag in its first braces.
fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS as u16
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else {
        return key;
    };
    let inside = &key[open + 1..];
    match inside.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inside[..close],
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0x1021;
    let mut crc = 0;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carries = crc & 0x8000 != 0;
            crc <<= 1;
            if carries {
                crc ^= POLYNOMIAL;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_slot_that_redis_gives_it() {
        // Of `CLUSTER KEYSLOT`.
        for (key, expected) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("{user1000}.following", 3443),
            ("{user1000}.followers", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_two_nodes_agree_on_is_believed_and_else_the_first_that_came() {
        let after = |milliseconds, answer: Result<u8, Fault>| async move {
            tokio::time::sleep(Duration::from_millis(milliseconds)).await;
            answer
        };
        let failed = || Err(Fault::unexpected_reply());
        for (answers, expected) in [
            (vec![(1, Ok(7)), (2, Ok(8)), (3, Ok(8))], Some(8)),
            (
                vec![(1, Ok(7)), (2, failed()), (900, Ok(8)), (901, Ok(8))],
                Some(7),
            ),
            (vec![(1, failed()), (400, Ok(8))], Some(8)),
            (vec![(1, failed()), (2, failed())], None),
            (vec![], None),
        ] {
            let answers = answers
                .into_iter()
                .map(|(time, answer)| Box::pin(after(time, answer)));
            let agreed = agreed(answers.collect::<FuturesUnordered<_>>()).await;
            assert_eq!(agreed.ok(), expected);
        }
    }

    #[test]
    fn a_map_is_read_and_a_host_without_a_name_is_the_one_that_was_asked() {
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port)]);
        let name = |name: &str| Value::BulkString(name.as_bytes().to_vec());
        let range = |first, last, master| {
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                master,
                node(name("r"), 9),
            ])
        };
        let asked = Address::Tcp("asked".to_owned(), 1);
        let reply = Value::Array(vec![
            range(0, 9, node(name("10.0.0.1"), 7001)),
            range(10, 19, node(Value::Nil, 7002)),
            range(20, 29, node(name(""), 7003)),
        ]);
        let ranges = parse_ranges(&reply, &asked).unwrap();
        let masters: Vec<_> = ranges.iter().map(|range| range.master.clone()).collect();
        let tcp = |host: &str, port| Address::Tcp(host.to_owned(), port);
        assert_eq!(
            masters,
            [
                tcp("10.0.0.1", 7001),
                tcp("asked", 7002),
                tcp("asked", 7003)
            ]
        );
        for nonsense in [
            Value::Nil,
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![range(9, 0, node(name("a"), 1))]),
            Value::Array(vec![range(0, 70_000, node(name("a"), 1))]),
        ] {
            assert!(parse_ranges(&nonsense, &asked).is_none());
        }
    }
}
