//! The policy of a form: who signed it, until when it counts, and what it demands of the form.
//!
//! 1. The base64 text of the policy is what is signed, with V1 or V4.
//! 2. Every condition must hold; there must be at least one. A condition on a field that the form
//!    lacks does not hold: a client that drops the callback breaks the condition on it.
//! 3. V4 repeats version, credential, date and, if there is one, the token in conditions. The date is on the
//!    credential's day, not more than 15 minutes ahead, and counts for seven days at most.
//! 4. `content-length-range` is judged when the size is known, and stops the upload as soon as it
//!    is too large.

use std::{ops::RangeInclusive, time::SystemTime};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{check_expiry, check_skew, check_token, credentials, signature_mismatch, v1, v4};
use crate::{config::Config, error::OssError};

/// The fields of a form before its file.
pub(crate) trait Fields {
    /// The value of a field. Names are compared without regard to case.
    fn get(&self, name: &str) -> Option<&str>;
}

/// What a policy still demands once its conditions on fields have been judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Demand {
    /// Sizes that the file may have.
    pub(crate) size: RangeInclusive<u64>,
}

/// Judges signature, expiry and conditions of a form for `bucket`.
///
/// # Errors
/// The service's refusal. On an open server a form needs no policy, and one that it has is judged
/// all the same, but for the signature.
pub(crate) fn judge(
    config: &Config,
    fields: &dyn Fields,
    bucket: &str,
    now: SystemTime,
) -> Result<Demand, OssError> {
    let Some(encoded) = fields.get("policy") else {
        if config.open {
            return Ok(Demand { size: 0..=u64::MAX });
        }
        return Err(OssError::access_denied(
            "The form has no policy, and anonymous uploads are not allowed.",
        ));
    };
    let signed = check_signature(config, fields, encoded);
    if !config.open {
        signed?;
    }
    let policy = Policy::parse(encoded)?;
    if !config.any_date {
        if policy.expiration < now {
            return Err(OssError::access_denied(
                "Invalid according to Policy: Policy expired.",
            ));
        }
        if is_v4(fields) {
            check_date(fields.get("x-oss-date").unwrap_or_default(), now)?;
        }
    }
    policy.check(fields, bucket)
}

/// The bucket that a form's policy demands, if it has one and demands one. Nothing else of it is judged.
///
/// # Errors
/// `InvalidPolicyDocument`.
pub(crate) fn bucket(fields: &dyn Fields) -> Result<Option<String>, OssError> {
    let Some(encoded) = fields.get("policy") else {
        return Ok(None);
    };
    let conditions = Policy::parse(encoded)?.conditions;
    Ok(conditions
        .into_iter()
        .find_map(|condition| match condition {
            Condition::Equals(name, bucket) if name.eq_ignore_ascii_case("bucket") => Some(bucket),
            _ => None,
        }))
}

fn is_v4(fields: &dyn Fields) -> bool {
    fields.get("x-oss-signature-version").is_some()
}

fn check_date(date: &str, now: SystemTime) -> Result<(), OssError> {
    let date = crate::time::parse_compact(date)
        .ok_or_else(|| OssError::invalid_argument("x-oss-date is invalid."))?;
    if date > now {
        return check_skew(date, now);
    }
    check_expiry(date.checked_add(v4::MAX_AGE), now)
}

