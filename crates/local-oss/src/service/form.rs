//! PostObject: a form from a browser.
//!
//! 1. Fields come before the file; what comes after it is ignored.
//! 2. The policy is judged, and the callback planned, before the first byte of the file is taken.
//! 3. Names of fields are compared without regard to case, the callback's like the policy's: else a
//!    `Callback` would meet the policy's condition and call nobody.
//! 4. The type is that of `x-oss-content-type`, else of the file, else of the field `Content-Type`.
//! 5. The bucket is that of the address, else the one that the policy demands.
//! 6. A field occurs once, whatever the case of its name, and the callback is in the form alone, if it is
//!    there: the policy is to judge the values that count.
//! 7. The parser buffers everything that it has not returned yet. So it is fed one frame at a time, at
//!    most [`MAX_AHEAD`] bytes ahead; fields are bounded in size and number, and all forms together by
//!    [`Pending`].

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{self, Poll, ready},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use multer::{Field, Multipart};
use oss_callback::upload::{CALLBACK_HEADER, CALLBACK_VAR_HEADER, CallbackParams};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    Context, ObjectName,
    put::{
        Finished, Incoming, check_content_type, check_metadata, describe, forbids_overwrite,
        insert, is_kept, post_response,
    },
    xml_response,
};
use crate::{
    address::{check_bucket_name, check_key},
    arriving::Arriving,
    auth::policy::{self, Demand, Fields},
    callback::Plan,
    error::OssError,
    ingest::{self, Ingest, MAX_OBJECT, Received},
    pending::{Held, Pending},
    store::ObjectMeta,
};

impl Context {
    pub(super) async fn post_object(
        &self,
        bucket: Option<String>,
        body: Body,
    ) -> Result<Response, OssError> {
        let mut form = Form::of(self.header("content-type"), body, &self.shared.pending)?;
        let result = self.post(bucket, &mut form).await;
        form.drain().await;
        result
    }

    async fn post(&self, bucket: Option<String>, form: &mut Form) -> Result<Response, OssError> {
        let (fields, file) = form.fields().await?;
        let bucket = match bucket {
            Some(bucket) => bucket,
            None => bucket_of_policy(&fields)?,
        };
        let prepared = self.prepare_post(bucket, &fields, &file).await?;
        let received = self.receive_file(&prepared.demand, file, form).await?;
        let incoming = Incoming {
            name: prepared.name.clone(),
            operation: "PostObject",
            meta: ObjectMeta {
                ..self.meta(&received, prepared.content_type, prepared.headers)
            },
            content: received.content,
            forbid_overwrite: forbids_overwrite(fields.get("x-oss-forbid-overwrite")),
            plan: prepared.plan,
        };
        let finished = self.finish(incoming).await?;
        let meta = finished.meta.clone();
        let mut response = self.posted(&fields, &prepared.name, finished);
        describe(response.headers_mut(), &meta);
        Ok(response)
    }

    async fn prepare_post(
        &self,
        bucket: String,
        fields: &FormFields,
        file: &File,
    ) -> Result<Prepared, OssError> {
        let demand = policy::judge(&self.shared.config, fields, &bucket, self.now)?;
        let key = fields
            .get("key")
            .ok_or_else(|| OssError::invalid_argument("The form has no key."))?
            .replace("${filename}", &file.name);
        check_key(&key)?;
        self.writable_bucket(&bucket)?;
        self.check_place_of_callback(fields)?;
        let params = CallbackParams::from_form_fields(fields.of_callback());
        let plan = Plan::of(&self.shared.config, params, &self.parts.headers).await?;
        let headers = fields
            .0
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            // A line break would inject a header into answers.
            .filter(|(name, value)| is_kept(name) && HeaderValue::from_str(value).is_ok())
            .collect();
        Ok(Prepared {
            demand,
            name: ObjectName { bucket, key },
            plan,
            content_type: check_content_type(
                fields
                    .get("x-oss-content-type")
                    .or(file.content_type.as_deref())
                    .or_else(|| fields.get("content-type")),
            )?,
            headers: check_metadata(headers)?,
        })
    }

