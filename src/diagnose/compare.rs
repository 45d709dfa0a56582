//! What the difference between a target that was signed and the one that arrived is called.
//!
//! 1. A change is named by comparing the two, not by the way in which it was found.
//! 2. At most two names are given to the path, to the query and to the body each.
//! 3. Both halves are compared as written first, and then with what encoders are free to choose taken
//!    out: escapes, repeated slashes, the slash at the end.
//! 4. A body that a serializer might have written keeps a byte order mark or a line end for its cause, if
//!    nothing else of it changed.

use std::cmp::Ordering;

use percent_encoding::percent_decode;

use super::{Cause, charsets::converted};

/// The names of the changes, the weightier first.
pub(super) type Causes = [Option<Cause>; 2];

/// The two first causes of several.
pub(super) fn first_two(causes: impl IntoIterator<Item = Cause>) -> Causes {
    let mut causes = causes.into_iter();
    [causes.next(), causes.next()]
}

/// A path and a query, without its `?`.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) query: Option<&'a str>,
}

/// Names the changes of a target.
pub(super) fn name_changes(signed: Target<'_>, received: Target<'_>) -> Vec<Cause> {
    if let (Some(query), None) = (signed.query, received.query) {
        let joined = [decoded(signed.path), b"?".to_vec(), query.into()].concat();
        if decoded(received.path) == joined || plain(&decoded(received.path)) == plain(&joined) {
            return vec![Cause::PathReencoded];
        }
        // Behind another delimiter: `/cb&a=1`.
        let is_behind = |rest: &str| rest.strip_prefix(['&', ';']) == Some(query);
        if received
            .path
            .strip_prefix(signed.path)
            .is_some_and(is_behind)
        {
            return vec![Cause::PathRewritten];
        }
    }
    // The path became a parameter: `/index.php?s=/oss/cb`.
    let name = bare(signed.path.as_bytes());
    let is_the_path = |part: &str| {
        let value = part.split_once('=').map_or(part, |(_, value)| value);
        let value = bare(&[b"/", value.as_bytes()].concat());
        value.len() > 1 && value == name
    };
    let moved = |query: &str| query.split('&').any(is_the_path);
    if decoded(signed.path) != decoded(received.path) && received.query.is_some_and(moved) {
        return vec![Cause::PathRewritten];
    }
    let mut causes = path_changes(signed.path, received.path);
    causes.extend(query_changes(signed.query, received.query));
    causes
}

/// Names the changes of a body that was found as one that `causes` made of the signed one.
pub(super) fn name_body_changes(causes: Causes, signed: &[u8], received: &[u8]) -> Causes {
    let written = match causes {
        [
            Some(written @ (Cause::BodyReserialized | Cause::BodyConverted)),
            None,
        ] => written,
        _ => return causes,
    };
    let plain_signed = without_bom(signed);
    let plain_received = without_bom(received);
    let marked = plain_signed.len() == signed.len();
    let mark = (marked != (plain_received.len() == received.len())).then_some(Cause::BodyBom);
    let other = match plain_signed.trim_ascii() == plain_received.trim_ascii() {
        true => (plain_signed != plain_received).then_some(Cause::BodyNewline),
        false => Some(written),
    };
    first_two(mark.into_iter().chain(other))
}

fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

fn path_changes(signed: &str, received: &str) -> Vec<Cause> {
    let (raw_signed, raw_received) = (decoded(signed), decoded(received));
    if raw_signed == raw_received {
        // No request line holds a blank, so that something decoded the path and wrote it so.
        let is_bare = received.contains(' ') && !signed.contains(' ');
        return is_bare.then_some(Cause::PathDecoded).into_iter().collect();
    }
    let (bare_signed, bare_received) = (bare(&raw_signed), bare(&raw_received));
    if bare_signed == bare_received {
        return spelling_changes(&raw_signed, &raw_received);
    }
    // What is left of a path that was cut off whole is `/`, with no slash of its own to compare.
    if bare_received.is_empty() {
        return vec![Cause::PathPrefixRemoved];
    }
    if let Some(prefix) = bare_signed.strip_suffix(bare_received.as_slice()) {
        let mut causes = vec![prefix_change(prefix, Cause::PathPrefixRemoved)];
        causes.extend(tail_changes(&raw_signed, &raw_received));
        return causes;
    }
    if let Some(prefix) = bare_received.strip_suffix(bare_signed.as_slice()) {
        let mut causes = vec![prefix_change(prefix, Cause::PathPrefixAdded)];
        if !bare_signed.is_empty() {
            causes.extend(tail_changes(&raw_received, &raw_signed));
        }
        return causes;
    }
    let mut others = converted(&raw_received).into_iter();
    vec![match others.any(|(_, other)| other == raw_signed) {
        true => Cause::PathReencoded,
        false => Cause::PathRewritten,
    }]
}

