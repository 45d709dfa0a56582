//! `cargo run --release` measures everything and writes `results.json`.
//!
//! `cargo run --release -- keys guards` measures these sections alone, writes their results to its
//! output, and leaves the file as it is: what is kept there was measured in one run.

use std::{env, process::Command};

use oss_callback_peers::{
    Result, http, key_server, keys, layer, measure, replay, requests,
    results::{self, Machine, Results},
    ticket, verify,
};

const SECTIONS: [&str; 5] = ["verify", "layer", "keys", "guards", "http"];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &arguments[..] {
        // What this program starts.
        ["measure", sections @ ..] => measure(sections),
        ["serve", layer] => http::serve(layer),
        ["hold", layer] => http::hold(layer),
        ["load", address, connections, keep_alive] => {
            http::load(address.parse()?, connections.parse()?, keep_alive.parse()?)
        }
        ["fill", store] => replay::fill(store),
        sections if sections.iter().all(|it| SECTIONS.contains(it)) => with_key_server(sections),
        _ => Err(format!("usage: cargo run --release -- [{}]..", SECTIONS.join("|")).into()),
    }
}

/// A process reads the proxy in its environment, so the one that measures is started with it.
fn with_key_server(sections: &[&str]) -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("measure").args(sections);
    key_server::configure(&mut command, key_server::start()?);
    match command.status()?.success() {
        true => Ok(()),
        false => Err("measuring failed".into()),
    }
}

/// Measures these sections; without any, all of them.
fn measure(sections: &[&str]) -> Result<()> {
    let is_wanted = |section: &str| {
        let is_wanted = sections.is_empty() || sections.contains(&section);
        if is_wanted {
            eprintln!("measuring: {section}");
        }
        is_wanted
    };
    let mut results = Results::of(Machine::here()?);
    if is_wanted("verify") {
        let (ways, versions) = verify::ways()?;
        results.machine.versions.extend(versions);
        results.verify = measure::compare(&ways, None)?;
    }
    if is_wanted("layer") {
        results.layer = measure::compare(&layer::ways()?, Some(layer::BARE))?;
        results.requests = measure::compare(&requests::ways()?, Some(requests::BARE))?;
    }
    if is_wanted("keys") {
        results.keys = measure::compare(&keys::ways()?, None)?;
    }
    if is_wanted("guards") {
        results.ticket = measure::compare(&ticket::ways()?, Some(ticket::BARE))?;
        results.replay = measure::compare(&replay::ways()?, None)?;
        results.replay_memory = replay::memory()?;
    }
    if is_wanted("http") {
        results.http = http::compare()?;
        results.memory = http::memory()?;
    }
    results.machine.load_after = results::load()?;
    if sections.is_empty() {
        results.write()?;
        eprintln!("written to {}", results::FILE);
    } else {
        print!("{}", results.json()?);
    }
    Ok(())
}