    /// Parameters of a form are its fields alone: others are ignored, unless the form has some as well.
    fn check_place_of_callback(&self, fields: &FormFields) -> Result<(), OssError> {
        let headers = &self.parts.headers;
        let is_elsewhere = headers.contains_key(CALLBACK_HEADER)
            || headers.contains_key(CALLBACK_VAR_HEADER)
            || self.query.has("callback")
            || self.query.has("callback-var");
        if is_elsewhere && fields.get("callback").is_some() {
            return Err(OssError::invalid_argument(
                "The callback is in the form, and in the headers or the query: send it in one place.",
            )
            .with("ArgumentName", "callback"));
        }
        Ok(())
    }

    async fn receive_file(
        &self,
        demand: &Demand,
        mut file: File,
        form: &Form,
    ) -> Result<Received, OssError> {
        let limit = MAX_OBJECT.min(*demand.size.end());
        let mut ingest = Ingest::begin(&self.shared.store, limit).await?;
        while let Some(chunk) = form.chunk(&mut file.field).await? {
            ingest.write(&chunk).await?;
        }
        let received = ingest.finish().await?;
        if received.size < *demand.size.start() {
            return Err(OssError::bad_request(
                "EntityTooSmall",
                "Your proposed upload smaller than the minimum allowed size.",
            )
            .with("MinSizeAllowed", demand.size.start().to_string()));
        }
        Ok(received)
    }

    /// The answer. A callback's takes precedence over `success_action_status` and `_redirect`.
    fn posted(&self, fields: &FormFields, name: &ObjectName, finished: Finished) -> Response {
        if let Some(response) = finished.callback {
            return response;
        }
        if let Some(url) = fields.get("success_action_redirect") {
            let mut response = super::empty(StatusCode::SEE_OTHER);
            let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
            let separator = if url.contains('?') { '&' } else { '?' };
            let location = format!(
                "{url}{separator}bucket={}&key={}&etag={}",
                name.bucket,
                encode(&name.key),
                encode(&format!("\"{}\"", finished.meta.etag))
            );
            if HeaderValue::from_str(&location).is_ok() {
                insert(response.headers_mut(), header::LOCATION.as_str(), &location);
                return response;
            }
        }
        match fields.get("success_action_status") {
            Some("200") => super::empty(StatusCode::OK),
            Some("201") => {
                let mut response = xml_response(post_response(&self.host, name, &finished.meta));
                *response.status_mut() = StatusCode::CREATED;
                response
            }
            _ => super::empty(StatusCode::NO_CONTENT),
        }
    }
}

/// The bucket of a form that is posted to none, such as to a bare `127.0.0.1:9000`.
fn bucket_of_policy(fields: &FormFields) -> Result<String, OssError> {
    let bucket = policy::bucket(fields)?.ok_or_else(|| {
        OssError::invalid_argument(
            "The form is posted to no bucket, and its policy has no condition on one.",
        )
    })?;
    check_bucket_name(&bucket)?;
    Ok(bucket)
}

/// What is known before the file is taken.
struct Prepared {
    demand: Demand,
    name: ObjectName,
    plan: Option<Plan>,
    content_type: String,
    headers: Vec<(String, String)>,
}

/// The fields before the file, in their order.
struct FormFields(Vec<(String, String)>);

impl Fields for FormFields {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value.as_str()))
    }
}

impl FormFields {
    /// The callback's own names in the spelling that they are documented in.
    fn of_callback(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| {
            let known = ["callback", "callback-var"]
                .into_iter()
                .find(|known| known.eq_ignore_ascii_case(name));
            (known.unwrap_or(name), value.as_str())
        })
    }
}

struct File {
    name: String,
    content_type: Option<String>,
    field: Field<'static>,
}

