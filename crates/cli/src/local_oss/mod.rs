//! `oss-callback local-oss`: turns flags into settings, and events into lines.
//!
//! A reader that keeps the pipe open and reads no more holds up nothing but the lines: uploads go on, and
//! so does a signal's end.

mod args;
mod choices;
mod print;

use std::{error::Error, io, time::Duration};

use oss_callback_local::StartError;

pub(crate) use self::args::Args;
use crate::output;

/// Runs until a signal stops it, or the reader of its lines is gone.
pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(serve(args));
    // Does not wait for a line that nobody reads.
    runtime.shutdown_background();
    result
}

async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    let stop = stop_signal()?;
    let oss = args.builder()?.start().await.map_err(|error| match error {
        StartError::Listen { .. } => {
            format!("{error}: --port names another port, and 0 one that is free").into()
        }
        other => Box::<dyn Error>::from(other),
    })?;
    // Subscribed before the ready line is printed: its reader may upload immediately.
    let mut events = oss.events();
    let ready = if args.json {
        print::ready_json(&oss)
    } else {
        print::ready_text(&oss, &args)
    };
    let mut is_read = line(&ready)?;
    if args.print_key {
        is_read &= line(&if args.json {
            print::private_key_json(oss.key())
        } else {
            oss.key().to_private_pem()
        })?;
    }
    let lines = async {
        while is_read {
            let Some(event) = events.next().await else {
                break;
            };
            let text = if args.json {
                print::event_json(&event)
            } else {
                print::event_text(&event)
            };
            is_read = tokio::task::spawn_blocking(move || line(&text)).await??;
        }
        Ok(())
    };
    tokio::pin!(lines);
    let ended = tokio::select! {
        ended = &mut lines => Some(ended),
        () = stop => None,
    };
    oss.shutdown().await;
    match ended {
        Some(ended) => ended,
        // What happened before the end is said, unless nobody reads it.
        None => tokio::time::timeout(LAST_LINES, lines)
            .await
            .unwrap_or(Ok(())),
    }
}

/// Writes and flushes a line: the reader of a pipe may be waiting for it, or may be gone.
fn line(text: &str) -> io::Result<bool> {
    output::print_if_read(format!("{text}\n").as_bytes())
}

/// Completes on Ctrl-C, or on the SIGTERM of an init system or a container runtime. The handlers are
/// in place when this returns.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Completes on Ctrl-C.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        // Without a handler the default one ends the process.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Far longer than a reader takes that reads.
const LAST_LINES: Duration = Duration::from_secs(1);
