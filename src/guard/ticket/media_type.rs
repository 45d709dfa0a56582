//! The media types that a ticket is for.
//!
//! 1. A pattern is `type/subtype`, `type/*` or `*/*`. A `*` anywhere else is malformed.
//! 2. ASCII letters match in either case.
//! 3. What the uploader declared may have parameters, `text/plain; charset=utf-8`. They count only
//!    for a pattern that has parameters too; such a pattern is compared whole, but for the blanks around
//!    its semicolons.
//! 4. A wildcard stands for one concrete type: `image/*` does not match `image/`, nor itself.
//! 5. `*/*` matches whatever was declared, a word without a slash too, and only nothing not: it says
//!    that any declaration will do. A policy or a URL cannot say less, so OSS has already stored what the
//!    guard refuses here.

/// Whether it is a pattern that can match something.
pub(super) fn is_pattern(pattern: &str) -> bool {
    if pattern.trim() != pattern {
        return false;
    }
    match split(essence(pattern)) {
        None => false,
        Some(("*", subtype)) => subtype == "*" && essence(pattern) == pattern,
        Some((r#type, "*")) => is_concrete(r#type) && essence(pattern) == pattern,
        Some((r#type, subtype)) => is_concrete(r#type) && is_concrete(subtype),
    }
}

/// Whether a pattern matches what the uploader declared. A malformed pattern matches at most itself.
pub(super) fn matches(pattern: &str, declared: &str) -> bool {
    if pattern == "*/*" {
        return !essence(declared).is_empty();
    }
    if is_same(pattern, declared) {
        return !pattern.contains('*');
    }
    let declared = essence(declared);
    match (split(pattern), split(declared)) {
        (Some((granted, "*")), Some((r#type, subtype))) => {
            granted.eq_ignore_ascii_case(r#type) && is_concrete(r#type) && is_concrete(subtype)
        }
        _ => pattern.eq_ignore_ascii_case(declared) && !pattern.contains('*'),
    }
}

/// Whether two types are the same with all parameters.
fn is_same(one: &str, other: &str) -> bool {
    let parts = |text| str::split(text, ';').map(str::trim);
    let (mut one, mut other) = (parts(one), parts(other));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one.eq_ignore_ascii_case(other) => {}
            _ => return false,
        }
    }
}

/// A media type without its parameters.
fn essence(media_type: &str) -> &str {
    let end = media_type.find(';').unwrap_or(media_type.len());
    media_type[..end].trim()
}

fn split(essence: &str) -> Option<(&str, &str)> {
    essence.split_once('/')
}

/// A token of HTTP without `*`.
fn is_concrete(name: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_tchar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_types_and_wildcards() {
        for good in [
            "image/png",
            "IMAGE/Png",
            "image/*",
            "*/*",
            "application/vnd.ms-excel",
            "image/svg+xml",
            "text/plain; charset=utf-8",
            "text/plain;charset=utf-8",
        ] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "",
            "*",
            "image",
            "image/",
            "/png",
            "/",
            "*/png",
            "image*",
            "image/*png",
            "image/p*",
            "im*/png",
            "image/**",
            "image/png/x",
            "image/*/x",
            " image/png",
            "image/png ",
            "image /png",
            "image/png,image/gif",
            "image/*; q=0.8",
            "*/*;q=0.1",
            ".png",
            "image\\png",
            "画像/png",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn wildcards_match_concrete_types() {
        for (pattern, declared, expected) in [
            ("image/png", "image/png", true),
            ("image/png", "Image/PNG", true),
            ("image/png", "image/png2", false),
            ("image/png", "image/png; q=1", true),
            ("image/png", "", false),
            (
                "text/plain; charset=utf-8",
                "text/plain;charset=utf-8",
                true,
            ),
            (
                "text/plain;charset=utf-8",
                "text/plain ; charset=UTF-8",
                true,
            ),
            ("text/plain; charset=utf-8", "text/plain", false),
            (
                "text/plain; charset=utf-8",
                "text/plain; charset=UTF-8",
                true,
            ),
            (
                "text/plain; charset=utf-8",
                "text/plain; charset=gbk",
                false,
            ),
            ("image/*", "image/png", true),
            ("image/*", "IMAGE/svg+xml; charset=utf-8", true),
            ("Image/*", "image/png", true),
            ("image/*", "image", false),
            ("image/*", "image/", false),
            ("image/*", "image/*", false),
            ("image/*", "image/png/html", false),
            ("image/*", "images/png", false),
            ("image/*", "ximage/png", false),
            ("image/*", "text/html;image/png", false),
            ("image/*", "image/ png", false),
            ("image/*", "", false),
            ("*/*", "text/html", true),
            ("*/*", "text", true),
            ("*/*", "png; q=1", true),
            ("*/*", "*/*", true),
            ("*/*", "", false),
            ("*/*", " ", false),
            ("*/*", ";q=1", false),
            // What other issuers may write and this crate does not.
            ("image/p*", "image/png", false),
            ("image/p*", "image/p*", false),
            ("*", "image/png", false),
            ("*/png", "image/png", false),
        ] {
            assert_eq!(matches(pattern, declared), expected, "{pattern} {declared}");
        }
    }
}