/// A form as it comes in.
struct Form {
    parser: Multipart<'static>,
    body: Shared,
    /// Bytes of fields that the parser has returned.
    consumed: Arc<AtomicU64>,
    /// Those of them that are in memory: all but the file's.
    kept: Arc<AtomicU64>,
}

impl Form {
    fn of(content_type: Option<&str>, body: Body, pending: &Pending) -> Result<Self, OssError> {
        let boundary = content_type
            .and_then(boundary)
            .filter(|boundary| (1..=70).contains(&boundary.len()))
            .ok_or_else(malformed)?;
        let consumed = Arc::new(AtomicU64::new(0));
        let kept = Arc::new(AtomicU64::new(0));
        let body = Arc::new(Mutex::new(Some(Arriving::new(body))));
        let frames = Paced {
            body: body.clone(),
            has_given: false,
            given: 0,
            consumed: consumed.clone(),
            kept: kept.clone(),
            held: pending.begin(),
        };
        Ok(Self {
            parser: Multipart::new(frames, boundary),
            body,
            consumed,
            kept,
        })
    }

    /// The fields up to the file, and the file's own beginning.
    async fn fields(&mut self) -> Result<(FormFields, File), OssError> {
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut names = 0;
        loop {
            let next = self.parser.next_field().await;
            let Some(mut field) = next.map_err(|error| refusal(&error))? else {
                return Err(OssError::bad_request(
                    "IncorrectNumberOfFilesInPOSTRequest",
                    "POST requires exactly one file upload per request.",
                ));
            };
            let name = field.name().unwrap_or_default().to_owned();
            if name.eq_ignore_ascii_case("file") {
                let file = File {
                    name: field.file_name().unwrap_or_default().to_owned(),
                    // As it was sent: a parsed one is spelled anew.
                    content_type: field
                        .headers()
                        .get(header::CONTENT_TYPE)
                        .and_then(|value| value.to_str().ok())
                        .map(str::to_owned),
                    field,
                };
                return Ok((FormFields(fields), file));
            }
            names += name.len();
            if names > MAX_NAMES || fields.len() >= MAX_COUNT {
                return Err(too_long());
            }
            if fields
                .iter()
                .any(|(known, _)| known.eq_ignore_ascii_case(&name))
            {
                return Err(OssError::invalid_argument(
                    "A field of the form occurs more than once.",
                )
                .with("ArgumentName", name));
            }
            let mut value = Vec::new();
            while let Some(chunk) = self.chunk(&mut field).await? {
                value.extend_from_slice(&chunk);
                self.kept.fetch_add(chunk.len() as u64, Ordering::Relaxed);
                if value.len() > MAX_VALUE {
                    return Err(too_long());
                }
            }
            let value = String::from_utf8(value).map_err(|_| malformed())?;
            fields.push((name, value));
        }
    }

    async fn chunk(&self, field: &mut Field<'static>) -> Result<Option<Bytes>, OssError> {
        let chunk = field.chunk().await.map_err(|error| refusal(&error))?;
        if let Some(chunk) = &chunk {
            self.consumed
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
        }
        Ok(chunk)
    }

    /// Reads on after the file or a refusal, without the parser, which may have given up.
    async fn drain(self) {
        let body = lock(&self.body).take();
        if let Some(body) = body {
            ingest::drain(body.into_frames()).await;
        }
    }
}

/// A body that the parser reads until it is taken away.
type Shared = Arc<Mutex<Option<Arriving>>>;

fn lock(body: &Shared) -> MutexGuard<'_, Option<Arriving>> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Yields one frame per poll of the parser, and fails if the parser buffers too much.
struct Paced {
    body: Shared,
    has_given: bool,
    given: u64,
    consumed: Arc<AtomicU64>,
    kept: Arc<AtomicU64>,
    held: Held,
}

