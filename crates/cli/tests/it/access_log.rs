//! A line of a proxy's access log, alone and beside what the layer says of the same request.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Request, diagnose, public_key_file, run, stderr, stdout};

const SIGNED: &str = "/api/oss/callback?id=1";

/// What the layer writes where nginx took `/api` off.
const WARNING: &str = r#"2026-01-01T00:00:00Z  WARN oss_callback: genuine callback refused kind="InvalidSignature" look_at="path_prefix, or signed_target: a proxy or an outer layer changed the path or the query" path=/oss/callback cause=the signature does not match: it is genuine and the body is as sent: the path or query changed on the way"#;

/// The line that nginx writes in the format of `--help`.
fn line() -> String {
    let request = Request::form(SIGNED, "size=7");
    let value = |name: &str| {
        let header = request.headers.iter().find(|(known, _)| known == name);
        header.unwrap().1.clone()
    };
    format!(
        "\"POST {SIGNED} HTTP/1.1\" authorization=\"{}\" x_oss_pub_key_url=\"{}\" content_md5=\"{}\" body=\"size=7\"\n",
        value("Authorization"),
        value("x-oss-pub-key-url"),
        value("Content-MD5"),
    )
}

fn report(args: &[&str], input: &str) -> (i32, Value) {
    diagnose(
        &[&["--key", public_key_file()], args].concat(),
        input.as_bytes(),
    )
}

fn page(args: &[&str], input: &str) -> String {
    let key = ["doctor", "--key", public_key_file()];
    let output = run(&[&key, args].concat(), input.as_bytes());
    assert_eq!(stderr(&output), "");
    stdout(&output)
}

#[test]
fn a_genuine_line_proves_nothing_of_what_the_layer_received() {
    let (status, report) = report(&[], &line());
    assert_eq!(
        (status, &report["verdict"]),
        (0, &"genuine".into()),
        "{report}"
    );
    let note = report["note"].as_str().unwrap();
    assert!(
        note.contains("access log") && note.contains("--path"),
        "{note}"
    );
    assert_snapshot!("a_genuine_line.en", page(&[], &line()));
    assert_snapshot!("a_genuine_line.zh", page(&["--lang", "zh"], &line()));
}

#[test]
fn the_warning_beside_the_line_completes_it() {
    for input in [
        line() + WARNING,
        format!("{WARNING}\n{}", line()),
        line()
            + "{\"level\":\"WARN\",\"fields\":{\"message\":\"genuine callback refused\",\"kind\":\"InvalidSignature\",\"path\":\"/oss/callback\"}}\n",
        line() + &WARNING.replace("path=/oss", "\u{1b}[3mpath\u{1b}[0m\u{1b}[2m=\u{1b}[0m/oss"),
    ] {
        let (status, report) = report(&[], &input);
        assert_eq!(
            (status, &report["cause"]),
            (1, &"path-prefix-removed".into()),
            "{report}"
        );
        assert_eq!(report["received"]["path"], "/oss/callback");
        assert_eq!(report["received"]["query"], "id=1");
        let note = report["note"].as_str().unwrap();
        assert!(note.contains("the layer's warning"), "{note}");
    }
    let input = line() + WARNING;
    assert_snapshot!("a_line_and_the_warning.en", page(&[], &input));
    assert_snapshot!("a_line_and_the_warning.zh", page(&["--lang", "zh"], &input));
}

/// Of another request, say.
#[test]
fn a_warning_that_explains_nothing_is_left_aside() {
    for warning in [
        WARNING.replace("=/oss/callback", "=/some/where"),
        format!(
            "{WARNING}\n{}",
            WARNING.replace("=/oss/callback", "=/callback")
        ),
        WARNING.replace("genuine callback refused", "callback refused"),
    ] {
        let (status, report) = report(&[], &(line() + &warning));
        assert_eq!(
            (status, &report["verdict"]),
            (0, &"genuine".into()),
            "{report}"
        );
        assert!(report["note"].as_str().unwrap().contains("--path"));
    }
}

#[test]
fn the_path_can_be_given() {
    let (status, given) = report(&["--path", "/oss/callback"], &line());
    assert_eq!(
        (status, &given["cause"]),
        (1, &"path-prefix-removed".into()),
        "{given}"
    );
    assert_eq!(given["note"], Value::Null, "{given}");
    let (status, same) = report(&["--path", "/api/oss/callback"], &line());
    assert_eq!((status, &same["note"]), (0, &Value::Null), "{same}");
    // It is the user's word, whatever the warning says.
    let (status, same) = report(&["--path", "/api/oss/callback"], &(line() + WARNING));
    assert_eq!((status, &same["verdict"]), (0, &"genuine".into()), "{same}");
    for wrong in ["/oss/callback?id=1", "oss/callback", "/oss callback"] {
        let output = run(&["doctor", "--path", wrong], line().as_bytes());
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains("no query"), "{wrong}");
    }
}

/// What an application wrote down is what it received.
#[test]
fn only_what_a_proxy_received_has_the_note() {
    let request = Request::form(SIGNED, "size=7");
    let value = |name: &str| {
        let header = request.headers.iter().find(|(known, _)| known == name);
        header.unwrap().1.clone()
    };
    let (signature, url) = (value("Authorization"), value("x-oss-pub-key-url"));
    let headers = format!("\"authorization\":\"{signature}\",\"x_oss_pub_key_url\":\"{url}\"");
    for (input, is_noted) in [
        (
            format!("{{\"request\":\"POST {SIGNED} HTTP/1.1\",{headers},\"body\":\"size=7\"}}"),
            true,
        ),
        (
            format!("{{\"request_uri\":\"{SIGNED}\",{headers},\"body\":\"size=7\"}}"),
            true,
        ),
        (
            format!(
                "request_uri={SIGNED} authorization={signature} x_oss_pub_key_url={url} body=size=7"
            ),
            true,
        ),
        (
            format!("{{\"uri\":\"{SIGNED}\",\"headers\":{{{headers}}},\"body\":\"size=7\"}}"),
            false,
        ),
        (
            format!("uri={SIGNED} authorization={signature} x_oss_pub_key_url={url} body=size=7"),
            false,
        ),
        (String::from_utf8(request.raw("\r\n")).unwrap(), false),
    ] {
        let (status, report) = report(&[], &input);
        assert_eq!(status, 0, "{input}\n{report}");
        assert_eq!(report["note"].is_string(), is_noted, "{input}\n{report}");
    }
}
