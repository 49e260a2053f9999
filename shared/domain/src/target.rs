//! Target templates: where the result of a rule goes.

use std::fmt;
use std::str::FromStr;

use accel_image::{Digest, Reference};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A target reference with holes: `{host} {project} {name} {repository} {tag} {digest}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetTemplate(String);

/// What is wrong with a template, or with what it gives for an image.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TargetError {
    /// A hole that does not exist.
    #[error(
        "`{{{0}}}` is not known in a target: use {{host}}, {{project}}, {{name}}, {{repository}}, {{tag}} or {{digest}}"
    )]
    UnknownHole(String),
    /// A brace without its partner.
    #[error("the target `{0}` has a brace without its partner")]
    Brace(String),
    /// No tag after the repository.
    #[error("the target `{0}` has no tag: end it with something like :{{tag}}-esgz")]
    NoTag(String),
    /// The image has no tag to fill in.
    #[error("the target `{0}` needs a tag, but the image was pushed without one")]
    Untagged(String),
    /// What came out is no reference.
    #[error("the target `{template}` gives `{result}`, which is not an image reference")]
    NotAReference {
        /// The template.
        template: String,
        /// What it gave.
        result: String,
    },
}

/// The sources whose targets are in one project, as far as a template tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sources {
    /// Of any project; perhaps not all of them.
    Any,
    /// Those of this project.
    Project(String),
}

const HOLES: [&str; 6] = ["host", "project", "name", "repository", "tag", "digest"];

impl TargetTemplate {
    /// The text of the template.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The target for `source` with the manifest `digest`. A first component with `.` or `:`, `localhost` or
    /// `{host}` is a host; otherwise the target is in the source's registry.
    ///
    /// # Errors
    /// A tag that is needed and missing, or a result that is no reference (a tag over 128 characters, say).
    pub fn expand(&self, source: &Reference, digest: Option<Digest>) -> Result<Reference, TargetError> {
        let tag = source.tag().unwrap_or_default();
        if tag.is_empty() && self.0.contains("{tag}") {
            return Err(TargetError::Untagged(self.0.clone()));
        }
        let digest = digest.map(|d| format!("sha256-{}", d.hex())).unwrap_or_default();
        let values = [source.host(), source.project(), source.name(), source.repository(), tag, &digest];
        let mut text = self.0.clone();
        for (hole, value) in HOLES.iter().zip(values) {
            text = text.replace(&format!("{{{hole}}}"), value);
        }
        if !self.names_host() {
            text = format!("{}/{text}", source.host());
        }
        let fail = || TargetError::NotAReference { template: self.0.clone(), result: text.chars().take(300).collect() };
        let target: Reference = text.parse().map_err(|_| fail())?;
        if target.tag().is_none() || target.digest().is_some() { Err(fail()) } else { Ok(target) }
    }

    /// The host that the template names itself, if it is fixed.
    #[must_use]
    pub fn fixed_host(&self) -> Option<&str> {
        let first = self.0.split('/').next()?;
        (self.names_host() && first != "{host}").then_some(first)
    }

    /// The sources whose targets are in `project`: at least those; `None` if there are none.
    pub(crate) fn sources_of(&self, project: &str) -> Option<Sources> {
        let repository = if self.names_host() { self.0.split_once('/')?.1 } else { &self.0 };
        let own = repository.split(['/', ':']).next()?;
        let Some((before, rest)) = own.split_once('{') else { return (own == project).then_some(Sources::Any) };
        let (hole, after) = rest.split_once('}')?;
        let filled = project.strip_prefix(before)?;
        match hole {
            "project" | "repository" if after.is_empty() => Some(Sources::Project(filled.to_owned())),
            "project" if !after.contains('{') => Some(Sources::Project(filled.strip_suffix(after)?.to_owned())),
            _ => Some(Sources::Any),
        }
    }

    /// Whether `tag` has the form of the tags this template gives. A template whose tag is `{tag}` alone gives any.
    #[must_use]
    pub fn tag_fits(&self, tag: &str) -> bool {
        let own = self.0.rsplit_once(':').map_or("", |(_, own)| own);
        let mut pattern = own.to_owned();
        for hole in HOLES {
            pattern = pattern.replace(&format!("{{{hole}}}"), "*");
        }
        crate::rule::glob(&pattern, tag)
    }

    fn names_host(&self) -> bool {
        let Some((first, _)) = self.0.split_once('/') else { return false };
        first == "localhost" || first == "{host}" || (first.contains(['.', ':']) && !first.starts_with('{'))
    }
}

impl FromStr for TargetTemplate {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let hole = rest[at..].strip_prefix('{').and_then(|r| r.split_once('}'));
            let (hole, after) = hole.ok_or_else(|| TargetError::Brace(text.to_owned()))?;
            if !HOLES.contains(&hole) {
                return Err(TargetError::UnknownHole(hole.to_owned()));
            }
            rest = after;
        }
        let last = text.rsplit('/').next().unwrap_or(text);
        if !last.contains(':') {
            return Err(TargetError::NoTag(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TargetTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for TargetTemplate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TargetTemplate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_the_holes() {
        let digest = Digest::of(b"");
        let dashed = format!("h.example/p/team/app:sha256-{}", digest.hex());
        let rows = [
            ("{repository}:{tag}-esgz", "h.example/p/team/app:1-esgz"),
            ("fast/{name}:{tag}", "h.example/fast/team/app:1"),
            ("other.example:5000/{project}/x:{tag}", "other.example:5000/p/x:1"),
            ("{host}/{repository}:{tag}-x", "h.example/p/team/app:1-x"),
            ("{repository}:{digest}", &dashed),
        ];
        let source: Reference = "h.example/p/team/app:1".parse().unwrap();
        for (template, expected) in rows {
            let template: TargetTemplate = template.parse().unwrap();
            assert_eq!(template.expand(&source, Some(digest)).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn refuses_by_name() {
        for text in ["{repo}:{tag}", "{repository:{tag}", "{repository}}:x", "{repository}", "h.example:5000/x"] {
            assert!(text.parse::<TargetTemplate>().is_err(), "{text}");
        }
        let template: TargetTemplate = "{repository}:{tag}-esgz".parse().unwrap();
        let long: Reference = format!("h.example/r:{}", "a".repeat(128)).parse().unwrap();
        assert!(matches!(template.expand(&long, None), Err(TargetError::NotAReference { .. })));
        let untagged: Reference = format!("h.example/r@{}", Digest::of(b"")).parse().unwrap();
        assert!(matches!(template.expand(&untagged, None), Err(TargetError::Untagged(_))));
    }

    #[test]
    fn knows_whose_targets_a_project_holds() {
        let of = |project: &str| Some(Sources::Project(project.to_owned()));
        let rows = [
            ("{repository}:{tag}-esgz", "team", of("team")),
            ("{host}/{repository}:{tag}-x", "team", of("team")),
            ("other.example:5000/{project}/x:{tag}", "team", of("team")),
            ("fast/{name}:{tag}", "fast", Some(Sources::Any)),
            ("fast/{name}:{tag}", "team", None),
            ("fast-{project}-x/{name}:{tag}", "fast-team-x", of("team")),
            ("fast-{project}-x/{name}:{tag}", "fast-team", None),
            ("fast-{repository}:{tag}", "fast-team", of("team")),
            ("fast-{repository}-x:{tag}", "fast-team", Some(Sources::Any)),
            ("{project}-{name}:{tag}", "team-app", Some(Sources::Any)),
            ("{name}:{tag}", "app", Some(Sources::Any)),
        ];
        for (template, project, expected) in rows {
            let sources = template.parse::<TargetTemplate>().unwrap().sources_of(project);
            assert_eq!(sources, expected, "{template} {project}");
        }
    }

    #[test]
    fn no_source_of_a_target_is_left_out() {
        let sources = ["h.example/team/app:1", "h.example/team/sub/app:1", "h.example/app:1"];
        let templates = [
            "{repository}:{tag}",
            "a/{name}:{tag}",
            "{project}/a:{tag}",
            "a-{project}-b/{name}:{tag}",
            "a-{repository}-b:{tag}",
            "{name}:{tag}",
            "{name}-b:{tag}",
            "{project}-{name}:{tag}",
            "{tag}{project}/{name}:{tag}",
            "{host}/b{repository}{project}:{tag}",
            "other.example/{repository}/{name}:{tag}",
        ];
        for template in templates.map(|text| text.parse::<TargetTemplate>().unwrap()) {
            for source in sources.map(|text| text.parse::<Reference>().unwrap()) {
                let target = template.expand(&source, None).unwrap();
                let found = template.sources_of(target.project());
                let own = Sources::Project(source.project().to_owned());
                assert!(found == Some(Sources::Any) || found == Some(own), "{template} {source}: {found:?}");
            }
        }
    }

    #[test]
    fn recognises_its_own_tags() {
        let template: TargetTemplate = "{repository}:{tag}-esgz".parse().unwrap();
        assert!(template.tag_fits("1.0-esgz") && !template.tag_fits("1.0"));
    }
}
