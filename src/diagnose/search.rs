//! The search for the text that OSS signed.
//!
//! 1. One change at a time comes first: of the target, as a header names it or as a proxy is known to
//!    make it, and of the body. Then come pairs of them, and then guesses at longer prefixes.
//! 2. `Content-MD5` is unsigned and proves nothing, but says where to look. If a body is found by it,
//!    the target alone is left to be searched.
//! 3. `Content-Length`, where it contradicts the body that arrived, says how long the original was.
//! 4. What is hashed is counted, and the count is bounded. Candidates are made one by one and dropped,
//!    so that what is not hashed costs nothing either.
//! 5. No step takes all of the budget from those behind it: each has a share. What is left in the end is
//!    for those that were cut short.

use std::ops::ControlFlow;

use base64::{Engine, prelude::BASE64_STANDARD};
use md5::{Digest, Md5};
use percent_encoding::percent_decode;

use super::{
    CapturedRequest, Cause, Message,
    added::without_added,
    bodies,
    bodies::Visitor,
    compare::{Causes, Target, name_body_changes, name_changes},
    named,
    order::Pieces,
    paths, queries,
    rewritten::{likely, reordered, rewritten},
    wrapped,
};

/// What a candidate costs beside its bytes, in bytes.
const OVERHEAD: usize = 96;

/// What a hash costs that goes on from another one.
const STEP: usize = 192;

/// The targets and bodies that take part in pairs: the likelier ones.
const PAIRED_TARGETS: usize = 80;
const PAIRED_QUERIES: usize = 40;
const PAIRED_PATHS: usize = 16;
const PAIRED_BODIES: usize = 40;
const PAIRED_WORDS: usize = 60;

/// Those that take part in changes of path, query and body at once.
const TRIPLED_PATHS: usize = 40;
const TRIPLED_QUERIES: usize = 12;
const TRIPLED_BODIES: usize = 10;

/// A longer target, or a body with its target, is changed once: to make a candidate costs as well.
const MAX_PAIRED_LEN: usize = 16 * 1024;

/// The memory of the bodies that take part in pairs.
const PAIRED_BYTES: usize = 1024 * 1024;

/// How much that was appended or put in front is looked for.
const MAX_APPENDED: usize = 512;
const MAX_PREPENDED: usize = 32;

/// A text that was found, and the changes that lead from it to the received one.
pub(super) struct Hit {
    pub(super) message: Message,
    pub(super) causes: Vec<Cause>,
}

/// A body with what was done to it.
#[derive(Clone)]
struct Changed {
    causes: Causes,
    body: Vec<u8>,
}

/// A target that may have been signed.
struct Aim {
    path: String,
    query: Option<String>,
}

/// One step of the search, named after what it changes.
#[derive(Clone, Copy)]
enum Step {
    Target,
    PairInTarget,
    TargetAndBody,
    PathQueryAndBody,
    ServicePath,
    GuessedPath,
    Body,
    WrittenBody,
    OrderedBody,
    LongerBody,
    PairInBody,
}

/// The parts of the budget of which each step may take some.
const SHARES: usize = 16;

/// The steps and their shares if nothing is known of the body.
const EVERYTHING: [(Step, usize); 11] = [
    (Step::Target, 5),
    (Step::Body, 3),
    (Step::WrittenBody, 6),
    (Step::PairInTarget, 4),
    (Step::TargetAndBody, 4),
    (Step::ServicePath, 2),
    (Step::LongerBody, 2),
    (Step::OrderedBody, 6),
    (Step::PairInBody, 3),
    (Step::GuessedPath, 3),
    (Step::PathQueryAndBody, 3),
];

/// If the body is likely to be as it was sent.
const TARGETS_FIRST: [(Step, usize); 9] = [
    (Step::Target, 8),
    (Step::PairInTarget, 8),
    (Step::ServicePath, 2),
    (Step::GuessedPath, 6),
    (Step::Body, 3),
    (Step::WrittenBody, 6),
    (Step::LongerBody, 2),
    (Step::OrderedBody, 6),
    (Step::TargetAndBody, 6),
];

