//! How operators are told, with the feature `tracing`; without it, nothing here costs anything.
//!
//! 1. Every event is made by one macro and has one target, `oss_callback`. What the events are stands
//!    beside the modules that make them; the [crate documentation](crate#events) lists them.
//! 2. What any stranger can cause is a `debug`. What is worse goes through a [`RateLimit`], so that no
//!    sender decides how much is written.
//! 3. No event has a byte of a body, of a variable, of a query or of a header, except for a request id
//!    that consists of hexadecimal digits. A [path](Path) is escaped and cut, and only the path of a
//!    genuine callback is written.
//! 4. Errors of handlers, of databases and of what stands before them may repeat what a sender chose. So
//!    [causes](Causes) are one line, of bounded length.

mod rate_limit;

use std::{
    error::Error,
    fmt::{self, Write as _},
};

pub(crate) use self::rate_limit::{LeftOut, RateLimit};

/// How much of a path is written. Prefixes are what proxies change, so the beginning is what counts.
const MAX_PATH_LEN: usize = 128;

/// How many characters of a cause and of those beneath it are written.
const MAX_CAUSE_LEN: usize = 2048;

/// A `tracing` event, or nothing.
macro_rules! event {
    ($level:ident, $message:literal, { $($field:ident: $value:expr),* $(,)? } $(, $cause:expr)?) => {
        #[cfg(feature = "tracing")]
        tracing::$level!(
            target: "oss_callback",
            $($field = $value,)*
            $(cause = %$cause,)?
            $message
        );
        #[cfg(not(feature = "tracing"))]
        let _ = || ($($value,)* $($cause)?);
    };
}
pub(crate) use event;

/// Whether anybody listens to errors, for a [`RateLimit`].
pub(crate) fn errors_are_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "oss_callback", tracing::Level::ERROR);
    #[cfg(not(feature = "tracing"))]
    return false;
}

/// Whether anybody listens to warnings.
pub(crate) fn warnings_are_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "oss_callback", tracing::Level::WARN);
    #[cfg(not(feature = "tracing"))]
    return false;
}

/// Whether anybody listens to what is neither.
pub(crate) fn information_is_heard() -> bool {
    #[cfg(feature = "tracing")]
    return tracing::enabled!(target: "oss_callback", tracing::Level::INFO);
    #[cfg(not(feature = "tracing"))]
    return false;
}

/// A handler that receives no callbacks failed. A user's request may be why, so each cause is told once a
/// minute.
#[cfg(all(feature = "ticket", any(feature = "axum", feature = "warp")))]
macro_rules! handler_failed {
    ($message:literal, $cause:expr, $error:expr) => {
        #[cfg(feature = "tracing")]
        {
            use std::{sync::LazyLock, time::Duration};

            use crate::log::{Causes, RateLimit, errors_are_heard, event};

            static LIMIT: LazyLock<RateLimit> =
                LazyLock::new(|| RateLimit::one_in(Duration::from_secs(60)));
            if let Some(left_out) = LIMIT.pass_if_heard($message, $cause, errors_are_heard) {
                event!(error, $message, { left_out: left_out.if_any() }, Causes($error));
            }
        }
        #[cfg(not(feature = "tracing"))]
        let _ = || ($cause, $error);
    };
}
#[cfg(all(feature = "ticket", any(feature = "axum", feature = "warp")))]
pub(crate) use handler_failed;

