//! `oss-callback sign`: what it makes is genuine to a layer, and what it sends is judged as OSS would.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
};

use oss_callback_local::CallbackKey;

use crate::support::{command, diagnose, run, run_in, stderr, stdout};

/// A private and a public key file.
struct Keys {
    directory: tempfile::TempDir,
    url: String,
}

impl Keys {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = CallbackKey::generate();
        fs::write(directory.path().join("private.pem"), key.to_private_pem()).unwrap();
        fs::write(directory.path().join("public.pem"), key.public_key_pem()).unwrap();
        Self {
            directory,
            url: key.url().to_owned(),
        }
    }

    fn file(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    fn sign(&self, args: &[&str], input: &[u8]) -> Vec<u8> {
        let output = run(
            &[&["sign", "--key-pem", &self.file("private.pem")], args].concat(),
            input,
        );
        assert!(output.status.success(), "{}", stderr(&output));
        output.stdout
    }

    fn assert_genuine(&self, raw: &[u8]) {
        let (status, report) = diagnose(&["--key", &self.file("public.pem")], raw);
        assert_eq!(
            (status, &report["verdict"]),
            (0, &"genuine".into()),
            "{report}"
        );
        assert_eq!(report["key"]["url"], self.url);
    }
}

fn body(raw: &[u8]) -> String {
    let text = String::from_utf8(raw.to_vec()).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn raw_http_is_genuine_whatever_the_body_is_made_of() {
    let keys = Keys::new();
    let file = keys.file("body");
    fs::write(&file, b"\xff\x00\n").unwrap();
    for args in [
        &[][..],
        &["/cb"],
        &["http://app.example:8080/a%20b/?q=1"],
        &["--json-body"],
        &["--body", "a=1\n"],
        &["--body-file", &file],
    ] {
        keys.assert_genuine(&keys.sign(args, b""));
    }
    let piped = keys.sign(&["--body-file", "-"], b"piped=1");
    keys.assert_genuine(&piped);
    assert_eq!(body(&piped), "piped=1");
}

#[test]
fn a_template_is_filled_in_as_the_service_does() {
    let keys = Keys::new();
    let template = "o=${object}&s=${size}&u=${x:user}&h=${imageInfo.height}&r=${reqId}";
    let form = keys.sign(
        &[
            "--template",
            template,
            "--var",
            "object=a/b c.jpg",
            "--var",
            "size=70",
            "--var",
            "x:user=zoë",
            "--var",
            "imageInfo.height=9",
            "--var",
            "reqId=6B0954BC",
        ],
        b"",
    );
    keys.assert_genuine(&form);
    assert_eq!(
        body(&form),
        "o=a%2Fb%20c.jpg&s=70&u=zo%C3%AB&h=9&r=6B0954BC"
    );
    let json = keys.sign(
        &[
            "--json-body",
            "--template",
            r#"{"o":${object},"u":${x:user}}"#,
            "--var",
            "x:user=\"7\"",
        ],
        b"",
    );
    assert_eq!(body(&json), r#"{"o":"uploads/example.jpg","u":"\"7\""}"#);
    assert!(String::from_utf8_lossy(&json).contains("content-type: application/json\r\n"));
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let keys = Keys::new();
    for (args, says) in [
        (&["--var", "user=7"][..], "x:user"),
        (&["--var", "size=big"], "not a number"),
        (&["--var", "size"], "NAME=VALUE"),
        (&["--template", "a=$x"], "not followed by"),
        (&["--template", "${foo}"], "foo"),
        (&["ftp://h/"], "callback URL"),
        (&["/a%3Fb"], "cannot be signed"),
        (&["--body-file", "/nonexistent"], "/nonexistent"),
        (&["--send", "https://h/"], "--curl"),
        (&["--send", "http://h/", "--curl"], "--curl"),
    ] {
        let output = run(
            &[&["sign", "--key-pem", &keys.file("private.pem")], args].concat(),
            b"",
        );
        let error = stderr(&output);
        assert!(!output.status.success(), "{args:?}");
        assert!(error.contains(says), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let output = run(&["sign", "--key-pem", "/nonexistent"], b"");
    assert!(stderr(&output).contains("/nonexistent"));
}

/// Without `--key-pem`, the key to pin is printed.
#[test]
fn a_fresh_key_is_printed_for_pinning() {
    let output = run(&["sign"], b"");
    let told = stderr(&output);
    let public = &told[told.find("-----BEGIN").unwrap()..];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("public.pem");
    fs::write(&file, public).unwrap();
    let (status, report) = diagnose(&["--key", file.to_str().unwrap()], &output.stdout);
    assert_eq!(status, 0, "{report}");
    assert!(
        told.contains(report["key"]["url"].as_str().unwrap()),
        "{told}"
    );
    assert_ne!(
        run(&["sign"], b"").stdout,
        output.stdout,
        "each time another one"
    );
}

/// An application that hands over what it was sent, and gives one answer.
fn app(answer: &'static str) -> (String, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let read = stream.read(&mut chunk).unwrap();
            received.extend_from_slice(&chunk[..read]);
            let text = String::from_utf8_lossy(&received).to_lowercase();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head
                .split("content-length: ")
                .nth(1)
                .unwrap()
                .lines()
                .next()
                .unwrap();
            if read == 0 || body.len() >= length.parse().unwrap() {
                break;
            }
        }
        stream.write_all(answer.as_bytes()).unwrap();
        received
    });
    (url, received)
}

#[test]
fn what_is_sent_is_genuine_and_the_answer_is_judged() {
    let keys = Keys::new();
    for (answer, status, says) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"stored\":\"a.jpg\"",
            1,
            "not valid json",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 18\r\n\r\n{\"stored\":\"a.jpg\"}",
            0,
            "OSS takes this answer",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK",
            1,
            "0007-00000205",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
            1,
            "Error status : 403.",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            1,
            "content-length",
        ),
    ] {
        let (url, received) = app(answer);
        let url = format!("{url}/oss/callback?id=1");
        let args = [
            "sign",
            "--key-pem",
            &keys.file("private.pem"),
            "--send",
            &url,
        ];
        let output = run(&args, b"");
        let shown = stdout(&output);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{shown}{}",
            stderr(&output)
        );
        assert!(shown.contains(says), "{shown}");
        assert!(
            shown.starts_with(&answer[9..12]),
            "the status comes first: {shown}"
        );
        keys.assert_genuine(&received.join().unwrap());
    }
}

