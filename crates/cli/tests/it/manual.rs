//! Help, completions and man pages: each subcommand is in all of them.

use std::fs;

use crate::support::{run, stderr, stdout};

const SUBCOMMANDS: [&str; 6] = ["doctor", "local-oss", "sign", "key", "completions", "man"];

#[test]
fn help_has_an_example_of_each_subcommand_that_needs_one() {
    let help = stdout(&run(&["--help"], b""));
    for subcommand in SUBCOMMANDS {
        assert!(help.contains(subcommand), "{help}");
        assert!(run(&[subcommand, "--help"], b"").status.success());
    }
    for subcommand in ["doctor", "sign", "completions", "man"] {
        let help = stdout(&run(&[subcommand, "--help"], b""));
        assert!(help.contains("Examples:"), "{help}");
    }
    let help = stdout(&run(&["doctor", "--help"], b""));
    assert!(
        help.contains("Exit status:") && help.contains("log_format"),
        "{help}"
    );
}

#[test]
fn every_shell_has_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = stdout(&run(&["completions", shell], b""));
        for word in ["doctor", "--lang", "local-oss", "--template"] {
            // fish writes long flags without their dashes.
            assert!(
                script.contains(word.trim_start_matches('-')),
                "{shell}: {word}"
            );
        }
    }
}

#[test]
fn every_subcommand_has_a_man_page() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("man1");
    assert!(
        run(&["man", "--out-dir", out.to_str().unwrap()], b"")
            .status
            .success()
    );
    let mut names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "oss-callback-completions.1",
            "oss-callback-doctor.1",
            "oss-callback-key-check.1",
            "oss-callback-key-fetch.1",
            "oss-callback-key-show.1",
            "oss-callback-key.1",
            "oss-callback-local-oss.1",
            "oss-callback-man.1",
            "oss-callback-sign.1",
            "oss-callback.1",
        ],
    );
    let page = stdout(&run(&["man", "key", "fetch"], b""));
    assert_eq!(
        page,
        fs::read_to_string(out.join("oss-callback-key-fetch.1")).unwrap()
    );
    assert!(page.contains(".TH oss-callback-key-fetch 1"), "{page}");

    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let not_a_directory = file.join("man1").display().to_string();
    let output = run(&["man", "--out-dir", &not_a_directory], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&not_a_directory), "{output:?}");

    let output = run(&["man", "nonsense"], b"");
    assert!(!output.status.success() && stderr(&output).contains("nonsense"));
}
