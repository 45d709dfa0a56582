//! Somebody who tries to be recorded for what they did not upload.
//!
//! 1. Mallory is a user of the application, and a customer of the same cloud: in an account of their
//!    own they have OSS sign any callback that they like. That is a second local OSS with the same key.
//! 2. Mallory can also sign with a key of their own, and name a URL for it: a third local OSS makes the
//!    callback, and Mallory sends it.
//! 3. Nothing is simulated. Each attempt goes over TCP to the layer that receives callbacks, and what is
//!    shown is its answer, beside the reason that the server logged.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use oss_callback::upload::Authorization;
use oss_callback_local::{Callback, Fault, LocalOss};
use reqwest::multipart::Form;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::App,
    authorize::{Granted, grant},
    random::random_name,
    server::Error,
    session::User,
};

const LOOT: &[u8] = b"not what it says";

/// Where Mallory says that their key lies.
const MALLORYS_KEY: &str = "https://mallory.example/callback_pub_key_v1.pem";

/// The attacker, and their servers.
pub(crate) struct Mallory {
    /// An account at the same service: callbacks of it are genuine.
    account: LocalOss,
    /// A service that is not the trusted one. It signs callbacks, and sends none.
    forger: LocalOss,
    client: reqwest::Client,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attack {
    TamperedBody,
    Replay,
    ForeignTicket,
    OtherObject,
    ForgedKeyUrl,
    ForgedBody,
}

/// One attempt, and what came of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attempt {
    /// What was tried: a name, for which the page has words.
    what: &'static str,
    /// Who refused it.
    by: &'static str,
    /// What was sent, without what is long and secret in it.
    sent: String,
    status: u16,
    body: String,
    /// Why, as the server logged it. OSS does not say more than the body.
    reason: Option<String>,
}

pub(crate) async fn attack(
    State(app): State<Arc<App>>,
    user: User,
    Path(attack): Path<Attack>,
) -> Result<Json<Vec<Attempt>>, Response> {
    let refuse = |status: StatusCode, code: &str, message: &str| {
        (status, Json(json!({ "code": code, "message": message }))).into_response()
    };
    let Some(mallory) = &app.mallory else {
        let message = "Attacks need the key of a local OSS.";
        return Err(refuse(StatusCode::NOT_FOUND, "LocalOnly", message));
    };
    let Ok(_permit) = app.attacks.try_acquire() else {
        let message = "Others attack already. Try again.";
        return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "Busy", message));
    };
    match mallory.attack(&app, user, attack).await {
        Ok(Some(attempts)) => Ok(Json(attempts)),
        Ok(None) => {
            let message = "There is no verified callback of yours. Upload a file first.";
            Err(refuse(StatusCode::CONFLICT, "NoCallback", message))
        }
        Err(error) => Err(refuse(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Failed",
            &error.to_string(),
        )),
    }
}

impl Mallory {
    /// `oss` is the service that the application trusts.
    pub(crate) async fn new(oss: &LocalOss) -> Result<Self, Error> {
        Ok(Self {
            account: LocalOss::builder()
                .key(oss.key().clone())
                .open()
                .start()
                .await?,
            forger: LocalOss::builder()
                .open()
                .fault(Fault::Drop)
                .start()
                .await?,
            client: reqwest::Client::builder().no_proxy().build()?,
        })
    }

    /// `None` if it needs a callback of the user's, and there is none.
    async fn attack(
        &self,
        app: &App,
        user: User,
        attack: Attack,
    ) -> Result<Option<Vec<Attempt>>, Error> {
        let attempts = match attack {
            Attack::TamperedBody => match captured(app, &user) {
                Some(captured) => vec![self.tampered_body(app, &captured).await?],
                None => return Ok(None),
            },
            Attack::Replay => match captured(app, &user) {
                Some(captured) => vec![replay(app, &captured).await?],
                None => return Ok(None),
            },
            Attack::ForeignTicket => vec![self.foreign_ticket(app, user).await?],
            Attack::OtherObject => self.other_object(app, user).await?,
            Attack::ForgedKeyUrl => vec![self.forged_key_url(app).await?],
            Attack::ForgedBody => vec![self.forged_body(app).await?],
        };
        Ok(Some(attempts))
    }

    /// Changes the size in a genuine callback, and sends it with its genuine signature.
    async fn tampered_body(&self, app: &App, captured: &Callback) -> Result<Attempt, Error> {
        let body = String::from_utf8_lossy(captured.body()).into_owned();
        let tampered = body.replacen("&size=", "&size=9", 1);
        let sent = shown(&tampered);
        self.send("tampered-body", app, captured, sent, tampered, None)
            .await
    }

    /// Sends a callback with another body, or with the URL of another key: what was signed does not have
    /// that URL in it.
    async fn send(
        &self,
        what: &'static str,
        app: &App,
        callback: &Callback,
        sent: String,
        body: String,
        key_url: Option<&str>,
    ) -> Result<Attempt, Error> {
        let mut request = self.client.post(&app.callback_url);
        let attempt = callback.attempts.last();
        for (name, value) in attempt.iter().flat_map(|attempt| &attempt.headers) {
            match (*name, key_url) {
                // The client says these itself.
                ("Host" | "Connection" | "Content-Length", _) => {}
                ("x-oss-pub-key-url", Some(url)) => {
                    request = request.header(*name, BASE64_STANDARD.encode(url));
                }
                _ => request = request.header(*name, value),
            }
        }
        let response = request.body(body).send().await?;
        Ok(Attempt {
            what,
            by: "app",
            sent,
            status: response.status().as_u16(),
            body: response.text().await?,
            reason: reason(app, &callback.request_id),
        })
    }