/// If the body is known.
const TARGETS: [(Step, usize); 4] = [
    (Step::Target, 8),
    (Step::PairInTarget, 8),
    (Step::ServicePath, 2),
    (Step::GuessedPath, 8),
];

pub(super) struct Search<'a> {
    request: &'a CapturedRequest,
    received: &'a Message,
    digest: [u8; 16],
    budget: usize,
    left: usize,
    exhausted: bool,
    tried: Vec<&'static str>,
    hit: Option<Hit>,
    body_causes: Causes,
    /// What stands in front of the body in the candidate at hand.
    buffer: Vec<u8>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        request: &'a CapturedRequest,
        received: &'a Message,
        digest: [u8; 16],
        bytes: usize,
    ) -> Self {
        Self {
            request,
            received,
            digest,
            budget: bytes,
            left: bytes,
            exhausted: false,
            tried: Vec::new(),
            hit: None,
            body_causes: [None; 2],
            buffer: Vec::new(),
        }
    }

    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// What became of the body, if `Content-MD5` told and the target was not found.
    pub(super) fn body_causes(&self) -> Causes {
        self.body_causes
    }

    pub(super) fn into_tried(self) -> Vec<&'static str> {
        self.tried
    }

    pub(super) fn run(&mut self) -> Option<Hit> {
        let _ = self.everything();
        self.hit.take()
    }

    fn everything(&mut self) -> ControlFlow<()> {
        let received = self.received;
        let body = received.body.as_ref();
        self.check(&received.path, received.query.as_deref(), body, [None; 2])?;
        let plain = [Changed {
            causes: [None; 2],
            body: body.to_vec(),
        }];
        match self.request.content_md5() {
            // The body is as it was sent: nothing is won by guessing at it, unless all else fails.
            Some(true) => self.steps(&plain, &TARGETS_FIRST),
            // The original body is known by its digest, whatever became of the target.
            Some(false) => match self.body_by_md5() {
                Some(original) => {
                    self.body_causes = original.causes;
                    let (path, query) = (&received.path, received.query.as_deref());
                    self.check(path, query, &original.body, original.causes)?;
                    self.steps(&[original], &TARGETS)
                }
                None => self.steps(&plain, &EVERYTHING),
            },
            None => self.steps(&plain, &EVERYTHING),
        }
    }

    /// Each step within its share, and then those that were cut short with what is left.
    fn steps(&mut self, bodies: &[Changed], steps: &[(Step, usize)]) -> ControlFlow<()> {
        let mut cut_short = Vec::new();
        for (step, share) in steps {
            let reserve = self.left.saturating_sub(self.budget / SHARES * share);
            self.left -= reserve;
            let flow = self.take(*step, bodies);
            self.left += reserve;
            if self.hit.is_some() {
                return flow;
            }
            if flow.is_break() {
                cut_short.push(*step);
            }
        }
        self.exhausted = false;
        let mut cut_short = cut_short.into_iter();
        cut_short.try_for_each(|step| self.take(step, bodies))
    }

    fn take(&mut self, step: Step, bodies: &[Changed]) -> ControlFlow<()> {
        let Message { path, query, body } = self.received;
        let target = path.len() + query.as_ref().map_or(0, String::len);
        let is_long = match step {
            Step::PairInTarget => target > MAX_PAIRED_LEN,
            Step::TargetAndBody | Step::PathQueryAndBody => target + body.len() > MAX_PAIRED_LEN,
            _ => false,
        };
        if is_long {
            return ControlFlow::Continue(());
        }
        match step {
            Step::Target => self.targets(bodies),
            Step::PairInTarget => self.pairs_of_targets(bodies),
            Step::TargetAndBody => self.pairs_with_bodies(),
            Step::PathQueryAndBody => self.three_changes(),
            Step::ServicePath => self.services(bodies),
            Step::GuessedPath => self.guesses(bodies),
            Step::Body => self.bodies(),
            Step::WrittenBody => self.written_bodies(),
            Step::OrderedBody => self.ordered_bodies(),
            Step::LongerBody => self.longer_bodies(),
            Step::PairInBody => self.pairs_of_bodies(),
        }
    }

    /// Every single change of the target, with each of these bodies.
    fn targets(&mut self, bodies: &[Changed]) -> ControlFlow<()> {
        let (request, received) = (self.request, self.received);
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        self.tried.push("targets that the request's headers name");
        named::targets(request, path, query, &mut |path, query| {
            self.check_each(path, query, bodies)
        })?;
        self.tried.push("slashes, escapes and prefixes of the path");
        let mut with_query = |path: &str| self.check_each(path, query, bodies);
        paths::spelled(path, &mut with_query)?;
        paths::shortened(path, &mut with_query)?;
        paths::prefixed(request, path, usize::MAX, &mut with_query)?;
        paths::versioned(path, &mut with_query)?;
        self.tried
            .push("order, escapes and parameters of the query");
        queries::changed(query, &mut |query| self.check_each(path, query, bodies))?;
        match query {
            Some(query) => {
                queries::reordered(query, &mut |query| self.check_each(path, query, bodies))
            }
            None => ControlFlow::Continue(()),
        }
    }

    /// Two changes of the target: a prefix beside another change of the path, and a path beside a query.
    fn pairs_of_targets(&mut self, bodies: &[Changed]) -> ControlFlow<()> {
        let (request, received) = (self.request, self.received);
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        self.tried
            .push("pairs of a changed path and a changed query");
        let mut queries = Vec::new();
        let _ = named::targets(request, path, query, &mut |_, query| {
            add(
                &mut queries,
                query.map(ToOwned::to_owned),
                PAIRED_QUERIES / 4,
            )
        });
        let _ = queries::likely(query, &mut |query| {
            add(&mut queries, query.map(ToOwned::to_owned), PAIRED_QUERIES)
        });
        let mut with_queries = |path: &str| {
            queries
                .iter()
                .try_for_each(|query| self.check_each(path, query.as_deref(), bodies))
        };
        paths::likely(request, path, &mut with_queries)?;
        paths::spelled(path, &mut with_queries)?;
        paths::shortened(path, &mut with_queries)?;
        paths::prefixed(request, path, PAIRED_WORDS, &mut with_queries)?;
        named::targets(request, path, query, &mut |path, query| {
            queries::likely(query, &mut |query| self.check_each(path, query, bodies))
        })?;
        self.tried.push("pairs of changes of the path");
        let mut others = Vec::new();
        let mut collect = |path: &str| add(&mut others, path.to_owned(), PAIRED_PATHS);
        let _ = paths::spelled(path, &mut collect).is_continue()
            && paths::shortened(path, &mut collect).is_continue();
        for other in &others {
            let mut with_query = |path: &str| self.check_each(path, query, bodies);
            paths::spelled(other, &mut with_query)?;
            paths::prefixed(request, other, PAIRED_WORDS, &mut with_query)?;
        }
        ControlFlow::Continue(())
    }

    /// Names that nobody can list, but that are alike.
    fn services(&mut self, bodies: &[Changed]) -> ControlFlow<()> {
        let received = self.received;
        self.tried.push("names of services in front of the path");
        paths::services(self.request, &received.path, &mut |path| {
            self.check_each(path, received.query.as_deref(), bodies)
        })
    }

    /// Longer prefixes, and others in the place of the first segments.
    fn guesses(&mut self, bodies: &[Changed]) -> ControlFlow<()> {
        let received = self.received;
        self.tried
            .push("two words in front of the path, and other first segments");
        paths::guessed(self.request, &received.path, &mut |path| {
            self.check_each(path, received.query.as_deref(), bodies)
        })?;
        self.tried.push("capitals of the path");
        paths::capitals(&received.path, &mut |path| {
            self.check_each(path, received.query.as_deref(), bodies)
        })
    }

    /// The changes of the body that do not write it again, with the target as it arrived.
    fn bodies(&mut self) -> ControlFlow<()> {
        let (request, body) = (self.request, self.received.body.as_ref());
        self.tried
            .push("line ends, byte order mark, length and charset of the body");
        bodies::changed(request, body, &mut self.at_target())?;
        likely(body, &mut self.at_target())?;
        wrapped::unwrapped(body, &mut self.at_target())?;
        self.lengths()
    }

    fn written_bodies(&mut self) -> ControlFlow<()> {
        self.tried
            .push("forms and JSON that were parsed and written again");
        rewritten(self.received.body.as_ref(), &mut self.at_target())
    }

    fn longer_bodies(&mut self) -> ControlFlow<()> {
        let received = self.received;
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        self.tried
            .push("parameters and members that were added to the body");
        without_added(&received.body, &mut |causes, body| {
            self.check(path, query, body, causes)
        })
    }

    fn ordered_bodies(&mut self) -> ControlFlow<()> {
        let body = self.received.body.as_ref();
        self.tried
            .push("every order of parameters and members of the body");
        reordered(body, &mut self.at_target())?;
        self.tried.push("a compressed body that was decompressed");
        wrapped::compressed(body, &mut self.at_target())
    }

    /// Checks bodies with the target as it arrived.
    fn at_target(&mut self) -> AtTarget<'_, 'a> {
        AtTarget(self)
    }

    /// A likely change of the target together with a likely change of the body.
    fn pairs_with_bodies(&mut self) -> ControlFlow<()> {
        let (request, received) = (self.request, self.received);
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        self.tried
            .push("pairs of a changed target and a changed body");
        let changed = self.likely_bodies(PAIRED_BODIES);
        let mut aims: Vec<Aim> = Vec::new();
        let mut aim = |path: &str, query: Option<&str>| {
            aims.push(Aim {
                path: path.to_owned(),
                query: query.map(ToOwned::to_owned),
            });
            match aims.len() < PAIRED_TARGETS {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        };
        // Some of each kind.
        let _ = named::targets(request, path, query, &mut aim).is_continue()
            && queries::likely(query, &mut |query| aim(path, query)).is_continue()
            && paths::spelled(path, &mut |path| aim(path, query)).is_continue();
        for Aim { path, query } in &aims {
            self.check_each(path, query.as_deref(), &changed)?;
        }
        let mut with_query = |path: &str| self.check_each(path, query, &changed);
        paths::likely(request, path, &mut with_query)?;
        paths::shortened(path, &mut with_query)?;
        paths::prefixed(request, path, usize::MAX, &mut with_query)
    }

    /// A likely change of each: path, query and body.
    fn three_changes(&mut self) -> ControlFlow<()> {
        let (request, received) = (self.request, self.received);
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        self.tried.push("changes of path, query and body at once");
        let changed = self.likely_bodies(TRIPLED_BODIES);
        let mut queries = Vec::new();
        let _ = queries::likely(query, &mut |query| {
            add(&mut queries, query.map(ToOwned::to_owned), TRIPLED_QUERIES)
        });
        let mut paths = Vec::new();
        let mut collect = |path: &str| add(&mut paths, path.to_owned(), TRIPLED_PATHS);
        let _ = paths::likely(request, path, &mut collect);
        paths.iter().try_for_each(|path| {
            queries
                .iter()
                .try_for_each(|query| self.check_each(path, query.as_deref(), &changed))
        })
    }

    /// The likeliest bodies, some of each kind. Where the length of the original is known, of that length.
    fn likely_bodies(&self, most: usize) -> Vec<Changed> {
        let (request, body) = (self.request, self.received.body.as_ref());
        let length = self.contradicted_len();
        let mut found: Vec<Changed> = Vec::new();
        let mut left = PAIRED_BYTES;
        let mut take = |kind_most: usize, cause, body: &[u8]| {
            if length.is_some_and(|length| length != body.len()) {
                return ControlFlow::Continue(());
            }
            match left.checked_sub(body.len()) {
                Some(rest) if found.len() < kind_most => left = rest,
                _ => return ControlFlow::Break(()),
            }
            if found.iter().all(|known: &Changed| known.body != body) {
                found.push(Changed {
                    causes: [Some(cause), None],
                    body: body.to_vec(),
                });
            }
            ControlFlow::Continue(())
        };
        let _ = bodies::likely(body, &mut |cause, body: &[u8]| take(most, cause, body));
        let _ = likely(body, &mut |cause, body: &[u8]| {
            take(most * 3 / 4, cause, body)
        });
        if body.len() <= MAX_TWICE_LEN {
            let _ = wrapped::unwrapped(body, &mut |cause, body: &[u8]| take(most, cause, body));
            let _ = bodies::changed(request, body, &mut |cause, body: &[u8]| {
                take(most, cause, body)
            });
        }
        found
    }

    /// Two changes of the body.
    fn pairs_of_bodies(&mut self) -> ControlFlow<()> {
        let (request, received) = (self.request, self.received);
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        let body = received.body.as_ref();
        self.tried.push("pairs of changes of the body");
        twice(request, body, &mut |causes, body| {
            self.check(path, query, body, causes)
        })
    }

    /// The body whose MD5 the sender declared.
    fn body_by_md5(&mut self) -> Option<Changed> {
        let sent: [u8; 16] = BASE64_STANDARD
            .decode(self.request.header("content-md5")?)
            .ok()?
            .try_into()
            .ok()?;
        let (request, body) = (self.request, self.received.body.as_ref());
        // The target has to be searched for, too.
        let reserve = self.budget / 2;
        self.left = self.left.saturating_sub(reserve);
        let mut by_md5 = ByMd5 {
            search: self,
            sent,
            found: None,
        };
        by_md5.steps(request, body);
        let found = by_md5.found;
        self.left += reserve;
        self.exhausted = false;
        found
    }

    /// Bytes that were appended, put in front or cut off, with the target as it arrived.
    fn lengths(&mut self) -> ControlFlow<()> {
        let received = self.received;
        let (path, query) = (received.path.as_str(), received.query.as_deref());
        for head in heads(path, query) {
            if let Some((cause, body)) = lengths(self, &head, self.digest) {
                self.hit = Some(Hit {
                    message: Message::new(path, query, body),
                    causes: vec![cause],
                });
                return ControlFlow::Break(());
            }
        }
        self.unless_exhausted()
    }

    fn unless_exhausted(&self) -> ControlFlow<()> {
        match self.exhausted {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }

    /// Whether this is a digest that is looked for, as [`Pieces::find`] wants to know it.
    fn is_digest(&mut self, state: Md5, digest: [u8; 16]) -> ControlFlow<bool> {
        if self.spend(STEP).is_break() {
            return ControlFlow::Break(false);
        }
        match state.finalize().as_slice() == digest {
            true => ControlFlow::Break(true),
            false => ControlFlow::Continue(()),
        }
    }

    /// The length of the original body, if that of the one that arrived is another.
    fn contradicted_len(&self) -> Option<usize> {
        let declared = self.request.declared_len()?;
        (declared != self.received.body.len()).then_some(declared)
    }

    /// The target with each of the bodies.
    fn check_each(
        &mut self,
        path: &str,
        query: Option<&str>,
        bodies: &[Changed],
    ) -> ControlFlow<()> {
        bodies
            .iter()
            .try_for_each(|changed| self.check(path, query, &changed.body, changed.causes))
    }

    /// Whether this is the text, in any reading that the verifier accepts. Breaks if it is, and if the
    /// budget is spent.
    fn check(
        &mut self,
        path: &str,
        query: Option<&str>,
        body: &[u8],
        body_causes: Causes,
    ) -> ControlFlow<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut flow = ControlFlow::Continue(());
        for reading in Reading::of(path, query) {
            if !reading.write(path, query, &mut buffer) {
                continue;
            }
            flow = self.spend(path.len().max(buffer.len()) + body.len() + OVERHEAD);
            if flow.is_break() {
                break;
            }
            let md5 = Md5::new().chain_update(&buffer).chain_update(body);
            if md5.finalize().as_slice() == self.digest {
                // Without its `?` an empty query is none, unless one arrived.
                let is_none = reading.empty_query_is_dropped && self.received.query.is_none();
                self.found(path, query.filter(|_| !is_none), body, body_causes);
                flow = ControlFlow::Break(());
                break;
            }
        }
        self.buffer = buffer;
        flow
    }

    fn found(&mut self, path: &str, query: Option<&str>, body: &[u8], body_causes: Causes) {
        let path = &path.replace(' ', "%20");
        let received = Target {
            path: &self.received.path,
            query: self.received.query.as_deref(),
        };
        let mut causes = name_changes(Target { path, query }, received);
        let body_causes = name_body_changes(body_causes, body, &self.received.body);
        causes.extend(body_causes.into_iter().flatten());
        self.hit = Some(Hit {
            message: Message::new(path, query, body.to_vec()),
            causes,
        });
    }

    fn spend(&mut self, bytes: usize) -> ControlFlow<()> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                ControlFlow::Continue(())
            }
            None => {
                self.left = 0;
                self.exhausted = true;
                ControlFlow::Break(())
            }
        }
    }
}

