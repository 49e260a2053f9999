//! Which crate may use which, and what is not to be in the tree. Read from `cargo metadata`: normal and build
//! dependencies, with the features that the workspace's members turn on.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every member, bottom up: a crate uses only crates before it in this list.
const ORDER: [&str; 18] = [
    "accel-image",
    "accel-domain",
    "accel-runtime",
    "accel-tasks",
    "accel-stream",
    "accel-registry-server",
    "accel-registry",
    "accel-driver",
    "accel-driver-estargz",
    "accel-pipeline",
    "accel-webhook",
    "accel-converter",
    "accel-query",
    "accelctl",
    "accel-test-support",
    "accel-integration-tests",
    "accel-cloud-tests",
    "accel-bench",
];
const FUNCTIONS: [&str; 3] = ["accel-webhook", "accel-converter", "accel-query"];

/// What a directory or file is never called: such names hold everything, so nothing is found there.
const NOTHING_NAMES: [&str; 8] = ["util", "utils", "common", "core", "helper", "helpers", "misc", "manager"];

/// The packages that cargo resolves, by id, and what each uses.
struct Graph {
    names: BTreeMap<String, String>,
    directories: BTreeMap<String, PathBuf>,
    uses: BTreeMap<String, BTreeSet<String>>,
    members: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let cargo = std::env::var("CARGO").unwrap();
        let platform = format!("--filter-platform={}-unknown-linux-gnu", std::env::consts::ARCH);
        let arguments = ["metadata", "--format-version=1", "--locked", &platform];
        let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = |value: &Value| value.as_array().unwrap().clone();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let packages = list(&metadata["packages"]);
        let names: BTreeMap<_, _> = packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect();
        let directory = |p: &Value| Path::new(p["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned();
        let directories = packages.iter().map(|p| (text(&p["name"]), directory(p))).collect();
        let in_use = |dep: &Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].as_str() != Some("dev"));
        let name = |id: &Value| names[id.as_str().unwrap()].clone();
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&metadata["resolve"]["nodes"]) {
            let used = list(&node["deps"]).iter().filter(|dep| in_use(dep)).map(|dep| name(&dep["pkg"])).collect();
            uses.entry(name(&node["id"])).or_default().extend::<BTreeSet<String>>(used);
        }
        let members = list(&metadata["workspace_members"]).iter().map(name).collect();
        Self { names, directories, uses, members }
    }

    fn uses(&self, name: &str) -> &BTreeSet<String> {
        &self.uses[name]
    }

    /// Everything that `name` uses, directly or not.
    fn reaches(&self, name: &str) -> BTreeSet<String> {
        let mut reached = BTreeSet::new();
        let mut open = vec![name.to_owned()];
        while let Some(next) = open.pop() {
            let new: Vec<_> = self.uses(&next).iter().filter(|used| !reached.contains(*used)).cloned().collect();
            reached.extend(new.iter().cloned());
            open.extend(new);
        }
        reached
    }

    /// What ships: all that a member outside of `tests/` reaches.
    fn shipped(&self) -> BTreeSet<String> {
        let ours = self.members.iter().filter(|name| !self.directories[*name].starts_with(root().join("tests")));
        ours.flat_map(|name| self.reaches(name)).collect()
    }

    fn versions(&self, name: &str) -> usize {
        self.names.values().filter(|own| *own == name).count()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn drivers(graph: &Graph) -> Vec<&String> {
    graph.members.iter().filter(|name| *name == "accel-driver" || name.starts_with("accel-driver-")).collect()
}

/// The names among `found` that `forbidden` says something about.
fn forbidden(found: &BTreeSet<String>, forbidden: impl Fn(&str) -> bool) -> Vec<&String> {
    found.iter().filter(|name| forbidden(name)).collect()
}

#[test]
fn a_crate_uses_only_crates_below_it() {
    let graph = Graph::read();
    let listed: BTreeSet<_> = ORDER.map(str::to_owned).into();
    assert_eq!(graph.members, listed, "every member has its place in the list");
    for (place, name) in ORDER.iter().enumerate() {
        let above = forbidden(graph.uses(name), |used| ORDER[place..].contains(&used));
        assert!(above.is_empty(), "{name} uses {above:?}");
    }
}

#[test]
fn functions_do_not_use_each_other() {
    let graph = Graph::read();
    for name in FUNCTIONS {
        let others = forbidden(graph.uses(name), |used| FUNCTIONS.contains(&used));
        assert!(others.is_empty(), "{name} uses {others:?}");
    }
}

#[test]
fn webhook_and_query_touch_no_registry_and_no_layer() {
    let graph = Graph::read();
    let heavy = |used: &str| {
        ["accel-pipeline", "accel-registry", "reqwest"].contains(&used) || used.starts_with("accel-driver")
    };
    for name in ["accel-webhook", "accel-query"] {
        let reached = graph.reaches(name);
        assert!(forbidden(&reached, heavy).is_empty(), "{name} reaches {:?}", forbidden(&reached, heavy));
    }
    assert!(!forbidden(&graph.reaches("accel-converter"), heavy).is_empty(), "or the names above are misspelt");
}

#[test]
fn drivers_know_neither_registries_nor_tasks_nor_async() {
    let graph = Graph::read();
    let outside = ["accel-registry", "accel-registry-server", "accel-tasks", "accel-runtime"];
    for name in drivers(&graph) {
        let reached = graph.reaches(name);
        let found = forbidden(&reached, |used| outside.contains(&used));
        assert!(found.is_empty(), "{name} reaches {found:?}");
        let found = forbidden(graph.uses(name), |used| used == "tokio" || used.starts_with("aws-"));
        assert!(found.is_empty(), "{name} uses {found:?}");
    }
}

#[test]
fn libraries_know_no_lambda_and_show_no_anyhow() {
    let graph = Graph::read();
    for name in graph.members.iter().filter(|name| graph.directories[*name].starts_with(root().join("shared"))) {
        let found = forbidden(graph.uses(name), |used| used.starts_with("lambda_") || used == "anyhow");
        assert!(found.is_empty(), "{name} uses {found:?}");
    }
}

#[test]
fn there_is_one_of_each_primitive() {
    let graph = Graph::read();
    let shipped = graph.shipped();
    let others = [
        "openssl",
        "openssl-sys",
        "native-tls",
        "aws-lc-rs",
        "aws-lc-sys",
        "mbedtls",
        "boring",
        "miniz_oxide",
        "libz-sys",
        "libz-ng-sys",
        "cloudflare-zlib-sys",
        "zlib-ng",
    ];
    let found = forbidden(&shipped, |name| others.contains(&name));
    assert!(found.is_empty(), "a second TLS stack or zlib: {found:?}");
    for name in ["rustls", "ring", "zlib-rs", "flate2", "libdeflate-sys", "zstd-sys", "sha2"] {
        assert!(shipped.contains(name) && graph.versions(name) == 1, "{name} is there once");
    }
}

#[test]
fn every_member_keeps_the_lints_that_forbid_unsafe_code() {
    let lints = |directory: &Path| {
        let manifest = std::fs::read_to_string(directory.join("Cargo.toml")).unwrap();
        manifest.contains("[lints]\nworkspace = true")
    };
    let graph = Graph::read();
    for name in &graph.members {
        assert!(lints(&graph.directories[name]), "{name} has no `[lints] workspace = true`");
    }
    let workspace = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("unsafe_code = \"forbid\""));
}

#[test]
fn nothing_is_called_by_a_name_that_says_nothing() {
    let mut open = vec![root()];
    let (mut seen, mut found) = (0, Vec::new());
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().to_lowercase();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            let stem = name.split('.').next().unwrap();
            if NOTHING_NAMES.iter().any(|nothing| stem == *nothing || stem.ends_with(&format!("_{nothing}"))) {
                found.push(path.clone());
            }
            seen += 1;
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            }
        }
    }
    assert!(seen > 300, "the tree was walked");
    assert!(found.is_empty(), "{found:?}");
}
