//! Behind nginx. Each remedy is pasted into the location, and followed in the application if that half is
//! a call.

use super::{
    Row,
    application::Application,
    callback::{FORM, JSON},
    mend::{self, Rule},
    proxies::Program,
};

struct Deployment {
    row: Row,
    location: &'static str,
    lines: &'static [&'static str],
    /// Lines around the server.
    http: &'static [&'static str],
}

const fn deployment(
    row: Row,
    location: &'static str,
    lines: &'static [&'static str],
) -> Deployment {
    Deployment {
        row,
        location,
        lines,
        http: &[],
    }
}

const CB: &str = "/oss/cb?id=1&t=a%2Fb";
const API: &str = "/api/oss/cb?id=1&t=a%2Fb";
const PASS: &str = "proxy_pass http://app;";

fn deployments() -> Vec<Deployment> {
    [
        of_nothing(),
        of_prefixes(),
        of_spellings(),
        of_queries(),
        of_bodies(),
        of_headers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What changes nothing.
fn of_nothing() -> Vec<Deployment> {
    vec![
        deployment(
            Row::control("proxy_pass without a path", CB, FORM),
            "/",
            &[PASS],
        ),
        deployment(
            Row::control("proxy_pass with $request_uri", "/a//b%2541/?x=%20+", JSON),
            "/",
            &["proxy_pass http://app$request_uri;"],
        ),
        deployment(
            Row::control("everything that only touches answers", CB, JSON),
            "/",
            &[
                "gunzip on;",
                "gzip on;",
                "charset gbk;",
                "sub_filter photos x;",
                "proxy_set_header X-Real-IP $remote_addr;",
                "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;",
                PASS,
            ],
        ),
        deployment(
            Row::control("a body that goes through a file", CB, FORM),
            "/",
            &[
                "client_body_in_file_only clean;",
                "client_body_buffer_size 16;",
                PASS,
            ],
        ),
        deployment(
            Row::control("a rewrite to the same path", "/a%20b/cb?id=1", FORM),
            "/",
            &["rewrite ^(.*)$ $1 break;", PASS],
        ),
    ]
}

/// Prefixes that are taken off or put in front, and replaced paths.
fn of_prefixes() -> Vec<Deployment> {
    vec![
        deployment(
            Row::new("proxy_pass with a path", API, FORM, "path-prefix-removed"),
            "/api/",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "proxy_pass with a path, no slash",
                API,
                FORM,
                "path-prefix-removed",
            ),
            "/api",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "the whole path is the location",
                "/oss/notify",
                JSON,
                "path-prefix-removed",
            ),
            "= /oss/notify",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new("rewrite takes the prefix", API, FORM, "path-prefix-removed"),
            "/",
            &["rewrite ^/api/(.*)$ /$1 break;", PASS],
        ),
        deployment(
            Row::new(
                "two levels of prefix",
                "/prod/v2/oss/cb",
                FORM,
                "path-prefix-removed",
            ),
            "/prod/v2/",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "a prefix that only a header names",
                "/tenant-7f3a/oss/cb",
                FORM,
                "path-prefix-removed",
            ),
            "/tenant-7f3a/",
            &[
                "proxy_set_header X-Forwarded-Prefix /tenant-7f3a;",
                "proxy_pass http://app/;",
            ],
        ),
        deployment(
            Row::new(
                "a prefix, and the original in a header",
                "/x9/y8/z7/oss/cb?id=1",
                FORM,
                "path-prefix-removed",
            ),
            "/x9/y8/z7/",
            &[
                "proxy_set_header X-Original-URI $request_uri;",
                "proxy_pass http://app/;",
            ],
        ),
        deployment(
            Row::new(
                "a stage twice",
                "/Prod/Prod/oss/cb",
                FORM,
                "path-prefix-removed",
            ),
            "/Prod/",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "a stage is put in front",
                "/Prod/oss/cb",
                FORM,
                "path-prefix-added",
            ),
            "/",
            &["proxy_pass http://app/Prod/;"],
        ),
        deployment(
            Row::new(
                "an inner path is put in front",
                CB,
                JSON,
                "path-prefix-added",
            ),
            "/",
            &["proxy_pass http://app/srv/app-17/;"],
        ),
        deployment(
            Row::new("one slash too many", CB, FORM, "path-rewritten"),
            "/",
            &["proxy_pass http://app/$request_uri;"],
        ),
        deployment(
            Row::new("another prefix", API, FORM, "path-rewritten"),
            "/api/",
            &["proxy_pass http://app/backend-3/;"],
        ),
        deployment(
            Row::new("a front controller", "/oss/cb", FORM, "path-rewritten"),
            "/",
            &["rewrite ^/(.*)$ /index.php?s=/$1 break;", PASS],
        ),
        deployment(
            Row::new("a script's ending", "/oss/cb?id=1", FORM, "path-rewritten"),
            "/",
            &["rewrite ^(.*)$ $1.php break;", PASS],
        ),
    ]
}

