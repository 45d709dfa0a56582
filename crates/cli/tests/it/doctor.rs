//! What the doctor prints: kept in `snapshots/`, in both languages, plain, in colour and as JSON.
//! `cargo insta review` shows what a change does to them; `INSTA_UPDATE=always` takes it.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Request, command, diagnose, public_key_file, run, run_in, stderr, stdout};

/// A page for people. It is compared whole, its escapes made visible.
fn page(args: &[&str], request: &Request) -> String {
    let key = ["doctor", "--key", public_key_file()];
    let output = run(&[&key, args].concat(), &request.raw("\r\n"));
    assert_eq!(stderr(&output), "");
    stdout(&output).replace('\u{1b}', "␛")
}

/// The object for programs, one name a line.
fn object(request: &Request) -> String {
    let (_, report) = diagnose(&["--key", public_key_file()], &request.raw("\r\n"));
    serde_json::to_string_pretty(&report).unwrap()
}

macro_rules! snapshots {
    ($($name:ident: $request:expr;)*) => {
        /// Every case below.
        fn cases() -> Vec<Request> {
            vec![$($request),*]
        }
    $(
        #[test]
        fn $name() {
            let request = $request;
            let name = stringify!($name);
            assert_snapshot!(format!("{name}.en"), page(&[], &request));
            assert_snapshot!(format!("{name}.zh"), page(&["--lang", "zh"], &request));
            assert_snapshot!(format!("{name}.json"), object(&request));
        }
    )*};
}

