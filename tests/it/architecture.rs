//! The structure of the sources.
//!
//! 1. Imports between the top-level modules of `src/` point one way: a module may use those that stand
//!    before it in [`ORDER`]. So there is no cycle, and each module can be read without those behind it.
//! 2. Every file in `tests/it` is a module of its `main.rs`: a file that nobody lists tests nothing.

mod imports;

use std::{collections::BTreeSet, fs, path::Path};

use imports::Crate;

/// From the bottom to the top. `docs/architecture.md` says what each module is for.
const ORDER: [&str; 21] = [
    "clock",
    "http_client",
    "log",
    "rejection",
    "metrics",
    "answer",
    "vars",
    "substitution",
    "verify",
    "extract",
    "keys",
    "guard",
    "upload",
    "diagnose",
    "middleware",
    "handler",
    "axum",
    "warp",
    "test_util",
    "fuzzing",
    "guide",
];

#[test]
fn imports_between_top_level_modules_point_one_way() {
    let crate_ = Crate::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    // A parser that sees nothing would find nothing wrong.
    assert!(crate_.has("middleware", "verify"), "{crate_:?}");
    assert!(crate_.has("verify", "rejection"), "{crate_:?}");
    assert_eq!(crate_.against(&ORDER), [""; 0]);
}

#[test]
fn each_test_file_is_a_module_of_the_test_program() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let main = fs::read_to_string(folder.join("main.rs")).unwrap();
    let listed: BTreeSet<_> = main
        .lines()
        .filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';'))
        .filter(|module| *module != "support")
        .map(str::to_owned)
        .collect();
    let present: BTreeSet<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_owned())
        .map(|stem| stem.into_string().unwrap())
        .filter(|stem| stem != "main")
        .collect();
    assert_eq!(listed, present);
}

#[test]
fn a_cycle_is_found_however_the_import_is_written() {
    let ways = [
        "use crate::upper::Thing;",
        "use crate::{lower::Other, upper::{self, Thing}};",
        "use crate::Thing;",
        "use crate::{Other, Thing as Renamed};",
        "pub(crate) use super::upper::Thing;",
        "use super::Thing;",
        "mod inner { use super::super::upper::Thing; }",
        "mod inner { pub mod deeper { use super::super::super::{upper::Thing}; } }",
        "fn f() -> crate::upper::Thing { todo() }",
        "fn f() { let _ = [crate::Thing::new()]; }",
        "macro_rules! m { () => { $crate::upper::Thing } }",
        "#[cfg(feature = \"test-util\")] use crate::upper::Thing;",
        "#[cfg(test)] mod tests { } use crate::upper::Thing;",
    ];
    for way in ways {
        let mut crate_ = two_modules();
        crate_.file("lower", 1, "src/lower.rs", way);
        assert_eq!(
            crate_.against(&["lower", "upper"]),
            ["src/lower.rs: `lower` may not use `upper`"],
            "{way}"
        );
    }
}

#[test]
fn what_is_no_import_of_another_module_is_let_be() {
    let ways = [
        "use crate::Other;",
        "use crate::lower::{inner::X};",
        "use super::Other; mod inner { use super::Thing; use super::super::Other; }",
        "/// See [`Thing`](crate::upper::Thing).\n// crate::upper::Thing\nstruct S;",
        "const S: &str = \"crate::upper::Thing\";",
        "#[cfg(test)] mod tests { use crate::upper::Thing; }",
        "#[cfg(all(test, feature = \"x\"))] #[allow(dead_code)] fn f() { crate::Thing::new() }",
        "#[cfg(test)] use crate::{upper::Thing};",
        "pub(crate) struct S; pub(in crate::lower) struct T;",
        "use crate::async_trait;",
    ];
    for way in ways {
        let mut crate_ = two_modules();
        crate_.file("lower", 1, "src/lower.rs", way);
        assert_eq!(crate_.against(&["lower", "upper"]), [""; 0], "{way}");
    }
}

#[test]
fn a_module_without_a_place_is_named() {
    let crate_ = two_modules();
    assert_eq!(
        crate_.against(&["upper"]),
        ["`lower` has no place in `ORDER`"]
    );
}

fn two_modules() -> Crate {
    Crate::new(
        ["lower", "upper"],
        "pub use async_trait::async_trait;
         #[cfg(feature = \"x\")] pub use self::upper::Thing;
         pub use self::{lower::{Other, inner::Deep}, upper::Unused as Alias};",
    )
}
