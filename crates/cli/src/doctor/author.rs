//! Who probably made a change: what the request's headers say of its way.
//!
//! 1. The most specific header wins: a product's own before one that every proxy adds.
//! 2. Nothing of this is proof, as any sender can add these headers.
//! 3. A request without a trace of a proxy was changed in the application, by a router, layer or
//!    framework, or by a proxy that leaves no trace.

use http::HeaderMap;

/// Who stands between OSS and the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    AmazonCloudFront,
    AmazonGateway,
    Cloudflare,
    Envoy,
    Kong,
    /// ingress-nginx and configurations like it.
    NginxRewrite,
    /// Traefik's `StripPrefix`, Spring Cloud Gateway, HAProxy by configuration.
    PrefixStripper,
    /// Traefik's and Caddy's forward authentication.
    ForwardAuth,
    /// IIS, Azure, symfony.
    UrlRewriter,
    /// A CDN or a cache that signs with `Via`.
    Cache,
    /// Some proxy.
    Proxy,
    /// No trace of one.
    Application,
}

/// The headers that speak for an author, the most specific first.
const TRACES: [(&str, Author); 17] = [
    ("cf-ray", Author::Cloudflare),
    ("x-amz-cf-id", Author::AmazonCloudFront),
    ("x-kong-request-id", Author::Kong),
    ("x-envoy-original-path", Author::Envoy),
    ("x-envoy-expected-rq-timeout-ms", Author::Envoy),
    ("x-forwarded-prefix", Author::PrefixStripper),
    ("x-forwarded-uri", Author::ForwardAuth),
    ("x-rewrite-url", Author::UrlRewriter),
    ("x-original-url", Author::UrlRewriter),
    ("x-original-uri", Author::NginxRewrite),
    ("x-amzn-trace-id", Author::AmazonGateway),
    ("cdn-loop", Author::Cache),
    ("via", Author::Cache),
    ("forwarded", Author::Proxy),
    ("x-forwarded-for", Author::Proxy),
    ("x-forwarded-proto", Author::Proxy),
    ("x-real-ip", Author::Proxy),
];

impl Author {
    /// The author, and the header that says so.
    pub(crate) fn of(headers: &HeaderMap) -> (Self, Option<&'static str>) {
        let trace = TRACES.iter().find(|(name, _)| headers.contains_key(*name));
        trace.map_or((Self::Application, None), |(name, author)| {
            (*author, Some(*name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_trace_wins() {
        let mut headers = HeaderMap::new();
        assert_eq!(Author::of(&headers), (Author::Application, None));
        headers.insert("x-forwarded-for", "203.0.113.7".parse().unwrap());
        assert_eq!(Author::of(&headers).0, Author::Proxy);
        headers.insert("x-original-uri", "/api/cb".parse().unwrap());
        assert_eq!(
            Author::of(&headers),
            (Author::NginxRewrite, Some("x-original-uri"))
        );
        headers.insert("cf-ray", "1".parse().unwrap());
        assert_eq!(Author::of(&headers).0, Author::Cloudflare);
    }
}
