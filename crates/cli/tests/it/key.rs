//! `oss-callback key`.

use std::fs;

use crate::support::{KEY_PEM, SIGNER, public_key_file, run, stderr, stdout};

const V1: &str = "a1f54d0fb9263a14276c9e890f99cdeae986265b3985e6b1aa4603631c5bc9cf";

#[test]
fn the_published_key_is_shown() {
    let shown = stdout(&run(&["key", "show"], b""));
    for part in [
        "-----BEGIN PUBLIC KEY-----",
        V1,
        "512",
        "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    let pem = stdout(&run(&["key", "show", "--pem"], b""));
    assert_eq!(
        oss_callback::PublicKey::from_pem(&pem)
            .unwrap()
            .fingerprint(),
        V1
    );
}

#[test]
fn a_file_is_checked() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.pem");
    let check = |text: &str| {
        fs::write(&file, text).unwrap();
        run(&["key", "check", file.to_str().unwrap()], b"")
    };
    let v1 = stdout(&run(&["key", "show", "--pem"], b""));
    let output = check(&v1);
    assert!(output.status.success());
    assert!(
        stdout(&output).contains("It is the published v1 key"),
        "{output:?}"
    );

    let output = check(&fs::read_to_string(public_key_file()).unwrap());
    assert!(output.status.success());
    let shown = stdout(&output);
    assert!(shown.contains("It is not the published v1 key"), "{shown}");
    assert!(
        shown.contains(&SIGNER.public_key().fingerprint()),
        "{shown}"
    );

    for (text, says) in [
        ("", "no PEM block"),
        ("<html>503</html>", "web page"),
        (KEY_PEM, "private key"),
        (&v1.replace("PUBLIC KEY", "CERTIFICATE"), "certificate"),
        (&(v1.clone() + &v1), "more than one"),
        (&v1.replace("MFww", "MFwx"), "an RSA key in it is needed"),
    ] {
        let output = check(text);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let error = stderr(&output);
        assert!(error.contains(says) && error.contains("key.pem"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let output = run(&["key", "check", "-"], v1.as_bytes());
    assert!(stdout(&output).contains("It is the published v1 key"));
    let output = run(&["key", "check", "-"], b"<html>");
    let error = stderr(&output);
    assert!(
        error.contains("standard input") && error.contains("web page"),
        "{error}"
    );
    let output = run(&["key", "check", "/nonexistent"], b"");
    assert_eq!(output.status.code(), Some(1));
}

/// Nothing that the allowlist does not have is looked at.
#[test]
fn only_allowed_urls_are_fetched() {
    for url in [
        "https://keys.example.test/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com/../x",
        "https://gosspublic.alicdn.com@127.0.0.1/callback_pub_key_v1.pem",
        "file:///etc/passwd",
        "callback_pub_key_v1.pem",
    ] {
        let output = run(&["key", "fetch", url], b"");
        let error = stderr(&output);
        assert_eq!(
            (output.status.code(), stdout(&output).as_str()),
            (Some(1), "")
        );
        assert!(
            error.contains("allowlist") && error.lines().count() == 1,
            "{error}"
        );
    }
}
