//! Whatever is sent, the answer is a documented one.
//!
//! Requests are genuine callbacks with a few things changed at random, so that they get as far as
//! every check, and not only to the first.

use std::{
    collections::{BTreeSet, HashMap},
    convert::Infallible,
    io,
    sync::Mutex,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, stream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use oss_callback::{
    CallbackAnswer, CallbackBody, CallbackVars, FetchError, FetchKey, KeyUrl, OssCallback,
    PublicKey, Rejection, RejectionKind, TargetProblem, VerifiedCallback, async_trait,
    test_util::CallbackSigner,
};
use percent_encoding::percent_decode_str;
use proptest::{collection::vec, prelude::*, sample::select};
use tower::{Layer, ServiceExt, service_fn};

const BODY_LIMIT: usize = 256;

/// One thing that is wrong with a request, or odd.
#[derive(Clone, Debug)]
enum Change {
    Method(Method),
    Target(String),
    AddHeader(HeaderName, HeaderValue),
    SetHeader(HeaderName, HeaderValue),
    RemoveHeader(HeaderName),
    Body(Vec<Bytes>),
    BodyError,
    Trailers,
}

/// A callback: what is signed, and what is changed then.
#[derive(Clone, Debug)]
struct Case {
    target: String,
    body: Vec<u8>,
    is_json: bool,
    changes: Vec<Change>,
}

const NAMES: &[&str] = &[
    "authorization",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "host",
    "transfer-encoding",
    "x-oss-bucket",
    "x-oss-pub-key-url",
    "x-oss-request-id",
    "x-oss-requester",
    "x-oss-signature-version",
];

fn any_name() -> impl Strategy<Value = HeaderName> {
    prop_oneof![
        4 => select(NAMES).prop_map(HeaderName::from_static),
        1 => "[a-z0-9!#$%&'*+.^_`|~-]{1,16}".prop_map(|name| name.parse().unwrap()),
    ]
}

fn any_value() -> impl Strategy<Value = HeaderValue> {
    let notable = vec![
        String::new(),
        "1.0".into(),
        "2.0".into(),
        "gzip".into(),
        "identity".into(),
        "99999999999999999999".into(),
        "1024".into(),
        "-1".into(),
        "application/json".into(),
        "application/x-www-form-urlencoded".into(),
        "text/plain".into(),
    ];
    prop_oneof![
        select(notable).prop_map(|text| text.parse().unwrap()),
        vec(any::<u8>(), 64)
            .prop_map(|signature| BASE64_STANDARD.encode(signature).parse().unwrap()),
        vec(any::<u8>(), 0..40).prop_map(|mut bytes| {
            // Any byte that a value may have, UTF-8 or not.
            bytes.retain(|byte| HeaderValue::from_bytes(&[*byte]).is_ok());
            HeaderValue::from_bytes(&bytes).unwrap()
        }),
    ]
}

fn any_key_url() -> impl Strategy<Value = HeaderValue> {
    let urls = vec![
        CallbackSigner::new().key_url(),
        "http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com/callback_pub_key_v2.pem",
        "http://gosspublic.alicdn.com/callback_pub_key_v999.pem",
        "https://gosspublic.alicdn.com.test/callback_pub_key_v1.pem",
        "https://gosspublic.alicdn.com:80/callback_pub_key_v1.pem",
    ];
    select(urls).prop_map(|url| BASE64_STANDARD.encode(url).parse().unwrap())
}

fn any_target() -> impl Strategy<Value = String> {
    prop_oneof![
        "/[a-z0-9%?+/&=:@*.]{0,24}",
        "/[a-z]{0,4}(%[0-9a-fA-F]{2}){0,4}(\\?[ -~]{0,8})?",
        "[ -~]{0,16}",
        "(http|https)://[a-z]{1,4}(:80)?(/[a-z%?]{0,8})?",
        "/\\PC{0,12}",
    ]
}

fn any_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..80),
        r#"[{}:,"a1 \\\\\[\]ntrue.-]{0,40}"#.prop_map(String::into_bytes),
        r#"\{("[a-c]":("[^"]{0,6}"|[0-9.e-]{0,6}|null|true|\[\]|\{\})?,?){0,4}\}"#
            .prop_map(String::into_bytes),
        "(size|object|[a-c])=[a-z0-9%+]{0,8}(&[a-c]=[0-9]{0,3}){0,3}".prop_map(String::into_bytes),
    ]
}

