//! The server that Sentinels take for the master.
//!
//! 1. All Sentinels are asked at one time, each over a [link](Link) of its own. One that is down delays
//!    nothing.
//! 2. What most of them say is believed: one that is cut off from the others may go on naming a master that
//!    they have replaced, and that forgets what it takes. It is waited for until most of all agree, or all
//!    have spoken, or for [`AGREEMENT`] after the first answer.
//! 3. A master has to say itself that it is one. If it does not, or takes long, the next one is tried that
//!    was named.
//! 4. A master that was replaced while it lives takes commands for seconds, and forgets them when it is
//!    demoted. So while callbacks come the Sentinels are asked again each [`CHECK_INTERVAL`], beside them,
//!    and a connection is given up that leads to another server than most of them name.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{Value, cmd, from_redis_value};
use tokio::time::{Instant, timeout_at};

use super::{
    connect::{Address, Endpoint, Live, Session, first_success},
    fault::{Fault, RedisFault},
    link::{Connector, Link},
};

/// How long is waited for what other Sentinels say.
const AGREEMENT: Duration = Duration::from_millis(100);

/// How long a Sentinel is waited for. It is also connected to in this time.
const ASK_LIMIT: Duration = Duration::from_millis(500);

const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// How long a master is tried alone.
const HEAD_START: Duration = Duration::from_millis(100);

pub(super) struct Sentinel {
    /// At least one.
    sentinels: Vec<Arc<Link>>,
    master_name: String,
    session: Session,
    /// When the Sentinels were last asked.
    asked: Mutex<Option<Instant>>,
}

impl Sentinel {
    pub(super) fn new(sentinels: Vec<Endpoint>, master_name: String, session: Session) -> Self {
        let links = sentinels.into_iter().map(Connector::Endpoint);
        Self {
            sentinels: links.map(Link::new).collect(),
            master_name,
            session,
            asked: Mutex::default(),
        }
    }

    pub(super) async fn connect(&self) -> Result<Live, Fault> {
        let (votes, failure) = self.ask_all().await;
        let attempts = votes.named().into_iter();
        let attempts = attempts.map(|address| self.connect_to(address));
        first_success(attempts, HEAD_START, failure).await
    }

    /// Whether the Sentinels are to be asked again. Who is told so has to ask them.
    pub(super) fn is_due(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = asked.is_none_or(|asked| asked.elapsed() >= CHECK_INTERVAL);
        if is_due {
            *asked = Some(Instant::now());
        }
        is_due
    }

    /// Whether most Sentinels name another master than this.
    pub(super) async fn is_replaced(&self, server: &Address) -> bool {
        let (votes, _) = self.ask_all().await;
        votes
            .of_most(self.sentinels.len())
            .is_some_and(|named| named != server)
    }

    /// What the Sentinels say, or why one says nothing.
    async fn ask_all(&self) -> (Votes, Fault) {
        let deadline = Instant::now() + ASK_LIMIT;
        let asked = self.sentinels.iter();
        let mut answers: FuturesUnordered<_> =
            asked.map(|sentinel| self.ask(sentinel, deadline)).collect();
        let mut votes = Votes::default();
        let mut failure = Fault::no_such_master();
        let mut until = deadline;
        loop {
            let next = pin!(answers.next());
            match timeout_at(until, next).await {
                Ok(Some(Ok(address))) => {
                    votes.add(address);
                    if votes.of_most(self.sentinels.len()).is_some() {
                        return (votes, failure);
                    }
                    until = until.min(Instant::now() + AGREEMENT);
                }
                Ok(Some(Err(fault))) => failure = fault,
                // All have spoken, or the others take too long.
                Ok(None) | Err(_) => return (votes, failure),
            }
        }
    }

    async fn ask(&self, sentinel: &Arc<Link>, deadline: Instant) -> Result<Address, Fault> {
        let mut question = cmd("SENTINEL");
        question
            .arg("get-master-addr-by-name")
            .arg(&self.master_name);
        let reply = sentinel.ask(question, deadline).await?;
        let address: Option<(String, u16)> =
            from_redis_value(reply).map_err(|_| Fault::unexpected_reply())?;
        let (host, port) = address.ok_or_else(Fault::no_such_master)?;
        Ok(Address::Tcp(host, port))
    }

    async fn connect_to(&self, address: Address) -> Result<Live, Fault> {
        let master = Endpoint {
            address,
            session: self.session.clone(),
        };
        let live = master.connect().await?;
        match live.query(&Arc::new(cmd("ROLE")), false).await {
            Ok(Value::Array(role)) if is_master(&role) => Ok(live),
            // It does not say, and refuses to write if it is none.
            Err(fault) if fault.kind == RedisFault::Permission || fault.is_unknown_command() => {
                Ok(live)
            }
            Ok(_) => Err(Fault::not_the_master()),
            Err(fault) => Err(fault),
        }
    }
}

/// How many Sentinels name which master.
#[derive(Default)]
struct Votes(Vec<(Address, usize)>);

impl Votes {
    fn add(&mut self, address: Address) {
        match self.0.iter_mut().find(|(named, _)| *named == address) {
            Some((_, count)) => *count += 1,
            None => self.0.push((address, 1)),
        }
    }

    /// What more than half of so many Sentinels name.
    fn of_most(&self, sentinels: usize) -> Option<&Address> {
        let mut named = self.0.iter();
        let of_most = named.find(|(_, count)| *count > sentinels / 2);
        of_most.map(|(address, _)| address)
    }

    /// All that were named; of equals the one first that was named first.
    fn named(mut self) -> Vec<Address> {
        self.0.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        self.0.into_iter().map(|(address, _)| address).collect()
    }
}

fn is_master(role: &[Value]) -> bool {
    match role.first() {
        Some(Value::BulkString(role)) => role == b"master",
        Some(Value::SimpleString(role)) => role == "master",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_master_that_most_name_comes_first() {
        let [one, two, three] = [1, 2, 3].map(|port| Address::Tcp("a".to_owned(), port));
        let mut votes = Votes::default();
        for address in [&one, &two, &three, &two] {
            assert!(votes.of_most(3).is_none());
            votes.add(address.clone());
        }
        assert_eq!(votes.of_most(3), Some(&two));
        assert_eq!(votes.of_most(4), None);
        assert_eq!(votes.named(), [two, one, three]);
        assert!(Votes::default().named().is_empty());
    }
}
