//! Runs the command, and makes requests for it.

use std::{
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use oss_callback::test_util::CallbackSigner;
use serde_json::Value;

/// A command that sees nothing of this machine's settings.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oss-callback"));
    command.args(args);
    for name in ["LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR"] {
        command.env_remove(name);
    }
    command
}

/// Runs the command with an input.
pub(crate) fn run(args: &[&str], input: &[u8]) -> Output {
    run_in(command(args), input)
}

pub(crate) fn run_in(mut command: Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read its input closes the pipe.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// The exit status and the object of `doctor --json`.
pub(crate) fn diagnose(args: &[&str], input: &[u8]) -> (i32, Value) {
    let output = run(&[&["doctor", "--json"], args].concat(), input);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "one object: {text}");
    (
        output.status.code().unwrap(),
        serde_json::from_str(&text).unwrap(),
    )
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A request before it is written in one of the forms.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// The key that requests of these tests are signed with: one that stays, for snapshots.
pub(crate) static SIGNER: LazyLock<CallbackSigner> = LazyLock::new(|| {
    CallbackSigner::from_pem(KEY_PEM)
        .unwrap()
        .with_key_url("https://gosspublic.alicdn.com/callback_pub_key_v2.pem")
});

/// From the documentation of `CallbackSigner`.
pub(crate) const KEY_PEM: &str = include_str!("../../src/doctor/reproduction_key.pem");

/// The public half, as a file.
pub(crate) fn public_key_file() -> &'static str {
    static FILE: LazyLock<(tempfile::TempDir, PathBuf)> = LazyLock::new(|| {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("public.pem");
        std::fs::write(&file, SIGNER.public_key_pem()).unwrap();
        (directory, file)
    });
    FILE.1.to_str().unwrap()
}

impl Request {
    /// A signed form.
    pub(crate) fn form(target: &str, body: &str) -> Self {
        Self::signed(target, body, "application/x-www-form-urlencoded")
    }

    /// A signed JSON document.
    pub(crate) fn json(target: &str, body: &str) -> Self {
        Self::signed(target, body, "application/json")
    }

    fn signed(target: &str, body: &str, content_type: &str) -> Self {
        let signed = SIGNER.form(target, body.to_owned());
        let headers = signed.headers();
        let value = |name: &str| headers[name].to_str().unwrap().to_owned();
        Self {
            target: target.to_owned(),
            headers: vec![
                ("Host".to_owned(), "app.example".to_owned()),
                ("Content-Length".to_owned(), body.len().to_string()),
                ("Authorization".to_owned(), value("authorization")),
                (
                    "Content-MD5".to_owned(),
                    BASE64_STANDARD.encode(Md5::digest(body)),
                ),
                ("Content-Type".to_owned(), content_type.to_owned()),
                ("x-oss-pub-key-url".to_owned(), value("x-oss-pub-key-url")),
            ],
            body: body.as_bytes().to_vec(),
        }
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Raw HTTP with these line ends.
    pub(crate) fn raw(&self, end: &str) -> Vec<u8> {
        let mut text = format!("POST {} HTTP/1.1{end}", self.target);
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}{end}");
        }
        text += end;
        [text.as_bytes(), &self.body].concat()
    }
}
