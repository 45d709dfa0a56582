//! `oss-callback sign`: what it makes is genuine to a layer, and what it sends is judged as OSS would.

use std::{
    convert::Infallible,
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::Command,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use oss_callback::{CallbackBody, OssCallbackLayer, PublicKey, Ticket, TicketGuard, TicketKey};
use oss_callback_local::CallbackKey;
use serde::Deserialize;
use tower::{Layer, ServiceExt, service_fn};

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
        (&["--ticket-app", "{}"], "--ticket-key"),
        (&["--ticket-key", "/nonexistent"], "/nonexistent"),
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

/// What a layer with a `TicketGuard` and a handler that reads the ticket make of raw HTTP: the status, and
/// whom the ticket says.
async fn guarded(keys: &Keys, ticket_key: TicketKey, raw: &[u8]) -> (u16, String) {
    #[derive(Deserialize)]
    struct Grant {
        user: u64,
    }

    let text = String::from_utf8(raw.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().split(' ').nth(1).unwrap();
    let mut request = Request::post(target);
    for (name, value) in lines.map(|line| line.split_once(": ").unwrap()) {
        request = request.header(name, value);
    }
    let pem = fs::read_to_string(keys.file("public.pem")).unwrap();
    let layer = OssCallbackLayer::builder()
        .pin_key(&keys.url, PublicKey::from_pem(&pem).unwrap())
        .guard(TicketGuard::new(ticket_key))
        .build()
        .unwrap();
    let handler = service_fn(|request: Request<CallbackBody>| async move {
        let user = match Ticket::<Option<Grant>>::from_extensions(request.extensions()) {
            Ok(ticket) => ticket.app.map_or(0, |grant| grant.user),
            Err(rejection) => return Ok(rejection.to_response()),
        };
        Ok::<_, Infallible>(Response::new(CallbackBody::from(Bytes::from(
            user.to_string(),
        ))))
    });
    let body = CallbackBody::from(Bytes::copy_from_slice(body.as_bytes()));
    let answer = layer.layer(handler).oneshot(request.body(body).unwrap());
    let (head, body) = answer.await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    (
        head.status.as_u16(),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

/// The secret in a file, and the key of an application that has it.
fn ticket_key(keys: &Keys) -> (String, TicketKey) {
    let secret = BASE64_STANDARD.encode((0..32).collect::<Vec<u8>>());
    let file = keys.file("ticket.key");
    fs::write(&file, format!("{secret}\n")).unwrap();
    (file, TicketKey::from_base64(secret).unwrap())
}

#[tokio::test]
async fn a_ticket_is_one_of_the_application_and_for_the_object_of_the_request() {
    let keys = Keys::new();
    let (file, key) = ticket_key(&keys);
    let app = r#"{"user":7}"#;
    for args in [
        &["--ticket-key", &file, "--ticket-app", app][..],
        &["--ticket-key", &file, "--ticket-app", app, "--json-body"],
        &[
            "--ticket-key",
            &file,
            "--ticket-app",
            app,
            "--var",
            "object=avatars/ü 7.png",
            "--template",
            "o=1&object=${object}&ticket=${x:ticket}",
        ],
    ] {
        let raw = keys.sign(args, b"");
        assert_eq!(guarded(&keys, key.clone(), &raw).await, (200, "7".into()));
    }
    let without_app = keys.sign(&["--ticket-key", &file], b"");
    assert_eq!(
        guarded(&keys, key.clone(), &without_app).await,
        (200, "0".into())
    );

    let named = keys.sign(&["--ticket-key", &file, "--ticket-kid", "2026-12"], b"");
    let name = key.clone().named("2026-12").unwrap();
    assert_eq!(guarded(&keys, name, &named).await.0, 200);
    assert_eq!(guarded(&keys, key.clone(), &named).await.0, 403);

    let (status, body) = guarded(&keys, key.clone(), &keys.sign(&[], b"")).await;
    assert!(status == 403 && body.contains("TicketMissing"), "{body}");
    let other = TicketKey::generate().unwrap();
    let (status, body) = guarded(&keys, other, &without_app).await;
    assert!(status == 403 && body.contains("TicketInvalid"), "{body}");
    let stolen = String::from_utf8(without_app).unwrap();
    let ticket = stolen.rsplit_once("ticket=").unwrap().1;
    let body = format!("object=other.jpg&ticket={ticket}");
    let (status, body) = guarded(&keys, key, &keys.sign(&["--body", &body], b"")).await;
    assert!(status == 403 && body.contains("TicketMismatch"), "{body}");
}

#[test]
fn what_is_wrong_with_a_ticket_is_said_in_one_line() {
    let keys = Keys::new();
    let (file, _) = ticket_key(&keys);
    let short = keys.file("short.key");
    fs::write(&short, "c2hvcnQ=").unwrap();
    for (args, says) in [
        (&["--ticket-key", &short][..], "32 bytes"),
        (
            &["--ticket-key", &file, "--ticket-kid", "a b"],
            "--ticket-kid",
        ),
        (
            &["--ticket-key", &file, "--ticket-app", "{"],
            "--ticket-app",
        ),
        (
            &["--ticket-key", &file, "--template", "o=${object}"],
            "${x:ticket}",
        ),
        (
            &["--ticket-key", &file, "--var", "x:ticket=a"],
            "--var x:ticket",
        ),
        (&["--ticket-key", &file, "--body", "a=1"], "--body"),
    ] {
        let pem = keys.file("private.pem");
        let output = run(&[&["sign", "--key-pem", &pem], args].concat(), b"");
        let error = stderr(&output);
        assert!(!output.status.success(), "{args:?}");
        assert!(error.contains(says), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
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
