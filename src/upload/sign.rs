//! What the signatures of requests, policies and URLs have in common.
//!
//! 1. Version 4 is HMAC-SHA256 with a key that is derived for a day, a region and this service. It
//!    signs method, path, query, the headers `content-type`, `content-md5` and `x-oss-*`, and such
//!    further headers as it names. The body is not signed.
//! 2. Version 1 is HMAC-SHA1 with the secret itself. It signs less: of a query only what the service
//!    calls sub-resources, `callback` and `callback-var` among them.
//! 3. Signatures are computed over what the service will read: decoded values, and lower-case names.

use std::{fmt::Write, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac};
use percent_encoding::{AsciiSet, PercentEncode, utf8_percent_encode};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::{Credentials, OssEndpoint};
use crate::{clock::unix_seconds, substitution::UNRESERVED, verify::hex};

/// What is bare in a path: what is bare everywhere, and the slashes of a key.
const PATH: &AsciiSet = &UNRESERVED.remove(b'/');

pub(super) const V4_ALGORITHM: &str = "OSS4-HMAC-SHA256";

/// The one further header that version 4 can be made to sign here.
pub(super) const HOST: &str = "host";

/// The version of a signature that this crate makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureVersion {
    /// HMAC-SHA1 with the secret itself, for private clouds that know no other. The service no longer
    /// takes it from new customers.
    V1,
    /// HMAC-SHA256 with a key for a day and a region.
    #[default]
    V4,
}

pub(super) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

pub(super) fn encode_key(key: &str) -> PercentEncode<'_> {
    utf8_percent_encode(key, PATH)
}

/// Text in base64, signed with the secret: what version 1 calls a signature.
pub(super) fn v1_signature(credentials: &Credentials, text: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(credentials.secret().as_bytes())
        .expect("an HMAC takes a key of any length");
    BASE64_STANDARD.encode(mac.chain_update(text).finalize().into_bytes())
}

/// The day, region and key of version 4.
pub(super) struct V4<'a> {
    credentials: &'a Credentials,
    /// `20260102T030405Z`
    pub(super) date: String,
    /// `20260102/cn-hangzhou/oss/aliyun_v4_request`
    scope: String,
    key: [u8; 32],
}

impl<'a> V4<'a> {
    pub(super) fn new(credentials: &'a Credentials, region: &str, now: SystemTime) -> Self {
        let date = Utc::of(now).basic();
        let (day, _) = date.split_once('T').expect("a date has a time");
        let secret = format!("aliyun_v4{}", credentials.secret());
        let links = [day, region, "oss", "aliyun_v4_request"];
        let key = links
            .iter()
            .fold(secret.into_bytes(), |key, link| {
                hmac_sha256(&key, link.as_bytes()).to_vec()
            })
            .try_into()
            .expect("an HMAC-SHA256 has 32 bytes");
        Self {
            credentials,
            scope: links.join("/"),
            date,
            key,
        }
    }

    /// `x-oss-credential`
    pub(super) fn credential(&self) -> String {
        format!("{}/{}", self.credentials.access_key_id(), self.scope)
    }

    /// Of text as it is: a policy in base64.
    pub(super) fn signature(&self, text: &str) -> String {
        hex(&hmac_sha256(&self.key, text.as_bytes()))
    }

    /// Of a request.
    pub(super) fn request_signature(&self, request: &CanonicalRequest<'_>) -> String {
        let digest: [u8; 32] = Sha256::digest(request.v4()).into();
        self.signature(&format!(
            "{V4_ALGORITHM}\n{}\n{}\n{}",
            self.date,
            self.scope,
            hex(&digest),
        ))
    }
}

/// What is signed of a request. Names of headers are lower-case, values of the query not encoded.
pub(super) struct CanonicalRequest<'a> {
    pub(super) method: &'static str,
    pub(super) bucket: &'a str,
    pub(super) key: &'a str,
    pub(super) query: &'a [(&'a str, String)],
    pub(super) headers: &'a [(&'a str, String)],
    /// The `Host`, if version 4 is to sign it.
    pub(super) host: Option<&'a str>,
}

