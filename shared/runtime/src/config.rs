//! Finds the configuration file and reads it.

mod reloading;

use std::fmt;
use std::path::{Path, PathBuf};

use accel_domain::config::{Config, ConfigErrors, MAX_FILE_BYTES, NoRules, parse};

use crate::remote::RemoteError;

pub use reloading::{Reloading, Text};

/// The variable that says where the configuration is: `file:PATH` or a path, in AWS also `ssm:NAME` and
/// `s3:BUCKET/KEY`.
pub const ACCEL_CONFIG: &str = "ACCEL_CONFIG";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody says where it is.
    #[error(
        "no configuration: name a file, or set {ACCEL_CONFIG} to file:PATH (in Lambda also ssm:NAME or s3:BUCKET/KEY)"
    )]
    Nowhere,
    /// The variable makes no sense.
    #[error("{ACCEL_CONFIG} is `{0}`, which is none of file:PATH, ssm:NAME and s3:BUCKET/KEY")]
    BadLocation(String),
    /// It is somewhere this process cannot read from.
    #[error("the configuration is at `{0}`, which cannot be read in this process: set {ACCEL_CONFIG} to file:PATH")]
    NotAvailable(Location),
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It cannot be read from AWS.
    #[error("the configuration {location} {problem}")]
    Remote {
        /// Where it is.
        location: Location,
        /// Why.
        problem: RemoteError,
    },
    /// The file is wrong.
    #[error(transparent)]
    Faulty(#[from] ConfigErrors),
    /// The file has no rules.
    #[error(transparent)]
    NoRules(#[from] NoRules),
    /// What the file describes cannot be made here.
    #[error("the configuration {name} cannot be used")]
    Unusable {
        /// Where it is.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Where a configuration is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// A parameter of Systems Manager.
    Ssm(String),
    /// An object in S3.
    S3 {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
}

impl Location {
    /// Where [`ACCEL_CONFIG`] says.
    ///
    /// # Errors
    /// It is not set, or makes no sense.
    pub fn from_environment() -> Result<Self, LoadError> {
        Self::named(std::env::var(ACCEL_CONFIG).ok().as_deref())
    }

    fn named(variable: Option<&str>) -> Result<Self, LoadError> {
        let text = variable.filter(|text| !text.is_empty()).ok_or(LoadError::Nowhere)?;
        let bad = || LoadError::BadLocation(text.to_owned());
        match text.split_once(':') {
            Some((_, "")) => Err(bad()),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("ssm", name)) => Ok(Self::Ssm(name.to_owned())),
            Some(("s3", name)) => match name.trim_start_matches('/').split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                    Ok(Self::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
                }
                Some(_) | None => Err(bad()),
            },
            Some(_) | None => Ok(Self::File(text.into())),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Ssm(name) => write!(f, "ssm:{name}"),
            Self::S3 { bucket, key } => write!(f, "s3:{bucket}/{key}"),
        }
    }
}

/// Reads the configuration at `path`, or where [`ACCEL_CONFIG`] says if there is none.
///
/// # Errors
/// See [`LoadError`]; a faulty file gives all its faults at once.
pub fn load(path: Option<&Path>) -> Result<Config, LoadError> {
    let location = path.map_or_else(Location::from_environment, |path| Ok(Location::File(path.to_owned())))?;
    match &location {
        Location::File(path) => Ok(parse(&read(path)?, &location.to_string())?),
        Location::Ssm(_) | Location::S3 { .. } => Err(LoadError::NotAvailable(location)),
    }
}

/// The text of a file, cut off one byte beyond what is allowed, so that the parser sees that it is too much.
pub(crate) fn read(path: &Path) -> Result<String, LoadError> {
    use std::io::Read as _;

    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_place() {
        let rows = [
            ("file:/etc/accel.yaml", Location::File("/etc/accel.yaml".into())),
            ("accel.yaml", Location::File("accel.yaml".into())),
            ("ssm:/accel/config", Location::Ssm("/accel/config".to_owned())),
            ("s3:bucket/some/key.yaml", Location::S3 { bucket: "bucket".to_owned(), key: "some/key.yaml".to_owned() }),
            ("s3://bucket/key", Location::S3 { bucket: "bucket".to_owned(), key: "key".to_owned() }),
        ];
        for (text, expected) in rows {
            assert_eq!(Location::named(Some(text)).unwrap(), expected, "{text}");
        }
        for text in [None, Some("")] {
            assert!(matches!(Location::named(text), Err(LoadError::Nowhere)));
        }
        for text in ["ssm:", "s3:bucket", "s3:bucket/", "s3:/key", "file:"] {
            assert!(matches!(Location::named(Some(text)), Err(LoadError::BadLocation(_))), "{text}");
        }
    }

    #[test]
    fn a_file_is_read_or_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accel.yaml");
        let shown = path.display().to_string();
        let error = load(Some(&path)).unwrap_err();
        assert!(error.to_string().contains(&shown), "{error}");
        std::fs::write(&path, "server:\n  workerz: 3\n").unwrap();
        let error = load(Some(&path)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{shown}:2:3: server.workerz")), "{error}");
        std::fs::write(&path, "server:\n  workers: 3\n").unwrap();
        assert_eq!(load(Some(&path)).unwrap().server.workers, 3);
        std::fs::write(&path, "#".repeat(2 << 20)).unwrap();
        assert!(load(Some(&path)).unwrap_err().to_string().contains("more than 1 MiB"));
    }
}
