//! Bodies to which parameters or members were added: a token, an identity, the query of the request.
//!
//! 1. Whatever stands together may have been added. A form is otherwise as it was, or was written again;
//!    JSON has to be written again for a member to be added.
//! 2. What is left is tried in the [likely](super::rewritten::likely) ways alone: there are many such
//!    rests.

use std::ops::ControlFlow;

use super::{
    Cause,
    compare::Causes,
    json_text::{Json, Layout},
    queries::added,
    rewritten::likely,
};

/// Longer bodies are not taken apart.
const MAX_LEN: usize = 8 * 1024;

/// Lists with more parts are left whole.
const MAX_PARTS: usize = 20;

/// Visits the bodies without what may have been added.
pub(super) fn without_added(
    body: &[u8],
    visit: &mut dyn FnMut(Causes, &[u8]) -> ControlFlow<()>,
) -> ControlFlow<()> {
    if body.len() > MAX_LEN {
        return ControlFlow::Continue(());
    }
    let mut rests: Vec<Vec<u8>> = Vec::new();
    let json = std::str::from_utf8(body).ok().and_then(Json::parse);
    match json {
        Some(Json::Object(members)) if members.len() <= MAX_PARTS => {
            added(&members, &mut |members| {
                let json = Json::Object(members.to_vec());
                let plain = Layout::COMPACT.write(&json);
                visit(REWRITTEN, &plain)?;
                rests.push(plain);
                ControlFlow::Continue(())
            })?;
        }
        Some(_) => {}
        None => {
            let parts: Vec<&[u8]> = body.split(|byte| *byte == b'&').collect();
            if parts.len() <= MAX_PARTS {
                added(&parts, &mut |parts| {
                    let rest = parts.join(b"&".as_slice());
                    visit([Some(Cause::BodyAppended), None], &rest)?;
                    rests.push(rest);
                    ControlFlow::Continue(())
                })?;
            }
        }
    }
    rests.iter().try_for_each(|rest| {
        likely(rest, &mut |cause, body: &[u8]| {
            visit([Some(cause), Some(Cause::BodyAppended)], body)
        })
    })
}

const REWRITTEN: Causes = [Some(Cause::BodyReserialized), Some(Cause::BodyAppended)];

#[cfg(test)]
mod tests {
    use super::*;

    fn causes_of(signed: &str, received: &str) -> Option<Causes> {
        let mut found = None;
        let _ = without_added(received.as_bytes(), &mut |causes, body| {
            if body == signed.as_bytes() {
                found = Some(causes);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn what_was_added_is_taken_out() {
        let form = "bucket=b&object=a%2Fc.jpg&size=7";
        let json = r#"{"bucket":"b","object":"a/c.jpg","size":7}"#;
        let appended = [Some(Cause::BodyAppended), None];
        let converted = [Some(Cause::BodyConverted), Some(Cause::BodyAppended)];
        for (signed, received, causes) in [
            (
                form,
                "_csrf=0123456789&bucket=b&object=a%2Fc.jpg&size=7",
                appended,
            ),
            (
                form,
                "bucket=b&user=1&t=2&object=a%2Fc.jpg&size=7",
                appended,
            ),
            (form, "bucket=b&object=a/c.jpg&size=7&ts=1", REWRITTEN),
            (
                json,
                r#"{"bucket":"b","object":"a/c.jpg","size":7,"ts":1}"#,
                REWRITTEN,
            ),
            (
                json,
                r#"{"ts": 1, "bucket": "b", "object": "a/c.jpg", "size": 7}"#,
                REWRITTEN,
            ),
            (
                form,
                r#"{"id":"1","bucket":"b","object":"a/c.jpg","size":"7"}"#,
                converted,
            ),
        ] {
            assert_eq!(causes_of(signed, received), Some(causes), "{received}");
        }
        assert_eq!(
            causes_of(form, "bucket=x&object=a%2Fc.jpg&size=7&a=1"),
            None
        );
    }
}
