//! Which variable serde complains of, where it does not say so.
//!
//! 1. Behind `#[serde(flatten)]` and in tagged and untagged enums, serde takes all values before it
//!    knows their types. What it refuses then it shows, but does not name.
//! 2. So the value is looked for: in all variables, or beneath the last name that is known. It counts only
//!    if it is the only one of its kind.
//! 3. The names that lead to it are the sender's, unless they are documented or the type asks for them. A
//!    type that asks for a name does not see the value under another one, while a map sees it under any;
//!    so the type is tried with two other names, one that begins alike and one that ends alike.
//! 4. It costs a few decodings more of a small body. A large or deep one is not worth them, and the names
//!    in it are not shown.

use std::{borrow::Cow, ops::Range};

use serde::de::DeserializeOwned;

use super::{
    VarsError,
    decode::VarsDeserializer,
    error::{Found, Segment},
    lexer::Lexer,
    names,
    variables::{Value, ValueKind, VarEntry, Vars},
};

/// The bytes of variables that are decoded again for a better error. A template has a handful of
/// variables, [`names::FEW`] of them at most.
const MAX_TRIED: usize = 8 * 1024;

/// The names of one value that are tried, as each is two decodings.
const MAX_TRIED_NAMES: usize = 4;

/// Names the value that serde complains of, as far as that may be known.
#[cold]
pub(super) fn explain<T: DeserializeOwned>(vars: &Vars, error: VarsError) -> VarsError {
    if let Some(field) = error.missing() {
        return match vars.contains(&format!("x:{field}")) {
            true => error.missing_is_custom(),
            false => error,
        };
    }
    let Some((found, path)) = error.shown() else {
        return error;
    };
    let located = locate(vars, found, path).map(|leaf| {
        let known = path.len();
        let steps = leaf.steps.iter().enumerate().skip(known);
        let may_try = vars.entries.len() <= names::FEW
            && vars.text.len() <= MAX_TRIED
            && leaf.steps.len() - known <= MAX_TRIED_NAMES;
        let segments = steps.map(|(depth, step)| match step {
            Step::Item(index) => Segment::Index(*index),
            Step::Name { name, .. } => match names::known(name) {
                Some(name) => Segment::Field(name.into()),
                None if may_try && is_asked_for::<T>(vars, &leaf, depth) => {
                    Segment::Field(name.clone().into_owned().into())
                }
                None => Segment::Key,
            },
        });
        segments.collect::<Vec<_>>()
    });
    error.kept(located.unwrap_or_default())
}

/// A value that is neither an object nor an array.
struct Leaf<'v> {
    /// Which of all leaves it is.
    ordinal: usize,
    variable: usize,
    /// The names and indices that lead to it, that of the variable first.
    steps: Vec<Step<'v>>,
}

#[derive(Clone)]
enum Step<'v> {
    /// With its place in the variable's text, between the quotes; nowhere for the variable's own name.
    Name {
        name: Cow<'v, str>,
        place: Range<usize>,
    },
    Item(usize),
}

/// The only value beneath a path that is the one shown.
fn locate<'v>(vars: &'v Vars, found: Found, path: &[Segment]) -> Option<Leaf<'v>> {
    let mut search = Search {
        found,
        path,
        seen: 0,
        only: None,
    };
    for (variable, (name, value)) in vars.iter().enumerate() {
        let name = Step::Name {
            name: Cow::Borrowed(name),
            place: 0..0,
        };
        let steps = vec![name];
        if value.kind == ValueKind::Nested {
            let mut nested = Nested {
                lexer: Lexer::new(value.text),
                variable,
                steps,
                search: &mut search,
            };
            nested.read()?;
        } else {
            search.see(variable, &steps, Some(value))?;
        }
    }
    search.only
}

/// Compares one value after the other. `None` is its end: a second value fits.
struct Search<'p, 'v> {
    found: Found,
    path: &'p [Segment],
    seen: usize,
    only: Option<Leaf<'v>>,
}

impl<'v> Search<'_, 'v> {
    /// The next value, if it can be compared.
    fn see(&mut self, variable: usize, steps: &[Step<'v>], value: Option<Value<'_>>) -> Option<()> {
        let is_found = value.is_some_and(|value| is_found(value, self.found));
        if is_found && is_beneath(steps, self.path) {
            if self.only.is_some() {
                return None;
            }
            self.only = Some(Leaf {
                ordinal: self.seen,
                variable,
                steps: steps.to_vec(),
            });
        }
        self.seen += 1;
        Some(())
    }
}

