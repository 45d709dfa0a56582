//! Public keys from files and URLs, for `doctor` and `key`.
//!
//! 1. What is given is a URL if it has a scheme, else a file's name.
//! 2. A URL must be on the library's allowlist, the file one that the library reads. What else a user of the
//!    doctor may name is in its `local_key`.
//! 3. The published v1 key is built in: its URL needs no network here, except for `key fetch`.

use std::{
    fmt, fs,
    io::{self, Read},
    path::Path,
};

use oss_callback::{ConfigError, KeyUrl, KeyUrlPolicy, PublicKey};

/// Where the service publishes its first key, which is built in.
pub(crate) const V1_URL: &str = "https://gosspublic.alicdn.com/callback_pub_key_v1.pem";

/// The host of the key URLs of the local OSS. Nothing can be fetched from it.
pub(crate) const LOCAL_OSS: &str = "https://local-oss.invalid/";

/// Far more than any key: what is longer is another file.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// Why there is no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeyError {
    /// The file cannot be read.
    Unreadable { file: String, error: String },
    /// The text is not a key that the library accepts.
    Unsuitable { from: String, error: ConfigError },
    /// The URL is not on the allowlist.
    NotAllowed { url: String },
    /// The URL is allowed, and did not lead to a key.
    NotFetched { url: String, error: String },
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{file}: {error}"),
            Self::Unsuitable { from, error } => write!(f, "{from}: {error}"),
            Self::NotAllowed { url } => write!(
                f,
                "{url:?} is not on the allowlist of key URLs: \
                 http(s)://gosspublic.alicdn.com/callback_pub_key_v<1 to 999>.pem"
            ),
            Self::NotFetched { url, error } => write!(f, "{url}: {error}"),
        }
    }
}

impl std::error::Error for KeyError {}

/// The text of a file; `-` is standard input.
pub(crate) fn read(file: &Path) -> Result<String, KeyError> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => io::stdin()
            .lock()
            .take(MAX_FILE_LEN)
            .read_to_string(&mut text),
        false => {
            fs::File::open(file).and_then(|open| open.take(MAX_FILE_LEN).read_to_string(&mut text))
        }
    };
    read.map_err(|error| KeyError::Unreadable {
        file: name(file),
        error: error.to_string(),
    })?;
    Ok(text)
}

/// The key that a file holds.
pub(crate) fn from_text(file: &Path, text: &str) -> Result<PublicKey, KeyError> {
    PublicKey::from_pem(text).map_err(|error| KeyError::Unsuitable {
        from: name(file),
        error,
    })
}

fn name(file: &Path) -> String {
    match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    }
}

/// The key URL in canonical form, if the allowlist has it.
pub(crate) fn allowed(url: &str) -> Result<KeyUrl, KeyError> {
    KeyUrlPolicy::default()
        .key_url(url)
        .ok_or_else(|| KeyError::NotAllowed {
            url: url.to_owned(),
        })
}

/// The key of a URL that is allowed: built in, or fetched.
pub(crate) fn from_url(url: &str) -> Result<PublicKey, KeyError> {
    let url = allowed(url)?;
    if url.as_str() == V1_URL {
        return Ok(PublicKey::aliyun_v1());
    }
    fetch(&url)
}

/// Fetches a key over HTTPS, the built-in one too.
#[cfg(feature = "fetch")]
pub(crate) fn fetch(url: &KeyUrl) -> Result<PublicKey, KeyError> {
    use oss_callback::{FetchKey, HttpsFetcher};

    let not_fetched = |error: String| KeyError::NotFetched {
        url: url.as_str().to_owned(),
        error,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| not_fetched(error.to_string()))?;
    runtime
        .block_on(HttpsFetcher::new().fetch(url))
        .map_err(|error| not_fetched(chain(&error)))
}

/// Fetching was not compiled in.
#[cfg(not(feature = "fetch"))]
pub(crate) fn fetch(url: &KeyUrl) -> Result<PublicKey, KeyError> {
    Err(KeyError::NotFetched {
        url: url.as_str().to_owned(),
        error: "this command was built without the feature `fetch`".to_owned(),
    })
}

/// An error with its sources: that of an HTTP client says little without them.
#[cfg(feature = "fetch")]
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let part = error.to_string();
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_key_needs_no_network() {
        for url in [V1_URL, &V1_URL.replace("https", "http")] {
            assert_eq!(from_url(url), Ok(PublicKey::aliyun_v1()));
        }
    }

    #[test]
    fn other_urls_are_not_allowed() {
        for url in [
            "https://gosspublic.alicdn.com/other.pem",
            "https://gosspublic.alicdn.com.evil.test/callback_pub_key_v1.pem",
            "ftp://gosspublic.alicdn.com/callback_pub_key_v1.pem",
            "https://local-oss.invalid/x.pem",
        ] {
            let error = from_url(url).unwrap_err();
            assert!(matches!(error, KeyError::NotAllowed { .. }), "{error}");
        }
    }
}
