//! The request target as OSS called it.
//!
//! 1. If the application says what was signed, that is it ([`TargetSource::Given`]). It is shown the
//!    target as received: axum's `OriginalUri` where there is one.
//! 2. Inside axum's nested routers the path lacks what the outer routers took from it. They leave the
//!    whole in `OriginalUri`, which counts if its path ends with the current path and its query is the
//!    same. If not, something rewrote the target in between, and no signature could match: the request
//!    is refused with that reason.
//! 3. What a proxy took from the path is put back in front ([`TargetSource::Prefixed`]).
//! 4. Path and query count, not the scheme and authority of a target in absolute form.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{Uri, request::Parts, uri::PathAndQuery};

use crate::{ConfigError, Rejection, RejectionKind, TargetProblem, verify::SignedTarget};

type GivenTarget = dyn Fn(&Parts) -> Cow<'_, str> + Send + Sync;

/// How the signed target is found.
#[derive(Clone, Default)]
pub(super) enum TargetSource {
    #[default]
    AsReceived,
    Given(Arc<GivenTarget>),
    Prefixed(Arc<str>),
}

impl TargetSource {
    pub(super) fn prefixed(prefix: &str) -> Result<Self, ConfigError> {
        let plain = prefix.starts_with('/')
            && !prefix.ends_with('/')
            && !prefix.contains(['?', '#'])
            && SignedTarget::parse(prefix).is_ok();
        if !plain {
            return Err(ConfigError::PathPrefix(prefix.to_owned()));
        }
        Ok(Self::Prefixed(prefix.into()))
    }

    /// Leaves `parts` as they are. They are lent for change because the application's function sees
    /// them with the target as received.
    pub(super) fn resolve(&self, parts: &mut Parts) -> Result<SignedTarget, Rejection> {
        match self {
            Self::AsReceived => SignedTarget::new(received(parts)?.clone()),
            Self::Given(given) => {
                with_original_uri(parts, |parts| SignedTarget::parse(&given(parts)))
            }
            Self::Prefixed(prefix) => SignedTarget::parse(&format!("{prefix}{}", received(parts)?)),
        }
    }
}

#[cfg(all(feature = "diagnose", feature = "tracing"))]
impl TargetSource {
    /// The method of the builder that said what was signed.
    pub(super) fn setting(&self) -> Option<&'static str> {
        match self {
            Self::AsReceived => None,
            Self::Given(_) => Some("signed_target"),
            Self::Prefixed(_) => Some("path_prefix"),
        }
    }
}

impl fmt::Debug for TargetSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsReceived => f.write_str("AsReceived"),
            Self::Given(_) => f.write_str("Given"),
            Self::Prefixed(prefix) => f.debug_tuple("Prefixed").field(prefix).finish(),
        }
    }
}

/// Shows the target as it was before routers cut it.
fn with_original_uri<T>(parts: &mut Parts, look: impl FnOnce(&Parts) -> T) -> T {
    let Some(original) = original_uri(parts).cloned() else {
        return look(parts);
    };
    let cut = std::mem::replace(&mut parts.uri, original);
    let seen = look(parts);
    parts.uri = cut;
    seen
}

/// Path and query as they reached this server.
pub(super) fn received(parts: &Parts) -> Result<&PathAndQuery, Rejection> {
    let current = &parts.uri;
    let uri = match original_uri(parts) {
        Some(original) if is_nested(original, current) => original,
        Some(_) => return Err(refused(TargetProblem::Rewritten)),
        None => current,
    };
    uri.path_and_query()
        .filter(|target| target.path().starts_with('/'))
        .ok_or_else(|| refused(TargetProblem::Malformed))
}

#[cfg(feature = "axum")]
fn original_uri(parts: &Parts) -> Option<&Uri> {
    parts
        .extensions
        .get::<axum::extract::OriginalUri>()
        .map(|original| &original.0)
}

#[cfg(not(feature = "axum"))]
fn original_uri(_: &Parts) -> Option<&Uri> {
    None
}

/// Whether the current URI is what a nested router leaves of the original one. A router that took
/// the whole path leaves `/`.
fn is_nested(original: &Uri, current: &Uri) -> bool {
    original.query() == current.query()
        && (current.path() == "/" || original.path().ends_with(current.path()))
}

fn refused(problem: TargetProblem) -> Rejection {
    RejectionKind::InvalidTarget(problem).into()
}
