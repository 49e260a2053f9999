//! The section `rules`.

use accel_image::Platform;
use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::rule::{Attestations, Match, Output};
use crate::{FormatOptions, TargetTemplate};

/// Which images become which formats. An image may match several rules; each makes its own outputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which images the rule is for. By default all.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// The platforms of an index to convert, as os/architecture or os/architecture/variant. By default all.
    #[serde(default, serialize_with = "as_texts")]
    #[schemars(with = "Vec<String>", extend("examples" = [["linux/amd64", "linux/arm64"]]))]
    pub platforms: Vec<Platform>,
    /// What becomes of BuildKit's attestations: `drop` leaves them out, `carry` keeps them, their reference
    /// corrected.
    #[serde(default)]
    pub attestations: Attestations,
    /// The outputs, one or more.
    pub convert: Vec<Convert>,
}

/// As they are written in the file.
fn as_texts<S: Serializer>(platforms: &[Platform], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(platforms.iter().map(ToString::to_string))
}

/// One output of a rule: a format, its options, where the result goes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(extend("unevaluatedProperties" = false))]
pub struct Convert {
    /// The format and its options.
    #[serde(flatten)]
    pub options: FormatOptions,
    /// Where the result goes: a reference with the holes `{host}`, `{project}`, `{name}`, `{repository}` (which is
    /// `{project}/{name}`), `{tag}` and `{digest}` (written `sha256-` and the digits). A first component with a dot
    /// or a colon, `localhost` or `{host}` is a registry, which has to be configured; otherwise it is the source's.
    /// By default `{repository}:{tag}` with the format's suffix (`-esgz`, `-nydus`), or without it if `overwrite` is set.
    #[schemars(with = "Option<String>", example = "{repository}:{tag}-esgz")]
    pub target: TargetTemplate,
    /// Replaces a target tag that does not carry Accel's marker. Tags that acceld made are replaced without it.
    #[serde(default)]
    pub adopt: bool,
    /// Replaces the source tag itself. The source stays under the tag with `-orig` at its end.
    #[serde(default)]
    pub overwrite: bool,
    /// Removes the target when the source is deleted.
    #[serde(default)]
    pub delete: bool,
    /// Makes the target refer to its source, so that the registry lists it beside it. Never done from one
    /// repository to another. By default true for `nydus`, which Harbor then shows as an accessory of its source, and
    /// false for `estargz`, and with `overwrite`: registries do not list accessories among their tags.
    pub subject: Option<bool>,
}

impl Convert {
    /// The output, as a task keeps it, with the defaults of its format filled in.
    #[must_use]
    pub fn output(&self, rule: &Rule) -> Output {
        Output {
            options: self.options.clone(),
            platforms: rule.platforms.clone(),
            attestations: rule.attestations,
            subject: self.subject.unwrap_or(!self.overwrite && self.options.format().refers_by_default()),
            overwrite: self.overwrite,
            adopt: self.adopt,
        }
    }
}

impl Rule {
    /// The rule's entries, each with its output. The target template and `delete` are in the entry.
    pub fn outputs(&self) -> impl Iterator<Item = (&Convert, Output)> {
        self.convert.iter().map(|entry| (entry, entry.output(self)))
    }
}
