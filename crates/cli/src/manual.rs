//! Shell completions and man pages, generated from the flags themselves, so that they cannot be stale.

use std::{
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::output;

/// The flags of `completions`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "\
Examples:
  bash:  oss-callback completions bash > ~/.local/share/bash-completion/completions/oss-callback
  zsh:   oss-callback completions zsh > \"${fpath[1]}/_oss-callback\"
  fish:  oss-callback completions fish > ~/.config/fish/completions/oss-callback.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// The flags of `man`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = "\
Examples:
  Read a page:            oss-callback man doctor | man -l -
  Install all of them:    oss-callback man --out-dir ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// The subcommand whose page is printed; without it, the page of oss-callback
    #[arg(conflicts_with = "out_dir")]
    subcommand: Vec<String>,

    /// Write the pages of all subcommands to this directory
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    mut command: Command,
) -> Result<ExitCode, Box<dyn Error>> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "oss-callback", &mut script);
    output::print(&String::from_utf8(script)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs, mut command: Command) -> Result<ExitCode, Box<dyn Error>> {
    command.build();
    match &args.out_dir {
        Some(dir) => write_pages(dir, &command, command.get_name())?,
        None => {
            let mut name = command.get_name().to_owned();
            let mut found = &command;
            for word in &args.subcommand {
                found = found
                    .find_subcommand(word)
                    .ok_or_else(|| format!("there is no subcommand {word:?} of {name}"))?;
                name = format!("{name}-{word}");
            }
            output::print(&page(found, &name)?)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn write_pages(dir: &Path, command: &Command, name: &str) -> Result<(), Box<dyn Error>> {
    let named = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
    fs::create_dir_all(dir).map_err(|error| named(dir, error))?;
    let file = dir.join(format!("{name}.1"));
    fs::write(&file, page(command, name)?).map_err(|error| named(&file, error))?;
    for subcommand in command
        .get_subcommands()
        .filter(|subcommand| subcommand.get_name() != "help")
    {
        write_pages(
            dir,
            subcommand,
            &format!("{name}-{}", subcommand.get_name()),
        )?;
    }
    Ok(())
}

fn page(command: &Command, name: &str) -> Result<String, Box<dyn Error>> {
    let mut page = Vec::new();
    Man::new(command.clone().display_name(name))
        .title(name)
        .render(&mut page)?;
    Ok(String::from_utf8(page)?)
}
