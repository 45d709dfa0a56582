//! The names under which logs show the parts of a request.

/// Headers that a diagnosis looks at, in lower case.
const HEADERS: [&str; 34] = [
    "authorization",
    "cdn-loop",
    "cf-ray",
    "content-encoding",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "forwarded",
    "host",
    "transfer-encoding",
    "user-agent",
    "via",
    "x-amz-cf-id",
    "x-amzn-trace-id",
    "x-envoy-expected-rq-timeout-ms",
    "x-envoy-original-path",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-path",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-forwarded-uri",
    "x-kong-request-id",
    "x-original-uri",
    "x-original-url",
    "x-oss-bucket",
    "x-oss-pub-key-url",
    "x-oss-request-id",
    "x-oss-requester",
    "x-oss-signature-version",
    "x-oss-tag",
    "x-real-ip",
    "x-rewrite-url",
];

/// What a name in a log stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Header(&'static str),
    /// A whole request line.
    RequestLine,
    Method,
    /// A target, or a path to which a [query](Self::Query) may belong.
    Target,
    Query,
    Body,
}

/// The part that a name stands for, however it is spelled: `Content-MD5`, `content_md5`,
/// `$http_content_md5`, `sent_http_..` not.
pub(super) fn part(name: &str) -> Option<Part> {
    if name.len() > 64 {
        return None;
    }
    let name = name.to_ascii_lowercase().replace('_', "-");
    let plain = ["http-", "req-header-", "header-", "request-"]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(&name);
    if let Ok(index) = HEADERS.binary_search(&plain) {
        return Some(Part::Header(HEADERS[index]));
    }
    Some(match name.replace('-', "").as_str() {
        "request" | "requestline" => Part::RequestLine,
        "method" | "requestmethod" | "httpmethod" => Part::Method,
        "uri" | "url" | "path" | "target" | "requesturi" | "requesturl" | "requestpath"
        | "requesttarget" | "originalurl" | "originaluri" | "rawpath" | "fullpath" | "fullurl"
        | "pathinfo" => Part::Target,
        "args" | "query" | "querystring" | "rawquery" | "rawquerystring" => Part::Query,
        "body" | "requestbody" | "rawbody" | "bodyraw" | "rawpost" | "payload" => Part::Body,
        _ => return None,
    })
}

/// Whether a name of a target is the one of nginx, and of CGI, for the target before it was rewritten.
pub(super) fn is_of_access_log(name: &str) -> bool {
    name.eq_ignore_ascii_case("request_uri")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_names_its_part() {
        assert!(HEADERS.is_sorted(), "the search is binary");
        for name in [
            "Authorization",
            "authorization",
            "http_authorization",
            "HTTP_AUTHORIZATION",
            "request_Authorization",
        ] {
            assert_eq!(part(name), Some(Part::Header("authorization")));
        }
        assert_eq!(
            part("http_x_oss_pub_key_url"),
            Some(Part::Header("x-oss-pub-key-url"))
        );
        assert_eq!(part("request_uri"), Some(Part::Target));
        assert_eq!(part("requestBody"), Some(Part::Body));
        assert_eq!(part("upstream_http_host"), None);
        assert_eq!(part(&"x".repeat(1_000)), None);
    }
}
