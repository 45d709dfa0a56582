//! Which targets a signature covers.
//!
//! OSS signs `url_decode(path)`, `?query`, a line feed and the body, joined without escaping. A target
//! is verified only where that can be read in one way; the two things that the service leaves open,
//! `+` in the path and an empty query, are read in both.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use oss_callback::{
    CallbackBody, Rejection, RejectionKind, SignatureMismatch,
    TargetProblem::{self, Ambiguous, Malformed},
    VerifiedCallback, Verifier,
    test_util::CallbackSigner,
};
use proptest::{collection::vec, prelude::*, sample::select};
use tower::{Layer, ServiceExt, service_fn};

const BODY: &str = "object=a.jpg";

/// What becomes of a target.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Accepted,
    /// The signature covers another message.
    Differs,
    Refused(TargetProblem),
    /// It does not come as far as the layer: [`Uri`] cannot hold it, so no server hands it on.
    NoUri,
}
use Verdict::{Accepted, Differs, NoUri, Refused};

impl Verdict {
    fn of<T>(verified: Result<T, Rejection>) -> Self {
        match verified.map_err(|rejection| rejection.kind().clone()) {
            Ok(_) => Accepted,
            Err(RejectionKind::InvalidSignature(SignatureMismatch::OtherMessage)) => Differs,
            Err(RejectionKind::InvalidTarget(problem)) => Refused(problem),
            Err(kind) => panic!("{kind:?}"),
        }
    }
}

/// The verdict of the verifier on a target whose signature covers `head`, a line feed and the body.
fn verifier(target: &str, head: &[u8]) -> Verdict {
    let message = [head, b"\n", BODY.as_bytes()].concat();
    let request = crate::support::signed(&message, Uri::default(), "");
    let verifier = Verifier::new(CallbackSigner::new().public_key());
    Verdict::of(verifier.verify(target, request.headers(), BODY.into()))
}

/// The verdict of the layer on the same, sent as the target of an HTTP request.
async fn layer(target: &str, head: &[u8]) -> Verdict {
    let message = [head, b"\n", BODY.as_bytes()].concat();
    match target.parse() {
        Ok(uri) => Verdict::of(deliver(crate::support::signed(&message, uri, BODY)).await),
        Err(_) => NoUri,
    }
}

/// The proof that reaches the inner service.
async fn deliver(request: Request<CallbackBody>) -> Result<VerifiedCallback, Rejection> {
    let inner = service_fn(async |request: Request<CallbackBody>| {
        let callback = VerifiedCallback::from_extensions(request.extensions()).cloned();
        let body = request.into_body().collect().await?.to_bytes();
        assert_eq!(
            Some(&body),
            callback.as_ref().ok().map(VerifiedCallback::body)
        );
        let mut response = Response::new(Full::<Bytes>::default());
        response.extensions_mut().insert(callback.unwrap());
        Ok::<_, Infallible>(response)
    });
    let service = crate::support::builder().build().unwrap().layer(inner);
    let response = service.oneshot(request).await.unwrap();
    match response.extensions().get::<VerifiedCallback>() {
        Some(callback) => Ok(callback.clone()),
        None => {
            let rejection = response.extensions().get::<Rejection>().unwrap();
            assert_eq!(response.status(), rejection.status());
            Err(rejection.clone())
        }
    }
}

