//! How tickets are issued.
//!
//! 1. What a guard would never admit is not issued: a mistake is found when the ticket is made, not
//!    when the upload is complete.
//! 2. An id is 128 random bits, unless the application gives one.

use std::time::{Duration, SystemTime};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{MAX_LIFE, TicketClaims, TicketError, TicketKey, claims::Claims};
use crate::clock::{Clock, unix_seconds};

impl TicketKey {
    /// Issues a ticket that lives from now on for this long, seven days at most.
    ///
    /// The life has to cover the longest upload: the callback comes when it is complete, and a
    /// ticket that expires before refuses it.
    ///
    /// # Errors
    /// A [`TicketError`] for a ticket that no guard would admit: its life is over at once or too
    /// long, a claim is empty or malformed or can never match, `app` does not serialize, it is longer
    /// than 1,024 bytes.
    pub fn issue(&self, claims: &TicketClaims, life: Duration) -> Result<String, TicketError> {
        if life < Duration::from_secs(1) {
            return Err(TicketError::Life);
        }
        match Clock::default().now().checked_add(life) {
            Some(expires) => self.issue_until(claims, expires),
            None => Err(TicketError::Life),
        }
    }

    /// Issues a ticket that expires at this time, in whole seconds.
    ///
    /// A time that is past makes an expired ticket; tests with a clock of their own need it.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_until(
        &self,
        claims: &TicketClaims,
        expires: SystemTime,
    ) -> Result<String, TicketError> {
        let life = expires.duration_since(Clock::default().now());
        if life.is_ok_and(|life| life > MAX_LIFE) {
            return Err(TicketError::Life);
        }
        let id = claims
            .given_id()
            .map_or_else(random_id, |id| Ok(id.to_owned()))?;
        let claims = Claims {
            exp: unix_seconds(expires),
            jti: id,
            ..claims.complete()?.clone()
        };
        claims.check_issuable()?;
        let payload = serde_json::to_vec(&claims).map_err(|_| TicketError::App)?;
        self.sign(&payload)
    }
}

fn random_id() -> Result<String, TicketError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| TicketError::Random)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(id))
}
