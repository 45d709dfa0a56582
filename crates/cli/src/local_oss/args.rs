//! The flags, each of them a setting of [`LocalOssBuilder`].

use std::{error::Error, net::IpAddr, path::PathBuf, time::Duration};

use oss_callback_local::{
    CallbackHttp, CallbackKey, Credentials, DEFAULT_ACCESS_KEY_ID, DEFAULT_ACCESS_KEY_SECRET,
    Fault, LocalOss, LocalOssBuilder,
};

use super::choices::Choices;
use crate::secret_file;

/// The flags of `local-oss`.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Port to listen on; 0 for a free one
    #[arg(long, default_value_t = 9000)]
    port: u16,

    /// Address to listen on; 0.0.0.0 lets the network in
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,

    /// Keep objects in this directory instead of memory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,

    /// Bytes that objects may take in memory
    #[arg(long, value_name = "BYTES", conflicts_with = "dir")]
    memory_limit: Option<u64>,

    /// Let unsigned and wrongly signed requests in
    #[arg(long)]
    pub(crate) open: bool,

    /// Access key id that requests are signed with
    #[arg(long, value_name = "ID", default_value = DEFAULT_ACCESS_KEY_ID, requires = "access_key_secret")]
    access_key_id: String,

    /// Access key secret that requests are signed with
    #[arg(long, value_name = "SECRET", default_value = DEFAULT_ACCESS_KEY_SECRET, requires = "access_key_id")]
    access_key_secret: String,

    /// Security token (STS) that requests must carry; without it any is taken
    #[arg(long, value_name = "TOKEN")]
    security_token: Option<String>,

    /// A bucket that is there from the start; with it, others are not made on first use
    #[arg(long, value_name = "NAME")]
    pub(crate) bucket: Vec<String>,

    /// The bucket behind a custom domain (cname)
    #[arg(long, value_name = "NAME")]
    domain_bucket: Option<String>,

    /// How long a callback may take, such as 5s or 500ms; 0 disables the timeout
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = timeout)]
    callback_timeout: Timeout,

    /// Send callbacks as HTTP/1.0
    #[arg(long)]
    callback_http10: bool,

    /// Refuse private callback addresses, as the service does
    #[arg(long)]
    strict: bool,

    /// Take recorded requests: their dates are not judged
    #[arg(long)]
    any_date: bool,

    /// RSA private key (PEM) that signs callbacks; a fresh one by default
    #[arg(long, value_name = "FILE")]
    key_pem: Option<PathBuf>,

    /// A fault in every callback: alter-body, corrupt-signature, delay=3s, drop, duplicate, lose-answer, stale-request-id=2h, wrong-key
    #[arg(long, value_name = "FAULT")]
    fault: Option<Fault>,

    /// One JSON object a line; what is wrong with the flags is said in text
    #[arg(long)]
    pub(crate) json: bool,

    /// Print the private key too, to be kept for --key-pem
    #[arg(long)]
    pub(crate) print_key: bool,

    #[command(flatten)]
    choices: Choices,
}

/// `None` disables the timeout. A newtype, because clap reads an `Option` field as an optional flag.
#[derive(Clone, Copy, Debug)]
struct Timeout(Option<Duration>);

impl Args {
    /// The settings that the flags stand for.
    ///
    /// # Errors
    /// If the key's file cannot be read, or holds no key.
    pub(crate) fn builder(&self) -> Result<LocalOssBuilder, Box<dyn Error>> {
        let mut credentials = Credentials::new(&self.access_key_id, &self.access_key_secret);
        if let Some(token) = &self.security_token {
            credentials = credentials.security_token(token);
        }
        let mut builder = LocalOss::builder()
            .address(self.address)
            .port(self.port)
            .credentials(credentials)
            .callback_timeout(self.callback_timeout.0);
        if let Some(dir) = &self.dir {
            builder = builder.directory(dir);
        }
        if let Some(bytes) = self.memory_limit {
            builder = builder.memory_limit(bytes);
        }
        if self.open {
            builder = builder.open();
        }
        for name in &self.bucket {
            builder = builder.bucket(name);
        }
        if let Some(name) = &self.domain_bucket {
            builder = builder.domain_bucket(name);
        }
        if self.callback_http10 {
            builder = builder.callback_http(CallbackHttp::Http10);
        }
        if self.strict {
            builder = builder.strict();
        }
        if self.any_date {
            builder = builder.any_date();
        }
        if let Some(path) = &self.key_pem {
            builder = builder.key(secret_file::read(path, CallbackKey::from_pem)?);
        }
        if let Some(fault) = self.fault {
            builder = builder.fault(fault);
        }
        Ok(self.choices.apply(builder))
    }
}

fn timeout(text: &str) -> Result<Timeout, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits
        .parse()
        .map_err(|_| "use a duration like 5s, 500ms or 2m, or 0".to_owned())?;
    let millis = match &text[digits.len()..] {
        "" if number == 0 => return Ok(Timeout(None)),
        "ms" => Some(number),
        "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    match millis {
        Some(0) => Ok(Timeout(None)),
        Some(millis) if millis <= MAX_TIMEOUT => Ok(Timeout(Some(Duration::from_millis(millis)))),
        _ => Err("use a duration like 5s, 500ms or 2m, at most a day, or 0".to_owned()),
    }
}

/// Milliseconds of a day: longer is better said with 0.
const MAX_TIMEOUT: u64 = 24 * 3_600_000;