#[tokio::test]
async fn every_target_has_its_documented_verdict() {
    // The target, what precedes the line feed in the signed message, the verdict.
    let both: &[(&str, &[u8], Verdict)] = &[
        ("/cb", b"/cb", Accepted),
        ("/cb", b"/cb/", Differs),
        ("/cb/", b"/cb", Differs),
        ("/", b"/", Accepted),
        ("/CB", b"/cb", Differs),
        // Nothing is normalised.
        ("//x", b"//x", Accepted),
        ("//x", b"/x", Differs),
        ("/a/../b", b"/a/../b", Accepted),
        ("/a/../b", b"/b", Differs),
        ("/a;b=c", b"/a;b=c", Accepted),
        // The query begins at the first question mark, and is raw.
        ("/a?b?c", b"/a?b?c", Accepted),
        ("/a?b=%2F+%zz", b"/a?b=%2F+%zz", Accepted),
        ("/a?b=%2F", b"/a?b=/", Differs),
        ("/a?b=%0Ac", b"/a?b=%0Ac", Accepted),
        ("/a?b=+", b"/a?b= ", Differs),
        ("/a?b&c", b"/a?c&b", Differs),
        ("/a?b", b"/ab", Differs),
        // The path is decoded once.
        ("/a%2Fb", b"/a/b", Accepted),
        ("/a%2fb", b"/a/b", Accepted),
        ("/a%2Fb", b"/a%2Fb", Differs),
        ("/%e4", b"/\xe4", Accepted),
        ("/%e4", "/\u{e4}".as_bytes(), Differs),
        ("/%C3%A4", "/\u{e4}".as_bytes(), Accepted),
        ("/%00", b"/\0", Accepted),
        ("/%0D", b"/\r", Accepted),
        ("/%2525", b"/%25", Accepted),
        ("/%2525", b"/%", Differs),
        ("/%253F", b"/%3F", Accepted),
        ("/%20", b"/ ", Accepted),
        // What is no escape stays as it is.
        ("/%zz", b"/%zz", Accepted),
        ("/%", b"/%", Accepted),
        ("/%4", b"/%4", Accepted),
        ("/%%34", b"/%4", Accepted),
        ("/%4%31", b"/%41", Accepted),
        ("/%4%31", b"/A", Differs),
        // A separator that the path decodes to could be moved into the query or the body.
        ("/cb%3Fid=1", b"/cb?id=1", Refused(Ambiguous)),
        ("/cb%3fid=1", b"/cb?id=1", Refused(Ambiguous)),
        ("/cb%3F?id=1", b"/cb??id=1", Refused(Ambiguous)),
        ("/cb%0A", b"/cb\n", Refused(Ambiguous)),
        ("/cb%0aobject=b", b"/cb\nobject=b", Refused(Ambiguous)),
        ("/a+b%3F", b"/a b?", Refused(Ambiguous)),
        // `+` in the path, for the whole path.
        ("/a+b", b"/a+b", Accepted),
        ("/a+b", b"/a b", Accepted),
        ("/a+b+c", b"/a b c", Accepted),
        ("/a+b+c", b"/a+b c", Differs),
        ("/a%2Bb", b"/a+b", Accepted),
        ("/a%2Bb", b"/a b", Differs),
        ("/a%20b", b"/a+b", Differs),
        ("/a+%2B", b"/a +", Accepted),
        ("/a+%41", b"/a A", Accepted),
        // An empty query.
        ("/cb?", b"/cb?", Accepted),
        ("/cb?", b"/cb", Accepted),
        ("/c+b?", b"/c b", Accepted),
        ("/c+b?", b"/c b?", Accepted),
        ("/c+b?", b"/c+b", Accepted),
        ("/cb", b"/cb?", Differs),
        ("/cb??", b"/cb?", Differs),
        ("/cb?&", b"/cb", Differs),
        // What is no path.
        ("*", b"*", Refused(Malformed)),
        ("*", b"/*", Refused(Malformed)),
    ];
    for (target, head, verdict) in both {
        let signed = head.escape_ascii();
        assert_eq!(verifier(target, head), *verdict, "{target} over {signed}");
        assert_eq!(
            layer(target, head).await,
            *verdict,
            "{target} over {signed}"
        );
    }
}

