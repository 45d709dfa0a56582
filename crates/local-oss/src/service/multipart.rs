//! Multipart uploads. Only the completing request can have a callback. Some SDKs send the callback's
//! headers with the first request as well, or only there; they are ignored.

use axum::{body::Body, response::Response};
use http::StatusCode;
use md5::{Digest, Md5};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Context, ObjectName,
    put::{Incoming, content_type, describe, forbids_overwrite, insert, kept_headers},
    xml_response,
};
use crate::{
    callback::Plan,
    error::OssError,
    ingest::{self, hex},
    part_list::{ListedPart, read_parts},
    store::{ObjectMeta, Part, Target, Upload},
    xml::Xml,
};

impl Context {
    pub(super) fn initiate_upload(&self, name: ObjectName) -> Result<Response, OssError> {
        self.writable_bucket(&name.bucket)?;
        let headers = &self.parts.headers;
        let upload = Upload::new(
            name.bucket.clone(),
            name.key.clone(),
            content_type(headers)?,
            kept_headers(headers)?,
        );
        // Request ids are unique, which is all that an upload id needs to be here.
        let id = self.id.as_str();
        self.shared.store.begin_upload(id, upload)?;

        let mut xml = Xml::document();
        xml.element("InitiateMultipartUploadResult", |xml| {
            self.encoding_type(xml);
            xml.text("Bucket", &name.bucket);
            xml.text("Key", &self.encoded(&name.key));
            xml.text("UploadId", id);
        });
        Ok(xml_response(xml.into_string()))
    }

    pub(super) async fn upload_part(
        &self,
        name: ObjectName,
        upload_id: &str,
        number: u32,
        body: Body,
    ) -> Result<Response, OssError> {
        let id = match self.resolve(&name, upload_id) {
            Ok(id) => id,
            Err(error) => {
                self.discard(body).await;
                return Err(error);
            }
        };
        let received = ingest::receive(&self.shared.store, &self.parts.headers, body).await?;
        let mut response = super::empty(StatusCode::OK);
        let headers = response.headers_mut();
        insert(headers, "etag", &format!("\"{}\"", received.etag()));
        insert(headers, "content-md5", &received.content_md5());
        insert(headers, "x-oss-hash-crc64ecma", &received.crc64.to_string());
        let part = Part {
            size: received.size,
            etag: received.etag(),
            md5: received.md5,
            crc64: received.crc64,
            modified: self.now,
            content: received.content,
        };
        self.shared.store.put_part(&id, number, part)?;
        Ok(response)
    }

    pub(super) async fn complete_upload(
        &self,
        name: ObjectName,
        upload_id: &str,
        body: Body,
    ) -> Result<Response, OssError> {
        let (id, plan) = match self.prepare_completion(&name, upload_id).await {
            Ok(prepared) => prepared,
            Err(error) => {
                self.discard(body).await;
                return Err(error);
            }
        };
        let pending = &self.shared.pending;
        let body = ingest::read_small(pending, &self.parts.headers, body, MAX_LIST).await?;
        let store = &self.shared.store;
        let listed = if self
            .header("x-oss-complete-all")
            .is_some_and(|value| value == "yes")
        {
            all_of(store.parts(&id)?.parts)
        } else {
            read_parts(&body)?
        };
        let parts = store.choose_parts(&id, &listed)?;

        let mut md5 = Md5::new();
        for part in &parts {
            md5.update(part.md5);
        }
        let etag = format!("{}-{}", hex(&md5.finalize()), parts.len());
        let size = parts.iter().map(|part| part.size).sum();
        let contents = parts.into_iter().map(|part| part.content).collect();
        let content = store.assemble(&id, contents).await?;
        let crc64 = ingest::crc64(&content).await?;
        let forbid_overwrite = forbids_overwrite(self.header("x-oss-forbid-overwrite"));
        // Checked before the upload ends, so that it can still be completed or aborted.
        store.check_commit(Target {
            bucket: &name.bucket,
            key: &name.key,
            forbid_overwrite,
        })?;
        // Of two concurrent completions, the second one fails here.
        let upload = store.end_upload(&id)?;

        let incoming = Incoming {
            name: ObjectName {
                bucket: upload.bucket,
                key: upload.key,
            },
            operation: "CompleteMultipartUpload",
            content,
            meta: ObjectMeta {
                size,
                etag,
                crc64,
                content_md5: None,
                content_type: upload.content_type,
                headers: upload.headers,
                modified: self.now,
            },
            forbid_overwrite,
            plan,
        };
        let finished = self.finish(incoming).await?;
        let mut response = match finished.callback {
            Some(response) => response,
            None => xml_response(self.completed(&name, &finished.meta)),
        };
        describe(response.headers_mut(), &finished.meta);
        Ok(response)
    }

