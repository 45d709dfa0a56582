//! Turns and rounds.
//!
//! 1. A way is given as many calls as fill a turn, found by trying.
//! 2. In each round every way has one turn, on each of the threads at the same time.
//! 3. A turn's time is divided by its calls. What else the machine does can only add to it, so of all
//!    turns the fastest tenth is taken, and of that the slowest: a turn is shorter than a time slice
//!    of the system's, so many of them are not interrupted even on a busy machine.

use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use crate::Result;

const TURN: Duration = Duration::from_millis(2);
const ROUNDS: usize = 401;

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

/// Nanoseconds of one call of each way, when so many threads make calls at once.
pub fn nanoseconds(ways: &[Way], threads: usize) -> Result<Vec<f64>> {
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
