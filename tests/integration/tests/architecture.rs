//! Which crate may use which, and what is not to be in the tree. Read from `cargo metadata`: normal and build
//! dependencies, with the features that the workspace's members turn on.

#![allow(clippy::unwrap_used, reason = "a test ends where it does not get what it expects")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Every member, bottom up: a crate uses only crates before it in this list.
const ORDER: [&str; 20] = [
    "accel-image",
    "accel-domain",
    "accel-runtime",
    "accel-tasks",
    "accel-stream",
    "accel-registry-server",
    "accel-registry",
    "accel-driver",
    "accel-driver-estargz",
    "accel-driver-nydus",
    "accel-pipeline",
    "accel-webhook",
    "accel-converter",
    "accel-query",
    "accelctl",
    "accel-test-support",
    "accel-integration-tests",
    "accel-cloud-tests",
    "accel-bench",
    "accel-fuzz-targets",
];
const FUNCTIONS: [&str; 3] = ["accel-webhook", "accel-converter", "accel-query"];

/// What a directory or file is never called: such names hold everything, so nothing is found there.
const NOTHING_NAMES: [&str; 8] = ["util", "utils", "common", "core", "helper", "helpers", "misc", "manager"];

/// The packages that cargo resolves, by id, and what each uses.
struct Graph {
    names: BTreeMap<String, String>,
    directories: BTreeMap<String, PathBuf>,
    uses: BTreeMap<String, BTreeSet<String>>,
    /// What the manifests of members name, optional or not.
    named: BTreeMap<String, BTreeSet<String>>,
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
        let members: BTreeSet<_> = list(&metadata["workspace_members"]).iter().map(name).collect();
        let used = |dep: &&Value| dep["kind"].as_str() != Some("dev");
        let of = |p: &Value| list(&p["dependencies"]).iter().filter(used).map(|dep| text(&dep["name"])).collect();
        let named = packages.iter().map(|p| (text(&p["name"]), of(p))).filter(|(name, _)| members.contains(name));
        Self { named: named.collect(), names, directories, uses, members }
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

/// Everything that ends up in the program of a package, each with its version: what cargo builds for it alone, with
/// `features`.
fn built(package: &str, features: &[&str]) -> BTreeSet<String> {
    let cargo = std::env::var("CARGO").unwrap();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = Command::new(cargo);
    command.args(["tree", "--locked", "--edges=no-dev,no-build,no-proc-macro", "--prefix=none", "--format={p}"]);
    command.args(["--target", &target, "-p", package]).args(features.iter().map(|feature| format!("-F{feature}")));
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let of = |line: &str| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    lines.lines().map(of).filter(|line| !line.is_empty()).collect()
}

fn name(package: &str) -> &str {
    package.split(' ').next().unwrap()
}

fn is_of_aws(package: &str) -> bool {
    ["aws-", "aws_", "lambda_", "metrics_cloudwatch"].iter().any(|start| package.starts_with(start))
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
fn functions_in_lambda_are_small() {
    let heavy = |used: &str| {
        let used = name(used);
        ["redb", "reqwest", "accel-pipeline", "accel-registry", "zstd-sys"].contains(&used)
            || used.starts_with("accel-driver")
    };
    for package in ["accel-webhook", "accel-query"] {
        let built = built(package, &["lambda"]);
        assert!(built.iter().any(|used| name(used) == "lambda_http"), "{package} is built for Lambda");
        assert!(forbidden(&built, heavy).is_empty(), "{package} has {:?}", forbidden(&built, heavy));
    }
    let converter = built("accel-converter", &["lambda"]);
    assert!(forbidden(&converter, heavy).len() > 3, "or the names above are misspelt");
    assert!(forbidden(&converter, |used| name(used) == "redb").is_empty());
}

#[test]
fn accelctl_knows_no_aws() {
    let found = built("accelctl", &[]);
    assert!(found.iter().any(|used| name(used) == "redb"));
    assert!(forbidden(&found, is_of_aws).is_empty(), "{:?}", forbidden(&found, is_of_aws));
    let lambda = built("accel-converter", &["lambda"]);
    assert!(forbidden(&lambda, is_of_aws).len() > 5, "or the names above are misspelt");
}

#[test]
fn functions_in_lambda_have_one_tls_stack() {
    for package in FUNCTIONS {
        let built = built(package, &["lambda"]);
        let others =
            ["openssl", "openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys", "s2n-tls", "mbedtls", "boring"];
        assert!(forbidden(&built, |used| others.contains(&name(used))).is_empty(), "{package}");
        for primitive in ["rustls", "ring", "hyper", "h2", "http", "tokio"] {
            let found = forbidden(&built, |used| name(used) == primitive);
            assert_eq!(found.len(), 1, "{package} has {primitive} once: {found:?}");
        }
    }
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
        let found = forbidden(&graph.named[name], |used| used.starts_with("lambda_") || used == "anyhow");
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
