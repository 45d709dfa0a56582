//! Behind HAProxy, Caddy and Apache.
//!
//! A remedy's proxy half is in nginx's language. Where the Rust half is a call, it is followed. Where it
//! is words, the row has what the words come to: the line that makes the change is taken out.

use super::{
    Row,
    application::Application,
    callback::{FORM, JSON},
    mend,
    proxies::Program,
};

struct Deployment {
    row: Row,
    program: Program,
    lines: &'static [&'static str],
    outer: &'static [&'static str],
    /// The lines without the one that makes the change.
    without: &'static [&'static str],
}

const fn haproxy(row: Row, lines: &'static [&'static str]) -> Deployment {
    Deployment {
        row,
        program: Program::Haproxy,
        lines,
        outer: &[],
        without: &[],
    }
}

/// Its normalizers have to be allowed.
const fn normalizing(row: Row, lines: &'static [&'static str]) -> Deployment {
    Deployment {
        outer: &["expose-experimental-directives"],
        ..haproxy(row, lines)
    }
}

const fn caddy(row: Row, lines: &'static [&'static str]) -> Deployment {
    Deployment {
        row,
        program: Program::Caddy,
        lines,
        outer: &[],
        without: &["reverse_proxy {app}"],
    }
}

const fn apache(row: Row, lines: &'static [&'static str]) -> Deployment {
    Deployment {
        row,
        program: Program::Apache,
        lines,
        outer: &[],
        without: &["ProxyPass / http://{app}/ nocanon"],
    }
}

const CB: &str = "/oss/cb?id=1&t=a%2Fb";
const API: &str = "/api/oss/cb?id=1&t=a%2Fb";

fn deployments() -> Vec<Deployment> {
    let mut all = behind_haproxy();
    all.extend(behind_caddy());
    all.extend(behind_apache());
    all
}

fn behind_haproxy() -> Vec<Deployment> {
    vec![
        haproxy(
            Row::control("haproxy as it is", "/a//b%2541/?x=%20+", FORM),
            &[],
        ),
        haproxy(
            Row::new("haproxy replace-path", API, FORM, "path-prefix-removed"),
            &["http-request replace-path /api(/.*) \\1"],
        ),
        haproxy(
            Row::new("haproxy set-path", CB, FORM, "path-prefix-added"),
            &["http-request set-path /internal%[path]"],
        ),
        haproxy(
            Row::new(
                "haproxy decodes the path",
                "/a%2541/cb",
                FORM,
                "path-decoded",
            ),
            &["http-request set-path %[path,url_dec]"],
        ),
        haproxy(
            Row::new("haproxy decodes the query", CB, FORM, "query-reencoded"),
            &["http-request set-query %[query,url_dec]"],
        ),
        haproxy(
            Row::new("haproxy adds a parameter", CB, JSON, "query-added"),
            &["http-request set-query %[query]&via=haproxy"],
        ),
        normalizing(
            Row::new("haproxy merges slashes", "/oss//cb", FORM, "slashes-merged"),
            &["http-request normalize-uri path-merge-slashes"],
        ),
        normalizing(
            Row::new(
                "haproxy sorts the query",
                "/oss/cb?b=2&a=1",
                FORM,
                "query-reordered",
            ),
            &["http-request normalize-uri query-sort-by-name"],
        ),
        normalizing(
            Row::new(
                "haproxy writes escapes in capitals",
                "/oss/cb?t=a%2fb",
                FORM,
                "query-reencoded",
            ),
            &["http-request normalize-uri percent-to-uppercase"],
        ),
        normalizing(
            Row::new(
                "haproxy strips dots",
                "/oss/./cb?id=1",
                FORM,
                "path-rewritten",
            ),
            &["http-request normalize-uri path-strip-dot"],
        ),
        haproxy(
            Row::new(
                "haproxy writes the path in small letters",
                "/Oss/uploadCallback?id=1",
                FORM,
                "path-rewritten",
            ),
            &["http-request set-path %[path,lower]"],
        ),
        haproxy(
            Row::new(
                "haproxy deletes the header",
                CB,
                FORM,
                "authorization-missing",
            ),
            &["http-request del-header authorization"],
        ),
        haproxy(
            Row::new("haproxy quotes the header", CB, FORM, "header-altered"),
            &["http-request replace-header authorization (.*) '\"\\1\"'"],
        ),
    ]
}

