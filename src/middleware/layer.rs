//! The layer and its builder.

use std::{
    borrow::Cow,
    fmt,
    marker::PhantomData,
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use http::{Response, request::Parts};
use tower::Layer;

use super::{
    DefaultRejection, OssCallbackService, RejectionResponse, RunInPlace, RunToEnd, RunningHandlers,
    config::Config, events::LayerLog, response::WithAnswers, target::TargetSource,
};
use crate::{
    BodyType, CallbackAnswer, ConfigError, FetchKey, Guard, KeyStore, KeyUrlPolicy, PublicKey,
    Rejection, VarNames, clock::Clock, guard::Guards, keys::KeyStoreBuilder,
};

/// A callback body is a few hundred bytes; the parameters that shape it are at most 5 KB, its custom
/// variables too.
const DEFAULT_BODY_LIMIT: usize = 64 * 1024;

/// OSS gives up after 5 s: a later answer reaches nobody.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(4);

/// A guard looks something up in a store nearby. Several of them fit into the deadline.
const DEFAULT_GUARD_TIMEOUT: Duration = Duration::from_millis(500);

/// A handler holds what one upload needs, some kilobytes: together, tens of megabytes. Genuine and
/// admitted callbacks alone come this far, but their sender decides when to hang up.
const DEFAULT_MAX_HANDED_OVER: usize = 4_096;

/// Verifies OSS upload callbacks in front of an inner service.
///
/// See the [crate documentation](crate) for the rule and for an example. All configuration is behind
/// one `Arc`, so clones are cheap.
///
/// In axum, put it on one method of one route: `post(handler).route_layer(OssCallbackLayer::new())`.
/// It refuses every request that is not a callback, so around a whole router it takes the other
/// routes along.
#[must_use]
pub struct OssCallbackLayer<R = DefaultRejection, M = RunToEnd> {
    config: Arc<Config<R>>,
    mode: PhantomData<fn() -> M>,
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
            settings: Settings {
                allow_any_customer: false,
                body_limit: DEFAULT_BODY_LIMIT,
                body_type: BodyType::default(),
                clock: Clock::default(),
                deadline: DEFAULT_DEADLINE,
                guard_timeout: DEFAULT_GUARD_TIMEOUT,
                guards: Vec::new(),
                key_store: None,
                keys: KeyStore::builder(),
                max_handed_over: DEFAULT_MAX_HANDED_OVER,
                path_prefix: None,
                run_to_end: false,
                signed_target: None,
                var_names: VarNames::default(),
            },
            rejection_response: DefaultRejection,
            sends_answers: true,
            mode: PhantomData,
        }
    }
}

impl Default for OssCallbackLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R, M> OssCallbackLayer<R, M> {
    /// The handlers that run to their end, even if their requests end before: to count them, and to
    /// wait for them at shutdown.
    #[must_use]
    pub fn running_handlers(&self) -> RunningHandlers {
        self.config.handlers.clone()
    }
}

impl<R, M> Clone for OssCallbackLayer<R, M> {
    fn clone(&self) -> Self {
        Self {
            config: Arc::clone(&self.config),
            mode: PhantomData,
        }
    }
}

impl<R, M> fmt::Debug for OssCallbackLayer<R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackLayer")
            .field("config", &self.config)
            .finish()
    }
}

impl<S, R, M> Layer<S> for OssCallbackLayer<R, M> {
    type Service = OssCallbackService<S, R, M>;

    fn layer(&self, inner: S) -> Self::Service {
        OssCallbackService::new(inner, Arc::clone(&self.config))
    }
}

/// Configures an [`OssCallbackLayer`].
#[must_use]
pub struct OssCallbackLayerBuilder<R = DefaultRejection, M = RunToEnd> {
    settings: Settings,
    rejection_response: R,
    /// Whether the renderer has a way to send the answer of a guard, as far as it is known.
    sends_answers: bool,
    mode: PhantomData<fn() -> M>,
}

/// What does not depend on the renderer and on how handlers run.
struct Settings {
    allow_any_customer: bool,
    body_limit: usize,
    body_type: BodyType,
    clock: Clock,
    deadline: Duration,
    guard_timeout: Duration,
    guards: Vec<Arc<dyn Guard>>,
    key_store: Option<KeyStore>,
    keys: KeyStoreBuilder,
    max_handed_over: usize,
    path_prefix: Option<String>,
    run_to_end: bool,
    signed_target: Option<TargetSource>,
    var_names: VarNames,
}

