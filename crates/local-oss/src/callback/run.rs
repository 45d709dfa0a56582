//! Runs a callback: fills the template in, tries the URLs, records the outcome.

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use oss_callback::upload::{CallbackUrl, UploadedObject};

use super::{
    Plan,
    image::{self, Image},
    judge::{EC_IMAGE, Failure},
    plan::resolve,
    request::{self, Message, SignedRequest},
    send::{Sent, send},
};
use crate::{
    error::OssError,
    events::Event,
    fault::Fault,
    journal::{Attempt, Callback, CallbackOutcome},
    request_id::RequestId,
    shared::Shared,
    store::ObjectMeta,
};

/// The object that a callback tells of.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) bucket: String,
    pub(crate) key: String,
    pub(crate) operation: &'static str,
    pub(crate) meta: Arc<ObjectMeta>,
    pub(crate) request_id: RequestId,
    pub(crate) client_ip: IpAddr,
}

/// An answer that the service hands to the uploader.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

/// Runs a callback to its end.
///
/// # Errors
/// The failure that the uploader gets with 203.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    plan: Plan,
    stored: Stored,
) -> Result<Accepted, Failure> {
    let fault = plan
        .fault
        .or_else(|| shared.take_fault())
        .or(shared.config.fault);
    if let Some(Fault::Delay(delay)) = fault {
        tokio::time::sleep(delay).await;
    }
    let request_id = match fault {
        Some(Fault::StaleRequestId(age)) => {
            let then = shared.config.now().checked_sub(age);
            stored
                .request_id
                .dated(then.unwrap_or(std::time::UNIX_EPOCH))
        }
        _ => stored.request_id.clone(),
    };
    let mut record = Callback {
        id: shared.journal.next_id(),
        request_id: request_id.to_string(),
        time: shared.config.now(),
        bucket: stored.bucket.clone(),
        object: stored.key.clone(),
        operation: stored.operation,
        fault,
        replay_of: None,
        attempts: Vec::new(),
        outcome: CallbackOutcome::Answered,
    };
    let result = attempts(shared, &plan, &stored, &request_id, fault, &mut record).await;
    if let Err(failure) = &result {
        record.outcome = outcome(failure);
    }
    let id = record.id;
    keep(shared, record);
    if fault == Some(Fault::Duplicate) {
        // The first answer counts: an application may well refuse the copy.
        let _ = replay(shared, id).await;
    }
    result
}

/// Sends the requests of a callback again as they were.
///
/// # Errors
/// If the journal does not have it any more, or a host no longer resolves.
pub(crate) async fn replay(shared: &Arc<Shared>, id: u64) -> Result<Arc<Callback>, OssError> {
    let original = shared.journal.get(id).ok_or_else(|| {
        OssError::new(
            http::StatusCode::NOT_FOUND,
            "NoSuchCallback",
            format!("There is no callback {id}, or it is no longer kept."),
        )
    })?;
    let mut record = Callback {
        id: shared.journal.next_id(),
        time: shared.config.now(),
        fault: None,
        replay_of: Some(original.id),
        attempts: Vec::new(),
        outcome: CallbackOutcome::Answered,
        ..Callback::clone(&original)
    };
    let mut failure = None;
    for attempt in &original.attempts {
        let again = SignedRequest {
            url: attempt.called.clone(),
            headers: attempt.headers.clone(),
            body: attempt.body.clone(),
        };
        let (attempt, verdict) = exchange(shared, again, None).await;
        record.attempts.push(attempt);
        failure = verdict.err();
        if failure.is_none() {
            break;
        }
    }
    if let Some(failure) = &failure {
        record.outcome = outcome(failure);
    }
    Ok(keep(shared, record))
}

