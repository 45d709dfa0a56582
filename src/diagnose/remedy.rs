//! What to change, as text to paste.
//!
//! 1. The Rust half applies to the layer; the proxy half is nginx's language, which others' users read
//!    too.
//! 2. A change that the layer can be told of has both; one that cannot be undone, as the original is
//!    gone, has to be stopped where it is made.
//! 3. No remedy names a query. A constant one would be verified in the place of whatever arrives: any
//!    callback that was once captured would pass with any query, and the next upload's would not.
//! 4. Rust is printed only if it compiles as it stands.
//! 5. Where the Rust half is a call, the proxy half is another way, not a second step: both together put
//!    a prefix in front of a path that has it. Each says what else it needs.
//! 6. Several changes have a remedy each, one below the other. Behind a call, words are comments.

use super::{Cause, Evidence, Message};

/// How to fix a cause.
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

    /// What to change in front of it, in the language of nginx. If the Rust half is a call of the layer's
    /// builder, it is one or the other.
    #[must_use]
    pub fn proxy(&self) -> Option<&str> {
        self.proxy.as_deref()
    }

    /// The remedies of several causes, each once.
    pub(super) fn of_all(
        causes: &[Cause],
        evidence: &[Evidence],
        received: &Message,
        signed: Option<&Message>,
    ) -> Option<Self> {
        let mut remedies: Vec<Self> = Vec::new();
        for cause in causes {
            let remedy = Self::of(*cause, evidence, received, signed);
            if !remedies.contains(&remedy) {
                remedies.push(remedy);
            }
        }
        remedies.into_iter().reduce(Self::and)
    }

    fn and(self, other: Self) -> Self {
        let rust = match self.rust.starts_with(CALL) {
            true => other.rust.lines().fold(self.rust, |text, line| {
                let comment = line.trim_start_matches(['/', ' ']);
                format!("{text}\n// {comment}")
            }),
            false => format!("{}\n{}", self.rust, other.rust),
        };
        let mut proxies = self.proxy.into_iter().chain(other.proxy);
        Self {
            rust,
            proxy: proxies
                .next()
                .map(|first| proxies.fold(first, |text, more| format!("{text}\n{more}"))),
        }
    }

    fn of(
        cause: Cause,
        evidence: &[Evidence],
        received: &Message,
        signed: Option<&Message>,
    ) -> Self {
        use Cause::*;
        let has = |one: Evidence| evidence.contains(&one);
        let (rust, proxy) = match cause {
            PathPrefixRemoved | PathPrefixAdded | PathRewritten | TrailingSlash | SlashesMerged
            | PathDecoded | PathReencoded | QueryAdded | QueryLost | QueryReencoded
            | QueryReordered => {
                return Self {
                    rust: signed_target(received, signed),
                    proxy: Some(pass_the_target(received, signed)),
                };
            }
            AuthorizationMissing if has(Evidence::NoCallback) => (
                "None, if another client sent this. A callback of OSS has Authorization and \
                 x-oss-pub-key-url: if it was one, something in front of the layer removed both."
                    .to_owned(),
                None,
            ),
            AuthorizationMissing => (
                "Let nothing in front of the layer remove the Authorization header.".to_owned(),
                Some(PASS_THE_HEADER),
            ),
            HeaderAltered => (
                "Pass the Authorization header on byte for byte, and once.".to_owned(),
                Some(PASS_THE_HEADER),
            ),
            BodyConverted if has(Evidence::BodyBase64) => (BASE64_BODY.to_owned(), None),
            BodyBom | BodyAppended | BodyCharset | BodyConverted | BodyNewline
            | BodyReserialized | BodyTruncated => (BODY_FIRST.to_owned(), Some(PASS_THE_BODY)),
            BodyEmpty => (BODY_FIRST.to_owned(), Some(SEND_THE_BODY)),
            ContentDecoded if has(Evidence::BodyCompressed) => (COMPRESSED_BODY.to_owned(), None),
            ContentDecoded => (
                "Put OssCallbackLayer outside the layer that decompresses request bodies, or keep \
                 that layer off this route."
                    .to_owned(),
                None,
            ),
            WrongKey if has(Evidence::OwnKeyUrl) => (
                "None, if somebody forged this. Else compare the Authorization header with the one \
                 that was sent: more than one character of it differs."
                    .to_owned(),
                None,
            ),
            WrongKey => (
                "// pem is the key that the request's key URL names. Pin it only if that URL is one that you \
                 trust,\n// as of a local OSS: anybody can sign with a key of their own.\n\
                 OssCallbackLayer::builder().pin_key(key_url, PublicKey::from_pem(pem)?)"
                    .to_owned(),
                None,
            ),
            RequestSignature => (
                "Nothing to verify here: a request to OSS is verified by OSS. Point the callbackUrl, \
                 not the endpoint of an SDK, at this server."
                    .to_owned(),
                None,
            ),
            // The callback of OSS is there, and something replaced what it carried.
            Hmac | OtherCredentials if has(Evidence::KeyUrl) => (
                "Let nothing in front of the layer replace the Authorization header.".to_owned(),
                Some(PASS_THE_HEADER),
            ),
            Hmac | OtherCredentials => (
                "Give OSS callbacks a route of their own, behind OssCallbackLayer and in front of \
                 other authentication."
                    .to_owned(),
                None,
            ),
        };
        Self {
            rust,
            proxy: proxy.map(ToOwned::to_owned),
        }
    }
}

