//! The page of the docs, from the results: tables in Markdown, charts in SVG.
//!
//! 1. Ratios alone, with the machine, the day and the load.
//! 2. A chart is text that a diff can show. It follows the reader's light or dark mode, is readable
//!    without colours, and says the same to a screen reader.

use std::{fmt::Write, fs, path::Path};

use crate::{
    OURS, Result, layer, requests,
    results::{Results, Time, ratio},
    ticket, verify,
};

/// Where the page and the charts are.
pub const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

const PAGE: &str = "performance.md";
const BEGIN: &str = "<!-- results: made by benches/peers -->\n";
const END: &str = "<!-- end of results -->\n";

/// The page with these results in it, and the charts: names in the docs, and contents.
pub fn files(results: &Results, docs: &Path) -> Result<Vec<(String, String)>> {
    let page = fs::read_to_string(docs.join(PAGE))?;
    let (before, rest) = page.split_once(BEGIN).ok_or("the page has no results")?;
    let (_, after) = rest.split_once(END).ok_or("the results have no end")?;
    let mut files = vec![(
        PAGE.to_owned(),
        format!("{before}{BEGIN}{}{END}{after}", tables(results)?),
    )];
    for (name, chart) in charts(results)? {
        files.push((format!("performance/{name}.svg"), chart.svg()));
    }
    Ok(files)
}

fn tables(results: &Results) -> Result<String> {
    let machine = &results.machine;
    let mut text = format!(
        "\n{}, {} cores, {}; {}. Load before {}, after {}.\n{}.\n\n",
        machine.processor,
        machine.cores,
        machine.system,
        machine.date,
        machine.load_before,
        machine.load_after,
        machine.versions.join("; "),
    );

    text += "### Verify\n\nTime of one verification. `oss-callback` on as many threads is 1.\n\n\
             ![Time of one verification](performance/verify.svg)\n\n";
    text += &table("way", &results.verify, None)?;
    let ours = |threads| {
        let mut ways = results.verify.iter();
        ways.find(|way| way.name == OURS && way.threads == threads)
            .map(|way| threads as f64 / way.nanoseconds)
            .ok_or("no oss-callback")
    };
    let opening = |name| ratio(&results.verify, name, 1).ok_or("no opening");
    writeln!(
        text,
        "\nTwo threads verify {:.2} times as much as one. `{}` takes {:.2} times as long as `{}`.\n",
        ours(2)? / ours(1)?,
        verify::REFUSED,
        opening(verify::REFUSED)? / opening(verify::OPENING)?,
        verify::OPENING,
    )?;

    text += "### Layer\n\nTime that a layer adds to a request to a bare axum router, in process. What \
             `oss-callback` adds is 1.\n\n![Time that a layer adds](performance/layer.svg)\n\n";
    text += &table("layer", &results.layer, Some(layer::BARE))?;
    text += "\nWhat `oss-callback` adds to other requests. To a genuine one without a body it is 1.\n\n";
    text += &table("request", &results.requests, Some(requests::BARE))?;

    text += "\n### Keys\n\nTime from the header of the key URL to a key that is known. `oss-callback` \
             is 1.\n\n![Time to find a key](performance/keys.svg)\n\n";
    text += &table("way", &results.keys, None)?;

    text += "\n### Guards\n\nTime that the check of a ticket adds to a guard that reads a variable. What \
             `oss-callback` adds is 1.\n\n![Time of guards](performance/guards.svg)\n\n";
    text += &table("ticket", &results.ticket, Some(ticket::BARE))?;
    text += "\nTime to reserve and confirm one callback in a store that holds a million, and memory of \
             each. `oss-callback` is 1.\n\n\
             | replay store | 1 thread | 2 threads | memory |\n|---|--:|--:|--:|\n";
    let bytes = |name: &str| {
        let mut stores = results.replay_memory.iter();
        let store = stores.find(|it| it.name == name).ok_or("no memory")?;
        Ok::<_, &str>(store.bytes_per_entry as f64)
    };
    let ours = bytes(OURS)?;
    for (name, [one, two]) in ratios(&results.replay, None)? {
        let memory = bytes(name)? / ours;
        writeln!(text, "| {name} | {one:.2} | {two:.2} | {memory:.2} |")?;
    }

    text += "\n### HTTP\n\nRequests per second of a whole server with one thread, on loopback. That of \
             the bare router is 1.\n\n![Requests per second](performance/http.svg)\n\n\
             | connections | | oss-callback | u-sdk |\n|--:|---|--:|--:|\n";
    for bare in results.http.iter().filter(|it| it.name == layer::BARE) {
        let ratio = |name| http_ratio(results, name, bare.connections, bare.keep_alive);
        writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} |",
            bare.connections,
            mode(bare.keep_alive),
            ratio(OURS)?,
            ratio(layer::U_SDK)?
        )?;
    }

    let memory = |name: &str| {
        let mut servers = results.memory.iter();
        let server = servers.find(|it| it.name == name).ok_or("no memory")?;
        Ok::<_, &str>(server.bytes_per_request as f64)
    };
    let bare = memory(layer::BARE)?;
    writeln!(
        text,
        "\nMemory of a request that its handler holds, of {}, connection and all; that of the bare \
         router is 1: {} {:.2}, {} {:.2}.\n",
        results.memory.first().map_or(0, |it| it.requests),
        OURS,
        memory(OURS)? / bare,
        layer::U_SDK,
        memory(layer::U_SDK)? / bare,
    )?;
    Ok(text)
}