    async fn prepare_completion(
        &self,
        name: &ObjectName,
        upload_id: &str,
    ) -> Result<(String, Option<Plan>), OssError> {
        let id = self.resolve(name, upload_id)?;
        Ok((id, self.planned().await?))
    }

    pub(super) fn abort_upload(
        &self,
        name: &ObjectName,
        upload_id: &str,
    ) -> Result<Response, OssError> {
        let id = self.resolve(name, upload_id)?;
        self.shared.store.end_upload(&id)?;
        Ok(super::empty(StatusCode::NO_CONTENT))
    }

    pub(super) fn list_parts(
        &self,
        name: &ObjectName,
        upload_id: &str,
    ) -> Result<Response, OssError> {
        let id = self.resolve(name, upload_id)?;
        let listed = self.shared.store.parts(&id)?;
        let number = |parameter: &str| self.query.get(parameter).and_then(|text| text.parse().ok());
        let max: usize = number("max-parts").unwrap_or(1000).clamp(1, 1000);
        let marker: u32 = number("part-number-marker")
            .map_or(0, |marker: usize| u32::try_from(marker).unwrap_or(u32::MAX));
        let mut after = listed.parts.iter().filter(|(number, _)| *number > marker);
        let page: Vec<_> = after.by_ref().take(max).collect();
        let is_truncated = after.next().is_some();

        let mut xml = Xml::document();
        xml.element("ListPartsResult", |xml| {
            self.encoding_type(xml);
            xml.text("Bucket", &listed.bucket);
            xml.text("Key", &self.encoded(&listed.key));
            xml.text("UploadId", upload_id);
            xml.text("PartNumberMarker", &marker.to_string());
            // Also on the last page: the C# SDK fails without it.
            let last = page.last().map_or(marker, |(number, _)| *number);
            xml.text("NextPartNumberMarker", &last.to_string());
            xml.text("MaxParts", &max.to_string());
            xml.text("IsTruncated", if is_truncated { "true" } else { "false" });
            for (number, part) in page {
                xml.element("Part", |xml| {
                    xml.text("PartNumber", &number.to_string());
                    xml.text("LastModified", &crate::time::iso8601(part.modified));
                    xml.text("ETag", &format!("\"{}\"", part.etag));
                    xml.text("HashCrc64ecma", &part.crc64.to_string());
                    xml.text("Size", &part.size.to_string());
                });
            }
        });
        Ok(xml_response(xml.into_string()))
    }

    fn resolve(&self, name: &ObjectName, upload_id: &str) -> Result<String, OssError> {
        self.shared.store.resolve_upload(
            upload_id,
            &name.bucket,
            &name.key,
            self.shared.config.any_date,
        )
    }

    fn completed(&self, name: &ObjectName, meta: &ObjectMeta) -> String {
        let mut xml = Xml::document();
        xml.element("CompleteMultipartUploadResult", |xml| {
            self.encoding_type(xml);
            let location = format!("http://{}{}", self.host, self.parts.uri.path());
            xml.text("Location", &location);
            xml.text("Bucket", &name.bucket);
            xml.text("Key", &self.encoded(&name.key));
            xml.text("ETag", &format!("\"{}\"", meta.etag));
        });
        xml.into_string()
    }

    pub(super) fn encoding_type(&self, xml: &mut Xml) {
        if self.wants_encoding() {
            xml.text("EncodingType", "url");
        }
    }

    /// A name as the client wants it: keys may hold characters that XML cannot.
    pub(super) fn encoded(&self, name: &str) -> String {
        if self.wants_encoding() {
            utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
        } else {
            name.to_owned()
        }
    }

    fn wants_encoding(&self) -> bool {
        self.query.get("encoding-type") == Some("url")
    }
}

fn all_of(parts: Vec<(u32, Part)>) -> Vec<ListedPart> {
    parts
        .into_iter()
        .map(|(number, part)| ListedPart {
            number,
            etag: part.etag,
        })
        .collect()
}

/// 10,000 parts of at most 200 bytes of XML.
const MAX_LIST: usize = 2 << 20;
