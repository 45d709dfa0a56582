//! Queries from which the received one may have been made.

use std::ops::ControlFlow;

use super::{
    encoding::{Style, mixed, pairs, readings, with_hex_case},
    order::{canonical, permutations},
};

/// Parameters beyond these are not left out one by one.
const MAX_PARTS: usize = 32;

/// Queries with more parameters are not written again without some of them.
const MAX_WRITTEN_RESTS: usize = 8;

/// What is left without some of them is put in every order if it has no more than these.
const MAX_REORDERED_REST: usize = 3;

/// Values of one parameter, and parameters between them.
const MAX_JOINED: usize = 8;

/// The queries that one step makes, the likelier first.
pub(super) fn changed(
    query: Option<&str>,
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(query) = query else {
        // An empty query is signed with its `?`, or without it.
        return visit(Some(""));
    };
    for upper in [true, false] {
        visit(Some(&with_hex_case(query, upper)))?;
    }
    visit(Some(&query.replace('+', "%20")))?;
    visit(Some(&query.replace("%20", "+")))?;
    visit(Some(&query.replace("%25", "%")))?;
    visit(Some(&query.replace('%', "%25")))?;
    visit(Some(&query.replace("%2525", "%")))?;
    // Parsers write `a=` for `a`, and the other way round, and drop what is empty.
    visit(Some(&without_empty_values(query)))?;
    visit(Some(&with_empty_values(query)))?;
    visit(Some(&query.replace('&', ";")))?;
    visit(Some(&query.replace(';', "&")))?;
    visit(Some(&query.replace("&amp;", "&")))?;
    visit(Some(&query.replace("&&", "&")))?;
    for text in [
        format!("{query}&"),
        format!("&{query}"),
        format!("{query}="),
        format!("?{query}"),
        query.trim_start_matches('?').to_owned(),
    ] {
        visit(Some(&text))?;
    }
    // A second `?` was text, and became a separator.
    for (at, _) in query.match_indices('&').take(MAX_PARTS) {
        visit(Some(&format!("{}?{}", &query[..at], &query[at + 1..])))?;
    }
    let parts: Vec<&str> = query.split('&').collect();
    joined(&parts, visit)?;
    added(&parts, &mut |parts| visit(Some(&parts.join("&"))))?;
    // The rest changed places, too.
    if parts.len() <= MAX_WRITTEN_RESTS {
        added(&parts, &mut |rest| match rest.len() <= MAX_REORDERED_REST {
            true => permutations(rest, &mut |rest| visit(Some(&rest.join("&")))),
            false => ControlFlow::Continue(()),
        })?;
    }
    visit(None)?;
    visit(Some(""))?;
    // Parameters that occurred twice.
    for (at, part) in parts.iter().enumerate().take(MAX_PARTS) {
        let mut parts = parts.clone();
        parts.insert(at, part);
        visit(Some(&parts.join("&")))?;
    }
    let decoded = pairs(query.as_bytes());
    let mut as_text = |text| if_text(text, visit);
    for style in Style::known(&decoded) {
        as_text(style.write(&decoded))?;
    }
    for (_, pairs) in readings(query.as_bytes()) {
        for style in Style::known(&pairs) {
            as_text(style.write(&pairs))?;
        }
    }
    mixed(query.as_bytes(), &mut as_text)?;
    // Parameters were added, and the rest was written again.
    if decoded.len() <= MAX_WRITTEN_RESTS {
        added(&decoded, &mut |rest| {
            let mut styles = Style::distinct(rest, STYLES_IN_EACH_ORDER).into_iter();
            styles.try_for_each(|style| as_text(style.write(rest)))
        })?;
    }
    Style::all(&decoded, &mut |style| as_text(style.write(&decoded)))
}