async fn attempts(
    shared: &Arc<Shared>,
    plan: &Plan,
    stored: &Stored,
    request_id: &RequestId,
    fault: Option<Fault>,
    record: &mut Callback,
) -> Result<Accepted, Failure> {
    let body = Bytes::from(fill(shared, plan, stored, request_id).await?);
    let message = Message {
        host: plan.params.host(),
        content_type: plan.params.content_type(),
        body: &body,
        bucket: &stored.bucket,
        request_id: request_id.as_str(),
        now: shared.config.now(),
    };
    let mut failure = Failure::status(502);
    for url in plan.params.urls() {
        let signed = request::sign(url, message, &shared.config, &shared.key, fault);
        let (attempt, verdict) = exchange(shared, signed, fault).await;
        let content_type = attempt
            .answer
            .as_ref()
            .and_then(|answer| answer.header("content-type"))
            .map(str::to_owned);
        record.attempts.push(attempt);
        match verdict {
            Ok(body) => return Ok(Accepted { content_type, body }),
            Err(why) => failure = why,
        }
    }
    Err(failure)
}

/// Sends one request, and judges its answer.
async fn exchange(
    shared: &Arc<Shared>,
    signed: SignedRequest,
    fault: Option<Fault>,
) -> (Attempt, Result<Bytes, Failure>) {
    let config = &shared.config;
    let lost = |url: &CallbackUrl| {
        let limit = config
            .callback_timeout
            .unwrap_or(Duration::ZERO)
            .as_millis();
        Failure::timeout(url.authority(), limit, limit)
    };
    let sent = if fault == Some(Fault::Drop) {
        Sent {
            answer: None,
            verdict: Err(lost(&signed.url)),
            took: Duration::ZERO,
        }
    } else {
        match resolve(config, &signed.url).await {
            Ok(addresses) => {
                send(
                    &signed,
                    &addresses,
                    config.callback_timeout,
                    config.callback_http,
                    &shared.callback_spelling,
                )
                .await
            }
            Err(_) => Sent {
                answer: None,
                verdict: Err(Failure::status(
                    "-1. OSS can not connect to your callbackUrl, please check it",
                )),
                took: Duration::ZERO,
            },
        }
    };
    let verdict = if fault == Some(Fault::LoseAnswer) {
        Err(lost(&signed.url))
    } else {
        sent.verdict
    };
    let attempt = Attempt {
        url: signed.url.as_str().to_owned(),
        headers: signed.headers,
        body: signed.body,
        answer: sent.answer,
        failure: verdict
            .as_ref()
            .err()
            .map(|failure| failure.message.clone()),
        took: sent.took,
        called: signed.url,
    };
    (attempt, verdict)
}

async fn fill(
    shared: &Arc<Shared>,
    plan: &Plan,
    stored: &Stored,
    request_id: &RequestId,
) -> Result<String, Failure> {
    let mut object = UploadedObject::new(&stored.bucket, &stored.key)
        .etag(&stored.meta.etag)
        .size(stored.meta.size)
        .mime_type(&stored.meta.content_type)
        .crc64(stored.meta.crc64)
        .client_ip(stored.client_ip.to_string())
        .req_id(request_id.as_str())
        .operation(stored.operation);
    if let Some(md5) = &stored.meta.content_md5 {
        object = object.content_md5(md5);
    }
    if plan.wants_image() {
        let unreadable = || Failure::new(Some(EC_IMAGE), "Get image info failed.");
        if let Some(image) = image_of(shared, stored).await.map_err(|()| unreadable())? {
            object = object.image(image.height, image.width, image.format);
        }
    }
    plan.params
        .fill(&object, &shared.config.fill)
        .map_err(|error| Failure::new(None, error.to_string()))
}

async fn image_of(shared: &Arc<Shared>, stored: &Stored) -> Result<Option<Image>, ()> {
    let opened = shared.store.open(&stored.bucket, &stored.key).await;
    let (_, reader) = opened.map_err(drop)?;
    let head = reader.head(image::HEAD).await.map_err(drop)?;
    image::read(&head).map_err(drop)
}

fn outcome(failure: &Failure) -> CallbackOutcome {
    CallbackOutcome::Failed {
        ec: failure.ec,
        message: failure.message.clone(),
    }
}

fn keep(shared: &Arc<Shared>, record: Callback) -> Arc<Callback> {
    let record = Arc::new(record);
    shared.journal.add(record.clone());
    shared.events.send(Event::Callback(record.clone()));
    record
}
