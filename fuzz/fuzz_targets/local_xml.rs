//! The list of parts that completes an upload: refused, or written to what is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oss_callback_local::fuzzing::parts;

fuzz_target!(|document: &[u8]| {
    let Some(listed) = parts(document) else {
        return;
    };
    assert!(!listed.is_empty() && listed.len() <= 10_000);
    let escaped = |text: &str| {
        text.chars()
            .map(|character| format!("&#{};", u32::from(character)))
            .collect::<String>()
    };
    // Blanks and quotes around an ETag are not part of it.
    if listed
        .iter()
        .any(|(_, etag)| etag.trim().trim_matches('"') != etag || etag.contains('\0'))
    {
        return;
    }
    let written: String = listed
        .iter()
        .map(|(number, etag)| {
            format!(
                "<Part><PartNumber>{number}</PartNumber><ETag>{}</ETag></Part>",
                escaped(etag)
            )
        })
        .collect();
    let written = format!("<CompleteMultipartUpload>{written}</CompleteMultipartUpload>");
    assert_eq!(parts(written.as_bytes()), Some(listed));
});
