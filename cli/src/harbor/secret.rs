//! Where the secret of a robot goes. Harbor shows it once, so there is a place for it before it is asked for.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use accel_domain::Secret;
use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;

use crate::exit::WrongUsage;

/// A place for a secret.
pub(super) enum Place {
    /// A file for its owner alone, and what it is until it holds the secret.
    File(PathBuf, NamedTempFile),
    /// The output of the command.
    Output,
}

impl Place {
    /// Prepares the place that was named. A file that is there already is replaced only if that was asked for.
    pub(super) fn prepare(file: Option<&Path>, show: bool, replace: bool) -> anyhow::Result<Self> {
        match file {
            Some(file) if file.exists() && !replace => bail!(
                "{} is there already and is not overwritten with the secret of a new robot: name another file, or \
                 remove it",
                file.display()
            ),
            Some(file) => {
                let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
                let temporary = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
                let temporary = temporary.with_context(|| format!("{} cannot be written", file.display()))?;
                Ok(Self::File(file.to_owned(), temporary))
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
            Self::File(file, mut temporary) => {
                let lost = || {
                    format!(
                        "the robot has a new secret, but {} cannot be written; run the command again with \
                         --new-robot-secret",
                        file.display()
                    )
                };
                temporary.write_all(secret.expose().as_bytes()).with_context(lost)?;
                temporary.as_file().sync_all().with_context(lost)?;
                temporary.persist(&file).with_context(lost)?;
                Ok(None)
            }
        }
    }
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
    fn a_secret_without_a_place_is_not_asked_for() {
        assert!(Place::prepare(None, false, false).is_err());
        assert!(Place::prepare(Some(Path::new("/nowhere/at/all")), false, false).is_err());
        let shown = Place::prepare(None, true, false).unwrap().keep(Secret::new("s3cret")).unwrap();
        assert_eq!(shown.unwrap().expose(), "s3cret");
    }
}
