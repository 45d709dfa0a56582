//! Telling a store what became of callbacks, however long it fails.
//!
//! 1. An outcome is recorded before the answer is sent, if the store takes it within
//!    [`RECORDING_WAIT`]. Otherwise it waits here, and the answer goes.
//! 2. A reservation whose fate is unknown (the store failed, or the request was cancelled while it was
//!    at work) is undone from here too: released, and after [`SECOND_LOOK`] once more, for a command
//!    that was stuck on the way may be carried out after the first release.
//! 3. Everything that waits is bounded, in number and by the lease of its claim. The undos of one id
//!    are one entry: copies of one callback cost no more than that one.
//! 4. One task serves all that waits, and ends when nothing is left. While the store fails it makes one
//!    attempt in each pause. If its runtime ends first, what waits stays, and the next callback starts
//!    another task.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    future::poll_fn,
    panic::AssertUnwindSafe,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Poll,
    time::Duration,
};

use futures_util::{FutureExt, future::join_all};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{ReplayClaim, ReplayId, ReplayStore, ReplayStoreError, events::FailureLog};
use crate::Outcome;

/// How long an answer waits for its outcome to be recorded. OSS waits 5 s for everything.
const RECORDING_WAIT: Duration = Duration::from_millis(500);

/// The pauses between attempts while a store fails. The last one bounds how long a reservation stays
/// behind after the store has recovered.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// When a reservation of unknown fate is released for the second time. Longer than a command is stuck
/// in a connection that was given up.
const SECOND_LOOK: Duration = Duration::from_secs(2);

/// How many outcomes of handlers may wait. Each is a callback that was admitted, and takes some 250
/// bytes; one that is dropped may run again when its lease ends.
const OUTCOME_LIMIT: usize = 65_536;

/// How many ids may wait to be undone. A stranger causes them, and the lease undoes what is dropped.
const UNDO_LIMIT: usize = 4096;

/// How many claims to one id may wait to be undone. At most one of them has reserved it, and the first
/// are the likeliest.
const CLAIMS_OF_ONE_ID: usize = 16;

/// How many operations are under way at one time when the store works.
const BATCH: usize = 64;

/// Records outcomes in a store. Clones are handles to one recorder.
#[derive(Clone)]
pub(super) struct Recorder(Arc<Shared>);

struct Shared {
    store: Arc<dyn ReplayStore>,
    waiting: Mutex<Waiting>,
    /// There is something new for the worker.
    added: Notify,
    /// Something was done.
    progressed: Notify,
    failures: FailureLog,
}

/// What waits for the store.
#[derive(Default)]
struct Waiting {
    outcomes: VecDeque<Unrecorded>,
    first_looks: Undos,
    second_looks: Undos,
    /// Taken by the worker, and not done yet.
    under_way: usize,
    has_worker: bool,
    /// Whether the last attempt failed.
    failing: bool,
}

/// An outcome that the store has not taken yet.
struct Unrecorded {
    claim: Arc<ReplayClaim>,
    outcome: Outcome,
    /// The end of the lease: from then on the next copy decides.
    until: Instant,
    recorded: Option<oneshot::Sender<()>>,
}

/// What has to be undone, by id, in the order in which it is due.
#[derive(Default)]
struct Undos {
    claims: HashMap<ReplayId, Undo>,
    order: VecDeque<ReplayId>,
}

/// Claims to one id, one of which may have reserved it.
struct Undo {
    claims: Vec<Arc<ReplayClaim>>,
    due: Instant,
    until: Instant,
}

enum Job {
    Record(Unrecorded),
    Undo {
        id: ReplayId,
        undo: Undo,
        is_second_look: bool,
    },
}

impl Recorder {
    pub(super) fn new(store: Arc<dyn ReplayStore>) -> Self {
        Self(Arc::new(Shared {
            store,
            waiting: Mutex::default(),
            added: Notify::new(),
            progressed: Notify::new(),
            failures: FailureLog::default(),
        }))
    }

    pub(super) fn store(&self) -> &dyn ReplayStore {
        &*self.0.store
    }

    pub(super) fn failures(&self) -> &FailureLog {
        &self.0.failures
    }

    /// How many outcomes and undos the store has not taken.
    pub(super) fn pending(&self) -> usize {
        self.0.lock().pending()
    }

    /// Waits until the store has taken all of them, for so long at most. The number of those that are
    /// left.
    pub(super) async fn drain(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        loop {
            let mut progressed = pin!(self.0.progressed.notified());
            progressed.as_mut().enable();
            if self.pending() == 0 {
                return 0;
            }
            self.0.start_worker();
            if timeout_at(deadline, progressed).await.is_err() {
                return self.pending();
            }
        }
    }

