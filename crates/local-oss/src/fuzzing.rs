//! For the fuzz targets alone: no other build has this module.

use std::{ops::RangeInclusive, time::SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::{
    address,
    auth::{self, Signed, policy},
    config::Config,
    part_list,
    query::Query,
    service::read_pieces,
};

/// The fields and the file of a form with the boundary `b`, or the code of its refusal.
pub fn form(pieces: Vec<Bytes>) -> Result<(Vec<(String, String)>, Vec<u8>), &'static str> {
    read_pieces(pieces)
}

/// The sizes that a policy allows to a form with these fields, or the code of its refusal. Nobody has
/// to sign it.
pub fn policy(
    fields: &[(String, String)],
    bucket: &str,
) -> Result<RangeInclusive<u64>, &'static str> {
    struct Pairs<'a>(&'a [(String, String)]);
    impl policy::Fields for Pairs<'_> {
        fn get(&self, name: &str) -> Option<&str> {
            self.0
                .iter()
                .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(&**value))
        }
    }
    let config = Config {
        open: true,
        any_date: true,
        ..Config::default()
    };
    policy::judge(&config, &Pairs(fields), bucket, SystemTime::UNIX_EPOCH)
        .map(|demand| demand.size)
        .map_err(|error| error.code)
}

/// Whether a request is let in by a server that knows `credentials` alone, at whatever date.
pub fn is_authorized(
    credentials: crate::Credentials,
    method: &Method,
    host: &str,
    path_and_query: (&str, Option<&str>),
    headers: &HeaderMap,
) -> bool {
    let config = Config {
        credentials: vec![credentials],
        any_date: true,
        ..Config::default()
    };
    let (path, query) = path_and_query;
    let query = Query::parse(query);
    let request = Signed {
        method,
        headers,
        query: &query,
    };
    address::candidates(host, path, None).is_ok_and(|addresses| {
        auth::authorize(&config, request, addresses, SystemTime::UNIX_EPOCH).is_ok()
    })
}

/// Number and ETag of the parts that a document lists.
pub fn parts(document: &[u8]) -> Option<Vec<(u32, String)>> {
    let parts = part_list::read_parts(document).ok()?;
    Some(
        parts
            .into_iter()
            .map(|part| (part.number, part.etag))
            .collect(),
    )
}

/// Buckets and keys that a path may mean, without those that the service would refuse.
pub fn addresses(host: &str, path: &str) -> Vec<(String, String)> {
    address::candidates(host, path, Some("domain-bucket"))
        .unwrap_or_default()
        .into_iter()
        .filter_map(|address| Some((address.bucket?, address.key?)))
        .filter(|(bucket, key)| address::is_bucket_name(bucket) && address::check_key(key).is_ok())
        .collect()
}
