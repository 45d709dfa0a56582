//! What was measured, and on what.

use std::{fs, process::Command};

use serde::{Deserialize, Serialize};

use crate::Result;

/// The results that the charts are made from.
pub const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results.json");

#[derive(Debug, Deserialize, Serialize)]
pub struct Results {
    pub machine: Machine,
    pub verify: Vec<Time>,
    pub layer: Vec<Time>,
    pub requests: Vec<Time>,
    pub keys: Vec<Time>,
    pub ticket: Vec<Time>,
    pub replay: Vec<Time>,
    pub replay_memory: Vec<ReplayMemory>,
    pub http: Vec<Http>,
    pub memory: Vec<Memory>,
}

#[derive(Debug, Deserialize, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub system: String,
    pub date: String,
    /// Of the last minute, before and after. The benchmark itself makes some.
    pub load_before: String,
    pub load_after: String,
    pub versions: Vec<String>,
}

/// One way, called in process.
#[derive(Debug, Deserialize, Serialize)]
pub struct Time {
    pub name: String,
    pub threads: usize,
    pub nanoseconds: f64,
    /// Of the time that `oss-callback` took on as many threads. Where there is a bare way to which
    /// the others add something, of what `oss-callback` added.
    pub ratio: f64,
}

/// One server in one setup.
#[derive(Debug, Deserialize, Serialize)]
pub struct Http {
    pub name: String,
    pub connections: usize,
    pub keep_alive: bool,
    pub per_second: f64,
    pub p50_microseconds: f64,
    pub p99_microseconds: f64,
}

/// One server that holds requests.
#[derive(Debug, Deserialize, Serialize)]
pub struct Memory {
    pub name: String,
    pub requests: usize,
    pub bytes_per_request: usize,
}

/// One replay store, filled.
#[derive(Debug, Deserialize, Serialize)]
pub struct ReplayMemory {
    pub name: String,
    pub entries: u64,
    pub bytes_per_entry: u64,
}

impl Results {
    /// None yet.
    pub fn of(machine: Machine) -> Self {
        Self {
            machine,
            verify: Vec::new(),
            layer: Vec::new(),
            requests: Vec::new(),
            keys: Vec::new(),
            ticket: Vec::new(),
            replay: Vec::new(),
            replay_memory: Vec::new(),
            http: Vec::new(),
            memory: Vec::new(),
        }
    }

    pub fn read() -> Result<Self> {
        Ok(serde_json::from_str(&fs::read_to_string(FILE)?)?)
    }

    pub fn write(&self) -> Result<()> {
        Ok(fs::write(FILE, self.json()?)?)
    }

    pub fn json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// A server's requests per second, of those of the bare router.
    pub fn http_ratio(&self, name: &str, connections: usize, keep_alive: bool) -> Option<f64> {
        let per_second = |name: &str| {
            let mut servers = self.http.iter();
            let server = servers.find(|it| {
                (it.name.as_str(), it.connections, it.keep_alive) == (name, connections, keep_alive)
            })?;
            Some(server.per_second)
        };
        Some(per_second(name)? / per_second(crate::layer::BARE)?)
    }
}

/// A way's, among these.
pub fn ratio(times: &[Time], name: &str, threads: usize) -> Option<f64> {
    let mut times = times.iter();
    let time = times.find(|it| it.name == name && it.threads == threads)?;
    Some(time.ratio)
}

impl Machine {
    pub fn here() -> Result<Self> {
        let text = |program: &str, arguments: &[&str]| -> Result<String> {
            let output = Command::new(program).args(arguments).output()?;
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let model = processors
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.trim() == "model name");
        Ok(Self {
            processor: model
                .map_or("unknown", |(_, model)| model.trim())
                .to_owned(),
            cores: std::thread::available_parallelism()?.get(),
            system: text("uname", &["-sm"])?,
            date: text("date", &["-u", "+%F"])?,
            load_before: load()?,
            load_after: String::new(),
            versions: vec![text("rustc", &["--version"])?, crates()?],
        })
    }
}

/// The versions of the peers that are crates.
fn crates() -> Result<String> {
    let lock = include_str!("../Cargo.lock");
    let versions = ["u-sdk", "rsa", "jsonwebtoken", "moka"].map(|name| {
        let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        let (version, _) = package.split_once('"')?;
        Some(format!("{name} {version}"))
    });
    let versions: Option<Vec<_>> = versions.into_iter().collect();
    Ok(versions.ok_or("a peer is not locked")?.join(", "))
}

pub fn load() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    Ok(load.split(' ').next().unwrap_or_default().to_owned())
}
