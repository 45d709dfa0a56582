//! Where two texts differ, in a form for people.
//!
//! 1. The difference is what is left between the longest common beginning and the longest common end.
//!    Text that is on one side alone begins at a separator where it can: `/api` is missing, not `api/`.
//! 2. What cannot be seen is spelled: `<LF>`, `<BOM>`, `<0xFF>`; within the difference, a space is `<SP>`.
//!    So no byte of a request reaches a terminal as a command to it.
//! 3. Long texts are cut around the difference, and a long difference in its middle; `…` says so.

/// How much of the common text is shown on either side, in characters.
const CONTEXT: usize = 32;

/// How much of a difference is shown, in characters.
const MAX_CHANGED: usize = 160;

/// One side, spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Side {
    pub(crate) before: String,
    pub(crate) changed: String,
    pub(crate) after: String,
}

/// A character, or a byte that is none.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Char(char),
    Byte(u8),
}

/// Both sides of a difference.
pub(crate) fn difference(signed: &[u8], received: &[u8]) -> (Side, Side) {
    let (signed, received) = (units(signed), units(received));
    let mut start = common(signed.iter(), received.iter());
    let end = common(signed[start..].iter().rev(), received[start..].iter().rev());
    let mut ends = (signed.len() - end, received.len() - end);
    let shift = shift_to_separator(&signed, start, ends.0, ends.1 == start)
        .or_else(|| shift_to_separator(&received, start, ends.1, ends.0 == start))
        .unwrap_or(0);
    start -= shift;
    ends = (ends.0 - shift, ends.1 - shift);
    (side(&signed, start, ends.0), side(&received, start, ends.1))
}

/// One text in the same form, cut as a difference is.
pub(crate) fn spelled(text: &[u8]) -> String {
    shortened(&units(text), MAX_CHANGED, false)
}

fn units(text: &[u8]) -> Vec<Unit> {
    let mut units = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        units.extend(chunk.valid().chars().map(Unit::Char));
        units.extend(chunk.invalid().iter().copied().map(Unit::Byte));
    }
    units
}

fn common<'a>(one: impl Iterator<Item = &'a Unit>, other: impl Iterator<Item = &'a Unit>) -> usize {
    one.zip(other)
        .take_while(|(one, other)| one == other)
        .count()
}

/// How far an insertion can begin earlier, to begin at a separator.
fn shift_to_separator(
    units: &[Unit],
    start: usize,
    end: usize,
    is_insertion: bool,
) -> Option<usize> {
    if !is_insertion || start == end {
        return None;
    }
    let is_separator = |unit: &Unit| matches!(unit, Unit::Char('/' | '&' | '?' | ','));
    let can_shift = |shift: usize| units.get(start - shift) == units.get(end - shift);
    let mut shift = 0;
    while !is_separator(&units[start - shift]) {
        if shift == start
            || !{
                shift += 1;
                can_shift(shift)
            }
        {
            return None;
        }
    }
    Some(shift)
}

fn side(units: &[Unit], start: usize, end: usize) -> Side {
    let cut = start.saturating_sub(CONTEXT);
    let shown = units.len().min(end + CONTEXT);
    let mut before = spell(&units[cut..start], false);
    if cut > 0 {
        before.insert(0, '…');
    }
    let mut after = spell(&units[end..shown], false);
    if shown < units.len() {
        after.push('…');
    }
    Side {
        before,
        changed: shortened(&units[start..end], MAX_CHANGED, true),
        after,
    }
}

fn shortened(units: &[Unit], max: usize, spell_spaces: bool) -> String {
    if units.len() <= max {
        return spell(units, spell_spaces);
    }
    let (head, tail) = (&units[..max / 2], &units[units.len() - max / 2..]);
    format!(
        "{}…{}",
        spell(head, spell_spaces),
        spell(tail, spell_spaces)
    )
}

