//! Paths from which the received one may have been made.
//!
//! 1. Each function visits the paths that one kind of change makes, the likelier first, and stops when
//!    it is told to.
//! 2. OSS signs the decoded path, so two spellings of one path are one candidate. What matters is
//!    which `%` were text and which began an escape.
//! 3. Numbers of segments and places are capped, so that a path of 64 KiB of slashes is no work.

use std::ops::ControlFlow;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};

use super::{
    CapturedRequest,
    charsets::converted,
    named::prefixes,
    words::{LIKELIEST_WORDS, OF_SERVICES, OUTER_WORDS, PAIRS, SERVICE_WORDS, WORDS},
};

/// Segments and slashes beyond these are left as they are.
const MAX_PLACES: usize = 12;

/// Escapes of one path that are each tried as text and as an escape: 64 choices.
const MAX_ESCAPES: usize = 6;

/// What a path cannot hold unescaped.
const NOT_IN_PATHS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

fn last_slash(path: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    match path.strip_suffix('/') {
        Some(without) if !without.is_empty() => visit(without),
        _ => visit(&format!("{path}/")),
    }
}

/// Changes of spelling: the slash at the end, repeated slashes, escapes, charset.
pub(super) fn spelled(
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    last_slash(path, visit)?;
    slashes(path, visit)?;
    escapes(path, visit)?;
    dots(path, visit)
}

/// Segments that lead nowhere, which were taken out: `/a/./cb`, `/cb/.`. And parameters of segments that
/// were put in: `/cb;jsessionid=1`.
fn dots(path: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    for (at, _) in path.match_indices('/').take(MAX_PLACES) {
        visit(&format!("{}/.{}", &path[..at], &path[at..]))?;
    }
    visit(&format!("{}/.", path.trim_end_matches('/')))?;
    if !path.contains(';') {
        return ControlFlow::Continue(());
    }
    let segments = path
        .split('/')
        .map(|segment| segment.split(';').next().unwrap_or_default());
    visit(&segments.collect::<Vec<_>>().join("/"))
}

/// The path with a slash doubled: at each place, at all, tripled in front; or with all merged.
fn slashes(path: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    for (at, _) in path.match_indices('/').take(MAX_PLACES) {
        visit(&format!("{}/{}", &path[..at], &path[at..]))?;
    }
    visit(&path.replace('/', "//"))?;
    visit(&format!("//{path}"))?;
    match path.contains("//") {
        true => visit(&merged(path)),
        false => ControlFlow::Continue(()),
    }
}