/// Bodies at the target that arrived.
struct AtTarget<'s, 'a>(&'s mut Search<'a>);

impl Visitor for AtTarget<'_, '_> {
    fn body(&mut self, cause: Cause, body: &[u8]) -> ControlFlow<()> {
        let received = self.0.received;
        let (path, query) = (&received.path, received.query.as_deref());
        self.0.check(path, query, body, [Some(cause), None])
    }

    fn orders(&mut self, cause: Cause, pieces: &Pieces) -> ControlFlow<()> {
        let Self(search) = self;
        let received = search.received;
        let (path, query) = (&received.path, received.query.as_deref());
        for head in heads(path, query) {
            let digest = search.digest;
            let head = Md5::new().chain_update(head);
            let found = pieces.find(&head, &mut |state| search.is_digest(state, digest));
            if let Some(body) = found {
                return self.body(cause, &body);
            }
        }
        search.unless_exhausted()
    }
}

/// Bodies of which the MD5 is known.
struct ByMd5<'s, 'a> {
    search: &'s mut Search<'a>,
    sent: [u8; 16],
    found: Option<Changed>,
}

/// A step of the search for a body whose MD5 is known.
type Md5Step = fn(&mut ByMd5<'_, '_>, &CapturedRequest, &[u8]) -> ControlFlow<()>;

