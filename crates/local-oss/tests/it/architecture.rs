//! The structure of the sources: imports between their top-level modules point one way. A module may use
//! those that stand before it in [`ORDER`], so there is no cycle, and each can be read without those behind
//! it.

// The library's own sources are held to their order by the same reader.
#[path = "../../../../tests/it/architecture/imports.rs"]
mod imports;

use std::path::Path;

use imports::Crate;

/// From the bottom to the top. The crate's documentation says what each module is for.
const ORDER: [&str; 28] = [
    "time",
    "request_id",
    "query",
    "xml",
    "error",
    "address",
    "part_list",
    "pending",
    "arriving",
    "store",
    "ingest",
    "connection",
    "spelling",
    "cors",
    "key",
    "fault",
    "config",
    "auth",
    "operation",
    "journal",
    "events",
    "shared",
    "callback",
    "service",
    "control",
    "server",
    "builder",
    "fuzzing",
];

#[test]
fn imports_between_top_level_modules_point_one_way() {
    let crate_ = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // A reader that sees nothing would find nothing wrong.
    assert!(crate_.has("service", "callback"), "{crate_:?}");
    assert!(crate_.has("callback", "journal"), "{crate_:?}");
    assert_eq!(crate_.against(&ORDER), [""; 0]);
}