fn check_signature(config: &Config, fields: &dyn Fields, encoded: &str) -> Result<(), OssError> {
    let required = |name: &'static str| {
        fields
            .get(name)
            .ok_or_else(|| OssError::invalid_argument(format!("The form has no {name}.")))
    };
    let token = fields.get(TOKEN);

    if let Some(version) = fields.get("x-oss-signature-version") {
        if version != v4::ALGORITHM {
            return Err(OssError::not_implemented(format_args!(
                "policy signature version {version:?}"
            )));
        }
        let (id, scope) = v4::Scope::parse(required("x-oss-credential")?)
            .ok_or_else(|| OssError::invalid_argument("x-oss-credential is invalid."))?;
        let date = required("x-oss-date")?;
        if !date.starts_with(&scope.day) {
            return Err(OssError::invalid_argument(
                "x-oss-date is not on the day of x-oss-credential.",
            ));
        }
        let signature = required("x-oss-signature")?;
        let credentials = credentials(config, &id)?;
        check_token(credentials, token)?;
        if !scope.matches(
            &credentials.access_key_secret,
            encoded.as_bytes(),
            signature,
        ) {
            return Err(signature_mismatch(&id, signature).with("StringToSign", encoded));
        }
        return Ok(());
    }

    let id = required("OSSAccessKeyId")?;
    let signature = required("Signature")?;
    let credentials = credentials(config, id)?;
    check_token(credentials, token)?;
    if !v1::matches(
        &credentials.access_key_secret,
        encoded.as_bytes(),
        signature,
    ) {
        return Err(signature_mismatch(id, signature).with("StringToSign", encoded));
    }
    Ok(())
}

/// The JSON of a policy has an escape of its own: `\$`, for a dollar sign that names no field.
fn without_dollar_escapes(text: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            json.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'$') => json.push(b'$'),
            escaped => {
                json.push(b'\\');
                json.extend(escaped);
            }
        }
    }
    json
}

struct Policy {
    expiration: SystemTime,
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct PolicyText {
    expiration: String,
    conditions: Vec<Value>,
}

enum Condition {
    Equals(String, String),
    StartsWith(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Size(RangeInclusive<u64>),
}

impl Policy {
    fn parse(encoded: &str) -> Result<Self, OssError> {
        let text = BASE64_STANDARD
            .decode(encoded.trim())
            .map_err(|_| invalid("it is not base64"))?;
        let text: PolicyText =
            serde_json::from_slice(&without_dollar_escapes(&text)).map_err(|error| {
                invalid(&format!(
                    "it is not JSON with expiration and conditions (line {}, column {})",
                    error.line(),
                    error.column()
                ))
            })?;
        let expiration = crate::time::parse_iso8601(&text.expiration)
            .ok_or_else(|| invalid("its expiration is not like 2026-11-22T10:31:59.000Z"))?;
        if text.conditions.is_empty() {
            return Err(invalid("it has no condition"));
        }
        let conditions = text
            .conditions
            .iter()
            .map(Condition::parse)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid("a condition is of no known form"))?;
        Ok(Self {
            expiration,
            conditions,
        })
    }

