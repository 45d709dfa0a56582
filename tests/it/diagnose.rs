//! What becomes of a genuine callback on its way, and what the diagnosis calls it.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use oss_callback::{
    PublicKey,
    diagnose::{
        CapturedRequest, Cause, Diagnosis, Effort, Evidence, Verdict, diagnose, diagnose_with,
    },
    test_util::CallbackSigner,
};

const FORM: &str = "bucket=photos&object=a%2Fb%20c.jpg&size=7&mime=image%2Fjpeg&x=1%3A2";
const JSON: &str = r#"{"bucket":"photos","object":"a/é.jpg","size":7,"mime":"image/jpeg"}"#;

/// A signed callback, as headers and body.
fn signed(target: &str, body: &str) -> (HeaderMap, Bytes) {
    let request = CallbackSigner::new().form(target, body.to_owned());
    (request.headers().clone(), Bytes::from(body.to_owned()))
}

/// What arrived of a callback, with the headers that it was sent with.
fn arrived(
    sent: (&str, &str),
    received: (&str, &[u8]),
    change: impl Fn(&mut HeaderMap),
) -> Diagnosis {
    let (mut headers, _) = signed(sent.0, sent.1);
    change(&mut headers);
    let body = Bytes::copy_from_slice(received.1);
    let request = CapturedRequest::new(received.0, headers, body).unwrap();
    diagnose(&request, &CallbackSigner::new().public_key())
}

/// With and without `Content-MD5` and `Content-Length`, which old callbacks and proxies drop.
fn assert_changed(sent: (&str, &str), received: (&str, &[u8]), cause: Cause) {
    for drops in [
        &[][..],
        &["content-md5"],
        &["content-md5", "content-length"],
    ] {
        let diagnosis = arrived(sent, received, |headers| {
            for name in drops {
                headers.remove(*name);
            }
        });
        let context = &format!("{sent:?} {received:?} {drops:?} {diagnosis:?}");
        assert_eq!(diagnosis.verdict(), Verdict::Changed, "{context}");
        assert_eq!(diagnosis.cause(), Some(cause), "{context}");
        assert_eq!(diagnosis.also(), None, "{context}");
        let found = diagnosis.signed().unwrap();
        assert_eq!(found.body(), sent.1, "{context}");
        if cause != Cause::PathDecoded {
            assert_eq!(found.target(), sent.0, "{context}");
        }
        assert!(diagnosis.remedy().is_some());
    }
}

