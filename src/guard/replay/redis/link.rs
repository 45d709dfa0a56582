//! The connection to one server, kept in repair.
//!
//! 1. There is at most one connection, and at most one attempt to make another. Callbacks that need it
//!    wait for that attempt, for as long as they have time.
//! 2. An attempt that takes long is made a second time beside it, as a balancer may have led it to a server
//!    that hangs.
//! 3. After a failure the next attempt is made at once, and after failures in a row with a growing pause
//!    of at most [`LONGEST_PAUSE`]. A connection over which no reply came is a failure too: a balancer
//!    may accept what no server answers.
//! 4. Every kind of failure is temporary. A password may be rotated, a user be created, a balancer find
//!    its servers again.
//! 5. An attempt lives in a task of its own, as callbacks are cancelled. If its runtime ends, the next
//!    callback begins another one.

use std::{
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt,
    future::{BoxFuture, select_ok},
};
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout, timeout_at},
};

use super::{
    connect::{Address, Endpoint, Live, with_client},
    fault::{Fault, RedisFault, Remedy},
    sentinel::Sentinel,
};

/// How long one attempt to connect may take, greeting included.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);

/// How long it is tried alone. A balancer may have given it a server that hangs, and gives the next one
/// another. Less than half of the time that a guard has.
const HEAD_START: Duration = Duration::from_millis(200);

/// How long an answer is waited for over a connection that has worked, and may have been dropped since. Over
/// one that was just made it is waited for until there is no time left.
const PROMPT_ANSWER: Duration = Duration::from_millis(100);

const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
/// Well below the time that a guard has: whatever a callback waits for, it sees an attempt.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// How a connection is made.
pub(super) enum Connector {
    Endpoint(Endpoint),
    Client(redis::Client),
    Sentinel(Sentinel),
}

impl Connector {
    /// Once, and once more if that takes long.
    async fn connect(&self) -> Result<Live, Fault> {
        let mut first = Box::pin(self.connect_once());
        if let Ok(made) = timeout(HEAD_START, &mut first).await {
            return made;
        }
        let second = Box::pin(self.connect_once());
        select_ok([first, second]).await.map(|(live, _)| live)
    }

    async fn connect_once(&self) -> Result<Live, Fault> {
        match self {
            Self::Endpoint(endpoint) => endpoint.connect().await,
            Self::Client(client) => with_client(client).await,
            // Its Sentinels are asked over links, too.
            Self::Sentinel(sentinel) => {
                let connecting: BoxFuture<'_, _> = Box::pin(sentinel.connect());
                connecting.await
            }
        }
    }
}

pub(super) struct Link {
    connector: Connector,
    state: Mutex<State>,
}

enum State {
    Down {
        /// How many attempts in a row came to nothing.
        failures: u32,
        next_attempt: Instant,
        fault: Fault,
    },
    Connecting {
        /// Its sender lives as long as the attempt.
        attempt: watch::Receiver<()>,
        begun: Instant,
        failures: u32,
        /// What was wrong before it.
        fault: Fault,
    },
    Up(Arc<Live>),
}

enum Found {
    Live(Arc<Live>),
    Wait(Wait),
}

/// What a callback without a connection waits for.
enum Wait {
    Until(Instant),
    /// With what was wrong before it: until an attempt has ended nobody knows better.
    Attempt(watch::Receiver<()>, Fault),
}

impl Link {
    pub(super) fn new(connector: Connector) -> Arc<Self> {
        Arc::new(Self {
            connector,
            state: Mutex::new(State::Down {
                failures: 0,
                next_attempt: Instant::now(),
                fault: Fault::not_connected_in_time(),
            }),
        })
    }

    /// The host of its one server.
    pub(super) fn host(&self) -> Option<&str> {
        match &self.connector {
            Connector::Endpoint(Endpoint {
                address: Address::Tcp(host, _),
                ..
            }) => Some(host),
            _ => None,
        }
    }

    /// A connection, if there is one in time. An impatient caller waits for an attempt, but not
    /// for a pause.
    pub(super) async fn acquire(
        self: &Arc<Self>,
        deadline: Instant,
        patient: bool,
    ) -> Result<Arc<Live>, Fault> {
        loop {
            let wait = match self.look(deadline, patient)? {
                Found::Live(live) => {
                    self.check(&live);
                    return Ok(live);
                }
                Found::Wait(wait) => wait,
            };
            match wait {
                Wait::Until(moment) => sleep_until(moment).await,
                // It ends with an error too, as its sender goes.
                Wait::Attempt(mut attempt, fault) => {
                    if timeout_at(deadline, attempt.changed()).await.is_err() {
                        return Err(fault.before_the_command(Remedy::Reconnect));
                    }
                }
            }
        }
    }

    /// Asks the server something, and asks again over another connection if this one is silent: it may have
    /// been idle for long, and was dropped on the way.
    pub(super) async fn ask(
        self: &Arc<Self>,
        question: Cmd,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let question = Arc::new(question);
        match self.ask_once(&question, deadline).await {
            Err(fault) if fault.kind == RedisFault::Silent && Instant::now() < deadline => {
                self.ask_once(&question, deadline).await
            }
            answer => answer,
        }
    }

    async fn ask_once(
        self: &Arc<Self>,
        question: &Arc<Cmd>,
        deadline: Instant,
    ) -> Result<Value, Fault> {
        let live = self.acquire(deadline, false).await?;
        let until = if live.has_worked() {
            deadline.min(Instant::now() + PROMPT_ANSWER)
        } else {
            deadline
        };
        let answer = timeout_at(until, live.query(question, false)).await;
        let answer = answer.unwrap_or_else(|_| Err(Fault::silent()));
        if let Err(fault) = &answer {
            self.replace(&live, fault);
        }
        answer
    }

