//! What is printed: the ready line, snippets to paste, and a line for each event.

use oss_callback_local::{Callback, CallbackKey, CallbackOutcome, Event, LocalOss};
use serde_json::json;

use super::Args;

/// The first line with `--json`.
pub(crate) fn ready_json(oss: &LocalOss) -> String {
    let credentials = oss.credentials();
    json!({
        "event": "ready",
        "endpoint": oss.endpoint(),
        "key_url": oss.key().url(),
        "public_key_pem": oss.key().public_key_pem(),
        "access_key_id": credentials.access_key_id,
        "access_key_secret": credentials.access_key_secret,
    })
    .to_string()
}

pub(crate) fn private_key_json(key: &CallbackKey) -> String {
    json!({ "event": "key", "private_key_pem": key.to_private_pem() }).to_string()
}

pub(crate) fn event_json(event: &Event) -> String {
    // Serializing fails only for maps with keys other than strings, which events do not contain.
    serde_json::to_string(event).unwrap_or_default()
}

/// The human-readable form, with snippets to paste.
pub(crate) fn ready_text(oss: &LocalOss, args: &Args) -> String {
    let endpoint = oss.endpoint();
    let id = &oss.credentials().access_key_id;
    let secret = &oss.credentials().access_key_secret;
    let key_url = oss.key().url();
    let pem = oss.key().public_key_pem();
    let signatures = if args.open {
        "Every request is let in, signed or not (--open)."
    } else {
        "Request signatures are verified (--open lets every request in)."
    };
    let buckets = if args.bucket.is_empty() {
        "Any bucket is made when it is first written to.".to_owned()
    } else {
        format!("Buckets: {}.", args.bucket.join(", "))
    };
    let bucket = args.bucket.first().map_or("my-bucket", String::as_str);
    format!(
        r#"Local OSS is ready: {endpoint}
  access key id      {id}
  access key secret  {secret}
  callback key URL   {key_url}
  page               {endpoint}/_oss/

{signatures} {buckets}

{pem}
The layer of the application that is called back (never in production):
  OssCallbackLayer::builder()
      .pin_key("{key_url}", PublicKey::from_pem(PEM)?) // PEM: GET {endpoint}/_oss/key.pem
      .build()?

Authorizations in Rust:
  DirectUpload::builder()
      .bucket("{bucket}")
      .endpoint(OssEndpoint::new("cn-hangzhou", "{endpoint}")?)
      .credentials(Credentials::new("{id}", "{secret}"))

Python, oss2:
  bucket = oss2.Bucket(oss2.Auth("{id}", "{secret}"), "{endpoint}", "{bucket}")

Python, alibabacloud-oss-v2:
  config = oss.config.load_default()
  config.credentials_provider = oss.credentials.StaticCredentialsProvider("{id}", "{secret}")
  config.region, config.endpoint = "cn-hangzhou", "{endpoint}"

Node, ali-oss:
  new OSS({{ accessKeyId: "{id}", accessKeySecret: "{secret}", endpoint: "{endpoint}",
            region: "oss-cn-hangzhou", bucket: "{bucket}" }})
      .put("a.jpg", file, {{ mime: file.type, callback: {{ url: "http://127.0.0.1:3000/oss/callback",
            body: "object=${{object}}&size=${{size}}", contentType: "application/x-www-form-urlencoded" }} }})
  // in a browser, where it does not name its bucket, with --bucket {bucket}

Go, V2:
  oss.LoadDefaultConfig().WithRegion("cn-hangzhou").WithEndpoint("{endpoint}").
      WithCredentialsProvider(credentials.NewStaticCredentialsProvider("{id}", "{secret}"))
"#
    )
}

/// One line for an event.
pub(crate) fn event_text(event: &Event) -> String {
    match event {
        Event::Upload(upload) => format!(
            "upload    {} {}/{} {} bytes{}",
            upload.operation,
            upload.bucket,
            shown(&upload.object),
            upload.size,
            if upload.callback {
                ", calling back"
            } else {
                ""
            },
        ),
        Event::Callback(callback) => callback_text(callback),
        Event::Refused(refused) => {
            let ec = refused.ec.as_ref().map(|ec| format!(" (EC {ec})"));
            format!(
                "refused   {} {} {} {}: {}{}",
                refused.method,
                shown(&refused.path),
                refused.status,
                refused.code,
                shown(&refused.message),
                ec.unwrap_or_default(),
            )
        }
        Event::Reset => "reset     everything is forgotten".to_owned(),
        Event::Missed { count, .. } => format!("missed    {count} events came too fast to print"),
        _ => String::new(),
    }
}

fn callback_text(callback: &Callback) -> String {
    let what = format!("{}/{}", callback.bucket, shown(&callback.object));
    let fault = callback.fault.map(|fault| format!(" [{fault}]"));
    let fault = fault.unwrap_or_default();
    let last = callback.attempts.last();
    let url = last.map_or("no URL", |attempt| attempt.url.as_str());
    let took = last.map_or(0, |attempt| attempt.took.as_millis());
    match &callback.outcome {
        CallbackOutcome::Answered => {
            format!(
                "callback  {what} → {url} answered in {took} ms (id {}){fault}",
                callback.id
            )
        }
        CallbackOutcome::Failed { ec, message, .. } => {
            let ec = ec.map(|ec| format!(" (EC {ec})")).unwrap_or_default();
            format!(
                "callback  {what} → {url} FAILED: {message}{ec} (id {}){fault}{}",
                callback.id,
                why(callback),
            )
        }
        _ => format!("callback  {what} → {url}"),
    }
}

/// The beginning of the application's answer, which often states the cause.
fn why(callback: &Callback) -> String {
    match callback.answer() {
        Some(answer) if !answer.body.is_empty() => {
            let text = String::from_utf8_lossy(&answer.body);
            let text: String = text.chars().take(200).collect();
            let hint = if text.contains("KeyUrlNotAllowed") {
                "; does its layer pin this server's key?"
            } else if text.contains("InvalidSignature") {
                "; is the key that its layer pins for this URL that of /_oss/key.pem, and do the path and \
                 the body reach it as they were sent?"
            } else {
                ""
            };
            format!("; the application answered {}{hint}", shown(&text))
        }
        _ => String::new(),
    }
}

/// Escapes control characters: the text comes from a client, and goes to a terminal.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escaped = character.is_control();
            let mut plain = (!escaped).then_some(character).into_iter();
            let mut control = escaped
                .then(|| character.escape_default())
                .into_iter()
                .flatten();
            std::iter::from_fn(move || plain.next().or_else(|| control.next()))
        })
        .collect()
}
