//! For people, in this order: the verdict; what was signed beside what arrived; who probably changed it;
//! the remedy; the body; the key; what the uploader saw; what was not tried; something to paste.
//!
//! 1. A verdict is one line. Sections that have nothing to say are left out.
//! 2. Whatever comes from the request is [spelled](super::super::difference): it cannot move the cursor.
//! 3. Columns are aligned by display width, as Chinese characters take two.

use std::fmt::Write;

use oss_callback::diagnose::{Evidence, Message, Verdict};
use unicode_width::UnicodeWidthStr;

use super::{
    super::{
        author::Author,
        difference::{Side, difference, spelled},
        examination::{BodyState, Examination, NamedUrl, Uploader},
        lang::Lang,
        reproduction::Reproduction,
        words::{self, Text},
    },
    paint::Paint,
};

/// An examination as text with a final line end.
pub(crate) fn render(examination: &Examination, lang: Lang, paint: Paint) -> String {
    let mut page = Page {
        text: String::new(),
        lang,
        paint,
    };
    page.headline(examination);
    page.sides(examination);
    if examination.diagnosis.verdict() != Verdict::Genuine {
        page.author(examination);
        page.remedy(examination);
    }
    page.body(examination);
    page.key(examination);
    page.uploader(examination);
    page.search(examination);
    if !examination.is_accepted() {
        page.reproduction(examination);
    }
    page.text
}

