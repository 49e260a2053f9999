//! The rules of a configuration, made ready to be matched with events.

use std::collections::HashMap;

use accel_domain::rule::{Match, glob};
use accel_domain::{Output, Resource, TargetTemplate};
use accel_image::{Digest, Reference};

/// Every convert entry, and what is known of the registries' names and users.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) entries: Vec<Entry>,
    /// Who Accel itself is, by host.
    pub(crate) users: HashMap<String, Vec<String>>,
}

/// One convert entry of a rule.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Which images it is for.
    pub(crate) matches: Match,
    /// Where the result goes.
    pub(crate) target: TargetTemplate,
    /// What is made.
    pub(crate) output: Output,
    /// Whether the target goes when its source goes.
    pub(crate) delete: bool,
    /// The identity of target and output.
    pub(crate) rule_hash: Digest,
}

impl Rules {
    /// The entries that are for `source`.
    pub(crate) fn matching(&self, source: &Reference) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.covers(source))
    }

    /// Whether an event about `resource` by `operator` is the echo of our own push: both who and what have to fit,
    /// since others may push such tags, and we may be given a user that others share.
    pub(crate) fn is_echo(&self, operator: Option<&str>, resource: &Resource) -> bool {
        let ours = self.users.get(resource.reference.host());
        let by_us =
            operator.is_some_and(|operator| ours.is_some_and(|users| users.iter().any(|user| user == operator)));
        by_us && (is_original(&resource.reference) || self.is_target(&resource.reference))
    }

    fn is_target(&self, reference: &Reference) -> bool {
        let name = reference.to_string();
        self.entries.iter().any(|entry| glob(&target_pattern(&entry.target), &name))
    }
}

impl Entry {
    fn covers(&self, source: &Reference) -> bool {
        self.matches.covers(source) && !(self.output.overwrite && is_original(source))
    }
}

/// Whether the tag is one under which `overwrite` keeps a source.
fn is_original(reference: &Reference) -> bool {
    reference.tag().is_some_and(|tag| tag.ends_with("-orig"))
}

/// A glob of all that a template can give, host included.
fn target_pattern(template: &TargetTemplate) -> String {
    let text = template.as_str();
    let names_host = template.fixed_host().is_some() || text.starts_with("{host}/");
    let mut pattern = if names_host { String::new() } else { "*/".to_owned() };
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        pattern.push_str(before);
        pattern.push('*');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    pattern + rest
}

#[cfg(test)]
pub(crate) mod tests {
    use accel_domain::Format;

    use super::*;

    pub(crate) fn rules(templates: &[&str]) -> Rules {
        let entry = |text: &&str| {
            let output = Output::new(Format::Estargz.default_options());
            Entry {
                matches: Match::default(),
                target: text.parse().unwrap(),
                rule_hash: output.rule_hash(text),
                output,
                delete: false,
            }
        };
        let users = HashMap::from([("h.example".to_owned(), vec!["robot$accel".to_owned()])]);
        Rules { entries: templates.iter().map(entry).collect(), users }
    }

    pub(crate) fn resource(text: &str) -> Resource {
        Resource { written: text.to_owned(), reference: text.parse().unwrap(), digest: None }
    }

    #[test]
    fn an_echo_is_ours_in_who_and_what() {
        let rules = rules(&["{repository}:{tag}-esgz", "fast/{name}:{tag}", "other.example/{repository}:{digest}"]);
        let ours = Some("robot$accel");
        let dashed = format!("other.example/p/r:sha256-{}", "a".repeat(64));
        let rows = [
            (ours, "h.example/p/r:1-esgz", true),
            (ours, "h.example/p/r:1-orig", true),
            (ours, "h.example/fast/r:1", true),
            (ours, "h.example/p/r:1", false),
            (Some("somebody"), "h.example/p/r:1-esgz", false),
            (None, "h.example/p/r:1-esgz", false),
            (ours, &dashed, false),
        ];
        for (operator, text, expected) in rows {
            assert_eq!(rules.is_echo(operator, &resource(text)), expected, "{operator:?} {text}");
        }
    }

    #[test]
    fn overwriting_rules_leave_the_kept_originals_alone() {
        let mut rules = rules(&["{repository}:{tag}"]);
        rules.entries[0].output.overwrite = true;
        let count = |text: &str| rules.matching(&resource(text).reference).count();
        assert_eq!((count("h.example/p/r:1"), count("h.example/p/r:1-orig")), (1, 0));
    }
}