pub(super) fn merged(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

fn escapes(path: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    // Something encoded the escapes again: once, twice, or as a form would.
    let mut once = path.to_owned();
    for _ in 0..2 {
        if !once.contains("%25") {
            break;
        }
        once = once.replace("%25", "%");
        visit(&once)?;
    }
    // Something decoded before: each escape may have been text.
    let places: Vec<usize> = path
        .match_indices('%')
        .map(|(at, _)| at)
        .take(MAX_ESCAPES)
        .collect();
    if !places.is_empty() {
        visit(&path.replace('%', "%25"))?;
        visit(&path.replace('%', "%2525"))?;
    }
    for choice in 1..1_usize << places.len() {
        let mut text = String::with_capacity(path.len() + 12);
        let mut from = 0;
        for (index, at) in places.iter().enumerate() {
            text.push_str(&path[from..=*at]);
            if choice >> index & 1 == 1 {
                text.push_str("25");
            }
            from = at + 1;
        }
        text.push_str(&path[from..]);
        visit(&text)?;
    }
    // A form's space: `+` was a space, or a space a `+`.
    for (from, to) in [("%20", "%2B"), ("%2B", "%20"), ("%2b", "%20"), ("+", "%20")] {
        if path.contains(from) {
            visit(&path.replace(from, to))?;
        }
    }
    let decoded: Vec<u8> = percent_decode_str(path).collect();
    for (_, bytes) in converted(&decoded) {
        visit(&percent_encode(&bytes, NOT_IN_PATHS).to_string())?;
    }
    ControlFlow::Continue(())
}

/// Segments that were added in front, or what a server adds behind to find its script, or takes away to
/// hide it.
pub(super) fn shortened(
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let cuts: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
    for at in cuts.iter().skip(1).take(MAX_PLACES) {
        visit(&path[*at..])?;
    }
    if path != "/" {
        visit("/")?;
    }
    for behind in ADDED_BEHIND {
        if let Some(rest) = path.strip_suffix(behind).filter(|rest| !rest.is_empty()) {
            visit(rest)?;
        }
    }
    for behind in ADDED_BEHIND {
        visit(&format!("{path}{behind}"))?;
    }
    ControlFlow::Continue(())
}

/// What rewriting to a script or a default document adds, and what one to a plain name takes away.
const ADDED_BEHIND: [&str; 14] = [
    "index.php",
    "/index.php",
    "index.html",
    "/index.html",
    "/index",
    ".php",
    ".html",
    ".json",
    ".do",
    ".action",
    ".jsp",
    ".aspx",
    ".py",
    ".cgi",
];

/// One prefix in front: one that a header names, one that occurs in the path, the name of the host, or a
/// word, of which the likeliest `most` are tried.
pub(super) fn prefixed(
    request: &CapturedRequest,
    path: &str,
    most: usize,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // `//cb` is what is left of `/api/cb` if a slash replaces `/api`.
    let path = match path.strip_prefix("//") {
        Some(rest) => &path[path.len() - rest.len() - 1..],
        None => path,
    };
    for prefix in prefixes(request) {
        joined(&prefix, path, visit)?;
        // What a router cut off behind it.
        for word in &WORDS[..LIKELIEST_WORDS] {
            joined(&format!("{prefix}/{word}"), path, visit)?;
        }
        if let Some(rest) = path.strip_prefix(prefix.as_str()) {
            visit(&rooted(rest))?;
        }
    }
    // A stage or mount point that occurs twice: `/Prod/Prod/cb`.
    let segments: Vec<&str> = path.split('/').skip(1).take(MAX_PLACES).collect();
    for from in 0..segments.len() {
        for to in from + 1..=segments.len() {
            let prefix = segments[from..to].join("/");
            if !prefix.is_empty() {
                joined(&format!("/{prefix}"), path, visit)?;
            }
        }
    }
    let mut words = words(request).into_iter().take(most);
    let likeliest = words.by_ref().take(LIKELIEST_WORDS).collect::<Vec<_>>();
    for word in likeliest.into_iter().chain(PAIRS).chain(words) {
        joined(&format!("/{word}"), path, visit)?;
    }
    ControlFlow::Continue(())
}

/// The likeliest of all of these, for those who combine them with other changes: a slash at the end, a prefix
/// that came, one that went, or both.
pub(super) fn likely(
    request: &CapturedRequest,
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    last_slash(path, visit)?;
    let segments = path.match_indices('/').skip(1).take(LIKELY_SEGMENTS);
    segments
        .map(|(at, _)| &path[at..])
        .try_for_each(&mut *visit)?;
    prefixed(request, path, LIKELIEST_WORDS, visit)?;
    replaced(request, path, LIKELIEST_WORDS, visit)
}

/// Segments in front of a path that were added together with other changes.
const LIKELY_SEGMENTS: usize = 3;

/// Two of the likeliest words in front: `/api/v1`.
pub(super) fn versioned(
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for first in &WORDS[..LIKELIEST_WORDS] {
        for second in &WORDS[..LIKELIEST_WORDS] {
            joined(&format!("/{first}/{second}"), path, visit)?;
        }
    }
    ControlFlow::Continue(())
}

/// The path with capitals, as it was before something put it into small letters: each segment in one of
/// three ways and one letter more, or two letters anywhere.
pub(super) fn capitals(
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return ControlFlow::Continue(());
    }
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let ways = match u32::try_from(segments.len()) {
        Ok(segments @ ..=MAX_CAPITALISED) => 3_usize.pow(segments),
        _ => 1,
    };
    let letters: Vec<usize> = path
        .bytes()
        .enumerate()
        .filter(|(_, byte)| byte.is_ascii_lowercase())
        .map(|(at, _)| at)
        .take(MAX_LETTERS)
        .collect();
    let with = |text: &str, at: usize| {
        let mut text = text.to_owned();
        text.replace_range(at..=at, &path[at..=at].to_ascii_uppercase());
        text
    };
    for way in 0..ways {
        let text = capitalised(&segments, way);
        visit(&text)?;
        letters.iter().try_for_each(|at| visit(&with(&text, *at)))?;
    }
    for (index, first) in letters.iter().enumerate() {
        let text = with(path, *first);
        letters[..index]
            .iter()
            .try_for_each(|at| visit(&with(&text, *at)))?;
    }
    ControlFlow::Continue(())
}