/// What a prefix that came or went is called. Segments that lead nowhere are another spelling of what
/// stands behind them, and no prefix: `/./cb`, `/x/../cb`.
fn prefix_change(prefix: &[u8], named: Cause) -> Cause {
    let mut depth = 0_usize;
    for segment in prefix.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    match depth {
        0 => Cause::PathRewritten,
        _ => named,
    }
}

/// The names of changes that leave the words of a path as they are.
fn spelling_changes(signed: &[u8], received: &[u8]) -> Vec<Cause> {
    let mut causes = Vec::new();
    let (plain_signed, plain_received) = (plain(signed), plain(received));
    let trailing = |path: &[u8]| path.len() > 1 && path.ends_with(b"/");
    let (merged_signed, merged_received) = (merged(&plain_signed), merged(&plain_received));
    let slashes = |path: &[u8]| path.windows(2).filter(|pair| *pair == b"//").count();
    let (in_signed, in_received) = (slashes(&plain_signed), slashes(&plain_received));
    // Those that came at the end are slashes at the end.
    let added_at_the_end = in_signed < in_received
        && slashes(without_end(&plain_signed)) == slashes(without_end(&plain_received));
    match in_signed.cmp(&in_received) {
        Ordering::Greater => causes.push(Cause::SlashesMerged),
        Ordering::Less if !added_at_the_end => causes.push(Cause::PathRewritten),
        Ordering::Less | Ordering::Equal => {}
    }
    if added_at_the_end || trailing(&merged_signed) != trailing(&merged_received) {
        causes.push(Cause::TrailingSlash);
    }
    let escapes = |path: &[u8]| path.iter().filter(|byte| **byte == b'%').count();
    if merged(without_end(signed)) != merged(without_end(received)) {
        causes.push(match escapes(signed) > escapes(received) {
            true => Cause::PathDecoded,
            false => Cause::PathReencoded,
        });
    }
    if causes.is_empty() {
        causes.push(Cause::PathRewritten);
    }
    causes
}

/// The names of what changed behind a prefix that came or went.
fn tail_changes(longer: &[u8], shorter: &[u8]) -> Option<Cause> {
    // `//cb` is what is left of `/api/cb` if a slash replaces `/api`.
    let shorter = match shorter {
        [b'/', b'/', ..] => &shorter[1..],
        _ => shorter,
    };
    if longer.ends_with(shorter) {
        return None;
    }
    let trailing = |path: &[u8]| path.ends_with(b"/");
    if trailing(longer) != trailing(shorter) {
        return Some(Cause::TrailingSlash);
    }
    match plain(longer).ends_with(&plain(shorter)) {
        true => Some(Cause::PathReencoded),
        false => Some(Cause::SlashesMerged),
    }
}

