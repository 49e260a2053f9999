//! The rules of a configuration, made ready to be matched with events.

use std::sync::Arc;

use accel_domain::config::Config;
use accel_domain::rule::{Match, glob};
use accel_domain::{Output, Resource, TargetTemplate};
use accel_image::{Digest, Reference};

/// Every convert entry, beside the configuration that it comes from.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) config: Arc<Config>,
    pub(crate) entries: Vec<Entry>,
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
    /// The rules of `config`.
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let pairs =
            config.rules.iter().flat_map(|rule| rule.outputs().map(move |(entry, output)| (rule, entry, output)));
        let entries = pairs.map(|(rule, entry, output)| Entry {
            matches: rule.matches.clone(),
            target: entry.target.clone(),
            rule_hash: output.rule_hash(entry.target.as_str()),
            output,
            delete: entry.delete,
        });
        Self { entries: entries.collect(), config }
    }

    /// The configured name of a host, by any name that events use for it.
    pub(crate) fn host(&self, name: &str) -> Option<String> {
        self.config.host_of(name).map(str::to_owned)
    }

    /// The entries that are for `source`.
    pub(crate) fn matching(&self, source: &Reference) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.covers(source))
    }

    /// Whether an event about `resource` by `operator` is the echo of our own push: both who and what have to fit,
    /// since others may push such tags, and we may be given a user that others share.
    pub(crate) fn is_echo(&self, operator: Option<&str>, resource: &Resource) -> bool {
        let ours = self.config.operator_for(resource.reference.host(), resource.reference.repository());
        let by_us = operator.is_some_and(|operator| ours == Some(operator));
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
    use super::*;

    /// Rules of one entry a template, which others than the registry's user push to.
    pub(crate) fn rules(templates: &[&str]) -> Rules {
        let mut config = accel_domain::config::parse(REGISTRIES, "test.yaml").unwrap();
        config.rules = templates.iter().map(|target| rule(target)).collect();
        Rules::new(Arc::new(config))
    }

    const REGISTRIES: &str = "registries:\n  h.example: { username: robot$accel, password: \"${env:NONE}\" }\n";

    fn rule(target: &str) -> accel_domain::config::Rule {
        let entry = accel_domain::config::Convert {
            target: target.parse().unwrap(),
            ..accel_domain::config::Convert::of(accel_domain::Format::Estargz)
        };
        accel_domain::config::Rule { convert: vec![entry], ..Default::default() }
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
