//! The layer's warning of a callback that is genuine and was refused, beside what an access log says of it.
//!
//! 1. A proxy logs the target that it received, and the warning names the path that the layer verified:
//!    together they show what became of it.
//! 2. Lines of `tracing`'s text and of its JSON are known, also as a container's log wraps them.
//! 3. A path counts if the layer wrote it whole, and if all such warnings name the same one: which of
//!    several belongs to the request cannot be seen.

/// The path that the layer verified and refused.
pub(super) fn verified_path(text: &str) -> Option<&str> {
    let is_one = |line: &&str| {
        line.contains("genuine callback refused") && line.contains("InvalidSignature")
    };
    let mut paths = text.lines().filter(is_one).map(path);
    let first = paths.next()??;
    paths.all(|path| path == Some(first)).then_some(first)
}

fn path(line: &str) -> Option<&str> {
    let in_text = line.split_once(" path=").map(|(_, rest)| {
        let end = rest.find(char::is_whitespace);
        &rest[..end.unwrap_or(rest.len())]
    });
    let in_json = || {
        let (_, rest) = line.split_once("\"path\":\"")?;
        rest.split('"').next()
    };
    let path = in_text.or_else(in_json)?;
    // The layer escapes what is not ASCII, and ends with dots what it cuts.
    let is_whole = !path.contains(['\\', '"', '?']) && !path.ends_with("...");
    (path.starts_with('/') && is_whole).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"WARN oss_callback: genuine callback refused kind="InvalidSignature" look_at="path_prefix, or signed_target: a proxy or an outer layer changed the path or the query" changed="path-prefix-removed" diagnosis=would verify as /api/cb: set path_prefix("/api") path=/cb cause=the signature does not match"#;

    #[test]
    fn the_path_of_every_form() {
        for line in [
            TEXT,
            r#"{"level":"WARN","fields":{"message":"genuine callback refused","kind":"InvalidSignature","path":"/cb","cause":"x"},"target":"oss_callback"}"#,
            r#"{"log":"WARN oss_callback: genuine callback refused kind=\"InvalidSignature\" path=/cb cause=x\n"}"#,
        ] {
            assert_eq!(verified_path(line), Some("/cb"), "{line}");
            assert_eq!(verified_path(&format!("a\n{line}\n{line}\n")), Some("/cb"));
        }
    }

    #[test]
    fn what_is_cut_escaped_of_another_kind_or_of_several_is_none() {
        for text in [
            TEXT.replace("=/cb", "=/cb..."),
            TEXT.replace("=/cb", r"=/\xe5"),
            TEXT.replace("=/cb", "="),
            TEXT.replace("InvalidSignature", "BucketNotAllowed"),
            TEXT.replace("genuine callback refused", "callback refused"),
            format!("{TEXT}\n{}", TEXT.replace("=/cb", "=/other")),
            String::new(),
        ] {
            assert_eq!(verified_path(&text), None, "{text}");
        }
    }
}