fn query_changes(signed: Option<&str>, received: Option<&str>) -> Vec<Cause> {
    let (signed, received) = match (signed, received) {
        (signed, received) if signed == received => return Vec::new(),
        (Some(_), None | Some("")) => return vec![Cause::QueryLost],
        (None | Some(""), Some(_)) => return vec![Cause::QueryAdded],
        (Some(signed), Some(received)) => (signed, received),
        (None, None) => return Vec::new(),
    };
    let pairs = |query: &str| -> Vec<String> {
        // A page that was escaped as HTML has `&amp;` between two parameters.
        let query = query.replace("&amp;", "&");
        let parts = query.split(['&', ';']).filter(|part| !part.is_empty());
        let plain = parts.map(|part| {
            let part = plain(part.as_bytes());
            String::from_utf8_lossy(part.strip_suffix(b"=").unwrap_or(&part)).into_owned()
        });
        plain.collect()
    };
    let (signed_pairs, received_pairs) = (pairs(signed), pairs(received));
    let is_encoding =
        signed_pairs == received_pairs || plain(signed.as_bytes()) == plain(received.as_bytes());
    if is_encoding {
        return vec![Cause::QueryReencoded];
    }
    let parts = |query: &str| query.split('&').map(ToOwned::to_owned).collect();
    if let Some(causes) = part_changes(parts(signed), parts(received)) {
        return causes;
    }
    let mut causes = part_changes(signed_pairs, received_pairs).unwrap_or_default();
    let at = match causes.first() {
        Some(Cause::QueryReordered) => 0,
        _ => causes.len(),
    };
    causes.insert(at, Cause::QueryReencoded);
    causes
}

/// Names changes between two lists that have parts in common.
fn part_changes(signed: Vec<String>, received: Vec<String>) -> Option<Vec<Cause>> {
    let sorted = |parts: &[String]| {
        let mut parts = parts.to_vec();
        parts.sort_unstable();
        parts
    };
    if sorted(&signed) == sorted(&received) {
        return Some(vec![Cause::QueryReordered]);
    }
    let without = |parts: &[String], others: &[String]| {
        let mut left = parts.to_vec();
        for other in others {
            if let Some(at) = left.iter().position(|part| part == other) {
                left.remove(at);
            }
        }
        left.len()
    };
    // Quadratic, and queries with more parameters than these are rare.
    if signed.len().max(received.len()) > 256 {
        return None;
    }
    let in_order = |all: &[String], some: &[String]| {
        let mut rest = all.iter();
        some.iter().all(|part| rest.any(|other| other == part))
    };
    let (cause, kept_order) = match (without(&signed, &received), without(&received, &signed)) {
        (0, _) => (Cause::QueryAdded, in_order(&received, &signed)),
        (_, 0) => (Cause::QueryLost, in_order(&signed, &received)),
        _ => return None,
    };
    let mut causes = vec![cause];
    if !kept_order {
        causes.push(Cause::QueryReordered);
    }
    Some(causes)
}

fn decoded(path: &str) -> Vec<u8> {
    percent_decode(path.as_bytes()).collect()
}

/// Without escapes, however often they were escaped, and with one spelling of a space.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    // Each round makes it shorter, and three are more than any chain of proxies makes.
    for _ in 0..3 {
        text = percent_decode(&text).collect();
    }
    for byte in &mut text {
        if *byte == b'+' {
            *byte = b' ';
        }
    }
    text
}

/// Without the slashes at the end.
fn without_end(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/');
    &path[..end.map_or(0, |last| last + 1)]
}

fn merged(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    path.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    path
}

