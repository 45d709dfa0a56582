//! `oss-callback key`: the public keys that callbacks are verified with.

use std::{
    error::Error,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use oss_callback::PublicKey;

use crate::{
    output,
    public_keys::{self, KeyError, V1_URL},
};

/// The subcommands of `key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the published v1 key, which is built in
    Show {
        /// The key alone, as a PEM file
        #[arg(long)]
        pem: bool,
    },
    /// Fetches a key from an allowlisted URL, and prints it as a PEM file
    ///
    /// The allowlist is that of the library: http(s)://gosspublic.alicdn.com/callback_pub_key_v1.pem to
    /// _v999.pem. It is fetched over https, without redirects, and has to be a usable key.
    Fetch {
        /// The key URL, as a callback's x-oss-pub-key-url names it in base64
        url: String,
    },
    /// Says whether a file is a public key that a layer takes, and which
    ///
    /// The exit status is 0 if it is, and 1 if it is not.
    Check {
        /// A PEM file; - is standard input
        file: PathBuf,
    },
}

pub(crate) fn run(command: &Command) -> Result<ExitCode, Box<dyn Error>> {
    match command {
        Command::Show { pem } => {
            let key = PublicKey::aliyun_v1();
            output::print(&key.to_pem())?;
            if !pem {
                output::print(&format!("{}url      {V1_URL}\n", facts(&key)))?;
            }
        }
        Command::Fetch { url } => {
            let key = public_keys::fetch(&public_keys::allowed(url)?)?;
            output::print(&key.to_pem())?;
            eprint!("{}{}", facts(&key), relation(&key));
        }
        Command::Check { file } => return check(file),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path) -> Result<ExitCode, Box<dyn Error>> {
    let text = public_keys::read(file)?;
    match public_keys::from_text(file, &text) {
        Ok(key) => {
            output::print(&format!("{}{}", facts(&key), relation(&key)))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ KeyError::Unsuitable { .. }) => {
            let what = what_it_is(&text)
                .map(|what| format!(" ({what})"))
                .unwrap_or_default();
            Err(format!("{error}{what}").into())
        }
        Err(error) => Err(error.into()),
    }
}

fn facts(key: &PublicKey) -> String {
    format!("bits     {}\nsha256   {}\n", key.bits(), key.fingerprint())
}

fn relation(key: &PublicKey) -> &'static str {
    match *key == PublicKey::aliyun_v1() {
        true => "It is the published v1 key, which is built in.\n",
        false => "It is not the published v1 key: pin it, or have it fetched from its URL.\n",
    }
}

/// What people give instead of a public key.
fn what_it_is(text: &str) -> Option<&'static str> {
    let blocks = text.matches("-----BEGIN").count();
    Some(match blocks {
        0 if text.contains('<') => "it looks like a web page",
        0 => "it has no PEM block",
        1 if text.contains("PRIVATE KEY-----") => {
            "it is a private key; `openssl pkey -pubout -in FILE` prints its public half"
        }
        1 if text.contains("CERTIFICATE-----") => {
            "it is a certificate; `openssl x509 -pubkey -noout -in FILE` prints its key"
        }
        1 if text.contains("EC PUBLIC KEY-----") => "it is not an RSA key",
        1 => return None,
        _ => "it has more than one PEM block",
    })
}
