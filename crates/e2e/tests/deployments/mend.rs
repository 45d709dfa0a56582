//! Follows the text of a remedy: the calls of the layer's builder, and the directives of nginx.

use oss_callback::diagnose::Remedy;

/// What the text says about the signed target.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Rule {
    #[default]
    AsReceived,
    /// `path_prefix("/api")`
    Prefix(String),
    /// `signed_target` with another path and the query that arrived.
    Path(String),
}

/// The Rust half, if it is a call of the layer's builder and no advice in words.
pub fn rule(remedy: &Remedy) -> Option<Rule> {
    let call = remedy.rust().strip_prefix("OssCallbackLayer::builder().")?;
    if let Some(arguments) = call.strip_prefix("path_prefix(") {
        return Some(Rule::Prefix(literal(arguments)?));
    }
    let closure = call.strip_prefix("signed_target(|parts| match parts.uri.query() {")?;
    let (with_query, without) = closure.split_once("None => ")?;
    let path = literal(without)?;
    // Both arms are of one path.
    let format = literal(with_query.split_once("format!(")?.1)?;
    let format = format.replace("{{", "{").replace("}}", "}");
    assert_eq!(format, format!("{path}?{{query}}"));
    Some(Rule::Path(path))
}

/// The string literal at the start of a text.
fn literal(text: &str) -> Option<String> {
    let mut rest = text.trim_start().strip_prefix('"')?.chars();
    let mut literal = String::new();
    loop {
        match rest.next()? {
            '"' => return Some(literal),
            '\\' => literal.push(rest.next().filter(|c| matches!(c, '\\' | '"' | '\''))?),
            character => literal.push(character),
        }
    }
}

/// The directives of the proxy's half.
fn directives(remedy: &Remedy) -> Vec<String> {
    let lines = remedy.proxy().unwrap_or_default().lines();
    let directives = lines.filter(|line| !line.trim_start().starts_with('#'));
    directives.map(|line| line.trim().to_owned()).collect()
}

/// A location of nginx with the directives of a remedy in the place of those of the same name.
pub fn mended(location: &[&str], remedy: &Remedy) -> Vec<String> {
    let mut lines: Vec<String> = location.iter().map(|line| (*line).to_owned()).collect();
    for directive in directives(remedy) {
        let name = name(&directive);
        lines.retain(|line| self::name(line) != name);
        lines.push(directive);
    }
    lines
}

/// What may occur once: a directive, or one header of those that are set.
fn name(directive: &str) -> (&str, Option<String>) {
    let mut words = directive.trim_end_matches(';').split_whitespace();
    let name = words.next().unwrap_or_default();
    let header = words.next().filter(|_| name == "proxy_set_header");
    // Rewriting may be said several times, and is not what a remedy says.
    let header = match name {
        "rewrite" | "set" | "if" => Some(directive.to_owned()),
        _ => header.map(str::to_ascii_lowercase),
    };
    (name, header)
}

#[test]
fn literals_end_where_rust_ends_them() {
    assert_eq!(literal(r#""/a\"b" .."#).as_deref(), Some("/a\"b"));
    assert_eq!(literal("\"/a"), None);
    assert_eq!(literal("/a\""), None);
}