fn is_found(value: Value<'_>, found: Found) -> bool {
    let (kind, text) = (value.kind, value.text);
    let is_number = kind == ValueKind::Number;
    match found {
        Found::Bool(truth) => kind == ValueKind::Bool && (text == "true") == truth,
        Found::Float(bits) => {
            is_number
                && text
                    .parse::<f64>()
                    .is_ok_and(|number| number.to_bits() == bits)
        }
        Found::Integer(number) => is_number && text.parse() == Ok(number),
        Found::Null => kind == ValueKind::Null,
        Found::Text { address, length } => {
            kind == ValueKind::Text && text.as_ptr() as usize == address && text.len() == length
        }
        Found::Unknown => false,
    }
}

/// Whether a path, from the inside out, leads to a value or to what it is in.
fn is_beneath(steps: &[Step<'_>], path: &[Segment]) -> bool {
    let known = path.iter().rev().zip(steps);
    path.len() <= steps.len()
        && known
            .into_iter()
            .all(|(segment, step)| match (segment, step) {
                (Segment::Field(field), Step::Name { name, .. }) => field == name,
                (Segment::Index(one), Step::Item(other)) => one == other,
                (Segment::Key, Step::Name { .. }) => true,
                _ => false,
            })
}

/// Goes through an object or array, whose text the body's parser has accepted.
struct Nested<'s, 'p, 'v> {
    lexer: Lexer<'v>,
    variable: usize,
    steps: Vec<Step<'v>>,
    search: &'s mut Search<'p, 'v>,
}

impl<'v> Nested<'_, '_, 'v> {
    /// One value. Bodies are not nested deeper than the parser lets them be.
    fn read(&mut self) -> Option<()> {
        let value = match self.lexer.peek_token()? {
            b'{' => return self.read_members(),
            b'[' => return self.read_items(),
            b'"' => match self.lexer.string().ok()?.decode() {
                Cow::Borrowed(text) => Some(Value {
                    kind: ValueKind::Text,
                    text,
                }),
                // Its escapes are decoded elsewhere in memory each time, so its place tells nothing.
                Cow::Owned(_) => None,
            },
            _ => {
                let (kind, text) = self.lexer.bare_value().ok()?;
                Some(Value { kind, text })
            }
        };
        self.search.see(self.variable, &self.steps, value)
    }

    fn read_members(&mut self) -> Option<()> {
        self.lexer.pass();
        while self.lexer.peek_token()? == b'"' {
            let start = self.lexer.position() + 1;
            let name = self.lexer.string().ok()?.decode();
            let place = start..self.lexer.position() - 1;
            self.lexer.pass_if(b':');
            self.read_at(Step::Name { name, place })?;
        }
        self.lexer.pass();
        Some(())
    }

    fn read_items(&mut self) -> Option<()> {
        self.lexer.pass();
        for index in 0.. {
            if self.lexer.peek_token()? == b']' {
                break;
            }
            self.read_at(Step::Item(index))?;
        }
        self.lexer.pass();
        Some(())
    }

    fn read_at(&mut self, step: Step<'v>) -> Option<()> {
        self.steps.push(step);
        self.read()?;
        self.steps.pop();
        self.lexer.pass_if(b',');
        Some(())
    }
}

/// Whether the type asks for a value under this very name.
fn is_asked_for<T: DeserializeOwned>(vars: &Vars, leaf: &Leaf<'_>, depth: usize) -> bool {
    let Step::Name { name, place } = &leaf.steps[depth] else {
        return false;
    };
    let entry = vars.entries[leaf.variable];
    let value = entry.value(&vars.text);
    let is_variable = depth == 0;
    let others = [true, false].map(|is_end| {
        if is_variable {
            let other = if is_end {
                format!("{name}\0")
            } else {
                format!("\0{name}")
            };
            changed(vars, leaf.variable, &other, value)
        } else {
            let at = if is_end { place.end } else { place.start };
            let text = format!(r"{}\u0000{}", &value.text[..at], &value.text[at..]);
            let renamed = Value {
                kind: value.kind,
                text: &text,
            };
            changed(vars, leaf.variable, vars.name(leaf.variable), renamed)
        }
    });
    others.iter().all(|other| {
        match T::deserialize(VarsDeserializer(other)) {
            Ok(_) => true,
            // A type that checks the names of a map refuses the other name as such: that says
            // nothing of the name being the type's own.
            Err(error) => {
                let complaint = error
                    .shown()
                    .and_then(|(found, path)| locate(other, found, path));
                error.missing() == Some(name)
                    || complaint.is_some_and(|other| other.ordinal != leaf.ordinal)
            }
        }
    })
}

/// The same variables, one of them with another name and value.
fn changed(vars: &Vars, index: usize, name: &str, value: Value<'_>) -> Vars {
    let mut changed = Vars {
        text: vars.text.clone(),
        entries: vars.entries.clone(),
    };
    let start = changed.text.len();
    changed.text.push_str(name);
    let name_end = changed.text.len();
    changed.text.push_str(value.text);
    let end = changed.text.len();
    changed.entries[index] = VarEntry::new(start, name_end, end, value.kind);
    changed
}
