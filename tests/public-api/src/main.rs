//! Compares the public API of a library with the text that is kept of it.
//!
//! 1. The text has a line for each public item, with its whole signature; trait implementations too,
//!    but for those that every type has. A change of the API is a change of the text, so a review sees it.
//! 2. Foreign types in the API tie the crate's version to theirs, so each crate that they come from is
//!    in [`LIBRARIES`], with the reason.
//!
//! ```text
//! .ci/public-api          compares
//! .ci/public-api --keep   keeps what the API is now
//! ```

use std::{
    collections::BTreeSet,
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use public_api::{PublicApi, tokens::Token};

/// A library, and the crates whose items its API may name.
struct Library {
    name: &'static str,
    foreign: &'static [(&'static str, &'static str)],
}

const LIBRARIES: [Library; 2] = [
    Library {
        name: "oss_callback",
        foreign: &[
            ("axum_core", "feature `axum`: extractors and answers"),
            ("bytes", "1.x: bodies"),
            ("http", "1.x: requests, responses, headers"),
            ("http_body", "1.x: any body is taken"),
            (
                "pin_project_lite",
                "in the bounds of `Unpin` that its macro writes",
            ),
            ("redis", "1.x, feature `redis`: the application's client"),
            (
                "rustls",
                "feature `redis`: its TLS; before 1.0, so another version of it breaks ours",
            ),
            ("serde_core", "1.x: variables and answers are of any type"),
            (
                "tower",
                "its `BoxError`, another name for a type of the standard library",
            ),
            ("tower_layer", "the layer implements its trait"),
            ("tower_service", "the service implements its trait"),
            ("warp", "feature `warp`: filters and answers"),
        ],
    },
    Library {
        name: "oss_callback_local",
        foreign: &[
            ("bytes", "1.x: bodies of callbacks and answers"),
            ("http", "1.x: headers of a callback to deliver"),
            (
                "oss_callback",
                "the layer and the key store that trust its key",
            ),
            (
                "serde_core",
                "1.x: what the journal keeps is written as JSON",
            ),
        ],
    },
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let json = PathBuf::from(arguments.next().ok_or("usage: JSON [--keep]")?);
    let library = LIBRARIES
        .iter()
        .find(|library| json.file_stem().is_some_and(|stem| stem == library.name))
        .ok_or("there is no such library")?;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(library.name.replace('_', "-"))
        .with_extension("txt");
    let keep = match arguments.next().as_deref() {
        None => false,
        Some("--keep") => true,
        Some(other) => return Err(format!("unknown option: {other}").into()),
    };

    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_auto_trait_impls(true)
        .omit_blanket_impls(true)
        .build()?;
    let now: Vec<String> = api.items().map(ToString::to_string).collect();
    let mut holds = foreign_crates_are_allowed(&api, library);
    if keep {
        fs::write(&kept, now.join("\n") + "\n")?;
    } else {
        let kept = fs::read_to_string(&kept)?;
        holds &= is_as_kept(&kept.lines().collect(), &now);
    }
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn is_as_kept(kept: &BTreeSet<&str>, now: &[String]) -> bool {
    let now: BTreeSet<&str> = now.iter().map(String::as_str).collect();
    for line in kept.difference(&now) {
        println!("- {line}");
    }
    for line in now.difference(kept) {
        println!("+ {line}");
    }
    if *kept == now {
        println!("{} lines, as they are kept", now.len());
    } else {
        println!("the public API is not as it is kept: `.ci/public-api --keep`, if that is meant");
    }
    *kept == now
}

fn foreign_crates_are_allowed(api: &PublicApi, library: &Library) -> bool {
    let own = [library.name, "alloc", "core", "std"];
    let named: BTreeSet<&str> = api
        .items()
        .flat_map(|item| roots(item.tokens().collect()))
        .filter(|root| !own.contains(root))
        .collect();
    let allowed: BTreeSet<&str> = library.foreign.iter().map(|(name, _)| *name).collect();
    for name in named.difference(&allowed) {
        println!("its public API names `{name}`, which is not among the crates that it may name");
    }
    for name in allowed.difference(&named) {
        println!("its public API no longer names `{name}`: strike it from the list");
    }
    named == allowed
}

/// The first segments of the paths in an item.
fn roots(tokens: Vec<&Token>) -> Vec<&str> {
    let colons = |token: Option<&&Token>| matches!(token, Some(Token::Symbol(it)) if it == "::");
    let mut roots = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let first = index == 0 || !colons(tokens.get(index - 1));
        if let Token::Identifier(name) = token
            && first
            && colons(tokens.get(index + 1))
        {
            roots.push(name.as_str());
        }
    }
    roots
}