/// The steps and their shares: half of the budget.
const MD5_STEPS: [(Md5Step, usize); 6] = [
    (
        |by_md5, request, body| {
            bodies::changed(request, body, by_md5)?;
            likely(body, by_md5)?;
            wrapped::unwrapped(body, by_md5)?;
            by_md5.lengths()
        },
        1,
    ),
    (|by_md5, _, body| rewritten(body, by_md5), 2),
    (
        |by_md5, _, body| without_added(body, &mut |causes, body| by_md5.check(causes, body)),
        1,
    ),
    (
        |by_md5, request, body| {
            twice(request, body, &mut |causes, body| {
                by_md5.check(causes, body)
            })
        },
        2,
    ),
    (|by_md5, _, body| reordered(body, by_md5), 1),
    (|by_md5, _, body| wrapped::compressed(body, by_md5), 1),
];

impl ByMd5<'_, '_> {
    /// Each step within its share, and then those that were cut short with what is left.
    fn steps(&mut self, request: &CapturedRequest, body: &[u8]) {
        let share = self.search.budget / SHARES;
        let mut cut_short = Vec::new();
        for (step, shares) in MD5_STEPS {
            let reserve = self.search.left.saturating_sub(share * shares);
            self.search.left -= reserve;
            let flow = step(self, request, body);
            self.search.left += reserve;
            self.search.exhausted = false;
            if self.found.is_some() {
                return;
            }
            if flow.is_break() {
                cut_short.push(step);
            }
        }
        for step in cut_short {
            if step(self, request, body).is_break() {
                return;
            }
        }
    }

