//! Several changes at once, and each mended: what the shares of the search's budget are for.

use bytes::Bytes;
use http::HeaderMap;
use oss_callback::{
    diagnose::{
        CapturedRequest, Cause, Diagnosis, Effort, Evidence, Verdict, diagnose, diagnose_with,
    },
    test_util::CallbackSigner,
};

const FORM: &str = "bucket=photos&object=a%2Fb%20c.jpg&size=7";

/// The variables of the documentation: too many to be put into every order.
const LONG: &str = "bucket=photos&object=a%2Fb%20c.jpg&etag=D8E8FCA2DC0F896FD7CB4CB0031BA249&size=7\
                    &mimeType=image%2Fjpeg&imageInfo.height=278&imageInfo.width=200&imageInfo.format=png\
                    &my_var=hello";
const NESTED: &str =
    r#"{"object":"a/b.png","size":7,"imageInfo":{"height":"278","width":"200","format":"png"}}"#;

fn arrived(
    sent: (&str, &str),
    received: (&str, &[u8]),
    drops: &[&str],
    effort: Effort,
) -> Diagnosis {
    let request = CallbackSigner::new().form(sent.0, sent.1.to_owned());
    let mut headers: HeaderMap = request.headers().clone();
    drops.iter().for_each(|name| {
        headers.remove(*name);
    });
    let body = Bytes::copy_from_slice(received.1);
    let request = CapturedRequest::new(received.0, headers, body).unwrap();
    diagnose_with(&request, &CallbackSigner::new().public_key(), effort)
}

/// With the length and the digest that OSS sent.
fn arrived_as_json(sent: &str, received: &str) -> Diagnosis {
    let request = CallbackSigner::new().json("/cb", sent.to_owned());
    let headers = request.headers().clone();
    let request = CapturedRequest::new("/cb", headers, received.to_owned()).unwrap();
    diagnose(&request, &CallbackSigner::new().public_key())
}

const BARE: &[&str] = &["content-md5", "content-length"];

/// Without the two headers that say something of the body.
fn assert_found(sent: (&str, &str), received: (&str, &[u8]), changes: &[Cause]) {
    let diagnosis = arrived(sent, received, BARE, Effort::Full);
    assert_eq!(
        diagnosis.verdict(),
        Verdict::Changed,
        "{sent:?} {received:?}"
    );
    assert_eq!(diagnosis.changes(), changes, "{sent:?} {received:?}");
    assert_eq!(diagnosis.cause(), changes.first().copied());
    assert_eq!(diagnosis.also(), changes.get(1).copied());
    assert_eq!(diagnosis.signed().unwrap().target(), sent.0);
    assert_eq!(diagnosis.signed().unwrap().body(), sent.1);
}

#[test]
fn a_changed_target_and_a_changed_body_are_found_together() {
    use Cause::*;
    let newline = format!("{LONG}\n");
    let appended = format!("{LONG}&_csrf=0123abcd");
    let sorted = r#"{"imageInfo":{"format":"png","height":"278","width":"200"},"object":"a/b.png","size":7}"#;
    let indented = serde_json::to_string_pretty(
        &serde_json::from_str::<serde_json::Value>(r#"{"object":"a","size":7}"#).unwrap(),
    )
    .unwrap();
    let multipart: String = LONG
        .replace("%2F", "/")
        .replace("%20", " ")
        .split('&')
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap();
            format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        })
        .collect();
    let multipart = format!("{multipart}--b--\r\n");
    for (sent, received, changes) in [
        // A body of many variables has many spellings, and they left nothing for the rest.
        (
            ("/cb", LONG),
            ("/internal/cb", newline.as_str()),
            [PathPrefixAdded, BodyNewline],
        ),
        (
            ("/api/cb", LONG),
            ("/cb", &newline),
            [PathPrefixRemoved, BodyNewline],
        ),
        (
            ("/cb", LONG),
            ("/x/cb", &appended),
            [PathPrefixAdded, BodyAppended],
        ),
        (
            ("/cb", LONG),
            ("/x/cb", &multipart),
            [PathPrefixAdded, BodyConverted],
        ),
        (
            ("/cb?id=1&b=2", FORM),
            ("/cb?b=2&id=1", &format!("{FORM}\r\n")),
            [QueryReordered, BodyNewline],
        ),
        (
            ("/cb?t=1:2", NESTED),
            ("/cb?t=1%3A2", sorted),
            [QueryReencoded, BodyReserialized],
        ),
        (
            ("/cb", NESTED),
            ("/x/cb", sorted),
            [PathPrefixAdded, BodyReserialized],
        ),
        (
            ("/cb?x=1", r#"{"object":"a","size":7}"#),
            ("/cb?x=1&via=g", &indented),
            [QueryAdded, BodyReserialized],
        ),
        // A gateway's prefix in the place of the public one.
        (
            ("/api/cb", FORM),
            ("/app/cb", &format!("{FORM}\n")),
            [PathRewritten, BodyNewline],
        ),
    ] {
        assert_found(sent, (received.0, received.1.as_bytes()), &changes);
    }
}

