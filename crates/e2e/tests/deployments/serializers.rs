//! Middlewares of other languages that parse a body and write it again, with their own libraries.
//!
//! Each is a program that reads the body from its standard input. Without the language its rows say that
//! they are skipped.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use oss_callback::diagnose::{CapturedRequest, diagnose};
use oss_callback::test_util::CallbackSigner;

use super::callback::{FORM, JSON};

/// A template with the names and the order of the service's documentation, in a longer form.
const LONG: &str = "bucket=photos&object=a%2Fb%20%28c%29~.jpg&etag=D8E8FCA2DC0F896FD7CB4CB0031BA249&size=7\
                    &mimeType=image%2Fjpeg&imageInfo.height=278&imageInfo.width=200&imageInfo.format=png&x=1%3A2";
const NESTED: &str =
    r#"{"object":"图/a b.jpg","size":7,"imageInfo":{"height":278,"width":200,"format":"png"}}"#;

/// What the documentation's template becomes for an object that is no picture.
const WITHOUT_A_PICTURE: &str =
    "bucket=photos&object=a%2Fb.txt&size=7&imageInfo.height=&imageInfo.width=&imageInfo.format=";

/// Language, program, body, cause.
const ROWS: &[(&str, &str, &str, &str)] = &[
    (
        "python3",
        "import json,sys; print(json.dumps(json.load(sys.stdin)), end='')",
        JSON,
        "body-reserialized",
    ),
    (
        "python3",
        "import json,sys; print(json.dumps(json.load(sys.stdin), sort_keys=True), end='')",
        NESTED,
        "body-reserialized",
    ),
    (
        "python3",
        "import json,sys; print(json.dumps(json.load(sys.stdin), ensure_ascii=False, indent=2))",
        NESTED,
        "body-reserialized",
    ),
    (
        "python3",
        "import json,sys; print(json.dumps(json.load(sys.stdin), separators=(',',':')), end='')",
        JSON,
        "body-reserialized",
    ),
    (
        "python3",
        "import sys; from urllib.parse import *; print(urlencode(parse_qsl(sys.stdin.read())), end='')",
        LONG,
        "body-reserialized",
    ),
    (
        "python3",
        "import sys; from urllib.parse import *; print(urlencode(sorted(parse_qsl(sys.stdin.read()))), end='')",
        LONG,
        "body-reserialized",
    ),
    (
        "python3",
        "import sys; from urllib.parse import *; print(unquote_plus(sys.stdin.read()), end='')",
        FORM,
        "body-reserialized",
    ),
    (
        "python3",
        "import json,sys; from urllib.parse import *; print(json.dumps(parse_qs(sys.stdin.read())), end='')",
        FORM,
        "body-converted",
    ),
    (
        "python3",
        "import json,sys; from urllib.parse import *; print(urlencode(json.load(sys.stdin)), end='')",
        JSON,
        "body-converted",
    ),
    (
        "python3",
        "import json,sys; print(json.dumps(sys.stdin.read()), end='')",
        JSON,
        "body-converted",
    ),
    (
        "python3",
        "import json,sys; print(json.load(sys.stdin), end='')",
        JSON,
        "body-converted",
    ),
    (
        "python3",
        "import sys; print(sys.stdin.buffer.read(), end='')",
        JSON,
        "body-converted",
    ),
    (
        "python3",
        "import sys; from urllib.parse import *; print(urlencode(parse_qsl(sys.stdin.read())), end='')",
        WITHOUT_A_PICTURE,
        "body-reserialized",
    ),
    (
        "python3",
        "import json,sys; print(json.dumps({'code': 0, 'data': json.load(sys.stdin)}, ensure_ascii=False, separators=(',',':')), end='')",
        NESTED,
        "body-converted",
    ),
    (
        "python3",
        "import gzip,sys; sys.stdout.buffer.write(gzip.compress(sys.stdin.buffer.read()))",
        JSON,
        "content-decoded",
    ),
    (
        "python3",
        "import zlib,sys; sys.stdout.buffer.write(zlib.compress(sys.stdin.buffer.read()))",
        FORM,
        "content-decoded",
    ),
    (
        "python3",
        "import base64,sys; sys.stdout.buffer.write(base64.encodebytes(sys.stdin.buffer.read()))",
        JSON,
        "body-converted",
    ),
    (
        "python3",
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read().decode().encode('utf-16'))",
        JSON,
        "body-charset",
    ),
    (
        "node",
        "process.stdin.on('data', d => process.stdout.write(JSON.stringify(JSON.parse(d), null, 4)))",
        NESTED,
        "body-reserialized",
    ),
    (
        "node",
        "process.stdin.on('data', d => process.stdout.write(new URLSearchParams(d.toString()).toString()))",
        LONG,
        "body-reserialized",
    ),
    (
        "node",
        "const q = require('querystring'); process.stdin.on('data', d => process.stdout.write(q.stringify(q.parse(d.toString()))))",
        LONG,
        "body-reserialized",
    ),
    (
        "node",
        "const q = require('querystring'); process.stdin.on('data', d => process.stdout.write(JSON.stringify(q.parse(d.toString()))))",
        FORM,
        "body-converted",
    ),
    (
        "node",
        "const q = require('querystring'); process.stdin.on('data', d => process.stdout.write(q.stringify(JSON.parse(d))))",
        JSON,
        "body-converted",
    ),
    (
        "node",
        "const q = require('querystring'); process.stdin.on('data', d => process.stdout.write(JSON.stringify(q.parse(d.toString()))))",
        r#"{"object":"a.jpg","size":7}"#,
        "body-converted",
    ),
    (
        "node",
        "process.stdin.on('data', d => process.stdout.write(encodeURI(decodeURIComponent(d.toString()))))",
        FORM,
        "body-reserialized",
    ),
    (
        "node",
        "process.stdin.on('data', d => process.stdout.write(JSON.stringify(d)))",
        FORM,
        "body-converted",
    ),
    (
        "node",
        "process.stdin.on('data', d => process.stdout.write(require('util').inspect(JSON.parse(d))))",
        NESTED,
        "body-converted",
    ),
    (
        "perl",
        "local $/; $_ = <STDIN>; s/%([0-9A-F]{2})/chr hex $1/ge; s/([^A-Za-z0-9&=])/sprintf '%%%02x', ord $1/ge; print",
        FORM,
        "body-reserialized",
    ),
];

