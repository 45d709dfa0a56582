//! Turns and rounds.
//!
//! 1. A way is given as many calls as fill a turn, found by trying.
//! 2. In each round every way has one turn, on each of the threads at the same time.
//! 3. A turn's time is divided by its calls. What else the machine does can only add to it, so of all
//!    turns the fastest tenth is taken, and of that the slowest: a turn is shorter than a time slice
//!    of the system's, so many of them are not interrupted even on a busy machine. Threads that share
//!    a lock are the exception: what keeps one of them from running spares the other its waiting.

use std::{
    fs,
    hint::black_box,
    pin::pin,
    sync::Barrier,
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use crate::{OURS, Result, results::Time};

const TURN: Duration = Duration::from_millis(2);
const ROUNDS: usize = 401;
const THREADS: [usize; 2] = [1, 2];

/// Makes so many calls, and says how long they took.
pub type Runner = Box<dyn FnMut(u64) -> Result<Duration> + Send>;

/// Something that can be called, from a runner for each thread.
pub struct Way {
    pub name: String,
    pub start: Box<dyn Fn() -> Result<Runner>>,
}

impl Way {
    /// A function of this process.
    pub fn new<T>(name: &str, call: impl Fn() -> T + Clone + Send + 'static) -> Self {
        Self {
            name: name.to_owned(),
            start: Box::new(move || {
                let call = call.clone();
                Ok(Box::new(move |calls| {
                    let start = Instant::now();
                    for _ in 0..calls {
                        black_box(call());
                    }
                    Ok(start.elapsed())
                }))
            }),
        }
    }
}

/// Times of all ways on one thread, and on two, as ratios to `oss-callback`. If there is a bare way,
/// what the others add to it.
pub fn compare(ways: &[Way], bare: Option<&str>) -> Result<Vec<Time>> {
    let mut compared = Vec::new();
    for threads in THREADS {
        let times = nanoseconds(ways, threads)?;
        let time_of = |name: &str| {
            let position = ways.iter().position(|way| way.name == name);
            position
                .map(|position| times[position])
                .ok_or("a way is missing")
        };
        let bare = bare.map_or(Ok(0.0), time_of)?;
        let ours = time_of(OURS)? - bare;
        compared.extend(ways.iter().zip(&times).map(|(way, &nanoseconds)| Time {
            name: way.name.clone(),
            threads,
            nanoseconds,
            ratio: (nanoseconds - bare) / ours,
        }));
    }
    Ok(compared)
}

/// Nanoseconds of one call of each way, when so many threads make calls at once.
fn nanoseconds(ways: &[Way], threads: usize) -> Result<Vec<f64>> {
    let mut turns = ways
        .iter()
        .map(|way| Turn::prepare(way, threads))
        .collect::<Result<Vec<_>>>()?;
    for _ in 0..ROUNDS {
        for turn in &mut turns {
            turn.take()?;
        }
    }
    let taken = turns.into_iter().map(|turn| turn.taken);
    Ok(taken.map(undisturbed).collect())
}

struct Turn {
    runners: Vec<Runner>,
    calls: u64,
    taken: Vec<f64>,
}

impl Turn {
    fn prepare(way: &Way, threads: usize) -> Result<Self> {
        let mut runners = (0..threads)
            .map(|_| (way.start)())
            .collect::<Result<Vec<_>>>()?;
        let mut calls = 1;
        for runner in &mut runners {
            // Each warms up, Node's and Python's compilers included.
            calls = 1;
            while runner(calls)? < TURN {
                calls *= 2;
            }
        }
        Ok(Self {
            runners,
            calls,
            taken: Vec::new(),
        })
    }

    fn take(&mut self) -> Result<()> {
        let calls = self.calls;
        let barrier = Barrier::new(self.runners.len());
        let times: Vec<_> = thread::scope(|scope| {
            let running: Vec<_> = self
                .runners
                .iter_mut()
                .map(|runner| {
                    scope.spawn(|| {
                        barrier.wait();
                        runner(calls)
                    })
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().expect("runners return their errors"))
                .collect()
        });
        for time in times {
            let nanoseconds = time?.as_nanos() as f64 / calls as f64;
            self.taken.push(nanoseconds);
        }
        Ok(())
    }
}

/// The slowest of the fastest tenth.
pub fn undisturbed(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 10]
}

/// What a future came to that has nothing to wait for.
pub fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// The bytes of a process that are in memory.
pub fn resident(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kilobytes.ok_or("no VmRSS")?.parse::<u64>()? * 1024)
}
