//! The output of `curl -v`: request lines begin with `> `, answers with `< `, notes with `* `.
//!
//! 1. Of several requests, the last that carries an `Authorization` counts.
//! 2. `curl -v` does not show the body that it sends. What stands between the request's last line and the
//!    answer's first is taken for it; without that, a request that declares no length has an empty
//!    one, and any other has none here. Insomnia's timeline is the same, with `| ` in front of the body.
//! 3. The progress meter, which curl writes into the same stream and often the same line, is cut out.

use bytes::Bytes;

use super::{Capture, header_line, request_line};

pub(super) fn read(text: &[u8]) -> Option<Capture> {
    let text = std::str::from_utf8(text).ok()?;
    let mut best: Option<Capture> = None;
    let mut lines = text
        .split_inclusive('\n')
        .filter_map(without_progress)
        .peekable();
    while let Some(line) = lines.next() {
        let Some((method, target)) = sent(line).and_then(request_line) else {
            continue;
        };
        let mut capture = Capture {
            method: method.to_owned(),
            target: target.to_owned(),
            ..Capture::default()
        };
        while let Some(line) = lines.next_if(|line| sent(line).is_some_and(|line| !line.is_empty()))
        {
            if let Some((name, value)) = sent(line).and_then(|line| header_line(line.as_bytes())) {
                capture.add(name, value);
            }
        }
        let mut body = String::new();
        while let Some(line) = lines.next_if(|line| !starts_another(line)) {
            if !is_note(line) {
                body.push_str(line);
            }
        }
        let body = without_bars(&body).unwrap_or(body);
        capture.body = match (body.trim().is_empty(), capture.declared_len()) {
            (false, declared) => Some(trimmed(body, declared)),
            (true, None | Some(0)) => Some(Bytes::new()),
            (true, Some(_)) => None,
        };
        let is_better = capture.headers.contains_key("authorization")
            || best
                .as_ref()
                .is_none_or(|best| !best.headers.contains_key("authorization"));
        if is_better {
            best = Some(capture);
        }
    }
    best
}

/// What stands behind the meter in a line, if anything does.
fn without_progress(line: &str) -> Option<&str> {
    let Some(end) = line.rfind(METER) else {
        return Some(line);
    };
    // The speed follows, and then what was written next.
    let rest = &line[end + METER.len()..];
    let rest = &rest[rest.find(['>', '<', '*', '{', '}'])?..];
    Some(rest)
}

/// A time that the meter does not know.
const METER: &str = "--:--:--";

/// What a line says was sent.
fn sent(line: &str) -> Option<&str> {
    let line = line.trim_end_matches(['\r', '\n']);
    line.strip_prefix("> ")
        .or_else(|| line.strip_prefix('>').filter(|rest| rest.is_empty()))
}

fn starts_another(line: &str) -> bool {
    line.starts_with("< ") || sent(line).and_then(request_line).is_some()
}

/// What curl says besides: notes, sizes, errors, and the end of the meter.
fn is_note(line: &str) -> bool {
    let beginnings = ["* ", "{ [", "} [", ">", "curl: ("];
    beginnings
        .iter()
        .any(|begins| line.trim_start().starts_with(begins))
}

/// The body in lines that begin with `| `, as Insomnia's timeline shows it below the same lines.
fn without_bars(body: &str) -> Option<String> {
    let lines = body.trim_matches(['\r', '\n']).split_inclusive('\n');
    let plain = lines.map(|line| line.strip_prefix("| ").or(line.strip_prefix('|')));
    plain.collect()
}

/// Without the line end that the terminal added, unless the declared length says that it was sent.
fn trimmed(body: String, declared: Option<u64>) -> Bytes {
    if declared == u64::try_from(body.len()).ok() {
        return body.into();
    }
    let plain = body.strip_suffix('\n').unwrap_or(&body);
    let plain = plain.strip_suffix('\r').unwrap_or(plain);
    Bytes::copy_from_slice(plain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeline_of_insomnia_shows_the_body_behind_bars() {
        let text = "* Preparing request to https://h/cb\n\n> POST /cb HTTP/1.1\n> Authorization: s\n> Content-Length: 9\n\n\
            | a=1\n| b=2&c\n\n* We are completely uploaded and fine\n\n< HTTP/1.1 403 Forbidden\n";
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "a=1\nb=2&c");
    }

    const VERBOSE: &str = "*   Trying 127.0.0.1:3000...\n\
        * Connected to 127.0.0.1 (127.0.0.1) port 3000\n\
        > POST /cb?id=1 HTTP/1.1\r\n\
        > Host: 127.0.0.1:3000\r\n\
        > Authorization: kKQe==\r\n\
        > Content-Length: 18\r\n\
        > \r\n\
        * upload completely sent off: 18 bytes\n\
        < HTTP/1.1 403 Forbidden\r\n\
        < content-type: application/json\r\n\
        < \r\n\
        { [70 bytes data]\n\
        {\"code\":\"InvalidSignature\"}";

    #[test]
    fn the_lines_that_were_sent_are_the_request() {
        let capture = read(VERBOSE.as_bytes()).unwrap();
        assert_eq!(capture.target, "/cb?id=1");
        assert_eq!(capture.headers["authorization"], "kKQe==");
        assert_eq!(capture.headers.len(), 3);
        assert_eq!(capture.body, None, "18 bytes were sent, and are not shown");
    }

    #[test]
    fn a_body_between_request_and_answer_is_taken() {
        let text = VERBOSE.replace("* upload", "bucket=yonghu-test\n* upload");
        assert_eq!(
            read(text.as_bytes()).unwrap().body.unwrap(),
            "bucket=yonghu-test"
        );
        let text = VERBOSE.replace("> Content-Length: 18\r\n", "");
        assert_eq!(read(text.as_bytes()).unwrap().body.unwrap(), "");
    }

    #[test]
    fn the_last_request_with_a_signature_counts() {
        let redirected = format!("{VERBOSE}\n> GET /other HTTP/1.1\r\n> Host: h\r\n> \r\n");
        assert_eq!(read(redirected.as_bytes()).unwrap().target, "/cb?id=1");
        let twice = format!("{VERBOSE}\n{}", VERBOSE.replace("id=1", "id=2"));
        assert_eq!(read(twice.as_bytes()).unwrap().target, "/cb?id=2");
    }

    #[test]
    fn the_progress_meter_is_no_part_of_it() {
        let meter =
            "  0     0    0     0    0     0      0      0 --:--:--  0:00:01 --:--:--     0";
        let text = VERBOSE
            .replace("> POST", &format!("{meter}> POST"))
            .replace("< HTTP/1.1", &format!("{meter}\r{meter}< HTTP/1.1"));
        let capture = read(text.as_bytes()).unwrap();
        assert_eq!(
            (capture.target.as_str(), capture.headers.len()),
            ("/cb?id=1", 3)
        );
        assert_eq!(capture.body, None);
    }

    #[test]
    fn a_quoted_mail_is_no_request() {
        assert!(read(b"> hello\n> POST it\n").is_none());
    }
}
