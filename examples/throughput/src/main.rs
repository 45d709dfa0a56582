//! How many callbacks this machine verifies.
//!
//! ```text
//! cargo run --release -p example-throughput
//! ```
//!
//! 1. Each thread verifies the callback of the service's documentation, and copies of it that are
//!    refused for different reasons, for a fixed time per kind. There is no server and no network.
//! 2. The clock is read after each call, which is part of the figures: some 20 ns.
//! 3. All of it takes about ten seconds, whatever the number of cores.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal, Write},
    num::NonZero,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use oss_callback::{PublicKey, Verifier};

/// How long all kinds on all numbers of threads take together.
const BUDGET: Duration = Duration::from_secs(8);

const KEY_URL: &str = "aHR0cDovL2dvc3NwdWJsaWMuYWxpY2RuLmNvbS9jYWxsYmFja19wdWJfa2V5X3YxLnBlbQ==";
const SIGNATURE: &str =
    "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==";

fn main() -> io::Result<()> {
    if cfg!(debug_assertions) {
        eprintln!("this build is not optimised: use `--release`");
    }
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let progress = io::stderr().is_terminal();
    let rows = measure(&threads(cores), BUDGET, |done, of| {
        if progress { draw(done, of) } else { Ok(()) }
    })?;
    println!("{}", Table(&rows));
    Ok(())
}

/// 1, 2, 4 and so on, and all.
fn threads(cores: usize) -> Vec<usize> {
    let mut threads: Vec<usize> = (0..usize::BITS)
        .map(|power| 1 << power)
        .take_while(|threads| *threads < cores)
        .collect();
    threads.push(cores);
    threads
}

fn draw(done: usize, of: usize) -> io::Result<()> {
    const WIDTH: usize = 40;
    let filled = WIDTH * done / of;
    let end = if done == of { "\r\x1b[K" } else { "" };
    let mut stderr = io::stderr().lock();
    write!(
        stderr,
        "\r[{:-<WIDTH$}] {done}/{of}{end}",
        "#".repeat(filled)
    )?;
    stderr.flush()
}

fn measure(
    threads: &[usize],
    budget: Duration,
    mut progress: impl FnMut(usize, usize) -> io::Result<()>,
) -> io::Result<Vec<Row>> {
    let verifier = Verifier::new(PublicKey::aliyun_v1());
    let kinds = Callback::kinds();
    let turns = kinds.len() * threads.len();
    let mut rows = Vec::new();
    progress(0, turns)?;
    for (name, callback) in &kinds {
        for &threads in threads {
            let latencies = callback.verify_for(budget / turns as u32, threads, &verifier);
            rows.push(Row {
                name,
                threads,
                latencies,
            });
            progress(rows.len(), turns)?;
        }
    }
    Ok(rows)
}

struct Callback {
    target: &'static str,
    headers: HeaderMap,
    body: Bytes,
    genuine: bool,
}

impl Callback {
    fn kinds() -> [(&'static str, Self); 4] {
        let official = |signature: Option<&'static str>, body: &'static str, genuine| {
            let mut headers = HeaderMap::new();
            headers.insert("x-oss-pub-key-url", HeaderValue::from_static(KEY_URL));
            if let Some(signature) = signature {
                headers.insert("authorization", HeaderValue::from_static(signature));
            }
            Self {
                target: "/index.php?id=1&index=2",
                headers,
                body: Bytes::from_static(body.as_bytes()),
                genuine,
            }
        };
        let other = SIGNATURE.replacen('k', "l", 1);
        let mut forged = official(None, "bucket=yonghu-test", false);
        let value = HeaderValue::try_from(other).expect("base64 is ASCII");
        forged.headers.insert("authorization", value);
        [
            (
                "genuine",
                official(Some(SIGNATURE), "bucket=yonghu-test", true),
            ),
            (
                "refused: body changed",
                official(Some(SIGNATURE), "bucket=yonghu-best", false),
            ),
            ("refused: signature forged", forged),
            (
                "refused: signature missing",
                official(None, "bucket=yonghu-test", false),
            ),
        ]
    }

    fn verify(&self, verifier: &Verifier) {
        let verdict = verifier.verify(self.target, &self.headers, self.body.clone());
        assert_eq!(verdict.is_ok(), self.genuine, "the verdict is wrong");
    }

    fn verify_for(&self, time: Duration, threads: usize, verifier: &Verifier) -> Vec<Latencies> {
        let start = Barrier::new(threads);
        thread::scope(|scope| {
            let verifying: Vec<_> = (0..threads)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        Latencies::of(time, || self.verify(verifier))
                    })
                })
                .collect();
            verifying
                .into_iter()
                .map(|thread| thread.join().expect("verifying does not panic"))
                .collect()
        })
    }
}

