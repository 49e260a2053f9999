//! Where the secret of a robot goes. Harbor shows it once, so there is a place for it before it is asked for.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use accel_domain::Secret;
use anyhow::{Context as _, anyhow, bail};
use tempfile::{NamedTempFile, PersistError};

use crate::exit::WrongUsage;

/// A place for a secret.
pub(super) enum Place {
    /// A file for its owner alone.
    File {
        /// Its name.
        file: PathBuf,
        /// What it is until it holds the secret.
        temporary: NamedTempFile,
        /// Whether it may take the place of a file that is there.
        replace: bool,
    },
    /// The output of the command.
    Output,
}

impl Place {
    /// Prepares the place that was named. A file that is there already is replaced only if that was asked for.
    pub(super) fn prepare(file: Option<&Path>, show: bool, replace: bool) -> anyhow::Result<Self> {
        match file {
            Some(file) if check_file(file)? && !replace => bail!(
                "{} is there already and is not overwritten with the secret of a new robot: name another file, or \
                 remove it",
                file.display()
            ),
            Some(file) => {
                let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
                let temporary =
                    tempfile::Builder::new().prefix(".robot-secret-").tempfile_in(directory.unwrap_or(Path::new(".")));
                let temporary = temporary.with_context(|| format!("{} cannot be written", file.display()))?;
                Ok(Self::File { file: file.to_owned(), temporary, replace })
            }
            None if show => Ok(Self::Output),
            None => Err(WrongUsage(
                "Harbor shows the secret of a robot once: say where it goes with --robot-secret-file FILE, or \
                 --show-robot-secret"
                    .to_owned(),
            )
            .into()),
        }
    }

    /// Writes the secret, and gives it back if it is to be shown.
    pub(super) fn keep(self, secret: Secret) -> anyhow::Result<Option<Secret>> {
        match self {
            Self::Output => Ok(Some(secret)),
            Self::File { file, mut temporary, replace } => {
                let lost = || {
                    format!(
                        "the robot has a new secret, but {} cannot be written; run the command again with \
                         --new-robot-secret",
                        file.display()
                    )
                };
                temporary.write_all(secret.expose().as_bytes()).with_context(lost)?;
                temporary.as_file().sync_all().with_context(lost)?;
                let put = if replace { temporary.persist(&file) } else { temporary.persist_noclobber(&file) };
                put.map_err(|error| left_behind(error, &file))?;
                Ok(None)
            }
        }
    }
}

/// Whether there is a file already. What could not be one is refused.
pub(super) fn check_file(file: &Path) -> anyhow::Result<bool> {
    let refuse = |what: &str| {
        Err(WrongUsage(format!("--robot-secret-file {}: {what}; name the file itself", file.display())).into())
    };
    match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_dir() => refuse("that is a directory"),
        Ok(found) if !found.is_file() => refuse("that is a link or a device"),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound && file.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            refuse("that would be a directory")
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("{} cannot be looked at", file.display())),
    }
}

/// Whether `file` may hold the secret that was written to it once.
pub(super) fn may_hold_secret(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() > 0)
}

/// The secret is written, but not under its name: it stays where it is.
fn left_behind(PersistError { error, file: temporary }: PersistError, file: &Path) -> anyhow::Error {
    let what = format!("the robot has a new secret, but {} cannot be written", file.display());
    let next = match temporary.keep() {
        Ok((_, path)) => format!("it is in {}", path.display()),
        Err(_) => "run the command again with --new-robot-secret".to_owned(),
    };
    anyhow!("{what} ({error}): {next}")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        assert!(Place::prepare(Some(&file), false, false).unwrap().keep(Secret::new("s3cret")).unwrap().is_none());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "s3cret");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Place::prepare(Some(&file), false, false).is_err(), "it is not overwritten");
        Place::prepare(Some(&file), false, true).unwrap().keep(Secret::new("new")).unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_file_that_came_meanwhile_stays_and_the_secret_too() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secret");
        let place = Place::prepare(Some(&file), false, false).unwrap();
        std::fs::write(&file, "not ours").unwrap();
        let error = place.keep(Secret::new("s3cret")).unwrap_err().to_string();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "not ours");
        let left = PathBuf::from(error.rsplit_once("it is in ").unwrap().1);
        assert_eq!(std::fs::read_to_string(&left).unwrap(), "s3cret");
        assert_eq!(std::fs::metadata(&left).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn what_is_no_file_is_refused_even_if_it_may_be_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
        let slash = directory.path().join("new/");
        for file in [directory.path(), &link, &slash, Path::new("/dev/null")] {
            for replace in [false, true] {
                assert!(Place::prepare(Some(file), false, replace).is_err(), "{}", file.display());
            }
        }
    }

    #[test]
    fn a_secret_without_a_place_is_not_asked_for() {
        assert!(Place::prepare(None, false, false).is_err());
        assert!(Place::prepare(Some(Path::new("/nowhere/at/all")), false, false).is_err());
        let shown = Place::prepare(None, true, false).unwrap().keep(Secret::new("s3cret")).unwrap();
        assert_eq!(shown.unwrap().expose(), "s3cret");
    }
}
