//! Where two file systems differ, in words.

use std::fmt::Debug;

use super::{Node, Tree};

/// A line for each difference, in the order of paths; none if the two are the same.
/// The time of a directory that no entry made is not compared.
#[must_use]
pub fn diff(left: &Tree, right: &Tree) -> Vec<String> {
    let paths: std::collections::BTreeSet<_> = left.nodes.keys().chain(right.nodes.keys()).collect();
    let lines = paths.into_iter().flat_map(|path| {
        let lines = match (left.nodes.get(path), right.nodes.get(path)) {
            (Some(left), Some(right)) => nodes(left, right),
            (Some(_), None) => vec!["only left".to_owned()],
            (None, Some(_)) => vec!["only right".to_owned()],
            (None, None) => Vec::new(),
        };
        lines.into_iter().map(|line| format!("{}: {line}", path.escape_ascii())).collect::<Vec<_>>()
    });
    lines.collect()
}

fn nodes(left: &Node, right: &Node) -> Vec<String> {
    let mut lines = Vec::new();
    let mut compare = |what: &str, left: &dyn Debug, right: &dyn Debug| {
        let (left, right) = (format!("{left:?}"), format!("{right:?}"));
        if left != right {
            lines.push(format!("{what} {left} and {right}"));
        }
    };
    compare("kind", &left.kind, &right.kind);
    compare("mode", &format_args!("{:o}", left.mode), &format_args!("{:o}", right.mode));
    compare("uid", &left.uid, &right.uid);
    compare("gid", &left.gid, &right.gid);
    if left.mtime.is_some() && right.mtime.is_some() {
        compare("mtime", &left.mtime, &right.mtime);
    }
    compare("size", &left.size, &right.size);
    compare("content", &left.digest, &right.digest);
    let shown = |bytes: &[u8]| bytes.escape_ascii().to_string();
    compare("target", &shown(&left.target), &shown(&right.target));
    compare("device", &left.device, &right.device);
    compare("xattrs", &left.xattrs, &right.xattrs);
    compare("links", &left.links, &right.links);
    lines
}
