//! Finds the configuration file and reads it.

use std::path::{Path, PathBuf};

use accel_domain::config::{Config, ConfigErrors, MAX_FILE_BYTES, parse};

/// The variable that says where the configuration is: `file:PATH`, or a path.
pub const ACCEL_CONFIG: &str = "ACCEL_CONFIG";

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Nobody says where it is.
    #[error("no configuration: name a file, or set {ACCEL_CONFIG} to file:PATH")]
    Nowhere,
    /// It is somewhere this process cannot read from.
    #[error("the configuration is at `{0}:`, which cannot be read in this process: set {ACCEL_CONFIG} to file:PATH")]
    NotAvailable(String),
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Faulty(#[from] ConfigErrors),
}

/// Reads the configuration at `path`, or where [`ACCEL_CONFIG`] says if there is none.
///
/// # Errors
/// See [`LoadError`]; a faulty file gives all its faults at once.
pub fn load(path: Option<&Path>) -> Result<Config, LoadError> {
    let path = match path {
        Some(path) => path.to_owned(),
        None => named(std::env::var(ACCEL_CONFIG).ok().as_deref())?,
    };
    read(&path)
}

fn named(variable: Option<&str>) -> Result<PathBuf, LoadError> {
    match variable.filter(|text| !text.is_empty()) {
        None => Err(LoadError::Nowhere),
        Some(text) => match text.split_once(':') {
            Some(("file", path)) => Ok(path.into()),
            Some((scheme @ ("ssm" | "s3"), _)) => Err(LoadError::NotAvailable(scheme.to_owned())),
            Some(_) | None => Ok(text.into()),
        },
    }
}

fn read(path: &Path) -> Result<Config, LoadError> {
    use std::io::Read as _;

    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    // One byte more than allowed, so that the parser sees that it is too much.
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_string(&mut text).map_err(unreadable)?;
    Ok(parse(&text, &path.display().to_string())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_a_file() {
        for (text, path) in [("file:/etc/accel.yaml", "/etc/accel.yaml"), ("accel.yaml", "accel.yaml")] {
            assert_eq!(named(Some(text)).unwrap(), Path::new(path));
        }
        assert!(matches!(named(None), Err(LoadError::Nowhere)));
        assert!(matches!(named(Some("")), Err(LoadError::Nowhere)));
        assert!(matches!(named(Some("ssm:/accel/config")), Err(LoadError::NotAvailable(scheme)) if scheme == "ssm"));
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
