//! A command line of HTTPie, `http POST h/cb Name:value --raw ..`, and of its kin `https`, `xh` and `xhs`.
//!
//! 1. Of several commands, the last with an `Authorization` counts; without one it is no request of OSS.
//! 2. A first word in capitals is the method. `:3000/cb` is a URL of this machine, and no scheme is needed.
//! 3. `Name:value` is a header. The body is what `--raw` has. Fields (`name=value`) and what a pipe or a file
//!    holds make a body that is not there, and is asked for.
//! 4. A query that HTTPie puts together, of `name==value`, makes a command useless: its encoding is not
//!    there.

use bytes::Bytes;

use super::{Capture, curl_command::target_of, header_line, shell::commands};

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let mut best = None;
    commands(
        text,
        &["https", "http", "xhs", "xh"],
        &mut |_, arguments| {
            best = request(arguments).or(best.take());
        },
    );
    best
}

fn request(arguments: Vec<Vec<u8>>) -> Option<Capture> {
    let mut capture = Capture::default();
    let mut url: Option<String> = None;
    let mut body: Option<Vec<u8>> = None;
    let mut has_fields = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if let Some(option) = argument.strip_prefix(b"--") {
            let attached = option.iter().position(|byte| *byte == b'=');
            let (name, value) = match attached {
                Some(at) => (&option[..at], Some(option[at + 1..].to_vec())),
                None => (option, None),
            };
            if takes_value(name) {
                let value = value.or_else(|| arguments.next())?;
                if name == b"raw" {
                    body = Some(value);
                }
            }
            continue;
        }
        if let Some(flags) = argument.strip_prefix(b"-") {
            if flags.len() == 1 && takes_value(flags) {
                arguments.next();
            }
            continue;
        }
        if url.is_none() {
            let word = String::from_utf8(argument).ok()?;
            let is_method = word.bytes().all(|byte| byte.is_ascii_uppercase());
            match is_method && capture.method.is_empty() {
                true => capture.method = word,
                false => url = Some(word),
            }
            continue;
        }
        match item(&argument) {
            Item::Header(name, value) => capture.add(name, value),
            Item::Query => return None,
            Item::Field => has_fields = true,
            Item::Unknown => {}
        }
    }
    if !capture.headers.contains_key("authorization") {
        return None;
    }
    let url = url?;
    // A port, or a path, of this machine.
    let url = match url.strip_prefix(':') {
        Some(rest) if !rest.starts_with("//") => format!("localhost:{rest}"),
        _ => url,
    };
    capture.target = target_of(&url, false);
    if capture.method.is_empty() {
        capture.method = "POST".to_owned();
    }
    capture.body = body.filter(|_| !has_fields).map(Bytes::from);
    Some(capture)
}

enum Item<'a> {
    Header(&'a str, &'a [u8]),
    Query,
    Field,
    Unknown,
}

/// What an argument behind the URL is, by the first separator in it.
fn item(argument: &[u8]) -> Item<'_> {
    let separator = argument
        .iter()
        .position(|byte| matches!(byte, b':' | b'=' | b'@'));
    let Some(at) = separator else {
        return Item::Unknown;
    };
    match &argument[at..] {
        [b'=', b'=', ..] => Item::Query,
        [b':', b'=' | b'@', ..] | [b'=' | b'@', ..] => Item::Field,
        _ => header_line(argument).map_or(Item::Unknown, |(name, value)| Item::Header(name, value)),
    }
}

/// Options that matter here, or take a value.
fn takes_value(name: &[u8]) -> bool {
    const NAMES: [&str; 26] = [
        "raw",
        "pretty",
        "style",
        "s",
        "print",
        "p",
        "output",
        "o",
        "auth",
        "a",
        "auth-type",
        "A",
        "session",
        "session-read-only",
        "proxy",
        "timeout",
        "verify",
        "cert",
        "cert-key",
        "ssl",
        "boundary",
        "max-redirects",
        "format-options",
        "response-mime",
        "response-charset",
        "default-scheme",
    ];
    NAMES.iter().any(|known| known.as_bytes() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_request_that_it_sends() {
        for text in [
            "http POST 'http://h/cb?id=1&x=%2F' Authorization:s== x-oss-pub-key-url:aHR0 --raw 'a=1&b=it'\\''s'",
            "$ http --verbose --print=HB --timeout 5 :3000/cb'?id=1&x=%2F' \\\n  'Authorization:s==' \\\n  x-oss-pub-key-url:aHR0 --raw=\"a=1&b=it's\"",
            "xh h/cb?id=1\\&x=%2F authorization:s== X-OSS-Pub-Key-Url:aHR0 --raw \"a=1&b=it's\" # again",
        ] {
            let capture = read(text.as_bytes()).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (capture.method.as_str(), capture.target.as_str()),
                ("POST", "/cb?id=1&x=%2F")
            );
            assert_eq!(capture.headers["authorization"], "s==", "{text}");
            assert_eq!(capture.headers["x-oss-pub-key-url"], "aHR0", "{text}");
            assert_eq!(capture.body.unwrap(), "a=1&b=it's", "{text}");
        }
    }

    #[test]
    fn what_the_command_does_not_hold_is_asked_for_or_no_request() {
        for body in ["object=a.jpg", "size:=7", "< body.bin", "@body.bin", ""] {
            let text = format!("http POST h/cb Authorization:s {body}");
            assert_eq!(read(text.as_bytes()).unwrap().body, None, "{text}");
        }
        for text in [
            "http POST h/cb id==1 Authorization:s",
            "http POST h/cb",
            "http POST h/cb Authorization:$SIGNATURE",
            "http Authorization:s",
            "http: TLS handshake error from 10.0.0.1:1 Authorization:s",
            "http POST h/cb Authorization:s --raw",
        ] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
