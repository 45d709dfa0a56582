//! The sending side: what an uploader needs, so that the callback will be recognised.
//!
//! A server authorizes an upload, a client sends the object to OSS, and OSS calls the server back. The
//! rest of this crate is about the callback; this module is about what comes before it, and about
//! asking OSS itself.
//!
//! 1. [`DirectUpload`] is the one call: a limit that is said once reaches the ticket, the policy and
//!    the template. It is built at the start of the application, and everything that can be known then
//!    is checked then.
//! 2. [`BodyTemplate`] writes the callback's body without the traps of escaping, and
//!    [checks](BodyTemplate::check) that it decodes into the type of the handler, for an image and for
//!    a file that is not an image.
//! 3. [`CallbackParams`] are what OSS takes. What it would refuse is refused when they are built, with
//!    its error code. They are written to headers, a query or the fields of a form, and parsed back
//!    from each.
//! 4. [`PostPolicy`] and [`PresignedPut`] sign uploads. Both demand the callback as it was made, and
//!    that nothing is overwritten unless that is allowed.
//! 5. `ObjectClient` (with the feature `reqwest`) asks OSS what is stored, and `ObjectCheck` refuses a
//!    callback that says otherwise: a ticket proves who was authorized, not what was uploaded.
//! 6. Nothing here reads a clock, but for [`DirectUpload`] and `ObjectClient`, which can be given one.
//!    Nothing resolves a name or connects, but for [`CallbackParams::check_reachable`] and
//!    `ObjectClient`.
//!
//! # Authorize an upload
//!
//! ```
//! use std::time::SystemTime;
//!
//! use oss_callback::{
//!     OssCallbackLayer, TicketClaims, TicketGuard, TicketKey, VerifiedCallback,
//!     test_util::CallbackSigner,
//!     upload::{
//!         BodyTemplate, Credentials, DirectUpload, FillOptions, OssEndpoint, UploadedObject, Var,
//!     },
//! };
//! use serde::Deserialize;
//!
//! /// What the handler of the callback extracts.
//! #[derive(Deserialize)]
//! struct Upload {
//!     object: String,
//!     size: u64,
//!     #[serde(rename = "imageInfo.width")]
//!     width: Option<u64>,
//! }
//!
//! // At the start:
//! let key = TicketKey::generate()?;
//! let uploads = DirectUpload::builder()
//!     .bucket("photos")
//!     .endpoint(OssEndpoint::of_region("cn-hangzhou")?)
//!     .credentials(Credentials::new("LTAI..", "secret"))
//!     .callback_url("https://app.example/oss/callback")
//!     .template(BodyTemplate::form().var(Var::ImageWidth).build()?)
//!     .ticket_key(key.clone())
//!     .decodes_into::<Upload>()
//!     .build()?;
//!
//! // For each upload; the answer to the client is its JSON:
//! let claims = TicketClaims::object("avatars/42.png").max_size(5 << 20);
//! let authorization = uploads.authorize(&claims)?;
//! let fields = authorization.fields();
//! assert_eq!(fields[0], ("key".to_owned(), "avatars/42.png".to_owned()));
//!
//! // What OSS makes of it when the object is there:
//! let stored = UploadedObject::new("photos", "avatars/42.png")
//!     .size(7)
//!     .mime_type("image/png")
//!     .etag("5EB63BBBE01EEED093CB22BB8F5ACDC3")
//!     .req_id("6547A1B03B2E4C3131313131");
//! let body = authorization.callback().fill(&stored, &FillOptions::new())?;
//!
//! // The callback is recognised:
//! let signer = CallbackSigner::new();
//! let callback = signer.verify(signer.form("/oss/callback", body))?;
//! let upload: Upload = callback.decode()?;
//! assert_eq!((upload.object.as_str(), upload.size, upload.width), ("avatars/42.png", 7, None));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # In the browser
//!
//! The page posts the fields as they come, and the file behind them. The bucket needs a CORS rule for
//! the page's origin.
//!
//! ```text
//! const upload = await (await fetch("/uploads", { method: "POST" })).json();
//! const form = new FormData();
//! for (const [name, value] of Object.entries(upload.fields)) form.append(name, value);
//! form.append("file", file);
//! const answer = await fetch(upload.url, { method: "POST", body: form });
//! if (answer.status !== 200) throw new Error(`not recorded: ${answer.status}`); // 203: the callback failed
//! ```
//!
//! # What is left to the service
//!
//! Whether a name resolves and to which address, whether the credentials may do what they sign for, and
//! whether a bucket exists is known to the service alone. Its answer to an upload whose callback failed
//! is `203`, which some clients take for success: let pages look at the status.

mod callback_url;
mod check;
mod credentials;
mod direct;
mod endpoint;
mod error;
mod misfits;
#[cfg(feature = "reqwest")]
mod object;
#[cfg(feature = "reqwest")]
mod object_check;
mod params;
mod places;
mod policy;
mod presign;
mod reachable;
mod rules;
mod sign;
mod template;
mod terms;

pub use self::{
    callback_url::CallbackUrl,
    credentials::Credentials,
    direct::{Authorization, DirectUpload, DirectUploadBuilder},
    endpoint::OssEndpoint,
    error::{HttpClientError, UploadError},
    params::{CallbackParams, CallbackParamsBuilder},
    places::{CALLBACK_HEADER, CALLBACK_VAR_HEADER},
    policy::{PostForm, PostPolicy},
    presign::{PresignedPut, PresignedRequest},
    reachable::Unreachable,
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