impl Stream for Paced {
    type Item = Result<Bytes, PacedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        // The parser buffers until the stream is pending.
        if std::mem::take(&mut self.has_given) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let consumed = self.consumed.load(Ordering::Relaxed);
        let ahead = self.given.saturating_sub(consumed);
        if ahead > MAX_AHEAD {
            return Poll::Ready(Some(Err(PacedError::Ahead)));
        }
        let in_memory = ahead + self.kept.load(Ordering::Relaxed);
        if let Err(error) = self.held.resize(in_memory) {
            return Poll::Ready(Some(Err(PacedError::Body(error))));
        }
        let next = match lock(&self.body).as_mut() {
            Some(body) => ready!(body.poll_next_unpin(cx)),
            None => None,
        };
        if let Some(Ok(frame)) = &next {
            self.given += frame.len() as u64;
            self.has_given = true;
        }
        Poll::Ready(next.map(|frame| frame.map_err(PacedError::Body)))
    }
}

#[derive(Debug, thiserror::Error)]
enum PacedError {
    #[error("a part's headers, or what stands between parts, is too long")]
    Ahead,
    #[error("the body did not arrive")]
    Body(OssError),
}

/// Whether a `Content-Type` is that of a form.
pub(super) fn is_form(content_type: &str) -> bool {
    let media_type = content_type.split(';').next().unwrap_or_default();
    media_type
        .trim()
        .eq_ignore_ascii_case("multipart/form-data")
}

/// The boundary of a `Content-Type`. Without quotes it may have the characters that need them, as in
/// `boundary=----=_Part_1`, which Java's mail classes made common.
fn boundary(content_type: &str) -> Option<&str> {
    let (media_type, mut rest) = content_type.split_once(';')?;
    if !is_form(media_type) {
        return None;
    }
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (value, later) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => {
                let end = after.find(';').unwrap_or(after.len());
                (after[..end].trim_end(), &after[end..])
            }
        };
        if name
            .trim_matches([' ', '\t', ';'])
            .eq_ignore_ascii_case("boundary")
        {
            return Some(value);
        }
        rest = later;
    }
}

fn refusal(error: &multer::Error) -> OssError {
    match error {
        multer::Error::StreamReadFailed(cause) => match cause.downcast_ref() {
            Some(PacedError::Body(error)) => error.clone(),
            _ => too_long(),
        },
        _ => malformed(),
    }
}

