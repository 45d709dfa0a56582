//! The command `oss-callback`.
//!
//! | subcommand | what |
//! |---|---|
//! | `doctor` | why a callback does not verify, and what to set |
//! | `local-oss` | a local OSS that runs upload callbacks against an application on localhost |
//! | `sign` | a signed callback for tests: as raw HTTP, as a curl command, or sent |
//! | `key` | the public keys that callbacks are verified with |
//! | `completions`, `man` | shell completions and man pages |

#![forbid(unsafe_code)]

mod doctor;
mod key;
mod local_oss;
mod manual;
mod output;
mod public_keys;
mod secret_file;
mod sign;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Tools for Alibaba Cloud OSS upload callbacks.
#[derive(Debug, Parser)]
#[command(name = "oss-callback", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says why a callback does not verify, and what to set.
    ///
    /// It shows what OSS signed beside what arrived, who probably changed it, and the line that fixes it.
    /// The signature of a callback opens to a hash of what OSS signed, so a suspicion that fits is
    /// certain. The request is sent nowhere; only a key that is not built in is fetched, from the
    /// allowlisted host, or from this machine if --key says so.
    Doctor(doctor::Args),
    /// Runs a local OSS that calls an application on localhost back.
    ///
    /// It takes uploads from unmodified SDKs of any language, and runs their callbacks as the service
    /// would. It prints the endpoint, the credentials and the key to pin, and then a line for each
    /// event.
    LocalOss(local_oss::Args),
    /// Makes a signed callback for tests, and sends it.
    ///
    /// It is what OSS would send, signed with a key of yours, which the application has to pin: no key
    /// of the service is involved. Without --key-pem, a key is made for this one request, and its URL and
    /// public half are printed to standard error.
    Sign(sign::Args),
    /// Shows, fetches and checks public keys.
    #[command(subcommand)]
    Key(key::Command),
    /// Prints a completion script for a shell.
    Completions(manual::CompletionsArgs),
    /// Prints man pages.
    Man(manual::ManArgs),
}

const EXAMPLES: &str = "\
Examples:
  A callback is refused, and nothing says why:   oss-callback doctor request.http
  Develop without a public host:                 oss-callback local-oss
  Try an endpoint:                               oss-callback sign --send http://127.0.0.1:3000/oss/callback
  Every subcommand has more:                     oss-callback doctor --help";

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
            return match output::print(&help.to_string()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    let result = match cli.command {
        Command::Doctor(args) => doctor::run(&args),
        Command::LocalOss(args) => local_oss::run(args).map(|()| ExitCode::SUCCESS),
        Command::Sign(args) => sign::run(&args),
        Command::Key(command) => key::run(&command),
        Command::Completions(args) => manual::completions(&args, Cli::command()),
        Command::Man(args) => manual::man(&args, Cli::command()),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