    /// Records an outcome. The answer waits for this future; a copy that is sent after it should find
    /// the outcome recorded.
    pub(super) async fn record(&self, claim: Arc<ReplayClaim>, outcome: Outcome) {
        let deadline = Instant::now() + RECORDING_WAIT;
        let mut unrecorded = UnrecordedOnDrop {
            recorder: self,
            claim: Some((Arc::clone(&claim), outcome)),
        };
        let recording = self.0.apply(&claim, outcome);
        let attempted = match within(RECORDING_WAIT, recording).await {
            Some(attempted) => attempted,
            None => Err(ReplayStoreError::new("the store did not answer in time")),
        };
        let Some((claim, outcome)) = unrecorded.claim.take() else {
            return;
        };
        match attempted {
            Ok(()) => self.0.failures.worked(),
            Err(error) => {
                self.0.failures.failed(&error);
                let recorded = self.0.wait_with(claim, outcome);
                // Without a runtime there is no worker to wait for.
                if Handle::try_current().is_ok() {
                    let _ = timeout_at(deadline, recorded).await;
                }
            }
        }
    }

    /// Releases what this claim may have reserved. The handler has not run for it, and its owner token
    /// keeps this from releasing what another claim reserved.
    pub(super) fn undo(&self, claim: Arc<ReplayClaim>) {
        self.0.undo(claim, false);
    }

    /// As [`undo`](Self::undo), for a claim that was released once.
    pub(super) fn undo_later(&self, claim: Arc<ReplayClaim>) {
        self.0.undo(claim, true);
    }
}

/// Hands an outcome to the worker if the request ends while it is being recorded.
struct UnrecordedOnDrop<'a> {
    recorder: &'a Recorder,
    claim: Option<(Arc<ReplayClaim>, Outcome)>,
}

impl Drop for UnrecordedOnDrop<'_> {
    fn drop(&mut self) {
        if let Some((claim, outcome)) = self.claim.take() {
            drop(self.recorder.0.wait_with(claim, outcome));
        }
    }
}

/// The output, if it comes within the limit. Only what waits costs a timer, and without a runtime
/// there is none.
pub(super) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let once = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await;
    if let Poll::Ready(output) = once {
        return Some(output);
    }
    match Handle::try_current() {
        Ok(_) => timeout(limit, future).await.ok(),
        Err(_) => Some(future.await),
    }
}

impl Shared {
    async fn apply(&self, claim: &ReplayClaim, outcome: Outcome) -> Result<(), ReplayStoreError> {
        match outcome {
            Outcome::Accepted => self.store.confirm(claim).await,
            Outcome::Failed | Outcome::Answered => self.store.release(claim).await,
            Outcome::Abandoned => self.store.hold(claim).await,
        }
    }

    /// Lets an outcome wait that the store did not take. What is returned tells when it has.
    fn wait_with(
        self: &Arc<Self>,
        claim: Arc<ReplayClaim>,
        outcome: Outcome,
    ) -> oneshot::Receiver<()> {
        let (sender, recorded) = oneshot::channel();
        let mut waiting = self.lock();
        let has_room = waiting.outcomes.len() < OUTCOME_LIMIT;
        if has_room {
            waiting.outcomes.push_back(Unrecorded {
                until: Instant::now() + claim.lease(),
                claim,
                outcome,
                recorded: Some(sender),
            });
            waiting.failing = true;
        }
        drop(waiting);
        if has_room {
            self.start_worker();
        } else {
            self.failures.outcome_dropped();
        }
        recorded
    }

    fn undo(self: &Arc<Self>, claim: Arc<ReplayClaim>, is_second_look: bool) {
        let now = Instant::now();
        let id = claim.replay_id();
        let undo = Undo {
            until: now + claim.lease(),
            claims: vec![claim],
            due: now,
        };
        self.lock().add_undo(id, undo, is_second_look);
        self.start_worker();
    }

    /// Starts the worker, unless there is one or nothing to do. Without a runtime the next callback
    /// does so.
    fn start_worker(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut waiting = self.lock();
        if waiting.is_empty() {
            return;
        }
        if std::mem::replace(&mut waiting.has_worker, true) {
            self.added.notify_one();
            return;
        }
        drop(waiting);
        let mut worker = Worker {
            shared: Arc::clone(self),
            has_finished: false,
        };
        runtime.spawn(async move { worker.run().await });
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
            && self.first_looks.claims.is_empty()
            && self.second_looks.claims.is_empty()
    }

    fn pending(&self) -> usize {
        self.outcomes.len() + self.first_looks.claims.len() + self.under_way
    }

    fn add_undo(&mut self, id: ReplayId, mut undo: Undo, is_second_look: bool) {
        if is_second_look {
            undo.due += SECOND_LOOK;
            self.second_looks.add(id, undo);
        } else {
            self.first_looks.add(id, undo);
        }
    }

    /// Up to so many jobs that are due.
    fn take(&mut self, count: usize, now: Instant) -> Vec<Job> {
        let mut jobs = Vec::new();
        while jobs.len() < count {
            // A handler that ran matters more than one that did not.
            if let Some(unrecorded) = self.outcomes.pop_front() {
                if unrecorded.until > now {
                    jobs.push(Job::Record(unrecorded));
                }
            } else if let Some((id, undo)) = self.first_looks.take(now) {
                jobs.push(Job::Undo {
                    id,
                    undo,
                    is_second_look: false,
                });
            } else if let Some((id, undo)) = self.second_looks.take(now) {
                jobs.push(Job::Undo {
                    id,
                    undo,
                    is_second_look: true,
                });
            } else {
                break;
            }
        }
        self.under_way += jobs.len();
        jobs
    }

