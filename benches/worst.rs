//! The bodies of 64 KiB that take longest to read.
//!
//! ```text
//! cargo bench --bench worst                    what each of the kept bodies takes
//! cargo bench --bench worst -- check           the same, and fails above the limit
//! cargo bench --bench worst -- search 60       looks for a worse body, for so many seconds
//! ```
//!
//! 1. A genuine callback may have any body: OSS signs what its customers' templates say. So reading one is
//!    bounded, [`LIMIT`] for [`BODY`] bytes, whatever they are.
//! 2. The limit is for what this crate does: parsing, looking for names that occur twice, and decoding
//!    into [`CallbackVars`], a struct, or a nested struct. A map or a `serde_json::Value` of twenty
//!    thousand names takes what the map takes, and is shown for comparison.
//! 3. The search builds bodies of a repeated unit, which it makes at random and changes while that makes
//!    them slower. What it found is kept in [`kept`], one body for each cause.
//! 4. Times are the least of several, as others use the machine too.
#![allow(clippy::unwrap_used)]

use std::{
    collections::HashMap,
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use bytes::Bytes;
use oss_callback::{CallbackVars, VerifiedCallback, test_util::CallbackSigner};
use serde::Deserialize;

const BODY: usize = 64 * 1024;
const LIMIT: Duration = Duration::from_micros(1500);

/// Stands in a unit for a name that no other unit has.
const COUNTER: char = '\u{1}';

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |wanted: &str| arguments.iter().position(|argument| argument == wanted);
    if let Some(position) = has("search") {
        let seconds = arguments.get(position + 1);
        let seconds = seconds.and_then(|seconds| seconds.parse().ok());
        search(Duration::from_secs(seconds.unwrap_or(30)));
        return ExitCode::SUCCESS;
    }
    let slowest = show_kept();
    println!("the slowest of this crate's own: {slowest:?}, of at most {LIMIT:?}");
    if has("check").is_some() && slowest > LIMIT {
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A body that repeats a unit as often as its length allows.
#[derive(Clone)]
struct Shape {
    is_json: bool,
    open: String,
    unit: String,
    separator: &'static str,
    close: String,
}

impl Shape {
    fn json(open: &str, unit: &str, separator: &'static str, close: &str) -> Self {
        Self {
            is_json: true,
            ..Self::form(open, unit, separator, close)
        }
    }

    fn form(open: &str, unit: &str, separator: &'static str, close: &str) -> Self {
        Self {
            is_json: false,
            open: open.to_owned(),
            unit: unit.to_owned(),
            separator,
            close: close.to_owned(),
        }
    }

    fn body(&self) -> String {
        let mut body = self.open.clone();
        for count in 0.. {
            let mut name = [0; 3];
            let name = distinct(count, &mut name);
            let unit = self.unit.replace(COUNTER, name);
            let length = body.len() + self.separator.len() + unit.len() + self.close.len();
            if length > BODY || unit.is_empty() {
                break;
            }
            if count > 0 {
                body.push_str(self.separator);
            }
            body.push_str(&unit);
        }
        body + &self.close
    }

    fn callback(&self, body: &str) -> VerifiedCallback {
        let signer = CallbackSigner::new();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let request = if self.is_json {
            signer.json("/", body)
        } else {
            signer.form("/", body)
        };
        signer.verify(request).unwrap()
    }

    /// The least time of several.
    fn time<T>(&self, runs: usize, read: impl Fn(&VerifiedCallback) -> T) -> Duration {
        let body = self.body();
        let times = (0..runs).map(|_| {
            let callback = self.callback(&body);
            let begin = Instant::now();
            let read = black_box(read(black_box(&callback)));
            let time = begin.elapsed();
            drop(read);
            time
        });
        times.min().unwrap_or_default()
    }

    /// What this crate's own readings take.
    fn times(&self, runs: usize) -> [Duration; 4] {
        [
            self.time(runs, |callback| callback.var("object").is_ok()),
            self.time(runs, |callback| callback.decode::<CallbackVars>()),
            self.time(runs, |callback| callback.decode::<Upload>()),
            self.time(runs, |callback| callback.decode::<Nested>()),
        ]
    }

    fn slowest(&self, runs: usize) -> Duration {
        self.times(runs).into_iter().max().unwrap_or_default()
    }
}

/// The shortest names there are, in an order that is not theirs: two characters while they last.
fn distinct(count: usize, name: &mut [u8; 3]) -> &str {
    const CHARACTERS: &[u8] =
        b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~!*'()/;?@$^|<>`";
    let (base, length) = match CHARACTERS.len() {
        base if count < base * base => (base, 2),
        base => (base, 3),
    };
    // A prime that divides no power of the base, so every number is met once.
    let mut number = count.wrapping_mul(7919) % base.pow(length);
    let name = &mut name[..length as usize];
    for character in name.iter_mut() {
        *character = CHARACTERS[number % base];
        number /= base;
    }
    std::str::from_utf8(name).unwrap()
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Upload {
    bucket: Option<String>,
    object: Option<String>,
    size: Option<u64>,
    #[serde(rename = "x:user")]
    user: Option<String>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Nested {
    a: Option<Vec<Option<Item>>>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Item {
    a: Option<u64>,
    b: Option<Box<Item>>,
}

fn show_kept() -> Duration {
    println!(
        "{:<44} {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9}",
        "µs", "var", "CbVars", "struct", "nested", "HashMap", "Value", "serde_json",
    );
    let mut slowest = Duration::ZERO;
    for (name, shape) in kept() {
        let times = shape.times(15);
        let map = shape.time(5, |callback| {
            callback.decode::<HashMap<String, Option<String>>>()
        });
        let value = shape.time(5, |callback| callback.decode::<serde_json::Value>());
        let peer = shape.time(5, |callback| {
            serde_json::from_slice::<serde_json::Value>(callback.body())
        });
        print!("{name:<44}");
        for time in times {
            print!(" {:>9.1}", time.as_secs_f64() * 1e6);
        }
        print!(" |");
        for time in [map, value, peer] {
            print!(" {:>9.1}", time.as_secs_f64() * 1e6);
        }
        println!();
        slowest = slowest.max(times.into_iter().max().unwrap_or_default());
    }
    slowest
}

/// One body for each cause of slowness.
fn kept() -> Vec<(&'static str, Shape)> {
    let json = Shape::json;
    let form = Shape::form;
    vec![
        ("form: as many names as fit", form("", "\u{1}", "&", "")),
        ("form: as many pairs as fit", form("", "\u{1}=", "&", "")),
        (
            "form: names alike in eight bytes",
            form("", "abcdefgh\u{1}", "&", ""),
        ),
        (
            "form: names alike in sixteen bytes",
            form("", "abcdefghijklmnop\u{1}", "&", ""),
        ),
        ("form: escaped names", form("", "%41\u{1}", "&", "")),
        ("form: escapes", form("a=", "%41", "", "")),
        ("form: spaces", form("a=", "+", "", "")),
        ("form: empty pairs", form("a", "&", "", "")),
        (
            "form: half a character at the end",
            form("", "\u{1}", "&", "&%E5"),
        ),
        (
            "form: one name twice at the end",
            form("object", "&\u{1}", "", "&object"),
        ),
        ("form: brackets that are no JSON", form("", "[", "", "=")),
        (
            "json: as many names as fit",
            json("{", "\"\u{1}\":0", ",", "}"),
        ),
        (
            "json: as many missing values as fit",
            json("{", "\"\u{1}\":", ",", "}"),
        ),
        (
            "json: missing values, then an error",
            json("{", "\"\u{1}\":", ",", ",}"),
        ),
        ("json: escaped names", json("{", "\"\\n\u{1}\":", ",", "}")),
        (
            "json: names alike in eight bytes",
            json("{", "\"abcdefgh\u{1}\":", ",", "}"),
        ),
        ("json: escapes", json("{\"a\":\"", "\\n", "", "\"}")),
        (
            "json: escaped code units",
            json("{\"a\":\"", "\\u00e9", "", "\"}"),
        ),
        (
            "json: surrogate pairs",
            json("{\"a\":\"", "\\ud83d\\ude00", "", "\"}"),
        ),
        ("json: one long text", json("{\"a\":\"", "x", "", "\"}")),
        ("json: blanks", json("{\"a\":", " ", "", "0}")),
        ("json: lines, then an error", json("{", "\n", "", "x")),
        ("json: digits", json("{\"size\":", "9", "", "}")),
        (
            "json: nested names",
            json("{\"a\":{", "\"\u{1}\":0", ",", "}}"),
        ),
        (
            "json: nested missing values",
            json("{\"a\":{", "\"\u{1}\":", ",", "}}"),
        ),
        ("json: numbers", json("{\"a\":[", "0", ",", "]}")),
        ("json: empty texts", json("{\"a\":[", "\"\"", ",", "]}")),
        ("json: objects", json("{\"a\":[", "{}", ",", "]}")),
        (
            "json: objects with one hole",
            json("{\"a\":[", "{\"a\":}", ",", "]}"),
        ),
        (
            "json: objects of sixteen names",
            json(
                "{\"a\":[",
                r#"{"a":,"b":,"c":,"d":,"e":,"f":,"g":,"h":,"i":,"j":,"k":,"l":,"m":,"n":,"o":,"p":}"#,
                ",",
                "]}",
            ),
        ),
        (
            "json: objects of seventeen names",
            json(
                "{\"a\":[",
                r#"{"a":,"b":,"c":,"d":,"e":,"f":,"g":,"h":,"i":,"j":,"k":,"l":,"m":,"n":,"o":,"p":,"q":}"#,
                ",",
                "]}",
            ),
        ),
        (
            "json: as deep as may be, again and again",
            json("{\"a\":[", "[[[[[[[[[[[[[[]]]]]]]]]]]]]]", ",", "]}"),
        ),
        (
            "json: deep objects, again and again",
            json(
                "{\"a\":[",
                r#"{"b":{"b":{"b":{"b":{"b":{"b":{"b":{"a":}}}}}}}}"#,
                ",",
                "]}",
            ),
        ),
        (
            "json: much, as deep as may be",
            json("{\"a\":[[[[[[[[[[[[[[", "\"\\n\"", ",", "]]]]]]]]]]]]]]}"),
        ),
        (
            "json: too deep, after much",
            json(
                "{\"a\":[",
                "{\"a\":}",
                ",",
                ",[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]}",
            ),
        ),
    ]
}

/// Climbs from random bodies to slower ones, and prints each that is slower than all before.
fn search(time: Duration) {
    let end = Instant::now() + time;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut worst = Duration::ZERO;
    let mut tried = 0_usize;
    while Instant::now() < end {
        let mut shape = random.shape();
        let mut slowest = shape.slowest(3);
        let mut failures = 0;
        while failures < 12 && Instant::now() < end {
            let changed = random.changed(&shape);
            let time = changed.slowest(3);
            tried += 1;
            if time > slowest {
                (shape, slowest, failures) = (changed, time, 0);
            } else {
                failures += 1;
            }
        }
        // What others do at the same time makes anything slow, but not every time.
        let slowest = shape.slowest(15);
        if slowest > worst {
            worst = slowest;
            let Shape {
                is_json,
                open,
                unit,
                separator,
                close,
            } = &shape;
            let kind = if *is_json { "json" } else { "form" };
            println!("{worst:>9.0?} {kind}({open:?}, {unit:?}, {separator:?}, {close:?})");
        }
    }
    println!("{tried} bodies, the slowest {worst:.0?}");
}

/// xorshift: the same bodies in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % limit
    }

    fn one_of(&mut self, choices: &[&'static str]) -> &'static str {
        choices[self.below(choices.len())]
    }

    fn shape(&mut self) -> Shape {
        if self.below(3) == 0 {
            return Shape::form("", &self.form_unit(), self.one_of(&["&", "", "="]), "");
        }
        let (mut open, mut close) = ("{".to_owned(), "}".to_owned());
        if self.below(3) == 0 {
            let unit = self.member(0);
            return Shape::json(&open, &unit, ",", &close);
        }
        open.push_str("\"a\":");
        for _ in 0..self.below(14) {
            let (begin, end) = [("[", "]"), ("{\"a\":", "}"), ("{\"b\":", "}")][self.below(3)];
            open.push_str(begin);
            close.insert_str(0, end);
        }
        open.push('[');
        close.insert(0, ']');
        let unit = self.value(0);
        Shape::json(&open, &unit, ",", &close)
    }

    fn changed(&mut self, shape: &Shape) -> Shape {
        let mut changed = shape.clone();
        match self.below(8) {
            // Rarely is it worth much to be wrong, but it takes other ways.
            0 => {
                changed.close = self
                    .one_of(&["", "}", "]}", ",}", "\"", "&\u{fffd}", "x"])
                    .into()
            }
            1 => {
                let other = self.shape();
                if other.is_json == shape.is_json {
                    changed.open = other.open;
                    changed.close = other.close;
                }
            }
            2 => changed.unit = shape.unit.repeat(2),
            _ if shape.is_json && shape.unit.starts_with('"') && shape.open == "{" => {
                changed.unit = self.member(0);
            }
            _ if shape.is_json => changed.unit = self.value(0),
            _ => changed.unit = self.form_unit(),
        }
        changed
    }

    fn form_unit(&mut self) -> String {
        let pieces = 1 + self.below(5);
        let piece = [
            "\u{1}",
            "=",
            "+",
            "%41",
            "%",
            "%E5%90%8D",
            "a",
            "abcdefgh",
            "&",
            "{",
            "\"",
        ];
        (0..pieces).map(|_| self.one_of(&piece)).collect()
    }

    fn text(&mut self) -> String {
        let pieces = self.below(4);
        let piece = [
            "\u{1}",
            "a",
            "b",
            "\\n",
            "\\u0041",
            "\\ud83d\\ude00",
            "é",
            "abcdefgh",
        ];
        let text: String = (0..pieces).map(|_| self.one_of(&piece)).collect();
        format!("\"{text}\"")
    }

    fn member(&mut self, depth: usize) -> String {
        let name = if self.below(2) == 0 {
            "\"\u{1}\"".to_owned()
        } else {
            self.text()
        };
        let value = if self.below(3) == 0 {
            String::new()
        } else {
            self.value(depth)
        };
        format!("{name}:{value}")
    }

    fn value(&mut self, depth: usize) -> String {
        match self.below(if depth < 6 { 8 } else { 4 }) {
            0 => self
                .one_of(&["0", "-1.5e3", "true", "null", "18446744073709551616"])
                .to_owned(),
            1 => self.text(),
            2 => "{}".to_owned(),
            3 => "[]".to_owned(),
            4 | 5 => {
                let items: Vec<_> = (0..self.below(4)).map(|_| self.value(depth + 1)).collect();
                format!("[{}]", items.join(","))
            }
            _ => {
                let members: Vec<_> = (0..self.below(4)).map(|_| self.member(depth + 1)).collect();
                format!("{{{}}}", members.join(","))
            }
        }
    }
}