/// The likeliest of them, for those who combine them with other changes: parameters that were added, another
/// order, and another encoding, alone or with that order.
pub(super) fn likely(
    query: Option<&str>,
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let Some(query) = query else {
        return visit(Some(""));
    };
    let parts: Vec<&str> = query.split('&').collect();
    for added in 1..parts.len().min(LIKELY_ADDED + 1) {
        visit(Some(&parts[..parts.len() - added].join("&")))?;
        visit(Some(&parts[added..].join("&")))?;
    }
    visit(None)?;
    visit(Some(""))?;
    for upper in [true, false] {
        visit(Some(&with_hex_case(query, upper)))?;
    }
    let plain = pairs(query.as_bytes());
    let mut as_text = |text| if_text(text, visit);
    for style in Style::distinct(&plain, LIKELY_STYLES) {
        as_text(style.write(&plain))?;
    }
    for (_, pairs) in readings(query.as_bytes()) {
        for style in Style::distinct(&pairs, 1) {
            as_text(style.write(&pairs))?;
        }
    }
    visit(Some(&without_empty_values(query)))?;
    visit(Some(&with_empty_values(query)))?;
    visit(Some(&query.replace("%25", "%")))?;
    visit(Some(&query.replace("&amp;", "&")))?;
    if parts.len() <= LIKELY_REORDERED {
        permutations(&parts, &mut |parts| visit(Some(&parts.join("&"))))?;
    }
    if parts.len() <= LIKELY_REORDERED_AND_WRITTEN {
        for style in Style::distinct(&plain, 2) {
            permutations(&plain, &mut |pairs| if_text(style.write(pairs), visit))?;
        }
    }
    // One parameter from among the others.
    for at in 1..parts.len().saturating_sub(1).min(MAX_PARTS) {
        visit(Some(&[&parts[..at], &parts[at + 1..]].concat().join("&")))?;
    }
    ControlFlow::Continue(())
}

/// A query is text.
fn if_text(
    query: Vec<u8>,
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match String::from_utf8(query) {
        Ok(query) => visit(Some(&query)),
        Err(_) => ControlFlow::Continue(()),
    }
}

/// Parameters that are taken from an end.
const LIKELY_ADDED: usize = 3;

/// The styles of known encoders that differ most.
const LIKELY_STYLES: usize = 6;

/// Parameters that are put in each order: 24 orders; and in another encoding as well: 6 orders.
const LIKELY_REORDERED: usize = 4;
const LIKELY_REORDERED_AND_WRITTEN: usize = 3;

/// A parameter that occurred several times, whose values were joined by commas.
fn joined(
    parts: &[&str],
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for (at, part) in parts.iter().enumerate().take(MAX_PARTS) {
        let Some((name, value)) = part.split_once('=') else {
            continue;
        };
        let value = value.replace("%2C", ",").replace("%2c", ",");
        let values: Vec<String> = value
            .split(',')
            .map(|value| format!("{name}={}", value.trim_start_matches('+')))
            .collect();
        if !(2..=MAX_JOINED).contains(&values.len()) {
            continue;
        }
        let (first, others) = (&values[0], values[1..].join("&"));
        let (before, behind) = (&parts[..at], &parts[at + 1..]);
        // The others stood behind the first, or behind any later parameter.
        for between in 0..=behind.len().min(MAX_JOINED) {
            let all = [
                before,
                &[first.as_str()],
                &behind[..between],
                &[others.as_str()],
                &behind[between..],
            ];
            visit(Some(&all.concat().join("&")))?;
        }
    }
    ControlFlow::Continue(())
}

/// What is left without some parts: the last, the first, or any that stand together.
pub(super) fn added<T: Clone>(
    parts: &[T],
    visit: &mut dyn FnMut(&[T]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let most = parts.len().min(MAX_PARTS);
    for added in 1..most {
        visit(&parts[..parts.len() - added])?;
        visit(&parts[added..])?;
    }
    for from in 0..most {
        for to in from + 1..=most {
            if to - from < parts.len() {
                visit(&[&parts[..from], &parts[to..]].concat())?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// Every other order of the parameters, as they are and in the ways of known encoders.
pub(super) fn reordered(
    query: &str,
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let parts: Vec<&str> = query.split('&').collect();
    permutations(&parts, &mut |parts| visit(Some(&parts.join("&"))))?;
    let decoded = pairs(query.as_bytes());
    for style in Style::distinct(&decoded, STYLES_IN_EACH_ORDER) {
        let mut as_text = |pairs: &[_]| if_text(style.write(pairs), visit);
        canonical(&decoded, &mut as_text)?;
        permutations(&decoded, &mut as_text)?;
    }
    ControlFlow::Continue(())
}

/// The styles in which each order is written.
const STYLES_IN_EACH_ORDER: usize = 3;

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