struct Page {
    text: String,
    lang: Lang,
    paint: Paint,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{:indent$}{text}", "");
    }

    fn heading(&mut self, heading: Text) {
        let heading = self.paint.heading(heading.get(self.lang));
        self.text.push('\n');
        self.line(0, &heading);
    }

    fn headline(&mut self, examination: &Examination) {
        let diagnosis = &examination.diagnosis;
        let line = words::headline(
            self.lang,
            diagnosis.verdict(),
            diagnosis.changes(),
            examination.refusal.as_ref(),
        );
        let line = match examination.is_accepted() {
            true => self.paint.good(&line),
            false => self.paint.bad(&line),
        };
        match diagnosis.cause() {
            Some(cause) => self.line(0, &format!("{line} [{}]", cause.code())),
            None => self.line(0, &line),
        }
    }

    fn sides(&mut self, examination: &Examination) {
        let diagnosis = &examination.diagnosis;
        let received = diagnosis.received();
        self.heading(words::DIFFERENCE);
        let Some(signed) = diagnosis.signed() else {
            let unknown = match diagnosis.verdict() {
                Verdict::NotFromKey => words::SIGNED_NOTHING,
                _ => words::SIGNED_UNKNOWN,
            };
            let (unknown, target) = (unknown.get(self.lang), received.target());
            self.labelled(words::SIGNED, unknown);
            self.labelled(words::RECEIVED, &spelled(target.as_bytes()));
            let body = self.described_body(received);
            self.labelled(words::BODY, &body);
            return;
        };
        self.part(
            words::TARGET,
            signed.target().as_bytes(),
            received.target().as_bytes(),
        );
        self.part(words::BODY, signed.body(), received.body());
        if let Some(note) = examination.note {
            self.line(2, words::note(self.lang, note));
        }
    }

    fn described_body(&self, message: &Message) -> String {
        let length = words::bytes(self.lang, message.body().len());
        match message.body().is_empty() {
            true => length,
            false => format!("{length}: {}", spelled(message.body())),
        }
    }

    /// One part on both sides.
    fn part(&mut self, name: Text, signed: &[u8], received: &[u8]) {
        if signed == received {
            let same = words::SAME.get(self.lang);
            let text = match received.is_empty() {
                true => words::ABSENT.get(self.lang).to_owned(),
                false => spelled(received),
            };
            self.line(2, &format!("{} ({same})", name.get(self.lang)));
            self.line(4, &text);
            return;
        }
        let (signed_side, received_side) = difference(signed, received);
        let lengths = [signed.len(), received.len()].map(|length| words::bytes(self.lang, length));
        self.line(
            2,
            &format!("{} ({} → {})", name.get(self.lang), lengths[0], lengths[1]),
        );
        self.side(words::SIGNED, &signed_side, Paint::signed);
        self.side(words::RECEIVED, &received_side, Paint::received);
    }

    /// A line, and the carets under what differs.
    fn side(&mut self, label: Text, side: &Side, paint: fn(Paint, &str) -> String) {
        let label = self.padded(&[words::SIGNED, words::RECEIVED], label);
        let Side {
            before,
            changed,
            after,
        } = side;
        let is_empty = before.is_empty() && changed.is_empty() && after.is_empty();
        if is_empty {
            let absent = self.paint.quiet(words::ABSENT.get(self.lang));
            return self.line(4, &format!("{label}  {absent}"));
        }
        let shown = paint(self.paint, changed);
        self.line(4, &format!("{label}  {before}{shown}{after}"));
        if !changed.is_empty() {
            let carets = paint(self.paint, &"^".repeat(changed.width()));
            let indent = 4 + label.width() + 2 + before.width();
            self.line(indent, &carets);
        }
    }

    fn labelled(&mut self, label: Text, text: &str) {
        let label = self.padded(&[words::SIGNED, words::RECEIVED, words::BODY], label);
        self.line(2, &format!("{label}  {text}"));
    }

    /// A label with blanks up to the width of the widest.
    fn padded(&self, labels: &[Text], label: Text) -> String {
        let widest = labels
            .iter()
            .map(|label| label.get(self.lang).width())
            .max();
        let label = label.get(self.lang);
        let blanks = widest.unwrap_or(0).saturating_sub(label.width());
        format!("{label}{:blanks$}", "")
    }

    fn author(&mut self, examination: &Examination) {
        let diagnosis = &examination.diagnosis;
        if diagnosis.verdict() != Verdict::NotFromKey {
            self.heading(words::AUTHOR);
            let (author, trace) = Author::of(&examination.capture.headers);
            let capture = &examination.capture;
            let line = match capture.is_of_access_log && capture.is_path_of_layer {
                true => words::LOG_AUTHOR.get(self.lang).to_owned(),
                false => words::author(self.lang, author, trace),
            };
            let is_of_body = matches!(
                examination.body,
                BodyState::Changed | BodyState::LikelyChanged
            );
            match (is_of_body, trace) {
                (true, None) => self.line(2, words::BODY_AUTHOR.get(self.lang)),
                (true, Some(_)) => {
                    self.line(2, words::BODY_AUTHOR.get(self.lang));
                    self.line(2, &words::or(self.lang, &line));
                }
                (false, _) => self.line(2, &line),
            }
        }
        // The traces of proxies are in the author's line.
        let mut facts: Vec<String> = examination
            .evidence()
            .filter(|evidence| !matches!(evidence, Evidence::PassedThrough(_)))
            .map(|evidence| words::evidence(self.lang, evidence))
            .collect();
        if examination.made_by_v1 {
            facts.push(words::MADE_BY_V1.get(self.lang).to_owned());
        }
        if !facts.is_empty() {
            self.heading(words::EVIDENCE);
        }
        for fact in facts {
            self.line(2, &fact);
        }
    }

    fn remedy(&mut self, examination: &Examination) {
        let diagnosis = &examination.diagnosis;
        let Some(remedy) = diagnosis.remedy() else {
            return;
        };
        self.heading(words::REMEDY);
        self.line(2, "Rust");
        self.block(4, &words::rust_remedy(self.lang, diagnosis, remedy.rust()));
        if let Some(proxy) = remedy.proxy() {
            let is_another_way = remedy.rust().starts_with("OssCallbackLayer::");
            let label = match is_another_way {
                true => words::OR_NGINX,
                false => words::NGINX,
            };
            self.line(2, label.get(self.lang));
            self.block(4, &words::proxy_remedy(self.lang, diagnosis, proxy));
        }
    }

    fn block(&mut self, indent: usize, text: &str) {
        for line in text.lines() {
            self.line(indent, &spelled_whole(line));
        }
    }

    fn body(&mut self, examination: &Examination) {
        self.heading(words::INTACT);
        self.line(2, words::body(self.lang, examination.body));
    }

    fn key(&mut self, examination: &Examination) {
        let used = &examination.key;
        self.heading(words::KEY);
        let url = match &used.named {
            NamedUrl::Allowed(url) | NamedUrl::Foreign(url) => spelled(url.as_bytes()),
            NamedUrl::Malformed | NamedUrl::Missing => String::new(),
        };
        self.line(2, &words::named_url(self.lang, &used.named, &url));
        let origin = words::key_origin(self.lang, used.origin);
        let bits = words::key_bits(self.lang, used.key.bits());
        self.line(
            2,
            &format!("RSA, {bits}, SHA-256 {}", used.key.fingerprint()),
        );
        self.line(2, origin);
    }

    fn uploader(&mut self, examination: &Examination) {
        self.heading(words::UPLOADER);
        let line = match &examination.uploader {
            Uploader::Recorded(failure) => {
                let message = spelled(failure.message.as_bytes());
                let ec = failure.ec.as_ref().map(|ec| spelled(ec.as_bytes()));
                words::uploader_recorded(self.lang, ec.as_deref(), &message)
            }
            Uploader::Answered => words::UPLOADER_ANSWERED.get(self.lang).to_owned(),
            Uploader::Expected { status } => words::uploader_expected(self.lang, *status),
            Uploader::Open => words::UPLOADER_OPEN.get(self.lang).to_owned(),
            Uploader::Nothing => words::UPLOADER_NOTHING.get(self.lang).to_owned(),
        };
        self.line(2, &line);
    }

    fn search(&mut self, examination: &Examination) {
        let diagnosis = &examination.diagnosis;
        let is_unknown = diagnosis.verdict() == Verdict::ChangedUnknown;
        if is_unknown {
            self.heading(words::TRIED);
            for step in examination.tried() {
                self.line(2, words::step(self.lang, step));
            }
        }
        let not_tried: Vec<Text> = match diagnosis.verdict() {
            Verdict::Genuine => return,
            Verdict::NotFromKey => vec![words::NOT_TRIED_KEY],
            Verdict::Changed if diagnosis.signed().is_some() => vec![words::NOT_TRIED_FOUND],
            Verdict::Changed => vec![words::NOT_TRIED_LOST],
            _ => {
                let exhausted = diagnosis.is_exhausted().then_some(words::EXHAUSTED);
                exhausted
                    .into_iter()
                    .chain(words::NOT_TRIED_UNKNOWN)
                    .collect()
            }
        };
        self.heading(words::NOT_TRIED);
        for text in not_tried {
            self.line(2, text.get(self.lang));
        }
    }

    fn reproduction(&mut self, examination: &Examination) {
        let reproduction = Reproduction::of(examination);
        self.heading(words::REPRODUCTION);
        let note = match reproduction.is_faithful {
            true => words::FAITHFUL,
            false => words::UNFAITHFUL,
        };
        self.line(2, note.get(self.lang));
        self.text.push('\n');
        self.line(0, "```http");
        // As it is: spelled out it would be another request. Masks leave no control characters but
        // those that the difference may consist of.
        self.text.push_str(&reproduction.text);
        self.text.push_str("\n```\n");
    }
}

/// A line of a remedy, in whole: it is to be pasted.
fn spelled_whole(line: &str) -> String {
    line.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