    fn check(&self, fields: &dyn Fields, bucket: &str) -> Result<Demand, OssError> {
        if is_v4(fields) {
            let token = fields.get(TOKEN).is_some().then_some(TOKEN);
            for name in REPEATED.iter().copied().chain(token) {
                let stated = self.conditions.iter().any(|condition| {
                    matches!(condition, Condition::Equals(field, _) if field.eq_ignore_ascii_case(name))
                });
                if !stated {
                    return Err(invalid(&format!("it has no condition on {name}")));
                }
            }
        }
        let mut size = 0..=u64::MAX;
        for condition in &self.conditions {
            if let Condition::Size(range) = condition {
                size = *size.start().max(range.start())..=*size.end().min(range.end());
            } else if !condition.holds(fields, bucket) {
                return Err(OssError::access_denied(format!(
                    "Invalid according to Policy: Policy Condition failed: {}",
                    condition.text()
                )));
            }
        }
        Ok(Demand { size })
    }
}

impl Condition {
    fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Object(fields) => Self::exact(fields),
            Value::Array(items) => match items.as_slice() {
                [Value::String(kind), min, max] if kind == "content-length-range" => {
                    Some(Self::Size(number(min)?..=number(max)?))
                }
                [
                    Value::String(kind),
                    Value::String(name),
                    Value::String(value),
                ] => {
                    let name = name.strip_prefix('$')?.to_owned();
                    match kind.as_str() {
                        "eq" => Some(Self::Equals(name, value.clone())),
                        "starts-with" => Some(Self::StartsWith(name, value.clone())),
                        _ => None,
                    }
                }
                [
                    Value::String(kind),
                    Value::String(name),
                    Value::Array(values),
                ] => {
                    let name = name.strip_prefix('$')?.to_owned();
                    let values = values
                        .iter()
                        .map(|value| value.as_str().map(str::to_owned))
                        .collect::<Option<Vec<_>>>()?;
                    match kind.as_str() {
                        "in" => Some(Self::In(name, values)),
                        "not-in" => Some(Self::NotIn(name, values)),
                        _ => None,
                    }
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn exact(fields: &Map<String, Value>) -> Option<Self> {
        let mut fields = fields.iter();
        match (fields.next(), fields.next()) {
            (Some((name, Value::String(value))), None) => {
                Some(Self::Equals(name.clone(), value.clone()))
            }
            _ => None,
        }
    }

    fn holds(&self, fields: &dyn Fields, bucket: &str) -> bool {
        let value = |name: &str| {
            if name.eq_ignore_ascii_case("bucket") {
                Some(bucket.to_owned())
            } else {
                fields.get(name).map(str::to_owned)
            }
        };
        match self {
            Self::Equals(name, expected) => value(name).as_ref() == Some(expected),
            Self::StartsWith(name, prefix) => {
                value(name).is_some_and(|value| value.starts_with(prefix.as_str()))
            }
            Self::In(name, values) => value(name).is_some_and(|value| values.contains(&value)),
            Self::NotIn(name, values) => value(name).is_none_or(|value| !values.contains(&value)),
            Self::Size(_) => true,
        }
    }

    fn text(&self) -> String {
        let (kind, name, value) = match self {
            Self::Equals(name, value) => ("eq", name, Value::from(value.as_str())),
            Self::StartsWith(name, value) => ("starts-with", name, Value::from(value.as_str())),
            Self::In(name, values) => ("in", name, Value::from(values.clone())),
            Self::NotIn(name, values) => ("not-in", name, Value::from(values.clone())),
            Self::Size(range) => {
                return format!(
                    "[\"content-length-range\", {}, {}]",
                    range.start(),
                    range.end()
                );
            }
        };
        format!("[\"{kind}\", \"${name}\", {value}]")
    }
}

/// The official samples write numbers, other signers strings.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn invalid(why: &str) -> OssError {
    OssError::bad_request(
        "InvalidPolicyDocument",
        format!("The policy is invalid: {why}."),
    )
}

const TOKEN: &str = "x-oss-security-token";

/// The fields that a policy of version 4 repeats in conditions, and the token if there is one.
const REPEATED: [&str; 3] = ["x-oss-signature-version", "x-oss-credential", "x-oss-date"];

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    impl Fields for HashMap<&str, &str> {
        fn get(&self, name: &str) -> Option<&str> {
            self.iter()
                .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(*value))
        }
    }

    fn check(conditions: &str, fields: &[(&str, &str)]) -> Result<Demand, OssError> {
        let policy =
            format!("{{\"expiration\":\"2030-01-01T00:00:00.000Z\",\"conditions\":{conditions}}}");
        let fields: HashMap<_, _> = fields.iter().copied().collect();
        Policy::parse(&BASE64_STANDARD.encode(policy))?.check(&fields, "bucket-1")
    }

