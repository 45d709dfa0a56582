//! Paths from which the received one may have been made.

use percent_encoding::percent_decode_str;

use super::{CapturedRequest, Cause, capture::split_target};

/// Headers in which proxies leave the target as they received it.
const ORIGINAL_TARGET: [&str; 6] = [
    "x-original-uri",
    "x-forwarded-uri",
    "x-rewrite-url",
    "x-original-url",
    "x-envoy-original-path",
    "x-waws-unencoded-url",
];

/// Headers in which they leave what they cut off.
const PREFIX: [&str; 4] = [
    "x-forwarded-prefix",
    "x-forwarded-path",
    "x-script-name",
    "x-stage",
];

/// First segments that gateways, frameworks and people put in front of an application.
const WORDS: &[&str] = &[
    "api",
    "apis",
    "v1",
    "v2",
    "v3",
    "v4",
    "app",
    "apps",
    "oss",
    "callback",
    "callbacks",
    "prod",
    "Prod",
    "production",
    "dev",
    "Dev",
    "stage",
    "Stage",
    "staging",
    "test",
    "uat",
    "sit",
    "pre",
    "default",
    "$default",
    "live",
    "beta",
    "backend",
    "server",
    "service",
    "services",
    "svc",
    "gateway",
    "gw",
    "proxy",
    "public",
    "private",
    "internal",
    "external",
    "open",
    "openapi",
    "rest",
    "rpc",
    "web",
    "www",
    "site",
    "admin",
    "manage",
    "system",
    "user",
    "users",
    "common",
    "core",
    "base",
    "main",
    "biz",
    "platform",
    "portal",
    "console",
    "upload",
    "uploads",
    "file",
    "files",
    "media",
    "image",
    "images",
    "storage",
    "resource",
    "assets",
    "static",
    "cdn",
    "cloud",
    "aliyun",
    "alioss",
    "aliyun-oss",
    "hook",
    "hooks",
    "webhook",
    "webhooks",
    "notify",
    "event",
    "events",
    "third",
    "third-party",
    "index.php",
    "app.php",
    "prod-api",
    "dev-api",
    "stage-api",
    "test-api",
    "web-api",
    "api-gateway",
    "mobile",
    "client",
    "wx",
    "miniapp",
    "h5",
    "pc",
    "zh",
    "en",
    "cn",
];

/// Targets that a header of the request names.
pub(super) fn named_by_headers(
    request: &CapturedRequest,
    path: &str,
    query: Option<&str>,
) -> Vec<(Cause, String, Option<String>)> {
    let mut found = Vec::new();
    let mut add = |target: &str| {
        if let Some((original, original_query)) = split_target(target) {
            let cause = cause_of(&original, path, original_query.as_deref(), query);
            if original_query.is_none() {
                found.push((cause, original.clone(), query.map(ToOwned::to_owned)));
            }
            found.push((cause, original, original_query));
        }
    };
    for name in ORIGINAL_TARGET {
        request.header(name).into_iter().for_each(&mut add);
    }
    let forwarded = request.header("forwarded").unwrap_or_default();
    for parameter in forwarded.split([';', ',']) {
        if let Some((_, value)) = parameter.split_once('=') {
            let value = value.trim().trim_matches('"');
            if value.starts_with('/') {
                add(value);
            }
        }
    }
    found
}

/// What a difference between two targets is called.
fn cause_of(signed: &str, path: &str, signed_query: Option<&str>, query: Option<&str>) -> Cause {
    let trim = |path: &str| path.trim_end_matches('/').to_owned();
    if signed == path {
        return match (signed_query, query) {
            (Some(_), None) => Cause::QueryLost,
            (None, Some(_)) => Cause::QueryAdded,
            _ => Cause::QueryReencoded,
        };
    }
    if trim(signed) == trim(path) {
        Cause::TrailingSlash
    } else if signed.ends_with(path) && path != "/" {
        Cause::PathPrefixRemoved
    } else if path.ends_with(signed) {
        Cause::PathPrefixAdded
    } else {
        Cause::PathRewritten
    }
}

/// The prefixes that the request's headers name.
fn named_prefixes(request: &CapturedRequest) -> Vec<String> {
    let mut prefixes: Vec<String> = PREFIX
        .iter()
        .filter_map(|name| request.header(name))
        .flat_map(|value| value.split(','))
        .map(|prefix| format!("/{}", prefix.trim().trim_matches('/')))
        .collect();
    let forwarded = request.header("forwarded").unwrap_or_default();
    for parameter in forwarded.split([';', ',']) {
        if let Some(("prefix" | "path", value)) = parameter.trim().split_once('=') {
            prefixes.push(format!("/{}", value.trim_matches(['"', '/', ' '])));
        }
    }
    prefixes.retain(|prefix| prefix.len() > 1);
    prefixes
}

