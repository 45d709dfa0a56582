//! `oss-callback local-oss`: flags to settings, events to lines.

mod args;
mod print;

use std::{
    error::Error,
    io::{self, Write},
};

pub(crate) use self::args::Args;

/// Runs until it is told to stop.
pub(crate) fn run(args: Args) -> Result<(), Box<dyn Error>> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(args))
}

async fn serve(args: Args) -> Result<(), Box<dyn Error>> {
    let oss = args.builder()?.start().await?;
    // Before the ready line: whoever reads that may upload at once.
    let mut events = oss.events();
    let ready = if args.json {
        print::ready_json(&oss)
    } else {
        print::ready_text(&oss, args.open)
    };
    line(&ready)?;
    if args.print_key {
        line(&if args.json {
            print::private_key_json(oss.key())
        } else {
            oss.key().to_private_pem()
        })?;
    }
    let stop = stop_signal();
    tokio::pin!(stop);
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = &mut stop => break,
        };
        let Some(event) = event else { break };
        let text = if args.json {
            print::event_json(&event)
        } else {
            print::event_text(&event)
        };
        line(&text)?;
    }
    oss.shutdown().await;
    Ok(())
}

/// Writes a line at once, as whoever reads it may wait for it.
fn line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Ctrl-C, or what an init system or a container sends.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    // Without a handler the default one ends the process.
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
