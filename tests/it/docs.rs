//! The Markdown files of the repository.
//!
//! 1. Each link leads to a file that is there, and each anchor to a heading of it, by GitHub's rule.
//!    Other sites are not asked.
//! 2. In the README, its translation and `docs/` each block of Rust is a doctest, or, where it needs a
//!    package that the library must not depend on, the text of an example's test. No block is of a
//!    language that nobody checks: shell commands name packages, targets and flags that there are,
//!    manifests name features that there are, and what an interpreter or a server can parse is parsed,
//!    where it is installed.
//! 3. The translation of the README has the same sections, the same code and the same links.
//!
//! The package on crates.io has no examples and no tools, so there these tests have nothing to read.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use pulldown_cmark::{
    BrokenLink, CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd,
};

/// Folders that are no part of the sources.
const OTHERS: [&str; 3] = ["target", "node_modules", ".git"];

#[test]
fn each_link_leads_somewhere() {
    let Some(repository) = Repository::read() else {
        return;
    };
    assert!(
        repository.documents.len() > 10,
        "{:?}",
        repository.documents.keys()
    );
    assert_eq!(repository.broken_links(), [""; 0]);
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let mut repository = Repository::default();
    repository.add(
        "a.md",
        "# One\n\n## Two `x()`: ünd\n\n## One\n\n[there]: b/c.md#three\n",
    );
    repository.add("b/c.md", "# Three\n");
    repository.add("b/picture.svg", "");
    let leads = "[x](#one) [x](#one-1) [x](#two-x-ünd) [there] [x](b) ![x](b/picture.svg) \
                 [x](https://example.com/#y) <img src=\"b/picture.svg\">";
    repository.add(
        "leads.md",
        &format!("# One\n## One\n## Two x() ünd\n{leads}\n\n[there]: a.md#one-1\n"),
    );
    assert_eq!(repository.broken_links(), [""; 0]);

    let broken = [
        "#three",
        "d.md",
        "a.md#three",
        "b/c.md#one",
        "../e.md",
        "b/d.png",
    ];
    for link in broken {
        repository.add("broken.md", &format!("[x]({link})\n"));
        assert_eq!(repository.broken_links(), [format!("broken.md: {link}")]);
    }
    repository.add("broken.md", "[undefined][nowhere]\n");
    assert_eq!(repository.broken_links(), ["broken.md: nowhere"]);
    repository.add("broken.md", "<img src=\"b/d.png\">\n");
    assert_eq!(repository.broken_links(), ["broken.md: b/d.png"]);
}

#[test]
fn each_block_of_rust_is_a_doctest_or_a_test_of_an_example() {
    let Some(repository) = Repository::read() else {
        return;
    };
    let lib = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let guide = fs::read_to_string(root().join("src/guide.rs")).unwrap();
    let tests = tests_of_examples();
    let mut blocks = 0;
    for (path, document) in repository.checked() {
        for block in document
            .blocks
            .iter()
            .filter(|block| matches!(&*block.language, "rust" | "rs"))
        {
            blocks += 1;
            assert!(!block.info.contains("ignore"), "{path}: {}", block.text);
            // rustdoc knows Rust by the long name alone.
            if block.language == "rs" {
                let is_a_test = tests.iter().any(|test| test.ends_with(&block.text));
                assert!(is_a_test, "{path}: {}", block.text);
            }
            let page = path
                .strip_prefix("docs/guide/")
                .and_then(|page| page.strip_suffix(".md"));
            let is_included = lib.contains(&format!("include_str!(\"../{path}\")"))
                || guide.contains(&format!("\"../{path}\""))
                || page.is_some_and(|page| {
                    guide
                        .lines()
                        .any(|line| line.trim().split([' ', ',']).next() == Some(page))
                });
            assert!(is_included, "no doctest includes {path}");
        }
    }
    assert!(blocks > 20, "{blocks}");
}