/// The paths that one step makes, the likelier first.
pub(super) fn candidates(request: &CapturedRequest, path: &str) -> Vec<(Cause, String)> {
    let mut found: Vec<(Cause, String)> = Vec::new();
    let mut add = |cause, path: String| found.push((cause, path));

    for prefix in named_prefixes(request) {
        add(Cause::PathPrefixRemoved, join(&prefix, path));
        if let Some(rest) = path.strip_prefix(&prefix) {
            add(Cause::PathPrefixAdded, rooted(rest));
        }
    }
    match path.strip_suffix('/') {
        Some(without) if !without.is_empty() => add(Cause::TrailingSlash, without.to_owned()),
        _ => add(Cause::TrailingSlash, format!("{path}/")),
    }
    for merged in unmerged(path) {
        add(Cause::SlashesMerged, merged);
    }
    for (cause, path) in encoded_otherwise(path) {
        add(cause, path);
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for dropped in 1..segments.len() {
        add(
            Cause::PathPrefixAdded,
            format!("/{}", segments[dropped..].join("/")),
        );
    }
    if segments.len() > 1 || !segments.concat().is_empty() {
        add(Cause::PathPrefixAdded, "/".to_owned());
    }
    // A stage or mount point that occurs twice: `/Prod/Prod/cb`.
    for from in 0..segments.len() {
        for to in from + 1..=segments.len() {
            let prefix = segments[from..to].join("/");
            if !prefix.is_empty() {
                add(Cause::PathPrefixRemoved, join(&format!("/{prefix}"), path));
            }
        }
    }
    for word in WORDS {
        add(Cause::PathPrefixRemoved, join(&format!("/{word}"), path));
    }
    found
}

/// Two words in front, and another prefix in the place of one: many, and so the last to be tried.
pub(super) fn guessed_prefixes<R>(
    path: &str,
    mut visit: impl FnMut(Cause, &str) -> Option<R>,
) -> Option<R> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let prefixes = || {
        let own = segments
            .iter()
            .copied()
            .filter(|segment| !segment.is_empty());
        own.chain(WORDS.iter().copied())
    };
    // Another first part in the place of the first segments.
    for dropped in 1..segments.len() {
        let rest = segments[dropped..].join("/");
        for word in prefixes() {
            if let Some(found) = visit(Cause::PathRewritten, &format!("/{word}/{rest}")) {
                return Some(found);
            }
        }
    }
    for first in prefixes() {
        for second in prefixes() {
            let path = join(&format!("/{first}/{second}"), path);
            if let Some(found) = visit(Cause::PathPrefixRemoved, &path) {
                return Some(found);
            }
        }
    }
    for dropped in 1..segments.len() {
        let rest = segments[dropped..].join("/");
        for first in prefixes() {
            for second in prefixes() {
                let path = format!("/{first}/{second}/{rest}");
                if let Some(found) = visit(Cause::PathRewritten, &path) {
                    return Some(found);
                }
            }
        }
    }
    None
}

fn join(prefix: &str, path: &str) -> String {
    match path {
        // A prefix that is the whole path leaves `/`, or nothing, behind.
        "/" => prefix.to_owned(),
        _ => format!("{}{path}", prefix.trim_end_matches('/')),
    }
}

fn rooted(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}

/// The path with a slash doubled: at each place, at all, and tripled in front.
fn unmerged(path: &str) -> Vec<String> {
    let places = path.match_indices('/').map(|(at, _)| at);
    let mut found: Vec<String> = places
        .map(|at| format!("{}/{}", &path[..at], &path[at..]))
        .collect();
    found.push(path.replace('/', "//"));
    found.push(format!("//{path}"));
    found
}

fn encoded_otherwise(path: &str) -> Vec<(Cause, String)> {
    let mut found = Vec::new();
    if path.contains('%') {
        // Somebody decoded once before: what looks like an escape was literal text.
        found.push((Cause::PathDecoded, path.replace('%', "%25")));
    }
    if let Ok(decoded) = percent_decode_str(path).decode_utf8() {
        // Somebody encoded an escape again.
        if decoded != path {
            found.push((
                Cause::PathReencoded,
                decoded.replace('?', "%3F").replace('\n', "%0A"),
            ));
        }
    }
    for (from, to) in [("%20", "+"), ("%2B", "+"), ("%2b", "+"), ("+", "%20")] {
        if path.contains(from) {
            found.push((Cause::PathReencoded, path.replace(from, to)));
        }
    }
    found
}

/// A query whose `?` was encoded into the path.
pub(super) fn query_in_path(path: &str) -> Option<(String, String)> {
    let at = path.find("%3F").or_else(|| path.find("%3f"))?;
    let query = percent_decode_str(&path[at + 3..]).decode_utf8().ok()?;
    Some((path[..at].to_owned(), query.into_owned()))
}
