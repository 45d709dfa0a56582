//! Targets that a request itself still carries: in headers that proxies add, or in its query.
//!
//! A header that a client can send proves nothing. Here it is a suspicion like any other, and the hash
//! decides.

use std::ops::ControlFlow;

use percent_encoding::percent_decode_str;

use super::{CapturedRequest, capture::split_target, paths::merged};

/// Headers in which proxies leave the target as they received it, before those of other names.
const ORIGINAL_TARGET: [&str; 9] = [
    "x-original-uri",
    "x-forwarded-uri",
    "x-rewrite-url",
    "x-original-url",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
    "x-request-uri",
    "x-replaced-path",
    "x-original-target",
];

/// Headers in which they leave what they cut off.
const PREFIX: [&str; 6] = [
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-script-name",
    "x-ingress-path",
    "x-envoy-original-prefix",
    "x-stage",
];

/// Delimiters of a path at which its query may begin.
const MAX_DELIMITERS: usize = 8;

/// Values and their lengths beyond these are not read.
const MAX_VALUES: usize = 64;
const MAX_VALUE_LEN: usize = 8 * 1024;

/// Targets that headers or parameters of the query name.
pub(super) fn targets(
    request: &CapturedRequest,
    path: &str,
    query: Option<&str>,
    visit: &mut dyn FnMut(&str, Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let known = ORIGINAL_TARGET
        .iter()
        .filter_map(|name| request.header(name));
    let others = request.headers().iter().filter_map(|(name, value)| {
        let is_known = ORIGINAL_TARGET.contains(&name.as_str());
        value.to_str().ok().filter(|_| !is_known)
    });
    for value in known.chain(others).take(MAX_VALUES) {
        if value.len() > MAX_VALUE_LEN {
            continue;
        }
        for word in value.split([' ', ';', ',']) {
            let word = word.split_once("=/").map_or(word, |(_, rest)| {
                // `Forwarded: path=/api`, where the slash belongs to the value.
                &word[word.len() - rest.len() - 1..]
            });
            let word = word.trim_matches('"');
            if !word.starts_with('/') && !word.contains("://") {
                continue;
            }
            let Some((named, named_query)) = split_target(word) else {
                continue;
            };
            visit(&named, named_query.as_deref())?;
            if named_query.is_none() {
                visit(&named, query)?;
            } else {
                visit(path, named_query.as_deref())?;
            }
        }
    }
    for (name, value) in request.headers() {
        if !name.as_str().contains("query") {
            continue;
        }
        if let Some(named) = value
            .to_str()
            .ok()
            .filter(|text| text.len() <= MAX_VALUE_LEN)
        {
            visit(path, Some(named.trim_start_matches('?')))?;
        }
    }
    in_query(query.unwrap_or_default(), visit)?;
    in_path(path, visit)
}

/// The whole target as one parameter: `/index.php?s=/oss/cb&a=1`, `/?proxy=oss/cb`.
fn in_query(
    query: &str,
    visit: &mut dyn FnMut(&str, Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (index, part) in query.split('&').take(MAX_VALUES).enumerate() {
        let value = part.split_once('=').map_or(part, |(_, value)| value);
        if value.is_empty() || query.len() > MAX_VALUE_LEN {
            continue;
        }
        let rest: Vec<&str> = query
            .split('&')
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, part)| part)
            .collect();
        let rest = (!rest.is_empty()).then(|| rest.join("&"));
        let decoded = percent_decode_str(value).decode_utf8_lossy();
        for path in [value, decoded.as_ref()] {
            let rooted = format!("/{}", path.trim_start_matches('/'));
            match rooted.split_once('?') {
                Some((path, query)) => visit(path, Some(query))?,
                None => visit(&rooted, rest.as_deref())?,
            }
        }
    }
    ControlFlow::Continue(())
}

/// A query whose `?` was encoded into the path, or became another delimiter.
fn in_path(
    path: &str,
    visit: &mut dyn FnMut(&str, Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for escape in ["%3F", "%3f", "%253F", "%253f"] {
        let Some((path, query)) = path.split_once(escape) else {
            continue;
        };
        visit(path, Some(query))?;
        if let Ok(decoded) = percent_decode_str(query).decode_utf8() {
            visit(path, Some(&decoded))?;
        }
    }
    for (at, _) in path.match_indices(['&', ';']).take(MAX_DELIMITERS) {
        visit(&path[..at], Some(&path[at + 1..]))?;
    }
    ControlFlow::Continue(())
}

/// The prefixes that the request's headers name.
pub(super) fn prefixes(request: &CapturedRequest) -> Vec<String> {
    let known = PREFIX.iter().filter_map(|name| request.header(name));
    let others = request.headers().iter().filter_map(|(name, value)| {
        let name = name.as_str();
        let names_one = [
            "prefix",
            "base-path",
            "basepath",
            "context-path",
            "script-name",
        ]
        .iter()
        .any(|word| name.contains(word));
        value.to_str().ok().filter(|_| names_one)
    });
    let mut prefixes: Vec<String> = known
        .chain(others)
        .take(MAX_VALUES)
        .filter(|value| value.len() <= MAX_VALUE_LEN)
        .flat_map(|value| value.split(','))
        .map(|prefix| format!("/{}", prefix.trim().trim_matches('/')))
        .collect();
    let forwarded = request.header("forwarded").unwrap_or_default();
    for parameter in forwarded.split([';', ',']).take(MAX_VALUES) {
        if let Some(("prefix" | "path", value)) = parameter.trim().split_once('=') {
            prefixes.push(format!("/{}", value.trim_matches(['"', '/', ' '])));
        }
    }
    // A header may be read twice, by its name and by a word in it.
    let mut distinct: Vec<String> = Vec::new();
    for prefix in prefixes.iter().map(|prefix| merged(prefix)) {
        if prefix.len() > 1 && !distinct.contains(&prefix) {
            distinct.push(prefix);
        }
    }
    // What several proxies cut off, one after the other, stands in the order in which they did.
    if distinct.len() > 1 {
        distinct.push(distinct.concat());
    }
    distinct
}
