//! Whether what is sent can be received.
//!
//! 1. A template is filled in as OSS would, for two uploads: an image, for which every variable has a
//!    value, and a file for which only those have one that always do.
//! 2. Both bodies are decoded by the decoder that reads callbacks, into the handler's own type.
//! 3. A field that may be absent is not missed by the decoder. One that the template has under another
//!    spelling, or in front of which it has `imageInfo.`, would be absent for ever, so it is refused. Another
//!    field without a variable is not: a type may serve several templates.
//! 4. What guards look at, under the names that they look for, must be what OSS fills in there.
//! 5. What a custom variable will hold is not known. It is tried as a number, a boolean and a word, or
//!    as the sample that the caller gives. A sample of a variable that the template lacks is a mistake.
//! 6. All variables whose values do not fit are [told at once](super::misfits). A variable that is missing
//!    is told alone.

use serde::de::DeserializeOwned;

use super::{BodyTemplate, TemplateError, Var, misfits::Misfits};
use crate::{
    Rejection, RejectionKind, VarNames,
    guard::Variable,
    substitution::{FillOptions, Mode, UploadedObject, with_prefix},
    vars::{BodyKind, Vars, VarsError, fields_of},
};

/// What a custom variable may hold that nobody gave a sample of.
const GUESSES: [&str; 3] = ["7", "true", "sample"];

/// With more guesses to combine, all custom variables have the same one.
const MAX_COMBINED: u32 = 5;

impl BodyTemplate {
    /// Checks that callbacks with this template decode into the type of the handler, and that guards
    /// find in it what they take it for.
    ///
    /// It is meant for the start of an application, or for a test: a template that lost a variable is
    /// found there, and not by the first upload. Each variable that the handler's type demands has to
    /// have a value for any file: `imageInfo.height` is an `Option`.
    ///
    /// ```
    /// use oss_callback::{VarNames, upload::{BodyTemplate, Var}};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Upload {
    ///     object: String,
    ///     size: u64,
    /// }
    ///
    /// let names = VarNames::new();
    /// let template = BodyTemplate::form().var(Var::Object).var(Var::Size).build()?;
    /// template.check::<Upload>(&names)?;
    ///
    /// let template = BodyTemplate::form().var(Var::Object).build()?;
    /// let error = template.check::<Upload>(&names).unwrap_err();
    /// assert!(error.to_string().contains("`size`"));
    /// # Ok::<(), oss_callback::upload::TemplateError>(())
    /// ```
    ///
    /// # Errors
    /// [`TemplateError::Decode`], which names all fields whose values do not fit, and
    /// [`TemplateError::NeverFilled`], which names the field;
    /// [`TemplateError::Missing`], which names the variable.
    pub fn check<T: DeserializeOwned>(&self, names: &VarNames) -> Result<(), TemplateError> {
        self.check_with::<T>(names, &[])
    }

    /// The same, with what custom variables hold: for types that take neither numbers nor any text,
    /// such as an enum or a date.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`TemplateError::UnknownSample`].
    pub fn check_with<T: DeserializeOwned>(
        &self,
        names: &VarNames,
        samples: &[(&str, &str)],
    ) -> Result<(), TemplateError> {
        for (variable, name) in guard_names(names) {
            if self.contains(name) && !self.is_filled_by(name, variable) {
                return Err(missing(name, variable, "puts something else there"));
            }
        }
        let custom = self.custom_variables();
        let mut sampled = samples.iter().map(|(given, _)| with_prefix(given));
        if let Some(name) = sampled.find(|name| !custom.contains(&name.as_str())) {
            return Err(TemplateError::UnknownSample(name));
        }
        let given = |name: &str| {
            let sample = samples.iter().find(|(given, _)| with_prefix(given) == name);
            sample.map(|(_, sample)| *sample)
        };
        let guessed: Vec<&str> = custom
            .iter()
            .copied()
            .filter(|name| given(name).is_none())
            .collect();
        let fill = |object: UploadedObject, guesses: &[&'static str]| {
            custom.iter().fold(object, |object, name| {
                let position = guessed.iter().position(|guessed| guessed == name);
                let value = given(name).or(position.map(|position| guesses[position]));
                object.custom(name, value.unwrap_or_default())
            })
        };
        let mut errors = Vec::new();
        for guesses in combinations(guessed.len()) {
            match self.decode_both::<T>(|object| fill(object, &guesses)) {
                Ok(()) => return self.check_spelling::<T>(),
                Err(error) => errors.push(error),
            }
        }
        for (upload, object) in uploads() {
            let guesses = GUESSES.map(|guess| vec![guess; guessed.len()]);
            let bodies = guesses.map(|guesses| parse(self, &fill(object.clone(), &guesses)));
            let bodies: Vec<Vars> = bodies.into_iter().flatten().collect();
            if let Some(misfits) = Misfits::find::<T>(&bodies) {
                return Err(TemplateError::Decode {
                    is_guessed: misfits.has_guess(),
                    upload,
                    source: Rejection::caused_by(RejectionKind::InvalidVariables, misfits),
                });
            }
        }
        let (upload, source) = deepest(errors);
        Err(TemplateError::Decode {
            is_guessed: !guessed.is_empty() && !misses_a_variable(&source),
            upload,
            source,
        })
    }