    /// Mallory uploads something, and has it recorded as the user's with a ticket of the user's.
    async fn foreign_ticket(&self, app: &App, user: User) -> Result<Attempt, Error> {
        let stolen = grant(app, user, "image/png", ".png")?;
        let object = format!("mallory/{}.png", random_name()?);
        let callback = self
            .forge(&self.account, app, &object, ticket(&stolen.authorization))
            .await?;
        Ok(refused("foreign-ticket", app, &callback))
    }

    /// Mallory may upload one object, and tries to get hold of the user's.
    async fn other_object(&self, app: &App, user: User) -> Result<Vec<Attempt>, Error> {
        let own = self.grant(app)?;
        let victim = grant(app, user, "image/png", ".png")?.object;
        let at_oss = self.post_as(&own.authorization, &victim).await?;
        let callback = self
            .forge(&self.account, app, &victim, ticket(&own.authorization))
            .await?;
        Ok(vec![
            at_oss,
            refused("other-object-account", app, &callback),
        ])
    }

    /// The form that Mallory was given, with another key in it.
    async fn post_as(&self, own: &Authorization, object: &str) -> Result<Attempt, Error> {
        let mut form = Form::new();
        for (name, value) in own.fields() {
            let value = if name == "key" { object } else { value };
            form = form.text(name.clone(), value.to_owned());
        }
        let form = form.text("file", String::from_utf8_lossy(LOOT));
        let response = self.client.post(own.url()).multipart(form).send().await?;
        Ok(Attempt {
            what: "other-object-form",
            by: "oss",
            sent: format!("key={object}"),
            status: response.status().as_u16(),
            body: response.text().await?,
            reason: None,
        })
    }

    /// A callback that is right in everything, signed with a key of Mallory's.
    async fn forged_key_url(&self, app: &App) -> Result<Attempt, Error> {
        let own = self.grant(app)?;
        let callback = self
            .forge(&self.forger, app, &own.object, ticket(&own.authorization))
            .await?;
        let sent = format!("x-oss-pub-key-url: {MALLORYS_KEY}");
        let body = String::from_utf8_lossy(callback.body()).into_owned();
        self.send(
            "forged-key-url",
            app,
            &callback,
            sent,
            body,
            Some(MALLORYS_KEY),
        )
        .await
    }

    /// Mallory's own valid ticket and object, a genuine signature, and no upload at all.
    async fn forged_body(&self, app: &App) -> Result<Attempt, Error> {
        let own = self.grant(app)?;
        let callback = self
            .forge(&self.account, app, &own.object, ticket(&own.authorization))
            .await?;
        Ok(refused("forged-body", app, &callback))
    }

    /// Has an OSS send a callback about an object in the application's bucket, which was never uploaded
    /// there. Its signature is genuine all the same: OSS signs what it is told to send.
    async fn forge(
        &self,
        oss: &LocalOss,
        app: &App,
        object: &str,
        ticket: &str,
    ) -> Result<Arc<Callback>, Error> {
        let body = format!(
            "bucket={}&object={object}&size={}&mimeType=image/png&etag=0123456789ABCDEF0123456789ABCDEF\
             &reqId=${{reqId}}&ticket={ticket}",
            app.oss.bucket,
            LOOT.len(),
        );
        let params = json!({ "callbackUrl": app.callback_url, "callbackBody": body });
        let own_object = random_name()?;
        let url = format!("{}/mallorys-bucket/{own_object}", oss.endpoint());
        self.client
            .put(url)
            .header("x-oss-callback", BASE64_STANDARD.encode(params.to_string()))
            .body(LOOT)
            .send()
            .await?;
        let is_it = |callback: &Callback| callback.object == own_object;
        Ok(oss.wait_for_callback(is_it).await?)
    }

    fn grant(&self, app: &App) -> Result<Granted, Error> {
        Ok(grant(app, User::named("mallory"), "image/png", ".png")?)
    }
}

/// The latest verified callback of the user.
fn captured(app: &App, user: &User) -> Option<Arc<Callback>> {
    let oss = app.oss.local.as_ref()?;
    let is_own = |callback: &&Arc<Callback>| {
        let owner = app.ledger.owner(&callback.object);
        callback.is_success() && owner.is_some_and(|(owner, _)| owner == *user)
    };
    oss.callbacks().iter().rev().find(is_own).cloned()
}

/// The same callback once more.
async fn replay(app: &App, captured: &Callback) -> Result<Attempt, Error> {
    let oss = app.oss.local.as_ref().ok_or("there is no local OSS")?;
    let callback = oss.replay(captured.id).await?;
    Ok(refused("replay", app, &callback))
}

fn refused(what: &'static str, app: &App, callback: &Callback) -> Attempt {
    let answer = callback.answer();
    Attempt {
        what,
        by: "app",
        sent: shown(&String::from_utf8_lossy(callback.body())),
        status: answer.map_or(0, |answer| answer.status),
        body: answer.map_or_else(String::new, |answer| {
            String::from_utf8_lossy(&answer.body).into_owned()
        }),
        reason: reason(app, &callback.request_id),
    }
}

fn reason(app: &App, request_id: &str) -> Option<String> {
    app.refusals.of(request_id).map(|refusal| refusal.reason)
}

/// The ticket of an authorization.
fn ticket(authorization: &Authorization) -> &str {
    let mut vars = authorization.callback().vars();
    vars.find(|(name, _)| *name == "x:ticket")
        .map_or("", |(_, ticket)| ticket)
}

/// A body without its ticket, which is long, and good for an upload.
fn shown(body: &str) -> String {
    let pairs = body.split('&').map(|pair| match pair.split_once('=') {
        Some(("ticket", _)) => "ticket=…",
        _ => pair,
    });
    pairs.collect::<Vec<_>>().join("&")
}
