//! Sends a callback, and shows what becomes of the answer.

use std::{error::Error, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::Request;
use oss_callback_local::{CallbackOutcome, Delivery, deliver};

use super::place::Place;
use crate::output;

/// The service gives up then.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn send(place: &Place, request: Request<Bytes>) -> Result<ExitCode, Box<dyn Error>> {
    if place.scheme != "http" {
        return Err("--send speaks plain http; for https, use --curl".into());
    }
    let address = place.resolve()?;
    let delivery = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(deliver(address, request, Some(TIMEOUT)));
    output::print(&shown(&delivery))?;
    let is_taken = delivery.outcome == CallbackOutcome::Answered;
    Ok(ExitCode::from(u8::from(!is_taken)))
}

fn shown(delivery: &Delivery) -> String {
    let answer = match &delivery.answer {
        Some(answer) => {
            let body = String::from_utf8_lossy(&answer.body);
            let body: String = body
                .lines()
                .map(|line| format!("{}\n", output::one_line(line)))
                .collect();
            format!(
                "{} in {} ms\n{body}",
                answer.status,
                delivery.took.as_millis()
            )
        }
        None => format!("no answer in {} ms\n", delivery.took.as_millis()),
    };
    let judged = match &delivery.outcome {
        CallbackOutcome::Answered => {
            "OSS takes this answer: the uploader gets 200 and this body.".to_owned()
        }
        CallbackOutcome::Failed { ec, message, .. } => {
            let ec = ec.map(|ec| format!(", EC {ec}")).unwrap_or_default();
            format!(
                "OSS does not take this answer: the uploader gets 203 CallbackFailed{ec}: {}",
                output::one_line(message)
            )
        }
        _ => "How OSS judges this answer is not known.".to_owned(),
    };
    format!("{answer}{judged}\n")
}
