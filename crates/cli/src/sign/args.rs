//! The flags of `sign`.

use std::{path::PathBuf, str::FromStr};

/// The flags of `sign`.
#[derive(clap::Args, Debug)]
#[command(after_long_help = EXAMPLES)]
pub(crate) struct Args {
    /// What is signed: a callback URL, or its path and query
    ///
    /// The signature covers path and query, not the host.
    #[arg(value_name = "URL|TARGET")]
    pub(crate) target: Option<String>,

    /// Print a curl command instead of raw HTTP
    #[arg(long, conflicts_with = "send")]
    pub(crate) curl: bool,

    /// Send it to this http URL; print the answer, and how OSS would judge it
    ///
    /// Without TARGET, the path and query of this URL are signed. With both, one is signed and the other
    /// is called, as a proxy does that rewrites paths. The exit status is 0 if OSS would take the answer.
    #[arg(long, value_name = "URL")]
    pub(crate) send: Option<String>,

    /// Private key that signs: RSA in PEM, as `openssl genrsa 1024` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) key_pem: Option<PathBuf>,

    /// Key URL that the request names; by default that of the local OSS with this key
    #[arg(long, value_name = "URL")]
    pub(crate) key_url: Option<String>,

    /// The callbackBody to fill in: ${bucket}, ${object}, ${x:name}, ..
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["body", "body_file"])]
    pub(crate) template: Option<String>,

    /// A variable's value, of the service (object=a.jpg) or custom (x:user=7); may be repeated
    #[arg(long, value_name = "NAME=VALUE", conflicts_with_all = ["body", "body_file"])]
    pub(crate) var: Vec<Assignment>,

    /// Have the body carry an upload ticket, issued with the key in this file
    ///
    /// The file has the secret in base64, as `TicketKey::from_base64` reads it. The ticket grants the
    /// object of the request for an hour. A --template needs ${x:ticket}; the default one gets it.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "body_file"])]
    pub(crate) ticket_key: Option<PathBuf>,

    /// Id of the ticket key, if the application gave it one with `named`
    #[arg(long, value_name = "ID", requires = "ticket_key")]
    pub(crate) ticket_kid: Option<String>,

    /// What the handler finds in `Ticket::app`
    #[arg(long, value_name = "JSON", requires = "ticket_key")]
    pub(crate) ticket_app: Option<String>,

    /// The body is JSON, and so is the default template
    #[arg(long)]
    pub(crate) json_body: bool,

    /// The body, as it is
    #[arg(long, value_name = "TEXT", conflicts_with = "body_file")]
    pub(crate) body: Option<String>,

    /// The body, byte for byte from a file; - is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) body_file: Option<PathBuf>,
}

/// `name=value`
#[derive(Clone, Debug)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Assignment {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: value.to_owned(),
            }),
            _ => Err("use NAME=VALUE, such as object=a.jpg or x:user=7"),
        }
    }
}

const EXAMPLES: &str = "\
Examples:
  Send a callback to an application that pins the key of `local-oss --key-pem local-oss.pem`:
    oss-callback sign --key-pem local-oss.pem --send http://127.0.0.1:3000/oss/callback

  The same with the application's own template:
    oss-callback sign --key-pem local-oss.pem --send http://127.0.0.1:3000/oss/callback \\
        --template 'object=${object}&size=${size}&user=${x:user}' --var object=a.jpg --var x:user=7

  To an application behind a TicketGuard, whose secret was made with `openssl rand -base64 32`:
    oss-callback sign --key-pem local-oss.pem --send http://127.0.0.1:3000/oss/callback \\
        --ticket-key ticket.key --var object=avatars/7.png --ticket-app '{\"user\":7}'

  A command to change by hand:
    oss-callback sign --key-pem local-oss.pem --curl http://127.0.0.1:3000/oss/callback

  See what a stripped prefix does, and what the doctor says of it:
    oss-callback sign --key-pem local-oss.pem /api/cb | sed '1s|/api||' >request.http
    openssl pkey -in local-oss.pem -pubout -out public.pem
    oss-callback doctor --key public.pem request.http";