fn any_change() -> impl Strategy<Value = Change> {
    let methods = vec![Method::GET, Method::PUT, Method::OPTIONS, Method::CONNECT];
    prop_oneof![
        1 => select(methods).prop_map(Change::Method),
        2 => any_target().prop_map(Change::Target),
        3 => (any_name(), any_value()).prop_map(|(name, value)| Change::AddHeader(name, value)),
        5 => (any_name(), any_value()).prop_map(|(name, value)| Change::SetHeader(name, value)),
        3 => any_name().prop_map(Change::RemoveHeader),
        2 => any_key_url().prop_map(|url| {
            Change::SetHeader(HeaderName::from_static("x-oss-pub-key-url"), url)
        }),
        2 => vec(vec(any::<u8>(), 0..100).prop_map(Bytes::from), 0..6).prop_map(Change::Body),
        1 => Just(Change::BodyError),
        1 => Just(Change::Trailers),
    ]
}

fn any_case() -> impl Strategy<Value = Case> {
    let changes = vec(any_change(), 0..4);
    (any_target(), any_body(), any::<bool>(), changes).prop_map(
        |(target, body, is_json, changes)| Case {
            target,
            body,
            is_json,
            changes,
        },
    )
}

type StreamedBody = StreamBody<stream::Iter<std::vec::IntoIter<io::Result<Frame<Bytes>>>>>;

impl Case {
    fn request(self) -> Request<StreamedBody> {
        // What a server cannot take from the wire is not sent.
        let uri: Uri = self.target.parse().unwrap_or(Uri::from_static("/cb"));
        let mut message: Vec<u8> = percent_decode_str(uri.path()).collect();
        if let Some(query) = uri.query() {
            message.push(b'?');
            message.extend(query.bytes());
        }
        message.push(b'\n');
        message.extend(&self.body);
        let signed = crate::support::signed(&message, uri, Bytes::new());

        let (mut parts, _) = signed.into_parts();
        if self.is_json {
            let json = HeaderValue::from_static("application/json");
            parts.headers.insert(header::CONTENT_TYPE, json);
        }
        let mut frames = vec![Ok(Frame::data(Bytes::from(self.body)))];
        for change in self.changes {
            match change {
                Change::Method(method) => parts.method = method,
                Change::Target(target) => parts.uri = target.parse().unwrap_or(parts.uri),
                Change::AddHeader(name, value) => {
                    parts.headers.append(name, value);
                }
                Change::SetHeader(name, value) => {
                    parts.headers.insert(name, value);
                }
                Change::RemoveHeader(name) => {
                    parts.headers.remove(name);
                }
                Change::Body(body) => {
                    frames = body.into_iter().map(|data| Ok(Frame::data(data))).collect();
                }
                Change::BodyError => frames.push(Err(io::ErrorKind::ConnectionReset.into())),
                Change::Trailers => frames.push(Ok(Frame::trailers(HeaderMap::new()))),
            }
        }
        Request::from_parts(parts, StreamBody::new(stream::iter(frames)))
    }
}

struct NoKeys;

#[async_trait]
impl FetchKey for NoKeys {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        Err(FetchError::new("no network here"))
    }
}

/// A handler that reads the variables in several ways, and the bytes that were verified.
async fn uploaded(request: Request<CallbackBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let extensions = &parts.extensions;
    let proof = VerifiedCallback::from_extensions(extensions).unwrap();
    let body = body.collect().await.unwrap().to_bytes();
    assert_eq!(proof.body(), &body);
    let answer = OssCallback::<HashMap<String, serde_json::Value>>::from_extensions(extensions)
        .and_then(|_| OssCallback::<CallbackVars>::from_extensions(extensions))
        .map(|_| CallbackAnswer::ok());
    Ok(match answer {
        Ok(answer) => answer.into_http(),
        Err(rejection) => rejection.to_response(),
    })
}

