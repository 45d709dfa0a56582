//! The log lines that `docs/guide/troubleshoot.md` quotes.

use std::collections::BTreeSet;

pub const GUIDE: &str = include_str!("../../docs/guide/troubleshoot.md");

/// As they stand there, each a line of its own.
pub fn quoted() -> BTreeSet<&'static str> {
    let lines = GUIDE.lines();
    lines
        .filter(|line| {
            let mut words = line.split(" oss_callback: ");
            matches!(words.next(), Some("ERROR" | "WARN" | "INFO" | "DEBUG"))
                && words.next().is_some()
        })
        .collect()
}
