//! The body of a signed callback.

use std::{
    borrow::Cow,
    error::Error,
    fs,
    io::{self, Read},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use oss_callback::{BodyType, test_util::UploadedObject};

use super::{
    args::{Args, Assignment},
    ticket,
};

/// What the service's own samples ask for.
const FORM: &str = "bucket=${bucket}&object=${object}&etag=${etag}&size=${size}&mimeType=${mimeType}&reqId=${reqId}";

const JSON: &str = r#"{"bucket":${bucket},"object":${object},"etag":${etag},"size":${size},"mimeType":${mimeType},"reqId":${reqId}}"#;

/// The object that was uploaded.
const OBJECT: &str = "uploads/example.jpg";

pub(super) fn of(args: &Args) -> Result<Bytes, Box<dyn Error>> {
    if let Some(body) = &args.body {
        return Ok(body.clone().into());
    }
    if let Some(file) = &args.body_file {
        let read = match file == Path::new("-") {
            true => {
                let mut body = Vec::new();
                io::stdin().lock().read_to_end(&mut body).map(|_| body)
            }
            false => fs::read(file),
        };
        let body = read.map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(body.into());
    }
    from_template(args)
}

fn from_template(args: &Args) -> Result<Bytes, Box<dyn Error>> {
    let (default, body_type) = match args.json_body {
        true => (JSON, BodyType::Json),
        false => (FORM, BodyType::Form),
    };
    let mut object = object(&args.var)?;
    let mut template = Cow::from(args.template.as_deref().unwrap_or(default));
    let key = given(&args.var, "object").unwrap_or(OBJECT);
    if let Some(ticket) = ticket::issue(args, key)? {
        if given(&args.var, ticket::VAR).is_some() {
            return Err("--ticket-key issues the ticket that --var x:ticket gives: use one".into());
        }
        if args.template.is_none() {
            template = with_ticket(default, body_type).into();
        } else if !template.contains(ticket::PLACEHOLDER) {
            return Err("the template has no ${x:ticket}, which the ticket rides in".into());
        }
        object = object.custom(ticket::VAR, ticket);
    }
    let filled = object
        .fill(&template, body_type)
        .map_err(|error| format!("the template cannot be filled in: {error}"))?;
    Ok(filled.into())
}

/// A default template that carries a ticket, too.
fn with_ticket(template: &str, body_type: BodyType) -> String {
    match template.strip_suffix('}') {
        Some(members) if body_type == BodyType::Json => {
            format!(r#"{members},"ticket":{}}}"#, ticket::PLACEHOLDER)
        }
        _ => format!("{template}&ticket={}", ticket::PLACEHOLDER),
    }
}

/// The value of a variable; the last one counts.
fn given<'a>(vars: &'a [Assignment], name: &str) -> Option<&'a str> {
    let mut named = vars.iter().rev().filter(|var| var.name == name);
    named.next().map(|var| var.value.as_str())
}

/// An upload that nobody made, with the given values.
fn object(vars: &[Assignment]) -> Result<UploadedObject, String> {
    let given = |name: &str| given(vars, name);
    let number = |name: &str, default: u64| match given(name) {
        Some(value) => value
            .parse()
            .map_err(|_| format!("--var {name}={value}: not a number")),
        None => Ok(default),
    };
    let mut object = UploadedObject::new(
        given("bucket").unwrap_or("my-bucket"),
        given("object").unwrap_or(OBJECT),
    )
    .etag(given("etag").unwrap_or("5D41402ABC4B2A76B9719D911017C592"))
    .size(number("size", 5)?)
    .mime_type(given("mimeType").unwrap_or("image/jpeg"))
    .client_ip(given("clientIp").unwrap_or("127.0.0.1"))
    .req_id(given("reqId").map_or_else(request_id, str::to_owned))
    .operation(given("operation").unwrap_or("PutObject"));
    if vars.iter().any(|var| var.name.starts_with("imageInfo.")) {
        let format = given("imageInfo.format").unwrap_or("jpg");
        object = object.image(
            number("imageInfo.height", 1)?,
            number("imageInfo.width", 1)?,
            format,
        );
    }
    for var in vars {
        let value = var.value.as_str();
        object = match var.name.as_str() {
            "bucket" | "object" | "etag" | "size" | "mimeType" | "clientIp" | "reqId"
            | "operation" | "imageInfo.height" | "imageInfo.width" | "imageInfo.format" => object,
            "crc64" => object.crc64(number("crc64", 0)?),
            "contentMd5" => object.content_md5(value),
            "vpcId" => object.vpc_id(value),
            name if name.starts_with("x:") => object.custom(name, value),
            name => {
                return Err(format!(
                    "--var {name}: the service has no such variable; custom ones begin with x:, as in x:{name}"
                ));
            }
        };
    }
    Ok(object)
}

/// As the service makes them: the time in 8 hexadecimal digits, then others.
fn request_id() -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    format!(
        "{:08X}{:08X}{:08X}",
        now.as_secs() as u32,
        now.subsec_nanos(),
        std::process::id()
    )
}
