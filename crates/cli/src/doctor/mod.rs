//! `oss-callback doctor`: why a callback does not verify.
//!
//! ```text
//! input ─► a form is recognised, the parts found (input) ─► key chosen, library asked (examination)
//!       ─► one object for programs, or a page for people (render), in one of two languages (words)
//! ```
//!
//! The [library](oss_callback::diagnose) makes the diagnosis. This module finds its input and shows its
//! output, and decides nothing about signatures.

mod args;
mod author;
mod difference;
mod examination;
mod input;
mod lang;
mod local_key;
mod mask;
mod render;
mod reproduction;
mod unusable;
mod words;

use std::{
    error::Error,
    fs,
    io::{self, IsTerminal, Read},
    path::Path,
    process::ExitCode,
};

use oss_callback::PublicKey;

pub(crate) use self::args::Args;
use self::{
    examination::Examination,
    input::MAX_LEN,
    lang::Lang,
    render::{json, text},
    unusable::Unusable,
};
use crate::{output, public_keys};

/// Diagnoses one request. The exit status is 0 for a genuine one, 1 for a diagnosis, 2 for an unusable
/// input.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let lang = args.lang.unwrap_or_else(Lang::of_environment);
    match examine(args, lang) {
        Ok(examination) => {
            output::print(&match args.json {
                true => json::render(&examination) + "\n",
                false => text::render(&examination, lang, args.color.paint()),
            })?;
            Ok(ExitCode::from(u8::from(!examination.is_accepted())))
        }
        Err(unusable) => {
            if args.json {
                output::print(&(json::render_unusable(&unusable) + "\n"))?;
            }
            eprintln!(
                "error: {}",
                output::one_line(&words::unusable(lang, &unusable))
            );
            Ok(ExitCode::from(2))
        }
    }
}

fn examine(args: &Args, lang: Lang) -> Result<Examination, Unusable> {
    let dash = Path::new("-");
    let file = args.file.as_deref().unwrap_or(dash);
    let key_file = args.key.as_deref().map(Path::new);
    let read_from = [Some(file), args.body.as_deref(), key_file];
    if read_from.iter().filter(|from| **from == Some(dash)).count() > 1 {
        return Err(Unusable::StandardInputTwice);
    }
    let mut capture = input::read(&read(file, lang)?)?;
    if let Some(file) = &args.body {
        capture.body = Some(read(file, lang)?.into());
    }
    if let Some(path) = &args.path {
        capture = capture.with_path(path);
    }
    let key = args.key.as_deref().map(given_key).transpose()?;
    Examination::new(capture, key)
}

/// The key that the user names. Unlike what a request names, it may be on this machine.
fn given_key(key: &str) -> Result<PublicKey, Unusable> {
    let file = Path::new(key);
    match key.contains("://") {
        true => local_key::from_url(key).unwrap_or_else(|| public_keys::from_url(key)),
        false => public_keys::read(file).and_then(|text| local_key::from_text(file, &text)),
    }
    .map_err(Unusable::Key)
}

/// A file, or standard input for `-`.
fn read(file: &Path, lang: Lang) -> Result<Vec<u8>, Unusable> {
    match file == Path::new("-") {
        true => read_stdin(lang),
        false => read_file(file),
    }
}

/// Says to people at a terminal that they are waited for.
fn read_stdin(lang: Lang) -> Result<Vec<u8>, Unusable> {
    let stdin = io::stdin().lock();
    if stdin.is_terminal() {
        eprintln!("{}", words::PASTE.get(lang));
    }
    bounded(stdin).map_err(|error| unreadable("standard input", &error))
}

fn read_file(file: &Path) -> Result<Vec<u8>, Unusable> {
    fs::File::open(file)
        .and_then(bounded)
        .map_err(|error| unreadable(&file.display().to_string(), &error))
}

/// One byte more than is used, so that more is noticed and never read.
fn bounded(read: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read.take(MAX_LEN as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(file: &str, error: &io::Error) -> Unusable {
    Unusable::Unreadable {
        file: file.to_owned(),
        error: error.to_string(),
    }
}
