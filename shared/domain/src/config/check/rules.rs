//! What must hold for each rule and between them.

use accel_image::{Digest, Reference};

use crate::TargetTemplate;
use crate::config::fault::Faults;
use crate::config::patterns::{MAX_PATTERN_CHARS, covers, overlap, witness};
use crate::config::{Config, Convert, Rule};
use crate::rule::{Match, glob};

/// More than anybody writes, few enough to compare each with each.
const MAX_RULES: usize = 500;
const MAX_ENTRIES: usize = 32;
/// What overwritten sources end with.
const ORIGINALS: &str = "*-orig";

pub(super) fn all(config: &Config, faults: &Faults) {
    if config.rules.len() > MAX_RULES {
        return faults.say("rules", format_args!("has {} rules, more than {MAX_RULES}", config.rules.len()));
    }
    for (at, rule) in config.rules.iter().enumerate() {
        let path = format!("rules[{at}]");
        patterns(config, &rule.matches, &format!("{path}.match"), faults);
        outputs(config, rule, &path, faults);
    }
    same_targets(config, faults);
}

/// Patterns that are none, and those that no image can match.
fn patterns(config: &Config, matches: &Match, path: &str, faults: &Faults) {
    if faults.touch(path) {
        return;
    }
    if let Some(host) = &matches.host {
        host_pattern(config, host, &format!("{path}.host"), faults);
    }
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
    let any = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if let Some(repository) = &matches.repository {
        pattern(repository, lower, "repository", &format!("{path}.repository"), faults);
    }
    if let Some(tag) = &matches.tag {
        pattern(tag, any, "tag", &format!("{path}.tag"), faults);
    }
    for (at, except) in matches.except_tags.iter().enumerate() {
        pattern(except, any, "tag", &format!("{path}.except_tags[{at}]"), faults);
    }
    let tag = matches.tag.as_deref().unwrap_or("*");
    if let Some(except) = matches.except_tags.iter().find(|except| within_limit(except) && covers(except, tag)) {
        let message = format!("the rule can never match: `{except}` excepts every tag it is for");
        faults.say(&format!("{path}.except_tags"), message);
    }
}

fn within_limit(pattern: &str) -> bool {
    pattern.chars().count() <= MAX_PATTERN_CHARS
}

fn pattern(pattern: &str, allowed: impl Fn(char) -> bool, what: &str, path: &str, faults: &Faults) {
    let odd = pattern.chars().find(|&c| !allowed(c) && c != '*' && c != '?');
    if !within_limit(pattern) {
        faults.say(path, format_args!("is longer than {MAX_PATTERN_CHARS} characters"));
    } else if pattern.is_empty() {
        faults.say(path, format_args!("is empty and so matches no {what}: leave it out to match all"));
    } else if let Some(odd) = odd {
        faults.say(path, format_args!("can never match: no {what} has a `{}` in it", odd.escape_debug()));
    }
}

fn host_pattern(config: &Config, pattern: &str, path: &str, faults: &Faults) {
    if !within_limit(pattern) {
        return faults.say(path, format_args!("is longer than {MAX_PATTERN_CHARS} characters"));
    }
    if config.hosts().any(|host| glob(pattern, host)) {
        return;
    }
    let shown = pattern.escape_debug();
    match config.host_of(pattern) {
        Some(host) => faults.say(path, format_args!("can never match: `{shown}` is an alias, write `{host}`")),
        None => faults.say(path, format_args!("can never match: no host under `registries` is `{shown}`")),
    }
}

fn outputs(config: &Config, rule: &Rule, path: &str, faults: &Faults) {
    let list = format!("{path}.convert");
    if rule.convert.is_empty() && !faults.touch(path) {
        faults.say(&list, "is empty: write at least `- { format: estargz }`");
    }
    if rule.convert.len() > MAX_ENTRIES {
        return faults.say(&list, format_args!("has {} entries, more than {MAX_ENTRIES}", rule.convert.len()));
    }
    for (at, entry) in rule.convert.iter().enumerate() {
        let path = format!("{list}[{at}]");
        if !faults.touch(&path) {
            output(config, rule, entry, &path, faults);
        }
    }
}

fn output(config: &Config, rule: &Rule, entry: &Convert, path: &str, faults: &Faults) {
    let target = format!("{path}.target");
    if let Some(host) = entry.target.fixed_host().filter(|host| config.transport(host).is_none()) {
        let message = format!("the registry `{}` is not configured: add it under `registries`", host.escape_debug());
        return faults.say(&target, message);
    }
    if let Some(image) = entry.options.chunk_dictionary().filter(|image| config.host_of(image.host()).is_none()) {
        let message = format!("the registry `{}` is not configured: add it under `registries`", image.host());
        faults.say(&format!("{path}.chunk_dictionary"), message);
    }
    if entry.overwrite {
        overwriting(rule, entry, path, faults);
    }
    expansion(config, rule, entry, &target, faults);
}