#[test]
fn changes_of_the_target_are_named() {
    use Cause::*;
    let rows: &[(&str, &str, Cause)] = &[
        ("/api/oss/cb", "/oss/cb", PathPrefixRemoved),
        ("/api/v1/cb?a=1", "/cb?a=1", PathPrefixRemoved),
        ("/oss/oss/cb", "/oss/cb", PathPrefixRemoved),
        ("/Prod/Prod/cb", "/Prod/cb", PathPrefixRemoved),
        ("/callback", "/", PathPrefixRemoved),
        ("/cb", "/internal-7/cb", PathPrefixAdded),
        ("/cb?a=1", "/x/y/z/cb?a=1", PathPrefixAdded),
        ("/api/cb", "/svc-12/cb", PathRewritten),
        ("/cb", "/cb/", TrailingSlash),
        ("/notify/", "/notify//", TrailingSlash),
        ("/index.php", "//index.php", PathRewritten),
        ("/cb", "/./cb", PathRewritten),
        ("/cb", "/x/../cb", PathRewritten),
        ("/cb?id=1&index=2", "/cb?id=1&amp;index=2", QueryReencoded),
        ("/cb/?a=1", "/cb?a=1", TrailingSlash),
        ("/a//cb", "/a/cb", SlashesMerged),
        ("//a/cb", "/a/cb", SlashesMerged),
        ("/a%2541", "/a%41", PathDecoded),
        ("/a%41", "/a%2541", PathReencoded),
        ("/cb?a=1", "/cb%3Fa=1", PathReencoded),
        ("/cb?a=1&b=2&c=3", "/cb?b=2&c=3&a=1", QueryReordered),
        ("/cb?a=%2F&b=x%20y", "/cb?a=/&b=x+y", QueryReencoded),
        ("/cb?t=1:2&u=$x", "/cb?t=1%3A2&u=%24x", QueryReencoded),
        ("/cb?a=%2f", "/cb?a=%2F", QueryReencoded),
        ("/cb?a", "/cb?a=", QueryReencoded),
        ("/cb?a=1", "/cb?a=1&utm=2", QueryAdded),
        ("/cb", "/cb?trace=1", QueryAdded),
        ("/api/cb", "//cb", PathPrefixRemoved),
        ("/prod/oss/cb?a=1", "/cb?a=1", PathPrefixRemoved),
        ("/cb", "/cb/index.php", PathRewritten),
        ("/oss/cb", "/index.php?s=/oss/cb", PathRewritten),
        ("/a%2Bb", "/a%20b", PathReencoded),
        ("/%E5%9B%BE", "/%CD%BC", PathReencoded),
        ("/cb?", "/cb?x=1", QueryAdded),
        ("/cb?a=1&", "/cb?a=1", QueryReencoded),
        ("/cb?u=x%3Fa%3D1%26b%3D2", "/cb?u=x?a=1&b=2", QueryReencoded),
        ("/cb?u=a%2520b", "/cb?u=a%20b", QueryReencoded),
        ("/cb?u=a%2Fb&x=1", "/cb?u=a%25252Fb&x=1", QueryReencoded),
        ("/cb?a=1", "/cb??a=1", QueryReencoded),
        ("/cb?a=1?b=2", "/cb?a=1&b=2", QueryReencoded),
        ("/cb?a=1&b=2&a=3", "/cb?a=1,3&b=2", QueryReencoded),
        ("/cb?a=1&a=3&b=2", "/cb?a=1%2C3&b=2", QueryReencoded),
        ("/cb?a[]=1&a[]=2", "/cb?a=1&a=2", QueryReencoded),
        (
            "/cb?a.b=1&c[]=2&c[]=3",
            "/cb?a_b=1&c%5B0%5D=2&c%5B1%5D=3",
            QueryReencoded,
        ),
        (
            "/cb?a[]=1&a[]=2",
            "/cb?a%5B%5D%5B0%5D=1&a%5B%5D%5B1%5D=2",
            QueryReencoded,
        ),
        ("/a/./cb", "/a/cb", PathRewritten),
        ("/a/cb/.", "/a/cb/", PathRewritten),
        ("/cb", "/cb;jsessionid=0A1B", PathRewritten),
        ("/Oss/UploadCallback", "/oss/uploadcallback", PathRewritten),
        ("/api/ossCallback", "/api/osscallback", PathRewritten),
        ("/oss/cb.php?id=1", "/oss/cb?id=1", PathRewritten),
        ("/oss/index.php", "/oss/", PathRewritten),
        ("/cb?id=1", "/cb&id=1", PathRewritten),
        ("/cb?id=1", "/cb;id=1", PathRewritten),
        ("/zh-CN/cb", "/cb", PathPrefixRemoved),
        ("/a//b%2541", "/a/b%2541", SlashesMerged),
        // Names of services, of the list and of the path's own words.
        ("/media-svc/cb", "/cb", PathPrefixRemoved),
        ("/oss-service/oss/cb", "/oss/cb", PathPrefixRemoved),
        ("/photo-api/photo/cb", "/photo/cb", PathPrefixRemoved),
        ("/f/cb?a=1", "/cb?a=1", PathPrefixRemoved),
        // One value was encoded, and the other was not.
        (
            "/cb?t=10:30&u=https%3A%2F%2Fh.cn%2Fx&e=",
            "/cb?t=10%3A30&u=https%3A%2F%2Fh.cn%2Fx&e=",
            QueryReencoded,
        ),
        (
            "/cb?t=10:30&u=https%3A%2F%2Fh.cn%2Fx&e=",
            "/cb?t=10:30&u=https://h.cn/x&e=",
            QueryReencoded,
        ),
        // No server takes a blank, but a proxy writes it if it is told to pass the decoded path on.
        ("/a%20b/cb?id=1", "/a b/cb?id=1", PathDecoded),
    ];
    for (sent, received, cause) in rows {
        for body in [FORM, JSON, ""] {
            assert_changed((sent, body), (received, body.as_bytes()), *cause);
        }
    }
}