/// A handler asked for what no layer or no guard has left there; `hint` says what is missing. The path is
/// that of a genuine callback, so there is none without a layer.
///
/// Strangers can cause it too, on a route that lost its layer.
pub(crate) fn layer_missing(hint: &'static str, genuine_path: Option<&str>) {
    #[cfg(feature = "tracing")]
    {
        use std::{sync::LazyLock, time::Duration};

        /// For all routes together, as there is no layer. A few at once: they may be of several.
        static LIMIT: LazyLock<RateLimit> =
            LazyLock::new(|| RateLimit::burst_of(20, Duration::from_secs(3)));
        if let Some(left_out) = LIMIT.pass_if_heard("LayerMissing", hint, errors_are_heard) {
            event!(error, "a handler asked for what no layer has left for it", {
                look_at: hint,
                path: genuine_path.map(|path| tracing::field::display(Path(path))),
                left_out: left_out.if_any(),
            });
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _ = (hint, genuine_path);
}

/// The span in which something began, to be entered by the task that goes on with it.
#[derive(Clone)]
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

impl Span {
    pub(crate) fn current() -> Self {
        Self {
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }

    pub(crate) fn instrument<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        #[cfg(feature = "tracing")]
        return tracing::Instrument::instrument(future, self.span);
        #[cfg(not(feature = "tracing"))]
        return future;
    }
}

/// Ids are 24 hexadecimal digits; anything else is text that somebody made up.
pub(crate) fn hexadecimal(id: &str) -> Option<&str> {
    (id.len() <= 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

/// An error and those beneath it, in one line, and not too much of it. A cause that ends the text above it
/// has been told: many errors print their source themselves.
pub(crate) struct Causes<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line {
            written: f,
            left: MAX_CAUSE_LEN,
        };
        let mut told = Beginning::of(self.0);
        line.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = Beginning::of(error);
            if !told.ends_with(&text) {
                write!(line, ": {text}")?;
            }
            told = text;
            cause = error.source();
        }
        match line.left {
            0 => f.write_str("..."),
            _ => Ok(()),
        }
    }
}

/// As much of a text as may be written.
struct Beginning {
    text: String,
    left: usize,
}

impl Beginning {
    fn of(error: &dyn Error) -> String {
        let mut beginning = Self {
            text: String::new(),
            left: MAX_CAUSE_LEN + 1,
        };
        let _ = write!(beginning, "{error}");
        beginning.text
    }
}

impl fmt::Write for Beginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars().take(self.left) {
            self.left -= 1;
            self.text.push(char);
        }
        Ok(())
    }
}

/// Escapes what would begin another line or command a terminal, and drops what is too much.
struct Line<'a, 'b> {
    written: &'a mut fmt::Formatter<'b>,
    left: usize,
}

impl fmt::Write for Line<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for char in text.chars().take(self.left) {
            self.left -= 1;
            if is_plain(char) {
                self.written.write_char(char)?;
            } else {
                write!(self.written, "{}", char.escape_default())?;
            }
        }
        Ok(())
    }
}

/// Neither a control character, nor one that ends a line or turns the direction of a text.
fn is_plain(char: char) -> bool {
    let turns = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !char.is_control() && !turns
}

/// A path as it may be written: printable ASCII, and not too much of it.
pub(crate) struct Path<'a>(pub(crate) &'a str);

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_bytes();
        let shown = &bytes[..bytes.len().min(MAX_PATH_LEN)];
        write!(f, "{}", shown.escape_ascii())?;
        if shown.len() < bytes.len() {
            f.write_str("...")?;
        }
        Ok(())
    }
}

/// Whether a text can be copied out of a log line: it is neither cut nor escaped.
#[cfg(all(feature = "diagnose", feature = "tracing"))]
pub(crate) fn is_written_whole(path: &str) -> bool {
    path.len() <= MAX_PATH_LEN && path.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_one_line_of_bounded_length() {
        let causes = |text: &str| {
            let error: Box<dyn Error + Send + Sync> = text.into();
            Causes(&*error).to_string()
        };
        assert_eq!(causes("no \"a\" \u{4f60}"), "no \"a\" \u{4f60}");
        assert_eq!(
            causes("no a.jpg\n2026-11-27 WARN forged\r\u{1b}[2J\u{202e}\u{2028}\u{200f}\u{61c}"),
            r"no a.jpg\n2026-11-27 WARN forged\r\u{1b}[2J\u{202e}\u{2028}\u{200f}\u{61c}"
        );
        let whole = "x".repeat(MAX_CAUSE_LEN - 1);
        assert_eq!(causes(&whole), whole);
        assert_eq!(causes(&"x".repeat(1 << 20)), format!("{whole}x..."));
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Layered(&'static str, #[source] std::io::Error);

        for (text, line) in [
            ("no connection", "no connection: refused (os error 111)"),
            (
                "no connection: refused (os error 111)",
                "no connection: refused (os error 111)",
            ),
            (
                "refused (os error 111): no connection",
                "refused (os error 111): no connection: refused (os error 111)",
            ),
        ] {
            let error = Layered(text, std::io::Error::other("refused (os error 111)"));
            assert_eq!(Causes(&error).to_string(), line);
        }
    }

    #[test]
    fn a_path_is_escaped_and_cut() {
        assert_eq!(Path("/api/cb%0A").to_string(), "/api/cb%0A");
        assert_eq!(
            Path("/a\n\u{1b}[2J\u{e9}").to_string(),
            r"/a\n\x1b[2J\xc3\xa9"
        );
        let long = "/".repeat(MAX_PATH_LEN + 1);
        assert_eq!(Path(&long[1..]).to_string(), &long[1..]);
        assert_eq!(Path(&long).to_string(), format!("{}...", &long[1..]));
        let multibyte = "\u{e9}".repeat(MAX_PATH_LEN);
        assert!(Path(&multibyte).to_string().is_ascii());
    }
}
