//! Which module of a crate uses which, read off its sources.
//!
//! 1. A path counts wherever it stands (`use crate::…`, `crate::…` in an expression, `super::…` that
//!    reaches the root), and by the module that a re-export of `lib.rs` comes from.
//! 2. Comments and `#[cfg(test)]` do not count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream::IntoIter};

/// Which top-level module uses which.
#[derive(Debug, Default)]
pub(crate) struct Crate {
    modules: BTreeSet<String>,
    /// The module of each name that `lib.rs` exports, or nothing if another crate's.
    exports: BTreeMap<String, Option<String>>,
    /// A module, one that it uses, and the file in which it does.
    imports: BTreeSet<(String, String, String)>,
}

impl Crate {
    pub(crate) fn read(src: &Path) -> Self {
        let files: Vec<_> = sources(src)
            .into_iter()
            .map(|file| {
                let within: Vec<_> = file
                    .strip_prefix(src)
                    .unwrap()
                    .with_extension("")
                    .iter()
                    .map(|part| part.to_str().unwrap().to_owned())
                    .filter(|part| part != "mod")
                    .collect();
                (within, file)
            })
            .collect();
        let modules = files.iter().map(|(within, _)| within[0].as_str());
        let modules = modules.filter(|module| *module != "lib");
        let mut crate_ = Self::new(modules, &fs::read_to_string(src.join("lib.rs")).unwrap());
        for (within, file) in &files {
            if within[0] != "lib" {
                let name = format!("src/{}", file.strip_prefix(src).unwrap().display());
                let source = fs::read_to_string(file).unwrap();
                crate_.file(&within[0], within.len(), &name, &source);
            }
        }
        crate_
    }

    pub(crate) fn new<'a>(modules: impl IntoIterator<Item = &'a str>, lib: &str) -> Self {
        let mut crate_ = Self {
            modules: modules.into_iter().map(str::to_owned).collect(),
            ..Self::default()
        };
        let mut tokens = lexed(lib).into_iter().peekable();
        while let Some(token) = tokens.next() {
            if is_ident(&token, "use") {
                let tree = tokens.by_ref().take_while(|token| !is_punct(token, ';'));
                for path in leaves(tree.collect()) {
                    let own = path[0] == "self";
                    let module = own.then(|| path[1].clone());
                    let name = path.last().unwrap().clone();
                    crate_.exports.insert(name, module);
                }
            }
        }
        crate_
    }

    /// Adds what a file uses. `depth` is 1 for the file of a top-level module.
    pub(crate) fn file(&mut self, module: &str, depth: usize, name: &str, source: &str) {
        let mut used = BTreeSet::new();
        root_paths(lexed(source), depth, &mut used);
        for first in used {
            let target = if self.modules.contains(&first) {
                Some(first)
            } else {
                let export = self.exports.get(&first);
                let unknown = || panic!("{name}: `crate::{first}` is not in lib.rs");
                export.unwrap_or_else(unknown).clone()
            };
            if let Some(target) = target.filter(|target| target != module) {
                let import = (module.to_owned(), target, name.to_owned());
                self.imports.insert(import);
            }
        }
    }

    pub(crate) fn has(&self, module: &str, used: &str) -> bool {
        let mut imports = self.imports.iter();
        imports.any(|(from, to, _)| from == module && to == used)
    }

    /// What contradicts an order of the modules, one line for each finding.
    pub(crate) fn against(&self, order: &[&str]) -> Vec<String> {
        let place = |module: &String| order.iter().position(|placed| placed == module);
        let unplaced = self
            .modules
            .iter()
            .filter(|module| place(module).is_none())
            .map(|module| format!("`{module}` has no place in `ORDER`"));
        let upwards = self
            .imports
            .iter()
            .filter(|(from, to, _)| place(to) > place(from))
            .map(|(from, to, file)| format!("{file}: `{from}` may not use `{to}`"));
        unplaced.chain(upwards).collect()
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.append(&mut sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

fn lexed(source: &str) -> TokenStream {
    source.parse().unwrap()
}

/// The first segments of all paths that begin at the root of the crate.
fn root_paths(tokens: TokenStream, depth: usize, used: &mut BTreeSet<String>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut inline_module = false;
    let mut supers = 0;
    while let Some(token) = tokens.next() {
        match &token {
            TokenTree::Punct(punct)
                if punct.as_char() == '#' && tokens.next_if(is_test_only).is_some() =>
            {
                skip_item(&mut tokens);
            }
            TokenTree::Ident(ident) => {
                let ident = ident.to_string();
                supers = if ident == "super" { supers + 1 } else { 0 };
                let at_root = ident == "crate" || supers == depth;
                if at_root && skip_colons(&mut tokens) {
                    used.extend(first_segments(&mut tokens));
                }
                inline_module = ident == "mod" || (inline_module && ident != "use");
            }
            TokenTree::Group(group) => {
                let inner = depth + usize::from(inline_module);
                root_paths(group.stream(), inner, used);
                (inline_module, supers) = (false, 0);
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => inline_module = false,
            _ => {}
        }
    }
}

/// `[cfg(test)]`, or `[cfg(all(test, …))]`.
fn is_test_only(attribute: &TokenTree) -> bool {
    let text = attribute.to_string().replace(' ', "");
    text.starts_with("[cfg(test)") || text.starts_with("[cfg(all(test,")
}

/// Skips an item to its body or its semicolon.
fn skip_item(tokens: &mut Peekable<IntoIter>) {
    for token in tokens {
        let body = matches!(&token, TokenTree::Group(it) if it.delimiter() == Delimiter::Brace);
        if body || is_punct(&token, ';') {
            return;
        }
    }
}

fn skip_colons(tokens: &mut Peekable<IntoIter>) -> bool {
    let colon = |token: &TokenTree| is_punct(token, ':');
    tokens.next_if(colon).is_some() && tokens.next_if(colon).is_some()
}

/// What comes after `crate::`: a name, or a group of trees.
fn first_segments(tokens: &mut Peekable<IntoIter>) -> Vec<String> {
    match tokens.peek() {
        Some(TokenTree::Ident(ident)) if ident == "super" => Vec::new(),
        Some(TokenTree::Ident(ident)) => vec![ident.to_string()],
        Some(TokenTree::Group(group)) => {
            let leaves = leaves(group.stream());
            leaves.into_iter().map(|path| path[0].clone()).collect()
        }
        other => panic!("an import that cannot be followed: {other:?}"),
    }
}

/// The paths that a use tree stands for. An alias is one more segment.
fn leaves(tree: TokenStream) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    let mut path = Vec::new();
    for token in tree {
        match token {
            TokenTree::Ident(ident) if ident == "as" => {}
            TokenTree::Ident(ident) => path.push(ident.to_string()),
            TokenTree::Group(group) => {
                let under = leaves(group.stream()).into_iter();
                paths.extend(under.map(|rest| [path.clone(), rest].concat()));
                path.clear();
            }
            TokenTree::Punct(punct) if punct.as_char() == ',' => {
                paths.extend((!path.is_empty()).then(|| path.split_off(0)));
            }
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            other => panic!("an import that cannot be followed: {other}"),
        }
    }
    paths.extend((!path.is_empty()).then_some(path));
    paths
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, char: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == char)
}