snapshots! {
    genuine: Request::form("/oss/callback?id=1", "object=a%2Fb.jpg&size=7");
    a_prefix_was_removed: Request::form("/api/oss/callback?id=1", "object=a%2Fb.jpg&size=7")
        .target("/oss/callback?id=1")
        .header("X-Original-URI", "/api/oss/callback?id=1");
    a_query_was_lost: Request::form("/oss/callback?token=s3cret&user=7", "object=a.jpg")
        .target("/oss/callback")
        .header("X-Forwarded-Uri", "/oss/callback?token=s3cret&user=7");
    a_body_was_written_again: Request::json("/cb", r#"{"object":"图片/é 1.jpg","size":7,"user":"zoë"}"#)
        .body("{\"object\": \"图片/é 1.jpg\", \"size\": 7, \"user\": \"zoë\"}".as_bytes())
        .header("CF-Ray", "88abc-HKG");
    a_byte_order_mark_was_added: Request::json("/cb", "{\"size\":7}")
        .body("\u{feff}{\"size\":7}".as_bytes());
    an_editor_added_a_line_end: Request::form("/cb", "size=7").body(b"size=7\n");
    the_body_did_not_arrive: Request::form("/cb", "object=a.jpg&size=7").body(b"");
    a_value_was_edited: Request::form("/cb", "object=a.jpg&size=7").body(b"object=b.jpg&size=8");
    a_scheme_was_added: {
        let request = Request::form("/cb", "object=a.jpg&size=7");
        let signature = request.headers[2].1.clone();
        request.header("Authorization", &format!("Bearer {signature}"))
    };
    the_signature_was_dropped: Request::form("/cb", "size=7").without("Authorization");
    a_request_to_oss: Request::form("/cb", "size=7").header("Authorization", "OSS id:c2lnbmF0dXJl");
    another_key: Request::form("/cb", "size=7").header(
        "Authorization",
        "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==",
    );
    genuine_of_another_version: Request::form("/cb", "size=7")
        .header("x-oss-signature-version", "2.0");
    nothing_obeys_the_request: Request::form("/cb", "size=7")
        .body("size=7\u{1b}[2J\u{202e}\r\n".as_bytes());
}

/// What the uploader saw depends on whether OSS sent this as a callback.
#[test]
fn a_callback_whose_signature_was_replaced_failed_and_another_request_was_none() {
    let request = Request::form("/cb", "size=7").header("Authorization", "Basic eDp5");
    let replaced = page(&[], &request);
    assert!(replaced.contains("203 CallbackFailed"), "{replaced}");
    let other = request.without("x-oss-pub-key-url");
    for request in [other.clone(), other.without("Authorization")] {
        let page = page(&[], &request);
        assert!(page.contains("OSS did not send it as a callback"), "{page}");
    }
}

/// Three words of English one after the other, outside code, are a sentence that was forgotten.
#[test]
fn chinese_output_has_no_english_sentence() {
    for request in cases() {
        let text = page(&["--lang", "zh"], &request);
        let prose = text.split("```http").next().unwrap();
        for line in prose.lines().filter(|line| !line.starts_with("    ")) {
            // What OSS says to the uploader is quoted.
            let line = line.replace("\"Error status : ", "");
            let mut words = 0;
            for word in line.split(' ') {
                let is_word = word.len() > 1 && word.bytes().all(|byte| byte.is_ascii_lowercase());
                words = if is_word { words + 1 } else { 0 };
                assert!(words < 3, "{line}\n{text}");
            }
        }
    }
}

#[test]
fn colours_only_repeat_what_the_text_says() {
    let request = Request::form("/api/cb", "size=7").target("/cb");
    let plain = page(&["--color", "never"], &request);
    let coloured = page(&["--color", "always"], &request);
    assert_snapshot!(coloured);
    let mut without = String::new();
    let mut parts = coloured.split('␛');
    without.push_str(parts.next().unwrap());
    for part in parts {
        without.push_str(part.split_once('m').unwrap().1);
    }
    assert_eq!(without, plain);
    assert_eq!(page(&[], &request), plain, "no terminal, no colour");
}

#[test]
fn the_exit_status_tells_genuine_from_diagnosed_from_unusable() {
    let genuine = Request::form("/cb?a=1", "size=7");
    for (request, status, verdict) in [
        (genuine.clone(), 0, "genuine"),
        (genuine.clone().target("/cb/?a=1"), 1, "changed"),
        (genuine.clone().body(b"size=8"), 1, "changed-unknown"),
        (
            genuine.clone().header("Authorization", "Basic eDp5"),
            1,
            "not-from-key",
        ),
        (
            genuine.clone().header("x-oss-signature-version", "2.0"),
            1,
            "genuine",
        ),
        (
            genuine.clone().header("Content-Encoding", "gzip"),
            1,
            "genuine",
        ),
    ] {
        let (is, report) = diagnose(&["--key", public_key_file()], &request.raw("\n"));
        assert_eq!(
            (is, &report["verdict"]),
            (status, &Value::from(verdict)),
            "{report}"
        );
    }
    let get = genuine.raw("\n");
    let get = [b"GET".as_slice(), &get[4..]].concat();
    let (status, report) = diagnose(&["--key", public_key_file()], &get);
    assert_eq!((status, &report["refusal"]["status"]), (1, &405.into()));
}

#[test]
fn a_foreign_key_url_is_refused_though_the_signature_may_be_genuine() {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let official = "POST /index.php?id=1&index=2 HTTP/1.1\n\
        Authorization: kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVgbWEfYTQG0G2SU/RaHBovRCE8OkQDjC3uG33esH2txA==\n";
    for (line, code) in [
        ("x-oss-pub-key-url: !!\n".to_owned(), "InvalidHeader"),
        // Base64 without its `=`.
        ("x-oss-pub-key-url: aHR0cDo\n".to_owned(), "InvalidHeader"),
        // Base64 of nothing, and of what is no text.
        ("x-oss-pub-key-url:\n".to_owned(), "KeyUrlNotAllowed"),
        ("x-oss-pub-key-url: /w==\n".to_owned(), "KeyUrlNotAllowed"),
        (
            format!(
                "x-oss-pub-key-url: {}\n",
                BASE64_STANDARD.encode("https://gosspublic.alicdn.com.evil.test/k.pem")
            ),
            "KeyUrlNotAllowed",
        ),
    ] {
        let text = format!("{official}{line}\nbucket=yonghu-test");
        let (status, report) = diagnose(&[], text.as_bytes());
        assert_eq!(report["verdict"], "genuine", "{report}");
        assert_eq!(
            (status, &report["refusal"]["code"]),
            (1, &code.into()),
            "{report}"
        );
        assert_eq!(report["key"]["origin"], "assumed");
        let status = if code == "InvalidHeader" { 400 } else { 403 };
        assert_eq!(report["refusal"]["status"], status, "{report}");
        assert_eq!(
            report["uploader"]["message"],
            format!("Error status : {status}.")
        );
    }
    // A capture may have left it out.
    let text = format!("{official}\nbucket=yonghu-test");
    let (status, report) = diagnose(&[], text.as_bytes());
    assert_eq!(
        (status, &report["verdict"]),
        (0, &"genuine".into()),
        "{report}"
    );
    assert!(stdout(&run(&["doctor"], text.as_bytes())).contains("no x-oss-pub-key-url"));
}

#[test]
fn the_locale_chooses_the_language_and_a_flag_overrides_it() {
    let request = Request::form("/cb", "size=7").raw("\n");
    let first_line = |env: &[(&str, &str)], args: &[&str]| {
        let args = [&["doctor", "--key", public_key_file()], args].concat();
        let mut command = command(&args);
        command.envs(env.iter().copied());
        stdout(&run_in(command, &request))
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    assert!(first_line(&[], &[]).starts_with("genuine"));
    assert!(first_line(&[("LANG", "zh_CN.UTF-8")], &[]).starts_with("真实"));
    assert!(first_line(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")], &[]).starts_with("genuine"));
    assert!(first_line(&[("LANG", "zh_CN.UTF-8")], &["--lang", "en"]).starts_with("genuine"));
}

/// What is pasted into an issue is diagnosed there as it was here, and tells no value.
#[test]
fn a_redacted_reproduction_reproduces() {
    let signed = Request::form(
        "/api/oss/callback?ticket=eyJhbGc&user=4711",
        "object=private%2F文.jpg&size=70",
    );
    for (request, cause) in [
        (
            signed
                .clone()
                .target("/oss/callback?ticket=eyJhbGc&user=4711"),
            "path-prefix-removed",
        ),
        (
            signed
                .clone()
                .target("/api/oss/callback/?ticket=eyJhbGc&user=4711"),
            "trailing-slash",
        ),
        (signed.clone().target("/api/oss/callback"), "query-lost"),
        (
            signed
                .clone()
                .target("/api/oss/callback?user=4711&ticket=eyJhbGc"),
            "query-reordered",
        ),
        (
            signed
                .clone()
                .body("object=private%2F文.jpg&size=70\r\n".as_bytes()),
            "body-newline",
        ),
    ] {
        let request = match cause {
            "query-reordered" => request,
            _ => request.header(
                "X-Original-URI",
                "/api/oss/callback?ticket=eyJhbGc&user=4711",
            ),
        };
        let here = page(&[], &request);
        let pasted = here.split_once("```http\n").unwrap().1;
        for secret in ["eyJhbGc", "4711", "private", "=70"] {
            assert!(!pasted.contains(secret), "{secret}: {pasted}");
        }
        // Pasted as a whole, with its fence and what stands before it.
        let (status, there) = diagnose(&[], here.as_bytes());
        assert_eq!(
            (status, &there["cause"]),
            (1, &cause.into()),
            "{here}\n{there}"
        );
        assert_eq!(there["key"]["origin"], "reproduction");
    }
}

/// The signature of a request whose change is unknown could be used by whoever reads the issue.
#[test]
fn a_reproduction_never_shows_the_signature_of_the_request() {
    for request in [
        Request::form("/cb", "size=7").body(b"size=8"),
        Request::form("/cb", "size=7").header(
            "Authorization",
            "OSS4-HMAC-SHA256 Credential=AKID/x,Signature=abc",
        ),
        Request::form("/api/cb", "size=7").target("/cb"),
    ] {
        let signature = request
            .headers
            .iter()
            .find(|(name, _)| name == "Authorization")
            .unwrap();
        let text = page(&[], &request);
        let reproduction = text.split_once("```http\n").unwrap().1;
        assert!(!reproduction.contains(&signature.1), "{reproduction}");
    }
}

/// The doctor says the same of a reproduction, the refusal too, or it does not claim so.
#[test]
fn a_reproduction_of_a_refused_request_is_refused_alike_or_has_no_signature() {
    let genuine = Request::form("/cb", "size=7");
    let repeated = |name: &str, value: &str| {
        let mut request = genuine.clone();
        request.headers.push((name.to_owned(), value.to_owned()));
        request
    };
    let key_url = genuine.headers[5].1.clone();
    for (request, code, is_faithful) in [
        (
            repeated("x-oss-pub-key-url", &key_url),
            "DuplicateHeader",
            true,
        ),
        (
            repeated("Content-Type", "text/plain"),
            "DuplicateHeader",
            true,
        ),
        (
            genuine.clone().header("Content-Encoding", "gzip"),
            "UnsupportedMediaType",
            true,
        ),
        (
            genuine.clone().header("x-oss-pub-key-url", "!!"),
            "InvalidHeader",
            false,
        ),
    ] {
        let (status, here) = diagnose(&["--key", public_key_file()], &request.raw("\n"));
        assert_eq!((status, &here["refusal"]["code"]), (1, &code.into()));
        let page = page(&[], &request);
        let claims = page.contains("says the same of it as of the original");
        assert_eq!(claims, is_faithful, "{page}");
        let pasted = page.split_once("```http\n").unwrap().1;
        assert_eq!(pasted.contains("<redacted, "), !is_faithful, "{page}");
        if is_faithful {
            let (status, there) = diagnose(&[], page.as_bytes());
            assert_eq!((status, &there["verdict"]), (1, &here["verdict"]), "{page}");
            assert_eq!(there["refusal"]["code"], code, "{page}");
        }
    }
}

/// Programs are told, too, that an editor may have added a line end.
#[test]
fn an_editors_line_end_is_noted_for_programs() {
    let signed = Request::form("/cb", "size=7");
    let note = |request: &Request| {
        let (_, report) = diagnose(&["--key", public_key_file()], &request.raw("\n"));
        report["note"].as_str().map(str::to_owned)
    };
    let added = note(&signed.clone().body(b"size=7\n")).unwrap();
    assert!(added.contains("an editor or a clipboard"), "{added}");
    let arrived = signed.header("Content-Length", "7").body(b"size=7\n");
    assert_eq!(note(&arrived), None);
}