#[test]
fn a_changed_path_and_a_changed_query_are_found_together() {
    use Cause::*;
    for (sent, received, changes) in [
        (
            "/api/cb?c=3&b=2&a=1&d=4",
            "/cb?a=1&b=2&c=3&d=4",
            vec![PathPrefixRemoved, QueryReordered],
        ),
        (
            "/cb?a=1&b=2&c=3&d=4",
            "/x/cb?a=1&b=2&c=3&d=4&_t=17&sign=ab",
            vec![PathPrefixAdded, QueryAdded],
        ),
        (
            "/cb?sig=ab%2Bc%2F%3D&t=1",
            "/x/cb?sig=ab+c/=&t=1",
            vec![PathPrefixAdded, QueryReencoded],
        ),
        (
            "/cb?u.id=3&b=x",
            "/x/cb?u_id=3&b=x",
            vec![PathPrefixAdded, QueryReencoded],
        ),
        // The path became a parameter, and the others were written again.
        ("/cb?flag", "/fn?proxy=cb&flag=", vec![PathRewritten]),
        (
            "/api/cb?t=1:2",
            "/app/cb?t=1%3A2",
            vec![PathRewritten, QueryReencoded],
        ),
        // An empty query is signed without its `?`, and is none.
        ("/api/cb", "/app/cb", vec![PathRewritten]),
    ] {
        assert_found((sent, FORM), (received, FORM.as_bytes()), &changes);
    }
}

#[test]
fn three_changes_are_found_and_each_is_named() {
    use Cause::*;
    let sent = ("/api/cb?b=1&a=2", FORM);
    let body = format!("{FORM}\n");
    let received = ("/cb?a=2&b=1", body.as_bytes());
    let changes = [PathPrefixRemoved, QueryReordered, BodyNewline];
    assert_found(sent, received, &changes);
    let known = arrived(sent, received, &[], Effort::Full);
    assert_eq!(known.changes(), changes);
}

/// The log of a server has an eighth of the budget.
#[test]
fn small_effort_reaches_every_kind_of_pair() {
    use Cause::*;
    let newline = format!("{LONG}\n");
    for (sent, received, changes) in [
        (
            ("/api/cb?b=1&a=2", FORM),
            ("/cb?a=2&b=1", FORM),
            [PathPrefixRemoved, QueryReordered],
        ),
        (
            ("/api/cb", FORM),
            ("/cb", &*format!("{FORM}\n")),
            [PathPrefixRemoved, BodyNewline],
        ),
        (
            ("/cb?x=1", FORM),
            ("/cb?x=1&y=2", &*format!("{FORM}\n")),
            [QueryAdded, BodyNewline],
        ),
        (
            ("/api/cb", LONG),
            ("/cb", &newline),
            [PathPrefixRemoved, BodyNewline],
        ),
    ] {
        for drops in [&[][..], BARE] {
            let received = (received.0, received.1.as_bytes());
            let diagnosis = arrived(sent, received, drops, Effort::Small);
            assert_eq!(
                diagnosis.changes(),
                changes,
                "{sent:?} {received:?} {drops:?}"
            );
        }
    }
}

