//! `cargo run --bin charts` writes the page of the docs and its charts from `results.json`.

use std::{fs, path::Path};

use oss_callback_peers::{
    Result,
    report::{DOCS, files},
    results::Results,
};

fn main() -> Result<()> {
    let docs = Path::new(DOCS);
    fs::create_dir_all(docs.join("performance"))?;
    for (name, contents) in files(&Results::read()?, docs)? {
        fs::write(docs.join(name), contents)?;
    }
    Ok(())
}
