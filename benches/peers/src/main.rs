//! `cargo run --release` measures everything and writes `results.json`.

use std::{env, process::Command};

use oss_callback_peers::{
    Result, http, key_server, layer, measure,
    results::{self, Layer, Machine, Results, Verify},
    verify,
};

const THREADS: [usize; 2] = [1, 2];

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => with_key_server(),
        // The rest is what this program starts.
        ["measure"] => measure(),
        ["serve", layer] => http::serve(layer),
        ["hold", layer] => http::hold(layer),
        ["load", address, connections, keep_alive] => {
            http::load(address.parse()?, connections.parse()?, keep_alive.parse()?)
        }
        _ => Err("usage: cargo run --release".into()),
    }
}

/// A process reads the proxy in its environment, so the one that measures is started with it.
fn with_key_server() -> Result<()> {
    let mut command = Command::new(env::current_exe()?);
    key_server::configure(command.arg("measure"), key_server::start()?);
    match command.status()?.success() {
        true => Ok(()),
        false => Err("measuring failed".into()),
    }
}

fn measure() -> Result<()> {
    let mut machine = Machine::here()?;
    let (ways, versions) = verify::ways()?;
    machine.versions.extend(versions);
    let routers = layer::ways()?;

    let (mut verify, mut layer) = (Vec::new(), Vec::new());
    for threads in THREADS {
        eprintln!("verifying, on {threads} thread(s)");
        let times = measure::nanoseconds(&ways, threads)?;
        let ours = times[position(&ways, verify::OURS)?];
        verify.extend(ways.iter().zip(times).map(|(way, nanoseconds)| Verify {
            name: way.name.clone(),
            threads,
            nanoseconds,
            ratio: nanoseconds / ours,
        }));

        eprintln!("layers, on {threads} thread(s)");
        let times = measure::nanoseconds(&routers, threads)?;
        let bare = times[position(&routers, layer::BARE)?];
        let ours = times[position(&routers, layer::OURS)?] - bare;
        layer.extend(routers.iter().zip(times).map(|(way, nanoseconds)| Layer {
            name: way.name.clone(),
            threads,
            nanoseconds,
            added: nanoseconds - bare,
            ratio: (nanoseconds - bare) / ours,
        }));
    }
    eprintln!("servers");
    let http = http::compare()?;
    eprintln!("memory");
    let memory = http::memory()?;
    machine.load_after = results::load()?;
    let results = Results {
        machine,
        verify,
        layer,
        http,
        memory,
    };
    results.write()?;
    eprintln!("written to {}", results::FILE);
    Ok(())
}

fn position(ways: &[measure::Way], name: &str) -> Result<usize> {
    let position = ways.iter().position(|way| way.name == name);
    Ok(position.ok_or("a way is missing")?)
}
