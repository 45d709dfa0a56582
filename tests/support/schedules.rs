//! A search through schedules: copies of one callback, each of which may be cancelled at any poll of
//! any operation of a store, in every order that a generator of numbers comes to.
//!
//! It holds for each schedule that at most one copy has its effect, that an effect which was confirmed
//! or held is never had again, and that once all is told nothing but that is left.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use oss_callback::{ReplayClaim, ReplayStore, Reservation};
use tokio::task::yield_now;

use super::replay::{HOUR, claim, now};

/// Numbers that depend on nothing but the seed.
pub struct Numbers(u64);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }
}

/// What a schedule came to.
#[derive(Default)]
pub struct Seen {
    pub cancelled_reserves: usize,
    pub cancelled_outcomes: usize,
    pub fresh: usize,
    pub in_progress: usize,
    pub held: usize,
    pub done: usize,
    /// How many ids are held or done in the end.
    pub kept: usize,
}

/// Polls a future so many times at most, and drops it then.
async fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    for _ in 0..polls {
        let once = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
        if let Poll::Ready(output) = once {
            return Some(output);
        }
        yield_now().await;
    }
    None
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Success,
    Failure,
    CutOff,
}

struct OneCopy<S> {
    store: Arc<S>,
    claim: ReplayClaim,
    numbers: Numbers,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    /// Effects that happened or may have.
    effects: AtomicUsize,
    ends: Mutex<Vec<End>>,
    seen: Mutex<Seen>,
}

/// The most polls that an operation is given, when it is cancelled at all.
const MOST_POLLS: usize = 6;

impl<S: ReplayStore> OneCopy<S> {
    /// As the guard does it.
    async fn run(mut self) {
        let polls = self.polls();
        let reserved = polled(self.store.reserve(&self.claim), polls).await;
        let reservation = match reserved {
            Some(Ok(reservation)) => reservation,
            Some(Err(error)) => panic!("{error}"),
            None => {
                self.shared.seen.lock().unwrap().cancelled_reserves += 1;
                self.until_told(End::Failure).await;
                return;
            }
        };
        {
            let mut seen = self.shared.seen.lock().unwrap();
            match reservation {
                Reservation::Fresh => seen.fresh += 1,
                Reservation::InProgress => seen.in_progress += 1,
                Reservation::Held => seen.held += 1,
                Reservation::Done => seen.done += 1,
                other => panic!("{other:?}"),
            }
        }
        if reservation == Reservation::Fresh {
            self.handle().await;
        }
    }

    async fn handle(&mut self) {
        let running = self.shared.running.fetch_add(1, Ordering::SeqCst);
        assert_eq!(running, 0, "two handlers run");
        let end = [End::Success, End::Failure, End::Failure, End::CutOff][self.numbers.below(4)];
        if end != End::Failure {
            let before = self.shared.effects.fetch_add(1, Ordering::SeqCst);
            assert_eq!(before, 0, "a second effect");
        }
        for _ in 0..self.numbers.below(4) {
            yield_now().await;
        }
        self.shared.running.fetch_sub(1, Ordering::SeqCst);
        self.until_told(end).await;
        self.shared.ends.lock().unwrap().push(end);
    }

    /// Cancelled as often as it may be, an outcome is told again.
    async fn until_told(&mut self, end: End) {
        for _ in 0..3 {
            let polls = self.polls();
            if polled(self.tell(end), polls).await.is_some() {
                return;
            }
            self.shared.seen.lock().unwrap().cancelled_outcomes += 1;
        }
        self.tell(end).await;
    }

    async fn tell(&self, end: End) {
        let told = match end {
            End::Success => self.store.confirm(&self.claim).await,
            End::Failure => self.store.release(&self.claim).await,
            End::CutOff => self.store.hold(&self.claim).await,
        };
        told.unwrap();
    }

    fn polls(&mut self) -> usize {
        match self.numbers.below(3) {
            0 => self.numbers.below(MOST_POLLS),
            _ => usize::MAX,
        }
    }
}

/// Runs so many schedules, each with an id of its own. `pause` is what a store needs that works in the
/// background after its caller is gone.
pub async fn search<S: ReplayStore>(store: Arc<S>, schedules: u64, pause: Duration) -> Seen {
    let mut all = Seen::default();
    for schedule in 0..schedules {
        let mut numbers = Numbers::new(schedule + 1);
        let shared = Arc::new(Shared::default());
        let copies = 2 + numbers.below(4);
        let mut running: Vec<Pin<Box<dyn Future<Output = ()>>>> = (0..copies)
            .map(|copy| {
                let copy = OneCopy {
                    store: Arc::clone(&store),
                    claim: claim(1_000_000 + schedule, now(), HOUR, HOUR),
                    numbers: Numbers::new(schedule * 64 + copy as u64 + 7),
                    shared: Arc::clone(&shared),
                };
                Box::pin(copy.run()) as _
            })
            .collect();
        while !running.is_empty() {
            let next = numbers.below(running.len());
            let once = poll_fn(|cx| Poll::Ready(running[next].as_mut().poll(cx))).await;
            if once.is_ready() {
                drop(running.swap_remove(next));
            }
            if numbers.below(2) == 0 {
                yield_now().await;
            }
        }
        drop(running);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        let ends = std::mem::take(&mut *shared.ends.lock().unwrap());
        let expected = if ends.contains(&End::Success) {
            Reservation::Done
        } else if ends.contains(&End::CutOff) {
            Reservation::Held
        } else {
            Reservation::Fresh
        };
        let last = claim(1_000_000 + schedule, now(), HOUR, HOUR);
        let left = store.reserve(&last).await.unwrap();
        assert_eq!(left, expected, "schedule {schedule}: {ends:?}");
        store.release(&last).await.unwrap();
        let seen = std::mem::take(&mut *shared.seen.lock().unwrap());
        all.cancelled_reserves += seen.cancelled_reserves;
        all.cancelled_outcomes += seen.cancelled_outcomes;
        all.fresh += seen.fresh;
        all.in_progress += seen.in_progress;
        all.held += seen.held;
        all.done += seen.done;
        all.kept += usize::from(expected != Reservation::Fresh);
    }
    for (name, count) in [
        ("cancelled reservations", all.cancelled_reserves),
        ("cancelled outcomes", all.cancelled_outcomes),
        ("fresh", all.fresh),
        ("in progress", all.in_progress),
        ("held", all.held),
        ("done", all.done),
    ] {
        assert!(count > 0, "no schedule saw: {name}");
    }
    all
}