fn malformed() -> OssError {
    OssError::bad_request(
        "MalformedPOSTRequest",
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

fn too_long() -> OssError {
    OssError::bad_request(
        "FieldItemTooLong",
        "Your post field items exceeds the maximum allowed size.",
    )
}

/// The service's bound for the names of all fields.
const MAX_NAMES: usize = 8 << 10;

/// The service's bound for a value.
const MAX_VALUE: usize = 2 << 20;

const MAX_COUNT: usize = 1_000;

/// Frames are at most 64 KiB, and headers and boundaries are never handed out: this is for those of
/// [`MAX_COUNT`] fields.
const MAX_AHEAD: u64 = 1 << 20;

/// Fields and file.
#[cfg(any(fuzzing, test))]
pub(crate) type Read = (Vec<(String, String)>, Vec<u8>);

/// Reads a form with the boundary `b` that arrives in pieces, or says the code of its refusal.
#[cfg(any(fuzzing, test))]
pub(crate) fn read_pieces(pieces: Vec<Bytes>) -> Result<Read, &'static str> {
    let pieces = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let read = async {
        let content_type = Some("multipart/form-data; boundary=b");
        let mut form = Form::of(content_type, Body::from_stream(pieces), &Pending::default())?;
        let (fields, mut file) = form.fields().await?;
        let mut content = Vec::new();
        while let Some(chunk) = form.chunk(&mut file.field).await? {
            content.extend_from_slice(&chunk);
        }
        Ok((fields.0, content))
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap_or_else(|error| unreachable!("it needs no I/O: {error}"))
        .block_on(read)
        .map_err(|error: OssError| error.code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fields and the file of a form that arrives in these pieces.
    fn read(body: &[u8], cuts: &[usize]) -> Result<Read, &'static str> {
        let mut pieces = Vec::new();
        let mut rest = body;
        for cut in cuts {
            let (piece, later) = rest.split_at((*cut).min(rest.len()));
            pieces.push(Bytes::copy_from_slice(piece));
            rest = later;
        }
        pieces.push(Bytes::copy_from_slice(rest));
        read_pieces(pieces)
    }

    fn written(fields: &[(String, String)], file: &[u8]) -> Vec<u8> {
        let mut body = Vec::new();
        for (name, value) in fields {
            body.extend_from_slice(
                format!(
                    "--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                )
                .as_bytes(),
            );
        }
        body.extend_from_slice(b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n");
        body.extend_from_slice(file);
        body.extend_from_slice(b"\r\n--b--\r\n");
        body
    }

    #[test]
    fn each_spelling_of_the_boundary_is_read() {
        for (content_type, expected) in [
            ("multipart/form-data; boundary=b", Some("b")),
            ("Multipart/Form-Data;Boundary=b ", Some("b")),
            ("multipart/form-data; boundary=b; charset=UTF-8", Some("b")),
            ("multipart/form-data; charset=utf-8; boundary=b", Some("b")),
            (
                "multipart/form-data; charset=\"a;b\"; boundary=\"b c\"",
                Some("b c"),
            ),
            (
                "multipart/form-data; boundary=----=_Part_0_1.2",
                Some("----=_Part_0_1.2"),
            ),
            (
                "multipart/form-data; boundary=\"a:b/c'()+_,-./?=\"",
                Some("a:b/c'()+_,-./?="),
            ),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary", None),
            ("multipart/form-data; boundary=\"b", None),
            ("multipart/mixed; boundary=b", None),
            ("multipart/form-data-x; boundary=b", None),
        ] {
            assert_eq!(boundary(content_type), expected, "{content_type}");
        }
    }

    proptest! {
        #[test]
        fn a_form_is_read_however_it_arrives(
            fields in proptest::collection::btree_map("[a-eg-z:-]{1,8}", "[a-z示\r\n -]{0,20}", 0..5),
            file in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), any::<u8>()], 0..60),
            cuts in proptest::collection::vec(0usize..30, 0..20),
        ) {
            let fields: Vec<(String, String)> = fields.into_iter().collect();
            let is_cut = |text: &[u8]| text.windows(5).any(|five| five == b"\r\n--b");
            prop_assume!(!is_cut(&file) && fields.iter().all(|(_, value)| !is_cut(value.as_bytes())));
            let body = written(&fields, &file);
            let whole = read(&body, &[]);
            prop_assert_eq!(&whole, &read(&body, &cuts));
            prop_assert_eq!(whole, Ok((fields, file)));
        }

        #[test]
        fn a_boundary_is_a_part_of_its_header(
            text in "(multipart/form-data|;| |\t|=|\"|boundary|charset|b|示|.){0,12}",
        ) {
            let whole = format!("multipart/form-data;{text}");
            for text in [&text, &whole] {
                let found = boundary(text);
                prop_assert!(found.is_none_or(|found| text.contains(found)));
            }
        }

        #[test]
        fn what_is_broken_is_refused_without_a_panic(
            fields in proptest::collection::vec(("[a-z]{1,8}", "[ -~]{0,20}"), 0..4),
            at in any::<proptest::sample::Index>(),
            instead in proptest::collection::vec(any::<u8>(), 0..4),
            cuts in proptest::collection::vec(0usize..30, 0..20),
        ) {
            let mut body = written(&fields, b"hello");
            let at = at.index(body.len());
            let end = (at + instead.len()).min(body.len());
            body.splice(at..end, instead);
            let _ = read(&body, &cuts);
            let _ = read(&body[..at], &cuts);
        }
    }
}