    #[test]
    fn each_form_of_condition_holds_or_fails() {
        let form = [("key", "user/a.jpg"), ("callback", "abc"), ("x:uid", "1")];
        for (condition, holds) in [
            (r#"{"bucket":"bucket-1"}"#, true),
            (r#"{"bucket":"bucket-2"}"#, false),
            (r#"["eq","$bucket","bucket-1"]"#, true),
            (r#"["eq","$key","user/a.jpg"]"#, true),
            (r#"["eq","$KEY","user/a.jpg"]"#, true),
            (r#"["eq","$key","user/b.jpg"]"#, false),
            (r#"["starts-with","$key","user/"]"#, true),
            (r#"["starts-with","$key","admin/"]"#, false),
            (r#"["starts-with","$missing",""]"#, false),
            (r#"{"callback":"abc"}"#, true),
            (r#"{"callback":"abd"}"#, false),
            (r#"{"x-oss-security-token":"t"}"#, false),
            (r#"{"x:uid":"1"}"#, true),
            (r#"["in","$x:uid",["1","2"]]"#, true),
            (r#"["in","$x:uid",["2"]]"#, false),
            (r#"["not-in","$x:uid",["1"]]"#, false),
            (r#"["not-in","$x:uid",["2"]]"#, true),
            (r#"["content-length-range",1,"10"]"#, true),
        ] {
            let result = check(&format!("[{condition}]"), &form);
            assert_eq!(result.is_ok(), holds, "{condition}: {result:?}");
            if !holds {
                assert_eq!(result.unwrap_err().code, "AccessDenied");
            }
        }
    }

    #[test]
    fn a_dollar_sign_may_be_escaped() {
        let form = [("x:price", r"$5\$")];
        for (condition, holds) in [
            (r#"["eq","$x:price","\$5\\$"]"#, true),
            (r#"["eq","$x:price","$5\\$"]"#, true),
            (r#"["eq","$x:price","\$5\$"]"#, false),
        ] {
            let result = check(&format!("[{condition}]"), &form);
            assert_eq!(result.is_ok(), holds, "{condition}: {result:?}");
        }
        assert!(check(r#"[["eq","$key","\q"]]"#, &[]).is_err());
    }

    #[test]
    fn the_narrowest_range_of_sizes_counts() {
        let ranges = r#"[["content-length-range",1,10],["content-length-range",5,20]]"#;
        assert_eq!(check(ranges, &[]).unwrap().size, 5..=10);
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        for conditions in [
            "[]",
            "{}",
            "[1]",
            r#"[["eq","key","a"]]"#,
            r#"[{"a":"1","b":"2"}]"#,
            r#"[["like","$key","a"]]"#,
            r#"[["content-length-range",-1,2]]"#,
        ] {
            let error = check(conditions, &[]).unwrap_err();
            assert_eq!(error.code, "InvalidPolicyDocument", "{conditions}");
        }
        assert!(Policy::parse("%").is_err());
    }

    /// JSON of the kinds that policies are made of, and of others.
    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "eq|in|not-in|starts-with|content-length-range|\\$key|\\$|\\$bucket|bucket-1|.{0,6}"
                .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("key|bucket|.{0,4}", inner, 0..3)
                    .prop_map(|map| map.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_policy_panics_and_none_counts_unsigned(
            conditions in json(),
            expiration in "20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:00(\\.[0-9]{0,12})?Z|.{0,20}",
            fields in proptest::collection::hash_map(
                "key|callback|signature|x-oss-signature|x-oss-credential|x-oss-date|x-oss-signature-version|OSSAccessKeyId|x:a",
                "local-oss-access-key-id|local-oss-access-key-id/2026/r/oss/aliyun_v4_request|2026|OSS4-HMAC-SHA256|.{0,8}",
                0..9,
            ),
        ) {
            let text = serde_json::json!({ "expiration": expiration, "conditions": conditions });
            let policy = BASE64_STANDARD.encode(text.to_string());
            let mut form: HashMap<&str, &str> =
                fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            form.insert("policy", &policy);
            let mut config = Config {
                credentials: vec![crate::config::Credentials::default()],
                ..Config::default()
            };
            prop_assert!(judge(&config, &form, "bucket-1", SystemTime::UNIX_EPOCH).is_err());
            config.open = true;
            if let Ok(demand) = judge(&config, &form, "bucket-1", SystemTime::UNIX_EPOCH) {
                prop_assert!(conditions.as_array().is_some_and(|all| !all.is_empty()), "{demand:?}");
            }
        }
    }
}