fn spell(units: &[Unit], spell_spaces: bool) -> String {
    let mut text = String::with_capacity(units.len());
    for unit in units {
        match *unit {
            Unit::Char(' ') if spell_spaces => text.push_str("<SP>"),
            Unit::Char(c) => match name(c) {
                Some(name) => text.push_str(name),
                None if is_invisible(c) => text.push_str(&format!("<U+{:04X}>", u32::from(c))),
                None => text.push(c),
            },
            Unit::Byte(byte) => text.push_str(&format!("<0x{byte:02X}>")),
        }
    }
    text
}

fn name(c: char) -> Option<&'static str> {
    Some(match c {
        '\0' => "<NUL>",
        '\t' => "<TAB>",
        '\n' => "<LF>",
        '\r' => "<CR>",
        '\u{a0}' => "<NBSP>",
        '\u{feff}' => "<BOM>",
        _ => return None,
    })
}

/// Control characters, and those that take no room, change the direction, or look like a space.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn changed(signed: &str, received: &str) -> (String, String) {
        let (signed, received) = difference(signed.as_bytes(), received.as_bytes());
        (signed.changed, received.changed)
    }

    #[test]
    fn the_difference_is_what_is_not_common() {
        for (signed, received, is) in [
            ("/api/cb?id=1", "/cb?id=1", ("/api", "")),
            ("/cb", "/api/cb", ("", "/api")),
            ("/cb", "/cb/", ("", "/")),
            ("/a//b", "/a/b", ("/", "")),
            ("/cb?a=1&b=2", "/cb", ("?a=1&b=2", "")),
            ("/cb?a=1&b=2", "/cb?a=1", ("&b=2", "")),
            ("a=1", "a=1\r\n", ("", "<CR><LF>")),
            ("a= 1", "a=+1", ("<SP>", "+")),
            ("\u{feff}{}", "{}", ("<BOM>", "")),
            ("same", "same", ("", "")),
            ("", "x", ("", "x")),
        ] {
            assert_eq!(
                changed(signed, received),
                (is.0.to_owned(), is.1.to_owned()),
                "{signed} {received}"
            );
        }
    }

    #[test]
    fn what_cannot_be_seen_is_spelled() {
        assert_eq!(spelled(b"a\xffb\x1b[31m"), "a<0xFF>b<U+001B>[31m");
        assert_eq!(
            spelled("\u{202e}\u{200b} \u{3000}é文".as_bytes()),
            "<U+202E><U+200B> <U+3000>é文"
        );
    }

    #[test]
    fn long_texts_are_cut_around_the_difference() {
        let long = "x".repeat(1_000);
        let (signed, received) = difference(
            format!("{long}A{long}").as_bytes(),
            format!("{long}B{long}").as_bytes(),
        );
        assert_eq!(signed.before.chars().count(), CONTEXT + 1);
        assert!(signed.before.starts_with('…') && signed.after.ends_with('…'));
        assert_eq!(
            (signed.changed.as_str(), received.changed.as_str()),
            ("A", "B")
        );
        let (signed, _) = difference(long.as_bytes(), b"");
        assert_eq!(signed.changed.chars().count(), MAX_CHANGED + 1);
    }

    proptest! {
        #[test]
        fn nothing_that_a_terminal_obeys_comes_through(one in any::<Vec<u8>>(), other in any::<Vec<u8>>()) {
            let (one, other) = difference(&one, &other);
            for side in [one, other] {
                for part in [side.before, side.changed, side.after] {
                    prop_assert!(!part.chars().any(char::is_control), "{part:?}");
                }
            }
        }

        #[test]
        fn short_sides_are_whole(one in "[ab/&]{0,12}", other in "[ab/&]{0,12}") {
            let (signed, received) = difference(one.as_bytes(), other.as_bytes());
            prop_assert_eq!(signed.before.clone() + &signed.changed + &signed.after, one);
            prop_assert_eq!(received.before.clone() + &received.changed + &received.after, other);
            prop_assert_eq!(signed.before, received.before);
            prop_assert_eq!(signed.after, received.after);
        }
    }
}
