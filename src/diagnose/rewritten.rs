//! Bodies that a parser took apart and a serializer wrote again, in the same format or in another.
//!
//! 1. What a parser keeps is taken from the received body: names, values, and mostly their order. What a
//!    serializer chooses is varied: escapes, white space, order, which values have quotes.
//! 2. The cheap and likely come first: those in the order that arrived, then in the order of the
//!    service's documentation, then in every order.

use std::ops::ControlFlow;

use super::{
    Cause,
    bodies::Visit,
    charsets::converted,
    encoding::{Pair, Reading, Style, pairs, readings},
    json_text::{Json, Layout},
    order::{canonical, permutations},
};

/// Longer bodies are not parsed and written again: a callback has some hundred bytes.
const MAX_PARSED_LEN: usize = 64 * 1024;

/// Longer ones are parsed, and only written in the ways of known serializers.
const MAX_VARIED_LEN: usize = 8 * 1024;

/// Visits the bodies from which a parser and a serializer make the received one.
pub(super) fn rewritten(body: &[u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
    if body.len() > MAX_PARSED_LEN {
        return ControlFlow::Continue(());
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = body.trim_ascii();
    let json = std::str::from_utf8(text).ok().and_then(Json::parse);
    if let Some(json) = json {
        json_of_json(&json, visit)?;
        return forms_of_json(&json, visit);
    }
    if let Some(pairs) = multipart(body) {
        return forms(&pairs, &mut |body| visit(Cause::BodyConverted, body));
    }
    if text.contains(&b'=') {
        forms_of_form(text, visit)?;
        return json_of_form(&pairs(text), visit);
    }
    ControlFlow::Continue(())
}

/// JSON that was written again.
fn json_of_json(json: &Json, visit: &mut Visit<'_>) -> ControlFlow<()> {
    layouts(json, &mut |body| visit(Cause::BodyReserialized, body))?;
    orders(json, &mut |body| visit(Cause::BodyReserialized, body))?;
    for other in other_types(json) {
        common_layouts(&other, &mut |body| visit(Cause::BodyReserialized, body))?;
        orders(&other, &mut |body| visit(Cause::BodyReserialized, body))?;
    }
    for other in other_charsets(json) {
        common_layouts(&other, &mut |body| visit(Cause::BodyCharset, body))?;
    }
    ControlFlow::Continue(())
}

fn layouts(json: &Json, visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    for layout in Layout::all(json) {
        let mut body = layout.write(json);
        visit(&body)?;
        body.push(b'\n');
        visit(&body)?;
    }
    ControlFlow::Continue(())
}

fn common_layouts(json: &Json, visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let mut common = Layout::COMMON.iter();
    common.try_for_each(|layout| visit(&layout.write(json)))
}

/// The document with its members in other orders, those of objects in it too.
fn orders(json: &Json, visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let Json::Object(members) = json else {
        return ControlFlow::Continue(());
    };
    let mut write = |members: &[(String, Json)]| {
        let json = Json::Object(members.to_vec());
        let mut common = Layout::COMMON.iter().take(3);
        common.try_for_each(|layout| visit(&layout.write(&json)))
    };
    canonical(members, &mut write)?;
    for (at, (name, value)) in members.iter().enumerate() {
        let Json::Object(inner) = value else {
            continue;
        };
        let mut outer_orders = |inner: &[(String, Json)]| {
            let mut members = members.clone();
            members[at] = (name.clone(), Json::Object(inner.to_vec()));
            write(&members)?;
            canonical(&members, &mut write)
        };
        canonical(inner, &mut outer_orders)?;
        permutations(inner, &mut outer_orders)?;
    }
    permutations(members, &mut write)
}

/// Documents whose numbers had quotes, or whose texts had none, or whose empty values were `null`.
fn other_types(json: &Json) -> Vec<Json> {
    let is_number = |text: &str| {
        text.parse::<f64>().is_ok_and(f64::is_finite)
            && text.starts_with(|c: char| c != '+' && c != '.')
    };
    let unquoted = |is_one: &dyn Fn(&str) -> bool| {
        json.with_values(&|name, value| match value {
            Json::Text(text) if is_number(text) && is_one(name) => Json::Bare(text.clone()),
            other => other.clone(),
        })
    };
    let quoted = |is_one: &dyn Fn(&str) -> bool| {
        json.with_values(&|name, value| match value {
            Json::Bare(text) if is_number(text) && is_one(name) => Json::Text(text.clone()),
            other => other.clone(),
        })
    };
    let with_null = json.with_values(&|_, value| match value {
        Json::Text(text) if text.is_empty() => Json::Bare("null".to_owned()),
        other => other.clone(),
    });
    let without_null = json.with_values(&|_, value| match value {
        Json::Bare(text) if text == "null" => Json::Text(String::new()),
        other => other.clone(),
    });
    // A number that a parser of floating point made of an integer, and the other way round.
    let whole = json.with_values(&|_, value| match value {
        Json::Bare(text) => Json::Bare(text.strip_suffix(".0").unwrap_or(text).to_owned()),
        other => other.clone(),
    });
    let trimmed = json.with_values(&|_, value| match value {
        Json::Text(text) => Json::Text(text.trim().to_owned()),
        other => other.clone(),
    });
    let candidates = [
        unquoted(&is_system_number),
        unquoted(&|_| true),
        quoted(&|name| !is_system_number(name)),
        quoted(&|_| true),
        with_null,
        without_null,
        whole,
        trimmed,
    ];
    let mut others: Vec<Json> = Vec::new();
    for candidate in candidates {
        if candidate != *json && !others.contains(&candidate) {
            others.push(candidate);
        }
    }
    others
}

/// Documents all of whose texts were converted.
fn other_charsets(json: &Json) -> Vec<Json> {
    let Some(first) = json.texts().into_iter().find(|text| !text.is_ascii()) else {
        return Vec::new();
    };
    let conversions = converted(first.as_bytes()).into_iter();
    let others = conversions.map(|(conversion, _)| {
        json.with_values(&|_, value| match value {
            Json::Text(text) if !text.is_ascii() => {
                let other = conversion.apply(text.as_bytes());
                let other = other.and_then(|bytes| String::from_utf8(bytes).ok());
                Json::Text(other.unwrap_or_else(|| text.clone()))
            }
            other => other.clone(),
        })
    });
    others.filter(|other| other != json).collect()
}

/// A form that was written again.
fn forms_of_form(text: &[u8], visit: &mut Visit<'_>) -> ControlFlow<()> {
    let plain = pairs(text);
    let mut as_form = |body: &[u8]| visit(Cause::BodyReserialized, body);
    known_styles(&plain, &mut as_form)?;
    // Parts that changed places as they are.
    let parts: Vec<Pair> = text
        .split(|byte| *byte == b'&')
        .map(|part| {
            let mut halves = part.splitn(2, |byte| *byte == b'=');
            Pair {
                name: halves.next().unwrap_or_default().to_vec(),
                value: halves.next().map(<[u8]>::to_vec),
            }
        })
        .collect();
    canonical(&parts, &mut |parts| as_form(&joined(parts)))?;
    let other_readings: Vec<Reading> = readings(text);
    for (cause, pairs) in &other_readings {
        let cause = cause.unwrap_or(Cause::BodyReserialized);
        known_styles(pairs, &mut |body| visit(cause, body))?;
    }
    let mut as_form = |body: &[u8]| visit(Cause::BodyReserialized, body);
    if text.len() <= MAX_VARIED_LEN {
        Style::all(&plain, &mut |style| as_form(&style.write(&plain)))?;
    }
    permutations(&parts, &mut |parts| as_form(&joined(parts)))?;
    form_orders(&plain, &mut as_form)?;
    // An empty value that lost its `=`, or got one, and one that was left out.
    let with_values: Vec<Pair> = plain
        .iter()
        .map(|pair| Pair {
            name: pair.name.clone(),
            value: Some(pair.value.clone().unwrap_or_default()),
        })
        .collect();
    known_styles(&with_values, &mut as_form)?;
    let without_values: Vec<Pair> = plain
        .iter()
        .map(|pair| Pair {
            name: pair.name.clone(),
            value: pair.value.clone().filter(|value| !value.is_empty()),
        })
        .collect();
    known_styles(&without_values, &mut as_form)
}

/// Parts that are not encoded again.
fn joined(parts: &[Pair]) -> Vec<u8> {
    let mut text = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            text.push(b'&');
        }
        text.extend(&part.name);
        if let Some(value) = &part.value {
            text.push(b'=');
            text.extend(value);
        }
    }
    text
}

