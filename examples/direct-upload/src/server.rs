//! The server: its parts, its routes, its start and its end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use oss_callback::{TicketKey, upload::ObjectClient};
use oss_callback_local::LocalOss;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::{
    app::App, ask, attack, attack::Mallory, authorize, config::Config, events, faults, oss::Oss,
    page, receive, session::Sessions, watch_oss,
};

/// What can go wrong at the start.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the page sends is a file's name, at the most.
const BODY_LIMIT: usize = 16 << 10;

/// How long requests in flight may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);

const CALLBACK_PATH: &str = "/oss/callback";

/// A server that runs, until it is stopped or dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<std::io::Result<()>>,
    parts: Parts,
}

struct Parts(Arc<App>);

impl std::fmt::Debug for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Parts")
            .field("callback_url", &self.0.callback_url)
            .finish_non_exhaustive()
    }
}

impl Server {
    /// Starts. It accepts requests when this returns.
    ///
    /// # Errors
    /// If the address is taken, or the configuration is one that no upload could be authorized with.
    pub async fn start(config: Config) -> Result<Self, Error> {
        let listener = TcpListener::bind(config.listen).await.map_err(|error| {
            let address = config.listen;
            format!("it cannot listen on {address} ({error}); LISTEN names another address")
        })?;
        let address = listener.local_addr()?;
        let oss = match config.real {
            None => Oss::local().await?,
            Some(real) => Oss::real(real)?,
        };
        let sessions = Sessions::new(config.ticket_key.as_deref())?;
        let key = match config.ticket_key {
            None => TicketKey::generate()?,
            Some(text) => TicketKey::from_base64(text)?,
        };
        let public_url = match &oss.public_url {
            Some(url) => url.clone(),
            None => format!("http://{}", reachable(address)),
        };
        let callback_url = format!("{public_url}{CALLBACK_PATH}");
        let mallory = match &oss.local {
            Some(local) => Some(Mallory::new(local).await?),
            None => None,
        };
        let (stop, stopping) = watch::channel(false);
        let uploads = authorize::uploads(&oss, &key, &callback_url)?;
        let objects = ObjectClient::new(oss.endpoint.clone(), oss.credentials.clone())?;
        let app = App::new(
            oss,
            uploads,
            objects,
            mallory,
            callback_url,
            sessions,
            stopping,
        )?;
        let app = Arc::new(app);

        if let Some(local) = &app.oss.local {
            tokio::spawn(watch_oss::watch(app.clone(), local.events()));
        }
        let router = router(&app, key)?;
        let mut stopping = app.stopping.clone();
        let serving = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(async move {
                    // An error means that the server was dropped.
                    let _ = stopping.wait_for(|stopping| *stopping).await;
                })
                .await
        });
        Ok(Self {
            address,
            stop,
            serving,
            parts: Parts(app),
        })
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://{}/", reachable(self.address))
    }

    /// Where OSS calls back.
    pub fn callback_url(&self) -> &str {
        &self.parts.0.callback_url
    }

    /// The local OSS, if uploads go there.
    pub fn local_oss(&self) -> Option<&LocalOss> {
        self.parts.0.oss.local.as_ref()
    }

    /// What keeps the service from calling back, as far as this machine can tell. It waits for DNS.
    pub fn warnings(&self) -> Vec<String> {
        let app = &self.parts.0;
        if app.oss.local.is_some() {
            return Vec::new();
        }
        let claims = oss_callback::TicketClaims::object("a");
        let Ok(authorization) = app.uploads.authorize(&claims) else {
            return Vec::new();
        };
        let unreachable = authorization.callback().check_reachable();
        unreachable
            .into_iter()
            .map(|warning| {
                format!(
                    "OSS will probably not call {}: {:?}",
                    warning.host, warning.rule
                )
            })
            .collect()
    }

    /// Stops, and waits for the requests in flight.
    ///
    /// # Errors
    /// If the listener failed.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.stop.send_replace(true);
        match tokio::time::timeout(GRACE, &mut self.serving).await {
            Ok(served) => Ok(served??),
            // Whoever is still connected is cut off.
            Err(_) => Ok(()),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
        self.stop.send_replace(true);
    }
}

fn router(app: &Arc<App>, key: TicketKey) -> Result<Router, Error> {
    let sample = app
        .uploads
        .authorize(&oss_callback::TicketClaims::object("a"))?;
    let page = (page::Headers::new(sample.url()), app.sessions.clone());
    Ok(Router::new()
        .route("/config", get(page::config))
        .route("/uploads", post(authorize::authorize))
        .route("/uploads/{upload}/ask", post(ask::ask))
        .route("/events", get(events::events))
        .route("/faults", post(faults::fail_next))
        .route("/attacks/{attack}", post(attack::attack))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        // It has a limit of its own, on what is verified.
        .route(CALLBACK_PATH, receive::route(app, key)?)
        .with_state(app.clone())
        .route("/", get(page::page).with_state(page)))
}

/// The address for a client on this machine.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}
