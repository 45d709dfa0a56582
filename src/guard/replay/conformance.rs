//! What every replay store must do, as a check that its author can run.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use tokio::time::sleep;

use super::{ReplayClaim, ReplayId, ReplayStore, Reservation, id::owner_token};

/// Long enough that nothing ends by accident while other things are checked.
const LONG: Duration = Duration::from_secs(600);

/// A lease that ends in the course of the check. A store has this long for a few operations.
const SHORT: Duration = Duration::from_millis(500);

/// How many claims to one id are made at one time.
const SIMULTANEOUS: usize = 64;

/// Checks that a store keeps to the table of [`ReplayStore`], cell by cell; for tests of a store.
///
/// It uses ids that no other check and no callback has, so the store need not be empty. It takes about
/// two seconds, during which leases end, and needs a tokio runtime with time that is not paused.
///
/// ```
/// use oss_callback::{MemoryReplayStore, test_util::check_replay_store};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// check_replay_store(&MemoryReplayStore::new()).await;
/// # });
/// ```
///
/// # Panics
/// If the store does not, or if an operation fails.
pub async fn check_replay_store<S: ReplayStore + ?Sized>(store: &S) {
    let check = Check { store };
    check.one_of_many_is_fresh().await;
    check.what_is_reserved_is_its_owners().await;
    check.what_is_done_stays_done().await;
    check.what_is_held_stays_held().await;
    check.two_messages_can_claim_one_id().await;
    check.leases_end().await;
}

struct Check<'a, S: ?Sized> {
    store: &'a S,
}

/// An id that nothing else has.
fn fresh_id() -> ReplayId {
    let mut id = [0; 32];
    // Stores may look at a part of it.
    id[..16].copy_from_slice(&owner_token());
    id[16..].copy_from_slice(&owner_token());
    // Spread over the whole id, as a hash is.
    ReplayId::from(sha256(&id))
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::{Digest, Sha256};
    Sha256::digest(bytes).into()
}

/// A claim of another owner each time.
fn claim(id: ReplayId, lease: Duration) -> ReplayClaim {
    ReplayClaim::new(
        *id.as_bytes(),
        owner_token(),
        SystemTime::now(),
        lease,
        LONG,
    )
}

