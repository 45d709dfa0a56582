//! For the fuzz targets alone: no other build has this module.

use bytes::Bytes;

use crate::{
    BodyType, UnsignedMetadata, VerifiedCallback,
    verify::{PendingCallback, Signature, SignedTarget},
};

/// A callback that nobody signed, for what decodes bodies: signing one takes a thousand times as
/// long as that does.
pub fn unsigned_callback(body: Bytes, body_type: BodyType) -> VerifiedCallback {
    let target = SignedTarget::parse("/cb").expect("it is a path");
    let digest = target.digest(&body);
    let signature = Signature::from_base64(b"AAAA").expect("it is base64");
    let body_kind = body_type.resolve(None);
    PendingCallback::new(target, body_kind, signature, UnsignedMetadata::default())
        .verify(&digest, body)
        .expect("the digest is that of the message")
}
