//! The command `oss-callback`.
//!
//! | subcommand | what |
//! |---|---|
//! | `doctor` | why a callback does not verify, and what to set |
//! | `local-oss` | a local OSS that runs upload callbacks against an application on localhost |

#![forbid(unsafe_code)]

mod doctor;
mod local_oss;
mod output;
mod public_keys;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tools for Alibaba Cloud OSS upload callbacks.
#[derive(Debug, Parser)]
#[command(name = "oss-callback", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says why a callback does not verify, and what to set.
    Doctor(doctor::Args),
    /// Runs a local OSS that calls an application on localhost back.
    LocalOss(local_oss::Args),
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // What is wrong ends with the first empty line; the rest is usage, which `--help` shows.
            let text = error.to_string();
            let wrong = text.lines().take_while(|line| !line.is_empty());
            let wrong: Vec<&str> = wrong.map(str::trim).collect();
            eprintln!("{} (see --help)", wrong.join(" "));
            return ExitCode::from(2);
        }
        Err(help) => {
            print!("{help}");
            return ExitCode::SUCCESS;
        }
    };
    let result = match cli.command {
        Command::Doctor(args) => doctor::run(&args),
        Command::LocalOss(args) => local_oss::run(args).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
