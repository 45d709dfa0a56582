//! The sending side: what an uploader needs, so that the callback will be recognised.

mod callback_url;
mod check;
mod credentials;
mod direct;
mod error;
#[cfg(feature = "reqwest")]
mod object;
#[cfg(feature = "reqwest")]
mod object_check;
mod params;
mod places;
mod policy;
mod presign;
mod rules;
mod sign;
mod template;

pub use self::{
    callback_url::CallbackUrl,
    credentials::{Credentials, OssEndpoint},
    direct::{Authorization, DirectUpload, DirectUploadBuilder},
    error::UploadError,
    params::{CallbackParams, CallbackParamsBuilder},
    places::{CALLBACK_HEADER, CALLBACK_VAR_HEADER},
    policy::{PostForm, PostPolicy},
    presign::{PresignedPut, PresignedRequest},
    rules::{ParamsError, ParamsRule},
    sign::SignatureVersion,
    template::{BodyTemplate, BodyTemplateBuilder, TemplateError, Var},
};
#[cfg(feature = "reqwest")]
pub use self::{
    object::{ObjectClient, ObjectClientBuilder, ObjectError},
    object_check::ObjectCheck,
};
#[cfg(feature = "reqwest")]
pub use crate::guard::ObjectFacts;
pub use crate::substitution::{
    EmptyText, FillError, FillOptions, FormEncoding, JsonText, MissingCustom, TemplateSyntax,
    UnknownVariable, UploadedObject,
};
