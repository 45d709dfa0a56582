//! Every variable that the service documents, as a typed value.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::{
    flat::{Flat, unfit},
    names::FEW,
    scalar::number,
};

/// The callback variables under their documented names, and everything else in
/// [`custom`](Self::custom).
///
/// What a body names is up to the callback's template, so every field is optional; a variable that
/// OSS had no value for is `None`. For a template with names of its own, extract a type of your own;
/// these variables may be a `#[serde(flatten)]` field of it.
///
/// ```
/// # use oss_callback::{CallbackVars, RejectionKind, test_util::CallbackSigner};
/// # let signer = CallbackSigner::new();
/// # let body = "bucket=photos&object=a%2Fb.jpg&size=7&height=&user=42";
/// # let callback = signer.verify(signer.form("/cb", body))?;
/// // bucket=photos&object=a%2Fb.jpg&size=7&height=&user=42
/// let vars: CallbackVars = callback.decode()?;
/// assert_eq!(vars.bucket.as_deref(), Some("photos"));
/// assert_eq!(vars.object.as_deref(), Some("a/b.jpg"));
/// assert_eq!(vars.size, Some(7));
/// assert_eq!(vars.image_height, None);
/// assert_eq!(vars.custom["user"], "42");
/// # Ok::<(), oss_callback::Rejection>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallbackVars {
    /// `bucket`
    pub bucket: Option<String>,
    /// `object`: the key of the object.
    pub object: Option<String>,
    /// `etag`: upper-case hexadecimal, without quotes.
    pub etag: Option<String>,
    /// `size` in bytes; of the whole object also after a multipart upload.
    pub size: Option<u64>,
    /// `mimeType`, as the uploader declared it.
    pub mime_type: Option<String>,
    /// `imageInfo.height` in pixels, or `height`, as the service's sample templates call it.
    pub image_height: Option<u64>,
    /// `imageInfo.width` in pixels, or `width`.
    pub image_width: Option<u64>,
    /// `imageInfo.format`, or `format`.
    pub image_format: Option<String>,
    /// `crc64`: CRC-64/ECMA of the object, in decimal.
    pub crc64: Option<u64>,
    /// `contentMd5`: base64; only after PutObject and PostObject.
    pub content_md5: Option<String>,
    /// `vpcId`: the VPC that the upload came from.
    pub vpc_id: Option<String>,
    /// `clientIp`: the address that the upload came from.
    pub client_ip: Option<String>,
    /// `reqId`: the id of the upload's request, and unlike the header of that name signed.
    pub req_id: Option<String>,
    /// `operation`: `PutObject`, `PostObject`, ..
    pub operation: Option<String>,
    /// All other variables by their names in the body. JSON's numbers and booleans are their own
    /// text; JSON's null and nested values are left out.
    pub custom: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for CallbackVars {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not as a struct: behind `#[serde(flatten)]` that would show no custom variables.
        deserializer.deserialize_map(CallbackVarsVisitor)
    }
}

/// What is reserved for variables that are only promised: another format may promise anything.
const MOST_RESERVED: usize = 1024;

struct CallbackVarsVisitor;

