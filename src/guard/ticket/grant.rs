//! What a ticket grants, and whether an upload is it.
//!
//! 1. The signed variables are compared, under the names that the layer's [`VarNames`] give them.
//! 2. A variable that a claim limits and that is absent, empty or of another JSON type is a mismatch,
//!    and so is one with another value. The cause tells these apart.
//!
//! [`VarNames`]: crate::VarNames

use std::{sync::Arc, time::Duration};

use serde_json::value::RawValue;

use super::{
    claims::{Audience, Claims},
    media_type, mismatch,
    object_key::has_dot_segment,
};
use crate::{
    GuardContext, Rejection, RejectionKind,
    guard::var_names::Variable::{Bucket, MimeType, Object, Size},
};

/// The claims of a token that is a ticket.
pub(super) struct TicketGrant {
    pub(super) id: Arc<str>,
    pub(super) expires: Duration,
    pub(super) not_before: Option<Duration>,
    pub(super) audience: Option<Audience>,
    bucket: Option<String>,
    objects: Objects,
    max_size: Option<u64>,
    content_types: Option<Vec<String>>,
    pub(super) app: Option<Box<RawValue>>,
}

/// The objects that a ticket is for.
enum Objects {
    Any,
    One(String),
    Under(String),
}

impl TicketGrant {
    /// Reads the payload of a token, or says why that is not a ticket.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        // serde would take a list for the claims in their order.
        if payload.first() != Some(&b'{') {
            return Err("its payload is not a JSON object");
        }
        let claims: Claims = serde_json::from_slice(payload)
            .map_err(|_| "its claims are not those of a ticket, or not of the right types")?;
        claims.check().map_err(|(_, rule)| rule)?;
        Ok(Self {
            id: claims.jti.into(),
            expires: Duration::from_secs(claims.exp),
            not_before: claims.nbf.map(Duration::from_secs),
            audience: claims.aud,
            bucket: claims.bucket,
            objects: match (claims.object, claims.object_prefix) {
                (Some(object), _) => Objects::One(object),
                (None, Some(prefix)) => Objects::Under(prefix),
                (None, None) => Objects::Any,
            },
            max_size: claims.max_size,
            content_types: claims.content_types,
            app: claims.app,
        })
    }

    /// Compares what is granted with what OSS signed.
    pub(super) fn check_upload(&self, cx: &GuardContext<'_>) -> Result<(), Rejection> {
        const MISMATCH: RejectionKind = RejectionKind::TicketMismatch;

        if let Some(bucket) = &self.bucket {
            if cx.expect_text(Bucket, MISMATCH)? != *bucket {
                return Err(mismatch("it is for another bucket"));
            }
        }
        match &self.objects {
            Objects::Any => {}
            Objects::One(object) => {
                if cx.expect_text(Object, MISMATCH)? != *object {
                    return Err(mismatch("it is for another object"));
                }
            }
            Objects::Under(prefix) => {
                let object = cx.expect_text(Object, MISMATCH)?;
                if !object.starts_with(prefix) || object.len() == prefix.len() {
                    return Err(mismatch("it is for objects under another prefix"));
                }
                // Dots are letters to OSS, but not to what may stand between it and a reader: the
                // object `u/7/../8/a` is under no prefix.
                if has_dot_segment(object) {
                    return Err(mismatch(
                        "it is for objects under a prefix, and the object has a segment `.` or `..`",
                    ));
                }
            }
        }
        if let Some(max_size) = self.max_size {
            if cx.expect_number(Size, MISMATCH)? > max_size {
                return Err(mismatch("the object is larger than its `max_size`"));
            }
        }
        if let Some(types) = &self.content_types {
            let declared = cx.expect_text(MimeType, MISMATCH)?;
            if !types
                .iter()
                .any(|granted| media_type::matches(granted, declared))
            {
                return Err(mismatch("it is for another media type"));
            }
        }
        Ok(())
    }
}
