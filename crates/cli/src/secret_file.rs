//! Secrets that are given as files: as arguments they would be in the list of processes.

use std::{fmt::Display, fs, path::Path};

/// What is in a text file.
///
/// # Errors
/// In one line that names the file, if it cannot be read or is not what it should be.
pub(crate) fn read<T, E: Display>(
    file: &Path,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, String> {
    let in_file = |error: &dyn Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| in_file(&error))?;
    parse(&text).map_err(|error| in_file(&error))
}
