//! The service that uploads go to: a local OSS inside this program, or the real one.

use oss_callback::{
    KeyStore,
    upload::{Credentials, OssEndpoint},
};
use oss_callback_local::LocalOss;

use crate::{config::RealService, server::Error};

/// The local OSS has no regions, and takes any.
const LOCAL_REGION: &str = "cn-hangzhou";

const LOCAL_BUCKET: &str = "examplebucket";

/// Several files of the largest size.
const LOCAL_MEMORY: u64 = 1 << 30;

/// Where uploads go, and whose callbacks are genuine.
pub(crate) struct Oss {
    pub(crate) bucket: String,
    pub(crate) endpoint: OssEndpoint,
    pub(crate) credentials: Credentials,
    /// The keys that callbacks are signed with.
    pub(crate) keys: KeyStore,
    /// How the service reaches this server; `None` is the address that the server listens on.
    pub(crate) public_url: Option<String>,
    /// The local OSS, which takes faults and lends its key to the attacks.
    pub(crate) local: Option<LocalOss>,
}

impl Oss {
    pub(crate) async fn local() -> Result<Self, Error> {
        let local = LocalOss::builder()
            .bucket(LOCAL_BUCKET)
            .memory_limit(LOCAL_MEMORY)
            .start()
            .await?;
        let pair = local.credentials();
        Ok(Self {
            bucket: LOCAL_BUCKET.to_owned(),
            endpoint: OssEndpoint::new(LOCAL_REGION, &local.endpoint())?,
            credentials: Credentials::new(&*pair.access_key_id, &*pair.access_key_secret),
            keys: local.key_store(),
            public_url: None,
            local: Some(local),
        })
    }

    pub(crate) fn real(real: RealService) -> Result<Self, Error> {
        let endpoint = match &real.endpoint {
            Some(url) => OssEndpoint::new(&real.region, url)?,
            None => OssEndpoint::of_region(&real.region)?,
        };
        let mut credentials = Credentials::new(real.access_key_id, real.access_key_secret);
        if let Some(token) = real.session_token {
            credentials = credentials.security_token(token);
        }
        Ok(Self {
            bucket: real.bucket,
            endpoint,
            credentials,
            keys: KeyStore::builder().build()?,
            public_url: Some(real.public_url),
            local: None,
        })
    }
}