#[test]
fn changes_of_the_body_are_named() {
    use Cause::*;
    let gbk = encode(JSON, encoding_rs::GBK);
    let mojibake = JSON.bytes().map(char::from).collect::<String>();
    let form = FORM.as_bytes();
    let rows: &[(&str, &[u8], Cause)] = &[
        (
            FORM,
            b"bucket=photos&object=a%2Fb%20c.jpg&size=7&mime=image%2Fjpeg&x=1%3A2\n",
            BodyNewline,
        ),
        ("a=1&b=2\n", b"a=1&b=2", BodyNewline),
        ("a=1\r\nb", b"a=1\nb", BodyNewline),
        ("a=1\nb", b"a=1\r\nb", BodyNewline),
        (FORM, &[b"\xef\xbb\xbf", form].concat(), BodyBom),
        (JSON, &gbk, BodyCharset),
        (JSON, mojibake.as_bytes(), BodyCharset),
        (
            FORM,
            b"bucket=photos&object=a/b+c.jpg&size=7&mime=image/jpeg&x=1:2",
            BodyReserialized,
        ),
        (
            FORM,
            b"bucket=photos&mime=image%2Fjpeg&object=a%2Fb%20c.jpg&size=7&x=1%3A2",
            BodyReserialized,
        ),
        (
            FORM,
            b"bucket=photos&object=a%2fb%20c.jpg&size=7&mime=image%2fjpeg&x=1%3a2",
            BodyReserialized,
        ),
        (
            JSON,
            r#"{"bucket": "photos", "object": "a/\u00e9.jpg", "size": 7, "mime": "image/jpeg"}"#
                .as_bytes(),
            BodyReserialized,
        ),
        (
            JSON,
            r#"{"bucket":"photos","mime":"image\/jpeg","object":"a\/é.jpg","size":7}"#.as_bytes(),
            BodyReserialized,
        ),
        (
            FORM,
            br#"{"bucket":"photos","object":"a/b c.jpg","size":"7","mime":"image/jpeg","x":"1:2"}"#,
            BodyConverted,
        ),
        (
            JSON,
            "bucket=photos&object=a%2F%C3%A9.jpg&size=7&mime=image%2Fjpeg".as_bytes(),
            BodyConverted,
        ),
        // Signs of HTML, and numbers of floating point.
        (
            r#"{"object":"a\u0026b\u003d1"}"#,
            br#"{"object":"a&b=1"}"#,
            BodyReserialized,
        ),
        (
            r#"{"object":"a","size":123456789}"#,
            br#"{"object":"a","size":1.23456789e+08}"#,
            BodyReserialized,
        ),
        // PHP has no dots in names; Python drops what is empty.
        (
            "object=a&imageInfo.height=278&my_uid=4",
            b"object=a&imageInfo_height=278&my_uid=4",
            BodyReserialized,
        ),
        (
            "object=a&imageInfo.height=278&my_uid=4",
            br#"{"object":"a","imageInfo_height":"278","my_uid":"4"}"#,
            BodyConverted,
        ),
        (
            "object=a%2Fb&size=7&imageInfo.height=&imageInfo.width=&imageInfo.format=",
            b"object=a%2Fb&size=7",
            BodyReserialized,
        ),
        (
            r#"{"object":"a","mimeType":"b"}"#,
            br#"{"object":"a","mime_type":"b"}"#,
            BodyReserialized,
        ),
        (FORM, &FORM.replace('&', ";").into_bytes(), BodyReserialized),
        (
            FORM,
            &FORM.replace('&', "\r\n").into_bytes(),
            BodyReserialized,
        ),
        // Inside of something, or printed.
        (
            JSON,
            &format!("{{\"code\":0,\"data\":{JSON}}}").into_bytes(),
            BodyConverted,
        ),
        (JSON, &format!("[{JSON}]").into_bytes(), BodyConverted),
        (FORM, &format!("b'{FORM}'").into_bytes(), BodyConverted),
        (
            JSON,
            "{'bucket': 'photos', 'object': 'a/é.jpg', 'size': 7, 'mime': 'image/jpeg'}".as_bytes(),
            BodyConverted,
        ),
        (
            FORM,
            b"{bucket=photos, object=a/b c.jpg, size=7, mime=image/jpeg, x=1:2}",
            BodyConverted,
        ),
        (
            r#"{"object":"a","info":{"w":1}}"#,
            b"object=a&info=%7B%22w%22%3A1%7D",
            BodyConverted,
        ),
        (
            "a=1",
            br#"{"type":"Buffer","data":[97,61,49]}"#,
            BodyConverted,
        ),
        (
            FORM,
            &BASE64_STANDARD
                .encode(BASE64_STANDARD.encode(FORM))
                .into_bytes(),
            BodyConverted,
        ),
        // Something was added.
        (
            FORM,
            &format!("_csrf_token=0123456789abcdef0123456789abcdef&{FORM}").into_bytes(),
            BodyAppended,
        ),
        (
            FORM,
            &FORM.replace("&size", "&user=8&size").into_bytes(),
            BodyAppended,
        ),
    ];
    for (sent, received, cause) in rows {
        assert_changed(("/cb?a=1", sent), ("/cb?a=1", received), *cause);
    }
}

fn encode(text: &str, encoding: &'static encoding_rs::Encoding) -> Vec<u8> {
    encoding.encode(text).0.into_owned()
}