impl<'de> Visitor<'de> for CallbackVarsVisitor {
    type Value = CallbackVars;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("callback variables")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CallbackVars, A::Error> {
        let mut vars = CallbackVars::default();
        // A tree of many names is built at once, at a fraction of what it takes name by name.
        let hint = map.size_hint();
        let are_many = hint.is_none_or(|count| count > FEW);
        let mut many = Vec::new();
        if are_many {
            many.reserve(hint.unwrap_or_default().min(MOST_RESERVED));
        }
        while let Some(name) = map.next_key::<String>()? {
            match name.as_str() {
                "bucket" => vars.bucket = map.next_value::<Text>()?.0,
                "object" => vars.object = map.next_value::<Text>()?.0,
                "etag" => vars.etag = map.next_value::<Text>()?.0,
                "size" => vars.size = map.next_value::<Number>()?.0,
                "mimeType" => vars.mime_type = map.next_value::<Text>()?.0,
                "imageInfo.height" => vars.image_height = map.next_value::<Number>()?.0,
                "imageInfo.width" => vars.image_width = map.next_value::<Number>()?.0,
                "imageInfo.format" => vars.image_format = map.next_value::<Text>()?.0,
                "crc64" => vars.crc64 = map.next_value::<Number>()?.0,
                "contentMd5" => vars.content_md5 = map.next_value::<Text>()?.0,
                "vpcId" => vars.vpc_id = map.next_value::<Text>()?.0,
                "clientIp" => vars.client_ip = map.next_value::<Text>()?.0,
                "reqId" => vars.req_id = map.next_value::<Text>()?.0,
                "operation" => vars.operation = map.next_value::<Text>()?.0,
                _ => {
                    if let Flat::Text(text) = map.next_value()? {
                        let text = text.into_owned();
                        if are_many {
                            many.push((name, text));
                        } else {
                            vars.custom.insert(name, text);
                        }
                    }
                }
            }
        }
        if are_many {
            vars.custom = many.into_iter().collect();
        }
        vars.adopt_renames();
        Ok(vars)
    }
}

impl CallbackVars {
    /// The service's sample templates call the image variables `height`, `width` and `format`. These
    /// count where the documented name is absent and the value could be the image's; else they are
    /// custom variables that happen to have that name.
    fn adopt_renames(&mut self) {
        fn adopt<T>(
            field: &mut Option<T>,
            custom: &mut BTreeMap<String, String>,
            rename: &str,
            read: impl Fn(&str) -> Option<T>,
        ) {
            let Some(text) = custom.get(rename).filter(|_| field.is_none()) else {
                return;
            };
            if text.is_empty() {
                custom.remove(rename);
            } else if let Some(value) = read(text) {
                *field = Some(value);
                custom.remove(rename);
            }
        }
        adopt(&mut self.image_height, &mut self.custom, "height", number);
        adopt(&mut self.image_width, &mut self.custom, "width", number);
        adopt(&mut self.image_format, &mut self.custom, "format", |text| {
            Some(text.to_owned())
        });
    }
}

/// Shows counts alone.
impl fmt::Debug for CallbackVars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackVars")
            .field("custom", &self.custom.len())
            .finish_non_exhaustive()
    }
}

/// The text of a variable, if it has one.
struct Text(Option<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Flat::deserialize(deserializer)?.into_text()?;
        Ok(Self(text.map(Cow::into_owned)))
    }
}

