//! What an operator reads who has changed nothing: `tracing-subscriber` with its defaults, that is from
//! `info` upwards.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::subscriber::DefaultGuard;
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{MakeWriter, SubscriberBuilder},
    util::SubscriberInitExt,
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
            _default: subscriber.set_default(),
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