#[test]
fn a_body_that_did_not_arrive_is_told_by_its_length() {
    let received: &[(&[u8], Cause)] = &[
        (b"", Cause::BodyEmpty),
        (b"bucket=pho", Cause::BodyTruncated),
    ];
    for (body, cause) in received {
        let diagnosis = arrived(("/cb", FORM), ("/cb", body), |_| {});
        assert_eq!(diagnosis.verdict(), Verdict::Changed);
        assert_eq!(diagnosis.cause(), Some(*cause));
        assert!(diagnosis.signed().is_none());
        let lengths = Evidence::ContentLength {
            declared: FORM.len(),
            received: body.len(),
        };
        assert!(diagnosis.evidence().contains(&lengths), "{diagnosis:?}");
    }
}

/// OSS refuses an empty `callbackBody`: that nothing arrived needs no other proof.
#[test]
fn a_callback_without_a_body_lost_it() {
    let diagnosis = arrived(("/cb", FORM), ("/cb", b""), |headers| {
        headers.remove("content-md5");
        headers.insert("content-length", 0.into());
    });
    assert_eq!(diagnosis.verdict(), Verdict::Changed);
    assert_eq!(diagnosis.cause(), Some(Cause::BodyEmpty));
    // Unless the digest says that there was none, as of a template of one variable that is empty.
    let empty = arrived(("/nobody/guesses", ""), ("/x", b""), |headers| {
        headers.insert("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==".parse().unwrap());
    });
    assert_eq!(empty.verdict(), Verdict::ChangedUnknown);
}

