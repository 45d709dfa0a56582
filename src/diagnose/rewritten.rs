//! Bodies that a parser took apart and a serializer wrote again, in the same format or in another.
//!
//! 1. What a parser keeps is taken from the received body: names, values, and mostly their order. What a
//!    serializer chooses is varied: escapes, white space, order, which values have quotes.
//! 2. The cheap and likely come first: those in the order that arrived and in the order of the service's
//!    documentation, in either format, and then those in every order.

use std::{cell::Cell, ops::ControlFlow};

use super::{
    Cause,
    bodies::Visitor,
    charsets::converted,
    encoding::{Pair, Style, is_small_digest, mixed, pairs, readings, renamed},
    json_text::{Json, Layout},
    names,
    order::{Named, Pieces, canonical, permutations},
    printed,
};

/// Longer bodies are not parsed and written again: a callback has some hundred bytes.
const MAX_PARSED_LEN: usize = 64 * 1024;

/// Longer ones are parsed, and only written in the ways of known serializers.
const MAX_VARIED_LEN: usize = 8 * 1024;

/// Visits the bodies from which a parser and a serializer make the received one, but for those whose order
/// is any.
pub(super) fn rewritten(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    likely(body, visitor)?;
    step_through(body, Step::Likely, visitor)
}

/// Those in every order.
pub(super) fn reordered(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    step_through(body, Step::EveryOrder, visitor)
}

fn step_through(body: &[u8], step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if body.len() > MAX_PARSED_LEN {
        return ControlFlow::Continue(());
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let text = body.trim_ascii();
    let as_text = std::str::from_utf8(text).ok();
    if let Some(json) = as_text.and_then(Json::parse) {
        json_of_json(&json, step, visitor)?;
        return forms_of_json(&json, step, visitor);
    }
    if let Some(json) = as_text.and_then(printed::parse) {
        json_that_was_printed(&json, step, visitor)?;
        return forms_of_json(&json, step, visitor);
    }
    if let Some(pairs) = multipart(body) {
        return forms(&pairs, Cause::BodyConverted, step, visitor);
    }
    if text.contains(&b'=') {
        // Separators for a page of HTML, as `http_build_query` may be told to write them.
        let plain = as_text.filter(|text| text.contains("&amp;"));
        let plain = plain.map(|text| text.replace("&amp;", "&").into_bytes());
        let text = plain.as_deref().unwrap_or(text);
        let pairs = pairs(text);
        forms_of_form(text, &pairs, step, visitor)?;
        return json_of_form(&pairs, step, visitor);
    }
    ControlFlow::Continue(())
}

/// The two steps through each format: the many orders of one must not come before what is likelier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    Likely,
    EveryOrder,
}

/// The likeliest of those bodies, for those who combine them with other changes.
pub(super) fn likely(body: &[u8], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if body.len() > MAX_VARIED_LEN {
        return ControlFlow::Continue(());
    }
    let text = body.trim_ascii();
    if let Some(pairs) = multipart(body) {
        return likely_forms(&pairs, Cause::BodyConverted, visitor);
    }
    let json = std::str::from_utf8(text).ok().and_then(Json::parse);
    if let Some(json) = json {
        likely_json(&json, Cause::BodyReserialized, visitor)?;
        let Json::Object(members) = &json else {
            return ControlFlow::Continue(());
        };
        let mut pairs = Vec::new();
        for (name, value) in members {
            flatten(name, value, ".", &mut pairs);
        }
        return likely_forms(&pairs, Cause::BodyConverted, visitor);
    }
    if !text.contains(&b'=') {
        return ControlFlow::Continue(());
    }
    let pairs = pairs(text);
    likely_forms(&pairs, Cause::BodyReserialized, visitor)?;
    let Some(object) = object_of(&pairs, false) else {
        return ControlFlow::Continue(());
    };
    let with_numbers = other_types(&object).into_iter().take(1);
    let mut objects = with_numbers.chain([object]);
    objects.try_for_each(|json| likely_json(&json, Cause::BodyConverted, visitor))
}

fn likely_json(json: &Json, cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let mut common = Layout::COMMON.iter().take(2).chain(&Layout::INDENTED);
    common.try_for_each(|layout| visitor.body(cause, &layout.write(json)))?;
    let inner = with_inner_order(json);
    let Json::Object(members) = &inner else {
        return ControlFlow::Continue(());
    };
    let own_order = (inner != *json).then(|| members.clone());
    documented(members)
        .iter()
        .chain(&own_order)
        .try_for_each(|members| {
            let mut common = Layout::COMMON.iter().take(2);
            common.try_for_each(|layout| visitor.body(cause, &layout.write_object(members)))
        })
}