/// Ratios on one thread and on two, but of the bare way.
fn ratios<'a>(times: &'a [Time], bare: Option<&str>) -> Result<Vec<(&'a str, [f64; 2])>> {
    let ways = times.iter().filter(|way| way.threads == 1);
    ways.filter(|way| Some(way.name.as_str()) != bare)
        .map(|way| {
            let two = ratio(times, &way.name, 2).ok_or("no 2 threads")?;
            Ok((way.name.as_str(), [way.ratio, two]))
        })
        .collect()
}

fn table(head: &str, times: &[Time], bare: Option<&str>) -> Result<String> {
    let mut text = format!("| {head} | 1 thread | 2 threads |\n|---|--:|--:|\n");
    for (name, [one, two]) in ratios(times, bare)? {
        writeln!(text, "| {name} | {one:.2} | {two:.2} |")?;
    }
    Ok(text)
}

/// The times on one thread.
fn bars(times: &[Time], bare: Option<&str>) -> Result<Vec<Bar>> {
    let ratios = ratios(times, bare)?.into_iter();
    Ok(ratios.map(|(name, [one, _])| Bar::new(name, one)).collect())
}

fn charts(results: &Results) -> Result<[(&'static str, Chart); 5]> {
    let mut ways = bars(&results.verify, None)?;
    // Parsing a key per request takes some of them off any scale.
    ways.retain(|way| !way.label.contains("PEM"));
    ways.sort_by(|a, b| a.value.total_cmp(&b.value));

    let mut guards = Vec::new();
    for (section, times, bare) in [
        ("ticket", &results.ticket, Some(ticket::BARE)),
        ("replay", &results.replay, None),
    ] {
        guards.extend(bars(times, bare)?.into_iter().map(|bar| Bar {
            label: format!("{section}, {}", bar.label),
            ..bar
        }));
    }

    let mut servers = Vec::new();
    for keep_alive in [true, false] {
        for name in layer::ALL {
            let ratio = http_ratio(results, name, 64, keep_alive)?;
            let label = format!("{name}, {}", mode(keep_alive));
            servers.push(Bar::new(&label, ratio));
        }
    }
    let machine = format!("{}, {}", results.machine.processor, results.machine.date);
    let chart = |title: &str, bars| Chart {
        title: title.to_owned(),
        note: machine.clone(),
        bars,
    };
    Ok([
        (
            "verify",
            chart("Time of one verification: shorter is better", ways),
        ),
        (
            "layer",
            chart(
                "Time that a layer adds to a request: shorter is better",
                bars(&results.layer, Some(layer::BARE))?,
            ),
        ),
        (
            "keys",
            chart(
                "Time to find a key that is known: shorter is better",
                bars(&results.keys, None)?,
            ),
        ),
        (
            "guards",
            chart("Time of a guard's work: shorter is better", guards),
        ),
        (
            "http",
            chart(
                "Requests per second, 64 connections: longer is better",
                servers,
            ),
        ),
    ])
}

fn http_ratio(
    results: &Results,
    name: &str,
    connections: usize,
    keep_alive: bool,
) -> Result<f64, &'static str> {
    results
        .http_ratio(name, connections, keep_alive)
        .ok_or("a server is missing")
}

