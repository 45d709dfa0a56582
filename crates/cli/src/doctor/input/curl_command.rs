//! A `curl` command line, as `oss-callback sign --curl`, proxies and browsers' tools write it for a POSIX
//! shell.
//!
//! 1. A command is found, and its words are read, as [a shell does](super::shell). Of several, the last
//!    with an `Authorization` counts; without one it is no request of OSS.
//! 2. One for `cmd.exe`, with carets, is read as well.
//! 3. The request is the one that curl sends: data joins with `&`, makes a POST and has a type, and dots
//!    in the path are resolved unless `--path-as-is` is there.
//! 4. A body that the command takes from a file or encodes is not there, and is asked for.
//! 5. The output of `curl -v` lacks the body. Where the command stands above it, it has it.

use bytes::Bytes;

use super::{Capture, header_line, shell::commands};

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let posix = from_cmd(text);
    let mut best = None;
    let text = posix.as_deref().unwrap_or(text);
    commands(text, &["curl"], &mut |_, arguments| {
        best = request(arguments).or(best.take());
    });
    best
}

/// A command for `cmd.exe` as a POSIX shell would have it: a caret escapes what is behind it, a line end
/// among others, but in quotes that have none themselves.
fn from_cmd(text: &[u8]) -> Option<Vec<u8>> {
    let carets = [b"^\"".as_slice(), b" ^\n", b" ^\r\n"];
    let has = |wanted: &[u8]| text.windows(wanted.len()).any(|window| window == wanted);
    if !has(b"curl") || !carets.into_iter().any(has) {
        return None;
    }
    let mut posix = Vec::with_capacity(text.len());
    let mut in_quotes = false;
    let mut rest = text;
    while let [byte, after @ ..] = rest {
        rest = after;
        let mut byte = *byte;
        if byte == b'^' && !in_quotes {
            rest = match after {
                [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => {
                    posix.push(b' ');
                    rest
                }
                [escaped, rest @ ..] => {
                    byte = *escaped;
                    rest
                }
                [] => return Some(posix),
            };
            if byte == b'^' && !after.starts_with(b"^") {
                continue;
            }
        } else if byte == b'"' {
            in_quotes = !in_quotes;
        }
        // Signs of a POSIX shell that are none of this one.
        if matches!(byte, b'$' | b'`') {
            posix.push(b'\\');
        }
        posix.push(byte);
    }
    Some(posix)
}

/// With the body of the command, if this is what curl showed of that very request.
pub(super) fn with_body(verbose: Capture, text: &[u8]) -> Capture {
    if verbose.body.is_some() {
        return verbose;
    }
    let command = read(text).filter(|command| {
        let signature = |capture: &Capture| capture.headers.get("authorization").cloned();
        command.target == verbose.target && signature(command) == signature(&verbose)
    });
    Capture {
        body: command.and_then(|command| command.body),
        ..verbose
    }
}

/// What curl is told to send.
#[derive(Default)]
struct Command {
    method: Option<String>,
    urls: Vec<String>,
    target: Option<String>,
    headers: Vec<Vec<u8>>,
    data: Option<Data>,
    is_get: bool,
    is_head: bool,
    is_json: bool,
    keeps_dots: bool,
    keeps_braces: bool,
}

/// What is sent as the body; `None` if it is not in the command.
type Data = Option<Vec<u8>>;

fn request(arguments: Vec<Vec<u8>>) -> Option<Capture> {
    let command = Command::of(arguments);
    let url = command.url()?;
    let mut target = match &command.target {
        Some(target) => target.clone(),
        None => target_of(url, command.keeps_dots),
    };
    let mut capture = Capture::default();
    for header in &command.headers {
        // curl sends `Name;` without a value, and leaves `Name:` out.
        let is_empty = header.ends_with(b";") && !header.contains(&b':');
        let with_colon = is_empty.then(|| [&header[..header.len() - 1], b":"].concat());
        if let Some((name, value)) = header_line(with_colon.as_deref().unwrap_or(header))
            && (is_empty || !value.trim_ascii().is_empty())
        {
            capture.add(name, value);
        }
    }
    if !capture.headers.contains_key("authorization") {
        return None;
    }
    let method = match (&command.data, command.is_get) {
        (_, true) => "GET",
        (Some(_), _) => "POST",
        (None, _) if command.is_head => "HEAD",
        (None, _) => "GET",
    };
    capture.body = match (command.data, command.is_get) {
        (Some(data), true) => {
            let separator = if target.contains('?') { '&' } else { '?' };
            target.push(separator);
            target.push_str(&String::from_utf8(data?).ok()?);
            Some(Bytes::new())
        }
        (Some(data), false) => {
            let media_type: &[u8] = match command.is_json {
                true => b"application/json",
                false => b"application/x-www-form-urlencoded",
            };
            if !capture.headers.contains_key("content-type") {
                capture.add("content-type", media_type);
            }
            data.map(Bytes::from)
        }
        (None, _) => Some(Bytes::new()),
    };
    capture.method = command.method.unwrap_or_else(|| method.to_owned());
    capture.target = target;
    Some(capture)
}

impl Command {
    fn of(arguments: Vec<Vec<u8>>) -> Self {
        let mut command = Self::default();
        let mut arguments = arguments.into_iter();
        let mut are_options_over = false;
        while let Some(argument) = arguments.next() {
            let mut next = || arguments.next().unwrap_or_default();
            match argument.as_slice() {
                b"--" if !are_options_over => are_options_over = true,
                [b'-', b'-', name @ ..] if !are_options_over => {
                    let value = takes_value(name).then(&mut next);
                    command.set(name, value.unwrap_or_default());
                }
                [b'-', flags @ ..] if !are_options_over && !flags.is_empty() => {
                    for (at, flag) in flags.iter().enumerate() {
                        let name = long_name(*flag);
                        if takes_value(name) {
                            let attached = &flags[at + 1..];
                            let value = match attached {
                                [] => next(),
                                _ => attached.to_vec(),
                            };
                            command.set(name, value);
                            break;
                        }
                        command.set(name, Vec::new());
                    }
                }
                _ => command.urls.extend(String::from_utf8(argument)),
            }
        }
        command
    }

    fn set(&mut self, name: &[u8], value: Vec<u8>) {
        match name {
            b"data" | b"data-ascii" | b"data-binary" if value.starts_with(b"@") => {
                self.data = Some(None);
            }
            b"data" | b"data-ascii" | b"data-binary" | b"data-raw" => self.add_data(b"&", value),
            b"json" if value.starts_with(b"@") => self.data = Some(None),
            b"json" => {
                self.is_json = true;
                self.add_data(b"", value);
            }
            b"data-urlencode" | b"form" | b"form-string" | b"upload-file" => self.data = Some(None),
            b"get" => self.is_get = true,
            b"globoff" => self.keeps_braces = true,
            b"head" => self.is_head = true,
            b"header" => self.headers.push(value),
            b"path-as-is" => self.keeps_dots = true,
            b"request" => self.method = String::from_utf8(value).ok(),
            b"request-target" => self.target = String::from_utf8(value).ok(),
            b"url" => self.urls.extend(String::from_utf8(value)),
            _ => {}
        }
    }

    fn add_data(&mut self, separator: &[u8], value: Vec<u8>) {
        match &mut self.data {
            None => self.data = Some(Some(value)),
            Some(Some(data)) => {
                data.extend_from_slice(separator);
                data.extend_from_slice(&value);
            }
            Some(None) => {}
        }
    }

    /// The URL that is called. A value of an option that is not known here may stand among the others.
    fn url(&self) -> Option<&str> {
        let urls = || self.urls.iter().filter(|url| !url.is_empty());
        let is_whole = |url: &&String| without_scheme(url).is_some();
        let url = urls().find(is_whole).or(urls().next())?;
        // curl would make several URLs of it.
        let is_pattern = url.contains(['{', '}', '[', ']']) && !url.contains("://[");
        (self.keeps_braces || !is_pattern).then_some(url)
    }
}

fn without_scheme(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once("://")?;
    let is_scheme = !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_scheme.then_some(rest)
}

/// Path and query of a URL.
pub(super) fn target_of(url: &str, keeps_dots: bool) -> String {
    let (url, _fragment) = url.split_once('#').unwrap_or((url, ""));
    let url = without_scheme(url).unwrap_or(url);
    let begin = url.find(['/', '?']).unwrap_or(url.len());
    let (path, query) = match url[begin..].split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (&url[begin..], None),
    };
    let mut target = match keeps_dots {
        true => path.to_owned(),
        false => without_dots(path),
    };
    if target.is_empty() {
        target.push('/');
    }
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// RFC 3986, section 5.2.4.
fn without_dots(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let mut kept: Vec<&str> = Vec::new();
    for (at, segment) in segments.iter().enumerate() {
        let is_last = at + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    kept.iter().map(|segment| format!("/{segment}")).collect()
}

/// The short options that matter here, or take a value.
fn long_name(flag: u8) -> &'static [u8] {
    match flag {
        b'd' => b"data",
        b'F' => b"form",
        b'G' => b"get",
        b'g' => b"globoff",
        b'H' => b"header",
        b'I' => b"head",
        b'T' => b"upload-file",
        b'X' => b"request",
        b'A' | b'b' | b'c' | b'C' | b'D' | b'e' | b'E' | b'K' | b'm' | b'o' | b'P' | b'Q'
        | b'r' | b't' | b'u' | b'U' | b'w' | b'x' | b'y' | b'Y' | b'z' => b"user",
        _ => b"",
    }
}

/// The options whose next word is not a URL: those that matter here, and those that stand beside them.
fn takes_value(name: &[u8]) -> bool {
    const NAMES: &[&str] = &[
        "data",
        "data-ascii",
        "data-binary",
        "data-raw",
        "data-urlencode",
        "form",
        "form-string",
        "header",
        "json",
        "request",
        "request-target",
        "upload-file",
        "url",
        // Of no account.
        "cacert",
        "capath",
        "cert",
        "cert-type",
        "ciphers",
        "config",
        "connect-timeout",
        "connect-to",
        "continue-at",
        "cookie",
        "cookie-jar",
        "dump-header",
        "interface",
        "key",
        "key-type",
        "limit-rate",
        "local-port",
        "max-redirs",
        "max-time",
        "netrc-file",
        "noproxy",
        "oauth2-bearer",
        "output",
        "output-dir",
        "pinnedpubkey",
        "proxy",
        "proxy-header",
        "proxy-user",
        "range",
        "referer",
        "resolve",
        "retry",
        "retry-delay",
        "retry-max-time",
        "stderr",
        "tls-max",
        "trace",
        "trace-ascii",
        "unix-socket",
        "url-query",
        "user",
        "user-agent",
        "write-out",
    ];
    NAMES.iter().any(|known| known.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(capture: &Capture) -> &[u8] {
        capture.body.as_deref().unwrap()
    }

    #[test]
    fn a_command_for_windows_is_the_same() {
        for text in [
            "curl ^\"http://h/cb?a=^%^E5^&b=2^\" ^\r\n  -H ^\"Authorization: s==^\" ^\r\n  --data-raw ^\"{^\\^\"a^\\^\":1,^\\^\"b^\\^\":^\\^\"$x^\\^\"}^\"",
            "curl \"http://h/cb?a=%E5&b=2\" ^\n  -H \"Authorization: s==\" ^\n  --data-raw \"{\\\"a\\\":1,\\\"b\\\":\\\"$x\\\"}\"",
        ] {
            let capture = read(text.as_bytes()).unwrap();
            assert_eq!(capture.target, "/cb?a=%E5&b=2", "{text}");
            assert_eq!(capture.headers["authorization"], "s==", "{text}");
            assert_eq!(capture.body.unwrap(), r#"{"a":1,"b":"$x"}"#, "{text}");
        }
    }

    #[test]
    fn a_copied_command_is_the_request_that_it_sends() {
        let text = "$ curl -v --path-as-is 'http://127.0.0.1:3000/cb?id=1&x=%2F' \\\n  \
            -H 'authorization: kKQe==' \\\n  -H 'x-oss-pub-key-url: aHR0' \\\r\n  \
            --data-raw 'object=it'\\''s&size=7'\n";
        let capture = read(text.as_bytes()).unwrap();
        assert_eq!(capture.method, "POST");
        assert_eq!(capture.target, "/cb?id=1&x=%2F");
        assert_eq!(capture.headers["authorization"], "kKQe==");
        assert_eq!(capture.headers["x-oss-pub-key-url"], "aHR0");
        assert_eq!(body(&capture), b"object=it's&size=7");
        assert_eq!(
            capture.headers["content-type"],
            "application/x-www-form-urlencoded"
        );
    }

    #[test]
    fn quotes_are_read_as_a_shell_does() {
        for (written, expected) in [
            (r#"'a b'"#, &b"a b"[..]),
            (r#""a \"b\" \$c \d""#, b"a \"b\" $c \\d"),
            (r"a\ b\&c", b"a b&c"),
            ("'a'\"b\"c", b"abc"),
            (
                r"$'it\'s\n\t\x41\u0021\101\\\u540d\q'",
                "it's\n\tA!A\\名\\q".as_bytes(),
            ),
            (r"$'\xff\x00\1'", b"\xff\0\x01"),
            ("\"a\\\nb\"", b"ab"),
            ("'a\nb'", b"a\nb"),
            (r#""5$""#, b"5$"),
            ("a#b", b"a#b"),
        ] {
            for end in ["", " # comment", " | jq .", ";true", " >out", "\nnext"] {
                let text = format!("curl h/cb -H 'Authorization: x' --data-binary {written}{end}");
                let capture = read(text.as_bytes()).unwrap();
                assert_eq!(body(&capture), expected, "{text}");
            }
        }
    }

    #[test]
    fn what_the_shell_puts_in_is_not_guessed() {
        for value in [
            "\"$TOKEN\"",
            "$TOKEN",
            "\"$(date)\"",
            "`date`",
            "\"`date`\"",
            "${X}",
        ] {
            let text = format!("curl h/cb -H Authorization:x -d {value}");
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
        for open in ["'", "\"", "$'", "$'\\"] {
            let text = format!("curl h/cb -H Authorization:x -d {open}");
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn data_makes_the_body_as_curl_makes_it() {
        for (data, expected, method) in [
            ("-d a=1 --data b=2", Some(&b"a=1&b=2"[..]), "POST"),
            ("-da=1", Some(b"a=1"), "POST"),
            ("-sSXPUT -d a=1", Some(b"a=1"), "PUT"),
            ("--json '{}'", Some(b"{}"), "POST"),
            ("--data-raw @x", Some(b"@x"), "POST"),
            ("-d ''", Some(b""), "POST"),
            ("", Some(b""), "GET"),
            ("-I", Some(b""), "HEAD"),
            ("-d @body.txt", None, "POST"),
            ("-d a=1 --data-binary @body.txt -d b=2", None, "POST"),
            ("--data-urlencode 'a=b c'", None, "POST"),
        ] {
            let text = format!("curl -H 'Authorization: x' {data} http://h/cb");
            let capture = read(text.as_bytes()).unwrap();
            assert_eq!(capture.body.as_deref(), expected, "{text}");
            assert_eq!(capture.method, method, "{text}");
            assert_eq!(capture.target, "/cb", "{text}");
        }
        let json = read(b"curl h/cb -H Authorization:x --json {}").unwrap();
        assert_eq!(json.headers["content-type"], "application/json");
        let typed = read(b"curl h/cb -H Authorization:x -H Content-Type:a/b -d 1").unwrap();
        assert_eq!(typed.headers["content-type"], "a/b");
    }

    #[test]
    fn the_target_is_the_one_on_the_wire() {
        for (url, target) in [
            ("http://h:1/cb?a=1#x", "/cb?a=1"),
            ("h/cb", "/cb"),
            ("h/cb?u=http://x/y", "/cb?u=http://x/y"),
            ("http://h", "/"),
            ("http://h?a=1", "/?a=1"),
            ("http://h/a/../b/./c/..", "/b/"),
            ("http://h/../..", "/"),
            ("http://h/a//b/.x?p=/../", "/a//b/.x?p=/../"),
            ("--path-as-is http://h/a/../b", "/a/../b"),
            ("--request-target /x http://h/cb", "/x"),
            ("-G -d a=1 http://h/cb", "/cb?a=1"),
            ("-G -d a=1 http://h/cb?b=2", "/cb?b=2&a=1"),
            ("--url http://h/cb", "/cb"),
            ("-g http://h/{a}", "/{a}"),
            ("-o out --some-option value http://h/cb", "/cb"),
            ("-- http://h/cb", "/cb"),
            ("http://[::1]:80/cb", "/cb"),
        ] {
            let text = format!("curl -H Authorization:x '' {}", url.replace('?', "\\?"));
            let capture = read(text.as_bytes()).unwrap();
            assert_eq!(capture.target, target, "{text}");
        }
        assert!(read(b"curl -H Authorization:x http://h/{a,b}").is_none());
    }

    #[test]
    fn the_last_command_with_a_signature_counts() {
        let text =
            b"curl h/1 -H Authorization:a\nme@curl:~$ curl h/2 -H Authorization:b\ncurl h/3\n";
        assert_eq!(read(text).unwrap().target, "/2");
        for other in [
            &b"curl -s http://h/_oss/callbacks | oss-callback doctor"[..],
            b"curly h/1 -H Authorization:a",
            b"see curl h/1 -H Authorization:a",
            b"curl -H Authorization:a",
            b"curl h/1 -H 'Authorization:'",
            b"curl",
        ] {
            assert!(read(other).is_none(), "{}", String::from_utf8_lossy(other));
        }
    }

    /// A line of blanks and words is gone through once.
    #[test]
    fn the_time_is_linear_in_a_line() {
        let line = " ".repeat(1 << 20) + &"x curl ".repeat(1 << 17);
        let begin = std::time::Instant::now();
        assert!(read(line.as_bytes()).is_none());
        assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
    }

    #[test]
    fn the_output_of_a_command_has_the_body_of_the_command() {
        let read = |command: &str| {
            let text = format!(
                "$ curl -v 'http://h/cb' -H 'Authorization: x' {command}\n\
                 * Connected to h\n> POST /cb HTTP/1.1\r\n> Authorization: x\r\n\
                 > Content-Length: 8\r\n> \r\n< HTTP/1.1 403 Forbidden\r\n< \r\n"
            );
            super::super::read(text.as_bytes()).unwrap().body
        };
        assert_eq!(read("-d object=a").as_deref(), Some(&b"object=a"[..]));
        assert_eq!(read("-d @body.txt"), None);
        assert_eq!(
            read("-d object=a --request-target /other"),
            None,
            "another request"
        );
    }
}
