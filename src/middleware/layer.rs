//! The layer and its configuration.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use http::{Response, request::Parts};
use tower::Layer;

use super::{
    DefaultRejection, OssCallbackService, RejectionResponse, response::WithAnswers,
    target::TargetSource,
};
use crate::{
    BodyType, CallbackAnswer, ConfigError, FetchKey, Guard, KeyStore, KeyUrlPolicy, PublicKey,
    Rejection, VarNames, clock::Clock, guard::Guards, keys::KeyStoreBuilder,
};

/// A callback body is a few hundred bytes; the parameters that shape it are at most 5 KB, its custom
/// variables too.
const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

/// OSS gives up after 5 s: what comes later answers nobody.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(4);

/// A guard looks something up, near by. Several of them fit into the deadline.
const DEFAULT_GUARD_TIMEOUT: Duration = Duration::from_millis(500);

/// Verifies OSS upload callbacks in front of an inner service.
///
/// See the [crate documentation](crate) for the rule and for an example. All configuration is behind
/// one `Arc`, so clones are cheap.
///
/// In axum, put it on one method of one route: `post(handler).route_layer(OssCallbackLayer::new())`.
/// It refuses every request that is not a callback, so around a whole router it takes the other
/// routes along.
#[must_use]
pub struct OssCallbackLayer<R = DefaultRejection> {
    config: Arc<Config<R>>,
}

/// What all services of one layer share.
pub(super) struct Config<R> {
    pub(super) body_limit: usize,
    pub(super) body_type: BodyType,
    pub(super) clock: Clock,
    pub(super) deadline: Duration,
    pub(super) guards: Arc<Guards>,
    pub(super) keys: KeyStore,
    pub(super) rejection_response: R,
    pub(super) target: TargetSource,
    /// Used up by the warning of a layer without a binding guard; `None` if there is nothing to
    /// warn of.
    pub(super) unbound_warning: Option<Once>,
}

impl OssCallbackLayer {
    /// Production defaults: the public cloud's key URLs, its v1 key without any network, bodies of
    /// up to 64 KiB, a deadline of 4 s.
    pub fn new() -> Self {
        Self::builder()
            .build()
            .expect("the defaults do not contradict each other")
    }

    /// Starts from the defaults of [`new`](Self::new).
    pub fn builder() -> OssCallbackLayerBuilder {
        OssCallbackLayerBuilder {
            body_limit: DEFAULT_BODY_LIMIT,
            body_type: BodyType::default(),
            clock: Clock::default(),
            deadline: DEFAULT_DEADLINE,
            guard_timeout: DEFAULT_GUARD_TIMEOUT,
            guards: Vec::new(),
            key_store: None,
            keys: KeyStore::builder(),
            path_prefix: None,
            rejection_response: DefaultRejection,
            sends_answers: true,
            signed_target: None,
            allow_any_customer: false,
            var_names: VarNames::default(),
        }
    }
}

impl Default for OssCallbackLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> Clone for OssCallbackLayer<R> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
        }
    }
}

impl<R> fmt::Debug for OssCallbackLayer<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackLayer")
            .field("config", &self.config)
            .finish()
    }
}

impl<S, R> Layer<S> for OssCallbackLayer<R> {
    type Service = OssCallbackService<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        OssCallbackService::new(inner, Arc::clone(&self.config))
    }
}

impl<R> fmt::Debug for Config<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("body_limit", &self.body_limit)
            .field("body_type", &self.body_type)
            .field("clock", &self.clock)
            .field("deadline", &self.deadline)
            .field("guards", &self.guards)
            .field("keys", &self.keys)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Configures an [`OssCallbackLayer`].
#[must_use]
pub struct OssCallbackLayerBuilder<R = DefaultRejection> {
    body_limit: usize,
    body_type: BodyType,
    clock: Clock,
    deadline: Duration,
    guard_timeout: Duration,
    guards: Vec<Arc<dyn Guard>>,
    key_store: Option<KeyStore>,
    keys: KeyStoreBuilder,
    path_prefix: Option<String>,
    rejection_response: R,
    /// Whether the renderer has a way to send the answer of a guard, as far as it is known.
    sends_answers: bool,
    signed_target: Option<TargetSource>,
    allow_any_customer: bool,
    var_names: VarNames,
}

