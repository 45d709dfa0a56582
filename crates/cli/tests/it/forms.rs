//! Inputs of every form, and what is said of those that cannot be used.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::support::{KEY_PEM, Request, command, diagnose, public_key_file, run, stderr, stdout};

#[test]
fn a_file_standard_input_and_a_dash_are_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request.http");
    let request = Request::form("/cb", "size=7").raw("\r\n");
    fs::write(&file, &request).unwrap();
    let key = ["--key", public_key_file()];
    for (args, input) in [
        (vec![file.to_str().unwrap()], &b""[..]),
        (vec!["-"], &request),
        (vec![], &request),
    ] {
        let (status, report) = diagnose(&[&key[..], &args].concat(), input);
        assert_eq!(
            (status, &report["verdict"]),
            (0, &"genuine".into()),
            "{args:?}"
        );
    }
}

/// What `sign --curl` writes, `doctor` reads.
#[test]
fn a_curl_command_is_the_request_that_it_sends() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.pem");
    fs::write(&key, KEY_PEM).unwrap();
    for body in [
        "object=a%2Fb&user='zo\u{eb}'",
        "{\"a\": \"\\\\\n$HOME `x`\"}",
        "@x",
        "",
    ] {
        let args = ["--curl", "https://app.example/a/../cb/?x=1&y=%2F", "--body"];
        let key_pem = ["sign", "--key-pem", key.to_str().unwrap()];
        let signed = run(&[&key_pem[..], &args, &[body]].concat(), b"");
        let (status, report) = diagnose(&["--key", public_key_file()], &signed.stdout);
        assert_eq!(
            (status, &report["verdict"]),
            (0, &"genuine".into()),
            "{report}"
        );

        let moved = stdout(&signed).replace("/cb/?", "/cb?");
        let (status, report) = diagnose(&["--key", public_key_file()], moved.as_bytes());
        assert_eq!(
            (status, &report["verdict"]),
            (1, &"changed".into()),
            "{report}"
        );
    }
}

/// One line on standard error names what was looked for, in either language; JSON says it too.
#[test]
fn what_is_unusable_is_said_in_one_line() {
    let raw = Request::form("/cb", "size=7");
    let headers_alone = raw.clone().body(b"").raw("\n").trim_ascii_end().to_vec();
    let local = raw.clone().header(
        "x-oss-pub-key-url",
        &BASE64_STANDARD.encode("https://local-oss.invalid/0.pem"),
    );
    let missing = ["--key", public_key_file(), "/nonexistent/request"];
    let no_key = ["--key", "/nonexistent/key.pem"];
    let foreign_key = ["--key", "https://keys.example.test/k.pem"];
    let key = ["--key", public_key_file()];
    for (args, input, says, says_zh) in [
        (&key[..], b"".to_vec(), "the input is empty", "输入为空"),
        (
            &key,
            b"hello\n".to_vec(),
            "no request was found; looked for raw HTTP",
            "没有找到请求",
        ),
        (
            &key,
            b"\"POST /cb HTTP/1.1\" 403 70 \"aliyun-oss-callback\"\n".to_vec(),
            "Authorization",
            "Authorization",
        ),
        (&key, vec![b'x'; (8 << 20) + 1], "more than 8 MiB", "8 MiB"),
        (&key, headers_alone, "--body FILE", "--body FILE"),
        (&[], local.raw("\n"), "--key FILE", "--key FILE"),
        (
            &missing,
            Vec::new(),
            "/nonexistent/request",
            "/nonexistent/request",
        ),
        (
            &no_key,
            raw.raw("\n"),
            "/nonexistent/key.pem",
            "/nonexistent/key.pem",
        ),
        (
            &foreign_key,
            raw.raw("\n"),
            "not on the allowlist",
            "白名单",
        ),
        (
            &["--key", "/dev/null"],
            raw.raw("\n"),
            "exactly one PEM block",
            "PEM",
        ),
    ] {
        for (lang, says) in [("en", says), ("zh", says_zh)] {
            let output = run(&[&["doctor", "--lang", lang], args].concat(), &input);
            let error = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{args:?} {error}");
            assert!(error.contains(says), "{says}: {error}");
            assert_eq!(
                (error.lines().count(), stdout(&output).as_str()),
                (1, ""),
                "{error}"
            );
        }
        let (status, report) = diagnose(args, &input);
        assert_eq!(
            (status, &report["verdict"]),
            (2, &"unusable".into()),
            "{report}"
        );
        assert!(
            report["message"].as_str().unwrap().contains(says),
            "{report}"
        );
        assert_eq!(
            (&report["cause"], &report["remedy"]),
            (&Value::Null, &Value::Null)
        );
    }
}