/// Slashes and escapes.
fn of_spellings() -> Vec<Deployment> {
    vec![
        deployment(
            Row::new("a slash at the end is added", CB, FORM, "trailing-slash"),
            "/",
            &["rewrite ^(.*[^/])$ $1/ break;", PASS],
        ),
        deployment(
            Row::new(
                "a slash at the end is taken",
                "/oss/cb/?id=1",
                JSON,
                "trailing-slash",
            ),
            "/",
            &["rewrite ^(.*)/$ $1 break;", PASS],
        ),
        deployment(
            Row::new(
                "a prefix and a slash",
                "/api/oss/cb/",
                JSON,
                "path-prefix-removed",
            )
            .and("trailing-slash"),
            "/",
            &["rewrite ^/api(.*)/$ $1 break;", PASS],
        ),
        deployment(
            Row::new("merge_slashes", "/oss//cb?id=1", FORM, "slashes-merged"),
            "/",
            &["proxy_pass http://app$uri$is_args$args;"],
        ),
        deployment(
            Row::new(
                "merge_slashes and a prefix",
                "/api/oss//cb",
                FORM,
                "path-prefix-removed",
            )
            .and("slashes-merged"),
            "/api/",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "a dot segment is resolved",
                "/oss/./cb?id=1",
                FORM,
                "path-rewritten",
            ),
            "/",
            &["proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "a script's ending is taken",
                "/oss/cb.php?id=1",
                FORM,
                "path-rewritten",
            ),
            "/",
            &["rewrite ^(.*)\\.php$ $1 break;", PASS],
        ),
        deployment(
            Row::new(
                "a prefix, and parameters in another order",
                "/api/oss/cb?b=2&a=1",
                FORM,
                "path-prefix-removed",
            )
            .and("query-reordered"),
            "/api/",
            &["set $args a=$arg_a&b=$arg_b;", "proxy_pass http://app/;"],
        ),
        deployment(
            Row::new(
                "a parameter is added, and the others change places",
                "/oss/cb?b=2&a=1",
                JSON,
                "query-added",
            )
            .and("query-reordered"),
            "/",
            &["set $args a=$arg_a&b=$arg_b&via=nginx;", PASS],
        ),
        deployment(
            Row::new("$uri is decoded", "/a%2541/cb?id=1", FORM, "path-decoded"),
            "/",
            &["proxy_pass http://app$uri$is_args$args;"],
        ),
    ]
}

/// Queries.
fn of_queries() -> Vec<Deployment> {
    vec![
        deployment(
            Row::new("$uri has no query", CB, FORM, "query-lost"),
            "/",
            &[
                "proxy_set_header X-Original-URI $request_uri;",
                "proxy_pass http://app$uri;",
            ],
        ),
        deployment(
            Row::new(
                "a parameter is dropped",
                "/oss/cb?id=1&token=s3cret",
                FORM,
                "query-lost",
            ),
            "/",
            &[
                "set $args id=$arg_id;",
                "proxy_set_header X-Forwarded-Uri $request_uri;",
                PASS,
            ],
        ),
        deployment(
            Row::new("a parameter is added", CB, FORM, "query-added"),
            "/",
            &["set $args $args&via=nginx;", PASS],
        ),
        deployment(
            Row::new("rewrite adds a parameter in front", CB, JSON, "query-added"),
            "/",
            &["rewrite ^(.*)$ $1?from=edge break;", PASS],
        ),
        deployment(
            Row::new(
                "parameters in another order",
                "/oss/cb?b=2&a=1",
                FORM,
                "query-reordered",
            ),
            "/",
            &["set $args a=$arg_a&b=$arg_b;", PASS],
        ),
        deployment(
            Row::new("a parameter is decoded", CB, FORM, "query-reencoded"),
            "/",
            &["if ($args ~ ^(.*)%2F(.*)$) { set $args $1/$2; }", PASS],
        ),
        deployment(
            Row::new("a prefix and a parameter", API, FORM, "path-prefix-removed")
                .and("query-added"),
            "/api/",
            &["set $args $args&v=3;", "proxy_pass http://app/;"],
        ),
    ]
}