/// Each segment as it is, with a capital, or in capitals, by one digit of a number of base 3.
fn capitalised(segments: &[&str], mut way: usize) -> String {
    let mut text = String::new();
    for segment in segments {
        let end = match way % 3 {
            0 => 0,
            1 => segment.chars().next().map_or(0, char::len_utf8),
            _ => segment.len(),
        };
        text.push('/');
        text.push_str(&segment[..end].to_ascii_uppercase());
        text.push_str(&segment[end..]);
        way /= 3;
    }
    text
}

/// Segments of a path that are capitalised in each combination: 27 of them.
const MAX_CAPITALISED: u32 = 3;

/// Letters of a path that may have been capitals.
const MAX_LETTERS: usize = 24;

/// Another prefix in the place of the first segments, two letters, and two words in front: many, and so the last
/// to be tried.
pub(super) fn guessed(
    request: &CapturedRequest,
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    replaced(request, path, usize::MAX, visit)?;
    two_letters(path, visit)?;
    let words = words(request);
    let rest = path.match_indices('/').nth(1).map(|(at, _)| &path[at..]);
    let own = path.split('/').filter(|segment| !segment.is_empty());
    let outer: Vec<&str> = own
        .take(MAX_PLACES)
        .chain(WORDS[..OUTER_WORDS].iter().copied())
        .collect();
    for first in &outer {
        for second in &words {
            joined(&format!("/{first}/{second}"), path, visit)?;
        }
    }
    if let Some(rest) = rest {
        for first in &outer {
            for second in &words {
                visit(&format!("/{first}/{second}{rest}"))?;
            }
        }
    }
    ControlFlow::Continue(())
}

/// The name of a service in front, of a word of the path, of the host or of the list; or one letter.
pub(super) fn services(
    request: &CapturedRequest,
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let own = path.split('/').filter(|segment| !segment.is_empty());
    for word in own
        .take(MAX_PLACES)
        .chain(words(request).into_iter().take(SERVICE_WORDS))
    {
        for ending in OF_SERVICES {
            joined(&format!("/{word}{ending}"), path, visit)?;
        }
    }
    ('a'..='z').try_for_each(|letter| joined(&format!("/{letter}"), path, visit))
}

/// Two letters in front, or a letter and a digit: `/wx`, `/h5`.
fn two_letters(path: &str, visit: &mut dyn FnMut(&str) -> ControlFlow<()>) -> ControlFlow<()> {
    for first in 'a'..='z' {
        for second in ('a'..='z').chain('0'..='9') {
            joined(&format!("/{first}{second}"), path, visit)?;
        }
    }
    ControlFlow::Continue(())
}

/// A word in the place of the first segments, of which the likeliest `most` are tried: a gateway takes its own
/// prefix away and puts that of the application there.
pub(super) fn replaced(
    request: &CapturedRequest,
    path: &str,
    most: usize,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let words = words(request);
    for (at, _) in path.match_indices('/').skip(1).take(MAX_PLACES) {
        for word in words.iter().take(most) {
            visit(&format!("/{word}{}", &path[at..]))?;
        }
    }
    ControlFlow::Continue(())
}

/// The labels of the request's own host names, and the words of the list.
fn words(request: &CapturedRequest) -> Vec<&str> {
    let hosts = ["host", "x-forwarded-host", "x-original-host"]
        .into_iter()
        .filter_map(|name| request.header(name));
    let labels =
        hosts.flat_map(|host| host.split([':', ',']).next().unwrap_or_default().split('.'));
    let is_word = |label: &&str| {
        !label.is_empty()
            && label.len() <= 40
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    labels
        .filter(is_word)
        .take(MAX_PLACES)
        .chain(WORDS.iter().copied())
        .collect()
}

/// A prefix in front of a path. One that is the whole path leaves `/` behind, or nothing.
fn joined(
    prefix: &str,
    path: &str,
    visit: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if path == "/" {
        visit(prefix)?;
    }
    visit(&format!("{}{path}", prefix.trim_end_matches('/')))
}

fn rooted(path: &str) -> String {
    match path.starts_with('/') {
        true => path.to_owned(),
        false => format!("/{path}"),
    }
}