    fn lengths(&mut self) -> ControlFlow<()> {
        let found = lengths(self.search, &[], self.sent);
        self.found = found.map(|(cause, body)| Changed {
            causes: [Some(cause), None],
            body,
        });
        match self.found {
            Some(_) => ControlFlow::Break(()),
            None => self.search.unless_exhausted(),
        }
    }

    fn check(&mut self, causes: Causes, body: &[u8]) -> ControlFlow<()> {
        self.search.spend(body.len() + OVERHEAD)?;
        if self.sent != Md5::digest(body).as_slice() {
            return ControlFlow::Continue(());
        }
        self.found = Some(Changed {
            causes: name_body_changes(causes, body, &self.search.received.body),
            body: body.to_vec(),
        });
        ControlFlow::Break(())
    }
}

impl Visitor for ByMd5<'_, '_> {
    fn body(&mut self, cause: Cause, body: &[u8]) -> ControlFlow<()> {
        self.check([Some(cause), None], body)
    }

    fn orders(&mut self, cause: Cause, pieces: &Pieces) -> ControlFlow<()> {
        let (search, sent) = (&mut *self.search, self.sent);
        match pieces.find(&Md5::new(), &mut |state| search.is_digest(state, sent)) {
            Some(body) => self.body(cause, &body),
            None => self.search.unless_exhausted(),
        }
    }
}