#[test]
fn headers_alone_are_enough_for_what_they_decide() {
    let request = Request::form("/cb", "size=7").header("Authorization", "OSS id:c2lnbmF0dXJl");
    let text = request.raw("\n");
    let headers = text
        .trim_ascii_end()
        .strip_suffix(b"size=7")
        .unwrap()
        .trim_ascii_end();
    let (status, report) = diagnose(&["--key", public_key_file()], headers);
    assert_eq!((status, &report["cause"]), (1, &"request-signature".into()));
}

#[test]
fn a_body_file_replaces_the_captured_body() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("body");
    fs::write(&file, "size=7").unwrap();
    let pasted = Request::form("/cb", "size=7").body(b"size=7 \n").raw("\n");
    let args = ["--key", public_key_file(), "--body", file.to_str().unwrap()];
    assert_eq!(diagnose(&args, &pasted).0, 0);
    assert_eq!(diagnose(&args[..2], &pasted).1["cause"], "body-newline");
}

#[test]
fn a_dash_is_standard_input_for_the_body_and_the_key_too() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request.http");
    let file = file.to_str().unwrap();
    let request = Request::form("/cb", "size=7");
    fs::write(file, request.clone().body(b"size=8").raw("\n")).unwrap();
    let key = public_key_file();
    let body = [file, "--key", key, "--body", "-"];
    assert_eq!(diagnose(&body, b"size=7").0, 0);
    assert_eq!(diagnose(&body, b"size=6").0, 1);
    fs::write(file, request.raw("\n")).unwrap();
    let pem = fs::read(key).unwrap();
    assert_eq!(diagnose(&[file, "--key", "-"], &pem).0, 0);
    let no_key = diagnose(&[file, "--key", "-"], b"x").1;
    let message = no_key["message"].as_str().unwrap();
    assert!(message.contains("standard input"), "{message}");

    for twice in [
        &["--body", "-"][..],
        &["-", "--key", "-"],
        &[file, "--body", "-", "--key", "-"],
    ] {
        let (status, report) = diagnose(twice, &request.raw("\n"));
        let message = report["message"].as_str().unwrap();
        assert_eq!(status, 2, "{report}");
        assert!(
            message.contains("standard input can be only one"),
            "{message}"
        );
    }
}

/// A local OSS calls an application that refuses. Its log has the key, the request, and the end of it.
#[test]
fn the_log_of_the_local_oss() {
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cb", app.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in app.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    for (flags, status, verdict) in [
        (&[][..], 0, "genuine"),
        (&["--fault", "alter-body"], 1, "changed"),
        (&["--fault", "wrong-key"], 1, "not-from-key"),
    ] {
        let args = [&["local-oss", "--port", "0", "--json", "--open"], flags].concat();
        let mut server = command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
        let ready = lines.next().unwrap().unwrap();
        let endpoint: Value = serde_json::from_str(&ready).unwrap();
        let address = endpoint["endpoint"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap()
            .to_owned();
        upload(&address, &url);
        let assert_verdict = |(is, report): (i32, Value)| {
            assert_eq!(is, status, "{report}");
            // Whether a change is found is not the log's matter.
            let begins = report["verdict"].as_str().unwrap().starts_with(verdict);
            assert!(begins, "{report}");
        };
        let mut log = ready + "\n";
        for line in lines.by_ref().take(2) {
            log += &(line.unwrap() + "\n");
        }
        let callbacks = get(&address, "/_oss/callbacks");
        let key = get(&address, "/_oss/key.pem");
        let url = format!("http://{address}/_oss/key.pem");
        assert_verdict(diagnose(&["--key", &url], &callbacks));
        server.kill().unwrap();
        server.wait().unwrap();

        let (is, report) = diagnose(&[], log.as_bytes());
        assert_verdict((is, report.clone()));
        assert_eq!(report["key"]["origin"], "log");
        assert_eq!(report["uploader"]["ec"], "0007-00000203", "{report}");
        assert_eq!(report["uploader"]["message"], "Error status : 403.");

        // The list of callbacks has no key in it.
        assert_eq!(diagnose(&[], &callbacks).0, 2);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.pem");
        fs::write(&file, key).unwrap();
        assert_verdict(diagnose(&["--key", file.to_str().unwrap()], &callbacks));
    }
}