fn known_styles(
    pairs: &[Pair],
    visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    Style::known(pairs).try_for_each(|style| visit(&style.write(pairs)))
}

/// In other orders, in the styles of known encoders that differ for these pairs.
fn form_orders(pairs: &[Pair], visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    let styles = Style::distinct(pairs, MAX_STYLES);
    let mut write = |pairs: &[Pair]| {
        styles
            .iter()
            .try_for_each(|style| visit(&style.write(pairs)))
    };
    canonical(pairs, &mut write)?;
    permutations(pairs, &mut write)
}

/// The styles in which each order is written.
const MAX_STYLES: usize = 6;

/// A form in every style and order.
fn forms(pairs: &[Pair], visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
    known_styles(pairs, visit)?;
    form_orders(pairs, visit)?;
    Style::all(pairs, &mut |style| visit(&style.write(pairs)))
}

/// A form whose pairs became the members of an object.
fn forms_of_json(json: &Json, visit: &mut Visit<'_>) -> ControlFlow<()> {
    let Json::Object(members) = json else {
        return ControlFlow::Continue(());
    };
    for separator in [".", "["] {
        let mut pairs = Vec::new();
        for (name, value) in members {
            flatten(name, value, separator, &mut pairs);
        }
        forms(&pairs, &mut |body| visit(Cause::BodyConverted, body))?;
        let is_flat = members
            .iter()
            .all(|(_, value)| matches!(value, Json::Text(_) | Json::Bare(_)));
        if is_flat {
            break;
        }
    }
    ControlFlow::Continue(())
}