/// Bodies.
fn of_bodies() -> Vec<Deployment> {
    vec![
        deployment(
            Row::new("no body is passed", CB, FORM, "body-empty"),
            "/",
            &[
                "proxy_pass_request_body off;",
                "proxy_set_header Content-Length \"\";",
                PASS,
            ],
        ),
        deployment(
            Row::new("the body's variable is empty", CB, FORM, "body-empty"),
            "/",
            &[
                "client_body_in_file_only clean;",
                "proxy_set_body $request_body;",
                PASS,
            ],
        ),
        deployment(
            Row::new("a line end behind the body", CB, FORM, "body-newline"),
            "/",
            &["proxy_set_body \"$request_body\\n\";", PASS],
        ),
        deployment(
            Row::new("a byte order mark", CB, JSON, "body-bom"),
            "/",
            &["proxy_set_body \"\u{feff}$request_body\";", PASS],
        ),
        deployment(
            Row::new("something behind the body", CB, FORM, "body-appended"),
            "/",
            &["proxy_set_body \"$request_body&via=nginx\";", PASS],
        ),
        deployment(
            Row::new("something in front of the body", CB, FORM, "body-appended"),
            "/",
            &[
                "proxy_set_body \"csrf_token=0123456789abcdef0123456789abcdef&$request_body\";",
                PASS,
            ],
        ),
        deployment(
            Row::new("the body as a member", CB, JSON, "body-converted"),
            "/",
            &[
                "proxy_set_body '{\"code\":0,\"data\":$request_body}';",
                PASS,
            ],
        ),
        Deployment {
            http: &["map $request_body $beginning { \"~^(?<b>.{30})\" $b; }"],
            ..deployment(
                Row::new("the beginning of a body", CB, JSON, "body-truncated"),
                "/",
                &["proxy_set_body $beginning;", PASS],
            )
        },
        deployment(
            Row::new("a prefix and a line end", API, FORM, "path-prefix-removed")
                .and("body-newline"),
            "/api/",
            &[
                "proxy_set_body \"$request_body\\r\\n\";",
                "proxy_pass http://app/;",
            ],
        ),
    ]
}

/// Headers.
fn of_headers() -> Vec<Deployment> {
    vec![
        deployment(
            Row::new(
                "no Authorization is passed",
                CB,
                FORM,
                "authorization-missing",
            ),
            "/",
            &["proxy_set_header Authorization \"\";", PASS],
        ),
        deployment(
            Row::new("the proxy's own Basic", CB, FORM, "other-credentials"),
            "/",
            &[
                "proxy_set_header Authorization \"Basic cHJveHk6cGFzcw==\";",
                PASS,
            ],
        ),
        deployment(
            Row::new("a scheme in front", CB, FORM, "header-altered"),
            "/",
            &[
                "proxy_set_header Authorization \"Bearer $http_authorization\";",
                PASS,
            ],
        ),
        Deployment {
            http: &["map $http_authorization $short { \"~^(?<s>.{60})\" $s; }"],
            ..deployment(
                Row::new("a signature cut short", CB, FORM, "header-altered"),
                "/",
                &["proxy_set_header Authorization $short;", PASS],
            )
        },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nginx_breaks_is_named_and_mended() {
    if !Program::Nginx.is_installed() {
        return;
    }
    let mut pasted = 0;
    let mut called = 0;
    for Deployment {
        row,
        location,
        lines,
        http,
    } in deployments()
    {
        let application = Application::default();
        let app = application.serve().await;
        let start = |lines: &[String]| {
            let server = [
                &[format!("location {location} {{")],
                lines,
                &["}".to_owned()],
            ];
            Program::Nginx.start(app, http, &server.concat())
        };
        let as_text: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        let broken = start(&as_text);
        let status = row.callback().send(broken.address).await;
        let Some(diagnosis) = row.diagnosis(&application, status) else {
            continue;
        };
        let remedy = diagnosis.remedy().unwrap();
        let name = row.name;
        if let Some(rule) = mend::rule(remedy).filter(|_| row.also.is_none_or(is_of_target)) {
            called += 1;
            application.follow(rule);
            assert_eq!(
                row.callback().send(broken.address).await,
                200,
                "{name}: {remedy:?}"
            );
            assert_eq!(
                row.callback().with_other_query().send(broken.address).await,
                403,
                "{name}: {remedy:?}"
            );
            application.follow(Rule::AsReceived);
        }
        // One remedy mends every change that was found.
        let mended = mend::mended(lines, remedy);
        pasted += 1;
        let mended = start(&mended);
        let status = row.callback().send(mended.address).await;
        assert_eq!(
            status,
            200,
            "{name}: {remedy:?} {:?}",
            application.diagnosis()
        );
    }
    println!("behind nginx: {pasted} mended by its directives, {called} of them by a call as well");
    // Where the query changed there is no call.
    assert!(pasted >= 30 && called >= 19, "{pasted} {called}");
}

fn is_of_target(cause: &str) -> bool {
    !cause.starts_with("body") && !cause.starts_with("header")
}
