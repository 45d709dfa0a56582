//! The check of a ticket: an HS256 JWT in a variable of the callback.
//!
//! 1. A router with the layer and one guard is called, as in [`layer`](crate::layer). What counts is
//!    what the guard adds to one that reads a variable, since somebody has to parse the body.
//! 2. `oss-callback` is the `TicketGuard`. `jsonwebtoken` is a guard as an application writes it: it
//!    has the token decoded into its claims, without leeway and refusing claims that it does not
//!    know, compares them with the signed bucket, object, size and media type, and leaves them for
//!    the handler. Its back end is that of RustCrypto, which hashes with the code that `TicketGuard`
//!    uses: what differs is all the rest.
//! 3. Both take the ticket that `oss-callback` issued. Both refuse an altered one, and one for
//!    another object, before they are measured.
//! 4. Only `TicketGuard` also looks into the query for a second ticket, and refuses a life of more than
//!    seven days and an object with dots for a segment.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    http::StatusCode,
    routing::{MethodRouter, post},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use oss_callback::{
    Admission, Guard, GuardContext, Rejection, TicketClaims, TicketGuard, TicketKey, async_trait,
};
use serde::Deserialize;

use crate::{
    OURS, Result,
    callback::{self, Callback},
    layer::{self, ANSWER},
    measure::Way,
};

pub const BARE: &str = "a guard that reads a variable";
const PEER: &str = "jsonwebtoken";

const SECRET: [u8; 32] = *b"a secret of 256 bits, for tests.";

/// Longer than the benchmark takes.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

pub fn ways() -> Result<Vec<Way>> {
    let ticket = TicketKey::new(SECRET)?.issue(
        &TicketClaims::object_prefix("avatars/42/")
            .bucket("photos")
            .max_size(5 << 20)
            .content_types(["image/png", "image/jpeg"])
            .app(&42),
        LIFE,
    )?;
    // One letter of its claims.
    let mut altered = ticket.clone().into_bytes();
    altered[60] ^= 1;
    let altered = callback("avatars/42/a.png", &String::from_utf8(altered)?);
    let elsewhere = callback("avatars/43/a.png", &ticket);
    let genuine = callback("avatars/42/a.png", &ticket);

    let guards = [
        (BARE, layer::of_signed().guard(ReadsVariable)),
        (
            OURS,
            layer::of_signed().guard(TicketGuard::new(TicketKey::new(SECRET)?)),
        ),
        (PEER, layer::of_signed().guard(JsonWebToken::new())),
    ];
    guards
        .into_iter()
        .map(|(name, layer)| {
            let handler: MethodRouter = post(async |_: Bytes| ANSWER);
            let router = Router::new().route(callback::PATH, handler.route_layer(layer.build()?));
            for refused in [&altered, &elsewhere] {
                assert_eq!(layer::is_accepted(&router, refused)?, name == BARE);
            }
            Ok(layer::way(name, router, genuine.clone(), StatusCode::OK))
        })
        .collect()
}

fn callback(object: &str, ticket: &str) -> Callback {
    let object = object.replace('/', "%2F");
    let body = format!("bucket=photos&object={object}&size=7&mimeType=image%2Fpng&ticket={ticket}");
    callback::signed(body.into())
}

struct ReadsVariable;

#[async_trait]
impl Guard for ReadsVariable {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        cx.bucket()?.ok_or_else(refused)?;
        Ok(Admission::granted())
    }
}

struct JsonWebToken {
    key: DecodingKey,
    validation: Validation,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    #[serde(rename = "exp")]
    _expires: u64,
    #[serde(rename = "jti")]
    _id: String,
    bucket: String,
    object_prefix: String,
    max_size: u64,
    content_types: Vec<String>,
    #[serde(rename = "app")]
    _app: u64,
}

impl JsonWebToken {
    fn new() -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_nbf = true;
        Self {
            key: DecodingKey::from_secret(&SECRET),
            validation,
        }
    }
}

#[async_trait]
impl Guard for JsonWebToken {
    async fn admit(&self, cx: &mut GuardContext<'_>) -> Result<Admission, Rejection> {
        let ticket = cx.callback().var("ticket")?.ok_or_else(refused)?;
        let decoded = jsonwebtoken::decode::<Claims>(ticket, &self.key, &self.validation);
        let granted = decoded.map_err(|_| refused())?.claims;
        let is_granted = cx.bucket()? == Some(&granted.bucket)
            && cx
                .object()?
                .is_some_and(|object| object.starts_with(&granted.object_prefix))
            && cx.size()?.is_some_and(|size| size <= granted.max_size)
            && cx
                .mime_type()?
                .is_some_and(|declared| granted.content_types.iter().any(|it| it == declared));
        if !is_granted {
            return Err(refused());
        }
        cx.extensions_mut().insert(Arc::new(granted));
        Ok(Admission::granted())
    }
}

fn refused() -> Rejection {
    Rejection::refused("no ticket for this upload")
}