    /// Has it found out, now and then, whether a connection leads to where it should.
    fn check(self: &Arc<Self>, live: &Arc<Live>) {
        let Connector::Sentinel(sentinel) = &self.connector else {
            return;
        };
        if !sentinel.is_due() {
            return;
        }
        let (link, live) = (Arc::clone(self), Arc::clone(live));
        let checking: BoxFuture<'static, ()> = Box::pin(async move {
            let (Connector::Sentinel(sentinel), Some(server)) = (&link.connector, live.server())
            else {
                return;
            };
            if sentinel.is_replaced(server).await {
                link.replace(&live, &Fault::not_the_master());
            }
        });
        tokio::spawn(checking);
    }

    /// The connection, or what to wait for, or why there is nothing to wait for.
    fn look(self: &Arc<Self>, deadline: Instant, patient: bool) -> Result<Found, Fault> {
        let mut state = self.lock();
        let now = Instant::now();
        if let State::Up(live) = &*state {
            if !live.is_closed() {
                return Ok(Found::Live(Arc::clone(live)));
            }
            *state = State::after(live, Fault::lost_while_idle(), now);
        }
        if let State::Connecting {
            attempt,
            begun,
            failures,
            fault,
        } = &*state
        {
            // An attempt whose runtime ended, or is not driven any more, comes to nothing.
            let is_over = attempt.has_changed().is_err();
            if !is_over && now < *begun + 2 * CONNECT_LIMIT {
                let wait = Wait::Attempt(attempt.clone(), fault.clone());
                return Ok(Found::Wait(wait));
            }
            *state = State::Down {
                failures: *failures,
                next_attempt: now,
                fault: Fault::not_connected_in_time(),
            };
        }
        let State::Down {
            failures,
            next_attempt,
            fault,
        } = &*state
        else {
            unreachable!("the two other states were dealt with");
        };
        if *next_attempt <= now {
            let (failures, fault) = (*failures, fault.clone());
            let attempt = self.begin_attempt(&mut state, failures, fault.clone());
            return Ok(Found::Wait(Wait::Attempt(attempt, fault)));
        }
        if !patient {
            return Err(fault.clone().before_the_command(Remedy::Reconnect));
        }
        if *next_attempt < deadline {
            return Ok(Found::Wait(Wait::Until(*next_attempt)));
        }
        // Asking again would bring the same answer at once, and so would keep a processor busy until then.
        Err(fault.clone().before_the_command(Remedy::GiveUp))
    }

    fn begin_attempt(
        self: &Arc<Self>,
        state: &mut State,
        failures: u32,
        fault: Fault,
    ) -> watch::Receiver<()> {
        let (running, attempt) = watch::channel(());
        let begun = Instant::now();
        *state = State::Connecting {
            attempt: attempt.clone(),
            begun,
            failures,
            fault,
        };
        let link = Arc::clone(self);
        tokio::spawn(async move {
            let connecting = AssertUnwindSafe(link.connector.connect()).catch_unwind();
            let made = match timeout(CONNECT_LIMIT, connecting).await {
                Ok(Ok(made)) => made,
                Ok(Err(_)) => Err(Fault::unreachable(RedisError::from((
                    ErrorKind::InvalidClientConfig,
                    "connecting panicked",
                )))),
                Err(_) => Err(Fault::not_connected_in_time()),
            };
            let mut state = link.lock();
            // It may have been given up, and another one begun.
            if matches!(&*state, State::Connecting { begun: other, .. } if *other == begun) {
                *state = match made {
                    Ok(live) => {
                        live.made_after(failures);
                        State::Up(Arc::new(live))
                    }
                    Err(fault) => State::down(failures + 1, fault, Instant::now()),
                };
            }
            drop(running);
        });
        attempt
    }

    /// Gives a connection up, if it is still the one. Those who wait for replies over it go on doing
    /// so.
    pub(super) fn replace(&self, live: &Arc<Live>, fault: &Fault) {
        let mut state = self.lock();
        if matches!(&*state, State::Up(current) if Arc::ptr_eq(current, live)) {
            *state = State::after(live, fault.clone(), Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What follows a connection that is given up.
    fn after(live: &Live, fault: Fault, now: Instant) -> Self {
        // A server that answers each command with `READONLY` is as good as none, and so is what accepts
        // connections and answers nothing. One that worked until now is looked for at once.
        let broke = fault.maybe_done || live.is_closed();
        let failures = live.failures();
        let failures = if failures == 0 && live.has_worked() && broke {
            0
        } else {
            failures + 1
        };
        Self::down(failures, fault, now)
    }

    fn down(failures: u32, fault: Fault, now: Instant) -> Self {
        Self::Down {
            failures,
            next_attempt: now + pause(failures),
            fault,
        }
    }
}

/// Nothing at first, then twice as long each time; three quarters to all of that, so that a fleet does
/// not connect in step.
fn pause(failures: u32) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let whole = SHORTEST_PAUSE
        .saturating_mul(1 << doublings.min(10))
        .min(LONGEST_PAUSE);
    let random = RandomState::new().hash_one(failures) as u32;
    let quarter = whole / 4;
    whole - quarter.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_nothing_to_a_quarter_of_a_second() {
        assert_eq!(pause(0), Duration::ZERO);
        for failures in 1..200 {
            let pause = pause(failures);
            assert!(pause >= SHORTEST_PAUSE * 3 / 4, "{failures}");
            assert!(pause <= Duration::from_millis(250), "{failures}");
        }
        assert!(pause(20) >= LONGEST_PAUSE * 3 / 4);
    }
}