/// The number in a variable, if it has one.
struct Number(Option<u64>);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Some(text) = Flat::deserialize(deserializer)?.into_text()? else {
            return Ok(Self(None));
        };
        match number(&text) {
            None => Err(unfit(&text, "u64")),
            number => Ok(Self(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::vars::{BodyKind, names::SYSTEM_VARIABLES, variables::parsed};

    fn form(body: &str) -> CallbackVars {
        parsed(BodyKind::Form, body).unwrap().decode().unwrap()
    }

    fn json(body: &str) -> CallbackVars {
        parsed(BodyKind::Json, body).unwrap().decode().unwrap()
    }

    fn custom(vars: &CallbackVars) -> Vec<(&str, &str)> {
        vars.custom
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    #[test]
    fn every_documented_variable_has_a_field() {
        let vars = form(
            "bucket=b&object=o%2Fp&etag=E&size=1&mimeType=image%2Fpng&imageInfo.height=2\
             &imageInfo.width=3&imageInfo.format=png&crc64=18446744073709551615&contentMd5=M%3D%3D\
             &vpcId=v&clientIp=1.2.3.4&reqId=R&operation=PutObject&x:user=42",
        );
        let expected = CallbackVars {
            bucket: Some("b".into()),
            object: Some("o/p".into()),
            etag: Some("E".into()),
            size: Some(1),
            mime_type: Some("image/png".into()),
            image_height: Some(2),
            image_width: Some(3),
            image_format: Some("png".into()),
            crc64: Some(u64::MAX),
            content_md5: Some("M==".into()),
            vpc_id: Some("v".into()),
            client_ip: Some("1.2.3.4".into()),
            req_id: Some("R".into()),
            operation: Some("PutObject".into()),
            custom: [("x:user".to_owned(), "42".to_owned())].into(),
        };
        assert_eq!(vars, expected);
        let from_json = json(
            r#"{"bucket":"b","object":"o/p","etag":"E","size":1,"mimeType":"image/png",
                "imageInfo.height":2,"imageInfo.width":"3","imageInfo.format":"png",
                "crc64":"18446744073709551615","contentMd5":"M==","vpcId":"v",
                "clientIp":"1.2.3.4","reqId":"R","operation":"PutObject","x:user":42}"#,
        );
        assert_eq!(from_json, expected);
    }

    #[test]
    fn no_value_is_no_variable() {
        let documented = SYSTEM_VARIABLES.iter().filter(|name| **name != "imageInfo");
        let names = documented.copied().collect::<Vec<_>>().join("=&");
        assert_eq!(
            form(&format!("{names}=&height=&width=&format=")),
            CallbackVars::default()
        );
        assert_eq!(form(""), CallbackVars::default());
        assert_eq!(
            json(r#"{"imageInfo":null,"size":,"bucket":""}"#),
            CallbackVars::default()
        );
    }

    #[test]
    fn the_sample_templates_names_count_where_the_documented_are_absent() {
        let vars = form("height=278&width=200&format=jpg");
        assert_eq!(
            (vars.image_height, vars.image_width),
            (Some(278), Some(200))
        );
        assert_eq!(vars.image_format.as_deref(), Some("jpg"));
        assert!(vars.custom.is_empty());

        let vars = form("height=tall&width=1&imageInfo.width=2&format=&filename=a");
        assert_eq!((vars.image_height, vars.image_width), (None, Some(2)));
        assert_eq!(
            custom(&vars),
            [("filename", "a"), ("height", "tall"), ("width", "1")]
        );
    }

    #[test]
    fn custom_variables_are_text() {
        let vars = json(r#"{"a":"x","b":-7,"c":1.5,"d":true,"e":null,"f":{"g":1},"h":[1]}"#);
        assert_eq!(
            custom(&vars),
            [("a", "x"), ("b", "-7"), ("c", "1.5"), ("d", "true")]
        );
    }

    #[test]
    fn a_custom_number_is_the_text_that_guards_read() {
        for number in ["1.50", "1e2", "-0", "1e400", "0.10000000000000000555"] {
            let body = format!(r#"{{"n":{number}}}"#);
            assert_eq!(custom(&json(&body)), [("n", number)]);
            assert_eq!(
                parsed(BodyKind::Json, &body).unwrap().get("n"),
                Some(number)
            );
        }
    }

    #[test]
    fn they_can_be_read_from_other_formats_too() {
        let vars: CallbackVars =
            serde_json::from_str(r#"{"size":7,"a":1.5,"b":true,"c":null,"d":[1],"e":"x"}"#)
                .unwrap();
        assert_eq!(vars.size, Some(7));
        assert_eq!(custom(&vars), [("a", "1.5"), ("b", "true"), ("e", "x")]);
        // As serde_json shows a number with its feature `arbitrary_precision`, with which it keeps more
        // digits than any type.
        let number = r#"{"size":{"$serde_json::private::Number":"7"},
            "a":{"$serde_json::private::Number":"1.50"},"b":{"c":"d"},"e":{}}"#;
        let vars: CallbackVars = serde_json::from_str(number).unwrap();
        assert_eq!(vars.size, Some(7));
        assert_eq!(custom(&vars), [("a", "1.50")]);
    }

    #[test]
    fn an_error_names_the_variable() {
        let refused = parsed(BodyKind::Form, "bucket=b&size=big")
            .unwrap()
            .decode::<CallbackVars>()
            .unwrap_err();
        assert!(refused.source().unwrap().to_string().contains("`size`"));
    }
}