/// The pairs of a value: one, or one for each member. A list of one is what parsers make that allow a
/// name to occur again.
fn flatten(name: &str, value: &Json, separator: &str, pairs: &mut Vec<Pair>) {
    let value = match value {
        Json::Text(text) | Json::Bare(text) if text != "null" => text.clone(),
        Json::Bare(_) | Json::Text(_) => String::new(),
        Json::Array(items) => {
            for item in items {
                flatten(name, item, separator, pairs);
            }
            return;
        }
        Json::Object(members) => {
            for (inner, value) in members {
                let name = match separator {
                    "[" => format!("{name}[{inner}]"),
                    _ => format!("{name}.{inner}"),
                };
                flatten(&name, value, separator, pairs);
            }
            return;
        }
    };
    pairs.push(Pair {
        name: name.to_owned().into_bytes(),
        value: Some(value.into_bytes()),
    });
}

fn is_system_number(name: &str) -> bool {
    let name = name.rsplit('.').next().unwrap_or(name);
    ["size", "height", "width", "filesize", "fileSize"].contains(&name)
}

/// An object whose members became the pairs of a form. A form does not say which values had quotes, nor
/// which names stood for an object.
fn json_of_form(pairs: &[Pair], visit: &mut Visit<'_>) -> ControlFlow<()> {
    let Some(flat) = object_of(pairs, false) else {
        return ControlFlow::Continue(());
    };
    let nested = object_of(pairs, true).filter(|nested| *nested != flat);
    for object in [Some(flat), nested].into_iter().flatten() {
        let mut documents = other_types(&object);
        documents.push(object);
        let mut as_json = |body: &[u8]| visit(Cause::BodyConverted, body);
        for json in &documents {
            layouts(json, &mut as_json)?;
        }
        for json in &documents {
            orders(json, &mut as_json)?;
        }
    }
    ControlFlow::Continue(())
}

/// Every value is a text, but for the words that are none in any serializer.
fn object_of(pairs: &[Pair], nested: bool) -> Option<Json> {
    let mut members: Vec<(String, Json)> = Vec::new();
    for pair in pairs {
        let name = String::from_utf8(pair.name.clone()).ok()?;
        let value = String::from_utf8(pair.value.clone().unwrap_or_default()).ok()?;
        let value = match value.as_str() {
            "true" | "false" | "null" => Json::Bare(value),
            _ => Json::Text(value),
        };
        let name = name.replace('[', ".").replace(']', "");
        match name.split_once('.').filter(|_| nested) {
            Some((outer, inner)) => {
                let inner = (inner.to_owned(), value);
                match members.iter_mut().find(|(name, _)| name == outer) {
                    Some((_, Json::Object(members))) => members.push(inner),
                    _ => members.push((outer.to_owned(), Json::Object(vec![inner]))),
                }
            }
            None => members.push((name, value)),
        }
    }
    Some(Json::Object(members))
}

