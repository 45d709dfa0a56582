//! The one request body that is XML: the parts of which an object is put together.

use quick_xml::{Reader, escape::unescape, events::Event};

use crate::error::OssError;

/// A part as the client lists it when it completes a multipart upload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ListedPart {
    pub(crate) number: u32,
    /// Without its quotes.
    pub(crate) etag: String,
}

/// Reads `<CompleteMultipartUpload>`. Elements that are not known are passed over.
///
/// # Errors
/// `MalformedXML`, if it is not XML, has no part, or has more than 10,000.
pub(crate) fn read_parts(body: &[u8]) -> Result<Vec<ListedPart>, OssError> {
    let text = std::str::from_utf8(body).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    let mut path: Vec<String> = Vec::new();
    let mut parts = Vec::new();
    let (mut number, mut etag) = (String::new(), String::new());

    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(tag) => {
                // Nothing here is deeper than part and field: deeper documents only cost memory.
                if path.len() >= MAX_DEPTH {
                    return Err(malformed());
                }
                path.push(tag.local_name().as_ref().to_owned());
                if path.len() == 2 {
                    number.clear();
                    etag.clear();
                }
            }
            Event::End(_) => {
                if path == ["CompleteMultipartUpload", "Part"] {
                    parts.push(ListedPart {
                        number: number.trim().parse().map_err(|_| malformed())?,
                        etag: etag.trim().trim_matches('"').to_owned(),
                    });
                    if parts.len() > MAX_PARTS {
                        return Err(malformed());
                    }
                }
                path.pop();
            }
            Event::Text(text) => {
                if let Some(field) = field(&path, &mut number, &mut etag) {
                    field.push_str(&text);
                }
            }
            Event::GeneralRef(reference) => {
                if let Some(field) = field(&path, &mut number, &mut etag) {
                    let escape = format!("&{};", &*reference);
                    field.push_str(&unescape(&escape).map_err(|_| malformed())?);
                }
            }
            Event::CData(data) => {
                if let Some(field) = field(&path, &mut number, &mut etag) {
                    field.push_str(&data);
                }
            }
            Event::Eof => break,
            Event::Empty(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_) => {}
        }
    }
    if parts.is_empty() || !path.is_empty() {
        return Err(malformed());
    }
    Ok(parts)
}

fn field<'a>(
    path: &[String],
    number: &'a mut String,
    etag: &'a mut String,
) -> Option<&'a mut String> {
    match path {
        [root, part, name] if root == "CompleteMultipartUpload" && part == "Part" => {
            match name.as_str() {
                "PartNumber" => Some(number),
                "ETag" => Some(etag),
                _ => None,
            }
        }
        _ => None,
    }
}

fn malformed() -> OssError {
    OssError::bad_request(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema.",
    )
}

/// The service's bound on the parts of an upload.
const MAX_PARTS: usize = 10_000;

const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::Xml;

    #[test]
    fn each_spelling_of_the_quotes_is_read() {
        for quote in ["\"", "&quot;", "&#34;", "&#x22;", ""] {
            let body = format!(
                "<?xml version=\"1.0\"?>\n<CompleteMultipartUpload>\n<Part>\n<PartNumber>1</PartNumber>\n\
                 <ETag>{quote}AB{quote}</ETag>\n</Part></CompleteMultipartUpload>\n"
            );
            let part = ListedPart {
                number: 1,
                etag: "AB".to_owned(),
            };
            assert_eq!(read_parts(body.as_bytes()).unwrap(), [part], "{quote}");
        }
    }

    #[test]
    fn what_is_no_list_of_parts_is_malformed() {
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        for body in [
            "",
            "{}",
            "<CompleteMultipartUpload/>",
            "<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>&nbsp;</ETag></Part></CompleteMultipartUpload>",
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>",
            &deep,
        ] {
            let error = read_parts(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, "MalformedXML", "{body}");
        }
    }

    proptest! {
        #[test]
        fn a_list_that_was_written_is_read(
            parts in proptest::collection::vec((any::<u32>(), "[A-F0-9<>&\"' ]{0,40}"), 1..20),
            space in "[ \n\t]{0,3}",
        ) {
            let mut xml = Xml::document();
            xml.element("CompleteMultipartUpload", |xml| {
                for (number, etag) in &parts {
                    xml.element("Part", |xml| {
                        xml.text("ETag", etag);
                        xml.text("Unknown", "1");
                        xml.text("PartNumber", &number.to_string());
                    });
                }
            });
            let spaced = xml.into_string().replace("<Part>", &format!("{space}<Part>"));
            let read = read_parts(spaced.as_bytes()).unwrap();
            let expected: Vec<ListedPart> = parts
                .into_iter()
                .map(|(number, etag)| ListedPart {
                    number,
                    etag: etag.trim().trim_matches('"').to_owned(),
                })
                .collect();
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn nothing_else_panics(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("<CompleteMultipartUpload>".to_owned()), Just("</CompleteMultipartUpload>".to_owned()),
                    Just("<Part>".to_owned()), Just("</Part>".to_owned()), Just("<PartNumber>1".to_owned()),
                    Just("</PartNumber>".to_owned()), Just("<ETag>".to_owned()), Just("&quot;".to_owned()),
                    Just("&#x0;".to_owned()), Just("<![CDATA[".to_owned()), Just("]]>".to_owned()),
                    Just("<!DOCTYPE a [<!ENTITY b \"c\">]>".to_owned()), Just("&b;".to_owned()), ".{0,4}",
                ],
                0..40,
            ),
            cut in any::<proptest::sample::Index>(),
        ) {
            let text = pieces.concat();
            let bytes = text.as_bytes();
            for bytes in [bytes, &bytes[..cut.index(bytes.len() + 1)]] {
                if let Ok(parts) = read_parts(bytes) {
                    prop_assert!(!parts.is_empty());
                }
            }
        }
    }
}