#[tokio::test]
async fn an_http_request_has_other_forms_of_target_than_a_path() {
    // The target, what precedes the line feed, the verdict of the verifier, that of the layer.
    let table: &[(&str, &[u8], Verdict, Verdict)] = &[
        // In absolute form, path and query count.
        ("http://host/cb?a", b"/cb?a", Refused(Malformed), Accepted),
        ("https://u@host:8/cb", b"/cb", Refused(Malformed), Accepted),
        ("http://host", b"/", Refused(Malformed), Accepted),
        ("http://host/", b"/", Refused(Malformed), Accepted),
        ("http://host?a", b"/?a", Refused(Malformed), Accepted),
        ("http://host", b"", Refused(Malformed), Differs),
        (
            "http://host/cb",
            b"http://host/cb",
            Refused(Malformed),
            Differs,
        ),
        (
            "http://host/cb%3F",
            b"/cb?",
            Refused(Malformed),
            Refused(Ambiguous),
        ),
        // Authority form.
        ("host:80", b"/", Refused(Malformed), Refused(Malformed)),
        ("host", b"/", Refused(Malformed), Refused(Malformed)),
        // A fragment is no part of a target. `Uri` drops it before anybody sees it.
        ("/cb#f", b"/cb", Refused(Malformed), Accepted),
        ("/cb#f", b"/cb#f", Refused(Malformed), Differs),
        ("/cb#?a", b"/cb?a", Refused(Malformed), Differs),
        // Not a request target at all.
        ("", b"", Refused(Malformed), NoUri),
        ("?a", b"/?a", Refused(Malformed), NoUri),
        ("cb/", b"/cb/", Refused(Malformed), NoUri),
        ("/a b", b"/a b", Refused(Malformed), NoUri),
        ("/a\nb", b"/a\nb", Refused(Malformed), NoUri),
        ("/a\tb", b"/a\tb", Refused(Malformed), NoUri),
        ("/a\0b", b"/a\0b", Refused(Malformed), NoUri),
        ("/a?b c", b"/a?b c", Refused(Malformed), NoUri),
    ];
    for (target, head, by_verifier, by_layer) in table {
        assert_eq!(verifier(target, head), *by_verifier, "{target:?}");
        assert_eq!(layer(target, head).await, *by_layer, "{target:?}");
    }
}

#[tokio::test]
async fn a_path_need_not_be_text() {
    // Escaped, any byte; bare, UTF-8 at most, as `Uri` is text.
    let every_byte: Vec<u8> = (0..=255).filter(|byte| !b"?\n".contains(byte)).collect();
    let mut target = String::from("/");
    for byte in &every_byte {
        target += &format!("%{byte:02x}");
    }
    let head = [b"/", every_byte.as_slice()].concat();
    assert_eq!(verifier(&target, &head), Accepted);
    assert_eq!(layer(&target, &head).await, Accepted);

    let bare = "/\u{e4}";
    assert_eq!(verifier(bare, bare.as_bytes()), Accepted);
    assert_eq!(layer(bare, bare.as_bytes()).await, Accepted);
    assert!(Uri::try_from(&b"/\xe4"[..]).is_err());
}

#[tokio::test]
async fn a_body_need_not_be_text() {
    let body: Vec<u8> = (0..=255).collect();
    let message = [b"/cb\n", body.as_slice()].concat();
    let uri = Uri::from_static("/cb");
    let callback = deliver(crate::support::signed(&message, uri.clone(), body.clone()))
        .await
        .unwrap();
    assert_eq!(callback.body(), &body);

    // A copy that was read as text and written again is another message.
    let lossy = String::from_utf8_lossy(&body).into_owned();
    let refused = deliver(crate::support::signed(&message, uri, lossy)).await;
    assert_eq!(Verdict::of(refused), Differs);
}