#[test]
fn a_fault_within_a_document_is_no_cut() {
    let sent = r#"{"object":"a","size":7,"info":{"width":600}}"#;
    for (received, cause) in [
        (r#"{"object":"a","size":7,"info":{"wid:600}}"#, None),
        (
            r#"{"object":"a","size":7,"info":{"wi"#,
            Some(Cause::BodyTruncated),
        ),
    ] {
        let diagnosis = arrived(("/cb", sent), ("/cb", received.as_bytes()), |headers| {
            headers.insert("content-length", received.len().into());
        });
        assert_eq!(diagnosis.cause(), cause, "{received}");
    }
}

/// A framework wrote the result of a parser that had got no body.
#[test]
fn a_body_that_says_that_there_is_none_did_not_arrive() {
    for nothing in ["{}", "null", "[]", "undefined", "[object Object]"] {
        for lost in ["content-md5", "content-length"] {
            let diagnosis = arrived(("/cb", FORM), ("/cb", nothing.as_bytes()), |headers| {
                headers.remove(lost);
            });
            assert_eq!(diagnosis.verdict(), Verdict::Changed, "{nothing} {lost}");
            assert_eq!(
                diagnosis.cause(),
                Some(Cause::BodyEmpty),
                "{nothing} {lost}"
            );
        }
        // Nothing says that anything else was sent.
        let unknown = arrived(("/cb", FORM), ("/cb", nothing.as_bytes()), |headers| {
            headers.remove("content-md5");
            headers.remove("content-length");
        });
        assert_eq!(unknown.verdict(), Verdict::ChangedUnknown, "{nothing}");
    }
}

#[test]
fn headers_of_proxies_name_the_target() {
    let rows = [
        ("x-original-uri", "/far/away/cb?a=1"),
        ("x-forwarded-uri", "/far/away/cb?a=1"),
        ("x-rewrite-url", "/far/away/cb?a=1"),
        ("x-forwarded-prefix", "/far/away"),
        // One proxy behind the other, and a router behind a proxy.
        ("x-forwarded-prefix", "/far, /away"),
    ];
    for (name, value) in rows {
        let diagnosis = arrived(
            ("/far/away/cb?a=1", FORM),
            ("/cb?a=1", FORM.as_bytes()),
            |headers| {
                headers.insert(name, HeaderValue::from_static(value));
            },
        );
        assert_eq!(diagnosis.cause(), Some(Cause::PathPrefixRemoved), "{name}");
        let remedy = diagnosis.remedy().unwrap();
        assert_eq!(
            remedy.rust().lines().next().unwrap(),
            r#"OssCallbackLayer::builder().path_prefix("/far/away")"#,
        );
    }
    let routed = arrived(
        ("/tenant-7/api/cb", FORM),
        ("/cb", FORM.as_bytes()),
        |headers| {
            let prefix = HeaderValue::from_static("/tenant-7");
            headers.insert("x-forwarded-prefix", prefix);
        },
    );
    assert_eq!(routed.cause(), Some(Cause::PathPrefixRemoved));
    let lost = arrived(
        ("/cb?secret=1", FORM),
        ("/cb", FORM.as_bytes()),
        |headers| {
            headers.insert("x-original-uri", HeaderValue::from_static("/cb?secret=1"));
        },
    );
    assert_eq!(lost.cause(), Some(Cause::QueryLost));
}

#[test]
fn two_changes_are_found_together() {
    let rows: &[(&str, &str, &str, &str, Cause, Cause)] = &[
        (
            "/api/cb",
            "a=1",
            "/cb",
            "a=1\n",
            Cause::PathPrefixRemoved,
            Cause::BodyNewline,
        ),
        (
            "/cb/?b=1&a=2",
            "",
            "/cb?b=1&a=2&c=3",
            "",
            Cause::TrailingSlash,
            Cause::QueryAdded,
        ),
        (
            "/cb/",
            FORM,
            "/cb",
            &FORM.replace("%20", "+"),
            Cause::TrailingSlash,
            Cause::BodyReserialized,
        ),
    ];
    let object = r#"{"object":"a/b.jpg","size":7}"#;
    let more = [
        // A mark and a line end are no new spelling of the document.
        (
            "/cb",
            object,
            "/cb",
            "\u{feff}{\"object\":\"a/b.jpg\",\"size\":7}\r\n",
            Cause::BodyBom,
            Cause::BodyNewline,
        ),
        (
            "/cb",
            object,
            "/cb",
            "{\"object\": \"a/b.jpg\", \"size\": 7, \"ts\": 1}",
            Cause::BodyReserialized,
            Cause::BodyAppended,
        ),
        (
            "/cb",
            "object=a%2Fb&size=7",
            "/cb",
            "{\"id\":\"1\",\"object\":\"a/b\",\"size\":\"7\"}",
            Cause::BodyConverted,
            Cause::BodyAppended,
        ),
        (
            "/api/cb",
            object,
            "/cb",
            "{\"object\": \"a/b.jpg\", \"size\": 7}",
            Cause::PathPrefixRemoved,
            Cause::BodyReserialized,
        ),
        (
            "/cb",
            FORM,
            "/internal/cb",
            &FORM.replace("%20", "+"),
            Cause::PathPrefixAdded,
            Cause::BodyReserialized,
        ),
        (
            "/api/cb?b=2&a=1",
            "",
            "/cb?a=1&b=2",
            "",
            Cause::PathPrefixRemoved,
            Cause::QueryReordered,
        ),
        (
            "/cb?b=2&a=1",
            "",
            "/cb?a=1&b=2&via=x",
            "",
            Cause::QueryAdded,
            Cause::QueryReordered,
        ),
        (
            "/cb?t=a%20b",
            "",
            "/cb?t=a+b&via=x",
            "",
            Cause::QueryAdded,
            Cause::QueryReencoded,
        ),
        (
            "/a//b%2541",
            "",
            "/a/b%41",
            "",
            Cause::SlashesMerged,
            Cause::PathDecoded,
        ),
    ];
    for (sent, sent_body, received, received_body, cause, also) in rows.iter().chain(&more) {
        for drop in [true, false] {
            let diagnosis = arrived(
                (sent, sent_body),
                (received, received_body.as_bytes()),
                |headers| {
                    if drop {
                        headers.remove("content-md5");
                    }
                },
            );
            assert_eq!(diagnosis.verdict(), Verdict::Changed, "{sent} {drop}");
            assert_eq!(diagnosis.cause(), Some(*cause), "{sent} {drop}");
            assert_eq!(diagnosis.also(), Some(*also), "{sent} {drop}");
        }
    }
}

#[test]
fn credentials_that_are_no_callback_signature_are_told_apart() {
    let (headers, _) = signed("/cb", FORM);
    let signature = headers["authorization"].to_str().unwrap().to_owned();
    let mut other = signature.clone().into_bytes();
    other[17] = if other[17] == b'A' { b'B' } else { b'A' };
    let bytes = BASE64_STANDARD.decode(&signature).unwrap();
    let foreign = [
        (
            "OSS LTAIexample:abcdefghijklmnopqrstuvwxyzA=",
            Cause::RequestSignature,
        ),
        (
            "OSS4-HMAC-SHA256 Credential=LTAI/20261122/cn-hangzhou/oss/aliyun_v4_request,Signature=ab",
            Cause::RequestSignature,
        ),
        (
            "Bearer eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln",
            Cause::OtherCredentials,
        ),
        ("Basic dXNlcjpwYXNz", Cause::OtherCredentials),
        (&BASE64_STANDARD.encode([7; 20]), Cause::Hmac),
        (&BASE64_STANDARD.encode([7; 32]), Cause::Hmac),
        (&BASE64_STANDARD.encode([7; 256]), Cause::WrongKey),
        (&BASE64_STANDARD.encode([7; 64]), Cause::WrongKey),
        (&"7f".repeat(20), Cause::Hmac),
        ("Bearer opaque-token", Cause::OtherCredentials),
        (
            "APPCODE 83359fd73fe94948385f570e3c139105",
            Cause::OtherCredentials,
        ),
        (
            "Unheard-Of keyId=\"a\",signature=\"b\"",
            Cause::OtherCredentials,
        ),
        ("", Cause::AuthorizationMissing),
        (&signature.to_lowercase(), Cause::HeaderAltered),
        (&signature[..40], Cause::HeaderAltered),
        ("not base64 at all!", Cause::HeaderAltered),
        (&signature[..64], Cause::HeaderAltered),
        // 32 bytes, and no padding: a part of a longer text.
        (&signature[..43], Cause::HeaderAltered),
        // Two characters became blanks.
        (
            &format!(
                "{} {} {}",
                &signature[..20],
                &signature[21..50],
                &signature[51..]
            ),
            Cause::HeaderAltered,
        ),
        (&format!("sha256={}", "7f".repeat(32)), Cause::Hmac),
        (&"7f".repeat(64), Cause::Hmac),
        (
            "JWT eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.c2ln",
            Cause::OtherCredentials,
        ),
        ("-", Cause::AuthorizationMissing),
        ("undefined", Cause::AuthorizationMissing),
        ("(null)", Cause::AuthorizationMissing),
    ];
    for (authorization, cause) in foreign {
        let diagnosis = arrived(("/cb", FORM), ("/cb", FORM.as_bytes()), |headers| {
            headers.insert("authorization", authorization.parse().unwrap());
        });
        assert_eq!(diagnosis.verdict(), Verdict::NotFromKey, "{authorization}");
        assert_eq!(diagnosis.cause(), Some(cause), "{authorization}");
    }
    let repaired = [
        format!("Bearer {signature}"),
        format!("\"{signature}\""),
        signature.trim_end_matches('=').to_owned(),
        format!("{signature}, {signature}"),
        signature.replace('+', "-").replace('/', "_"),
        signature
            .replace('/', "%2F")
            .replace('+', "%2B")
            .replace('=', "%3D"),
        String::from_utf8(other).unwrap(),
        format!("{}{}", &signature[..17], &signature[18..]),
        format!("{}A{}", &signature[..17], &signature[17..]),
        signature[..signature.len() - 4].to_owned(),
        signature.replace('+', " "),
        format!("RSA {}", signature.replace('+', " ")),
        format!("Signature=\"{signature}\""),
        signature.replace('/', "\\/").replace('=', "\\u003d"),
        signature.replace('+', "&#43;").replace('=', "&#61;"),
        format!("{} {}", &signature[..76], &signature[76..]),
        BASE64_STANDARD.encode(&signature),
        format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("oss:{signature}"))
        ),
        bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
    ];
    for authorization in repaired {
        let diagnosis = arrived(("/cb", FORM), ("/cb", FORM.as_bytes()), |headers| {
            headers.insert("authorization", authorization.parse().unwrap());
        });
        if authorization == signature {
            continue; // Nothing in it had to be changed.
        }
        assert_eq!(diagnosis.verdict(), Verdict::Changed, "{authorization}");
        assert_eq!(
            diagnosis.cause(),
            Some(Cause::HeaderAltered),
            "{authorization}"
        );
    }
    let moved = arrived(("/cb", FORM), ("/cb", FORM.as_bytes()), |headers| {
        let signature = headers.remove("authorization").unwrap();
        headers.insert("x-amzn-remapped-authorization", signature);
    });
    assert_eq!(moved.verdict(), Verdict::Changed);
    assert_eq!(moved.cause(), Some(Cause::AuthorizationMissing));
    let place = Evidence::AuthorizationMoved("x-amzn-remapped-authorization");
    assert!(moved.evidence().contains(&place), "{moved:?}");
    let missing = arrived(("/cb", FORM), ("/cb", FORM.as_bytes()), |headers| {
        headers.remove("authorization");
    });
    assert_eq!(missing.cause(), Some(Cause::AuthorizationMissing));
}

