//! Queries from which the received one may have been made.

use super::{
    Cause,
    encoding::{Style, pairs, with_hex_case},
    order::permutations,
};

/// The queries that one step makes, the likelier first.
pub(super) fn candidates(query: &str) -> Vec<(Cause, Option<String>)> {
    let mut found: Vec<(Cause, Option<String>)> = Vec::new();
    let mut add = |cause, query: String| found.push((cause, Some(query)));

    for upper in [true, false] {
        add(Cause::QueryReencoded, with_hex_case(query, upper));
    }
    add(Cause::QueryReencoded, query.replace('+', "%20"));
    add(Cause::QueryReencoded, query.replace("%20", "+"));
    // Parsers write `a=` for `a`, and the other way round.
    add(Cause::QueryReencoded, without_empty_values(query));
    add(Cause::QueryReencoded, with_empty_values(query));
    add(Cause::QueryReencoded, query.replace('&', ";"));
    let parts: Vec<&str> = query.split('&').collect();
    // Added behind, in front, or anywhere.
    for kept in (1..parts.len()).rev() {
        add(Cause::QueryAdded, parts[..kept].join("&"));
        add(Cause::QueryAdded, parts[parts.len() - kept..].join("&"));
    }
    for left_out in 0..parts.len() {
        let mut rest = parts.clone();
        rest.remove(left_out);
        if !rest.is_empty() {
            add(Cause::QueryAdded, rest.join("&"));
        }
    }
    let decoded = pairs(query);
    for style in Style::all(&decoded) {
        if let Ok(query) = String::from_utf8(style.write(&decoded)) {
            add(Cause::QueryReencoded, query);
        }
    }
    found.push((Cause::QueryAdded, None));
    found
}

/// Every other order of the parameters, until one is found.
pub(super) fn reordered<R>(query: &str, mut visit: impl FnMut(&str) -> Option<R>) -> Option<R> {
    let parts: Vec<&str> = query.split('&').collect();
    permutations(&parts, |parts| visit(&parts.join("&")))
}

fn without_empty_values(query: &str) -> String {
    let parts = query
        .split('&')
        .map(|part| part.strip_suffix('=').unwrap_or(part));
    parts.collect::<Vec<_>>().join("&")
}

fn with_empty_values(query: &str) -> String {
    let parts = query.split('&').map(|part| match part.contains('=') {
        true => part.to_owned(),
        false => format!("{part}="),
    });
    parts.collect::<Vec<_>>().join("&")
}
