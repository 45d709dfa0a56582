//! The search for the text that OSS signed.
//!
//! One change at a time comes first: of the target as a header names it, of the query, of the path,
//! of the body. Then come pairs of them. `Content-MD5` is unsigned and decides nothing, but says
//! where to look first. What was hashed is counted, and the count is bounded.

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use percent_encoding::percent_decode;

use super::{CapturedRequest, Cause, Message, bodies, evidence::content_md5, paths, queries};

/// What a hash costs beside its bytes, in bytes.
const OVERHEAD: usize = 64;

/// The queries and paths that take part in pairs: the likelier ones.
const PAIRED: usize = 150;

/// A text that was found, and the changes that lead from it to the received one.
pub(super) struct Hit {
    pub(super) message: Message,
    pub(super) causes: [Option<Cause>; 2],
}

/// Why a walk over candidates ended: with a hit, or because the budget is spent.
struct End(Option<Hit>);

pub(super) struct Search {
    digest: [u8; 16],
    left: usize,
    exhausted: bool,
    tried: Vec<&'static str>,
}

impl Search {
    pub(super) fn new(digest: [u8; 16], bytes: usize) -> Self {
        Self {
            digest,
            left: bytes,
            exhausted: false,
            tried: Vec::new(),
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    pub(super) fn into_tried(self) -> Vec<&'static str> {
        self.tried
    }

    pub(super) fn run(&mut self, request: &CapturedRequest, received: &Message) -> Option<Hit> {
        let (path, query, body) = (&received.path, &received.query, received.body.as_ref());
        let plain_body = [(None, body.to_vec())];
        if let Some(hit) = self.target(&[None; 2], path, query.as_deref(), body) {
            return Some(hit);
        }
        match content_md5(request) {
            // The body is as it was sent: nothing is won by guessing at it, unless all else fails.
            Some(true) => self
                .targets(request, path, query.as_deref(), &plain_body)
                .or_else(|| self.bodies(request, path, query.as_deref(), body)),
            // The original body is known by its digest, whatever became of the target.
            Some(false) => {
                if let Some(original) = self.body_by_md5(request, body) {
                    let hit = self.target(&[original.0, None], path, query.as_deref(), &original.1);
                    return hit
                        .or_else(|| self.targets(request, path, query.as_deref(), &[original]));
                }
                self.everything(request, path, query.as_deref(), body)
            }
            None => self.everything(request, path, query.as_deref(), body),
        }
    }

    fn everything(
        &mut self,
        request: &CapturedRequest,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Option<Hit> {
        let plain = [(None, body.to_vec())];
        self.likely_targets(request, path, query, &plain)
            .or_else(|| self.bodies(request, path, query, body))
            .or_else(|| {
                let mut changed: Vec<_> = bodies::candidates(request, body)
                    .into_iter()
                    .map(|(cause, body)| (Some(cause), body))
                    .collect();
                let _: Option<()> = bodies::rewritten(body, |cause, body| {
                    changed.push((Some(cause), body.to_vec()));
                    (changed.len() > PAIRED).then_some(())
                });
                self.tried
                    .push("pairs of a changed target and a changed body");
                self.likely_targets(request, path, query, &changed)
            })
            .or_else(|| self.unlikely_targets(path, query, &plain))
    }

    /// Every change of the target, with each of these bodies.
    fn targets(
        &mut self,
        request: &CapturedRequest,
        path: &str,
        query: Option<&str>,
        bodies: &[(Option<Cause>, Vec<u8>)],
    ) -> Option<Hit> {
        self.likely_targets(request, path, query, bodies)
            .or_else(|| self.unlikely_targets(path, query, bodies))
    }

    fn likely_targets(
        &mut self,
        request: &CapturedRequest,
        path: &str,
        query: Option<&str>,
        bodies: &[(Option<Cause>, Vec<u8>)],
    ) -> Option<Hit> {
        self.tried.push("targets that the request's headers name");
        for (cause, path, query) in paths::named_by_headers(request, path, query) {
            let hit = self.with_bodies((Some(cause), &path), query.as_deref(), bodies);
            if hit.is_some() {
                return hit;
            }
        }
        if let Some((path, query)) = paths::query_in_path(path) {
            let cause = Some(Cause::PathReencoded);
            let hit = self.with_bodies((cause, &path), Some(&query), bodies);
            if hit.is_some() {
                return hit;
            }
        }
        self.tried.push("slashes, escapes and prefixes of the path");
        let other_paths = paths::candidates(request, path);
        for (cause, path) in &other_paths {
            let hit = self.with_bodies((Some(*cause), path), query, bodies);
            if hit.is_some() {
                return hit;
            }
        }
        let query = query?;
        self.tried
            .push("order, escapes and parameters of the query");
        let other_queries = queries::candidates(query);
        for (cause, query) in &other_queries {
            let hit = self.with_bodies((Some(*cause), path), query.as_deref(), bodies);
            if hit.is_some() {
                return hit;
            }
        }
        let hit = queries::reordered(query, |query| {
            let cause = Some(Cause::QueryReordered);
            let found = self.with_bodies((cause, path), Some(query), bodies);
            self.end_of_walk(found)
        });
        if let Some(hit) = hit.and_then(|End(hit)| hit) {
            return Some(hit);
        }
        self.tried
            .push("pairs of a changed path and a changed query");
        for (cause, path) in other_paths.iter().take(PAIRED) {
            for (also, query) in other_queries.iter().take(PAIRED) {
                for (_, body) in bodies.iter().take(1) {
                    let causes = [Some(*cause), Some(*also)];
                    let hit = self.target(&causes, path, query.as_deref(), body);
                    if hit.is_some() || self.exhausted {
                        return hit;
                    }
                }
            }
        }
        None
    }

    fn unlikely_targets(
        &mut self,
        path: &str,
        query: Option<&str>,
        bodies: &[(Option<Cause>, Vec<u8>)],
    ) -> Option<Hit> {
        self.tried
            .push("two words in front of the path, and other first segments");
        paths::guessed_prefixes(path, |cause, path| {
            let found = self.with_bodies((Some(cause), path), query, bodies);
            self.end_of_walk(found)
        })
        .and_then(|End(hit)| hit)
    }

    /// Every change of the body, with the target as it arrived.
    fn bodies(
        &mut self,
        request: &CapturedRequest,
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Option<Hit> {
        self.tried
            .push("line ends, byte order mark, length and charset of the body");
        for (cause, body) in bodies::candidates(request, body) {
            let hit = self.target(&[Some(cause), None], path, query, &body);
            if hit.is_some() {
                return hit;
            }
        }
        self.tried
            .push("forms and JSON that were parsed and written again");
        bodies::rewritten(body, |cause, body| {
            let found = self.target(&[Some(cause), None], path, query, body);
            self.end_of_walk(found)
        })
        .and_then(|End(hit)| hit)
    }

    /// The body whose MD5 the sender declared.
    fn body_by_md5(
        &mut self,
        request: &CapturedRequest,
        body: &[u8],
    ) -> Option<(Option<Cause>, Vec<u8>)> {
        let sent = BASE64_STANDARD
            .decode(request.header("content-md5")?)
            .ok()?;
        let mut is_it =
            |body: &[u8]| self.spend(body.len()) && sent == Md5::digest(body).as_slice();
        for (cause, body) in bodies::candidates(request, body) {
            if is_it(&body) {
                return Some((Some(cause), body));
            }
        }
        bodies::rewritten(body, |cause, body| {
            is_it(body).then(|| (Some(cause), body.to_vec()))
        })
    }

    /// The target with each of the bodies.
    fn with_bodies(
        &mut self,
        (cause, path): (Option<Cause>, &str),
        query: Option<&str>,
        bodies: &[(Option<Cause>, Vec<u8>)],
    ) -> Option<Hit> {
        for (body_cause, body) in bodies {
            let hit = self.target(&[cause, *body_cause], path, query, body);
            if hit.is_some() || self.exhausted {
                return hit;
            }
        }
        None
    }

    /// Ends a walk at a hit, and when the budget is spent.
    fn end_of_walk(&self, hit: Option<Hit>) -> Option<End> {
        (hit.is_some() || self.exhausted).then_some(End(hit))
    }

    /// Whether this is the text, in any reading that the verifier accepts.
    fn target(
        &mut self,
        causes: &[Option<Cause>; 2],
        path: &str,
        query: Option<&str>,
        body: &[u8],
    ) -> Option<Hit> {
        let decode = |path: &str| percent_decode(path.as_bytes()).collect::<Vec<u8>>();
        let mut readings = vec![decode(path)];
        if path.contains('+') {
            readings.push(decode(&path.replace('+', " ")));
        }
        let mut queries = vec![query];
        if query == Some("") {
            queries.push(None);
        }
        // The verifier refuses a path with a separator of the signed text in it.
        readings.retain(|path| !path.iter().any(|byte| matches!(byte, b'?' | b'\n')));
        for decoded in &readings {
            for signed_query in &queries {
                if self.is_signed(decoded, *signed_query, body) {
                    return Some(Hit {
                        message: Message::new(path, query, body.to_vec()),
                        causes: *causes,
                    });
                }
            }
        }
        None
    }

    fn is_signed(&mut self, path: &[u8], query: Option<&str>, body: &[u8]) -> bool {
        let length = path.len() + query.map_or(0, str::len) + body.len();
        if !self.spend(length) {
            return false;
        }
        let mut md5 = Md5::new();
        md5.update(path);
        if let Some(query) = query {
            md5.update(b"?");
            md5.update(query);
        }
        md5.update(b"\n");
        md5.update(body);
        md5.finalize().as_slice() == self.digest
    }

    fn spend(&mut self, length: usize) -> bool {
        match self.left.checked_sub(length + OVERHEAD) {
            Some(left) => self.left = left,
            None => {
                self.left = 0;
                self.exhausted = true;
            }
        }
        !self.exhausted
    }
}
