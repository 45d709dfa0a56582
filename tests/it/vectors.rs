//! Callbacks that the production service signed, and altered copies of them.

use std::sync::{Arc, Mutex};

use crate::support::{Vector, kind, vectors};
use axum::{Extension, Router, body::Body, routing::post};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::HeaderValue;
use oss_callback::{
    CallbackAnswer, CallbackVars, OssCallback, OssCallbackLayer, PublicKey, RejectionKind,
    SignatureMismatch::{self, BodyChanged, NotFromThisKey, OtherMessage, TargetChanged},
    Verifier,
};
use tower::ServiceExt;

type Received = Arc<Mutex<Option<CallbackVars>>>;

async fn uploaded(
    Extension(received): Extension<Received>,
    OssCallback(vars): OssCallback<CallbackVars>,
) -> CallbackAnswer {
    *received.lock().unwrap() = Some(vars);
    CallbackAnswer::ok()
}

/// What a handler behind the production layer receives, or why it receives nothing.
async fn deliver(vector: &Vector) -> Result<CallbackVars, RejectionKind> {
    let received = Received::default();
    let app = Router::new()
        .route(
            &vector.path,
            post(uploaded).route_layer(OssCallbackLayer::new()),
        )
        .layer(Extension(received.clone()));
    let response = app.oneshot(vector.request::<Body>()).await.unwrap();
    let vars = received.lock().unwrap().take();
    match (vars, kind(&response)) {
        (Some(vars), None) => {
            assert_eq!(response.status(), 200, "{}", vector.note);
            Ok(vars)
        }
        (None, Some(kind)) => Err(kind),
        _ => panic!("neither accepted nor refused: {}", vector.note),
    }
}

fn vars(fill: impl FnOnce(&mut CallbackVars)) -> CallbackVars {
    let mut vars = CallbackVars::default();
    fill(&mut vars);
    vars
}

#[tokio::test]
async fn genuine_callbacks_arrive_as_typed_variables() {
    let expected = [
        vars(|vars| vars.bucket = Some("yonghu-test".into())),
        vars(|vars| {
            vars.size = Some(112_595);
            let name = "zmaplex/20210407_14:31:41_286180/20200130021612_pnfqp.jpg";
            vars.custom.insert("filename".into(), name.into());
        }),
        vars(|vars| {
            vars.size = Some(108_904);
            vars.mime_type = Some("image/jpeg".into());
            vars.image_height = Some(278);
            vars.image_width = Some(200);
            let name = "headSculpture/jikang2.jpg";
            vars.custom.insert("filename".into(), name.into());
        }),
        // Filled in JSON mode into a form's template, so the quotes are part of the values.
        vars(|vars| {
            vars.size = Some(5385);
            vars.mime_type = Some("\"application/octet-stream\"".into());
            vars.image_height = Some(256);
            vars.image_width = Some(256);
            let name = "\"local/var/www/zhuye.png\"";
            vars.custom.insert("filename".into(), name.into());
        }),
    ];
    let genuine: Vec<_> = vectors().into_iter().filter(|v| v.verifies).collect();
    assert_eq!(genuine.len(), expected.len());
    for (vector, expected) in genuine.iter().zip(expected) {
        // `Debug` shows no values, so that the comparison has to be spelled out.
        let received = deliver(vector).await.unwrap();
        assert!(received == expected, "{}", vector.note);
    }
}

#[tokio::test]
async fn altered_copies_are_refused_for_their_cause() {
    // Only the third callback was captured with `Content-MD5`.
    let causes = [
        OtherMessage,
        OtherMessage,
        OtherMessage,
        BodyChanged,
        NotFromThisKey,
    ];
    let altered: Vec<_> = vectors().into_iter().filter(|v| !v.verifies).collect();
    assert_eq!(altered.len(), causes.len());
    for (vector, cause) in altered.iter().zip(causes) {
        let expected = RejectionKind::InvalidSignature(cause);
        assert_eq!(
            deliver(vector).await.err(),
            Some(expected),
            "{}",
            vector.note
        );
    }
}

#[tokio::test]
async fn content_md5_tells_a_changed_target_from_a_changed_body() {
    let mut vector = vectors().remove(2);
    vector.path.push('/');
    assert_eq!(
        deliver(&vector).await.err(),
        Some(RejectionKind::InvalidSignature(TargetChanged)),
    );
    vector.body.push(' ');
    assert_eq!(
        deliver(&vector).await.err(),
        Some(RejectionKind::InvalidSignature(BodyChanged)),
        "where both changed",
    );
}

/// All texts that differ from this one in a single bit.
fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        flipped
    })
}

/// Why the production key refuses this signature over this message; `None` if it accepts it.
fn refusal(
    vector: &Vector,
    target: &str,
    body: impl Into<Bytes>,
    signature: &[u8],
) -> Option<RejectionKind> {
    let mut headers = vector.headers();
    let signature = BASE64_STANDARD.encode(signature);
    headers.insert("authorization", HeaderValue::from_str(&signature).unwrap());
    Verifier::new(PublicKey::aliyun_v1())
        .verify(target, &headers, body.into())
        .err()
        .map(|rejection| rejection.kind().clone())
}

#[test]
fn every_single_bit_counts() {
    let invalid = |cause: SignatureMismatch| Some(RejectionKind::InvalidSignature(cause));
    for vector in vectors().iter().filter(|vector| vector.verifies) {
        let (target, body) = (vector.target(), vector.body.clone());
        let signature = BASE64_STANDARD
            .decode(&vector.headers()["authorization"])
            .unwrap();
        assert_eq!(signature.len(), 64);
        assert_eq!(refusal(vector, &target, body.clone(), &signature), None);
        let (changed_target, changed_body) = if vector.headers().contains_key("content-md5") {
            (TargetChanged, BodyChanged)
        } else {
            (OtherMessage, OtherMessage)
        };

        let mut flipped = 0;
        for flip in flips(&signature) {
            let refusal = refusal(vector, &target, body.clone(), &flip);
            assert_eq!(refusal, invalid(NotFromThisKey), "{}", vector.note);
            flipped += 1;
        }
        for flip in flips(body.as_bytes()) {
            let refusal = refusal(vector, &target, flip.clone(), &signature);
            assert_eq!(refusal, invalid(changed_body), "{flip:?}");
            flipped += 1;
        }
        // The highest bit of a byte alone makes no text, which no HTTP server hands on.
        for flip in flips(target.as_bytes()).filter_map(|flip| String::from_utf8(flip).ok()) {
            let refusal = refusal(vector, &flip, body.clone(), &signature).expect(&flip);
            let no_target = matches!(refusal, RejectionKind::InvalidTarget(_));
            assert!(
                no_target || Some(refusal) == invalid(changed_target),
                "{flip}"
            );
            flipped += 1;
        }
        assert_eq!(flipped, 8 * 64 + 8 * body.len() + 7 * target.len());
    }
}