impl<S: ReplayStore + ?Sized> Check<'_, S> {
    async fn reserve(&self, claim: &ReplayClaim, expected: Reservation, rule: &str) {
        let reserved = self.store.reserve(claim).await;
        let reserved = reserved.unwrap_or_else(|error| panic!("reserve failed: {error}"));
        assert_eq!(reserved, expected, "{rule}");
    }

    async fn confirm(&self, claim: &ReplayClaim) {
        let done = self.store.confirm(claim).await;
        done.unwrap_or_else(|error| panic!("confirm failed: {error}"));
    }

    async fn hold(&self, claim: &ReplayClaim) {
        let done = self.store.hold(claim).await;
        done.unwrap_or_else(|error| panic!("hold failed: {error}"));
    }

    async fn release(&self, claim: &ReplayClaim) {
        let done = self.store.release(claim).await;
        done.unwrap_or_else(|error| panic!("release failed: {error}"));
    }

    async fn one_of_many_is_fresh(&self) {
        let id = fresh_id();
        let claims: Vec<_> = (0..SIMULTANEOUS).map(|_| claim(id, LONG)).collect();
        let reservations = join_all(claims.iter().map(|claim| self.store.reserve(claim))).await;
        let mut fresh = 0;
        for reservation in reservations {
            match reservation.unwrap_or_else(|error| panic!("reserve failed: {error}")) {
                Reservation::Fresh => fresh += 1,
                other => assert_eq!(
                    other,
                    Reservation::InProgress,
                    "the others find it reserved"
                ),
            }
        }
        assert_eq!(fresh, 1, "of simultaneous claims to a free id one is fresh");
        let rule = "another id is another matter";
        self.reserve(&claim(fresh_id(), LONG), Reservation::Fresh, rule)
            .await;
    }

    async fn what_is_reserved_is_its_owners(&self) {
        use Reservation::{Fresh, InProgress};
        let id = fresh_id();
        let first = claim(id, LONG);
        self.release(&first).await;
        self.reserve(&first, Fresh, "an id that is unknown is free")
            .await;
        self.reserve(&first, Fresh, "a claim may be repeated").await;
        self.reserve(&claim(id, LONG), InProgress, "another claim is not")
            .await;
        self.release(&claim(id, LONG)).await;
        let rule = "another owner releases nothing";
        self.reserve(&claim(id, LONG), InProgress, rule).await;
        for _ in 0..2 {
            self.release(&first).await;
        }
        self.reserve(&claim(id, LONG), Fresh, "its owner does")
            .await;
        let rule = "a release that comes late does not touch the next owner's reservation";
        self.release(&first).await;
        self.reserve(&claim(id, LONG), InProgress, rule).await;
    }

    async fn what_is_done_stays_done(&self) {
        use Reservation::{Done, Fresh};
        let id = fresh_id();
        let first = claim(id, LONG);
        self.reserve(&first, Fresh, "free").await;
        for _ in 0..2 {
            self.confirm(&first).await;
            self.reserve(&claim(id, LONG), Done, "what is confirmed is done")
                .await;
        }
        self.reserve(&first, Done, "for its owner too").await;
        self.release(&first).await;
        self.hold(&first).await;
        self.release(&claim(id, LONG)).await;
        self.hold(&claim(id, LONG)).await;
        let rule = "nothing makes it anything else";
        self.reserve(&claim(id, LONG), Done, rule).await;

        let unreserved = claim(fresh_id(), LONG);
        self.confirm(&unreserved).await;
        let rule = "a success counts whatever the store forgot";
        self.reserve(&claim((*unreserved.id()).into(), LONG), Done, rule)
            .await;
    }

    async fn what_is_held_stays_held(&self) {
        use Reservation::{Done, Fresh, Held};
        let id = fresh_id();
        let first = claim(id, LONG);
        self.reserve(&first, Fresh, "free").await;
        for _ in 0..2 {
            self.hold(&first).await;
            self.reserve(&claim(id, LONG), Held, "what is held is told apart")
                .await;
        }
        self.release(&claim(id, LONG)).await;
        let rule = "another owner does not release it";
        self.reserve(&claim(id, LONG), Held, rule).await;
        self.confirm(&first).await;
        let rule = "a success that becomes known later counts";
        self.reserve(&claim(id, LONG), Done, rule).await;

        let unreserved = claim(fresh_id(), LONG);
        self.hold(&unreserved).await;
        let rule = "it is held whatever the store forgot";
        self.reserve(&claim((*unreserved.id()).into(), LONG), Held, rule)
            .await;
    }

    async fn two_messages_can_claim_one_id(&self) {
        use Reservation::{Done, DoneByOther, Fresh, InProgress};
        let id = fresh_id();
        let [one, other] = [1, 2].map(|number| sha256(&[number]));
        let first = claim(id, LONG).for_message(one);
        self.reserve(&first, Fresh, "free").await;
        let second = claim(id, LONG).for_message(other);
        self.reserve(&second, InProgress, "reserved by another message")
            .await;
        self.confirm(&first).await;
        let copy = claim(id, LONG).for_message(one);
        self.reserve(&copy, Done, "a copy of the message that did it")
            .await;
        self.reserve(&second, DoneByOther, "another message").await;
    }

    async fn leases_end(&self) {
        use Reservation::{Done, Fresh, Held, InProgress};
        let lost: Vec<_> = (0..6).map(|_| claim(fresh_id(), SHORT)).collect();
        let held = claim(fresh_id(), SHORT);
        let done = claim(fresh_id(), SHORT);
        for claim in lost.iter().chain([&held, &done]) {
            self.reserve(claim, Fresh, "free").await;
        }
        self.hold(&held).await;
        self.confirm(&done).await;
        sleep(SHORT + SHORT / 2).await;
        let next = |first: &ReplayClaim| claim((*first.id()).into(), LONG);
        self.reserve(&next(&held), Held, "what is held outlives its lease")
            .await;
        self.reserve(&next(&done), Done, "what is done outlives its lease")
            .await;
        let takers: Vec<_> = lost[..4].iter().map(next).collect();
        for taker in &takers {
            self.reserve(taker, Fresh, "a lease ends").await;
        }
        let rule = "a late release does not touch the next owner's reservation";
        self.release(&lost[0]).await;
        self.reserve(&next(&lost[0]), InProgress, rule).await;
        let rule = "a late success counts, even if the next owner's attempt fails";
        self.confirm(&lost[1]).await;
        self.release(&takers[1]).await;
        self.reserve(&next(&lost[1]), Done, rule).await;
        let rule = "what the first owner may have done is not done again";
        self.hold(&lost[2]).await;
        self.release(&takers[2]).await;
        self.reserve(&next(&lost[2]), Held, rule).await;
        self.confirm(&takers[3]).await;
        self.hold(&lost[3]).await;
        self.reserve(&next(&lost[3]), Done, "done is done").await;
        self.confirm(&lost[4]).await;
        self.reserve(&next(&lost[4]), Done, "nobody took it").await;
        self.hold(&lost[5]).await;
        self.reserve(&next(&lost[5]), Held, "nobody took it").await;
    }
}
