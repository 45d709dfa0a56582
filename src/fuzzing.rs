//! For the fuzz targets alone: no other build has this module.

use bytes::Bytes;
use http::HeaderMap;

use crate::{
    BodyType, VerifiedCallback,
    callback::UnsignedMetadata,
    verify::{Signature, SignedTarget},
};

/// A callback that nobody signed, for what decodes bodies: signing one takes a thousand times as
/// long as that does.
pub fn unsigned_callback(body: Bytes, body_type: BodyType) -> VerifiedCallback {
    VerifiedCallback::new(
        SignedTarget::parse("/cb").expect("it is a path"),
        body,
        body_type.resolve(&HeaderMap::new()),
        Signature::from_base64(b"AAAA").expect("it is base64"),
        UnsignedMetadata::default(),
    )
}
