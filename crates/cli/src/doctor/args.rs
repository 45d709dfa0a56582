//! The flags of `doctor`.

use std::path::PathBuf;

use super::{lang::Lang, render::paint::ColorChoice};

/// The flags of `doctor`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// The captured request; standard input without it, or for -
    ///
    /// Raw HTTP, the output of `curl -v` or `curl --trace`, a command of curl or HTTPie (of `oss-callback sign
    /// --curl`, or copied from a proxy or a browser's tools for a POSIX shell), a call of fetch, Python's
    /// requests or PowerShell as they are copied there, a HAR file, log text that holds the request target and the
    /// headers (nginx's access and debug logs, dumps of header maps, JSON), or the --json log of
    /// `oss-callback local-oss`. The form is recognised.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// The request's body, byte for byte, if the capture does not hold it; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,

    /// The request's path as the application received it, if the capture is of a place in front of that
    ///
    /// An access log of a proxy holds the path that the proxy received. What it made of it is `path=` in the
    /// layer's warning. The query is the capture's.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(crate) path: Option<String>,

    /// Public key: a PEM file (- is standard input), an allowlisted URL, or http:// on this machine
    ///
    /// Without it, the key that the request names: built in for the published v1 key, fetched for other
    /// versions of it. A key of the local OSS has to be given, unless the ready line of its --json log is
    /// there: http://127.0.0.1:9000/_oss/key.pem, or the private key that it was started with, of which
    /// the public half is used.
    #[arg(long, value_name = "FILE|URL")]
    pub(crate) key: Option<String>,

    /// One JSON object instead of text; what is wrong with the flags is said in text
    #[arg(long)]
    pub(crate) json: bool,

    /// Language of the text; by default that of LC_ALL, LC_MESSAGES or LANG
    #[arg(long, value_enum, value_name = "LANG")]
    pub(crate) lang: Option<Lang>,

    /// When to use colours
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub(crate) color: ColorChoice,
}

fn path(text: &str) -> Result<String, &'static str> {
    let is_path = text.starts_with('/') && !text.contains(|c: char| c == '?' || c.is_whitespace());
    match is_path {
        true => Ok(text.to_owned()),
        false => Err("it must begin with a slash, and have no query"),
    }
}

const EXAMPLES: &str = "\
Examples:
  A request that was written to a file as it came in:
    oss-callback doctor request.http

  One that was tried with curl, and its body:
    curl -v --data-binary @body.txt ... 2>curl.log; oss-callback doctor curl.log --body body.txt

  nginx, with headers in its access log, which has the target as nginx received it, before `proxy_pass`
  changes it; what the layer got is path= in its warning:
    log_format oss '\"$request\" authorization=\"$http_authorization\" '
                   'x_oss_pub_key_url=\"$http_x_oss_pub_key_url\" content_md5=\"$http_content_md5\" '
                   'body=\"$request_body\"';
    tail -1 oss.log | oss-callback doctor --path /oss/callback

  A callback as the local OSS sent it (capture there what your application got):
    curl -s http://127.0.0.1:9000/_oss/callbacks |
      oss-callback doctor --key http://127.0.0.1:9000/_oss/key.pem

  For a script:
    oss-callback doctor --json request.http | jq -r .cause

Exit status:
  0  genuine as received
  1  diagnosed, or refused for another reason
  2  unusable input; one line says what was looked for";