/// The document with the members of the objects in it in the order of the documentation.
fn with_inner_order(json: &Json) -> Json {
    let Json::Object(members) = json else {
        return json.clone();
    };
    let members = members.iter().map(|(name, value)| {
        let value = match value {
            Json::Object(inner) => {
                let first = documented(inner).into_iter().next();
                Json::Object(first.unwrap_or_else(|| inner.clone()))
            }
            other => other.clone(),
        };
        (name.clone(), value)
    });
    Json::Object(members.collect())
}

fn likely_forms(pairs: &[Pair], cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let styles = Style::distinct(pairs, LIKELY_STYLES);
    let plain = [pairs.to_vec()];
    plain
        .iter()
        .chain(&documented(pairs))
        .try_for_each(|pairs| {
            let mut styles = styles.iter();
            styles.try_for_each(|style| visitor.body(cause, &style.write(pairs)))
        })
}

/// The styles of likely forms.
const LIKELY_STYLES: usize = 4;

/// The orders of the documentation that are others: own names behind the known ones, and between the last of
/// them.
fn documented<T: Clone + Named>(parts: &[T]) -> Vec<Vec<T>> {
    let names = |parts: &[T]| -> Vec<Vec<u8>> {
        let names = parts.iter().map(|part| part.name().to_vec());
        names.collect()
    };
    let mut visited = 0;
    let mut orders: Vec<Vec<T>> = Vec::new();
    let _ = canonical(parts, &mut |order| {
        visited += 1;
        let is_another = names(order) != names(parts);
        if is_another && orders.iter().all(|known| names(known) != names(order)) {
            orders.push(order.to_vec());
        }
        match visited < MAX_DOCUMENTED {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    orders
}

/// The places of own names that are likely.
const MAX_DOCUMENTED: usize = 3;

/// JSON that was written again.
fn json_of_json(json: &Json, step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let cause = Cause::BodyReserialized;
    let others = other_types(json);
    if step == Step::EveryOrder {
        orders(json, &Layout::COMMON, cause, visitor)?;
        return others
            .iter()
            .take(MAX_PERMUTED_OTHERS)
            .try_for_each(|other| orders(other, &Layout::COMMON[..1], cause, visitor));
    }
    layouts(json, cause, visitor)?;
    likely_orders(json, &Layout::COMMON, cause, visitor)?;
    for other in &others {
        common_layouts(other, cause, visitor)?;
        likely_orders(other, &Layout::COMMON[..2], cause, visitor)?;
    }
    for other in in_other_quotes(json) {
        common_layouts(&other, cause, visitor)?;
    }
    for other in other_charsets(json) {
        common_layouts(&other, Cause::BodyCharset, visitor)?;
    }
    ControlFlow::Continue(())
}

/// The documents of other types that are written in every order.
const MAX_PERMUTED_OTHERS: usize = 4;

fn layouts(json: &Json, cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    for layout in Layout::all(json) {
        let mut body = layout.write(json);
        visitor.body(cause, &body)?;
        body.push(b'\n');
        visitor.body(cause, &body)?;
    }
    ControlFlow::Continue(())
}

fn common_layouts(json: &Json, cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let mut common = Layout::COMMON.iter().chain(&Layout::INDENTED);
    common.try_for_each(|layout| visitor.body(cause, &layout.write(json)))
}

/// The document with its members in likely orders, and those of objects in it in every order.
fn likely_orders(
    json: &Json,
    layouts: &[Layout],
    cause: Cause,
    visitor: &mut dyn Visitor,
) -> ControlFlow<()> {
    let Json::Object(members) = json else {
        return ControlFlow::Continue(());
    };
    let mut write = |members: &[(String, Json)]| {
        let mut layouts = layouts.iter();
        layouts.try_for_each(|layout| visitor.body(cause, &layout.write_object(members)))
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
    ControlFlow::Continue(())
}

/// The document with its members in every order.
fn orders(
    json: &Json,
    layouts: &[Layout],
    cause: Cause,
    visitor: &mut dyn Visitor,
) -> ControlFlow<()> {
    let Json::Object(members) = json else {
        return ControlFlow::Continue(());
    };
    layouts.iter().try_for_each(|layout| {
        let parts = members.iter().map(|member| layout.write_member(member));
        let pieces = Pieces {
            open: b"{",
            parts: parts.collect(),
            separator: layout.comma().as_bytes(),
            close: b"}",
        };
        visitor.orders(cause, &pieces)
    })
}

/// JSON that was printed in another notation.
fn json_that_was_printed(json: &Json, step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let cause = Cause::BodyConverted;
    let mut documents = other_types(json);
    documents.insert(0, json.clone());
    documents.iter().try_for_each(|json| match step {
        Step::Likely => layouts(json, cause, visitor),
        Step::EveryOrder => orders(json, &Layout::COMMON[..1], cause, visitor),
    })
}

fn is_number(text: &str) -> bool {
    text.parse::<f64>().is_ok_and(f64::is_finite)
        && text.starts_with(|c: char| c != '+' && c != '.')
}

fn is_word(text: &str) -> bool {
    matches!(text, "true" | "false")
}

/// Documents in which some numbers have quotes, and others none: the service writes `size` without them and
/// what it knows of a picture with them.
fn in_other_quotes(json: &Json) -> Vec<Json> {
    let quotable = |value: &Json| match value {
        Json::Text(text) | Json::Bare(text) if is_number(text) => Some(text.clone()),
        _ => None,
    };
    let numbers = Cell::new(0_u32);
    json.with_values(&|_, value| {
        numbers.set(numbers.get() + u32::from(quotable(value).is_some()));
        value.clone()
    });
    if !(2..=MAX_QUOTED).contains(&numbers.get()) {
        return Vec::new();
    }
    let choices = (0..1_u32 << numbers.get()).map(|choice| {
        let left = Cell::new(choice);
        json.with_values(&|_, value| match quotable(value) {
            Some(text) => {
                let has_quotes = left.get() & 1 == 1;
                left.set(left.get() >> 1);
                match has_quotes {
                    true => Json::Text(text),
                    false => Json::Bare(text),
                }
            }
            None => value.clone(),
        })
    });
    choices.filter(|other| other != json).collect()
}

/// Numbers that have quotes in each combination: 16 of them.
const MAX_QUOTED: u32 = 4;

/// Documents whose numbers had quotes, or whose texts had none, or whose empty values were `null`.
fn other_types(json: &Json) -> Vec<Json> {
    let unquoted = |is_one: &dyn Fn(&str) -> bool| {
        json.with_values(&|name, value| match value {
            Json::Text(text) if (is_number(text) || is_word(text)) && is_one(name) => {
                Json::Bare(text.clone())
            }
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
        Json::Bare(text) => Json::Bare(as_integer(text).unwrap_or_else(|| text.clone())),
        other => other.clone(),
    });
    let with_capitals = json.with_values(&|_, value| match value {
        Json::Text(text) if is_small_digest(text.as_bytes()) => {
            Json::Text(text.to_ascii_uppercase())
        }
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
        with_capitals,
    ];
    let candidates = candidates.into_iter().chain(renamed_json(json));
    let mut others: Vec<Json> = Vec::new();
    for candidate in candidates {
        if candidate != *json && !others.contains(&candidate) {
            others.push(candidate);
        }
    }
    others
}

/// Documents whose names were changed.
fn renamed_json(json: &Json) -> impl Iterator<Item = Json> + '_ {
    names::changes().map(|change| json.with_names(&change))
}

/// The integer that a number of floating point stands for: `7.0`, `1.23e+08`.
fn as_integer(text: &str) -> Option<String> {
    let number: f64 = text.parse().ok()?;
    let is_exact = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    (is_exact && text.contains(['.', 'e', 'E'])).then(|| format!("{number:.0}"))
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
fn forms_of_form(
    text: &[u8],
    plain: &[Pair],
    step: Step,
    visitor: &mut dyn Visitor,
) -> ControlFlow<()> {
    let cause = Cause::BodyReserialized;
    if step == Step::EveryOrder {
        let parts = text.split(|byte| *byte == b'&').map(<[u8]>::to_vec);
        visitor.orders(cause, &form_pieces(parts.collect()))?;
        return every_order(plain, cause, visitor);
    }
    known_styles(plain, cause, visitor)?;
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
    canonical(&parts, &mut |parts| visitor.body(cause, &joined(parts)))?;
    let readings = readings(text);
    for (cause, pairs) in &readings {
        known_styles(pairs, cause.unwrap_or(Cause::BodyReserialized), visitor)?;
    }
    let styles = Style::distinct(plain, MAX_STYLES);
    canonical(plain, &mut |pairs| {
        let mut styles = styles.iter();
        styles.try_for_each(|style| visitor.body(cause, &style.write(pairs)))
    })?;
    for (cause, pairs) in &readings {
        let cause = cause.unwrap_or(Cause::BodyReserialized);
        let styles = Style::distinct(pairs, MAX_PERMUTED_STYLES);
        for pairs in documented(pairs) {
            styles
                .iter()
                .try_for_each(|style| visitor.body(cause, &style.write(&pairs)))?;
        }
    }
    // An empty value that lost its `=`, or got one.
    let with_values = |change: fn(Option<Vec<u8>>) -> Option<Vec<u8>>| -> Vec<Pair> {
        let pairs = plain.iter().map(|pair| Pair {
            name: pair.name.clone(),
            value: change(pair.value.clone()),
        });
        pairs.collect()
    };
    let filled = with_values(|value| Some(value.unwrap_or_default()));
    known_styles(&filled, cause, visitor)?;
    let without = with_values(|value| value.filter(|value| !value.is_empty()));
    known_styles(&without, cause, visitor)?;
    with_dropped(plain, visitor)?;
    // Another separator.
    if !text.contains(&b'&') {
        let lines = text.trim_ascii();
        for separator in [b";".as_slice(), b"; ", b"\r\n", b"\n"] {
            let parts = split(lines, separator);
            if parts.len() > 1 {
                let joined = parts.join(b"&".as_slice());
                visitor.body(cause, &joined)?;
                known_styles(&pairs(&joined), cause, visitor)?;
            }
        }
    }
    if text.len() > MAX_VARIED_LEN {
        return ControlFlow::Continue(());
    }
    mixed(text, &mut |text| visitor.body(cause, &text))?;
    Style::all(plain, &mut |style| visitor.body(cause, &style.write(plain)))
}

/// A form with the empty values that a parser dropped. The service renders the variables of a picture as
/// such, if the object is none.
fn with_dropped(pairs: &[Pair], visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if pairs.len() > MAX_WITH_DROPPED {
        return ControlFlow::Continue(());
    }
    let styles = Style::distinct(pairs, MAX_PERMUTED_STYLES);
    for names in EMPTY_WITHOUT_A_PICTURE {
        let dropped: Vec<Pair> = names
            .iter()
            .map(|name| Pair {
                name: name.as_bytes().to_vec(),
                value: Some(Vec::new()),
            })
            .collect();
        for at in (0..=pairs.len()).rev() {
            let all = [&pairs[..at], &dropped, &pairs[at..]].concat();
            styles
                .iter()
                .try_for_each(|style| visitor.body(Cause::BodyReserialized, &style.write(&all)))?;
        }
    }
    ControlFlow::Continue(())
}

/// Longer forms are not completed.
const MAX_WITH_DROPPED: usize = 16;

/// Names that stand together in the templates of the service's documentation and samples.
const EMPTY_WITHOUT_A_PICTURE: [&[&str]; 6] = [
    &["imageInfo.height", "imageInfo.width", "imageInfo.format"],
    &["imageInfo.height", "imageInfo.width"],
    &["height", "width"],
    &["height", "width", "format"],
    &["imageInfo.width", "imageInfo.height"],
    &["width", "height"],
];

fn split<'a>(text: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = position(rest, separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

fn form_pieces(parts: Vec<Vec<u8>>) -> Pieces {
    Pieces {
        open: b"",
        parts,
        separator: b"&",
        close: b"",
    }
}

fn every_order(pairs: &[Pair], cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    // The fewer the orders, the more the styles.
    let most = match pairs.len() {
        ..=5 => usize::MAX,
        6 => MAX_STYLES,
        _ => MAX_PERMUTED_STYLES,
    };
    let styles = Style::distinct(pairs, most);
    styles.iter().try_for_each(|style| {
        let parts = pairs
            .iter()
            .map(|pair| style.write(std::slice::from_ref(pair)));
        visitor.orders(cause, &form_pieces(parts.collect()))
    })
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

fn known_styles(pairs: &[Pair], cause: Cause, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    Style::known(pairs).try_for_each(|style| visitor.body(cause, &style.write(pairs)))
}

/// The styles in which likely orders are written, and those in which every order is.
const MAX_STYLES: usize = 7;
const MAX_PERMUTED_STYLES: usize = 3;

/// A form in every style and order.
fn forms(pairs: &[Pair], cause: Cause, step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    if step == Step::EveryOrder {
        return every_order(pairs, cause, visitor);
    }
    known_styles(pairs, cause, visitor)?;
    let styles = Style::distinct(pairs, MAX_STYLES);
    canonical(pairs, &mut |pairs| {
        let mut styles = styles.iter();
        styles.try_for_each(|style| visitor.body(cause, &style.write(pairs)))
    })?;
    Style::all(pairs, &mut |style| visitor.body(cause, &style.write(pairs)))
}

/// A form whose pairs became the members of an object.
fn forms_of_json(json: &Json, step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let Json::Object(members) = json else {
        return ControlFlow::Continue(());
    };
    for separator in [".", "["] {
        let mut pairs = Vec::new();
        for (name, value) in members {
            flatten(name, value, separator, &mut pairs);
        }
        forms(&pairs, Cause::BodyConverted, step, visitor)?;
        if step == Step::Likely {
            renamed(&pairs)
                .iter()
                .try_for_each(|pairs| known_styles(pairs, Cause::BodyConverted, visitor))?;
        }
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
fn json_of_form(pairs: &[Pair], step: Step, visitor: &mut dyn Visitor) -> ControlFlow<()> {
    let Some(flat) = object_of(pairs, false) else {
        return ControlFlow::Continue(());
    };
    let nested = object_of(pairs, true).filter(|nested| *nested != flat);
    let parsed = with_parsed_texts(&flat).filter(|parsed| *parsed != flat);
    for object in [Some(flat), nested, parsed].into_iter().flatten() {
        let mut documents = other_types(&object);
        documents.insert(0, object);
        let cause = Cause::BodyConverted;
        if step == Step::EveryOrder {
            documents
                .iter()
                .take(MAX_PERMUTED_OTHERS)
                .try_for_each(|json| orders(json, &Layout::COMMON[..2], cause, visitor))?;
            continue;
        }
        for json in &documents {
            layouts(json, cause, visitor)?;
        }
        for json in in_other_quotes(&documents[0]) {
            common_layouts(&json, cause, visitor)?;
        }
        for json in &documents {
            likely_orders(json, &Layout::COMMON[..2], cause, visitor)?;
        }
    }
    ControlFlow::Continue(())
}

/// The object in which the texts that are documents were parts of it.
fn with_parsed_texts(flat: &Json) -> Option<Json> {
    let Json::Object(members) = flat else {
        return None;
    };
    let members = members.iter().map(|(name, value)| match value {
        Json::Text(text) if text.starts_with(['{', '[']) => {
            let parsed = Json::parse(text).or_else(|| printed::parse(text));
            (name.clone(), parsed.unwrap_or_else(|| value.clone()))
        }
        other => (name.clone(), other.clone()),
    });
    Some(Json::Object(members.collect()))
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
        // The empty line that ends the head may be the one before the delimiter.
        let value = part.get(head + 4..length)?;
        pairs.push(Pair {
            name: name.to_vec(),
            value: Some(value.to_vec()),
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
    use md5::{Digest, Md5};

    use super::*;

    /// Looks for one body.
    struct Looking<'a> {
        signed: &'a [u8],
        found: Option<Cause>,
    }

    impl Visitor for Looking<'_> {
        fn body(&mut self, cause: Cause, body: &[u8]) -> ControlFlow<()> {
            if body == self.signed {
                self.found = Some(cause);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }

        fn orders(&mut self, cause: Cause, pieces: &Pieces) -> ControlFlow<()> {
            let wanted = Md5::digest(self.signed);
            let found = pieces.find(&Md5::new(), &mut |state| match state.finalize() == wanted {
                true => ControlFlow::Break(true),
                false => ControlFlow::Continue(()),
            });
            found.map_or(ControlFlow::Continue(()), |body| self.body(cause, &body))
        }
    }

    fn cause_of(signed: &str, received: &str) -> Option<Cause> {
        let mut looking = Looking {
            signed: signed.as_bytes(),
            found: None,
        };
        let _ = rewritten(received.as_bytes(), &mut looking).is_continue()
            && reordered(received.as_bytes(), &mut looking).is_continue();
        looking.found
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
