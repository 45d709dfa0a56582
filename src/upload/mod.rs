//! The sending side: what an uploader needs, so that the callback will be recognised.

mod callback_url;
mod check;
mod params;
mod places;
mod rules;
mod sign;
mod template;

pub use self::{
    callback_url::CallbackUrl,
    params::{CallbackParams, CallbackParamsBuilder},
    places::{CALLBACK_HEADER, CALLBACK_VAR_HEADER},
    rules::{ParamsError, ParamsRule},
    template::{BodyTemplate, BodyTemplateBuilder, TemplateError, Var},
};
pub use crate::substitution::{
    EmptyText, FillError, FillOptions, FormEncoding, JsonText, MissingCustom, TemplateSyntax,
    UnknownVariable, UploadedObject,
};