#[test]
fn each_command_names_what_is_there() {
    let Some(repository) = Repository::read() else {
        return;
    };
    let packages = packages();
    let commands: Vec<_> = repository.commands().collect();
    for (path, command) in &commands {
        assert_eq!(fault_of(command, &packages), None, "{path}: {command}");
    }
    assert!(commands.len() > 8, "{commands:?}");
}

#[test]
fn a_command_of_something_else_is_found() {
    if !root().join("examples").exists() {
        return;
    }
    let packages = packages();
    let good = [
        "cargo run -p example-quickstart",
        "cargo test --workspace --all-features",
        "cargo run -p oss-callback-cli -- local-oss --callback-timeout 0",
    ];
    for command in good {
        assert_eq!(fault_of(command, &packages), None, "{command}");
    }
    let bad = [
        "cargo run -p example-quickest",
        "cargo run -p oss-callback-cli -- remote-oss",
        "cargo run -p oss-callback-cli -- local-oss --callback-patience 0",
        "cargo test --features nothing",
        "cargo test --test nothing",
        "make",
    ];
    for command in bad {
        assert_ne!(fault_of(command, &packages), None, "{command}");
    }
}

#[test]
fn each_manifest_names_features_that_there_are() {
    let Some(repository) = Repository::read() else {
        return;
    };
    let features = features();
    let mut manifests = 0;
    for (path, document) in repository.checked() {
        for block in document
            .blocks
            .iter()
            .filter(|block| block.language == "toml")
        {
            for line in block
                .text
                .lines()
                .filter(|line| line.starts_with("oss-callback "))
            {
                manifests += 1;
                let Some((_, list)) = line.split_once("features = [") else {
                    continue;
                };
                let list = list.split(']').next().unwrap();
                for feature in list.split(',').map(|name| name.trim().trim_matches('"')) {
                    assert!(features.contains(feature), "{path}: {feature}");
                }
            }
        }
    }
    assert!(manifests > 2);
}

#[test]
fn the_readme_lists_every_feature_and_no_other() {
    let Some(_) = Repository::read() else { return };
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = fs::read_to_string(root().join(readme)).unwrap();
        let table = text.split("\n| feature |").nth(1).unwrap();
        let table = table.split("\n\n").next().unwrap();
        let listed: BTreeSet<_> = table
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
            .map(str::to_owned)
            .collect();
        let mut features = features();
        features.remove("default");
        assert_eq!(listed, features, "{readme}");
    }
}

#[test]
fn what_can_be_parsed_is_parsed() {
    let Some(repository) = Repository::read() else {
        return;
    };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs");
    fs::create_dir_all(&folder).unwrap();
    let mut number = 0;
    for (path, document) in repository.checked() {
        for block in &document.blocks {
            number += 1;
            let file = folder.join(format!("block-{number}"));
            if let Some(fault) = block.syntax_fault(&file) {
                panic!("{path}: {fault}\n{}", block.text);
            }
        }
    }
}

#[test]
fn a_block_that_cannot_be_parsed_is_found() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("docs-faulty");
    fs::create_dir_all(&folder).unwrap();
    let faulty = [
        ("python", "def f(:\n", "python3"),
        ("js", "async function (\n", "node"),
        ("nginx", "server { listen 80 }\n", "nginx"),
        ("caddyfile", "app.example {\n\thandel /x\n}\n", "caddy"),
        ("cobol", "STOP RUN.\n", ""),
    ];
    for (language, text, program) in faulty {
        let block = Block::new(language, text);
        if program.is_empty() || is_installed(program) {
            assert_ne!(
                block.syntax_fault(&folder.join(language)),
                None,
                "{language}"
            );
        }
    }
}