/// How often a call took how long, in steps of 10 ns up to 1 ms.
struct Latencies {
    steps: Vec<u32>,
    calls: u64,
    elapsed: Duration,
}

impl Latencies {
    const STEP: u128 = 10;
    const STEPS: usize = 100_000;

    fn of(time: Duration, call: impl Fn()) -> Self {
        let mut latencies = Self {
            steps: vec![0; Self::STEPS],
            calls: 0,
            elapsed: Duration::ZERO,
        };
        let start = Instant::now();
        let mut before = start;
        loop {
            call();
            let now = Instant::now();
            let step = (now - before).as_nanos() / Self::STEP;
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            latencies.steps[step.min(Self::STEPS - 1)] += 1;
            latencies.calls += 1;
            before = now;
            latencies.elapsed = now - start;
            if latencies.elapsed >= time {
                return latencies;
            }
        }
    }

    fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

struct Row {
    name: &'static str,
    threads: usize,
    /// Of each thread.
    latencies: Vec<Latencies>,
}

impl Row {
    /// Of all threads together.
    fn per_second(&self) -> f64 {
        self.latencies.iter().map(Latencies::per_second).sum()
    }

    /// How many microseconds so many percent of the calls took at most.
    fn percentile(&self, percent: u64) -> f64 {
        let calls: u64 = self.latencies.iter().map(|it| it.calls).sum();
        let mut seen = 0;
        let step = (0..Latencies::STEPS).find(|&step| {
            let here = self.latencies.iter().map(|it| u64::from(it.steps[step]));
            seen += here.sum::<u64>();
            seen * 100 >= calls * percent
        });
        (step.unwrap_or(0) + 1) as f64 * Latencies::STEP as f64 / 1e3
    }
}

struct Table<'a>(&'a [Row]);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<27} {:>7} {:>12} {:>14} {:>8} {:>8}",
            "callback", "threads", "per second", "per core", "p50 µs", "p99 µs"
        )?;
        for row in self.0 {
            write!(
                f,
                "\n{:<27} {:>7} {:>12} {:>14} {:>8.2} {:>8.2}",
                row.name,
                row.threads,
                grouped(row.per_second()),
                grouped(row.per_second() / row.threads as f64),
                row.percentile(50),
                row.percentile(99),
            )?;
        }
        Ok(())
    }
}

/// 1234567.8 as 1,234,567.
fn grouped(number: f64) -> String {
    let digits = (number as u64).to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        let _ = grouped.write_char(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_measured_on_each_number_of_threads() {
        let mut drawn = Vec::new();
        let rows = measure(&[1, 2], Duration::from_millis(80), |done, of| {
            drawn.push((done, of));
            Ok(())
        });
        let rows = rows.unwrap();
        assert_eq!(rows.len(), 8);
        assert_eq!(drawn, (0..=8).map(|done| (done, 8)).collect::<Vec<_>>());
        for row in &rows {
            assert_eq!(row.latencies.len(), row.threads);
            assert!(row.latencies.iter().all(|it| it.calls > 0), "{}", row.name);
            assert!(row.percentile(50) <= row.percentile(99), "{}", row.name);
        }
        assert_eq!(Table(&rows).to_string().lines().count(), 9);
    }

    #[test]
    fn percentiles_are_those_of_all_threads() {
        let latencies = |step: usize, calls: u32| {
            let mut steps = vec![0; Latencies::STEPS];
            steps[step] = calls;
            Latencies {
                steps,
                calls: calls.into(),
                elapsed: Duration::from_secs(1),
            }
        };
        let row = Row {
            name: "",
            threads: 2,
            latencies: vec![latencies(99, 98), latencies(199, 2)],
        };
        assert_eq!((row.percentile(50), row.percentile(99)), (1.0, 2.0));
        assert_eq!(row.per_second(), 100.0);
    }

    #[test]
    fn powers_of_two_and_all_cores_are_tried() {
        assert_eq!(threads(1), [1]);
        assert_eq!(threads(2), [1, 2]);
        assert_eq!(threads(6), [1, 2, 4, 6]);
    }

    #[test]
    fn thousands_are_grouped() {
        let numbers = [0.0, 999.9, 1000.0, 1_234_567.8].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }
}
