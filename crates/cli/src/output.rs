//! Writing to standard output and standard error.

use std::io::{self, Write};

/// Prints a text. A reader that has seen enough, `head` say, is no error.
pub(crate) fn print(text: &str) -> io::Result<()> {
    print_bytes(text.as_bytes())
}

/// Prints what need not be text.
pub(crate) fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    print_if_read(bytes).map(drop)
}

/// Prints, and says whether anyone still reads: without a reader, there is nothing to go on for.
pub(crate) fn print_if_read(bytes: &[u8]) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// A message without anything that a terminal obeys.
pub(crate) fn one_line(message: &str) -> String {
    message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