fn behind_caddy() -> Vec<Deployment> {
    vec![
        caddy(
            Row::control("caddy as it is", "/a//b%2541/?x=%20+", FORM),
            &["reverse_proxy {app}"],
        ),
        caddy(
            Row::new("caddy handle_path", API, FORM, "path-prefix-removed"),
            &["handle_path /api/* {\nreverse_proxy {app}\n}"],
        ),
        caddy(
            Row::new(
                "caddy uri strip_prefix",
                "/v1/oss/cb",
                JSON,
                "path-prefix-removed",
            ),
            &["uri strip_prefix /v1", "reverse_proxy {app}"],
        ),
        caddy(
            Row::new("caddy uri strip_suffix", "/oss/cb/", FORM, "trailing-slash"),
            &["uri strip_suffix /", "reverse_proxy {app}"],
        ),
        caddy(
            Row::new("caddy rewrite", "/oss/cb", FORM, "path-prefix-added"),
            &["rewrite * /site-4{uri}", "reverse_proxy {app}"],
        ),
        caddy(
            Row::new("caddy request_header", CB, FORM, "authorization-missing"),
            &["request_header -Authorization", "reverse_proxy {app}"],
        ),
        caddy(
            Row::new("caddy request_header set", CB, FORM, "other-credentials"),
            &[
                "request_header Authorization \"Basic cHJveHk6cGFzcw==\"",
                "reverse_proxy {app}",
            ],
        ),
    ]
}

fn behind_apache() -> Vec<Deployment> {
    vec![
        apache(
            Row::control("apache with nocanon", "/a/b%2541/?x=%20+", FORM),
            &["ProxyPass / http://{app}/ nocanon"],
        ),
        apache(
            Row::new(
                "apache ProxyPass with a path",
                API,
                FORM,
                "path-prefix-removed",
            ),
            &["ProxyPass /api/ http://{app}/"],
        ),
        apache(
            Row::new(
                "apache ProxyPass below a path",
                CB,
                FORM,
                "path-prefix-added",
            ),
            &["ProxyPass / http://{app}/app-2/"],
        ),
        apache(
            Row::new("apache RewriteRule", API, JSON, "path-prefix-removed"),
            &[
                "RewriteEngine On",
                "RewriteRule ^/api/(.*)$ http://{app}/$1 [P]",
            ],
        ),
        apache(
            Row::control(
                "apache decodes and encodes",
                "/oss/a%2Fb/c%20d?x=%20+",
                FORM,
            ),
            &["AllowEncodedSlashes NoDecode", "ProxyPass / http://{app}/"],
        ),
        apache(
            Row::new(
                "apache merges slashes",
                "/oss//a%2541/cb?x=1",
                FORM,
                "slashes-merged",
            ),
            &["ProxyPass / http://{app}/"],
        ),
        apache(
            Row::new("apache RequestHeader", CB, FORM, "authorization-missing"),
            &[
                "RequestHeader unset Authorization",
                "ProxyPass / http://{app}/ nocanon",
            ],
        ),
        apache(
            Row::new("apache InputSed", CB, FORM, "body-reserialized"),
            &[
                "<Location />",
                "SetInputFilter Sed",
                "InputSed \"s/%2F/\\\\//g\"",
                "</Location>",
                "ProxyPass / http://{app}/ nocanon",
            ],
        ),
        apache(
            Row::new("apache RequestHeader edit", CB, FORM, "header-altered"),
            &[
                "RequestHeader edit Authorization \"^(.*)$\" \"RSA $1\"",
                "ProxyPass / http://{app}/ nocanon",
            ],
        ),
    ]
}

async fn check(program: Program) {
    if !program.is_installed() {
        return;
    }
    let mut mended = 0;
    let of_it = |deployment: &Deployment| deployment.program == program;
    for Deployment {
        row,
        lines,
        outer,
        without,
        ..
    } in deployments().into_iter().filter(of_it)
    {
        let application = Application::default();
        let app = application.serve().await;
        let start = |lines: &[&str]| {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            program.start(app, outer, &lines)
        };
        let broken = start(lines);
        let status = row.callback().send(broken.address).await;
        let Some(diagnosis) = row.diagnosis(&application, status) else {
            continue;
        };
        let remedy = diagnosis.remedy().unwrap();
        let status = match mend::rule(remedy) {
            Some(rule) => {
                application.follow(rule);
                let other = row.callback().with_other_query();
                assert_eq!(other.send(broken.address).await, 403, "{}", row.name);
                row.callback().send(broken.address).await
            }
            None => row.callback().send(start(without).address).await,
        };
        assert_eq!(
            status,
            200,
            "{}: {remedy:?} {:?}",
            row.name,
            application.diagnosis()
        );
        mended += 1;
    }
    println!("behind {}: {mended} mended", program.name());
    assert!(mended >= 6, "{mended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_haproxy_breaks_is_named_and_mended() {
    check(Program::Haproxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_caddy_breaks_is_named_and_mended() {
    check(Program::Caddy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_apache_breaks_is_named_and_mended() {
    check(Program::Apache).await;
}
