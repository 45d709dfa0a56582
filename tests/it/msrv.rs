//! The Rust that a package asks for is enough for what it depends on.
//!
//! 1. No dependency of a package that is published declares a newer Rust than the package does, whatever
//!    features are on. The dependencies of tests do not count.
//! 2. What of the standard library the packages use themselves is clippy's part (`incompatible_msrv`).

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use serde_json::Value;

#[test]
fn no_dependency_asks_for_a_newer_rust_than_its_package_states() {
    let metadata = metadata();
    let declared: BTreeMap<_, _> = each(&metadata["packages"])
        .map(|package| (text(&package["id"]), package))
        .collect();
    let needs: BTreeMap<_, _> = each(&metadata["resolve"]["nodes"])
        .map(|node| (text(&node["id"]), shipped(node)))
        .collect();

    let published: Vec<_> = each(&metadata["workspace_members"])
        .map(text)
        // `publish = false` is an empty list of registries.
        .filter(|id| declared[id]["publish"].is_null())
        .collect();
    assert!(!published.is_empty());
    for package in published {
        let stated = rust_version(declared[package]).expect("a published package states its Rust");
        let closure = closure(package, &needs);
        assert!(closure.len() > 20, "{package}: {closure:?}");
        for dependency in closure {
            let asked = rust_version(declared[dependency]);
            assert!(
                asked <= Some(stated),
                "{package} states Rust {stated:?}, {dependency} needs {asked:?}"
            );
        }
    }
}

/// Of this machine's platform: those of others need not be downloaded.
fn metadata() -> Value {
    let rustc = Command::new("rustc").arg("-vV").output().unwrap();
    let rustc = String::from_utf8(rustc.stdout).unwrap();
    let host = rustc
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version=1",
            "--all-features",
            "--filter-platform",
            host,
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a package needs apart from its tests.
fn shipped(node: &Value) -> Vec<&str> {
    each(&node["deps"])
        .filter(|dependency| each(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "dev"))
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn closure<'a>(package: &'a str, needs: &BTreeMap<&str, Vec<&'a str>>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![package];
    while let Some(package) = open.pop() {
        if found.insert(package) {
            open.extend(&needs[package]);
        }
    }
    found
}

/// Major, minor and patch: a number that is not stated is 0.
fn rust_version(package: &Value) -> Option<[u32; 3]> {
    let stated = package["rust_version"].as_str()?;
    let mut version = [0; 3];
    for (number, stated) in version.iter_mut().zip(stated.split('.')) {
        *number = stated.parse().unwrap();
    }
    Some(version)
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().unwrap().iter()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}