/// A callback with a key of this length, in whose signature each of the characters at these places is
/// another one; with the key URL of a local OSS, or one that says nothing of the key.
fn damaged(bits: usize, is_local: bool, places: &[usize], effort: Effort) -> Diagnosis {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = directory.join(format!("tests/keys/throwaway-{bits}.pem"));
    let signer = CallbackSigner::from_pem(&std::fs::read_to_string(file).unwrap()).unwrap();
    let key = signer.public_key();
    let signer = match is_local {
        true => signer.with_key_url(format!(
            "https://local-oss.invalid/{}.pem",
            key.fingerprint()
        )),
        false => signer,
    };
    let mut headers = signer.form("/cb", FORM).headers().clone();
    let mut text = headers["authorization"].as_bytes().to_vec();
    for place in places {
        text[*place] = match text[*place] {
            b'A' => b'B',
            _ => b'A',
        };
    }
    headers.insert("authorization", HeaderValue::from_bytes(&text).unwrap());
    diagnose_with(
        &CapturedRequest::new("/cb", headers, FORM).unwrap(),
        &key,
        effort,
    )
}

#[test]
fn one_character_of_a_longer_signature_is_found_too() {
    for place in [0, 40, 169] {
        for is_local in [true, false] {
            let diagnosis = damaged(1024, is_local, &[place], Effort::Full);
            assert_eq!(diagnosis.verdict(), Verdict::Changed, "{place}");
            assert_eq!(diagnosis.cause(), Some(Cause::HeaderAltered), "{place}");
            let character = Evidence::AuthorizationCharacter(place);
            assert!(diagnosis.evidence().contains(&character), "{diagnosis:?}");
        }
    }
}

