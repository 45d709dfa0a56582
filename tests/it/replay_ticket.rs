//! One upload for each ticket.
//!
//! The clock of most of it is paused: it goes on only when all wait, so no time limit ends because a machine is
//! busy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::support::replay::{Effects, MINUTE, now, replay, send_counted};
use http::Request;
use oss_callback::{
    AgeGuard, CallbackAnswer, CallbackBody, ConfigError, MemoryReplayStore, OssCallbackLayer,
    OssCallbackLayerBuilder, RejectionKind, Replay, ReplayGuard, TicketClaims, TicketGuard,
    TicketKey, test_util::CallbackSigner,
};

fn key() -> TicketKey {
    TicketKey::new(*b"a secret of 256 bits, for tests.").unwrap()
}

fn ticket(until: SystemTime) -> String {
    key()
        .issue_until(&TicketClaims::object("a.jpg"), until)
        .unwrap()
}

/// A callback with this ticket, for an upload so many seconds after the tests' time.
fn callback(ticket: &str, seconds: u64) -> Request<CallbackBody> {
    let time = 0x6639_9AA5 + seconds;
    let body = format!("reqId={time:08X}{:016X}&object=a.jpg&ticket={ticket}", 1);
    CallbackSigner::new().form("/cb", body)
}

/// A layer and its clock, in seconds after the tests' time.
fn builder() -> (OssCallbackLayerBuilder, Arc<AtomicU64>) {
    let seconds = Arc::new(AtomicU64::new(0));
    let clock = Arc::clone(&seconds);
    let signer = CallbackSigner::new();
    let builder = OssCallbackLayer::builder()
        .pin_key(signer.key_url(), signer.public_key())
        .clock(move || now() + Duration::from_secs(clock.load(Ordering::SeqCst)));
    (builder, seconds)
}

fn by_ticket() -> ReplayGuard {
    ReplayGuard::by_ticket(MemoryReplayStore::new())
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_good_for_one_callback_whatever_that_says() {
    let (builder, _) = builder();
    let layer = builder
        .guard(TicketGuard::new(key()))
        .guard(by_ticket())
        .build()
        .unwrap();
    let effects = Effects::default();
    let [one, two] = [(); 2].map(|()| ticket(now() + 10 * MINUTE));
    assert_ne!(one, two);
    assert_eq!(
        send_counted(&layer, callback(&one, 0), &effects)
            .await
            .status(),
        200
    );
    for seconds in 0..3 {
        let response = send_counted(&layer, callback(&one, seconds), &effects).await;
        assert_eq!(replay(&response), Some(Replay::Done));
    }
    assert_eq!(
        send_counted(&layer, callback(&two, 0), &effects)
            .await
            .status(),
        200
    );
    assert_eq!(effects.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_used_twice_around_its_end_is_used_once() {
    for first in 595..600 {
        let (builder, clock) = builder();
        let layer = builder
            .guard(TicketGuard::new(key()))
            .guard(by_ticket())
            .build()
            .unwrap();
        let ticket = ticket(now() + 10 * MINUTE);
        let effects = Effects::default();
        clock.store(first, Ordering::SeqCst);
        assert_eq!(
            send_counted(&layer, callback(&ticket, 0), &effects)
                .await
                .status(),
            200
        );
        for second in first..700 {
            clock.store(second, Ordering::SeqCst);
            let response = send_counted(&layer, callback(&ticket, 0), &effects).await;
            let expected = if second < 600 {
                RejectionKind::Replayed(Replay::Done)
            } else {
                RejectionKind::TicketExpired
            };
            assert_eq!(
                crate::support::kind(&response),
                Some(expected),
                "{first} {second}"
            );
        }
        assert_eq!(effects.count(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_age_guard_does_not_shorten_the_memory_of_a_ticket() {
    let ticket = ticket(now() + 60 * MINUTE);
    let young = || AgeGuard::new().max_age(MINUTE);
    for age_first in [true, false] {
        let (builder, clock) = builder();
        let tickets = TicketGuard::new(key());
        let layer = if age_first {
            builder.guard(young()).guard(tickets)
        } else {
            builder.guard(tickets).guard(young())
        };
        let layer = layer.guard(by_ticket()).build().unwrap();
        let effects = Effects::default();
        assert_eq!(
            send_counted(&layer, callback(&ticket, 0), &effects)
                .await
                .status(),
            200
        );
        // The first callback is too old by now; another upload with its ticket is not.
        for seconds in [1000, 2000, 3599] {
            clock.store(seconds, Ordering::SeqCst);
            let response = send_counted(&layer, callback(&ticket, seconds), &effects).await;
            assert_eq!(replay(&response), Some(Replay::Done), "{seconds}");
        }
        assert_eq!(effects.count(), 1);
    }
}

#[test]
fn it_stands_behind_a_ticket_guard() {
    let alone = OssCallbackLayer::builder()
        .guard(AgeGuard::new())
        .guard(by_ticket());
    assert_eq!(
        alone.build().unwrap_err(),
        ConfigError::ReplayGuardWithout("TicketGuard")
    );
}

/// The document's answer to a copy of what was done.
fn answering() -> (OssCallbackLayer, Effects) {
    let (builder, _) = builder();
    let layer = builder
        .guard(TicketGuard::new(key()))
        .guard(by_ticket().answer_done(CallbackAnswer::ok()))
        .build()
        .unwrap();
    (layer, Effects::default())
}

#[tokio::test(start_paused = true)]
async fn another_upload_with_a_used_ticket_is_refused_and_a_copy_is_answered() {
    let claims = TicketClaims::object_prefix("photos/");
    let ticket = key().issue_until(&claims, now() + 10 * MINUTE).unwrap();
    let upload = |target: &str, object: &str| {
        let body = format!("object=photos/{object}&ticket={ticket}");
        CallbackSigner::new().form(target, body)
    };
    let (layer, effects) = answering();
    let first = send_counted(&layer, upload("/cb", "a.jpg"), &effects).await;
    assert_eq!(first.status(), 200);
    for (target, object, status) in [
        ("/cb", "a.jpg", 200),
        ("/cb", "b.jpg", 409),
        ("/cb?a", "a.jpg", 409),
        ("/other", "a.jpg", 409),
        ("/c%62", "a.jpg", 200),
    ] {
        let response = send_counted(&layer, upload(target, object), &effects).await;
        assert_eq!(response.status(), status, "{target} {object}");
        if status == 409 {
            assert_eq!(replay(&response), Some(Replay::Done));
        }
    }
    assert_eq!(effects.count(), 1);
}