/// What `local-oss --key-pem` takes is at hand, and its public half in it.
#[test]
fn a_private_key_stands_for_its_public_half() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("local-oss.pem");
    fs::write(&file, KEY_PEM).unwrap();
    let request = Request::form("/cb", "size=7").raw("\n");
    let (status, private) = diagnose(&["--key", file.to_str().unwrap()], &request);
    let (_, public) = diagnose(&["--key", public_key_file()], &request);
    assert_eq!(status, 0, "{private}");
    assert_eq!(private["key"], public["key"]);
}

/// Serves one answer, and says how often it was asked.
fn key_server(answer: String) -> (String, Arc<AtomicUsize>) {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/key.pem", server.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

#[test]
fn a_key_of_this_machine_is_taken_only_as_it_is_and_from_the_user_alone() {
    let pem = fs::read_to_string(public_key_file()).unwrap();
    let length = pem.len();
    let whole = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{pem}");
    let (url, asked) = key_server(whole.clone());
    let request = Request::form("/cb", "size=7");
    let (status, report) = diagnose(&["--key", &url], &request.raw("\n"));
    assert_eq!(status, 0, "{report}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    // The sender chooses what the request names.
    let named = request
        .clone()
        .header("x-oss-pub-key-url", &BASE64_STANDARD.encode(&url));
    let (status, report) = diagnose(&[], &named.raw("\n"));
    assert_eq!((status, &report["key"]["origin"]), (1, &"assumed".into()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let redirect = format!("HTTP/1.1 302 Found\r\nLocation: {url}\r\nContent-Length: 0\r\n\r\n");
    for (answer, says) in [
        (redirect, "it answered 302"),
        (whole.replace("200 OK", "404 Not Found"), "it answered 404"),
        (whole.replace("PUBLIC", "ANOTHER"), "PEM"),
        (String::new(), "no answer"),
    ] {
        let (other, _) = key_server(answer);
        let (status, report) = diagnose(&["--key", &other], &request.raw("\n"));
        let message = report["message"].as_str().unwrap();
        assert_eq!(status, 2, "{report}");
        assert!(
            message.contains(says) && message.contains(&other),
            "{message}"
        );
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a redirect was followed");
}

/// As the middleware of the guide writes them, among other lines of the same stream.
#[test]
fn of_several_fenced_requests_the_first_ends_at_its_own_fence() {
    let fenced = |request: &Request| [b"```http\n", &request.raw("\r\n")[..], b"\n```\n"].concat();
    // Backticks of its own do not end it.
    let first = Request::form("/api/cb?id=1", "a=1\n```\nb=2");
    let stream = [
        b"listening\n",
        &fenced(&first)[..],
        b"WARN oss_callback: ..\n",
        &fenced(&Request::form("/other", "size=7")),
        b"bye\n",
    ]
    .concat();
    let (status, report) = diagnose(&["--key", public_key_file()], &stream);
    assert_eq!(status, 0, "{report}");
    assert_eq!(report["received"]["path"], "/api/cb");
    assert_eq!(report["received"]["body"]["length"], 11);
}

fn upload(address: &str, url: &str) {
    let callback =
        format!(r#"{{"callbackUrl":"{url}","callbackBody":"object=${{object}}&size=${{size}}"}}"#);
    let head = format!(
        "PUT /bucket-1/a.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 1\r\nx-oss-callback: {}\r\n\r\nx",
        BASE64_STANDARD.encode(callback)
    );
    exchange(address, head.as_bytes());
}

fn get(address: &str, path: &str) -> Vec<u8> {
    let answer = exchange(
        address,
        format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").as_bytes(),
    );
    let head = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    answer[head + 4..].to_vec()
}

fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}