#[test]
fn damage_that_is_not_searched_for_is_another_key_only_if_the_key_url_does_not_name_this_one() {
    for (bits, effort) in [(2048, Effort::Full), (1024, Effort::Small)] {
        let local = damaged(bits, true, &[40], effort);
        assert_eq!(local.verdict(), Verdict::NotFromKey);
        assert_eq!(local.cause(), Some(Cause::HeaderAltered), "{local:?}");
        let said = [Evidence::OwnKeyUrl, Evidence::AuthorizationNotSearched];
        assert_eq!(local.evidence(), said);

        let unnamed = damaged(bits, false, &[40], effort);
        assert_eq!(unnamed.cause(), Some(Cause::WrongKey));
        let said = [Evidence::AuthorizationNotSearched, Evidence::KeyUrl];
        assert_eq!(unnamed.evidence(), said);
    }
    // Searched, and not found: a forgery, or more damage than one character.
    let forged = damaged(1024, true, &[40, 90], Effort::Full);
    assert_eq!(forged.cause(), Some(Cause::WrongKey));
    assert_eq!(forged.evidence(), [Evidence::OwnKeyUrl]);
    let remedy = forged.remedy().unwrap();
    assert!(!remedy.rust().contains("pin_key"), "{remedy:?}");
}

#[test]
fn a_request_without_a_signature_is_a_callback_only_if_something_else_shows_it() {
    let judge = |head: &str| {
        let request = format!("{head}\r\n\r\n");
        let request = CapturedRequest::parse(request.as_bytes()).unwrap();
        diagnose(&request, &CallbackSigner::new().public_key())
    };
    for head in [
        "GET / HTTP/1.1\r\nHost: a",
        "POST /login HTTP/1.1\r\nHost: a\r\nUser-Agent: curl/8.0\r\nAuthorization:",
    ] {
        let diagnosis = judge(head);
        assert_eq!(diagnosis.verdict(), Verdict::NotFromKey, "{head}");
        assert_eq!(diagnosis.cause(), Some(Cause::AuthorizationMissing));
        assert_eq!(diagnosis.evidence(), [Evidence::NoCallback], "{head}");
        let remedy = diagnosis.remedy().unwrap();
        assert!(remedy.rust().contains("another client"), "{remedy:?}");
        assert_eq!(remedy.proxy(), None);
    }
    for head in [
        "POST / HTTP/1.1\r\nx-oss-request-id: 5F9A",
        "POST / HTTP/1.1\r\nUser-Agent: aliyun-oss-callback",
        "POST / HTTP/1.1\r\nUser-Agent: http-client/0.0.1",
        "POST / HTTP/1.1\r\nUser-Agent: ehttp-client/0.0.1",
    ] {
        let diagnosis = judge(head);
        assert_eq!(diagnosis.cause(), Some(Cause::AuthorizationMissing));
        assert!(
            !diagnosis.evidence().contains(&Evidence::NoCallback),
            "{head}"
        );
        assert!(diagnosis.remedy().unwrap().proxy().is_some(), "{head}");
    }
}

