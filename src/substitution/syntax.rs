//! Where a template has its placeholders.

/// Why a template is malformed. The service refuses each with 0007-00000105.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateSyntax {
    /// A `$` is not followed by `{`. The service has no way of writing a literal `$`: in a form it is
    /// `%24`, in JSON `\u0024`.
    #[error("the `$` at byte {at} is not followed by `{{`")]
    NoBrace {
        /// Where the `$` is, in bytes from the start.
        at: usize,
    },
    /// A `${` has no `}`.
    #[error("the `${{` at byte {at} has no `}}`")]
    Unclosed {
        /// Where the `$` is, in bytes from the start.
        at: usize,
    },
    /// There is no name between the braces, or one with `$` or `{` in it. What the service does with
    /// such a name is not known; refusing it is this crate's choice.
    #[error("the `${{..}}` at byte {at} does not hold a name")]
    NotAName {
        /// Where the `$` is, in bytes from the start.
        at: usize,
    },
}

/// A part of a template.
pub(super) enum Piece<'a> {
    Text(&'a str),
    /// The name between `${` and `}`.
    Variable(&'a str),
}

/// The parts of a template in their order; nothing comes after an error.
pub(super) fn pieces(template: &str) -> Pieces<'_> {
    Pieces { template, at: 0 }
}

pub(super) struct Pieces<'a> {
    template: &'a str,
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Result<Piece<'a>, TemplateSyntax>;

    fn next(&mut self) -> Option<Self::Item> {
        let at = self.at;
        let rest = &self.template[at..];
        match rest.find('$') {
            _ if rest.is_empty() => None,
            Some(0) => Some(self.placeholder(at, rest)),
            dollar => {
                let text = &rest[..dollar.unwrap_or(rest.len())];
                self.at += text.len();
                Some(Ok(Piece::Text(text)))
            }
        }
    }
}

impl<'a> Pieces<'a> {
    fn placeholder(&mut self, at: usize, rest: &'a str) -> Result<Piece<'a>, TemplateSyntax> {
        self.at = self.template.len();
        let inside = rest
            .strip_prefix("${")
            .ok_or(TemplateSyntax::NoBrace { at })?;
        let (name, _) = inside
            .split_once('}')
            .ok_or(TemplateSyntax::Unclosed { at })?;
        if name.is_empty() || name.contains(['$', '{']) {
            return Err(TemplateSyntax::NotAName { at });
        }
        self.at = at + "${".len() + name.len() + "}".len();
        Ok(Piece::Variable(name))
    }
}
