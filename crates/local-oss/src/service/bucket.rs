//! What SDKs need to know of a bucket.

use std::time::SystemTime;

use axum::response::Response;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::StatusCode;

use super::{Context, xml_response};
use crate::{
    error::OssError,
    store::{Listed, Listing},
    xml::Xml,
};

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
                self.describe_bucket(xml, bucket, created);
                owner(xml);
                access(xml);
            });
        });
        Ok(xml_response(xml.into_string()))
    }

    fn describe_bucket(&self, xml: &mut Xml, name: &str, created: SystemTime) {
        xml.text("CreationDate", &crate::time::iso8601(created));
        xml.text("ExtranetEndpoint", &self.host);
        xml.text("IntranetEndpoint", &self.host);
        xml.text("Location", LOCATION);
        xml.text("StorageClass", "Standard");
        xml.text("Name", name);
    }

    /// The first Go SDK tells by it whether a bucket exists.
    pub(super) fn list_buckets(&self) -> Result<Response, OssError> {
        let (prefix, marker) = (self.parameter("prefix"), self.parameter("marker"));
        let max = self.max_keys()?;
        let mut buckets = self.shared.store.buckets(prefix, marker, max + 1);
        let is_truncated = buckets.len() > max;
        buckets.truncate(max);
        let mut xml = Xml::document();
        xml.element("ListAllMyBucketsResult", |xml| {
            owner(xml);
            xml.text("Prefix", prefix);
            xml.text("Marker", marker);
            xml.text("MaxKeys", &max.to_string());
            xml.text("IsTruncated", if is_truncated { "true" } else { "false" });
            if let (true, Some((last, _))) = (is_truncated, buckets.last()) {
                xml.text("NextMarker", last);
            }
            xml.element("Buckets", |xml| {
                for (name, created) in &buckets {
                    xml.element("Bucket", |xml| self.describe_bucket(xml, name, *created));
                }
            });
        });
        Ok(xml_response(xml.into_string()))
    }

    /// Most SDKs tell by it whether a bucket exists.
    pub(super) fn bucket_acl(&self, bucket: &str) -> Result<Response, OssError> {
        self.shared.store.bucket_created(bucket)?;
        let mut xml = Xml::document();
        xml.element("AccessControlPolicy", |xml| {
            owner(xml);
            access(xml);
        });
        Ok(xml_response(xml.into_string()))
    }

    pub(super) fn bucket_location(&self, bucket: &str) -> Result<Response, OssError> {
        self.shared.store.bucket_created(bucket)?;
        let mut xml = Xml::document();
        xml.text("LocationConstraint", LOCATION);
        Ok(xml_response(xml.into_string()))
    }

    /// The first listing, which is the only one of some SDKs: pages begin after a marker.
    pub(super) fn list_objects(&self, bucket: &str) -> Result<Response, OssError> {
        let marker = self.parameter("marker");
        let listing = self.listing(marker)?;
        let listed = self.shared.store.list(bucket, &listing)?;
        let xml = self.listed(bucket, &listing, &listed, true, |xml| {
            xml.text("Marker", &self.encoded(marker));
            if let Some(next) = &listed.next {
                xml.text("NextMarker", &self.encoded(next));
            }
        });
        Ok(xml_response(xml))
    }

    pub(super) fn list_objects_v2(&self, bucket: &str) -> Result<Response, OssError> {
        let token = self.parameter("continuation-token");
        let after_token = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| invalid("continuation-token"))?;
        let start_after = self.parameter("start-after");
        let listing = self.listing(if token.is_empty() {
            start_after
        } else {
            &after_token
        })?;
        let listed = self.shared.store.list(bucket, &listing)?;
        let with_owner = self.parameter("fetch-owner") == "true";
        let xml = self.listed(bucket, &listing, &listed, with_owner, |xml| {
            xml.text("StartAfter", &self.encoded(start_after));
            xml.text("ContinuationToken", token);
            let count = listed.objects.len() + listed.common_prefixes.len();
            xml.text("KeyCount", &count.to_string());
            if let Some(next) = &listed.next {
                xml.text(
                    "NextContinuationToken",
                    &BASE64_URL_SAFE_NO_PAD.encode(next),
                );
            }
        });
        Ok(xml_response(xml))
    }

    fn parameter(&self, name: &str) -> &str {
        self.query.get(name).unwrap_or_default()
    }

    fn max_keys(&self) -> Result<usize, OssError> {
        match self.query.get("max-keys") {
            Some(text) => text
                .parse()
                .ok()
                .filter(|max| (1..=1000).contains(max))
                .ok_or_else(|| invalid("max-keys")),
            None => Ok(100),
        }
    }

    /// What both listings of objects ask for.
    fn listing<'a>(&'a self, after: &'a str) -> Result<Listing<'a>, OssError> {
        Ok(Listing {
            prefix: self.parameter("prefix"),
            delimiter: self.parameter("delimiter"),
            after,
            max: self.max_keys()?,
        })
    }

    /// What both listings of objects answer; `page` writes what they say of pages.
    fn listed(
        &self,
        bucket: &str,
        listing: &Listing<'_>,
        listed: &Listed,
        with_owner: bool,
        page: impl FnOnce(&mut Xml),
    ) -> String {
        let mut xml = Xml::document();
        xml.element("ListBucketResult", |xml| {
            xml.text("Name", bucket);
            self.encoding_type(xml);
            xml.text("Prefix", &self.encoded(listing.prefix));
            xml.text("Delimiter", &self.encoded(listing.delimiter));
            xml.text("MaxKeys", &listing.max.to_string());
            let is_truncated = listed.next.is_some();
            xml.text("IsTruncated", if is_truncated { "true" } else { "false" });
            page(xml);
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
                    if with_owner {
                        owner(xml);
                    }
                });
            }
            for prefix in &listed.common_prefixes {
                xml.element("CommonPrefixes", |xml| {
                    xml.text("Prefix", &self.encoded(prefix))
                });
            }
        });
        xml.into_string()
    }
}

fn owner(xml: &mut Xml) {
    xml.element("Owner", |xml| {
        xml.text("ID", OWNER);
        xml.text("DisplayName", OWNER);
    });
}

fn access(xml: &mut Xml) {
    xml.element("AccessControlList", |xml| xml.text("Grant", "private"));
}

fn invalid(name: &str) -> OssError {
    OssError::invalid_argument(format!("{name} is invalid.")).with("ArgumentName", name)
}

const LOCATION: &str = "oss-local";

const OWNER: &str = "1000000000000001";
