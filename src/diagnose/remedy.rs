//! What to change, as text to paste.
//!
//! The Rust half applies to the layer; the proxy half is nginx's language, which others' users read
//! too. A change that the layer can be told of has both; one that cannot be undone, as the original is
//! gone, has to be stopped where it is made.

use super::{Cause, Message};

/// How to mend a cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    rust: String,
    proxy: Option<String>,
}

impl Remedy {
    /// What to change in the application.
    #[must_use]
    pub fn rust(&self) -> &str {
        &self.rust
    }

    /// What to change in front of it, in the language of nginx.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    pub(super) fn of(cause: Cause, received: &Message, signed: Option<&Message>) -> Self {
        use Cause::*;
        let (rust, proxy) = match cause {
            PathPrefixRemoved => (
                prefix_removed(received, signed),
                Some(PASS_THE_TARGET.to_owned()),
            ),
            PathPrefixAdded | PathRewritten | TrailingSlash | SlashesMerged | PathDecoded
            | PathReencoded | QueryAdded | QueryLost | QueryReencoded | QueryReordered => {
                let proxy = match cause {
                    SlashesMerged => format!("merge_slashes off;\n{PASS_THE_TARGET}"),
                    _ => PASS_THE_TARGET.to_owned(),
                };
                (signed_target(received, signed), Some(proxy))
            }
            AuthorizationMissing => (
                "Let nothing in front of the layer remove the Authorization header.".to_owned(),
                Some("proxy_set_header Authorization $http_authorization;".to_owned()),
            ),
            HeaderAltered => (
                "Pass the Authorization header on byte for byte.".to_owned(),
                Some("proxy_set_header Authorization $http_authorization;".to_owned()),
            ),
            BodyBom | BodyAppended | BodyCharset | BodyConverted | BodyNewline
            | BodyReserialized | BodyTruncated => (BODY_FIRST.to_owned(), Some(PASS_THE_BODY.to_owned())),
            BodyEmpty => (BODY_FIRST.to_owned(), Some("proxy_pass_request_body on;".to_owned())),
            ContentDecoded => (
                "Put OssCallbackLayer outside the layer that decompresses request bodies, or keep \
                 that layer off this route."
                    .to_owned(),
                Some("gunzip off;".to_owned()),
            ),
            WrongKey => (
                "OssCallbackLayer::builder().pin_key(key_url, PublicKey::from_pem(pem)?) with the key \
                 that the request's key URL names."
                    .to_owned(),
                None,
            ),
            RequestSignature => (
                "Nothing to verify here: a request to OSS is verified by OSS. Point the callbackUrl, \
                 not the endpoint of an SDK, at this server."
                    .to_owned(),
                None,
            ),
            Hmac | OtherCredentials => (
                "Give OSS callbacks a route of their own, behind OssCallbackLayer and in front of \
                 other authentication."
                    .to_owned(),
                None,
            ),
        };
        Self { rust, proxy }
    }
}

const PASS_THE_TARGET: &str = "\
# No path behind the host: nginx then passes the target on as it was received.
proxy_pass http://app;";

const PASS_THE_BODY: &str = "# Pass the body on as it was received.\nproxy_request_buffering on;";

const BODY_FIRST: &str = "Put OssCallbackLayer outside every layer, and before every filter, that reads or \
                          writes the request body.";

fn prefix_removed(received: &Message, signed: Option<&Message>) -> String {
    let prefix = signed.and_then(|signed| {
        let prefix = signed.target().strip_suffix(&received.target())?.to_owned();
        (prefix.starts_with('/') && !prefix.ends_with('/')).then_some(prefix)
    });
    match prefix {
        Some(prefix) => format!("OssCallbackLayer::builder().path_prefix({prefix:?})"),
        None => signed_target(received, signed),
    }
}

/// The general remedy: say what was signed.
fn signed_target(received: &Message, signed: Option<&Message>) -> String {
    let Some(signed) = signed else {
        return "OssCallbackLayer::builder().signed_target(|parts| ..) with the target that OSS called"
            .to_owned();
    };
    // A rule for the path where the query is kept, the whole target where it is not.
    if signed.query == received.query {
        format!(
            "OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {{\n    \
             Some(query) => format!(\"{}?{{query}}\").into(),\n    \
             None => {:?}.into(),\n\
             }})",
            signed
                .path
                .escape_default()
                .to_string()
                .replace('{', "{{")
                .replace('}', "}}"),
            signed.path,
        )
    } else {
        format!(
            "OssCallbackLayer::builder().signed_target(|_| {:?}.into())",
            signed.target()
        )
    }
}
