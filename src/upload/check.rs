//! Whether what is sent can be received.
//!
//! 1. A template is filled in as OSS would, for two uploads: an image, for which every variable has a
//!    value, and a file for which only those have one that always do.
//! 2. Both bodies are decoded by the decoder that reads callbacks, into the handler's own type.
//! 3. What guards need must stand where they look, filled in by the variable that they take it for.

use crate::{
    Rejection,
    substitution::Mode,
    substitution::{FillOptions, UploadedObject},
    upload::BodyTemplate,
    vars::{BodyKind, Vars},
};

/// An image, and a file without any optional value.
pub(super) fn samples<'a>(names: impl Iterator<Item = &'a str> + Clone) -> [UploadedObject; 2] {
    let custom = |object: UploadedObject| {
        names
            .clone()
            .filter(|name| name.starts_with("x:"))
            .fold(object, |object, name| object.custom(name, "7"))
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