/// One way to read the two points of the signed text that the service does not document.
#[derive(Clone, Copy)]
struct Reading {
    plus_is_space: bool,
    empty_query_is_dropped: bool,
}

impl Reading {
    /// The readings that differ for a target.
    fn of(path: &str, query: Option<&str>) -> impl Iterator<Item = Self> + use<> {
        let spaces: &[bool] = match path.contains('+') {
            true => &[false, true],
            false => &[false],
        };
        let drops: &[bool] = match query == Some("") {
            true => &[false, true],
            false => &[false],
        };
        spaces.iter().flat_map(move |plus_is_space| {
            drops.iter().map(move |empty_query_is_dropped| Self {
                plus_is_space: *plus_is_space,
                empty_query_is_dropped: *empty_query_is_dropped,
            })
        })
    }

    /// Writes what is signed in front of the body. False for a path that the verifier refuses, as there is
    /// a separator of the signed text in it.
    fn write(self, path: &str, query: Option<&str>, text: &mut Vec<u8>) -> bool {
        text.clear();
        match path.contains('%') {
            true => text.extend(percent_decode(path.as_bytes())),
            false => text.extend(path.as_bytes()),
        }
        if self.plus_is_space {
            // Those that were escaped stay.
            text.clear();
            text.extend(percent_decode(path.replace('+', " ").as_bytes()));
        }
        if text.iter().any(|byte| matches!(byte, b'?' | b'\n')) {
            return false;
        }
        if let Some(query) = query.filter(|_| !self.empty_query_is_dropped) {
            text.push(b'?');
            text.extend(query.as_bytes());
        }
        text.push(b'\n');
        true
    }
}

