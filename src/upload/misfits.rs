//! All variables at once that a type does not take.
//!
//! 1. serde ends at the first value that its type refuses. So each variable is decoded alone: its value is
//!    read before the others are missed. What the type says of anything else does not count.
//! 2. A variable is told if every guess of its value is refused. The guess is told of which the type itself
//!    says something, if there is one.
//! 3. The first few are told, and the others counted.

use std::fmt;

use serde::de::DeserializeOwned;

use crate::vars::{Vars, VarsError};

/// How many are told.
const MAX_TOLD: usize = 8;

/// The variables whose values do not fit, with what is wrong with each of them.
#[derive(Debug)]
pub(super) struct Misfits {
    errors: Vec<VarsError>,
    has_guess: bool,
}

impl Misfits {
    /// Decodes the bodies of one template, in which what is guessed differs; `None` if it is not a value
    /// that they are refused for.
    pub(super) fn find<T: DeserializeOwned>(bodies: &[Vars]) -> Option<Self> {
        let mut found = Self {
            errors: Vec::new(),
            has_guess: false,
        };
        let first = bodies.first()?;
        for name in first.names() {
            let refused = |body: &Vars| {
                let error = body.only(name).decode_sample::<T>().err()?;
                (error.variable() == Some(name)).then_some(error)
            };
            let Some(errors) = bodies.iter().map(refused).collect::<Option<Vec<_>>>() else {
                continue;
            };
            found.has_guess |= bodies.iter().any(|body| body.get(name) != first.get(name));
            let error = errors.into_iter().max_by_key(VarsError::has_own_text);
            found.errors.extend(error);
        }
        (!found.errors.is_empty()).then_some(found)
    }

    /// Whether the value of one of them was guessed.
    pub(super) fn has_guess(&self) -> bool {
        self.has_guess
    }
}

impl std::error::Error for Misfits {}

impl fmt::Display for Misfits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.errors.iter().take(MAX_TOLD).enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        match self.errors.len().saturating_sub(MAX_TOLD) {
            0 => Ok(()),
            others => write!(f, "; and {others} more"),
        }
    }
}
