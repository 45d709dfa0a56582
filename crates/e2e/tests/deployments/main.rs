//! Deployments that break callbacks, the diagnosis of each, and its mend.
//!
//! 1. A row is a way to deploy an application that is known from the field: a real proxy with some lines
//!    of configuration, a layer of tower around the application, a serializer of another language.
//! 2. A signed callback is sent through it. The real layer refuses it, and the diagnosis of what arrived
//!    names the expected cause, and no other.
//! 3. The remedy is followed to the letter: the call of the layer's builder, nginx's directives, or, where
//!    it is said in words, what the words come to in that deployment. The same callback then passes.
//! 4. Rows without a cause are controls: nothing is wrong there, and the diagnosis says so.

mod application;
mod callback;
mod layers;
mod mend;
mod nginx;
mod others;
#[path = "../../../../tests/support/ports.rs"]
mod ports;
mod proxies;
mod serializers;

use oss_callback::diagnose::{Diagnosis, Verdict};

use self::{application::Application, callback::Callback};

/// The name of a row, what is sent, and what the diagnosis has to say.
struct Row {
    name: &'static str,
    target: &'static str,
    body: &'static str,
    /// The stable code, or `None` for a control.
    cause: Option<&'static str>,
    /// The code of a second change.
    also: Option<&'static str>,
}

impl Row {
    const fn new(
        name: &'static str,
        target: &'static str,
        body: &'static str,
        cause: &'static str,
    ) -> Self {
        Self {
            name,
            target,
            body,
            cause: Some(cause),
            also: None,
        }
    }

    const fn control(name: &'static str, target: &'static str, body: &'static str) -> Self {
        Self {
            cause: None,
            ..Self::new(name, target, body, "")
        }
    }

    const fn and(self, also: &'static str) -> Self {
        Self {
            also: Some(also),
            ..self
        }
    }

    fn callback(&self) -> Callback {
        Callback::new(self.target, self.body)
    }

    /// Compares the diagnosis of what arrived with what the row says, and returns it if there is
    /// something to mend.
    fn diagnosis(&self, application: &Application, status: u16) -> Option<Diagnosis> {
        let name = self.name;
        let diagnosis = application
            .diagnosis()
            .unwrap_or_else(|| panic!("{name}: nothing arrived, {status}"));
        let context = format!(
            "{name}: {status} {diagnosis:?} {:?} {:?} {:?}",
            diagnosis.received().target(),
            String::from_utf8_lossy(diagnosis.received().body()),
            diagnosis.signed().map(|signed| signed.target()),
        );
        assert_eq!(
            diagnosis.cause().map(|cause| cause.code()),
            self.cause,
            "{context}"
        );
        assert_eq!(
            diagnosis.also().map(|cause| cause.code()),
            self.also,
            "{context}"
        );
        if let Some(signed) = diagnosis.signed() {
            assert_eq!(signed.body(), self.body, "{context}");
        }
        if self.cause.is_none() {
            assert_eq!(status, 200, "{context}");
            assert_eq!(diagnosis.verdict(), Verdict::Genuine, "{context}");
            return None;
        }
        assert!((400..500).contains(&status), "{context}");
        Some(diagnosis)
    }
}
