//! The ticket that an application would have issued with the upload.
//!
//! It grants the object of the request, and nothing else, for an hour.

use std::{error::Error, path::Path, time::Duration};

use oss_callback::{TicketClaims, TicketKey};
use serde_json::value::RawValue;

use super::args::Args;
use crate::secret_file;

const LIFE: Duration = Duration::from_secs(60 * 60);

/// How a template names the ticket.
pub(super) const PLACEHOLDER: &str = "${x:ticket}";

/// Its name among the variables.
pub(super) const VAR: &str = "x:ticket";

/// A ticket for this object, if there is a key to issue it with.
pub(super) fn issue(args: &Args, object: &str) -> Result<Option<String>, Box<dyn Error>> {
    let Some(file) = &args.ticket_key else {
        return Ok(None);
    };
    let mut claims = TicketClaims::object(object);
    if let Some(app) = &args.ticket_app {
        let app: &RawValue =
            serde_json::from_str(app).map_err(|error| format!("--ticket-app: {error}"))?;
        claims = claims.app(app);
    }
    let ticket = key(file, args.ticket_kid.as_deref())?.issue(&claims, LIFE)?;
    Ok(Some(ticket))
}

fn key(file: &Path, kid: Option<&str>) -> Result<TicketKey, String> {
    let key = secret_file::read(file, |secret| TicketKey::from_base64(secret))?;
    match kid {
        Some(kid) => key
            .named(kid)
            .map_err(|error| format!("--ticket-kid: {error}")),
        None => Ok(key),
    }
}
