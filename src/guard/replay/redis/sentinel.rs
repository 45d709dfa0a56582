//! The server that Sentinels take for the master.
//!
//! All Sentinels are asked at one time, and the first master that answers as one is taken: a Sentinel
//! that is down, or that has not heard of a failover yet, delays nothing.

use std::sync::Arc;

use futures_util::future::select_ok;
use redis::{Value, cmd, from_redis_value};

use super::{
    connect::{Address, Endpoint, Live, Session},
    fault::{Fault, RedisFault},
};

pub(super) struct Sentinel {
    /// At least one.
    pub(super) sentinels: Vec<Endpoint>,
    pub(super) master_name: String,
    pub(super) session: Session,
}

impl Sentinel {
    pub(super) async fn connect(&self) -> Result<Live, Fault> {
        let attempts = self
            .sentinels
            .iter()
            .map(|sentinel| Box::pin(self.connect_through(sentinel)));
        select_ok(attempts).await.map(|(live, _)| live)
    }

    async fn connect_through(&self, sentinel: &Endpoint) -> Result<Live, Fault> {
        let mut question = cmd("SENTINEL");
        question
            .arg("get-master-addr-by-name")
            .arg(&self.master_name);
        let asked = sentinel.connect().await?;
        let reply = asked.query(&Arc::new(question), false).await?;
        let address: Option<(String, u16)> =
            from_redis_value(reply).map_err(|_| Fault::unexpected_reply())?;
        let (host, port) = address.ok_or_else(Fault::no_such_master)?;
        let master = Endpoint {
            address: Address::Tcp(host, port),
            session: self.session.clone(),
        };
        let live = master.connect().await?;
        match live.query(&Arc::new(cmd("ROLE")), false).await {
            Ok(Value::Array(role)) if is_master(&role) => Ok(live),
            // It will say itself what it is.
            Err(fault) if fault.kind == RedisFault::Permission => Ok(live),
            Ok(_) => Err(Fault::not_the_master()),
            Err(fault) => Err(fault),
        }
    }
}

fn is_master(role: &[Value]) -> bool {
    match role.first() {
        Some(Value::BulkString(role)) => role == b"master",
        Some(Value::SimpleString(role)) => role == "master",
        _ => false,
    }
}