    /// When the next second look is due.
    fn next_due(&self) -> Option<Instant> {
        let first = self.second_looks.order.front()?;
        self.second_looks.claims.get(first).map(|undo| undo.due)
    }

    /// Takes back what was not done.
    fn put_back(&mut self, job: Job) {
        match job {
            Job::Record(unrecorded) => self.outcomes.push_back(unrecorded),
            Job::Undo { id, undo, .. } => self.first_looks.add(id, undo),
        }
    }
}

impl Undos {
    /// What does not fit is left to its lease.
    fn add(&mut self, id: ReplayId, undo: Undo) {
        let has_room = self.claims.len() < UNDO_LIMIT;
        match self.claims.entry(id) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                let room = CLAIMS_OF_ONE_ID.saturating_sub(known.claims.len());
                known.claims.extend(undo.claims.into_iter().take(room));
                known.until = known.until.max(undo.until);
            }
            Entry::Vacant(place) if has_room => {
                place.insert(undo);
                self.order.push_back(id);
            }
            Entry::Vacant(_) => {}
        }
    }

    /// The first one, if it is due. What is older than its lease is forgotten.
    fn take(&mut self, now: Instant) -> Option<(ReplayId, Undo)> {
        while let Some(id) = self.order.front().copied() {
            let undo = self.claims.remove(&id)?;
            if undo.due > now && undo.until > now {
                self.claims.insert(id, undo);
                return None;
            }
            self.order.pop_front();
            if undo.until > now {
                return Some((id, undo));
            }
        }
        None
    }
}

/// The one task. Dropped with its runtime, it leaves what waits to the next one.
struct Worker {
    shared: Arc<Shared>,
    has_finished: bool,
}

impl Drop for Worker {
    fn drop(&mut self) {
        // By now there may be another worker.
        if !self.has_finished {
            self.shared.lock().has_worker = false;
        }
    }
}

impl Worker {
    async fn run(&mut self) {
        let mut pause = FIRST_RETRY;
        loop {
            let failing = self.shared.lock().failing;
            if failing {
                sleep(pause).await;
                pause = (pause * 2).min(LAST_RETRY);
            } else {
                pause = FIRST_RETRY;
            }
            // While the store fails, one attempt tells as much as many.
            let jobs = self.take(if failing { 1 } else { BATCH });
            if self.has_finished {
                return;
            }
            if jobs.is_empty() {
                self.wait().await;
                continue;
            }
            let results = join_all(jobs.into_iter().map(JobUnderWay::run)).await;
            self.shared.lock().failing = results.contains(&false);
            self.shared.progressed.notify_waiters();
        }
    }

    fn take(&mut self, count: usize) -> Vec<JobUnderWay> {
        let mut waiting = self.shared.lock();
        let jobs = waiting.take(count, Instant::now());
        if jobs.is_empty() && waiting.is_empty() {
            waiting.failing = false;
            waiting.has_worker = false;
            self.has_finished = true;
            drop(waiting);
            self.shared.progressed.notify_waiters();
            return Vec::new();
        }
        let jobs = jobs.into_iter().map(|job| JobUnderWay {
            shared: Arc::clone(&self.shared),
            job: Some(job),
        });
        jobs.collect()
    }

    /// Until the next second look is due, or something new is.
    async fn wait(&self) {
        let due = self.shared.lock().next_due();
        let _ = timeout_at(
            due.unwrap_or_else(Instant::now),
            self.shared.added.notified(),
        )
        .await;
    }
}

/// A job that goes back if it is not done.
struct JobUnderWay {
    shared: Arc<Shared>,
    job: Option<Job>,
}

impl Drop for JobUnderWay {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        waiting.under_way -= 1;
        if let Some(job) = self.job.take() {
            waiting.put_back(job);
        }
    }
}

impl JobUnderWay {
    /// Whether the store took it.
    async fn run(mut self) -> bool {
        let attempt = AssertUnwindSafe(self.attempt()).catch_unwind();
        let attempted = match attempt.await {
            Ok(attempted) => attempted,
            Err(_) => Err(ReplayStoreError::new("the store panicked")),
        };
        if let Err(error) = attempted {
            self.shared.failures.failed(&error);
            return false;
        }
        self.shared.failures.worked();
        match self.job.take() {
            Some(Job::Record(mut unrecorded)) => {
                if let Some(recorded) = unrecorded.recorded.take() {
                    let _ = recorded.send(());
                }
            }
            Some(Job::Undo {
                id,
                mut undo,
                is_second_look: false,
            }) => {
                undo.due = Instant::now();
                self.shared.lock().add_undo(id, undo, true);
            }
            _ => {}
        }
        true
    }

    async fn attempt(&self) -> Result<(), ReplayStoreError> {
        match &self.job {
            Some(Job::Record(job)) => self.shared.apply(&job.claim, job.outcome).await,
            Some(Job::Undo { undo, .. }) => {
                for claim in &undo.claims {
                    self.shared.store.release(claim).await?;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }
}