/// Anybody can name the published key: to pin the key that is named is no remedy.
#[test]
fn a_forged_signature_that_names_the_published_key_needs_no_other_key() {
    let mut headers = HeaderMap::new();
    headers.insert(
        "authorization",
        BASE64_STANDARD
            .encode((1..=64).collect::<Vec<u8>>())
            .parse()
            .unwrap(),
    );
    for (scheme, is_published) in [("http", true), ("https", true), ("ftp", false)] {
        let url = format!("{scheme}://gosspublic.alicdn.com/callback_pub_key_v1.pem");
        headers.insert(
            "x-oss-pub-key-url",
            BASE64_STANDARD.encode(url).parse().unwrap(),
        );
        let request = CapturedRequest::new("/cb", headers.clone(), FORM).unwrap();
        let diagnosis = diagnose(&request, &PublicKey::aliyun_v1());
        assert_eq!(diagnosis.cause(), Some(Cause::WrongKey));
        let names_it = diagnosis.evidence().contains(&Evidence::OwnKeyUrl);
        assert_eq!(names_it, is_published, "{scheme}");
        let pins = diagnosis.remedy().unwrap().rust().contains("pin_key");
        assert_eq!(pins, !is_published, "{scheme}");
    }
}

/// A server refuses a blank before a layer could mend it.
#[test]
fn no_setting_of_the_layer_is_offered_for_a_target_that_no_server_takes() {
    let diagnosis = arrived(("/a%20b/cb", FORM), ("/a b/cb", FORM.as_bytes()), |_| {});
    let remedy = diagnosis.remedy().unwrap();
    assert!(remedy.rust().starts_with("None: "), "{remedy:?}");
    assert!(
        remedy.proxy().unwrap().contains("$request_uri"),
        "{remedy:?}"
    );
}

#[test]
fn another_key_is_told_from_an_altered_message() {
    let (headers, body) = signed("/cb", FORM);
    let request = CapturedRequest::new("/cb", headers, body).unwrap();
    let diagnosis = diagnose(&request, &PublicKey::aliyun_v1());
    assert_eq!(diagnosis.verdict(), Verdict::NotFromKey);
    assert_eq!(diagnosis.cause(), Some(Cause::WrongKey));
}

#[test]
fn production_callbacks_are_genuine_and_an_unsearched_edit_is_not_found() {
    for vector in crate::support::vectors()
        .into_iter()
        .filter(|vector| vector.verifies)
    {
        let headers = vector.headers();
        let request = |target: &str, body: &str| {
            CapturedRequest::new(target, headers.clone(), body.to_owned()).unwrap()
        };
        let key = PublicKey::aliyun_v1();
        let genuine = diagnose(&request(&vector.target(), &vector.body), &key);
        assert_eq!(genuine.verdict(), Verdict::Genuine, "{}", vector.note);
        assert_eq!(genuine.cause(), None);

        let edited = format!("{}X", vector.target());
        let unknown = diagnose(&request(&edited, &vector.body), &key);
        assert_eq!(
            unknown.verdict(),
            Verdict::ChangedUnknown,
            "{}",
            vector.note
        );
        assert!(!unknown.tried().is_empty());
    }
}

#[test]
fn a_search_ends_within_its_budget() {
    let body = "x=".to_owned() + &"%2F".repeat(21_000);
    let (headers, _) = signed("/a/b/c/d?e=1&f=2&g=3&h=4", &body);
    let changed = body.replacen("%2F", "%2E", 1);
    let mut headers = headers;
    headers.remove("content-md5");
    let request = CapturedRequest::new("/a/b/c/d?e=1&f=2&g=3&h=4", headers, changed).unwrap();
    let diagnosis = diagnose(&request, &CallbackSigner::new().public_key());
    assert_eq!(diagnosis.verdict(), Verdict::ChangedUnknown);
    assert!(diagnosis.is_exhausted());
}

/// A server looks for what became of a callback where it answers: nothing that arrives may panic.
#[test]
fn parts_of_a_multipart_body_that_end_too_early_are_no_form() {
    let head = "--b\r\nContent-Disposition: form-data; name=\"object\"\r\n\r\n";
    for rest in [
        "--b--",
        "--b--\r\n",
        "",
        "\r\n--b--",
        "a\r\n--b\r\n\r\n--b--",
    ] {
        let (mut headers, _) = signed("/cb", FORM);
        headers.remove("content-length");
        headers.remove("content-md5");
        let request = CapturedRequest::new("/cb", headers, format!("{head}{rest}")).unwrap();
        let key = CallbackSigner::new().public_key();
        for effort in [Effort::Small, Effort::Full] {
            let diagnosis = diagnose_with(&request, &key, effort);
            assert_eq!(diagnosis.verdict(), Verdict::ChangedUnknown, "{rest:?}");
        }
    }
}