/// How Rust begins that can be pasted.
const CALL: &str = "OssCallbackLayer::builder().";

const PASS_THE_HEADER: &str = "proxy_set_header Authorization $http_authorization;";

const PASS_THE_BODY: &str = "\
# nginx changes a body only where it is told to: in the place of any other proxy_set_body.
proxy_set_body $request_body;
client_body_in_single_buffer on;
client_body_in_file_only off;
client_body_buffer_size 64k;";

const SEND_THE_BODY: &str = "\
proxy_pass_request_body on;
proxy_set_header Content-Length $content_length;
# Only if there is another proxy_set_body, as a body that went through a file is no variable:
proxy_set_body $request_body;
client_body_in_single_buffer on;
client_body_in_file_only off;
client_body_buffer_size 64k;";

const BODY_FIRST: &str = "Put OssCallbackLayer outside every layer, and before every filter, that reads or \
                          writes the request body.";

const BASE64_BODY: &str = "Decode the body from base64 before OssCallbackLayer: a function's event has it so \
                           if isBase64Encoded is true.";

const COMPRESSED_BODY: &str = "Let nothing compress the request body, or put a layer that decompresses it \
                               outside OssCallbackLayer.";

/// What no setting of the layer fixes: the query of a callback is in no other place than its target.
const PASS_THE_QUERY: &str = "\
Let everything in front of the layer hand on the target as OSS sent it: no setting brings back a query.
If that cannot be, note the original target down in a place that only your proxy writes, never in a
header that a client can send, and let signed_target read it there. Handlers must then read
VerifiedCallback::query(), as the query of the request is not what was verified.";

/// What a capture inside of a nested router looks like, and that is not what the layer sees.
const NOT_FOR_NEST: &str = "\
// Set none if axum's `nest` took the prefix off, as the layer sees the whole path there: then capture
// outside of it, or write `OriginalUri`.";

/// Whether no server takes the target.
fn is_unreadable(received: &Message) -> bool {
    received.path.contains(' ')
}

/// What no setting of the layer fixes, as the layer does not see it.
const NO_BLANKS: &str = "\
None: a server answers a request line with a blank in its path by 400 before the layer sees it. Let what
decodes the path hand it on as OSS sent it.";

/// A rule for the path, as the query needs none.
fn signed_target(received: &Message, signed: Option<&Message>) -> String {
    if is_unreadable(received) {
        return NO_BLANKS.to_owned();
    }
    let signed = signed.filter(|signed| signed.query == received.query);
    let Some(signed) = signed else {
        return PASS_THE_QUERY.to_owned();
    };
    match prefix_removed(received, signed) {
        Some(prefix) => {
            format!("OssCallbackLayer::builder().path_prefix({prefix:?})\n{NOT_FOR_NEST}")
        }
        None => format!(
            "OssCallbackLayer::builder().{}",
            signed_path_call(&signed.path).join("\n")
        ),
    }
}

/// The target as nginx received it, for a route that is where OSS calls it.
fn pass_the_target(received: &Message, signed: Option<&Message>) -> String {
    let how = match signed.filter(|signed| signed.path != received.path) {
        Some(Message { path, query, .. }) => {
            let instead = match *query == received.query && !is_unreadable(received) {
                true => "In the place of the Rust half, serve",
                false => "Serve",
            };
            format!(
                "# {instead} the route at the signed path, {path:?},\n\
                 # and pass the target on as it was received, which is $request_uri.\n"
            )
        }
        None => "# $request_uri is the target as it was received, whatever else rewrites it.\n"
            .to_owned(),
    };
    how + "# `app` is an `upstream` or an address: beside a variable, another name needs a `resolver`.\n\
           proxy_pass http://app$request_uri;"
}

/// What `path_prefix` puts back in front, where that is the whole difference of the paths.
pub(crate) fn prefix_removed<'a>(received: &Message, signed: &'a Message) -> Option<&'a str> {
    let prefix = signed.path.strip_suffix(received.path.as_str())?;
    (prefix.starts_with('/') && !prefix.ends_with('/')).then_some(prefix)
}

/// The lines of the call that says which path was signed, and leaves the query as it arrived.
pub(crate) fn signed_path_call(path: &str) -> [String; 4] {
    // Braces are doubled before the literal is escaped, as `\u{..}` has some of its own.
    let format = format!("{}?{{query}}", path.replace('{', "{{").replace('}', "}}"));
    [
        "signed_target(|parts| match parts.uri.query() {".to_owned(),
        format!("    Some(query) => format!({format:?}).into(),"),
        format!("    None => {path:?}.into()"),
        "})".to_owned(),
    ]
}
