//! Guards that could admit nothing, or everything by accident: mistakes when the layer is built.

use std::{sync::Arc, time::Duration};

use crate::support::guards::layer;
use oss_callback::{
    AgeGuard, BucketGuard, ConfigError, MemoryReplayStore, OssCallbackLayerBuilder, ReplayGuard,
    VarNames,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The error of a layer that is not built; it names the setting.
fn assert_names(builder: OssCallbackLayerBuilder, setting: &str) {
    let error = builder.build().unwrap_err();
    assert!(error.to_string().contains(setting), "{error}");
    assert!(format!("{error:?}").contains(setting), "{error:?}");
}

#[test]
fn an_age_limit_that_admits_nothing_or_everything_is_a_mistake() {
    for max_age in [
        Duration::ZERO,
        Duration::from_millis(999),
        367 * DAY,
        Duration::MAX,
    ] {
        assert_names(layer().guard(AgeGuard::new().max_age(max_age)), "max_age");
    }
    for max_ahead in [2 * DAY, Duration::MAX] {
        let guard = AgeGuard::new().max_ahead(max_ahead);
        assert_names(layer().guard(guard), "max_ahead");
    }
    for max_age in [Duration::from_secs(1), 366 * DAY] {
        assert!(
            layer()
                .guard(AgeGuard::new().max_age(max_age))
                .build()
                .is_ok()
        );
    }
    for max_ahead in [Duration::ZERO, DAY] {
        let guard = AgeGuard::new().max_ahead(max_ahead);
        assert!(layer().guard(guard).build().is_ok());
    }
}

#[test]
fn a_list_of_buckets_that_no_bucket_is_in_is_a_mistake() {
    assert_names(layer().guard(BucketGuard::new([""; 0])), "BucketGuard");
    for name in [
        "",
        " photos",
        "photos\n",
        "photos.oss-cn-hangzhou.aliyuncs.com",
        "oss://photos",
        "photos/avatars",
        "photos:443",
    ] {
        assert_names(
            layer().guard(BucketGuard::new(["photos", name])),
            "BucketGuard",
        );
    }
    assert!(
        layer()
            .guard(BucketGuard::new(["photos-2", "Old_1"]))
            .build()
            .is_ok()
    );
}

#[test]
fn a_second_bucket_guard_is_a_mistake() {
    let photos = || BucketGuard::new(["photos"]);
    let both = layer().guard(photos()).guard(BucketGuard::new(["archive"]));
    assert_names(both, "BucketGuard");
    assert!(
        layer()
            .guard(photos())
            .guard(AgeGuard::new())
            .build()
            .is_ok()
    );
}

#[test]
fn a_replay_store_for_no_callbacks_is_a_mistake() {
    let guarded = |store: Arc<MemoryReplayStore>| {
        layer()
            .guard(AgeGuard::new())
            .guard(ReplayGuard::by_signature(store))
    };
    let none = Arc::new(MemoryReplayStore::with_limit(0));
    assert_names(guarded(Arc::clone(&none)), "with_limit");
    assert_eq!(
        guarded(none).build().unwrap_err(),
        ConfigError::Zero("MemoryReplayStore::with_limit"),
    );
    let one = Arc::new(MemoryReplayStore::with_limit(1));
    assert!(guarded(one).build().is_ok());
}

#[test]
fn a_placeholder_instead_of_a_name_is_a_mistake() {
    for names in [
        VarNames::new().object("${object}"),
        VarNames::new().ticket("${x:ticket}"),
        VarNames::new().size("$size"),
    ] {
        assert_names(layer().var_names(names), "var_names");
    }
    let names = VarNames::new().object("file name").ticket("x:ticket");
    assert!(layer().var_names(names).build().is_ok());
}

#[cfg(feature = "ticket")]
mod ticket {
    use oss_callback::{TicketGuard, TicketKey};

    use super::*;
    use crate::support::guards::ticket::{SECRET, guard, key};

    #[test]
    fn a_second_ticket_guard_is_a_mistake_and_the_error_names_the_way_to_rotate() {
        let named = TicketKey::with_kid("new", SECRET).unwrap();
        let built = layer()
            .guard(guard())
            .guard(AgeGuard::new())
            .guard(TicketGuard::new(named.clone()))
            .build();
        let error = built.unwrap_err();
        assert_eq!(error, ConfigError::TwoTicketGuards);
        for name in ["TicketGuard", "with_keys", "kid"] {
            assert!(error.to_string().contains(name), "{error}");
        }
        // In two places they would need two tickets, each of which is one too many for the other.
        let built = layer().guard(guard()).guard(guard().from_query()).build();
        assert_eq!(built.unwrap_err(), ConfigError::TwoTicketGuards);

        let both = TicketGuard::with_keys([named, key()]).unwrap();
        assert!(layer().guard(both).build().is_ok());
    }

    #[test]
    fn a_leeway_of_more_than_a_minute_is_a_mistake() {
        for leeway in [Duration::from_millis(60_001), DAY, Duration::MAX] {
            assert_names(layer().guard(guard().leeway(leeway)), "leeway");
        }
        let minute = guard().leeway(Duration::from_secs(60));
        assert!(layer().guard(minute).build().is_ok());
    }

    #[test]
    fn an_empty_audience_is_a_mistake() {
        assert_names(layer().guard(guard().audience("")), "audience");
    }
}