/// The pairs of a form that was sent on as `multipart/form-data`.
fn multipart(body: &[u8]) -> Option<Vec<Pair>> {
    let boundary = body.strip_prefix(b"--")?;
    let end = boundary.iter().position(|byte| *byte == b'\r')?;
    let delimiter = [b"\r\n--", &boundary[..end]].concat();
    let mut rest = &body[2 + end..];
    let mut pairs = Vec::new();
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let length = position(part, &delimiter)?;
        let head = position(part, b"\r\n\r\n").filter(|head| *head < length)?;
        let name_at = position(&part[..head], b"name=\"")? + 6;
        let name = part[name_at..head].split(|byte| *byte == b'"').next()?;
        pairs.push(Pair {
            name: name.to_vec(),
            value: Some(part[head + 4..length].to_vec()),
        });
        rest = &part[length + delimiter.len()..];
    }
    rest.starts_with(b"--").then_some(pairs)
}

fn position(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(signed: &str, received: &str) -> Option<Cause> {
        let mut found = None;
        let _ = rewritten(received.as_bytes(), &mut |cause, body| {
            if body == signed.as_bytes() {
                found = Some(cause);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    const FORM: &str = "bucket=photos&object=a%2Fb%20c.jpg&size=7&mimeType=image%2Fjpeg";
    const JSON: &str =
        r#"{"bucket":"photos","object":"a/b c.jpg","size":7,"mimeType":"image/jpeg"}"#;

    #[test]
    fn forms_written_again_lead_back() {
        for received in [
            "bucket=photos&mimeType=image%2Fjpeg&object=a%2Fb+c.jpg&size=7",
            "bucket=photos&object=a/b c.jpg&size=7&mimeType=image/jpeg",
            "size=7&object=a%2fb%20c.jpg&mimeType=image%2fjpeg&bucket=photos",
        ] {
            assert_eq!(
                cause_of(FORM, received),
                Some(Cause::BodyReserialized),
                "{received}"
            );
        }
    }

    #[test]
    fn forms_that_became_something_else_lead_back() {
        for received in [
            JSON,
            r#"{"bucket":["photos"],"mimeType":["image/jpeg"],"object":["a/b c.jpg"],"size":["7"]}"#,
            "--x1\r\nContent-Disposition: form-data; name=\"bucket\"\r\n\r\nphotos\r\n--x1\r\n\
             Content-Disposition: form-data; name=\"object\"\r\n\r\na/b c.jpg\r\n--x1\r\n\
             Content-Disposition: form-data; name=\"size\"\r\n\r\n7\r\n--x1\r\n\
             Content-Disposition: form-data; name=\"mimeType\"\r\n\r\nimage/jpeg\r\n--x1--\r\n",
        ] {
            assert_eq!(
                cause_of(FORM, received),
                Some(Cause::BodyConverted),
                "{received}"
            );
        }
    }

    #[test]
    fn json_written_again_leads_back() {
        for received in [
            r#"{"bucket": "photos", "mimeType": "image\/jpeg", "object": "a\/b c.jpg", "size": 7}"#,
            r#"{"bucket":"photos","object":"a/b c.jpg","size":"7","mimeType":"image/jpeg"}"#,
            r#"{"bucket":"photos","object":"a/b c.jpg","size":7.0,"mimeType":"image/jpeg"}"#,
        ] {
            assert_eq!(
                cause_of(JSON, received),
                Some(Cause::BodyReserialized),
                "{received}"
            );
        }
        let nested = r#"{"object":"a","imageInfo":{"height":1,"width":2,"format":"png"}}"#;
        let sorted = r#"{"imageInfo":{"format":"png","height":1,"width":2},"object":"a"}"#;
        assert_eq!(cause_of(nested, sorted), Some(Cause::BodyReserialized));
        let form =
            "object=a&imageInfo%5Bheight%5D=1&imageInfo%5Bwidth%5D=2&imageInfo%5Bformat%5D=png";
        assert_eq!(cause_of(nested, form), Some(Cause::BodyConverted));
    }

    #[test]
    fn long_lists_lead_back_to_the_order_of_the_documentation() {
        let signed = "bucket=b&object=o&etag=E&size=1&mimeType=t&imageInfo.height=2&imageInfo.width=3\
                      &imageInfo.format=png&my_var=v";
        let received = "bucket=b&etag=E&imageInfo.format=png&imageInfo.height=2&imageInfo.width=3\
                        &mimeType=t&my_var=v&object=o&size=1";
        assert_eq!(cause_of(signed, received), Some(Cause::BodyReserialized));
    }
}
