//! Receives bodies into the store: computes checksums, enforces bounds.

use std::{io, sync::Arc, time::Duration};

use axum::body::{Body, BodyDataStream};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use futures_util::StreamExt;
use http::{HeaderMap, header};
use md5::{Digest, Md5};

use crate::{
    arriving::Arriving,
    error::OssError,
    pending::Pending,
    store::{Content, Staging, Store},
};

/// A body that was received as a whole.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) content: Content,
    pub(crate) size: u64,
    pub(crate) md5: [u8; 16],
    pub(crate) crc64: u64,
}

impl Received {
    /// The ETag of an upload in one piece: the MD5 in upper-case hex.
    pub(crate) fn etag(&self) -> String {
        hex(&self.md5)
    }

    pub(crate) fn content_md5(&self) -> String {
        BASE64_STANDARD.encode(self.md5)
    }
}

/// Writes to the store while it computes MD5 and CRC-64.
pub(crate) struct Ingest {
    staging: Staging,
    md5: Md5,
    crc64: crc64fast::Digest,
    size: u64,
    limit: u64,
}

impl Ingest {
    pub(crate) async fn begin(store: &Store, limit: u64) -> Result<Self, OssError> {
        Ok(Self {
            staging: store.stage().await?,
            md5: Md5::new(),
            crc64: crc64fast::Digest::new(),
            size: 0,
            limit,
        })
    }

    pub(crate) async fn write(&mut self, chunk: &Bytes) -> Result<(), OssError> {
        self.size += chunk.len() as u64;
        if self.size > self.limit {
            return Err(OssError::too_large(self.limit));
        }
        self.md5.update(chunk);
        self.crc64.write(chunk);
        self.staging.write(chunk).await
    }

    pub(crate) async fn finish(self) -> Result<Received, OssError> {
        Ok(Received {
            content: self.staging.finish().await?,
            size: self.size,
            md5: self.md5.finalize().into(),
            crc64: self.crc64.sum64(),
        })
    }
}

/// Receives the body of an object or a part.
///
/// # Errors
/// `MissingContentLength` if no header says that there is a body, `EntityTooLarge` beyond the
/// service's 5 GB, unread where the length is declared; `InvalidDigest` if it is not what
/// `Content-MD5` says; `RequestTimeout` if it arrives too slowly.
pub(crate) async fn receive(
    store: &Store,
    headers: &HeaderMap,
    body: Body,
) -> Result<Received, OssError> {
    let mut body = Arriving::new(body);
    let result = receive_pieces(store, headers, &mut body).await;
    drained_unless_ok(result, headers, body).await
}

/// Reads on after a refusal, unless the client waits for `100 Continue`: see [`drain`].
async fn drained_unless_ok<T>(
    result: Result<T, OssError>,
    headers: &HeaderMap,
    body: Arriving,
) -> Result<T, OssError> {
    if result.is_err() && !headers.contains_key(header::EXPECT) {
        drain(body.into_frames()).await;
    }
    result
}

async fn receive_pieces(
    store: &Store,
    headers: &HeaderMap,
    body: &mut Arriving,
) -> Result<Received, OssError> {
    if declared_length(headers)?.is_some_and(|len| len > MAX_OBJECT) {
        return Err(OssError::too_large(MAX_OBJECT));
    }
    let expected = expected_md5(headers)?;
    let mut ingest = Ingest::begin(store, MAX_OBJECT).await?;
    while let Some(chunk) = body.next().await {
        ingest.write(&chunk?).await?;
    }
    let received = ingest.finish().await?;
    check_md5(expected, received.md5)?;
    Ok(received)
}

/// Reads a small body into memory.
///
/// # Errors
/// `EntityTooLarge` beyond `limit`, `InvalidDigest` if it is not what `Content-MD5` says.
pub(crate) async fn read_small(
    pending: &Pending,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
) -> Result<Vec<u8>, OssError> {
    let mut body = Arriving::new(body);
    let result = read_pieces(pending, headers, &mut body, limit).await;
    drained_unless_ok(result, headers, body).await
}

async fn read_pieces(
    pending: &Pending,
    headers: &HeaderMap,
    body: &mut Arriving,
    limit: usize,
) -> Result<Vec<u8>, OssError> {
    let expected = expected_md5(headers)?;
    let mut read = Vec::new();
    let mut held = pending.begin();
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if read.len() + chunk.len() > limit {
            return Err(OssError::too_large(limit as u64));
        }
        held.resize((read.len() + chunk.len()) as u64)?;
        read.extend_from_slice(&chunk);
    }
    check_md5(expected, Md5::digest(&read).into())?;
    Ok(read)
}

/// Reads on after a refusal: most clients read the answer only after they have sent the whole request,
/// and reading costs no more than an upload that is not refused.
pub(crate) async fn drain(mut frames: BodyDataStream) {
    let drained = async { while let Some(Ok(_)) = frames.next().await {} };
    // If the client sends for longer than that, the connection is closed.
    let _ = tokio::time::timeout(DRAIN_TIME, drained).await;
}

/// The CRC-64 of content that was put together.
pub(crate) async fn crc64(content: &Content) -> Result<u64, OssError> {
    let content = Arc::new(content.clone());
    let computed = tokio::task::spawn_blocking(move || -> io::Result<u64> {
        let mut crc64 = crc64fast::Digest::new();
        content.for_each(|piece| crc64.write(piece))?;
        Ok(crc64.sum64())
    });
    match computed.await {
        Ok(Ok(crc64)) => Ok(crc64),
        Ok(Err(error)) => Err(OssError::internal(&error)),
        Err(error) => Err(OssError::internal(&error)),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// `None` if the body is chunked, even with a `Content-Length` beside it.
fn declared_length(headers: &HeaderMap) -> Result<Option<u64>, OssError> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(None);
    }
    headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Some)
        .ok_or_else(|| {
            OssError::new(
                http::StatusCode::LENGTH_REQUIRED,
                "MissingContentLength",
                "You must provide the Content-Length HTTP header.",
            )
        })
}

/// The MD5 that a client announces.
fn expected_md5(headers: &HeaderMap) -> Result<Option<[u8; 16]>, OssError> {
    let Some(value) = headers.get("content-md5") else {
        return Ok(None);
    };
    BASE64_STANDARD
        .decode(value.as_bytes())
        .ok()
        .and_then(|md5| md5.try_into().ok())
        .map(Some)
        .ok_or_else(|| {
            OssError::bad_request(
                "InvalidDigest",
                "The Content-MD5 you specified was invalid.",
            )
        })
}

fn check_md5(expected: Option<[u8; 16]>, received: [u8; 16]) -> Result<(), OssError> {
    match expected {
        Some(expected) if expected != received => Err(OssError::bad_request(
            "InvalidDigest",
            "The Content-MD5 you specified did not match what we received.",
        )
        .with("ClientComputedContentMD5", BASE64_STANDARD.encode(expected))
        .with("ServerComputedContentMD5", BASE64_STANDARD.encode(received))),
        _ => Ok(()),
    }
}

/// The service's bound for a body in one piece.
pub(crate) const MAX_OBJECT: u64 = 5 << 30;

/// For how long a client may send what is not wanted.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(10);