impl<R> OssCallbackLayerBuilder<R> {
    /// The longest body in bytes; 64 KiB by default. Longer ones are refused with 413, unread if
    /// their length is declared.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How bodies are decoded; by their `Content-Type` by default.
    pub fn body_type(mut self, body_type: BodyType) -> Self {
        self.body_type = body_type;
        self
    }

    /// How long the body, the key and the guards may take together; 4 s by default, as OSS gives up
    /// after 5. The time of the handler is not limited here.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Adds a guard behind those added before.
    pub fn guard(mut self, guard: impl Guard) -> Self {
        self.guards.push(Arc::new(guard));
        self
    }

    /// How long each guard may take; 500 ms by default. One that takes longer has not decided: 503.
    pub fn guard_timeout(mut self, timeout: Duration) -> Self {
        self.guard_timeout = timeout;
        self
    }

    /// Says that this layer needs no guard that binds a callback to somebody, which silences the
    /// warning about that: the callback URL has an unguessable part of its own, say, or the handler
    /// asks the application's own records.
    ///
    /// A valid signature says that OSS sent this for *somebody*; see the
    /// [threat model](crate#threat-model). Without a `TicketGuard`, and without a guard of the
    /// application's own, whose purpose this crate cannot know, the first genuine callback logs a
    /// warning, once.
    pub fn allow_any_customer(mut self) -> Self {
        self.allow_any_customer = true;
        self
    }

    /// Which names the callback's template gives to what guards look at.
    pub fn var_names(mut self, names: VarNames) -> Self {
        self.var_names = names;
        self
    }

