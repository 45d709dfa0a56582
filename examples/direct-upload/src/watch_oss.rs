//! What the local OSS says of uploads: that they are stored, and which fault a callback had. The real
//! service says neither, and the page does without.

use std::sync::Arc;

use oss_callback_local::{Callback, CallbackOutcome, Event as OssEvent, Events};

use crate::{app::App, events::Event};

/// Tells users until the server stops.
pub(crate) async fn watch(app: Arc<App>, mut events: Events) {
    let mut stopping = app.stopping.clone();
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            _ = stopping.wait_for(|stopping| *stopping) => return,
        };
        match event {
            None => return,
            Some(OssEvent::Upload(stored)) => {
                if let Some((user, upload)) = app.ledger.owner(&stored.object) {
                    let event = Event::Stored {
                        upload,
                        size: stored.size,
                        request_id: stored.request_id.clone(),
                    };
                    app.feeds.tell(&user, &event);
                }
            }
            Some(OssEvent::Callback(callback)) => called_back(&app, &callback),
            Some(_) => {}
        }
    }
}

fn called_back(app: &App, callback: &Callback) {
    let Some((user, upload)) = app.ledger.owner(&callback.object) else {
        return;
    };
    let failure = match &callback.outcome {
        CallbackOutcome::Failed { message, .. } => Some(message.clone()),
        _ => None,
    };
    // A signature that does not verify names nobody. The local OSS knows whose upload it was.
    let untold = failure
        .as_ref()
        .and_then(|_| app.refusals.take_untold(&callback.request_id));
    if let Some(refusal) = untold {
        app.feeds.tell(&user, &Event::refused(&upload, &refusal));
    }
    if let Some(fault) = callback.fault {
        let fault = fault.to_string();
        let event = Event::Fault {
            upload,
            fault,
            failure,
        };
        app.feeds.tell(&user, &event);
    }
}
