//! The command, as a process.

#![allow(clippy::unwrap_used)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oss-callback"));
    command.arg("local-oss").args(args);
    command
}

fn output(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

/// A server that runs until it is dropped, and its lines.
struct Server {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    ready: Value,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let args = [&["--port", "0", "--json"], args].concat();
        let mut child = command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap();
        Self {
            child,
            lines,
            ready,
        }
    }

    fn address(&self) -> &str {
        self.ready["endpoint"]
            .as_str()
            .unwrap()
            .strip_prefix("http://")
            .unwrap()
    }

    #[cfg(unix)]
    fn terminate(&self) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(kill.unwrap().success());
    }

    fn next(&mut self) -> Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Status and body.
    fn request(&self, head: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let head = format!(
            "{head}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut read = Vec::new();
        stream.read_to_end(&mut read).unwrap();
        let end = read
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let status = String::from_utf8_lossy(&read[9..12]).parse().unwrap();
        (status, read.split_off(end + 4))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_line_says_how_to_reach_it_and_others_what_happens() {
    let mut server = Server::start(&["--open"]);
    assert_eq!(server.ready["event"], "ready");
    assert_eq!(server.ready["access_key_id"], "local-oss-access-key-id");
    assert_eq!(
        server.ready["access_key_secret"],
        "local-oss-access-key-secret"
    );
    assert!(
        server.ready["key_url"]
            .as_str()
            .unwrap()
            .starts_with("https://local-oss.invalid/")
    );
    assert!(
        server.ready["public_key_pem"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN PUBLIC KEY-----")
    );

    assert_eq!(server.request("GET /_oss/health HTTP/1.1", b"").0, 200);
    assert_eq!(
        server.request("PUT /bucket-1/a.txt HTTP/1.1", b"hello").0,
        200
    );
    let upload = server.next();
    assert_eq!(
        (&upload["event"], &upload["object"], &upload["size"]),
        (&"upload".into(), &"a.txt".into(), &5.into())
    );
    assert_eq!(server.request("GET /bucket-1/b.txt HTTP/1.1", b"").0, 404);
    assert_eq!(server.next()["code"], "NoSuchKey");
    assert_eq!(server.request("POST /_oss/reset HTTP/1.1", b"").0, 204);
    assert_eq!(server.next()["event"], "reset");
}

#[test]
fn signatures_are_verified_by_default() {
    let server = Server::start(&["--access-key-id", "id", "--access-key-secret", "secret"]);
    assert_eq!(server.ready["access_key_id"], "id");
    assert_eq!(
        server.request("PUT /bucket-1/a.txt HTTP/1.1", b"hello").0,
        403
    );
}

#[test]
fn a_key_can_be_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.pem");
    let mut first = Server::start(&["--print-key"]);
    let key = first.next();
    std::fs::write(&file, key["private_key_pem"].as_str().unwrap()).unwrap();
    let second = Server::start(&["--key-pem", file.to_str().unwrap()]);
    assert_eq!(first.ready["key_url"], second.ready["key_url"]);
}

#[test]
fn people_get_snippets() {
    let mut child = command(&["--port", "0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    while !text.contains("NewStaticCredentialsProvider") {
        assert_ne!(lines.read_line(&mut text).unwrap(), 0, "{text}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for part in [
        "Local OSS is ready: http://127.0.0.1:",
        "oss2.Bucket(",
        "new OSS(",
        "pin_key(",
        "BEGIN PUBLIC KEY",
        "/_oss/",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Answers one callback as an application that refuses it.
fn refuse_one(code: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/cb", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut read = [0; 4096];
        let _ = stream.read(&mut read).unwrap();
        let body = format!("{{\"code\":\"{code}\"}}");
        let head = "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).unwrap();
        // Whoever closes with bytes unread resets the connection.
        let _ = stream.read_to_end(&mut Vec::new());
    });
    url
}

#[test]
fn people_are_told_where_to_look_if_the_application_refuses_the_callback() {
    let mut child = command(&["--port", "0", "--open"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut next = |begins_with: &str| loop {
        let mut line = String::new();
        assert_ne!(lines.read_line(&mut line).unwrap(), 0, "{begins_with}");
        if line.starts_with(begins_with) {
            break line;
        }
    };
    let ready = next("Local OSS is ready: http://");
    let address = ready.trim().rsplit("//").next().unwrap().to_owned();
    for (code, hint) in [
        (
            "KeyUrlNotAllowed",
            "; does its layer pin this server's key?",
        ),
        (
            "InvalidSignature",
            "; is the key that its layer pins for this URL that of /_oss/key.pem, and do the path and the \
             body reach it as they were sent?",
        ),
        ("TicketMissing", ""),
    ] {
        let url = refuse_one(code);
        let callback = format!(r#"{{"callbackUrl":"{url}","callbackBody":"object=${{object}}"}}"#);
        let callback = BASE64_STANDARD.encode(callback);
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "PUT /bucket-1/a.txt HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
             x-oss-callback: {callback}\r\nContent-Length: 0\r\n\r\n"
        )
        .unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
        let line = next("callback  ");
        let answered = format!("the application answered {{\"code\":\"{code}\"}}{hint}");
        assert!(line.trim_end().ends_with(&answered), "{line}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_is_wrong_is_said_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let directory = tempfile::tempdir().unwrap();
    let no_key = directory.path().join("none.pem");
    for (args, says) in [
        (vec!["--port", port.as_str()], port.as_str()),
        (vec!["--port", port.as_str()], "--port names another"),
        (vec!["--port", "70000"], "70000"),
        (vec!["--callback-timeout", "soon"], "5s"),
        (vec!["--fault", "explode"], "corrupt-signature"),
        (vec!["--nonsense"], "--nonsense"),
        (vec!["--access-key-id", "id"], "--access-key-secret"),
        (vec!["--key-pem", no_key.to_str().unwrap()], "none.pem"),
        (vec!["--bucket", "No"], "\"No\""),
    ] {
        let output = output(&args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{args:?}");
        assert!(error.contains(says), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
    }
    assert!(output(&["--help"]).status.success());
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_in_good_order() {
    let mut server = Server::start(&[]);
    server.terminate();
    assert!(server.child.wait().unwrap().success());
}

/// A program that ends it reads what happened until then.
#[cfg(unix)]
#[test]
fn no_line_is_lost_to_a_signal() {
    for _ in 0..10 {
        let mut server = Server::start(&["--open"]);
        for _ in 0..5 {
            assert_eq!(server.request("PUT /bucket-1/a HTTP/1.1", b"x").0, 200);
        }
        server.terminate();
        let mut rest = String::new();
        server.lines.read_to_string(&mut rest).unwrap();
        assert_eq!(rest.matches(r#""event":"upload""#).count(), 5, "{rest}");
    }
}

/// A program that starts it may read nothing but the first line.
#[cfg(unix)]
#[test]
fn a_reader_that_does_not_read_holds_up_neither_requests_nor_the_end() {
    let mut server = Server::start(&["--open"]);
    // A line each, and far more of them than a pipe holds.
    let target = "a".repeat(1_000);
    for _ in 0..200 {
        let head = format!("GET /bucket-1/{target} HTTP/1.1");
        assert_eq!(server.request(&head, b"").0, 404);
    }
    server.terminate();
    let begin = std::time::Instant::now();
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "it goes on");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success());
}

/// What is not known of the service can be chosen, and reaches the callback.
#[test]
fn unknown_behaviour_can_be_chosen() {
    for (flags, expected) in [
        (&[][..], "a%20b&x=&s=1"),
        (&["--form-encoding", "urlencoded"], "a+b&x=&s=1"),
        (
            &["--unknown-var", "nothing", "--missing-var", "null"],
            "a%20b&x=&s=1",
        ),
    ] {
        let server = Server::start(&[&["--open"], flags].concat());
        let app = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", app.local_addr().unwrap());
        let called = std::thread::spawn(move || {
            let (mut stream, _) = app.accept().unwrap();
            let mut read = vec![0; 64 << 10];
            let mut len = 0;
            while !String::from_utf8_lossy(&read[..len]).contains("&s=1") {
                let more = stream.read(&mut read[len..]).unwrap();
                assert_ne!(more, 0, "{}", String::from_utf8_lossy(&read[..len]));
                len += more;
            }
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                .unwrap();
            String::from_utf8_lossy(&read[..len]).into_owned()
        });
        let json = format!(
            r#"{{"callbackUrl":"{url}","callbackBody":"${{object}}&x=${{x:none}}&s=${{size}}"}}"#
        );
        let head = format!(
            "PUT /bucket-1/a%20b HTTP/1.1\r\nx-oss-callback: {}",
            base64(&json)
        );
        assert_eq!(server.request(&head, b"1").0, 200);
        let request = called.join().unwrap();
        assert!(
            request.ends_with(&format!("\r\n\r\n{expected}")),
            "{request}"
        );
    }
}

fn base64(text: &str) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(text)
}

/// `LOCAL_OSS_KILLS` times, 5 unless it is set: a server is killed while uploads go on. The next one
/// finds every object that was acknowledged, and none in half.
#[cfg(unix)]
#[test]
fn a_kill_leaves_no_half_object_and_loses_no_acknowledged_one() {
    let kills: usize = std::env::var("LOCAL_OSS_KILLS").map_or(5, |text| text.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().to_str().unwrap();
    let mut acknowledged: Vec<(String, Vec<u8>)> = Vec::new();
    for kill in 0..kills {
        let mut server = Server::start(&["--open", "--dir", dir]);
        for (key, body) in &acknowledged {
            let (status, read) = server.request(&format!("GET /bucket-1/{key} HTTP/1.1"), b"");
            assert_eq!(
                (status, &read == body),
                (200, true),
                "{key} after {kill} kills"
            );
        }
        let address = server.address().to_owned();
        let answered = Arc::new(AtomicUsize::new(0));
        let uploads: Vec<_> = (0..4)
            .map(|thread| {
                let (address, answered) = (address.clone(), answered.clone());
                std::thread::spawn(move || upload_until_killed(&address, kill, thread, &answered))
            })
            .collect();
        while answered.load(Ordering::Relaxed) < 4 {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(kill as u64 % 20));
        // SIGKILL.
        server.child.kill().unwrap();
        server.child.wait().unwrap();
        let mut unanswered = Vec::new();
        for upload in uploads {
            let (done, last) = upload.join().unwrap();
            acknowledged.extend(done);
            unanswered.push(last);
        }
        // What was not acknowledged is there as a whole or not at all.
        let server = Server::start(&["--open", "--dir", dir]);
        for (key, body) in unanswered {
            let (status, read) = server.request(&format!("GET /bucket-1/{key} HTTP/1.1"), b"");
            assert!(
                status == 404 || (status == 200 && read == body),
                "{key}: {status}, {} bytes",
                read.len()
            );
        }
        if acknowledged.len() > 64 {
            acknowledged.drain(..acknowledged.len() - 64);
        }
    }
    assert!(!acknowledged.is_empty());
}

type Object = (String, Vec<u8>);

/// Those that were answered with 200, and the one that was not.
fn upload_until_killed(
    address: &str,
    kill: usize,
    thread: usize,
    answered: &AtomicUsize,
) -> (Vec<Object>, Object) {
    let mut done = Vec::new();
    for number in 0.. {
        let key = format!("{kill}-{thread}-{number}");
        let body: Vec<u8> = (0..200_000 + number)
            .map(|n| (n * (thread + 3)) as u8)
            .collect();
        let uploaded = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(
                format!("PUT /bucket-1/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(),
            )?;
            stream.write_all(&body)?;
            let mut read = [0; 12];
            stream.read_exact(&mut read)?;
            Ok(&read[9..] == b"200")
        };
        if !uploaded().unwrap_or(false) {
            return (done, (key, body));
        }
        done.push((key, body));
        answered.fetch_add(1, Ordering::Relaxed);
    }
    unreachable!("the server is killed")
}

/// `local-oss | head`: whoever reads no more ends it, without a complaint.
#[test]
fn it_ends_quietly_when_its_reader_is_gone() {
    let mut child = command(&["--port", "0", "--json", "--open"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut ready = String::new();
    lines.read_line(&mut ready).unwrap();
    drop(lines);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let address = ready["endpoint"].as_str().unwrap();
    let address = address.strip_prefix("http://").unwrap();
    // An event, whose line nobody reads.
    let mut stream = TcpStream::connect(address).unwrap();
    let head = "PUT /bucket-1/a.txt HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    stream.write_all(head.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
