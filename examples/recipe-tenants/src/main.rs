//! Several tenants, each with buckets of its own.
//!
//! 1. Each tenant has a callback URL, and a layer there with its buckets, its ticket key and its replay
//!    store. Nothing that one tenant holds counts at another's URL, and one that fills its store refuses
//!    its own callbacks alone.
//! 2. All layers share one `KeyStore`: the keys of OSS are the same for everybody, so a new one is fetched
//!    once.
//! 3. Who the upload is from is what the ticket says. The tenant is what the layer was made for, never a
//!    variable of the body or a part of the path.
//!
//! Tenants that come and go at run time share one route: issue each its tickets under the `kid` of one of
//! the keys of `TicketGuard::with_keys`, and put the tenant into the ticket's `app`.
//!
//! ```text
//! cargo run -p recipe-tenants
//! ```

use axum::{Extension, Router, routing::post};
use oss_callback::{
    BucketGuard, CallbackAnswer, ConfigError, KeyStore, MemoryReplayStore, OssCallback,
    OssCallbackLayer, Rejection, ReplayGuard, Ticket, TicketGuard, TicketKey,
};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

/// As an application has it in its configuration.
struct Tenant {
    name: &'static str,
    buckets: &'static [&'static str],
    tickets: TicketKey,
}

#[derive(Clone, Copy)]
struct TenantName(&'static str);

fn app(keys: &KeyStore, tenants: &[Tenant]) -> Result<Router, ConfigError> {
    let mut app = Router::new();
    for tenant in tenants {
        let callbacks = OssCallbackLayer::builder()
            .key_store(keys.clone())
            .guard(BucketGuard::new(tenant.buckets.iter().copied()))
            .guard(TicketGuard::new(tenant.tickets.clone()))
            .guard(ReplayGuard::by_ticket(MemoryReplayStore::new()))
            .build()?;
        let uploaded = post(uploaded)
            .layer(Extension(TenantName(tenant.name)))
            .route_layer(callbacks);
        app = app.route(&format!("/oss/callback/{}", tenant.name), uploaded);
    }
    Ok(app)
}

#[derive(Deserialize, Serialize)]
struct Grant {
    user: u64,
}

/// `callbackBody`: `bucket=${bucket}&object=${object}&ticket=${x:ticket}`
#[derive(Deserialize)]
struct Upload {
    bucket: String,
    object: String,
}

async fn uploaded(
    Extension(tenant): Extension<TenantName>,
    ticket: Ticket<Grant>,
    OssCallback(upload): OssCallback<Upload>,
) -> Result<CallbackAnswer, Rejection> {
    let Upload { bucket, object } = upload;
    let user = ticket.user;
    CallbackAnswer::json(&format!(
        "{}: user {user} stored {bucket}/{object}",
        tenant.0
    ))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tenant = |name, buckets| {
        // In production each from your configuration: `TicketKey::from_base64(..)`.
        TicketKey::generate().map(|tickets| Tenant {
            name,
            buckets,
            tickets,
        })
    };
    let tenants = [
        tenant("acme", &["acme-photos"])?,
        tenant("zeta", &["zeta-in", "zeta-out"])?,
    ];
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("serving on http://{}", listener.local_addr()?);
    axum::serve(listener, app(&KeyStore::default(), &tenants)?).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::{Body, to_bytes};
    use oss_callback::{TicketClaims, test_util::CallbackSigner};
    use tower::ServiceExt;

    use super::*;

    fn tenants() -> [Tenant; 2] {
        [
            ("acme", &["acme-photos"][..]),
            ("zeta", &["zeta-in", "zeta-out"]),
        ]
        .map(|(name, buckets)| Tenant {
            name,
            buckets,
            tickets: TicketKey::generate().unwrap(),
        })
    }

    async fn send(tenants: &[Tenant], path: &str, bucket: &str, issuer: usize) -> (u16, String) {
        let signer = CallbackSigner::new();
        let keys = KeyStore::builder()
            .pin_key(signer.key_url(), signer.public_key())
            .build()
            .unwrap();
        let claims = TicketClaims::object("a.jpg").app(&Grant { user: 42 });
        let life = Duration::from_secs(60);
        let ticket = tenants[issuer].tickets.issue(&claims, life).unwrap();
        let body = format!("bucket={bucket}&object=a.jpg&ticket={ticket}");
        let callback = signer.form(path, body).map(Body::new);
        let response = app(&keys, tenants)
            .unwrap()
            .oneshot(callback)
            .await
            .unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1024).await.unwrap();
        (status, String::from_utf8(body.into()).unwrap())
    }

    #[tokio::test]
    async fn each_tenant_is_served_at_its_own_url() {
        let tenants = tenants();
        let answer = "\"acme: user 42 stored acme-photos/a.jpg\"".to_owned();
        let path = "/oss/callback/acme";
        assert_eq!(send(&tenants, path, "acme-photos", 0).await, (200, answer));
        let answer = "\"zeta: user 42 stored zeta-out/a.jpg\"".to_owned();
        let path = "/oss/callback/zeta";
        assert_eq!(send(&tenants, path, "zeta-out", 1).await, (200, answer));
    }

    #[tokio::test]
    async fn nothing_of_one_tenant_counts_at_anothers_url() {
        let tenants = tenants();
        let path = "/oss/callback/acme";
        let (status, refusal) = send(&tenants, path, "acme-photos", 1).await;
        assert_eq!(status, 403);
        assert!(refusal.contains("TicketInvalid"), "{refusal}");
        let (status, refusal) = send(&tenants, path, "zeta-in", 0).await;
        assert_eq!(status, 403);
        assert!(refusal.contains("BucketMismatch"), "{refusal}");
    }
}