/// The words of a path: no escapes, no repeated slashes, none at the end.
fn bare(path: &[u8]) -> Vec<u8> {
    let mut path = merged(&plain(path));
    if path.ends_with(b"/") {
        path.pop();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{Cause::*, *};

    fn names(signed: &str, received: &str) -> Vec<Cause> {
        let target = |text: &'static str| match text.split_once('?') {
            Some((path, query)) => Target {
                path,
                query: Some(query),
            },
            None => Target {
                path: text,
                query: None,
            },
        };
        let leak = |text: &str| -> &'static str { text.to_owned().leak() };
        name_changes(target(leak(signed)), target(leak(received)))
    }

    #[test]
    fn each_change_has_its_name() {
        let rows: &[(&str, &str, &[Cause])] = &[
            ("/cb", "/cb", &[]),
            ("/a%41", "/aA", &[]),
            ("/a%20b", "/a b", &[PathDecoded]),
            ("/a b", "/a%20b", &[]),
            ("/api/cb", "/cb", &[PathPrefixRemoved]),
            ("/api/cb", "//cb", &[PathPrefixRemoved]),
            ("/api/cb", "/", &[PathPrefixRemoved]),
            ("/api/cb/", "/cb", &[PathPrefixRemoved, TrailingSlash]),
            ("/api/a//b", "/a/b", &[PathPrefixRemoved, SlashesMerged]),
            ("/cb", "/x/cb", &[PathPrefixAdded]),
            ("/", "/x", &[PathPrefixAdded]),
            ("/", "/x/y", &[PathPrefixAdded]),
            ("/cb", "/x/./cb", &[PathPrefixAdded]),
            ("/cb", "//cb", &[PathRewritten]),
            ("/index.php", "//index.php", &[PathRewritten]),
            ("/cb", "/./cb", &[PathRewritten]),
            ("/cb", "/x/../cb", &[PathRewritten]),
            ("/cb", "/../cb", &[PathRewritten]),
            ("/cb", "/./cb/", &[PathRewritten, TrailingSlash]),
            ("/./cb", "/cb", &[PathRewritten]),
            ("/x/../cb", "/cb", &[PathRewritten]),
            ("/cb", "/x/cb/", &[PathPrefixAdded, TrailingSlash]),
            ("/xcb", "/cb", &[PathRewritten]),
            ("/a/b", "/a//b", &[PathRewritten]),
            ("/cb", "/cb/", &[TrailingSlash]),
            ("/cb/", "/cb//", &[TrailingSlash]),
            ("/cb", "/cb//", &[TrailingSlash]),
            ("/", "//", &[TrailingSlash]),
            ("/cb/", "//cb/", &[PathRewritten]),
            ("/cb/", "//cb", &[PathRewritten, TrailingSlash]),
            ("/a//b/", "/a/b", &[SlashesMerged, TrailingSlash]),
            ("/a%2541", "/a%41", &[PathDecoded]),
            ("/a//b%2541", "/a/b%2541", &[SlashesMerged]),
            ("/a//b%2541", "/a/b%41", &[SlashesMerged, PathDecoded]),
            ("/b%2541", "/b%2541/", &[TrailingSlash]),
            ("/a%41", "/a%2541", &[PathReencoded]),
            ("/a%2Bb", "/a%20b", &[PathReencoded]),
            ("/cb?a=1", "/cb%3Fa=1", &[PathReencoded]),
            ("/a/cb", "/b/cb", &[PathRewritten]),
            ("/a/cb", "/index.php?s=/a/cb", &[PathRewritten]),
            ("/a/cb?x=1", "/?proxy=a%2Fcb&x=1", &[PathRewritten]),
            ("/cb?a=1", "/cb", &[QueryLost]),
            ("/cb", "/cb?a=1", &[QueryAdded]),
            ("/cb?a=1&b=2", "/cb?b=2", &[QueryLost]),
            ("/cb?b=2", "/cb?a=1&b=2", &[QueryAdded]),
            ("/cb?a=1&b=2", "/cb?b=2&a=1", &[QueryReordered]),
            (
                "/cb?a=1&b=%2F",
                "/cb?b=/&a=1",
                &[QueryReencoded, QueryReordered],
            ),
            ("/cb?a=x%20y", "/cb?a=x+y", &[QueryReencoded]),
            ("/cb?a", "/cb?a=", &[QueryReencoded]),
            ("/cb?id=1&x=2", "/cb?id=1&amp;x=2", &[QueryReencoded]),
            ("/cb?id=1&amp;x=2", "/cb?id=1&x=2", &[QueryReencoded]),
            (
                "/cb?a=1&b=2",
                "/cb?a=1&amp;b=2&amp;u=3",
                &[QueryAdded, QueryReencoded],
            ),
            ("/cb?a=1", "/cb?a=%31&u=2", &[QueryAdded, QueryReencoded]),
            ("/p/cb?a=1", "/cb?a=1&u=2", &[PathPrefixRemoved, QueryAdded]),
        ];
        for (signed, received, causes) in rows {
            assert_eq!(&names(signed, received), causes, "{signed} {received}");
        }
    }
}
