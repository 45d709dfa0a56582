//! A form of the local OSS is read alike however it arrives, and what was read can be written again.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use oss_callback_local::fuzzing::form;

fuzz_target!(|input: (&[u8], Vec<u8>)| {
    let (body, cuts) = input;
    let mut pieces = Vec::new();
    let mut rest = body;
    for cut in cuts {
        let (piece, later) = rest.split_at(usize::from(cut).min(rest.len()));
        pieces.push(Bytes::copy_from_slice(piece));
        rest = later;
    }
    pieces.push(Bytes::copy_from_slice(rest));
    let whole = form(vec![Bytes::copy_from_slice(body)]);
    assert_eq!(form(pieces), whole);

    let Ok((fields, file)) = whole else { return };
    let is_plain = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric());
    if !fields
        .iter()
        .all(|(name, _)| is_plain(name) && !name.eq_ignore_ascii_case("file"))
    {
        return;
    }
    let mut written = Vec::new();
    let values = fields
        .iter()
        .map(|(name, value)| (&**name, value.as_bytes()));
    for (name, value) in values.chain([("file", &*file)]) {
        let head = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n");
        written.extend_from_slice(head.as_bytes());
        written.extend_from_slice(value);
        written.extend_from_slice(b"\r\n");
    }
    written.extend_from_slice(b"--b--\r\n");
    assert_eq!(form(vec![written.into()]), Ok((fields, file)));
});