#[test]
fn the_readme_and_its_translation_are_the_same() {
    let Some(repository) = Repository::read() else {
        return;
    };
    let english = &repository.documents["README.md"];
    let chinese = &repository.documents["README.zh-CN.md"];
    let levels = |document: &Document| -> Vec<_> {
        document.headings.iter().map(|(level, _)| *level).collect()
    };
    assert_eq!(levels(english), levels(chinese));
    assert_eq!(english.blocks, chinese.blocks);
    // Anchors are headings, which are translated; each README links to the other.
    let targets = |document: &Document, other: &str| -> BTreeSet<_> {
        let files = document.links.iter().filter(|link| !link.starts_with('#'));
        files.filter(|link| *link != other).cloned().collect()
    };
    assert_eq!(
        targets(english, "README.zh-CN.md"),
        targets(chinese, "README.md")
    );
    assert!(english.links.contains(&"README.zh-CN.md".to_owned()));
    assert!(chinese.links.contains(&"README.md".to_owned()));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Its files by their paths from the root.
#[derive(Default)]
struct Repository {
    documents: BTreeMap<String, Document>,
    /// Everything that a link may lead to, folders included.
    files: BTreeSet<String>,
}

impl Repository {
    fn read() -> Option<Self> {
        if !root().join("examples").exists() {
            println!("skipped: this is the package, not the repository");
            return None;
        }
        let mut repository = Self::default();
        repository.read_folder(&root(), "");
        Some(repository)
    }

    fn read_folder(&mut self, folder: &Path, name: &str) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let name = if name.is_empty() {
                file.to_owned()
            } else {
                format!("{name}/{file}")
            };
            if OTHERS.contains(&file) {
                continue;
            }
            if path.is_dir() {
                self.files.insert(name.clone());
                self.read_folder(&path, &name);
            } else if path.extension() == Some(OsStr::new("md")) {
                self.add(&name, &fs::read_to_string(&path).unwrap());
            } else {
                self.files.insert(name);
            }
        }
    }

    fn add(&mut self, path: &str, text: &str) {
        for folder in Path::new(path).ancestors().skip(1) {
            self.files.insert(folder.to_str().unwrap().to_owned());
        }
        self.files.insert(path.to_owned());
        if path.ends_with(".md") {
            self.documents
                .insert(path.to_owned(), Document::parse(text));
        }
    }

    /// Those whose code is checked.
    fn checked(&self) -> impl Iterator<Item = (&str, &Document)> {
        self.documents
            .iter()
            .map(|(path, document)| (path.as_str(), document))
            .filter(|(path, _)| {
                [
                    "README.md",
                    "README.zh-CN.md",
                    "CONTRIBUTING.md",
                    "examples/README.md",
                ]
                .contains(path)
                    || path.starts_with("docs/")
            })
    }

    fn commands(&self) -> impl Iterator<Item = (&str, String)> {
        self.checked().flat_map(|(path, document)| {
            let shell = document
                .blocks
                .iter()
                .filter(|block| block.language == "sh");
            shell.flat_map(move |block| {
                // A command may go on behind a backslash.
                let text = block.text.replace("\\\n", "");
                let lines: Vec<_> = text.lines().map(str::to_owned).collect();
                let lines = lines.into_iter().filter(|line| !line.trim().is_empty());
                lines.map(move |line| (path, line.split(" #").next().unwrap().trim().to_owned()))
            })
        })
    }

    fn broken_links(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for (path, document) in &self.documents {
            let folder = Path::new(path).parent().unwrap();
            for link in &document.links {
                // Rustdoc's, which `cargo doc` resolves.
                let is_rust = path == "docs/axum.md" && !link.contains(['/', '.', '#']);
                if is_rust || link.contains("://") || link.starts_with("mailto:") {
                    continue;
                }
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = if file.is_empty() {
                    Some(path.clone())
                } else {
                    join(folder, file)
                };
                let leads = target.is_some_and(|target| {
                    let anchors = self.documents.get(&target).map(Document::anchors);
                    self.files.contains(&target)
                        && (anchor.is_empty()
                            || anchors.is_none_or(|anchors| anchors.contains(anchor)))
                });
                if !leads {
                    broken.push(format!("{path}: {link}"));
                }
            }
            broken.extend(
                document
                    .undefined
                    .iter()
                    .map(|name| format!("{path}: {name}")),
            );
        }
        broken
    }
}

/// The path from the root, or nothing if it leads out of the repository.
fn join(folder: &Path, link: &str) -> Option<String> {
    let mut path: Vec<_> = folder.iter().map(|part| part.to_str().unwrap()).collect();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()?),
            part => path.push(part),
        }
    }
    Some(path.join("/"))
}

