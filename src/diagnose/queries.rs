//! Queries from which the received one may have been made.

use std::ops::ControlFlow;

use super::{
    encoding::{Style, pairs, readings, with_hex_case},
    order::{canonical, permutations},
};

/// Parameters beyond these are not left out one by one.
const MAX_PARTS: usize = 32;

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
    ] {
        visit(Some(&text))?;
    }
    let parts: Vec<&str> = query.split('&').collect();
    added(&parts, visit)?;
    visit(None)?;
    visit(Some(""))?;
    // Parameters that occurred twice.
    for (at, part) in parts.iter().enumerate().take(MAX_PARTS) {
        let mut parts = parts.clone();
        parts.insert(at, part);
        visit(Some(&parts.join("&")))?;
    }
    let decoded = pairs(query.as_bytes());
    let mut as_text = |text: Vec<u8>| match String::from_utf8(text) {
        Ok(query) => visit(Some(&query)),
        Err(_) => ControlFlow::Continue(()),
    };
    for style in Style::known(&decoded) {
        as_text(style.write(&decoded))?;
    }
    for (_, pairs) in readings(query.as_bytes()) {
        for style in Style::known(&pairs) {
            as_text(style.write(&pairs))?;
        }
    }
    Style::all(&decoded, &mut |style| as_text(style.write(&decoded)))
}

/// What was added behind, in front, or anywhere.
fn added(
    parts: &[&str],
    visit: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let most = parts.len().min(MAX_PARTS);
    for added in 1..most {
        visit(Some(&parts[..parts.len() - added].join("&")))?;
        visit(Some(&parts[added..].join("&")))?;
    }
    for from in 0..most {
        for to in from + 1..=most {
            if to - from < parts.len() {
                let rest = [&parts[..from], &parts[to..]].concat();
                visit(Some(&rest.join("&")))?;
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
        let mut as_text = |pairs: &[_]| match String::from_utf8(style.write(pairs)) {
            Ok(query) => visit(Some(&query)),
            Err(_) => ControlFlow::Continue(()),
        };
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
