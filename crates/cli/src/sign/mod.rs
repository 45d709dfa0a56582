//! `oss-callback sign`: a signed callback, as raw HTTP, as a curl command, or sent.
//!
//! 1. The body is literal, or a template that is filled in as the service does.
//! 2. The library's test signer signs, with a given key, or one that is made for this request: a key in
//!    this command's source would sooner or later be pinned in production.
//! 3. With the application's ticket key, the body carries a ticket.
//! 4. The answer is judged by the local OSS.

mod args;
mod body;
mod place;
mod send;
mod shown;
mod ticket;

use std::{error::Error, process::ExitCode};

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use oss_callback::test_util::CallbackSigner;
use oss_callback_local::CallbackKey;

pub(crate) use self::args::Args;
use self::place::Place;
use crate::{output, secret_file};

/// Where the examples of the library listen.
const DEFAULT_URL: &str = "http://127.0.0.1:3000/oss/callback";

pub(crate) fn run(args: &Args) -> Result<ExitCode, Box<dyn Error>> {
    let signed = args
        .target
        .as_deref()
        .or(args.send.as_deref())
        .unwrap_or(DEFAULT_URL);
    let signed = Place::parse(signed)?;
    let called = match &args.send {
        Some(url) => Place::parse(url)?,
        None => signed.clone(),
    };
    let signer = signer(args)?;
    let body = body::of(args)?;
    let mut request = request(&signer, &signed, &called, body, args.json_body)?;
    if args.send.is_some() {
        *request.uri_mut() = called.target.parse()?;
        return send::send(&called, request);
    }
    let shown = match args.curl {
        true => shown::curl(&called, &request)?.into_bytes(),
        false => shown::raw(&request),
    };
    output::print_bytes(&shown)?;
    Ok(ExitCode::SUCCESS)
}

fn signer(args: &Args) -> Result<CallbackSigner, Box<dyn Error>> {
    let key = match &args.key_pem {
        Some(file) => secret_file::read(file, CallbackKey::from_pem)?,
        None => CallbackKey::generate(),
    };
    let url = args.key_url.as_deref().unwrap_or(key.url());
    if args.key_pem.is_none() {
        eprintln!(
            "Signed with a key that was made for this request; --key-pem FILE takes one that stays.\n\
             Key URL: {url}\n{}",
            key.public_key_pem().trim_end()
        );
    }
    let signer = CallbackSigner::from_pem(&key.to_private_pem())?;
    Ok(signer.with_key_url(url))
}

/// The request with the headers that OSS sends, and an absolute path.
fn request(
    signer: &CallbackSigner,
    signed: &Place,
    called: &Place,
    body: Bytes,
    is_json: bool,
) -> Result<Request<Bytes>, Box<dyn Error>> {
    let (parts, _) = match is_json {
        true => signer.json(&signed.target, body.clone()),
        false => signer.form(&signed.target, body.clone()),
    }
    .into_parts();
    let mut request = Request::from_parts(parts, body);
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&called.authority)?);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(request)
}