#[derive(Default)]
struct Document {
    headings: Vec<(HeadingLevel, String)>,
    links: Vec<String>,
    /// Links by reference whose reference is missing.
    undefined: Vec<String>,
    blocks: Vec<Block>,
}

#[derive(Debug, PartialEq)]
struct Block {
    info: String,
    language: String,
    text: String,
}

impl Document {
    fn parse(text: &str) -> Self {
        let mut document = Self::default();
        let mut undefined = Vec::new();
        let options =
            Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS | Options::ENABLE_STRIKETHROUGH;
        let on_broken = |link: BrokenLink<'_>| {
            // `[x]` alone is text, `- [ ]` a box; `[x][y]` wants to be a link.
            if matches!(link.link_type, pulldown_cmark::LinkType::Reference) {
                undefined.push(link.reference.to_string());
            }
            None
        };
        let parser = Parser::new_with_broken_link_callback(text, options, Some(on_broken));
        let mut heading: Option<(HeadingLevel, String)> = None;
        let mut block: Option<Block> = None;
        for event in parser {
            match event {
                Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
                Event::End(TagEnd::Heading(_)) => document.headings.extend(heading.take()),
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                    block = Some(Block::new(&info, ""));
                }
                Event::Start(Tag::CodeBlock(CodeBlockKind::Indented)) => {
                    block = Some(Block::new("", ""));
                }
                Event::End(TagEnd::CodeBlock) => document.blocks.extend(block.take()),
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.links.push(dest_url.to_string());
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some((_, heading)) = &mut heading {
                        heading.push_str(&text);
                    } else if let Some(block) = &mut block {
                        block.text.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    for attribute in ["src=\"", "srcset=\"", "href=\""] {
                        let values = html.split(attribute).skip(1);
                        let values = values.filter_map(|value| value.split('"').next());
                        document.links.extend(values.map(str::to_owned));
                    }
                }
                _ => {}
            }
        }
        document.undefined = undefined;
        document
    }

    /// GitHub's: lower case, without punctuation, blanks as hyphens, numbered if there are several.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for (_, heading) in &self.headings {
            let kept = heading.trim().to_lowercase();
            let kept = kept
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
            let numbered = (1..).map(|number| format!("{anchor}-{number}"));
            let free = std::iter::once(anchor.clone()).chain(numbered);
            let free = free.into_iter().find(|anchor| !anchors.contains(anchor));
            anchors.extend(free);
        }
        anchors
    }
}

impl Block {
    fn new(info: &str, text: &str) -> Self {
        let language = info.split([',', ' ']).next().unwrap_or_default();
        Self {
            info: info.to_owned(),
            language: language.to_owned(),
            text: text.to_owned(),
        }
    }

    fn syntax_fault(&self, file: &Path) -> Option<String> {
        let (program, args, text): (_, &[&str], _) = match self.language.as_str() {
            // Other tests read the first three; the rest is for people alone.
            "rs" | "rust" | "sh" | "toml" => return None,
            "" | "text" | "dockerfile" | "go" | "java" | "php" | "yaml" => return None,
            "python" => (
                "python3",
                &["-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"],
                self.text.clone(),
            ),
            "js" => ("node", &["--check"], self.text.clone()),
            "nginx" => {
                let folder = file.parent()?.display();
                let servers = self.text.replace("listen 80;", "listen 127.0.0.1:18080;");
                let conf = format!(
                    "pid {folder}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{servers}\n}}\n"
                );
                ("nginx", &["-t", "-q", "-c"], conf)
            }
            "caddyfile" => (
                "caddy",
                &["adapt", "--adapter", "caddyfile", "--config"],
                self.text.clone(),
            ),
            other => return Some(format!("nobody checks `{other}`")),
        };
        let file = if program == "node" {
            file.with_extension("cjs")
        } else {
            file.to_owned()
        };
        fs::write(&file, text).unwrap();
        if !is_installed(program) {
            println!("not parsed: there is no {program}");
            return None;
        }
        let parsed = Command::new(program)
            .args(args)
            .arg(&file)
            .output()
            .unwrap();
        (!parsed.status.success()).then(|| String::from_utf8_lossy(&parsed.stderr).into_owned())
    }
}