#[test]
fn each_change_has_its_remedy() {
    let body = format!("{FORM}\n");
    let diagnosis = arrived(
        ("/api/cb", FORM),
        ("/cb", body.as_bytes()),
        BARE,
        Effort::Full,
    );
    let remedy = diagnosis.remedy().unwrap();
    let (call, rest) = remedy.rust().split_once('\n').unwrap();
    assert_eq!(call, r#"OssCallbackLayer::builder().path_prefix("/api")"#);
    // What stands below Rust is no Rust.
    assert!(rest.lines().all(|line| line.starts_with("// ")), "{rest}");
    assert!(
        rest.contains("// Put OssCallbackLayer outside every layer"),
        "{rest}"
    );
    let proxy = remedy.proxy().unwrap();
    assert!(
        proxy.contains("proxy_pass http://app$request_uri;"),
        "{proxy}"
    );
    assert!(proxy.contains("proxy_set_body $request_body;"), "{proxy}");
    // One that mends both is said once.
    let target = arrived(
        ("/api/cb?b=1&a=2", FORM),
        ("/cb?a=2&b=1", FORM.as_bytes()),
        BARE,
        Effort::Full,
    );
    assert_eq!(target.changes().len(), 2);
    let proxy = target.remedy().unwrap().proxy().unwrap();
    assert_eq!(proxy.matches("proxy_pass").count(), 1, "{proxy}");
}

/// Kinds of changes to a body that are each one change, but of several choices.
#[test]
fn bodies_that_serializers_wrote_in_other_ways_lead_back() {
    use Cause::*;
    let decoded = "object=a&b=c+d (e).jpg&size=7&u=https://x.cn/a?b=1&c=2";
    let wide: Vec<u8> = FORM
        .chars()
        .flat_map(|c| u32::from(c).to_be_bytes())
        .collect();
    let rows: &[(&str, &[u8], Cause)] = &[
        (FORM, &wide, BodyCharset),
        // Of a template without encoding, sorted and encoded.
        (
            r#"size=7&bucket="photos"&object="a/b.jpg""#,
            b"bucket=%22photos%22&object=%22a%2Fb.jpg%22&size=7",
            BodyReserialized,
        ),
        // Two values that held separators, decoded.
        (
            "object=a%26b%3Dc%2Bd%20%28e%29.jpg&size=7&u=https%3A%2F%2Fx.cn%2Fa%3Fb%3D1%26c%3D2",
            decoded.as_bytes(),
            BodyReserialized,
        ),
        (
            "bucket=photos&object=a%2Fb.txt&imageInfo.height=1&imageInfo.width=2",
            b"bucket=photos&amp;imageInfo_height=1&amp;imageInfo_width=2&amp;object=a%2Fb.txt",
            BodyReserialized,
        ),
        // A servlet that takes UTF-8 for Latin-1, and sorts.
        (
            "object=%E5%9B%BE&size=7&mimeType=a",
            b"mimeType=a&object=%C3%A5%C2%9B%C2%BE&size=7",
            BodyCharset,
        ),
        // Some numbers had quotes.
        (
            NESTED,
            br#"{"object":"a/b.png","size":7,"imageInfo":{"height":278,"width":200,"format":"png"}}"#,
            BodyReserialized,
        ),
        (
            NESTED,
            b"object=a%2Fb.png&size=7&imageInfo=%7B%27height%27%3A+%27278%27%2C+%27width%27%3A+%27200%27%2C+%27format%27%3A+%27png%27%7D",
            BodyConverted,
        ),
        (
            "{\n  \"bucket\": \"photos\",\n  \"size\": 7\n}",
            b"{'bucket': 'photos', 'size': 7}",
            BodyConverted,
        ),
        ("object=图&size=7", b"object=&#22270;&size=7", BodyReserialized),
        (r#"{"object":"it's"}"#, br#"{\"object\":\"it\'s\"}"#, BodyReserialized),
        (FORM, &FORM.as_bytes()[1..], BodyTruncated),
    ];
    for (sent, received, cause) in rows {
        // One byte is looked for if the length says that one is missing.
        let diagnosis = arrived(
            ("/cb?a=1", sent),
            ("/cb?a=1", received),
            &["content-md5"],
            Effort::Full,
        );
        assert_eq!(
            diagnosis.changes(),
            [*cause],
            "{sent} {:?}",
            String::from_utf8_lossy(received)
        );
        assert_eq!(diagnosis.signed().unwrap().body(), sent);
    }
}

#[test]
fn what_is_lost_is_told_by_what_shows_it() {
    let lossy = arrived(
        ("/cb", "object=\u{56fe}&size=7"),
        ("/cb", "object=\u{fffd}\u{fffd}\u{fffd}&size=7".as_bytes()),
        &[],
        Effort::Full,
    );
    assert_eq!(lossy.cause(), Some(Cause::BodyCharset));
    assert!(lossy.evidence().contains(&Evidence::ReplacedCharacters));
    // Without any length, JSON that ends early was cut.
    let cut = arrived(
        ("/cb", NESTED),
        ("/cb", &NESTED.as_bytes()[..40]),
        BARE,
        Effort::Full,
    );
    assert_eq!(cut.cause(), Some(Cause::BodyTruncated));
    // Characters that an encoder did not have.
    for lossy in ["object=%3F%3F&size=7", "object=??&size=7"] {
        let sent = "object=%E5%9B%BE%E7%89%87&size=7";
        let diagnosis = arrived(("/cb", sent), ("/cb", lossy.as_bytes()), &[], Effort::Full);
        assert_eq!(diagnosis.cause(), Some(Cause::BodyCharset), "{lossy}");
    }
    // What people write, and bytes that happen to be two question marks, are no such characters.
    for other in [&b"object=really??&size=7"[..], b"\xb3\xa5x??\x04=??\xce"] {
        let sent = "object=a%20text%20of%20another%20kind&size=7";
        let diagnosis = arrived(("/cb", sent), ("/cb", other), &[], Effort::Full);
        assert_ne!(diagnosis.cause(), Some(Cause::BodyCharset), "{other:?}");
    }
    // A form with blanks, `+` or escapes in small letters was written again, and is no beginning of one that
    // OSS wrote.
    for rewritten in [
        "object=lost forever&size=7",
        "object=\u{0}x&size=7",
        "object=lost+forever&size=7",
        "object=lost%2fforever&size=7",
    ] {
        let sent = "object=this%20one%20was%20longer%20than%20that&size=7";
        let diagnosis = arrived(
            ("/cb", sent),
            ("/cb", rewritten.as_bytes()),
            &[],
            Effort::Full,
        );
        assert_eq!(diagnosis.cause(), None, "{rewritten}");
    }
    // Nor is a form in the place of JSON, whose inner object was lost.
    let received = "object=a&size=7&imageInfo=%5Bobject%20Object%5D";
    let diagnosis = arrived_as_json(NESTED, received);
    assert_eq!(diagnosis.verdict(), Verdict::ChangedUnknown);
}

/// A wrong key is a wrong key, whatever became of the header besides.
#[test]
fn an_altered_signature_of_another_key_is_of_another_key() {
    let request = CallbackSigner::new().form("/cb", FORM.to_owned());
    let text = request.headers()["authorization"]
        .to_str()
        .unwrap()
        .to_owned();
    let alter: [fn(&str) -> String; 5] = [
        |text| format!("{text}, {text}"),
        |text| format!("\"{text}\""),
        |text| format!("{} {}", &text[..30], &text[30..]),
        |text| text.replace('/', "_").replace('+', "-"),
        |text| {
            text.replace('/', "%2F")
                .replace('+', "%2B")
                .replace('=', "%3D")
        },
    ];
    for alter in alter {
        let mut headers = request.headers().clone();
        headers.insert("authorization", alter(&text).parse().unwrap());
        let request = CapturedRequest::new("/cb", headers, FORM).unwrap();
        let other = diagnose(&request, &oss_callback::PublicKey::aliyun_v1());
        assert_eq!(other.cause(), Some(Cause::WrongKey), "{}", alter(&text));
    }
}

#[test]
fn credentials_of_a_scheme_that_no_list_has_are_known_by_their_form() {
    let request = CallbackSigner::new().form("/cb", FORM.to_owned());
    for (text, cause) in [
        ("QBox ak:c2ln", Cause::OtherCredentials),
        (
            "Splunk 12345678-1234-1234-1234-123456789012",
            Cause::OtherCredentials,
        ),
        (
            "bce-auth-v1/ak/2015-04-27T08:23:49Z/1800/host/1e5e",
            Cause::OtherCredentials,
        ),
        (
            "q-sign-algorithm=sha1&q-ak=AKID&q-signature=abc",
            Cause::OtherCredentials,
        ),
        ("Bearer", Cause::OtherCredentials),
        (&format!("HMAC {}", "7f".repeat(32)), Cause::Hmac),
        (
            "kKQeGTRccDKyHB3H9vF+xYMSrmhMZjzzl2/kdD1ktNVg",
            Cause::HeaderAltered,
        ),
    ] {
        let mut headers = request.headers().clone();
        headers.insert("authorization", text.parse().unwrap());
        let request = CapturedRequest::new("/cb", headers, FORM).unwrap();
        let diagnosis = diagnose(&request, &CallbackSigner::new().public_key());
        assert_eq!(diagnosis.cause(), Some(cause), "{text}");
    }
}