    /// The clock that guards read; the system's by default.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Clock::from_fn(now);
        self
    }

    /// Verifies with the keys of a store that other layers may share. Excludes the four methods
    /// below.
    pub fn key_store(mut self, keys: KeyStore) -> Self {
        self.key_store = Some(keys);
        self
    }

    /// As [`KeyStoreBuilder::key_url_policy`].
    pub fn key_url_policy(mut self, policy: KeyUrlPolicy) -> Self {
        self.keys = self.keys.key_url_policy(policy);
        self
    }

    /// As [`KeyStoreBuilder::pin_key`].
    pub fn pin_key(mut self, url: impl Into<String>, key: PublicKey) -> Self {
        self.keys = self.keys.pin_key(url, key);
        self
    }

    /// As [`KeyStoreBuilder::deny_key`].
    pub fn deny_key(mut self, url: impl Into<String>) -> Self {
        self.keys = self.keys.deny_key(url);
        self
    }

    /// As [`KeyStoreBuilder::key_fetcher`].
    pub fn key_fetcher(mut self, fetcher: impl FetchKey) -> Self {
        self.keys = self.keys.key_fetcher(fetcher);
        self
    }

    /// What a proxy in front of this server took from the path: OSS calls
    /// `https://host/api/oss/callback`, this server sees `/oss/callback`, so `/api`.
    ///
    /// It is put in front of the path as received, character by character.
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        self.path_prefix = Some(prefix.to_owned());
        self
    }

    /// What OSS called, where a proxy changes more than a prefix: the path and the query, as they
    /// were sent.
    ///
    /// It must not depend on a header that a client can send. Who chooses what is verified can have
    /// a callback for one URL pass at another.
    pub fn signed_target(
        mut self,
        target: impl Fn(&Parts) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> Self {
        self.signed_target = Some(TargetSource::Given(Arc::new(target)));
        self
    }

    /// Renders rejections with a closure.
    ///
    /// ```
    /// use axum::{body::Body, http::Response};
    /// use oss_callback::OssCallbackLayer;
    ///
    /// let layer = OssCallbackLayer::builder()
    ///     .on_rejection(|rejection| {
    ///         let mut response = Response::new(Body::from(r#"{"ok":false}"#));
    ///         *response.status_mut() = rejection.status();
    ///         response
    ///     })
    ///     .build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    pub fn on_rejection<F, B>(self, render: F) -> OssCallbackLayerBuilder<F>
    where
        F: Fn(&Rejection) -> Response<B> + Clone,
    {
        let mut builder = self.rejection_response(render);
        builder.sends_answers = false;
        builder
    }

    /// Sends the answers of guards with a closure, beside [`on_rejection`](Self::on_rejection) and
    /// behind it: `on_answer(|answer| answer.into_http())` for every body that is `From<Bytes>`.
    ///
    /// Without `on_rejection` it is not needed. With it, a guard that
    /// [answers](crate::Admission::answered) needs it, as
    /// [`ReplayGuard::answer_done`](crate::ReplayGuard::answer_done) does.
    ///
    /// ```
    /// use axum::body::Body;
    /// use oss_callback::{
    ///     AgeGuard, CallbackAnswer, MemoryReplayStore, OssCallbackLayer, ReplayGuard,
    /// };
    ///
    /// let replay = ReplayGuard::by_signature(MemoryReplayStore::new());
    /// let layer = OssCallbackLayer::builder()
    ///     .guard(AgeGuard::new())
    ///     .guard(replay.answer_done(CallbackAnswer::ok()))
    ///     .on_rejection(|rejection| rejection.to_response::<Body>())
    ///     .on_answer(|answer| answer.into_http())
    ///     .build()?;
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    pub fn on_answer<F, B>(self, render: F) -> OssCallbackLayerBuilder<WithAnswers<R, F>>
    where
        R: RejectionResponse<B>,
        F: Fn(CallbackAnswer) -> Response<B> + Clone,
    {
        self.map_renderer(|rejections| WithAnswers::new(rejections, render))
    }

    /// Renders rejections with a named [`RejectionResponse`].
    pub fn rejection_response<N>(self, renderer: N) -> OssCallbackLayerBuilder<N> {
        self.map_renderer(|_| renderer)
    }

    fn map_renderer<N>(self, map: impl FnOnce(R) -> N) -> OssCallbackLayerBuilder<N> {
        OssCallbackLayerBuilder {
            body_limit: self.body_limit,
            body_type: self.body_type,
            clock: self.clock,
            deadline: self.deadline,
            guard_timeout: self.guard_timeout,
            guards: self.guards,
            key_store: self.key_store,
            keys: self.keys,
            path_prefix: self.path_prefix,
            rejection_response: map(self.rejection_response),
            sends_answers: true,
            signed_target: self.signed_target,
            allow_any_customer: self.allow_any_customer,
            var_names: self.var_names,
        }
    }

    /// Builds the layer.
    ///
    /// # Errors
    /// A [`ConfigError`] for what cannot work or contradicts itself.
    pub fn build(self) -> Result<OssCallbackLayer<R>, ConfigError> {
        if self.body_limit == 0 {
            return Err(ConfigError::Zero("body_limit"));
        }
        if self.deadline.is_zero() {
            return Err(ConfigError::Zero("deadline"));
        }
        if self.guard_timeout.is_zero() {
            return Err(ConfigError::Zero("guard_timeout"));
        }
        self.var_names.check()?;
        let keys = match self.key_store {
            None => self.keys.build()?,
            Some(keys) if self.keys.is_untouched() => keys,
            Some(_) => return Err(ConfigError::KeyStoreAndParts),
        };
        let target = match (self.path_prefix, self.signed_target) {
            (None, None) => TargetSource::AsReceived,
            (Some(prefix), None) => TargetSource::prefixed(&prefix)?,
            (None, Some(given)) => given,
            (Some(_), Some(_)) => return Err(ConfigError::PathPrefixAndSignedTarget),
        };
        let guards = Guards {
            list: self.guards,
            timeout: self.guard_timeout,
            var_names: self.var_names,
        };
        guards.check()?;
        if guards.answer() && !self.sends_answers {
            return Err(ConfigError::OnAnswerMissing);
        }
        let is_silent = self.allow_any_customer || guards.bind();
        Ok(OssCallbackLayer {
            config: Arc::new(Config {
                body_limit: self.body_limit,
                body_type: self.body_type,
                clock: self.clock,
                deadline: self.deadline,
                guards: Arc::new(guards),
                keys,
                rejection_response: self.rejection_response,
                target,
                unbound_warning: (!is_silent).then(Once::new),
            }),
        })
    }
}

impl<R> fmt::Debug for OssCallbackLayerBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackLayerBuilder")
            .field("body_limit", &self.body_limit)
            .field("body_type", &self.body_type)
            .field("deadline", &self.deadline)
            .field("guard_timeout", &self.guard_timeout)
            .field("guards", &self.guards.len())
            .field("key_store", &self.key_store)
            .field("keys", &self.keys)
            .field("path_prefix", &self.path_prefix)
            .field("signed_target", &self.signed_target)
            .field("allow_any_customer", &self.allow_any_customer)
            .field("var_names", &self.var_names)
            .finish_non_exhaustive()
    }
}