/// What is signed in front of the body, in each reading.
fn heads(path: &str, query: Option<&str>) -> Vec<Vec<u8>> {
    let readings = Reading::of(path, query);
    let heads = readings.filter_map(|reading| {
        let mut head = Vec::new();
        reading.write(path, query, &mut head).then_some(head)
    });
    heads.collect()
}

/// Two changes of the body: of its bytes twice, or of its bytes and then of what is inside or of how it
/// is written.
fn twice(
    request: &CapturedRequest,
    body: &[u8],
    visit: &mut dyn FnMut(Causes, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if body.len() > MAX_TWICE_LEN {
        return ControlFlow::Continue(());
    }
    let mut firsts: Vec<(Cause, Vec<u8>)> = Vec::new();
    let mut collect = |cause, body: &[u8]| {
        firsts.push((cause, body.to_vec()));
        ControlFlow::Continue(())
    };
    let _ = wrapped::unwrapped(body, &mut collect);
    let _ = bodies::changed(request, body, &mut collect);
    for (first, once) in &firsts {
        let mut second = |second: Cause, body: &[u8]| match second == *first {
            true => visit([Some(second), None], body),
            false => visit([Some(*first), Some(second)], body),
        };
        bodies::changed(request, once, &mut second)?;
        if matches!(first, Cause::BodyConverted | Cause::ContentDecoded) {
            wrapped::unwrapped(once, &mut second)?;
        }
    }
    for (first, once) in &firsts {
        // White space around a document is nothing to its parser.
        if *first == Cause::BodyNewline {
            continue;
        }
        rewritten(once, &mut |second, body: &[u8]| {
            visit([Some(*first), Some(second)], body)
        })?;
    }
    ControlFlow::Continue(())
}

/// Longer bodies are changed once.
const MAX_TWICE_LEN: usize = 8 * 1024;

/// The body of which the received one is a part, or which is a part of it, behind a head.
fn lengths(search: &mut Search<'_>, head: &[u8], digest: [u8; 16]) -> Option<(Cause, Vec<u8>)> {
    let body = search.received.body.as_ref();
    let mut state = Md5::new();
    state.update(head);
    let start = state.clone();
    // Cut off: one byte, or two if the length says so.
    search
        .spend(head.len() + body.len())
        .is_continue()
        .then_some(())?;
    state.update(body);
    let missing = match search.request.declared_len() {
        Some(declared) => declared.saturating_sub(body.len()),
        None => 0,
    };
    for first in 0..=u8::MAX {
        search.spend(STEP).is_continue().then_some(())?;
        let mut one = state.clone();
        one.update([first]);
        if one.clone().finalize().as_slice() == digest {
            let cause = white_or(&[first], Cause::BodyTruncated);
            return Some((cause, [body, &[first]].concat()));
        }
        if missing != 2 {
            continue;
        }
        for second in 0..=u8::MAX {
            search.spend(STEP / 2).is_continue().then_some(())?;
            let mut two = one.clone();
            two.update([second]);
            if two.finalize().as_slice() == digest {
                return Some((Cause::BodyTruncated, [body, &[first, second]].concat()));
            }
        }
    }
    // The first byte, by something that looked at it and did not put it back.
    if missing == 1 {
        for first in 0..=u8::MAX {
            search
                .spend(body.len() + STEP)
                .is_continue()
                .then_some(())?;
            let state = start.clone().chain_update([first]).chain_update(body);
            if state.finalize().as_slice() == digest {
                return Some((Cause::BodyTruncated, [&[first], body].concat()));
            }
        }
    }
    // Appended: every shorter body of which most is left.
    let shortest = body.len().saturating_sub(MAX_APPENDED).max(body.len() / 2);
    let shortest = shortest.max(1).min(body.len());
    let mut state = start.clone();
    search.spend(shortest).is_continue().then_some(())?;
    state.update(&body[..shortest]);
    for length in shortest..body.len() {
        search.spend(STEP).is_continue().then_some(())?;
        if state.clone().finalize().as_slice() == digest {
            let cause = white_or(&body[length..], Cause::BodyAppended);
            return Some((cause, body[..length].to_vec()));
        }
        state.update([body[length]]);
    }
    // Put in front.
    for from in 1..=MAX_PREPENDED.min(body.len() / 2) {
        search
            .spend(body.len() + STEP)
            .is_continue()
            .then_some(())?;
        let mut state = start.clone();
        state.update(&body[from..]);
        if state.finalize().as_slice() == digest {
            let cause = white_or(&body[..from], Cause::BodyAppended);
            return Some((cause, body[from..].to_vec()));
        }
    }
    None
}

/// What a change at an end of the body is called.
fn white_or(bytes: &[u8], cause: Cause) -> Cause {
    match bytes.iter().all(u8::is_ascii_whitespace) {
        true => Cause::BodyNewline,
        false => cause,
    }
}

fn add<T: PartialEq>(found: &mut Vec<T>, one: T, most: usize) -> ControlFlow<()> {
    if found.len() >= most {
        return ControlFlow::Break(());
    }
    if !found.contains(&one) {
        found.push(one);
    }
    ControlFlow::Continue(())
}