#[test]
fn what_serializers_write_is_named() {
    let mut named = 0;
    for (language, program, body, cause) in ROWS {
        let flag = match *language {
            "python3" => "-c",
            _ => "-e",
        };
        let child = Command::new(language)
            .args([flag, program])
            .env("PYTHONIOENCODING", "utf-8")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("SKIPPED: {language} is not installed");
            continue;
        };
        child
            .stdin
            .take()
            .unwrap()
            .write_all(body.as_bytes())
            .unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{program}");
        let written = output.stdout;
        assert_ne!(&written, body.as_bytes(), "{program}");

        let signer = CallbackSigner::new();
        let mut headers = signer.form("/oss/cb", (*body).to_owned()).headers().clone();
        // With the headers of OSS, and with those that a framework wrote again.
        for drops in [&[][..], &["content-md5", "content-length"]] {
            for name in drops {
                headers.remove(*name);
            }
            let request =
                CapturedRequest::new("/oss/cb", headers.clone(), written.clone()).unwrap();
            let diagnosis = diagnose(&request, &signer.public_key());
            let context = format!(
                "{program}: {diagnosis:?} {:?}",
                String::from_utf8_lossy(&written)
            );
            assert_eq!(
                diagnosis.cause().map(|cause| cause.code()),
                Some(*cause),
                "{context}"
            );
            assert_eq!(diagnosis.also(), None, "{context}");
            assert_eq!(diagnosis.signed().unwrap().body(), *body, "{context}");
        }
        named += 1;
    }
    println!("serializers: {named} named");
}
