//! What real programs write: nginx's logs, in the formats that `doctor --help` proposes, and `curl -v`.
//! Where nginx or curl is missing, the test says so and ends.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crate::{
    ports::free_port,
    support::{KEY_PEM, diagnose, public_key_file, run, stdout},
};

/// A program that has not started by then never will, on a machine however busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// nginx on a free port, in front of nothing, until it is dropped.
struct Nginx {
    child: Child,
    url: String,
}

impl Nginx {
    /// `None` if there is no nginx here.
    fn start(directory: &Path, log_format: &str) -> Option<Self> {
        let port = free_port();
        let path = |name: &str| directory.join(name).display().to_string();
        let temp_paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {};\n", path(name)))
            .collect();
        // Nothing listens on port 9, so each request is answered with 502, after its body was read.
        let configuration = format!(
            "daemon off; pid {pid}; error_log {error} debug; events {{}}\n\
             http {{\n{temp_paths}{log_format}\n\
             log_format json escape=json '{{\"request\":\"$request\",\"http_authorization\":\"$http_authorization\",\
             \"http_x_oss_pub_key_url\":\"$http_x_oss_pub_key_url\",\"request_body\":\"$request_body\"}}';\n\
             access_log {access} oss; access_log {json} json;\n\
             server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:9; }} }} }}",
            pid = path("pid"),
            error = path("error.log"),
            access = path("access.log"),
            json = path("json.log"),
        );
        fs::write(directory.join("nginx.conf"), configuration).unwrap();
        let child = Command::new("nginx")
            .args(["-e", &path("start.log"), "-c", &path("nginx.conf")])
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                eprintln!("SKIPPED: nginx: {error}");
                return None;
            }
        };
        let nginx = Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
        };
        let begin = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let log = fs::read_to_string(directory.join("start.log")).unwrap_or_default();
            assert!(begin.elapsed() < PATIENCE, "nginx does not start: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(nginx)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A master that is killed leaves its workers behind.
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.child.wait();
    }
}

/// As it stands in the help.
fn proposed_log_format() -> String {
    let help = stdout(&run(&["doctor", "--help"], b""));
    let start = help.find("log_format oss").unwrap();
    let end = start + help[start..].find(';').unwrap();
    help[start..=end].to_owned()
}

#[test]
fn the_logs_of_nginx() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let Some(nginx) = Nginx::start(directory.path(), &proposed_log_format()) else {
        return;
    };
    fs::write(file("key.pem"), KEY_PEM).unwrap();
    // Everything that nginx escapes, one way or the other.
    let body = "{\"object\":\"图\\\"a\\\\b.jpg\",\"user\":\"zoë\t\"}";
    fs::write(file("body"), body).unwrap();
    let url = format!("{}/c%20b//?q=%22&%5c", nginx.url);
    let args = [
        "sign",
        "--key-pem",
        &file("key.pem"),
        "--json-body",
        "--body-file",
        &file("body"),
        "--send",
        &url,
    ];
    assert!(stdout(&run(&args, b"")).starts_with("502"));
    drop(nginx);

    let key = ["--key", public_key_file()];
    for log in ["access.log", "json.log"] {
        let (status, report) = diagnose(&[&key[..], &[&file(log)]].concat(), b"");
        assert_eq!(
            status,
            0,
            "{log}: {report}\n{:?}",
            fs::read_to_string(file(log))
        );
        // Were there a path behind `proxy_pass`, the log would be the same.
        let note = report["note"].as_str();
        assert!(
            note.is_some_and(|note| note.contains("access log")),
            "{report}"
        );
    }
    // The debug log has no body.
    let (log, body) = (file("error.log"), file("body"));
    let debug = [&key[..], &[&log, "--body", &body]].concat();
    if fs::read_to_string(&log).unwrap().contains("http header:") {
        let (status, report) = diagnose(&debug, b"");
        assert_eq!(status, 0, "{report}");
        assert_eq!(diagnose(&debug[..3], b"").0, 2);
    } else {
        eprintln!("SKIPPED: this nginx has no debug log");
    }
}

#[test]
fn the_output_of_curl() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no curl");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    fs::write(file("key.pem"), KEY_PEM).unwrap();
    let body = "object=a%2Fb&user='zoë'";
    fs::write(file("body"), body).unwrap();
    // It accepts connections and never answers.
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/a/../cb?x=1", app.local_addr().unwrap());
    let signed = run(
        &[
            "sign",
            "--key-pem",
            &file("key.pem"),
            "--curl",
            &url,
            "--body",
            body,
        ],
        b"",
    );
    let command = stdout(&signed).replace("curl -v", "curl -v --max-time 2");
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    fs::write(file("curl.log"), &output.stderr).unwrap();

    let args = [
        "--key",
        public_key_file(),
        &file("curl.log"),
        "--body",
        &file("body"),
    ];
    let (status, report) = diagnose(&args, b"");
    assert_eq!(
        status,
        0,
        "{report}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let (_, report) = diagnose(&args[..3], b"");
    assert_eq!(
        report["verdict"],
        "unusable",
        "{report}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // As a terminal has it: the command, which holds the body, and what curl showed.
    let session = [b"me@host:~$ ", command.as_bytes(), &output.stderr].concat();
    let (_, report) = diagnose(&args[..2], &session);
    assert_eq!(report["verdict"], "genuine", "{report}");
}
