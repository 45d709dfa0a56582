//! The three spellings of time that the service uses: HTTP dates (left to `httpdate`), ISO 8601 as
//! in policies and listings, and the compact form of V4 signatures.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// Seconds since the Unix epoch; a time before it counts as the epoch.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// `2026-11-22T10:31:59.000Z`, as in listings.
pub(crate) fn iso8601(time: SystemTime) -> String {
    let seconds = unix_seconds(time);
    let (year, month, day) = civil(seconds / DAY);
    let (hour, minute, second) = clock(seconds % DAY);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

/// `20261122`, as in the scope of V4 signatures.
pub(crate) fn compact_day(time: SystemTime) -> String {
    let (year, month, day) = civil(unix_seconds(time) / DAY);
    format!("{year:04}{month:02}{day:02}")
}

/// `2026-11-22T10:31:59Z` with any fraction of a second, as in policies. The fraction is dropped.
pub(crate) fn parse_iso8601(text: &str) -> Option<SystemTime> {
    let (whole, fraction) = match text.strip_suffix('Z')?.split_once('.') {
        Some((whole, fraction)) => (whole, fraction),
        None => (text.strip_suffix('Z')?, "0"),
    };
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (date, time) = whole.split_once('T')?;
    let compact = format!("{}T{}Z", date.replace('-', ""), time.replace(':', ""));
    (date.len() == 10 && time.len() == 8)
        .then(|| parse_compact(&compact))
        .flatten()
}

/// `20261122T103159Z`, as in V4 signatures.
pub(crate) fn parse_compact(text: &str) -> Option<SystemTime> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then_some(())?;
        digits.parse().ok()
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || year < 1970 {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days(year, month, day) * DAY + hour * 3600 + minute * 60 + second;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn clock(second_of_day: u64) -> (u64, u64, u64) {
    (
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    )
}

/// The Gregorian date of a day since the epoch. Years are counted from March, so that the leap day
/// is the last day of a year.
fn civil(day: u64) -> (u64, u64, u64) {
    let shifted = day + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil`].
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let march_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * march_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    era * 146_097 + of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_comes_back() {
        for day in 0..146_097 {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }

    #[test]
    fn the_three_spellings_name_one_time() {
        let compact = parse_compact("20261122T103159Z");
        assert!(compact.is_some());
        assert_eq!(compact.map(compact_day).as_deref(), Some("20261122"));
        assert_eq!(compact, parse_iso8601("2026-11-22T10:31:59Z"));
        assert_eq!(compact, parse_iso8601("2026-11-22T10:31:59.891358742Z"));
        assert_eq!(
            compact,
            httpdate::parse_http_date("Sun, 22 Nov 2026 10:31:59 GMT").ok()
        );
        assert_eq!(
            compact.map(iso8601).as_deref(),
            Some("2026-11-22T10:31:59.000Z")
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "Z",
            "2026-11-22",
            "2026-11-22T10:31:59",
            "2026-11-22T10:31:59.Z",
            "2026-13-22T10:31:59Z",
            "2026-11-22T25:31:59Z",
            "20261122T10:31:59Z",
            "２026-11-22T10:31:5Z",
        ] {
            assert_eq!(parse_iso8601(text), None, "{text}");
        }
    }
}