impl CanonicalRequest<'_> {
    fn v4(&self) -> String {
        let mut query: Vec<(String, String)> = self
            .query
            .iter()
            .map(|(name, value)| (encode(name).to_string(), encode(value).to_string()))
            .collect();
        query.sort();
        let query: Vec<String> = query
            .into_iter()
            .map(|(name, value)| match &*value {
                "" => name,
                value => format!("{name}={value}"),
            })
            .collect();
        let mut headers: Vec<(&str, &str)> = self
            .headers
            .iter()
            .map(|(name, value)| (*name, value.trim()))
            .chain(self.host.map(|host| (HOST, host)))
            .collect();
        headers.sort_unstable();
        let headers: String = headers
            .into_iter()
            .map(|(name, value)| format!("{name}:{value}\n"))
            .collect();
        format!(
            "{}\n/{}/{}\n{}\n{headers}\n{}\nUNSIGNED-PAYLOAD",
            self.method,
            self.bucket,
            encode_key(self.key),
            query.join("&"),
            self.host.map_or("", |_| HOST),
        )
    }

    /// For a URL that expires at this Unix time.
    pub(super) fn v1(&self, expires: u64) -> String {
        let header = |wanted: &str| {
            let header = self.headers.iter().find(|(name, _)| *name == wanted);
            header.map_or("", |(_, value)| value)
        };
        let mut oss_headers: Vec<_> = self
            .headers
            .iter()
            .filter(|(name, _)| name.starts_with("x-oss-"))
            .collect();
        oss_headers.sort();
        let oss_headers: String = oss_headers
            .into_iter()
            .map(|(name, value)| format!("{name}:{}\n", value.trim()))
            .collect();
        let mut resources: Vec<_> = self.query.iter().collect();
        resources.sort();
        let resources: Vec<String> = resources
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let separator = if resources.is_empty() { "" } else { "?" };
        format!(
            "{}\n{}\n{}\n{expires}\n{oss_headers}/{}/{}{separator}{}",
            self.method,
            header("content-md5"),
            header("content-type"),
            self.bucket,
            self.key,
            resources.join("&"),
        )
    }
}

/// The URL of an object with this query.
pub(super) fn url(
    endpoint: &OssEndpoint,
    bucket: &str,
    key: &str,
    query: &[(&str, String)],
) -> String {
    let mut url = endpoint.bucket_url(bucket);
    write!(url, "{}", encode_key(key)).expect("writing to a string cannot fail");
    for (index, (name, value)) in query.iter().enumerate() {
        let separator = if index == 0 { '?' } else { '&' };
        write!(url, "{separator}{}={}", encode(name), encode(value))
            .expect("writing to a string cannot fail");
    }
    url
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("an HMAC takes a key of any length");
    mac.chain_update(text).finalize().into_bytes().into()
}

/// A moment by the calendar, in whole seconds.
pub(super) struct Utc {
    year: u64,
    month: u64,
    day: u64,
    /// Since midnight.
    seconds: u64,
}

impl Utc {
    pub(super) fn of(time: SystemTime) -> Self {
        const DAY: u64 = 24 * 60 * 60;

        let seconds = unix_seconds(time);
        // Days since 0000-03-01, so that the leap day is the last of its year. The calendar repeats
        // itself every 400 years, which are 146,097 days.
        let days = seconds / DAY + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months from March on, of 31 and 30 days by turns in groups of five.
        let month = (5 * day_of_year + 2) / 153;
        let (month_of_year, carry) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        Self {
            year: 400 * era + year_of_era + carry,
            month: month_of_year,
            day: day_of_year - (153 * month + 2) / 5 + 1,
            seconds: seconds % DAY,
        }
    }

    /// `20260102T030405Z`
    pub(super) fn basic(&self) -> String {
        let (hour, minute, second) = self.time();
        format!(
            "{:04}{:02}{:02}T{hour:02}{minute:02}{second:02}Z",
            self.year, self.month, self.day
        )
    }

    /// `2026-01-02T03:04:05.000Z`
    pub(super) fn extended(&self) -> String {
        let (hour, minute, second) = self.time();
        format!(
            "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}.000Z",
            self.year, self.month, self.day
        )
    }

    fn time(&self) -> (u64, u64, u64) {
        let minutes = self.seconds / 60;
        (minutes / 60, minutes % 60, self.seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_written_by_the_calendar() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_795_343_522, "2026-11-22T10:32:02.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let utc = Utc::of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            assert_eq!(utc.extended(), written);
            let basic: String = written.replace(['-', ':'], "").replace(".000", "");
            assert_eq!(utc.basic(), basic);
        }
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Utc::of(before).basic(), "19700101T000000Z");
    }
}
