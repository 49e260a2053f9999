//! What a rule makes of an image, as accepted: stored with the task, hashed into its identity.

use accel_image::{Digest, Platform, Reference};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::FormatOptions;

/// What becomes of BuildKit's attestation manifests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Attestations {
    /// They are left out of the target.
    #[default]
    Drop,
    /// They are kept, their reference rewritten to the converted manifest.
    Carry,
}

/// One output of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The format and the options that determine its bytes.
    #[serde(flatten)]
    pub options: FormatOptions,
    /// Platforms to convert; empty means all.
    #[serde(default)]
    pub platforms: Vec<Platform>,
    /// What becomes of attestations.
    #[serde(default)]
    pub attestations: Attestations,
    /// Whether the target refers to its source, so that a registry lists it beside it.
    #[serde(default)]
    pub subject: bool,
    /// Whether the source tag itself is replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Whether a target tag without our marker may be replaced.
    #[serde(default)]
    pub adopt: bool,
}

impl Output {
    /// An output with everything else at its default.
    #[must_use]
    pub const fn new(options: FormatOptions) -> Self {
        Self {
            options,
            platforms: Vec::new(),
            attestations: Attestations::Drop,
            subject: false,
            overwrite: false,
            adopt: false,
        }
    }

    /// The rule hash: the identity of this output under `target_template`. What only says when a rule applies
    /// (`match`) or what it may replace (`adopt`, `delete`) is not in it.
    ///
    /// # Panics
    /// Never: an output always serialises.
    #[must_use]
    pub fn rule_hash(&self, target_template: &str) -> Digest {
        let format = self.options.format();
        let normalised = json!({
            "options": self.options,
            "version": format.version(),
            "target": target_template,
            "platforms": self.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "attestations": self.attestations,
            "subject": self.subject,
            "overwrite": self.overwrite,
        });
        Digest::of(normalised.to_string().as_bytes())
    }

    /// Format and version, as the marker writes them.
    #[must_use]
    pub fn format_version(&self) -> String {
        let format = self.options.format();
        format!("{format}/{}", format.version())
    }
}

/// Which images a rule is for: glob patterns over repository and tag, each absent one matching everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Registry host, as `registries` names it; `*` matches any.
    pub host: Option<String>,
    /// Repository without the host: `library/*`. `*` matches any text, slashes too.
    pub repository: Option<String>,
    /// Tag: `*`, `v1.*`.
    pub tag: Option<String>,
    /// Tags that are left alone all the same.
    pub except_tags: Vec<String>,
}

impl Match {
    /// Whether the rule is for `source`, whose tag is its tag.
    #[must_use]
    pub fn covers(&self, source: &Reference) -> bool {
        let tag = source.tag().unwrap_or_default();
        let fits = |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|p| glob(p, text));
        fits(&self.host, source.host())
            && fits(&self.repository, source.repository())
            && fits(&self.tag, tag)
            && !self.except_tags.iter().any(|pattern| glob(pattern, tag))
    }
}

/// Whether `pattern` (`*` any text, `?` one character) matches the whole of `text`. Linear in both lengths but for
/// one step back a star.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Format;

    #[test]
    fn globs_match_whole_texts() {
        let rows = [
            ("*", "", true),
            ("*", "a/b", true),
            ("library/*", "library/nginx", true),
            ("library/*", "lib/nginx", false),
            ("v?.*", "v1.2", true),
            ("*-dev", "a-dev-dev", true),
            ("*-dev", "a-dev2", false),
            ("a*b*c", "axxbyyc", true),
            ("", "", true),
            ("", "a", false),
        ];
        for (pattern, text, expected) in rows {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_rule_covers_what_its_patterns_say() {
        let rule = Match {
            repository: Some("library/*".into()),
            tag: Some("*".into()),
            except_tags: vec!["*-dev".into()],
            ..Default::default()
        };
        for (text, expected) in [("h/library/a:1", true), ("h/library/a:1-dev", false), ("h/other/a:1", false)] {
            let text = text.replacen('h', "h.example", 1);
            assert_eq!(rule.covers(&text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn the_hash_is_of_what_determines_the_target() {
        let output = Output::new(Format::Estargz.default_options());
        let hash = output.rule_hash("{repository}:{tag}-esgz");
        let adopting = Output { adopt: true, ..output.clone() };
        assert_eq!(adopting.rule_hash("{repository}:{tag}-esgz"), hash);
        let carrying = Output { attestations: Attestations::Carry, ..output.clone() };
        assert_ne!(carrying.rule_hash("{repository}:{tag}-esgz"), hash);
        assert_ne!(output.rule_hash("{repository}:{tag}-other"), hash);
    }
}
