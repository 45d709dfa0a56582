//! The key URL is chosen by whoever sends the request: which ones exist, and which do not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use oss_callback::{
    CallbackBody, ConfigError, FetchError, FetchKey, KeyUrl, KeyUrlPolicy, OssCallbackLayer,
    PublicKey, RejectionKind, async_trait,
};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{kind, official};

/// A fetcher that counts, and has nothing.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

#[async_trait]
impl FetchKey for Counting {
    async fn fetch(&self, _: &KeyUrl) -> Result<PublicKey, FetchError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(FetchError::new("404"))
    }
}

/// What the layer says to the official callback with this key header.
async fn verdict(layer: &OssCallbackLayer, header: &[u8]) -> Option<RejectionKind> {
    verdict_of(layer, request(header)).await
}

fn request(key_url: &[u8]) -> Request<CallbackBody> {
    let mut request = official().request();
    let value = HeaderValue::from_bytes(key_url).unwrap();
    request.headers_mut().insert("x-oss-pub-key-url", value);
    request
}

async fn verdict_of(
    layer: &OssCallbackLayer,
    request: Request<CallbackBody>,
) -> Option<RejectionKind> {
    let inner = service_fn(|_: Request<CallbackBody>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Bytes::new()))
    });
    let inner = inner.map_response(|response| response.map(CallbackBody::from));
    kind(&layer.layer(inner).oneshot(request).await.unwrap())
}

async fn verdict_of_url(layer: &OssCallbackLayer, url: &[u8]) -> Option<RejectionKind> {
    verdict(layer, BASE64_STANDARD.encode(url).as_bytes()).await
}

const HOSTILE: &[&str] = &[
    // Look-alike hosts.
    "https://gosspublic.alicdn.com.evil.test/callback_pub_key_v1.pem",
    "https://gosspublic-alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublicXalicdn.com/callback_pub_key_v1.pem",
    "https://evil.test/gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://xgosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://sub.gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.co/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.comm/callback_pub_key_v1.pem",
    "https://alicdn.com/callback_pub_key_v1.pem",
    // User information.
    "https://gosspublic.alicdn.com@evil.test/callback_pub_key_v1.pem",
    "https://user@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://user:secret@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://:@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    // Ports.
    "https://gosspublic.alicdn.com:8443/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com:443/callback_pub_key_v1.pem",
    "http://gosspublic.alicdn.com:80/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com:/callback_pub_key_v1.pem",
    // Hosts that are spelled in another way.
    "https://gosspublic.alicdn.com./callback_pub_key_v1.pem",
    "https://GOSSPUBLIC.ALICDN.COM/callback_pub_key_v1.pem",
    "https://Gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic。alicdn。com/callback_pub_key_v1.pem",
    "https://ｇosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://goss\u{ad}public.alicdn.com/callback_pub_key_v1.pem",
    "https://gösspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://xn--gsspublic-q4a.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic%2ealicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com%2fevil.test/callback_pub_key_v1.pem",
    "https://%67osspublic.alicdn.com/callback_pub_key_v1.pem",
    // Schemes.
    "HTTPS://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "Http://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https:gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https:/gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https:///gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "//gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "ftp://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "gopher://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "file:///callback_pub_key_v1.pem",
    "data:application/x-pem-file,-----BEGIN",
    "javascript://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    // Characters that somebody drops.
    "https:\\\\gosspublic.alicdn.com\\callback_pub_key_v1.pem",
    "https://evil.test\\@gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com\\callback_pub_key_v1.pem",
    "https://gosspublic.\talicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem\n",
    "https://gosspublic.alicdn.com/\r\ncallback_pub_key_v1.pem",
    " https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem ",
    "https://gosspublic.alicdn.com /callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem\0",
    "https://gosspublic.alicdn.com\0.evil.test/callback_pub_key_v1.pem",
    // Paths that are spelled in another way.
    "https://gosspublic.alicdn.com/./callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/x/../callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/%2e%2e/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com//callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1%2epem",
    "https://gosspublic.alicdn.com/%63allback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem/",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem?",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem?x=1",
    "https://gosspublic.alicdn.com/?/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem#",
    "https://gosspublic.alicdn.com/#/callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem;x",
    // Other files of that host, and versions that are spelled in another way.
    "https://gosspublic.alicdn.com",
    "https://gosspublic.alicdn.com/",
    "https://gosspublic.alicdn.com/ossutil/ossutil64.zip",
    "https://gosspublic.alicdn.com/Callback_pub_key_v1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.PEM",
    "https://gosspublic.alicdn.com/callback_pub_key_v.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v0.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v01.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1000.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v-1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v+1.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.0.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v１.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1x.pem",
    "https://gosspublic.alicdn.com/callback_pub_key_v1.pem.pem",
    "https://gosspublic.alicdn.com/x/callback_pub_key_v1.pem",
    // Addresses.
    "https://127.0.0.1/callback_pub_key_v1.pem",
    "https://169.254.169.254/callback_pub_key_v1.pem",
    "https://[::1]/callback_pub_key_v1.pem",
    "https://[::ffff:7f00:1]/callback_pub_key_v1.pem",
    "https://2130706433/callback_pub_key_v1.pem",
    "https://0x7f.1/callback_pub_key_v1.pem",
    "https://localhost/callback_pub_key_v1.pem",
    "",
];

