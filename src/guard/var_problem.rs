//! Why a guard cannot compare a signed variable.

use super::var_names::Variable;

/// What is wrong with a variable that a guard needs. It names variables as the application
/// configured them, and nothing else that the body says.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum VarProblem {
    #[error(
        "the body has no variable `{name}`{}: put `{name}={}` into the template, or say with `var_names` \
         what the template calls it (`VarNames::{}`)",
        Twin(.twin), .variable.placeholder(), .variable.setter()
    )]
    Absent {
        variable: Variable,
        name: String,
        /// The same name with or without `x:`, if the body has a variable of that name.
        twin: Option<String>,
    },
    #[error(
        "the variable `{name}` has no value: OSS had none for `{}`, or the template says something else",
        .variable.placeholder()
    )]
    Empty { variable: Variable, name: String },
    #[error("the variable `{name}` is not text: a JSON template has `\"{name}\":{}`", .variable.placeholder())]
    NotText { variable: Variable, name: String },
    #[cfg(feature = "ticket")]
    #[error("the variable `{name}` is not a plain decimal number")]
    NotNumber { name: String },
}

/// The other name that people give a custom variable: `x:ticket` for `ticket`, and the reverse.
pub(super) fn twin(name: &str) -> String {
    match name.strip_prefix("x:") {
        Some(bare) => bare.to_owned(),
        None => format!("x:{name}"),
    }
}

/// Mentions a variable that is there under the other name.
pub(super) struct Twin<'a>(pub(super) &'a Option<String>);

impl std::fmt::Display for Twin<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(twin) => write!(f, ", but it has `{twin}`"),
            None => Ok(()),
        }
    }
}
