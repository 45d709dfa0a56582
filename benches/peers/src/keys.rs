//! From the key URL's header to a key that is known.
//!
//! 1. `oss-callback` is `KeyStore::resolve`: it finds the header as it was sent, among those that it
//!    would take.
//! 2. The others decode the header and look the URL up, as an application does by hand: in a cache of
//!    moka's, whose entries live for a day as `oss-callback`'s keys do, and in a map behind a lock, as
//!    u-sdk does inside its layer. That one keeps the text of the key; here it is the parsed key.
//! 3. All of them end with a handle to the same key. None fetches anything.

use std::{
    collections::HashMap,
    str,
    sync::{Arc, RwLock},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderValue};
use moka::sync::Cache;
use oss_callback::{KeyStore, PublicKey};

use crate::{
    OURS, Result, callback,
    measure::{Way, at_once},
};

const MOKA: &str = "moka";
const RW_LOCK: &str = "HashMap in RwLock";

const HEADER: &str = "x-oss-pub-key-url";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub fn ways() -> Result<Vec<Way>> {
    let known = callback::official().headers;
    let mut foreign = known.clone();
    let url = BASE64_STANDARD.encode("https://evil.test/key.pem");
    foreign.insert(HEADER, HeaderValue::from_str(&url)?);

    let url = String::from_utf8(BASE64_STANDARD.decode(&known[HEADER])?)?;
    let key = PublicKey::from_pem(&callback::key_pem())?;
    let ours = KeyStore::builder().pin_key(&url, key.clone()).build()?;
    let cache = Cache::builder()
        .max_capacity(1000)
        .time_to_live(DAY)
        .build();
    cache.insert(url.clone(), key.clone());
    let map = Arc::new(RwLock::new(HashMap::from([(url, key)])));

    let resolve = move |headers: &HeaderMap| at_once(ours.resolve(headers))?.ok();
    let in_moka = move |headers: &HeaderMap| by_hand(headers, |url| cache.get(url));
    let in_map =
        move |headers: &HeaderMap| by_hand(headers, |url| map.read().ok()?.get(url).cloned());
    assert!(resolve(&known).is_some() && resolve(&foreign).is_none());
    assert!(in_moka(&known).is_some() && in_moka(&foreign).is_none());
    assert!(in_map(&known).is_some() && in_map(&foreign).is_none());

    let headers = || Arc::new(known.clone());
    let (for_ours, for_moka, for_map) = (headers(), headers(), headers());
    Ok(vec![
        Way::new(OURS, move || resolve(&for_ours)),
        Way::new(MOKA, move || in_moka(&for_moka)),
        Way::new(RW_LOCK, move || in_map(&for_map)),
    ])
}

fn by_hand(
    headers: &HeaderMap,
    look_up: impl FnOnce(&str) -> Option<PublicKey>,
) -> Option<PublicKey> {
    let url = BASE64_STANDARD.decode(headers.get(HEADER)?).ok()?;
    look_up(str::from_utf8(&url).ok()?)
}