#[tokio::test]
async fn a_signature_is_decoded_for_an_allowed_key_url_alone_and_before_a_fetch() {
    let fetcher = Counting::default();
    let layer = OssCallbackLayer::builder()
        .key_fetcher(fetcher.clone())
        .build()
        .unwrap();
    let malformed = RejectionKind::InvalidHeader("authorization");
    for (url, expected) in [
        ("https://evil.test/", RejectionKind::KeyUrlNotAllowed),
        (
            "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
            malformed.clone(),
        ),
        (
            "https://gosspublic.alicdn.com/callback_pub_key_v2.pem",
            malformed,
        ),
    ] {
        let mut request = request(BASE64_STANDARD.encode(url).as_bytes());
        let value = HeaderValue::from_static("no base64");
        request.headers_mut().insert("authorization", value);
        assert_eq!(verdict_of(&layer, request).await, Some(expected), "{url}");
    }
    assert_eq!(fetcher.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn hostile_key_urls_are_refused_without_a_fetch() {
    assert!(HOSTILE.len() >= 60);
    let fetcher = Counting::default();
    let layer = OssCallbackLayer::builder()
        .key_fetcher(fetcher.clone())
        .build()
        .unwrap();
    for url in HOSTILE {
        let verdict = verdict_of_url(&layer, url.as_bytes()).await;
        assert_eq!(verdict, Some(RejectionKind::KeyUrlNotAllowed), "{url:?}");
    }
    let long = format!("https://gosspublic.alicdn.com/{}", "a".repeat(400));
    assert_eq!(
        verdict_of_url(&layer, long.as_bytes()).await,
        Some(RejectionKind::KeyUrlNotAllowed)
    );
    for bytes in [
        &b"https://gosspublic.alicdn.com/\xff"[..],
        b"\xff\xfe",
        b"\0",
    ] {
        assert_eq!(
            verdict_of_url(&layer, bytes).await,
            Some(RejectionKind::KeyUrlNotAllowed)
        );
    }
    assert_eq!(fetcher.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_key_url_has_one_base64_spelling() {
    let layer = OssCallbackLayer::new();
    let url = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";
    let canonical = BASE64_STANDARD.encode(url);
    assert_eq!(verdict(&layer, canonical.as_bytes()).await, None);
    let malformed = Some(RejectionKind::InvalidHeader("x-oss-pub-key-url"));
    let spellings = [
        canonical.trim_end_matches('=').to_owned(),
        format!("{canonical}="),
        format!("{canonical} "),
        format!(" {canonical}"),
        canonical.replacen("aHR0", "aHR0 ", 1),
        // The last character has bits that nothing decodes.
        canonical.replace("ZW0=", "ZW1="),
        canonical.to_ascii_lowercase(),
        url.to_owned(),
        "not base64".to_owned(),
        format!("{}====", "A".repeat(680)),
        "A".repeat(4096),
    ];
    for spelling in spellings {
        let verdict = verdict(&layer, spelling.as_bytes()).await;
        // In lower case it is base64 of something else.
        let expected = match spelling == canonical.to_ascii_lowercase() {
            true => Some(RejectionKind::KeyUrlNotAllowed),
            false => malformed.clone(),
        };
        assert_eq!(verdict, expected, "{spelling}");
    }
    assert_eq!(verdict(&layer, b"\xff\xff").await, malformed);
}

#[tokio::test]
async fn versions_1_to_999_exist_with_either_scheme() {
    let layer = OssCallbackLayer::builder()
        .key_fetcher(Counting::default())
        .build()
        .unwrap();
    for version in [2, 9, 10, 99, 100, 999] {
        for scheme in ["http", "https"] {
            let url = format!("{scheme}://gosspublic.alicdn.com/callback_pub_key_v{version}.pem");
            let verdict = verdict_of_url(&layer, url.as_bytes()).await;
            assert_eq!(verdict, Some(RejectionKind::KeyUnavailable), "{url}");
        }
    }
}

#[tokio::test]
async fn a_policy_of_its_own_replaces_the_public_cloud() {
    let policy = KeyUrlPolicy::empty()
        .allow_url("https://oss.cloud.example/callback.pem")
        .unwrap()
        .allow_pattern("keys.cloud.example", "/v{version}/key.pem")
        .unwrap()
        .allow_fn(|url| url == "https://closure.example/key.pem")
        .dangerous_allow_plain_http("http://10.0.0.1/key.pem")
        .unwrap();
    let layer = OssCallbackLayer::builder()
        .key_url_policy(policy)
        .key_fetcher(Counting::default())
        .build()
        .unwrap();
    let table = [
        ("https://oss.cloud.example/callback.pem", true),
        ("http://oss.cloud.example/callback.pem", false),
        ("https://oss.cloud.example/callback.pem2", false),
        ("https://keys.cloud.example/v7/key.pem", true),
        ("http://keys.cloud.example/v7/key.pem", true),
        ("https://keys.cloud.example/v07/key.pem", false),
        ("https://keys.cloud.example/v7/x/key.pem", false),
        ("https://closure.example/key.pem", true),
        ("http://closure.example/key.pem", false),
        ("http://10.0.0.1/key.pem", true),
        ("https://10.0.0.1/key.pem", false),
        (
            "https://gosspublic.alicdn.com/callback_pub_key_v1.pem",
            false,
        ),
    ];
    for (url, admitted) in table {
        let expected = match admitted {
            true => RejectionKind::KeyUnavailable,
            false => RejectionKind::KeyUrlNotAllowed,
        };
        let verdict = verdict_of_url(&layer, url.as_bytes()).await;
        assert_eq!(verdict, Some(expected), "{url}");
    }
}

#[tokio::test]
async fn a_key_is_fetched_over_https_unless_the_policy_is_dangerous() {
    #[derive(Clone, Default)]
    struct Recording(Arc<std::sync::Mutex<Vec<String>>>);

    #[async_trait]
    impl FetchKey for Recording {
        async fn fetch(&self, url: &KeyUrl) -> Result<PublicKey, FetchError> {
            self.0.lock().unwrap().push(url.as_str().to_owned());
            Err(FetchError::new("404"))
        }
    }

    let fetcher = Recording::default();
    let policy = KeyUrlPolicy::default()
        .dangerous_allow_plain_http("http://10.0.0.1/key.pem")
        .unwrap();
    let layer = OssCallbackLayer::builder()
        .key_url_policy(policy)
        .key_fetcher(fetcher.clone())
        .build()
        .unwrap();
    verdict_of_url(
        &layer,
        b"http://gosspublic.alicdn.com/callback_pub_key_v2.pem",
    )
    .await;
    verdict_of_url(&layer, b"http://10.0.0.1/key.pem").await;
    assert_eq!(
        *fetcher.0.lock().unwrap(),
        [
            "https://gosspublic.alicdn.com/callback_pub_key_v2.pem",
            "http://10.0.0.1/key.pem"
        ],
    );
}

#[test]
fn what_no_callback_could_name_is_no_configuration() {
    for url in HOSTILE.iter().filter(|url| {
        // These are canonical; they are hostile by being elsewhere.
        !url.bytes().all(|byte| byte.is_ascii_graphic()) || url.contains(['@', '%', '?', '#', '\\'])
    }) {
        let refused = Some(ConfigError::KeyUrl((*url).to_owned()));
        assert_eq!(KeyUrlPolicy::empty().allow_url(url).err(), refused);
        let pinned = OssCallbackLayer::builder()
            .pin_key(*url, PublicKey::aliyun_v1())
            .build();
        assert_eq!(pinned.err(), refused);
        let denied = OssCallbackLayer::builder().deny_key(*url).build();
        assert_eq!(denied.err(), refused);
    }
    for (host, path) in [
        ("keys.example", "/key.pem"),
        ("keys.example", "/v{version}/{version}.pem"),
        ("keys.example", "v{version}"),
        ("keys.example:443", "/v{version}"),
        ("Keys.example", "/v{version}"),
        ("keys.example/x", "/v{version}"),
        ("", "/v{version}"),
    ] {
        assert!(
            matches!(
                KeyUrlPolicy::empty().allow_pattern(host, path).err(),
                Some(ConfigError::KeyUrlPattern(_))
            ),
            "{host}{path}"
        );
    }
    let https = "https://10.0.0.1/key.pem";
    assert_eq!(
        KeyUrlPolicy::empty()
            .dangerous_allow_plain_http(https)
            .err(),
        Some(ConfigError::KeyUrl(https.to_owned())),
    );
}
