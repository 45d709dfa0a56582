//! What an operator reads who has changed nothing: `tracing-subscriber` with its defaults, that is from
//! `info` upwards.

use std::{
    io,
    sync::{Arc, LazyLock, Mutex},
};

use tracing::{
    Dispatch, Subscriber,
    subscriber::{DefaultGuard, NoSubscriber},
};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, SubscriberBuilder},
};

/// What was written on this thread since it was made. Tests whose servers log have one thread.
pub struct Log {
    lines: Lines,
    _default: DefaultGuard,
}

impl Log {
    /// With the defaults.
    pub fn start() -> Self {
        Self::from(tracing_subscriber::fmt())
    }

    pub fn start_with_level(level: LevelFilter) -> Self {
        Self::from(tracing_subscriber::fmt().with_max_level(level))
    }

    fn from(builder: SubscriberBuilder) -> Self {
        let lines = Lines::default();
        let subscriber = builder.with_ansi(false).with_writer(lines.clone());
        Self {
            lines,
            _default: set_default(subscriber.finish()),
        }
    }

    /// Every line, without its time.
    pub fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| line.split_once(' ').unwrap().1.trim().to_owned())
            .collect()
    }

    /// The only line.
    #[track_caller]
    pub fn line(&self) -> String {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        lines.into_iter().next().unwrap()
    }

    /// The only line is of this level, and contains all of these.
    #[track_caller]
    pub fn assert_line(&self, level: &str, texts: &[&str]) {
        let line = self.line();
        assert!(line.starts_with(&format!("{level} ")), "{line}");
        assert!(line.contains(" oss_callback: "), "{line}");
        for text in texts {
            assert!(line.contains(text), "{text:?} is not in {line}");
        }
    }
}

/// Makes a subscriber that of this thread.
///
/// While a process has a single subscriber, `tracing` asks the thread that first meets an event whether
/// anybody hears it, and keeps the answer for all threads: a test without a subscriber would silence one
/// that has it. So there are two more in each process, which hear nothing.
pub fn set_default(subscriber: impl Subscriber + Send + Sync) -> DefaultGuard {
    static OTHERS: LazyLock<[Dispatch; 2]> =
        LazyLock::new(|| [(); 2].map(|()| Dispatch::new(NoSubscriber::new())));
    LazyLock::force(&OTHERS);
    tracing::subscriber::set_default(subscriber)
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
