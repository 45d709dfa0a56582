//! What SDKs need to know of a bucket.

use axum::response::Response;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;

use super::{Context, xml_response};
use crate::{error::OssError, store::Listing, xml::Xml};

impl Context {
    pub(super) fn create_bucket(&self, bucket: &str) -> Result<Response, OssError> {
        self.shared.store.create_bucket(bucket, self.now)?;
        Ok(super::empty(StatusCode::OK))
    }

    pub(super) fn bucket_info(&self, bucket: &str) -> Result<Response, OssError> {
        let created = self.shared.store.bucket_created(bucket)?;
        let mut xml = Xml::document();
        xml.element("BucketInfo", |xml| {
            xml.element("Bucket", |xml| {
                xml.text("CreationDate", &crate::time::iso8601(created));
                xml.text("ExtranetEndpoint", &self.host);
                xml.text("IntranetEndpoint", &self.host);
                xml.text("Location", LOCATION);
                xml.text("StorageClass", "Standard");
                xml.text("Name", bucket);
                xml.element("Owner", |xml| {
                    xml.text("DisplayName", OWNER);
                    xml.text("ID", OWNER);
                });
                xml.element("AccessControlList", |xml| xml.text("Grant", "private"));
            });
        });
        Ok(xml_response(xml.into_string()))
    }

    pub(super) fn bucket_location(&self, bucket: &str) -> Result<Response, OssError> {
        self.shared.store.bucket_created(bucket)?;
        let mut xml = Xml::document();
        xml.text("LocationConstraint", LOCATION);
        Ok(xml_response(xml.into_string()))
    }

    pub(super) fn list_objects(&self, bucket: &str) -> Result<Response, OssError> {
        let get = |name: &str| self.query.get(name).unwrap_or_default();
        let invalid = |name: &str| {
            OssError::invalid_argument(format!("{name} is invalid.")).with("ArgumentName", name)
        };
        let token = get("continuation-token");
        let after_token = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| invalid("continuation-token"))?;
        let max: usize = match self.query.get("max-keys") {
            Some(text) => text
                .parse()
                .ok()
                .filter(|max| (1..=1000).contains(max))
                .ok_or_else(|| invalid("max-keys"))?,
            None => 100,
        };
        let listing = Listing {
            prefix: get("prefix"),
            delimiter: get("delimiter"),
            after: if token.is_empty() {
                get("start-after")
            } else {
                &after_token
            },
            max,
        };
        let listed = self.shared.store.list(bucket, &listing)?;

        let mut xml = Xml::document();
        xml.element("ListBucketResult", |xml| {
            xml.text("Name", bucket);
            self.encoding_type(xml);
            xml.text("Prefix", &self.encoded(listing.prefix));
            xml.text("Delimiter", &self.encoded(listing.delimiter));
            xml.text("MaxKeys", &max.to_string());
            xml.text("StartAfter", &self.encoded(get("start-after")));
            xml.text("ContinuationToken", token);
            let count = listed.objects.len() + listed.common_prefixes.len();
            xml.text("KeyCount", &count.to_string());
            xml.text(
                "IsTruncated",
                if listed.next.is_some() {
                    "true"
                } else {
                    "false"
                },
            );
            if let Some(next) = &listed.next {
                xml.text(
                    "NextContinuationToken",
                    &BASE64_URL_SAFE_NO_PAD.encode(next),
                );
            }
            for (key, meta) in &listed.objects {
                xml.element("Contents", |xml| {
                    xml.text("Key", &self.encoded(key));
                    xml.text("LastModified", &crate::time::iso8601(meta.modified));
                    xml.text("ETag", &format!("\"{}\"", meta.etag));
                    let kind = if meta.content_md5.is_some() {
                        "Normal"
                    } else {
                        "Multipart"
                    };
                    xml.text("Type", kind);
                    xml.text("Size", &meta.size.to_string());
                    xml.text("StorageClass", "Standard");
                    if get("fetch-owner") == "true" {
                        xml.element("Owner", |xml| {
                            xml.text("ID", OWNER);
                            xml.text("DisplayName", OWNER);
                        });
                    }
                });
            }
            for prefix in &listed.common_prefixes {
                xml.element("CommonPrefixes", |xml| {
                    xml.text("Prefix", &self.encoded(prefix))
                });
            }
        });
        Ok(xml_response(xml.into_string()))
    }
}

const LOCATION: &str = "oss-local";

const OWNER: &str = "1000000000000001";