fn overwriting(rule: &Rule, entry: &Convert, path: &str, faults: &Faults) {
    let tag = rule.matches.tag.as_deref().unwrap_or("*");
    let excepted = |pattern: &String| within_limit(pattern) && covers(pattern, ORIGINALS);
    if within_limit(tag) && overlap(tag, ORIGINALS) && !rule.matches.except_tags.iter().any(excepted) {
        let message = format!("would overwrite kept sources too: add \"{ORIGINALS}\" to the rule's `except_tags`");
        faults.say(&format!("{path}.overwrite"), message);
    }
    if entry.delete {
        faults.say(&format!("{path}.delete"), "means nothing with `overwrite`: the target goes with its source");
    }
}

/// What the target is for images that the rule is for. One host stands for all but the one that the target names.
fn expansion(config: &Config, rule: &Rule, entry: &Convert, path: &str, faults: &Faults) {
    let fits = |host: &&str| rule.matches.host.as_deref().is_none_or(|pattern| glob(pattern, host));
    for host in config.hosts().filter(fits).take(1).chain(entry.target.fixed_host().filter(fits)) {
        let sources = witnesses(&rule.matches, host);
        let expanded: Vec<_> =
            sources.iter().map(|source| (source, entry.target.expand(source, Some(Digest::of(b""))))).collect();
        if expanded.is_empty() {
            continue;
        }
        if let Some((_, Err(error))) = expanded.iter().find(|_| expanded.iter().all(|(_, target)| target.is_err())) {
            return faults.say(path, error);
        }
        let same = |(source, target): &(&Reference, Result<Reference, _>)| target.as_ref().is_ok_and(|t| t == *source);
        let message = match (entry.overwrite, expanded.iter().all(same)) {
            (false, true) => format!(
                "is the source itself (for images of {host}): change it, leave {host} out by the rule's \
                 `match.host`, or say `overwrite: true`"
            ),
            (true, false) => "must be the source, `{repository}:{tag}`, with `overwrite`: leave it out".to_owned(),
            (true, true) | (false, false) => continue,
        };
        return faults.say(path, message);
    }
}

/// Some images of `host` that the rule is for, different from each other in every part.
fn witnesses(matches: &Match, host: &str) -> Vec<Reference> {
    let image = |(repository, tag): (&str, &str)| {
        let repository = witness(matches.repository.as_deref().unwrap_or("*"), repository);
        let tag = witness(matches.tag.as_deref().unwrap_or("*"), tag);
        Reference::new(host, &repository, Some(&tag), None).ok()
    };
    let fillings = [("acc/el", "v1"), ("zed/q", "x2")];
    fillings.into_iter().filter_map(image).filter(|source| matches.covers(source)).collect()
}

/// Entries that would write the same tag for the same image.
fn same_targets(config: &Config, faults: &Faults) {
    let entries: Vec<(String, &Rule, String)> = config
        .rules
        .iter()
        .enumerate()
        .flat_map(|(r, rule)| {
            let paths = rule.convert.iter().enumerate();
            paths.map(move |(c, entry)| (format!("rules[{r}].convert[{c}]"), rule, normalised(&entry.target)))
        })
        .filter(|(path, ..)| !faults.touch(path))
        .collect();
    for (at, (path, rule, target)) in entries.iter().enumerate() {
        let clash = entries[..at].iter().find(|(_, other, same)| same == target && can_share(rule, other));
        if let Some((first, ..)) = clash {
            let message = format!("gives the same target as {first} for images that both are for");
            faults.say(&format!("{path}.target"), message);
        }
    }
}

/// The template with one spelling for what can be spelled in several ways.
fn normalised(target: &TargetTemplate) -> String {
    let text = target.as_str().replace("{project}/{name}", "{repository}");
    text.strip_prefix("{host}/").unwrap_or(&text).to_owned()
}

fn can_share(one: &Rule, other: &Rule) -> bool {
    let (a, b) = (&one.matches, &other.matches);
    let text = |pattern: &Option<String>| pattern.clone().unwrap_or_else(|| "*".to_owned());
    let shared = |a: &Option<String>, b: &Option<String>| {
        let (a, b) = (text(a), text(b));
        within_limit(&a) && within_limit(&b) && overlap(&a, &b)
    };
    let excepts = |a: &Match, b: &Match| a.except_tags.iter().any(|e| within_limit(e) && covers(e, &text(&b.tag)));
    shared(&a.host, &b.host)
        && shared(&a.repository, &b.repository)
        && shared(&a.tag, &b.tag)
        && !excepts(a, b)
        && !excepts(b, a)
}