    fn check_spelling<T: DeserializeOwned>(&self) -> Result<(), TemplateError> {
        let fields = fields_of::<T>();
        let (vars, _) = self.sample();
        let unread: Vec<&str> = vars.names().filter(|name| !fields.contains(name)).collect();
        for field in fields.iter().filter(|field| !vars.contains(field)) {
            let spelt = |name: &&&str| {
                let plain = name.strip_prefix("imageInfo.").unwrap_or(name);
                spelling(name).eq(spelling(field)) || spelling(plain).eq(spelling(field))
            };
            if let Some(name) = unread.iter().find(spelt) {
                return Err(TemplateError::NeverFilled {
                    field: (*field).to_owned(),
                    name: (*name).to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Checks that guards find these variables where they look for them: [`Var::Size`] for a ticket
    /// that limits it, [`Var::ReqId`] for an [`AgeGuard`](crate::AgeGuard), [`Var::Etag`] for an
    /// `ObjectCheck`, and the custom variable that carries the ticket.
    ///
    /// ```
    /// use oss_callback::{VarNames, upload::{BodyTemplate, Var}};
    ///
    /// let template = BodyTemplate::form()
    ///     .var_as("filename", Var::Object)
    ///     .var(Var::custom("ticket"))
    ///     .build()?;
    /// let needed = [Var::Object, Var::custom("ticket")];
    /// assert!(template.require(&VarNames::new(), &needed).is_err());
    /// template.require(&VarNames::new().object("filename"), &needed)?;
    /// # Ok::<(), oss_callback::upload::TemplateError>(())
    /// ```
    ///
    /// # Errors
    /// [`TemplateError::Missing`], which names the variable.
    pub fn require(&self, names: &VarNames, variables: &[Var]) -> Result<(), TemplateError> {
        for variable in variables {
            let name = guard_name(names, variable);
            if !self.contains(&name) {
                return Err(missing(&name, variable, "does not have it"));
            }
            if !self.is_filled_by(&name, variable) {
                return Err(missing(&name, variable, "puts something else there"));
            }
        }
        Ok(())
    }

    /// The custom variables that it refers to, each once.
    pub(super) fn custom_variables(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .references()
            .into_iter()
            .filter(|name| name.starts_with("x:"))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether the body has a variable of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.sample().0.contains(name)
    }

    /// Whether the body's variable of this name is what OSS fills in for that one.
    fn is_filled_by(&self, name: &str, variable: &Var) -> bool {
        let (vars, object) = self.sample();
        let placeholder = format!("v=${{{}}}", variable.name());
        let expected = fill(&placeholder, Mode::Form, &object);
        // A variable without a value here could be anything.
        expected
            .get("v")
            .is_some_and(|expected| !expected.is_empty() && vars.get(name) == Some(expected))
    }

    /// The custom variable that this variable of the body is filled with.
    pub(super) fn carrier(&self, name: &str) -> Option<&str> {
        let custom = self.custom_variables();
        custom
            .into_iter()
            .find(|custom| self.is_filled_by(name, &Var::custom((*custom).to_owned())))
    }

    /// The variables of an image whose values are all different, and that image.
    fn sample(&self) -> (Vars, UploadedObject) {
        let custom = self.custom_variables();
        let object = custom.iter().fold(image(), |object, name| {
            object.custom(name, format!("the value of {name}"))
        });
        let vars = parse(self, &object).expect("a template was checked when it was made");
        (vars, object)
    }

    fn decode_both<T: DeserializeOwned>(
        &self,
        with_custom: impl Fn(UploadedObject) -> UploadedObject,
    ) -> Result<(), (&'static str, Rejection)> {
        for (upload, object) in uploads() {
            parse(self, &with_custom(object))
                .and_then(|vars| vars.decode_sample::<T>().map_err(of_sample))
                .map_err(|source| (upload, source))?;
        }
        Ok(())
    }
}

fn uploads() -> [(&'static str, UploadedObject); 2] {
    [
        ("those of an image", image()),
        ("those of a file that is no image", file()),
    ]
}

/// With what the type itself says: no value is a sender's.
fn of_sample(error: VarsError) -> Rejection {
    Rejection::caused_by(RejectionKind::InvalidVariables, error)
}

fn vars_error(rejection: &Rejection) -> Option<&VarsError> {
    std::error::Error::source(rejection)?.downcast_ref()
}

/// No value of a variable makes up for another one that is not there.
fn misses_a_variable(rejection: &Rejection) -> bool {
    vars_error(rejection).is_some_and(|cause| cause.missing().is_some())
}

/// A name without what people spell in more than one way: `x:user_id` and `userId`.
fn spelling(name: &str) -> impl Iterator<Item = char> + '_ {
    let name = name.strip_prefix("x:").unwrap_or(name);
    let letters = name.chars().filter(|c| !matches!(c, '_' | '-' | '.'));
    letters.map(|c| c.to_ascii_lowercase())
}

fn missing(name: &str, variable: &Var, problem: &'static str) -> TemplateError {
    TemplateError::Missing {
        name: name.to_owned(),
        variable: variable.name().into_owned(),
        problem,
    }
}

/// What goes wrong at the first variable goes wrong with every guess for those behind it. So the error
/// that comes up least is the one that is furthest into the body, and not owed to a bad guess before. What
/// a type itself says differs with the guess that it quotes, and does not count.
fn deepest(errors: Vec<(&'static str, Rejection)>) -> (&'static str, Rejection) {
    let told = |(upload, source): &(&'static str, Rejection)| {
        let cause = vars_error(source).map(|cause| cause.clone().without_own_text());
        (*upload, cause)
    };
    let all: Vec<_> = errors.iter().map(told).collect();
    let count = |told: &_| all.iter().filter(|other| *other == told).count();
    let counts: Vec<usize> = all.iter().map(count).collect();
    errors
        .into_iter()
        .zip(counts)
        .min_by_key(|(_, count)| *count)
        .map(|(error, _)| error)
        .expect("there is one guess at least")
}

/// What guards look at beside the ticket, whose variable may have any name.
fn guard_names(names: &VarNames) -> [(&'static Var, &str); 7] {
    [
        (&Var::Bucket, names.name(Variable::Bucket)),
        (&Var::Crc64, names.name(Variable::Crc64)),
        (&Var::Etag, names.name(Variable::Etag)),
        (&Var::MimeType, names.name(Variable::MimeType)),
        (&Var::Object, names.name(Variable::Object)),
        (&Var::ReqId, names.name(Variable::ReqId)),
        (&Var::Size, names.name(Variable::Size)),
    ]
}

/// Where guards look for a variable, and for those that they do not look at, its own name.
fn guard_name(names: &VarNames, variable: &Var) -> String {
    if matches!(variable, Var::Custom(_)) {
        return names.name(Variable::Ticket).to_owned();
    }
    let known = guard_names(names);
    let known = known.iter().find(|(known, _)| *known == variable);
    known.map_or_else(
        || variable.name().into_owned(),
        |(_, name)| (*name).to_owned(),
    )
}

/// All ways of guessing so many values.
fn combinations(count: usize) -> Vec<Vec<&'static str>> {
    let length = u32::try_from(count).unwrap_or(u32::MAX);
    if length > MAX_COMBINED {
        return GUESSES.iter().map(|guess| vec![*guess; count]).collect();
    }
    (0..GUESSES.len().pow(length))
        .map(|number| {
            let digits = (0..length).map(|place| number / GUESSES.len().pow(place));
            digits.map(|digit| GUESSES[digit % GUESSES.len()]).collect()
        })
        .collect()
}

/// An image, and a file without any optional value.
pub(super) fn samples<'a>(names: impl Iterator<Item = &'a str> + Clone) -> [UploadedObject; 2] {
    let custom = |object: UploadedObject| {
        names
            .clone()
            .filter(|name| name.starts_with("x:"))
            .fold(object, |object, name| object.custom(name, GUESSES[0]))
    };
    [custom(image()), custom(file())]
}

fn image() -> UploadedObject {
    file()
        .etag("D8E8FCA2DC0F896FD7CB4CB0031BA249")
        .mime_type("image/jpeg")
        .image(539, 810, "jpg")
        .content_md5("2Oj8otwPiW/Xy0ywAxuiSQ==")
        .vpc_id("vpc-sample")
        .operation("PutObject")
}

fn file() -> UploadedObject {
    UploadedObject::new("sample-bucket", "sample/object")
        .etag("D8E8FCA2DC0F896FD7CB4CB0031BA249-2")
        .size(5_242_881)
        .mime_type("application/octet-stream")
        .crc64(10_232_006_911_339_297_646)
        .client_ip("203.0.113.7")
        .req_id("5F0E7A7A3B2E4C3131313131")
        .operation("CompleteMultipartUpload")
}

/// The variables of the body that a template makes for an object.
pub(super) fn parse(template: &BodyTemplate, object: &UploadedObject) -> Result<Vars, Rejection> {
    let body = template
        .fill(object, &FillOptions::new())
        .expect("a template was checked when it was made");
    let kind = match template.mode() {
        Mode::Form => BodyKind::Form,
        Mode::Json => BodyKind::Json,
    };
    Vars::parse(kind, body.as_bytes())
}

fn fill(template: &str, mode: Mode, object: &UploadedObject) -> Vars {
    let template = BodyTemplate::trusted(template.to_owned(), mode);
    parse(&template, object).expect("one placeholder is a body that can be read")
}
