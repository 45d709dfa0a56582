//! Writes XML, for answers.

/// Writes elements. Text is escaped; characters that XML 1.0 cannot carry become U+FFFD.
#[derive(Debug)]
pub(crate) struct Xml(String);

impl Xml {
    pub(crate) fn document() -> Self {
        Self("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned())
    }

    pub(crate) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.0.push('<');
        self.0.push_str(name);
        self.0.push('>');
        content(self);
        self.0.push_str("</");
        self.0.push_str(name);
        self.0.push('>');
    }

    pub(crate) fn text(&mut self, name: &str, text: &str) {
        self.element(name, |xml| {
            for character in text.chars() {
                match character {
                    '&' => xml.0.push_str("&amp;"),
                    '<' => xml.0.push_str("&lt;"),
                    '>' => xml.0.push_str("&gt;"),
                    '"' => xml.0.push_str("&quot;"),
                    '\t' | '\n' => xml.0.push(character),
                    // A bare CR is read back as LF.
                    '\r' => xml.0.push_str("&#13;"),
                    '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => xml.0.push('\u{fffd}'),
                    _ => xml.0.push(character),
                }
            }
        });
    }

    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_and_stays_xml() {
        let mut xml = Xml::document();
        xml.text("Key", "a<b>&\"\u{1}\u{0}用\r");
        assert!(
            xml.into_string()
                .ends_with("<Key>a&lt;b&gt;&amp;&quot;\u{fffd}\u{fffd}用&#13;</Key>")
        );
    }
}
