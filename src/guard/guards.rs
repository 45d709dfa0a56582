//! The guards of one layer.

use std::{fmt, sync::Arc, time::Duration};

use http::Extensions;

#[cfg(feature = "ticket")]
use super::ticket;
use super::{Guard, VarNames};
use crate::{ConfigError, metrics::GuardName};

/// What a guard is to the layer's builder. Not nameable outside, so an application's own guard is
/// [`Custom`](Self::Custom).
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    Custom,
    Bucket,
    Age,
    Ticket,
    Object,
    ReplayByTicket,
    ReplayBySignature,
}

impl From<Role> for GuardName {
    fn from(role: Role) -> Self {
        match role {
            Role::Custom => Self::Custom,
            Role::Bucket => Self::Bucket,
            Role::Age => Self::Age,
            Role::Ticket => Self::Ticket,
            Role::Object => Self::Object,
            Role::ReplayByTicket | Role::ReplayBySignature => Self::Replay,
        }
    }
}

/// The guards of a layer, and what they run with.
pub(crate) struct Guards {
    /// In the order in which they are asked.
    pub(crate) list: Vec<Arc<dyn Guard>>,
    /// How long each may take.
    pub(crate) timeout: Duration,
    pub(crate) var_names: VarNames,
}

impl Guards {
    /// Each by itself, and their order.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.list.iter().try_for_each(|guard| guard.check())?;
        let roles: Vec<Role> = self.list.iter().map(|guard| guard.role()).collect();
        let count = |role| roles.iter().filter(|other| **other == role).count();
        // Each would have to find the same ticket, in its place and by its keys.
        if count(Role::Ticket) > 1 {
            return Err(ConfigError::TwoTicketGuards);
        }
        // A guess at "one or the other", where both have to admit.
        if count(Role::Bucket) > 1 {
            return Err(ConfigError::Guard(
                "a layer has one `BucketGuard`: give it all buckets, `BucketGuard::new([..])`",
            ));
        }
        // Else strangers could have it ask OSS, on the application's account.
        let object = roles.iter().position(|role| *role == Role::Object);
        if object.is_some_and(|object| !roles[..object].iter().copied().any(binds)) {
            return Err(ConfigError::Guard(
                "an `ObjectCheck` stands behind a guard that says on whose behalf callbacks come: a \
                 `TicketGuard`, or one of the application's own",
            ));
        }
        check_replay(&roles)
    }

    /// Whether one of them is known to answer callbacks itself.
    pub(crate) fn answer(&self) -> bool {
        self.list.iter().any(|guard| guard.answers())
    }

    /// Whether one of them says on whose behalf the callback comes.
    pub(crate) fn bind(&self) -> bool {
        self.list.iter().any(|guard| binds(guard.role()))
    }
}

/// What a guard of the application does cannot be known, so it counts.
fn binds(role: Role) -> bool {
    matches!(role, Role::Custom | Role::Ticket)
}

/// A replay guard is the last one, and stands behind the guard that limits how long it has to
/// remember.
fn check_replay(roles: &[Role]) -> Result<(), ConfigError> {
    let Some(position) = roles
        .iter()
        .position(|role| matches!(role, Role::ReplayByTicket | Role::ReplayBySignature))
    else {
        return Ok(());
    };
    if position + 1 != roles.len() {
        return Err(ConfigError::ReplayGuardNotLast);
    }
    let (needed, name) = match roles[position] {
        Role::ReplayByTicket => (Role::Ticket, "TicketGuard"),
        _ => (Role::Age, "AgeGuard"),
    };
    if roles.contains(&needed) {
        Ok(())
    } else {
        Err(ConfigError::ReplayGuardWithout(name))
    }
}

impl fmt::Debug for Guards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guards")
            .field("len", &self.list.len())
            .field("timeout", &self.timeout)
            .field("var_names", &self.var_names)
            .finish()
    }
}

/// Removes what guards of an outer layer left for a handler: only what this layer's guards find out
/// may reach it.
pub(crate) fn remove_outputs(extensions: &mut Extensions) {
    #[cfg(feature = "ticket")]
    ticket::remove_extension(extensions);
    #[cfg(all(feature = "reqwest", feature = "upload"))]
    extensions.remove::<super::ObjectFacts>();
    #[cfg(not(feature = "ticket"))]
    let _ = extensions;
}
