//! A request as text.

use bytes::Bytes;
use http::{Request, header};

use super::place::Place;

/// Raw HTTP, byte for byte as it would be sent.
pub(super) fn raw(request: &Request<Bytes>) -> Vec<u8> {
    let mut raw = format!("POST {} HTTP/1.1\r\n", request.uri()).into_bytes();
    for (name, value) in request.headers() {
        raw.extend_from_slice(name.as_str().as_bytes());
        raw.extend_from_slice(b": ");
        raw.extend_from_slice(value.as_bytes());
        raw.extend_from_slice(b"\r\n");
    }
    raw.extend_from_slice(b"\r\n");
    raw.extend_from_slice(request.body());
    raw
}

/// A command for a POSIX shell that sends the same.
///
/// # Errors
/// If the body is not text: a command line cannot hold it.
pub(super) fn curl(place: &Place, request: &Request<Bytes>) -> Result<String, String> {
    let body = std::str::from_utf8(request.body())
        .ok()
        .filter(|body| !body.contains('\0'))
        .ok_or("the body is not text; print raw HTTP, or use --send")?;
    let url = format!("{}://{}{}", place.scheme, place.authority, request.uri());
    let mut command = format!("curl -v --path-as-is {}", quoted(&url));
    for (name, value) in request.headers() {
        // curl writes these itself.
        if [header::HOST, header::CONTENT_LENGTH, header::CONNECTION].contains(name) {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        command.push_str(" \\\n  -H ");
        command.push_str(&quoted(&format!("{name}: {value}")));
    }
    // Unlike --data, it gives no meaning to a leading @.
    command.push_str(" \\\n  --data-raw ");
    command.push_str(&quoted(body));
    command.push('\n');
    Ok(command)
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