fn mode(keep_alive: bool) -> &'static str {
    if keep_alive { "keep-alive" } else { "close" }
}

struct Chart {
    title: String,
    note: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    value: f64,
    ours: bool,
}

impl Bar {
    fn new(label: &str, value: f64) -> Self {
        Self {
            label: label.to_owned(),
            value,
            ours: label.starts_with(OURS),
        }
    }
}

impl Chart {
    const WIDTH: f64 = 720.0;
    /// Where bars begin, and how long the longest is.
    const BARS: (f64, f64) = (220.0, 420.0);
    const ROW: f64 = 28.0;
    const TOP: f64 = 52.0;

    fn svg(&self) -> String {
        let height = Self::TOP + Self::ROW * self.bars.len() as f64 + 32.0;
        let longest = self.bars.iter().map(|bar| bar.value).fold(0.0, f64::max);
        let spoken: Vec<_> = self
            .bars
            .iter()
            .map(|bar| format!("{} {:.2}", bar.label, bar.value))
            .collect();
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-labelledby="title values">
<title id="title">{title}</title>
<desc id="values">{values}</desc>
<style>
text {{ font: 14px system-ui, sans-serif; fill: #1f2328 }}
.title {{ font-weight: 600; font-size: 16px }}
.note {{ font-size: 12px; fill: #59636e }}
.ours {{ font-weight: 600 }}
rect {{ fill: #8c959f }}
rect.ours {{ fill: #0969da }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #f0f6fc }}
.note {{ fill: #9198a1 }}
rect {{ fill: #656c76 }}
rect.ours {{ fill: #4493f8 }}
}}
</style>
<text class="title" x="16" y="28">{title}</text>
"#,
            width = Self::WIDTH,
            title = escape(&self.title),
            values = escape(&spoken.join("; ")),
        );
        let (left, most) = Self::BARS;
        for (index, bar) in self.bars.iter().enumerate() {
            let y = Self::TOP + Self::ROW * index as f64;
            let length = (most * bar.value / longest).max(1.0);
            let class = if bar.ours { r#" class="ours""# } else { "" };
            svg += &format!(
                r#"<text{class} x="{label}" y="{baseline}" text-anchor="end">{name}</text>
<rect{class} x="{left}" y="{y}" width="{length:.1}" height="20" rx="2"/>
<text{class} x="{end:.1}" y="{baseline}">{value:.2}×</text>
"#,
                label = left - 10.0,
                baseline = y + 15.0,
                name = escape(&bar.label),
                end = left + length + 8.0,
                value = bar.value,
            );
        }
        svg += &format!(
            r#"<text class="note" x="16" y="{}">{}</text>
</svg>
"#,
            height - 14.0,
            escape(&self.note)
        );
        svg
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_and_the_charts_are_those_of_the_results() {
        let docs = Path::new(DOCS);
        for (name, made) in files(&Results::read().unwrap(), docs).unwrap() {
            let there = fs::read_to_string(docs.join(&name)).unwrap();
            assert_eq!(there, made, "{name}: run `cargo run --bin charts`");
        }
    }

    #[test]
    fn the_longest_bar_is_as_long_as_there_is_room() {
        let chart = Chart {
            title: "a < b".to_owned(),
            note: String::new(),
            bars: vec![Bar::new(OURS, 1.0), Bar::new("four", 4.0)],
        };
        let svg = chart.svg();
        assert!(svg.contains(r#"<rect class="ours" x="220" y="52" width="105.0""#));
        assert!(svg.contains(r#"<rect x="220" y="80" width="420.0""#));
        assert!(svg.contains("a &lt; b"));
    }
}
