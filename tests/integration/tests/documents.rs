//! The documents: what they show is accepted, what they point at is there, what they list is complete.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every Markdown file at the root and below `docs`, `infra` and `localstack`.
fn documents() -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), ["docs", "infra", "localstack"].map(|area| root().join(area)).to_vec());
    let markdown = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "md");
    let list = |directory: &Path| fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    found.extend(list(&root()).filter(markdown));
    while let Some(directory) = open.pop() {
        for path in list(&directory) {
            match path.is_dir() {
                true => open.push(path),
                false if markdown(&path) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// The blocks of a document that are fenced as `language`, without the indentation of the fence.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let (mut blocks, mut open): (Vec<String>, Option<usize>) = (Vec::new(), None);
    for line in text.lines() {
        let indentation = line.len() - line.trim_start().len();
        match open {
            Some(_) if line.trim_start().starts_with("```") => open = None,
            Some(indentation) => {
                let line = line.get(indentation..).unwrap_or_default();
                blocks.last_mut().unwrap().push_str(&format!("{line}\n"));
            }
            None if line.trim_start() == format!("```{language}") => {
                blocks.push(String::new());
                open = Some(indentation);
            }
            None => {}
        }
    }
    blocks
}

/// The targets of links that lead to other files of the tree.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets.filter(|target| !target.contains("://") && !target.contains(' ')).collect()
}

/// A heading as links name it: GitHub's rule.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let letters = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    letters.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_configuration_that_is_shown_is_accepted() {
    let mut seen = 0;
    for document in documents() {
        for block in blocks(&fs::read_to_string(&document).unwrap(), "yaml") {
            let config = accel_domain::config::parse(&block, &document.display().to_string());
            let config = config.unwrap_or_else(|faults| panic!("{faults}\n{block}"));
            assert!(config.required_rules().is_ok() && config.warnings().is_empty(), "{:?}", config.warnings());
            seen += 1;
        }
    }
    assert!(seen >= 2, "README.md and docs/CONFIGURATION.md show one each");
}

#[test]
fn every_link_leads_somewhere() {
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        for link in links(&text) {
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !fragment.is_empty() && target.is_file() {
                let text = fs::read_to_string(&target).unwrap();
                let found = text.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == fragment);
                assert!(found, "{}: {link}", document.display());
            }
        }
    }
}

#[test]
fn every_file_that_is_named_is_there() {
    let names = |text: &str| -> Vec<String> {
        let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let areas = ["shared/", "functions/", "cli/", "tests/", "infra/", "localstack/"];
        quoted.filter(|name| areas.iter().any(|area| name.starts_with(area)) && !name.contains(['*', ' '])).collect()
    };
    let mut seen = 0;
    for document in documents() {
        for name in names(&fs::read_to_string(&document).unwrap()) {
            assert!(root().join(&name).exists(), "{}: {name}", document.display());
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[test]
fn a_decision_is_one_page_of_four_parts() {
    let mut numbers = BTreeSet::new();
    for entry in fs::read_dir(root().join("docs/adr")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = fs::read_to_string(&path).unwrap();
        let number = &name[..4];
        assert!(text.starts_with(&format!("# {number}: ")) && text.lines().count() <= 60, "{name}");
        for part in ["Context", "Decision", "Consequences"] {
            assert!(text.contains(&format!("\n## {part}\n")), "{name} has no {part}");
        }
        numbers.insert(number.parse::<usize>().unwrap());
    }
    assert_eq!(numbers, (1..=numbers.len()).collect(), "numbered without gaps");
}

#[test]
fn the_tables_of_the_store_are_all_described() {
    let source = read("shared/tasks/src/embedded/tables.rs");
    let tables: Vec<_> =
        source.split("TableDefinition::new(\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    let described = read("docs/ARCHITECTURE.md");
    assert!(tables.len() > 5);
    for table in tables {
        assert!(described.contains(&format!("`{table}`")), "docs/ARCHITECTURE.md does not describe `{table}`");
    }
}

#[test]
fn every_metric_is_described() {
    let source = read("shared/runtime/src/metrics/page.rs");
    let names: Vec<_> =
        source.split("registry.register(\"").skip(1).map(|rest| rest.split_once('"').unwrap().0).collect();
    let described = read("docs/OPERATIONS.md");
    assert!(names.len() > 5);
    for name in names {
        assert!(described.contains(&format!("`{name}")), "docs/OPERATIONS.md does not describe {name}");
    }
}
