//! The age guard: recent uploads, by the time in the signed request id.

use std::time::Duration;

use crate::support::guards::{NOW, Validity, at, form, layer, refusal};
use oss_callback::{AgeGuard, RejectionKind, VarNames};

const DAY: u64 = 24 * 60 * 60;

const STALE: Option<RejectionKind> = Some(RejectionKind::Stale);

/// As long as it can be.
fn ever() -> AgeGuard {
    AgeGuard::new()
        .max_age(Duration::from_secs(366 * DAY))
        .max_ahead(Duration::from_secs(DAY))
}

/// A request id as the service makes them.
fn req_id(seconds: u64) -> String {
    format!("reqId={seconds:08X}0123456789ABCDEF")
}

async fn refused(guard: AgeGuard, body: &str) -> Option<RejectionKind> {
    refusal(layer().guard(guard), form(body)).await
}

#[tokio::test]
async fn an_upload_is_recent_for_an_hour_and_up_to_five_minutes_ahead() {
    for (uploaded, expected) in [
        (NOW, None),
        (NOW - 3600, None),
        (NOW - 3601, STALE),
        (NOW + 300, None),
        (NOW + 301, STALE),
        (0, STALE),
        (u64::from(u32::MAX), STALE),
    ] {
        let refused = refused(AgeGuard::new(), &req_id(uploaded)).await;
        assert_eq!(refused, expected, "{uploaded}");
    }
}

#[tokio::test]
async fn both_limits_are_the_applications_to_choose() {
    let guard = AgeGuard::new()
        .max_age(Duration::from_secs(10))
        .max_ahead(Duration::ZERO);
    assert_eq!(refused(guard, &req_id(NOW - 10)).await, None);
    assert_eq!(refused(guard, &req_id(NOW - 11)).await, STALE);
    assert_eq!(refused(guard, &req_id(NOW + 1)).await, STALE);

    assert_eq!(refused(ever(), &req_id(NOW - 366 * DAY)).await, None);
    assert_eq!(refused(ever(), &req_id(NOW - 366 * DAY - 1)).await, STALE);
    assert_eq!(refused(ever(), &req_id(NOW + DAY)).await, None);
    assert_eq!(refused(ever(), &req_id(NOW + DAY + 1)).await, STALE);
}

#[tokio::test]
async fn eight_hexadecimal_digits_in_either_case_tell_the_time() {
    // NOW is 0x6553F100.
    for recent in ["6553F100", "6553f100", "6553F100 and whatever follows"] {
        let refused = refused(AgeGuard::new(), &format!("reqId={recent}")).await;
        assert_eq!(refused, None, "{recent}");
    }
    for other in [
        "",
        "6553F10",
        "%2B6553F10",
        "-6553F10",
        "0x6553F1",
        "+6553F100",
        "6553F10g",
        "6553F10%C3%A9",
        "x6553F100",
    ] {
        // Not even by the most patient guard.
        let refused = refused(ever(), &format!("reqId={other}")).await;
        assert_eq!(refused, STALE, "{other}");
    }
}

#[tokio::test]
async fn only_the_signed_id_under_its_configured_name_counts() {
    let mut request = form("object=o");
    let recent = format!("{NOW:08X}0123456789ABCDEF");
    let headers = request.headers_mut();
    headers.insert("x-oss-request-id", recent.parse().unwrap());
    let refused = refusal(layer().guard(AgeGuard::new()), request).await;
    assert_eq!(refused, STALE);

    let renamed = || {
        layer()
            .var_names(VarNames::new().req_id("id"))
            .guard(AgeGuard::new())
    };
    let old = format!("{:08X}", NOW - 7200);
    for (body, expected) in [
        (format!("id={recent}&reqId={old}"), None),
        (format!("id={old}&reqId={recent}"), STALE),
    ] {
        assert_eq!(refusal(renamed(), form(&body)).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_doubled_id_is_none() {
    let twice = format!("{id}&{id}", id = req_id(NOW));
    assert_eq!(
        refused(AgeGuard::new(), &twice).await,
        Some(RejectionKind::InvalidVariables),
    );
}

#[tokio::test]
async fn guards_behind_it_know_when_it_will_refuse() {
    let validity = Validity::default();
    let guarded = layer()
        .guard(AgeGuard::new())
        .guard(AgeGuard::new().max_age(Duration::from_secs(60)))
        .guard(validity.clone());
    assert_eq!(refusal(guarded, form(&req_id(NOW - 20))).await, None);
    let until = at(NOW - 20 + 60);
    assert_eq!(validity.seen(), Some(until));

    // It is the last moment at which the same callback passes.
    for (now, expected) in [(until, None), (until + Duration::from_nanos(1), STALE)] {
        let then = layer()
            .clock(move || now)
            .guard(AgeGuard::new().max_age(Duration::from_secs(60)));
        assert_eq!(refusal(then, form(&req_id(NOW - 20))).await, expected);
    }
}