/// The code and the status of each refusal that can come of a request alone.
fn documented(kind: &RejectionKind) -> (&'static str, u16) {
    match kind {
        RejectionKind::BodyRead => ("BodyRead", 400),
        RejectionKind::BodyTooLarge => ("BodyTooLarge", 413),
        RejectionKind::DuplicateHeader(_) => ("DuplicateHeader", 400),
        RejectionKind::InvalidHeader(_) => ("InvalidHeader", 400),
        RejectionKind::InvalidSignature(_) => ("InvalidSignature", 403),
        RejectionKind::InvalidTarget(TargetProblem::Malformed | TargetProblem::Ambiguous) => {
            ("InvalidTarget", 400)
        }
        RejectionKind::InvalidVariables => ("InvalidVariables", 422),
        RejectionKind::KeyUnavailable => ("KeyUnavailable", 503),
        RejectionKind::KeyUrlNotAllowed => ("KeyUrlNotAllowed", 403),
        RejectionKind::MethodNotAllowed => ("MethodNotAllowed", 405),
        RejectionKind::MissingHeader(_) => ("MissingHeader", 400),
        RejectionKind::UnsupportedMediaType => ("UnsupportedMediaType", 415),
        RejectionKind::UnsupportedSignatureVersion => ("UnsupportedSignatureVersion", 400),
        other => panic!("no request can cause {other:?}"),
    }
}

/// The code of a refusal, or `OK`.
fn check(response: Response<Full<Bytes>>) -> Result<&'static str, TestCaseError> {
    let rejection = response.extensions().get::<Rejection>().cloned();
    let (parts, body) = response.into_parts();
    let body = body.collect().now_or_never().unwrap().unwrap().to_bytes();
    prop_assert_eq!(
        &parts.headers[header::CONTENT_LENGTH],
        &HeaderValue::from(body.len())
    );
    prop_assert_eq!(&parts.headers[header::CONTENT_TYPE], "application/json");
    let body: HashMap<String, String> = serde_json::from_slice(&body).unwrap();

    let Some(rejection) = rejection else {
        prop_assert_eq!(parts.status, 200);
        prop_assert_eq!(&body["Status"], "OK");
        return Ok("OK");
    };
    let (code, status) = documented(rejection.kind());
    prop_assert_eq!(parts.status, status);
    prop_assert_eq!(rejection.status(), status);
    prop_assert_eq!(&body["Status"], "error");
    prop_assert_eq!(&body["code"], code);
    prop_assert!(body["message"].len() < 80 && body.len() == 3);
    prop_assert_eq!(
        parts.headers.contains_key(header::ALLOW),
        code == "MethodNotAllowed"
    );
    Ok(code)
}

#[test]
fn every_request_gets_a_documented_answer() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let layer = crate::support::builder()
        .body_limit(BODY_LIMIT)
        .key_fetcher(NoKeys)
        .build()
        .unwrap();
    let service = layer.layer(service_fn(uploaded));
    let seen = Mutex::new(BTreeSet::new());

    let config = ProptestConfig::with_cases(3000);
    proptest!(config, |(case in any_case())| {
        let response = runtime.block_on(service.clone().oneshot(case.request())).unwrap();
        seen.lock().unwrap().insert(check(response)?);
    });

    // The requests came as far as each check.
    let seen: Vec<_> = seen.into_inner().unwrap().into_iter().collect();
    let all = [
        "BodyRead",
        "BodyTooLarge",
        "DuplicateHeader",
        "InvalidHeader",
        "InvalidSignature",
        "InvalidTarget",
        "InvalidVariables",
        "KeyUnavailable",
        "KeyUrlNotAllowed",
        "MethodNotAllowed",
        "MissingHeader",
        "OK",
        "UnsupportedMediaType",
        "UnsupportedSignatureVersion",
    ];
    assert_eq!(seen, all);
}
