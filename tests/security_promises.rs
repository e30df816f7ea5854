//! SECURITY.md names a test for every promise; each must be there, as a test.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Packages of other languages.
            if !path.ends_with("node_modules") && !path.ends_with(".venv") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Names of all functions that `#[test]`, `#[tokio::test]` or the like stands over, in `src` and `tests`.
fn tests() -> HashSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    sources(&root.join("tests"), &mut files);
    let mut names = HashSet::new();
    for file in files {
        let mut is_test = false;
        for line in fs::read_to_string(file).unwrap().lines().map(str::trim) {
            if line.starts_with("#[") {
                let attribute = line.trim_start_matches("#[").split(['(', ']']).next().unwrap_or_default();
                is_test |= attribute == "test" || attribute.ends_with("::test");
            } else if let Some(name) = line.strip_prefix("async fn ").or_else(|| line.strip_prefix("fn "))
                && std::mem::take(&mut is_test)
            {
                names.insert(name.split('(').next().unwrap().to_owned());
            }
        }
    }
    names
}

/// Rows of the tables of promises: what is promised, and the tests that show it.
fn promises(text: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, promises) = text.split_once("## What is promised").unwrap();
    let promises = promises.split("\n## ").next().unwrap();
    let rows =
        promises.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.rsplit_once(" | "));
    rows.filter(|(promise, tests)| !promise.starts_with("---") && (*promise, *tests) != ("promise", "test"))
        .map(|(promise, tests)| (promise, tests.split('`').skip(1).step_by(2).collect()))
        .collect()
}

#[test]
fn every_promise_names_tests_that_are_there() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("SECURITY.md")).unwrap();
    let (promises, tests) = (promises(&text), tests());
    assert!(promises.len() >= 25, "the tables are read: {promises:?}");
    assert!(
        tests.len() >= 150 && tests.contains("every_promise_names_tests_that_are_there"),
        "{}",
        tests.len()
    );
    for (promise, named) in promises {
        assert!(!named.is_empty(), "no test for: {promise}");
        for name in named {
            assert!(tests.contains(name), "SECURITY.md names {name}, which is no test: {promise}");
        }
    }
}