fn is_installed(program: &str) -> bool {
    let version = if ["nginx"].contains(&program) {
        "-v"
    } else {
        "--version"
    };
    let version = if program == "caddy" {
        "version"
    } else {
        version
    };
    let mut command = Command::new(program);
    command
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The packages of the workspace, with their folders.
fn packages() -> BTreeMap<String, PathBuf> {
    let members = ["crates", "examples"].map(|folder| root().join(folder));
    let folders = members
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let folders = folders.map(|entry| entry.unwrap().path()).chain([root()]);
    folders
        .filter_map(|folder| {
            let manifest = fs::read_to_string(folder.join("Cargo.toml")).ok()?;
            let package = manifest.split("[package]").nth(1)?;
            let name = package.split("name = \"").nth(1)?.split('"').next()?;
            Some((name.to_owned(), folder))
        })
        .collect()
}

/// What is in the folders `tests` of the examples.
fn tests_of_examples() -> Vec<String> {
    let folders = packages().into_iter();
    let folders = folders.filter(|(name, _)| name.starts_with("example-"));
    folders
        .filter_map(|(_, folder)| fs::read_dir(folder.join("tests")).ok())
        .flatten()
        .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect()
}

fn features() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let features = manifest.split("[features]\n").nth(1).unwrap();
    let features = features.split("\n\n").next().unwrap().lines();
    features
        .map(|line| line.split(" =").next().unwrap().to_owned())
        .collect()
}

/// What a command names that is not there.
fn fault_of(command: &str, packages: &BTreeMap<String, PathBuf>) -> Option<String> {
    let words: Vec<_> = command.split_whitespace().collect();
    match words[0] {
        "cargo" => {}
        "git" | "openssl" => return None,
        script if script.starts_with(".ci/") => {
            return (!root().join(script).exists()).then(|| format!("no {script}"));
        }
        other => return Some(format!("nobody checks `{other}`")),
    }
    let (cargo, program) = match words.iter().position(|word| *word == "--") {
        Some(end) => (&words[..end], &words[end + 1..]),
        None => (&words[..], &[][..]),
    };
    let value = |flag: &str| {
        let position = cargo.iter().position(|word| *word == flag)?;
        cargo.get(position + 1).copied()
    };
    let mut folder = root();
    if let Some(package) = value("-p") {
        match packages.get(package) {
            Some(found) => folder = found.clone(),
            None => return Some(format!("no package {package}")),
        }
    }
    if let Some(test) = value("--test") {
        let tests = folder.join("tests");
        let file = tests.join(format!("{test}.rs"));
        if !file.exists() && !tests.join(test).join("main.rs").exists() {
            return Some(format!("no test {test}"));
        }
    }
    if let Some(list) = value("--features") {
        if let Some(missing) = list.split(',').find(|name| !features().contains(*name)) {
            return Some(format!("no feature {missing}"));
        }
    }
    if value("-p") == Some("oss-callback-cli") {
        let source = sources(&folder.join("src"));
        for word in program {
            // clap makes `local-oss` of `LocalOss`, and `--key-pem` of `key_pem`.
            let name = match word.strip_prefix("--") {
                Some(flag) => format!("{}:", flag.replace('-', "_")),
                None if *word == program[0] => format!("{}(", camel_case(word)),
                None => continue,
            };
            if !source.contains(&name) {
                return Some(format!("no {word}"));
            }
        }
    }
    None
}

fn camel_case(name: &str) -> String {
    name.split('-')
        .map(|part| part[..1].to_uppercase() + &part[1..])
        .collect()
}

fn sources(folder: &Path) -> String {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            if path.is_dir() {
                sources(&path)
            } else {
                fs::read_to_string(&path).unwrap_or_default()
            }
        })
        .collect()
}
