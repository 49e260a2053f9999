//! Secrets: references to them, as the configuration holds them, and their values, which never print.
//!
//! Nothing here looks anything up: that is done where a secret is used, in `accel-runtime`.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

const HIDDEN: &str = "***";

/// A secret's value. It prints as `***` and serialises as that, so that no log and no error can hold it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Takes the value in.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that sends or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// A piece of a [`SecretRef`].
#[derive(Debug, Clone)]
pub enum SecretPart {
    /// Text that stands in the file itself.
    Literal(Secret),
    /// An environment variable.
    Env(String),
    /// A file; a line end at its end is not part of the secret.
    File(String),
    /// A secret of AWS Secrets Manager.
    SecretsManager(String),
    /// A parameter of AWS Systems Manager.
    Ssm(String),
}

/// Where a secret is to be found: a text with references `${env:X}`, `${file:P}`, `${secretsmanager:N}`, `${ssm:N}`.
/// `$${` stands for `${` itself. A text without any reference is the secret, literally.
///
/// Prints as it was written, but for literal text, which prints as `***`.
#[derive(Clone, JsonSchema)]
#[schemars(with = "String")]
pub struct SecretRef {
    text: String,
    parts: Vec<SecretPart>,
}

/// Why a text is no secret reference. It never quotes the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretRefError {
    /// No `}` after a `${`.
    #[error("a `${{` has no closing `}}`; write `$${{` if the secret itself holds `${{`")]
    Open,
    /// A source that does not exist.
    #[error(
        "a `${{` names no known source: use ${{env:VARIABLE}}, ${{file:PATH}}, ${{secretsmanager:NAME}} or \
         ${{ssm:NAME}}, and `$${{` if the secret itself holds `${{`"
    )]
    Source,
    /// Nothing after the colon.
    #[error("a reference has no name after its colon")]
    Name,
}

impl SecretRef {
    /// A reference to an environment variable.
    #[must_use]
    pub fn env(variable: &str) -> Self {
        let parts = vec![SecretPart::Env(variable.to_owned())];
        Self { text: format!("${{env:{variable}}}"), parts }
    }

    /// The pieces, to be resolved and joined.
    #[must_use]
    pub fn parts(&self) -> &[SecretPart] {
        &self.parts
    }

    /// Whether the secret itself stands in the file.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, SecretPart::Literal(_)))
    }

    /// The secret, if it stands in the file itself.
    #[must_use]
    pub fn literal(&self) -> Option<Secret> {
        let mut value = String::new();
        for part in &self.parts {
            let SecretPart::Literal(text) = part else { return None };
            value.push_str(text.expose());
        }
        Some(Secret(value))
    }
}

impl FromStr for SecretRef {
    type Err = SecretRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            literal.push_str(&rest[..at]);
            let (reference, after) = rest[at + 2..].split_once('}').ok_or(SecretRefError::Open)?;
            push_literal(&mut parts, &mut literal);
            parts.push(reference_part(reference)?);
            rest = after;
        }
        literal.push_str(rest);
        push_literal(&mut parts, &mut literal);
        Ok(Self { text: text.to_owned(), parts })
    }
}

fn push_literal(parts: &mut Vec<SecretPart>, literal: &mut String) {
    if !literal.is_empty() {
        parts.push(SecretPart::Literal(Secret(std::mem::take(literal))));
    }
}

fn reference_part(reference: &str) -> Result<SecretPart, SecretRefError> {
    let (source, name) = reference.split_once(':').ok_or(SecretRefError::Source)?;
    let part = match source {
        "env" => SecretPart::Env,
        "file" => SecretPart::File,
        "secretsmanager" => SecretPart::SecretsManager,
        "ssm" => SecretPart::Ssm,
        _ => return Err(SecretRefError::Source),
    };
    if name.is_empty() { Err(SecretRefError::Name) } else { Ok(part(name.to_owned())) }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            SecretPart::Literal(_) => f.write_str(HIDDEN),
            SecretPart::Env(name) => write!(f, "${{env:{name}}}"),
            SecretPart::File(path) => write!(f, "${{file:{path}}}"),
            SecretPart::SecretsManager(name) => write!(f, "${{secretsmanager:{name}}}"),
            SecretPart::Ssm(name) => write!(f, "${{ssm:{name}}}"),
        })
    }
}

impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PartialEq for SecretRef {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for SecretRef {}

impl std::hash::Hash for SecretRef {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_references_and_prints_no_literal() {
        let rows = [
            ("hunter2", "***", true),
            ("", "", true),
            ("${env:A}", "${env:A}", false),
            ("Basic ${env:A}:${file:/run/b}", "***${env:A}***${file:/run/b}", false),
            ("${secretsmanager:a/b}${ssm:/c}", "${secretsmanager:a/b}${ssm:/c}", false),
            ("robot$accel", "***", true),
            ("a$${env:A}", "***", true),
        ];
        for (text, shown, literal) in rows {
            let reference: SecretRef = text.parse().unwrap();
            assert_eq!(reference.to_string(), shown, "{text}");
            assert_eq!(format!("{reference:?}"), shown, "{text}");
            assert_eq!(serde_json::to_string(&reference).unwrap(), format!("{shown:?}"), "{text}");
            assert_eq!(reference.is_literal(), literal, "{text}");
        }
        let escaped: SecretRef = "a$${env:A}".parse().unwrap();
        assert_eq!(escaped.literal().unwrap().expose(), "a${env:A}");
    }

    #[test]
    fn refuses_without_quoting() {
        let rows = [
            ("pw${env:X", SecretRefError::Open),
            ("pw${hunter2}", SecretRefError::Source),
            ("pw${vault:hunter2}", SecretRefError::Source),
            ("${env:}", SecretRefError::Name),
        ];
        for (text, expected) in rows {
            let error = text.parse::<SecretRef>().unwrap_err();
            assert_eq!(error, expected);
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_secret_prints_nothing() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).unwrap());
        assert_eq!(shown, "*** *** \"***\"");
        assert_eq!(secret.expose(), "hunter2");
    }
}