#[tokio::test]
async fn the_message_cannot_be_cut_elsewhere() {
    // One signature, and other ways to cut what it covers into a target and a body.
    let message = b"/cb?id=1\nobject=a\nsize=7";
    let cut = async |target: &str, body: &'static str| {
        let uri = target.parse().unwrap();
        Verdict::of(deliver(crate::support::signed(message, uri, body)).await)
    };
    assert_eq!(cut("/cb?id=1", "object=a\nsize=7").await, Accepted);
    assert_eq!(
        cut("/cb%3Fid=1", "object=a\nsize=7").await,
        Refused(Ambiguous)
    );
    assert_eq!(
        cut("/cb%3Fid=1%0Aobject=a", "size=7").await,
        Refused(Ambiguous)
    );
    assert_eq!(cut("/cb?id=1%0Aobject=a", "size=7").await, Differs);
    assert_eq!(cut("/cb", "id=1\nobject=a\nsize=7").await, Differs);
    assert_eq!(cut("/cb?", "id=1\nobject=a\nsize=7").await, Differs);
}

#[tokio::test]
async fn the_proof_tells_the_target_as_sent_and_as_signed() {
    let proof = async |target: &str, head: &[u8]| {
        let message = [head, b"\n", BODY.as_bytes()].concat();
        deliver(crate::support::signed(
            &message,
            target.parse().unwrap(),
            BODY,
        ))
        .await
        .unwrap()
    };
    let callback = proof("/a%2Fb+c?d=%20", b"/a/b+c?d=%20").await;
    assert_eq!(callback.path(), "/a%2Fb+c");
    assert_eq!(callback.decoded_path(), b"/a/b+c");
    assert_eq!(callback.query(), Some("d=%20"));

    let callback = proof("/a%2Fb+c", b"/a/b c").await;
    assert_eq!(callback.path(), "/a%2Fb+c");
    assert_eq!(callback.decoded_path(), b"/a/b c", "as it was signed");
    assert_eq!(callback.query(), None);

    assert_eq!(proof("http://host/cb?", b"/cb").await.path(), "/cb");
}

/// The rule once more, as plainly as it can be said: all that precedes the line feed in the messages
/// that may be signed for a target; nothing if the target is refused.
fn heads(target: &str) -> Vec<Vec<u8>> {
    fn decode(path: &[u8]) -> Vec<u8> {
        match path {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let escape = [*high, *low];
                let escape = std::str::from_utf8(&escape).unwrap();
                let byte = u8::from_str_radix(escape, 16).unwrap();
                [vec![byte], decode(rest)].concat()
            }
            [byte, rest @ ..] => [vec![*byte], decode(rest)].concat(),
            [] => Vec::new(),
        }
    }
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let paths = [
        decode(path.as_bytes()),
        decode(path.replace('+', " ").as_bytes()),
    ];
    if paths[0].contains(&b'?') || paths[0].contains(&b'\n') {
        return Vec::new();
    }
    let with_query = |query: &str| paths.clone().map(|path| [&path, query.as_bytes()].concat());
    match query {
        None => with_query("").into(),
        Some("") => [with_query("?"), with_query("")].concat(),
        Some(query) => with_query(&format!("?{query}")).into(),
    }
}

/// Targets that look much alike.
fn any_target() -> impl Strategy<Value = String> {
    let parts = vec![
        "a", "a", "/", "+", "?", "%", "2", "%2", "%2F", "%20", "%2B", "%25", "%61",
    ];
    let rare = vec!["%3F", "%0A", "%3", "F"];
    let part = prop_oneof![9 => select(parts), 1 => select(rare)];
    vec(part, 0..5).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_signature_covers_the_messages_of_the_rule_and_no_others(
        target in any_target(),
        signed in any_target(),
    ) {
        let covered = heads(&target);
        for head in heads(&signed).iter().chain(&covered) {
            let expected = if covered.is_empty() {
                Refused(Ambiguous)
            } else if covered.contains(head) {
                Accepted
            } else {
                Differs
            };
            prop_assert_eq!(verifier(&target, head), expected, "{:?}", head.escape_ascii());
            let by_layer = layer(&target, head).now_or_never();
            prop_assert_eq!(by_layer, Some(expected), "{:?}", head.escape_ascii());
        }
    }
}