#[test]
fn one_target_can_be_signed_and_another_called() {
    let keys = Keys::new();
    let (url, received) = app("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}");
    let url = format!("{url}/cb");
    run(
        &[
            "sign",
            "--key-pem",
            &keys.file("private.pem"),
            "/api/cb",
            "--send",
            &url,
        ],
        b"",
    );
    let (_, report) = diagnose(
        &["--key", &keys.file("public.pem")],
        &received.join().unwrap(),
    );
    assert_eq!(report["cause"], "path-prefix-removed", "{report}");
}

/// The command is run by a shell, with a curl that writes down what it is given.
#[cfg(unix)]
#[test]
fn a_curl_command_survives_the_shell() {
    let keys = Keys::new();
    let body = "@a='b' \"$HOME\" `id` \\ ü\nc";
    let printed = keys.sign(&["--curl", "http://h/cb?a=1&b='2'", "--body", body], b"");
    let script = String::from_utf8(printed).unwrap();
    let stub =
        format!("curl() {{ for argument; do printf '%s\\0' \"$argument\"; done; }}\n{script}");
    let output = Command::new("sh").args(["-c", &stub]).output().unwrap();
    let arguments = String::from_utf8(output.stdout).unwrap();
    let arguments: Vec<&str> = arguments.split('\0').collect();
    assert!(
        arguments.contains(&"http://h/cb?a=1&b='2'"),
        "{arguments:?}"
    );
    let data = arguments
        .iter()
        .position(|argument| *argument == "--data-raw")
        .unwrap();
    assert_eq!(arguments[data + 1], body);
    let raw = arguments
        .iter()
        .position(|argument| argument.starts_with("authorization: "));
    assert!(raw.is_some(), "{arguments:?}");
    let not_text = keys.file("binary");
    fs::write(&not_text, b"\xff").unwrap();
    let output = run_in(
        command(&[
            "sign",
            "--curl",
            "--body-file",
            &not_text,
            "--key-pem",
            &keys.file("private.pem"),
        ]),
        b"",
    );
    assert!(stderr(&output).contains("not text"));
}