impl<R, M> OssCallbackLayerBuilder<R, M> {
    /// The longest body in bytes; 64 KiB by default. Longer ones are refused with 413, unread if
    /// their length is declared.
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.settings.body_limit = bytes;
        self
    }

    /// How bodies are decoded; by their `Content-Type` by default.
    pub fn body_type(mut self, body_type: BodyType) -> Self {
        self.settings.body_type = body_type;
        self
    }

    /// How long the body, the key and the guards may take together; 4 s by default, as OSS gives up
    /// after 5. The time of the handler is not limited here.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// Adds a guard after those added before.
    pub fn guard(mut self, guard: impl Guard) -> Self {
        self.settings.guards.push(Arc::new(guard));
        self
    }

    /// How long each guard may take; 500 ms by default. A guard that times out refuses the callback
    /// with 503.
    pub fn guard_timeout(mut self, timeout: Duration) -> Self {
        self.settings.guard_timeout = timeout;
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
        self.settings.allow_any_customer = true;
        self
    }

    /// Which names the callback's template gives to what guards look at.
    pub fn var_names(mut self, names: VarNames) -> Self {
        self.settings.var_names = names;
        self
    }

    /// The clock that guards read; the system's by default.
    pub fn clock(mut self, now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.settings.clock = Clock::from_fn(now);
        self
    }

    /// Verifies with the keys of a store that other layers may share. Excludes the four methods
    /// below.
    pub fn key_store(mut self, keys: KeyStore) -> Self {
        self.settings.key_store = Some(keys);
        self
    }

    /// As [`KeyStoreBuilder::key_url_policy`].
    pub fn key_url_policy(mut self, policy: KeyUrlPolicy) -> Self {
        self.settings.keys = self.settings.keys.key_url_policy(policy);
        self
    }

    /// As [`KeyStoreBuilder::pin_key`].
    pub fn pin_key(mut self, url: impl Into<String>, key: PublicKey) -> Self {
        self.settings.keys = self.settings.keys.pin_key(url, key);
        self
    }

    /// As [`KeyStoreBuilder::deny_key`].
    pub fn deny_key(mut self, url: impl Into<String>) -> Self {
        self.settings.keys = self.settings.keys.deny_key(url);
        self
    }

    /// As [`KeyStoreBuilder::key_fetcher`].
    pub fn key_fetcher(mut self, fetcher: impl FetchKey) -> Self {
        self.settings.keys = self.settings.keys.key_fetcher(fetcher);
        self
    }

    /// What a proxy in front of this server took from the path: OSS calls
    /// `https://host/api/oss/callback`, this server sees `/oss/callback`, so `/api`.
    ///
    /// It is put in front of the path as received, character by character.
    pub fn path_prefix(mut self, prefix: &str) -> Self {
        self.settings.path_prefix = Some(prefix.to_owned());
        self
    }

    /// What OSS called, where a proxy changes more than a prefix: the path and the query, as they
    /// were sent.
    ///
    /// The function sees the head of the request with the target as this server received it, before
    /// axum's nested routers cut it: `parts.uri` is the `OriginalUri` where there is one. What was
    /// changed before that cannot be seen here, and has to be known or noted down:
    ///
    /// ```
    /// use axum::{Router, ServiceExt, extract::Request, http::Uri, routing::post};
    /// use oss_callback::OssCallbackLayer;
    /// use tower::{Layer, util::MapRequestLayer};
    /// use tower_http::normalize_path::NormalizePathLayer;
    ///
    /// // 1. nginx rewrites: `rewrite ^/upload-notify$ /oss/callback;`. It keeps the query, so what
    /// // arrived of that is what is verified.
    /// let rewritten = OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    ///     None => "/upload-notify".into(),
    ///     Some(query) => format!("/upload-notify?{query}").into(),
    /// });
    ///
    /// // 2. nginx merges slashes (`merge_slashes on` is its default), and the callback URL has two:
    /// // `https://example.com//oss/callback`. One that has none is the better cure.
    /// let merged = OssCallbackLayer::builder().signed_target(|parts| match parts.uri.query() {
    ///     None => "//oss/callback".into(),
    ///     Some(query) => format!("//oss/callback?{query}").into(),
    /// });
    ///
    /// // 3. A layer of this server trims slashes, and OSS calls `/oss/callback/`. Outside of that
    /// // layer the target is still as it was sent.
    /// #[derive(Clone)]
    /// struct AsSent(Uri);
    ///
    /// let trimmed = OssCallbackLayer::builder()
    ///     .signed_target(|parts| {
    ///         let sent = parts.extensions.get().and_then(|AsSent(uri)| uri.path_and_query());
    ///         sent.map_or("", |target| target.as_str()).into()
    ///     })
    ///     .build()?;
    /// let app = Router::new().route("/oss/callback", post(|| async {}).route_layer(trimmed));
    /// let app = NormalizePathLayer::trim_trailing_slash().layer(app);
    /// let app = MapRequestLayer::new(|mut request: Request| {
    ///     let sent = AsSent(request.uri().clone());
    ///     request.extensions_mut().insert(sent);
    ///     request
    /// })
    /// .layer(app);
    /// # let _ = (rewritten.build()?, merged.build()?, ServiceExt::<Request>::into_make_service(app));
    /// # Ok::<(), oss_callback::ConfigError>(())
    /// ```
    ///
    /// What it returns is verified *in the place* of what arrived, so:
    ///
    /// 1. It must not depend on a header that a client can send: a client that chooses what is verified
    ///    can have a callback for one URL pass at another.
    /// 2. It must not leave out the query. With `|_| "/oss/callback/".into()`, a captured callback passes
    ///    at `/oss/callback?admin=1`.
    /// 3. Handlers must read the verified query, [`VerifiedCallback::query`](crate::VerifiedCallback::query),
    ///    and not that of the request, as axum's `Query` and `RawQuery` do: the two may differ.
    /// 4. A constant path is that of one route. Give each such route a layer of its own.
    pub fn signed_target(
        mut self,
        target: impl Fn(&Parts) -> Cow<'_, str> + Send + Sync + 'static,
    ) -> Self {
        self.settings.signed_target = Some(TargetSource::Given(Arc::new(target)));
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
    pub fn on_rejection<F, B>(self, render: F) -> OssCallbackLayerBuilder<F, M>
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
    pub fn on_answer<F, B>(self, render: F) -> OssCallbackLayerBuilder<WithAnswers<R, F>, M>
    where
        R: RejectionResponse<B>,
        F: Fn(CallbackAnswer) -> Response<B> + Clone,
    {
        self.map_renderer(|rejections| WithAnswers::new(rejections, render))
    }

    /// Renders rejections with a named [`RejectionResponse`].
    pub fn rejection_response<N>(self, renderer: N) -> OssCallbackLayerBuilder<N, M> {
        self.map_renderer(|_| renderer)
    }

    fn map_renderer<N>(self, map: impl FnOnce(R) -> N) -> OssCallbackLayerBuilder<N, M> {
        OssCallbackLayerBuilder {
            settings: self.settings,
            rejection_response: map(self.rejection_response),
            sends_answers: true,
            mode: PhantomData,
        }
    }

    /// Runs every handler to its end, even if its request ends before.
    ///
    /// OSS hangs up after 5 s, and the server drops the request, which ends a handler wherever it
    /// waits: half of its work may be done. With this, the rest of the handler is handed over to a
    /// task of the runtime that it runs on. Behind a [`ReplayGuard`](crate::ReplayGuard), and any
    /// guard that [asks for it](crate::Admission::until_finished), this is so without being asked for
    /// here.
    ///
    /// Up to then a handler runs where it always does, so nothing changes for those that answer in
    /// time. One that was handed over has lost its task-locals; its `tracing` span goes with it.
    /// [`running_handlers`](OssCallbackLayer::running_handlers) counts them, and waits for them at
    /// shutdown.
    pub fn run_to_end(self) -> OssCallbackLayerBuilder<R, RunToEnd> {
        let mut builder = self.with_mode();
        builder.settings.run_to_end = true;
        builder
    }

    /// Ends every handler with its request, also behind a [`ReplayGuard`](crate::ReplayGuard).
    ///
    /// For handlers whose futures are not `Send + 'static`, which no task can go on with; those of
    /// axum, warp and hyper are. A callback whose handler is cut off is never run again by a replay
    /// guard, as nobody knows how far it came.
    ///
    /// ```
    /// use std::{convert::Infallible, rc::Rc};
    ///
    /// use http::{Request, Response};
    /// use http_body_util::Full;
    /// use oss_callback::{CallbackBody, OssCallbackLayer};
    /// use tower::{Layer, ServiceExt, service_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let greeting = Rc::new("hello");
    /// let handler = service_fn(|_: Request<CallbackBody>| async {
    ///     let greeting = Rc::clone(&greeting);
    ///     tokio::task::yield_now().await;
    ///     Ok::<_, Infallible>(Response::new(Full::<bytes::Bytes>::from(*greeting)))
    /// });
    /// let layer = OssCallbackLayer::builder().run_in_place().build()?;
    /// let refused = layer.layer(handler).oneshot(Request::new(CallbackBody::default())).await?;
    /// assert_eq!(refused.status(), 405);
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_in_place(self) -> OssCallbackLayerBuilder<R, RunInPlace> {
        let mut builder = self.with_mode();
        builder.settings.run_to_end = false;
        builder
    }

    fn with_mode<N>(self) -> OssCallbackLayerBuilder<R, N> {
        OssCallbackLayerBuilder {
            settings: self.settings,
            rejection_response: self.rejection_response,
            sends_answers: self.sends_answers,
            mode: PhantomData,
        }
    }

    /// How many handlers may run on at a time although their requests have ended; 4,096 by default.
    ///
    /// A handler beyond that is cut off, as with [`run_in_place`](Self::run_in_place), and a warning
    /// is logged. 0 is the same for all of them.
    pub fn max_handed_over(mut self, handlers: usize) -> Self {
        self.settings.max_handed_over = handlers;
        self
    }

    /// Builds the layer.
    ///
    /// # Errors
    /// A [`ConfigError`] for what cannot work or contradicts itself.
    pub fn build(self) -> Result<OssCallbackLayer<R, M>, ConfigError> {
        if self.settings.body_limit == 0 {
            return Err(ConfigError::Zero("body_limit"));
        }
        if self.settings.deadline.is_zero() {
            return Err(ConfigError::Zero("deadline"));
        }
        if self.settings.guard_timeout.is_zero() {
            return Err(ConfigError::Zero("guard_timeout"));
        }
        self.settings.var_names.check()?;
        let keys = match self.settings.key_store {
            None => self.settings.keys.build()?,
            Some(keys) if self.settings.keys.is_untouched() => keys,
            Some(_) => return Err(ConfigError::KeyStoreAndParts),
        };
        let target = match (self.settings.path_prefix, self.settings.signed_target) {
            (None, None) => TargetSource::AsReceived,
            (Some(prefix), None) => TargetSource::prefixed(&prefix)?,
            (None, Some(given)) => given,
            (Some(_), Some(_)) => return Err(ConfigError::PathPrefixAndSignedTarget),
        };
        let guards = Guards {
            list: self.settings.guards,
            timeout: self.settings.guard_timeout,
            var_names: self.settings.var_names,
        };
        guards.check()?;
        if guards.answer() && !self.sends_answers {
            return Err(ConfigError::OnAnswerMissing);
        }
        let is_silent = self.settings.allow_any_customer || guards.bind();
        Ok(OssCallbackLayer {
            config: Arc::new(Config {
                body_limit: self.settings.body_limit,
                body_type: self.settings.body_type,
                clock: self.settings.clock,
                deadline: self.settings.deadline,
                guards: Arc::new(guards),
                handlers: RunningHandlers::new(self.settings.max_handed_over),
                keys,
                log: Arc::new(LayerLog::new()),
                rejection_response: self.rejection_response,
                run_to_end: self.settings.run_to_end,
                target,
                unbound_warning: (!is_silent).then(Once::new),
            }),
            mode: PhantomData,
        })
    }
}

impl<R, M> fmt::Debug for OssCallbackLayerBuilder<R, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OssCallbackLayerBuilder")
            .field("body_limit", &self.settings.body_limit)
            .field("body_type", &self.settings.body_type)
            .field("deadline", &self.settings.deadline)
            .field("guard_timeout", &self.settings.guard_timeout)
            .field("guards", &self.settings.guards.len())
            .field("key_store", &self.settings.key_store)
            .field("keys", &self.settings.keys)
            .field("path_prefix", &self.settings.path_prefix)
            .field("signed_target", &self.settings.signed_target)
            .field("allow_any_customer", &self.settings.allow_any_customer)
            .field("var_names", &self.settings.var_names)
            .finish_non_exhaustive()
    }
}
