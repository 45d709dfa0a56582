//! A callback that an upload asks for, checked by every rule that applies before the upload.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use http::{HeaderMap, StatusCode};
use oss_callback::upload::{CallbackParams, CallbackUrl, ParamsError, ParamsRule, UploadedObject};

use crate::{
    config::Config,
    error::OssError,
    fault::{FAULT_HEADER, Fault, ParseFaultError},
};

/// The callback to make once the object is stored.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(super) params: CallbackParams,
    /// The fault that this upload asked for.
    pub(super) fault: Option<Fault>,
}

impl Plan {
    /// Checks the callback that an upload asks for; `None` if it asks for none.
    ///
    /// # Errors
    /// The service's refusal of the first rule that is broken.
    pub(crate) async fn of(
        config: &Config,
        params: Result<Option<CallbackParams>, ParamsError>,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, OssError> {
        let fault = requested_fault(headers)?;
        let Some(params) = params.map_err(|error| refusal(&error))? else {
            return Ok(None);
        };
        for url in params.urls() {
            resolve(config, url).await?;
        }
        // After the service's own rules, which hold for such a URL, too.
        if params.urls().iter().any(CallbackUrl::is_https) {
            return Err(OssError::not_implemented("callbacks over https"));
        }
        check_repetition(&params)?;
        // Finds unknown variables before the object is stored.
        params
            .fill(&UploadedObject::new("", ""), &config.fill)
            .map_err(|error| {
                OssError::invalid_argument(format!(
                    "The callback body cannot be filled in: {error}."
                ))
                .with("ArgumentName", "callbackBody")
                .with("ArgumentValue", params.body())
            })?;
        Ok(Some(Self { params, fault }))
    }

    /// Whether the size of an image is asked for.
    pub(super) fn wants_image(&self) -> bool {
        self.params.body().contains("${imageInfo")
    }
}

/// Bounds what a body costs: a variable of a form may have megabytes, and a template may name it hundreds
/// of times.
///
/// # Errors
/// `LocalOssLimit`.
fn check_repetition(params: &CallbackParams) -> Result<(), OssError> {
    let repeated: usize = params
        .vars()
        .map(|(name, value)| {
            let times = params.body().matches(&format!("${{{name}}}")).count();
            times.saturating_sub(1) * value.len()
        })
        .sum();
    if repeated > MAX_REPEATED {
        return Err(OssError::limit(format!(
            "Variables that a callback's body names again may add {MAX_REPEATED} bytes to it."
        )));
    }
    Ok(())
}

fn requested_fault(headers: &HeaderMap) -> Result<Option<Fault>, OssError> {
    headers
        .get(FAULT_HEADER)
        .map(|value| {
            value
                .to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| {
                    OssError::invalid_argument(format!("{FAULT_HEADER} is {ParseFaultError}."))
                })
        })
        .transpose()
}

/// The service's answer to parameters that break a rule.
fn refusal(error: &ParamsError) -> OssError {
    let mut refusal = match error.rule() {
        // Features of the service that this server lacks.
        ParamsRule::CallbackPolicy
        | ParamsRule::SignatureVersionUnsupported
        | ParamsRule::AdditionalHeadersUnsupported => OssError::new(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            error.message(),
        ),
        _ => OssError::invalid_argument(error.message()),
    };
    if let Some(name) = error.argument_name() {
        refusal = refusal.with("ArgumentName", name);
    }
    if let Some(value) = error.argument_value() {
        refusal = refusal.with("ArgumentValue", value);
    }
    refusal.with_ec(error.ec())
}

/// The addresses of a URL's host, looked up as the service does before it takes the upload. There is at
/// least one, and IPv4 comes first. With `strict`, an address that is not public is refused.
///
/// # Errors
/// [`ParamsRule::Unresolvable`] and [`ParamsRule::PrivateAddress`].
pub(super) async fn resolve(
    config: &Config,
    url: &CallbackUrl,
) -> Result<Vec<SocketAddr>, OssError> {
    let broken = |rule: ParamsRule| {
        OssError::invalid_argument(ParamsError::from(rule).message())
            .with("ArgumentName", "callbackUrl")
            .with("ArgumentValue", url.as_str())
            .with_ec(rule.ec())
    };
    // Some resolvers read `123.456` as the address 123.0.1.200.
    let looks_numeric = url.host().bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if looks_numeric && url.host().parse::<Ipv4Addr>().is_err() {
        return Err(broken(ParamsRule::Unresolvable));
    }
    let lookup = tokio::net::lookup_host((url.host(), url.port()));
    let mut addresses: Vec<SocketAddr> = match tokio::time::timeout(LOOKUP, lookup).await {
        Ok(Ok(addresses)) => addresses.collect(),
        _ => Vec::new(),
    };
    // The service calls IPv4 addresses only; an application on localhost may listen on IPv6 alone.
    addresses.retain(|address| address.is_ipv4() || !config.strict);
    addresses.sort_by_key(SocketAddr::is_ipv6);
    let Some(first) = addresses.first() else {
        return Err(broken(ParamsRule::Unresolvable));
    };
    if config.strict && !is_public(first.ip()) {
        return Err(broken(ParamsRule::PrivateAddress));
    }
    Ok(addresses)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [first, second, ..] = v4.octets();
            let is_shared = first == 100 && (64..128).contains(&second);
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_unspecified()
                || v4.is_broadcast()
                || v4.is_multicast()
                || is_shared)
        }
        IpAddr::V6(_) => false,
    }
}

/// Beyond what any application takes: a layer has a bound of 64 KiB unless it is given another.
const MAX_REPEATED: usize = 256 << 10;

/// A name server that does not answer must not block uploads for long.
const LOOKUP: Duration = Duration::from_secs(5);
