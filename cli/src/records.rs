//! Layer records of the command line: one small file each in the user's cache directory, so that several commands can
//! run at a time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use accel_domain::Timestamp;
use accel_image::Digest;
use accel_tasks::{LayerCache, LayerKey, LayerRecord, StoreError};

/// How long a record is kept after its last use.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

/// Layer records in a directory; none are kept without one. A record that cannot be kept costs another conversion of
/// its layer some day, so that is told once and fails nothing.
#[derive(Debug, Clone)]
pub(crate) struct Records {
    dir: Option<PathBuf>,
    told: Arc<AtomicBool>,
}

impl Records {
    /// Records in the user's cache directory.
    pub(crate) fn of_user() -> Self {
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
        let dir = named.or_else(|| std::env::home_dir().map(|home| home.join(".cache")));
        Self::within(dir.map(|dir| dir.join("accel").join("layers")))
    }

    /// No records.
    pub(crate) fn none() -> Self {
        Self::within(None)
    }

    fn within(dir: Option<PathBuf>) -> Self {
        Self { dir, told: Arc::default() }
    }

    fn file(&self, key: &LayerKey) -> Option<PathBuf> {
        let name = serde_json::to_vec(key).expect("a key has only string keys");
        self.dir.as_ref().map(|dir| dir.join(format!("{}.json", Digest::of(&name).hex())))
    }

    fn tell(&self, file: &Path, error: &io::Error) {
        if !self.told.swap(true, Ordering::Relaxed) {
            let dir = file.parent().unwrap_or(file).display();
            eprintln!("warning: layer records cannot be kept in {dir} ({error}): the next run converts again");
        }
    }
}

/// Replaces the record as a whole, so that nobody reads half of it.
fn write(file: &Path, record: &LayerRecord) -> io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(file))?;
    let bytes = serde_json::to_vec(record).expect("a record has only string keys");
    let written = file.with_extension(format!("{}.tmp", std::process::id()));
    std::fs::write(&written, bytes)?;
    std::fs::rename(&written, file)
}

impl LayerCache for Records {
    async fn find_layer(&self, key: &LayerKey, _now: Timestamp) -> Result<Option<LayerRecord>, StoreError> {
        let Some(file) = self.file(key) else { return Ok(None) };
        let Ok(bytes) = std::fs::read(&file) else { return Ok(None) };
        let age = std::fs::metadata(&file).and_then(|meta| meta.modified()).ok().and_then(|at| at.elapsed().ok());
        let Ok(record) = serde_json::from_slice(&bytes) else { return Ok(None) };
        if age.is_some_and(|age| age > KEPT) {
            return Ok(None);
        }
        if let Ok(open) = std::fs::File::options().append(true).open(&file) {
            // A use that is not noted costs a conversion in 90 days, no more.
            drop(open.set_modified(SystemTime::now()));
        }
        Ok(Some(record))
    }

    async fn remember_layer(&self, key: &LayerKey, record: &LayerRecord, _now: Timestamp) -> Result<(), StoreError> {
        let Some(file) = self.file(key) else { return Ok(()) };
        if let Err(error) = write(&file, record) {
            self.tell(&file, &error);
        }
        Ok(())
    }

    async fn forget_layer(&self, key: &LayerKey) -> Result<(), StoreError> {
        let Some(file) = self.file(key) else { return Ok(()) };
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Unavailable(format!("{}: {error}", file.display())))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use accel_domain::Format;
    use accel_image::Descriptor;
    use accel_tasks::LayerOutcome;

    use super::*;

    fn key(project: &str) -> LayerKey {
        let digest = Digest::of(b"layer");
        LayerKey {
            host: "h.example".to_owned(),
            project: project.to_owned(),
            source: digest,
            format: Format::Estargz,
            version: 1,
            options: digest,
        }
    }

    fn record() -> LayerRecord {
        LayerRecord {
            descriptor: Descriptor::of("application/octet-stream", b"target"),
            diff_id: Digest::of(b"tar"),
            outcome: LayerOutcome::Converted,
            reason: String::new(),
            repository: "p/r".to_owned(),
        }
    }

    #[tokio::test]
    async fn remembers_until_it_forgets() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::within(Some(dir.path().join("new")));
        let now = Timestamp::now();
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), None);
        records.remember_layer(&key("p"), &record(), now).await.unwrap();
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), Some(record()));
        assert_eq!(records.find_layer(&key("q"), now).await.unwrap(), None);
        records.forget_layer(&key("p")).await.unwrap();
        records.forget_layer(&key("p")).await.unwrap();
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_record_ends_90_days_after_its_last_use() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::within(Some(dir.path().to_owned()));
        let now = Timestamp::now();
        records.remember_layer(&key("p"), &record(), now).await.unwrap();
        let file = records.file(&key("p")).unwrap();
        let age = |days: u64| {
            let at = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            std::fs::File::options().append(true).open(&file).unwrap().set_modified(at).unwrap();
        };
        age(89);
        assert!(records.find_layer(&key("p"), now).await.unwrap().is_some());
        assert!(std::fs::metadata(&file).unwrap().modified().unwrap().elapsed().unwrap() < KEPT / 90, "a use is noted");
        age(91);
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_cannot_be_read_or_kept_fails_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let in_the_way = dir.path().join("file");
        std::fs::write(&in_the_way, "x").unwrap();
        let now = Timestamp::now();
        let records = Records::within(Some(in_the_way));
        records.remember_layer(&key("p"), &record(), now).await.unwrap();
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), None);
        let records = Records::within(Some(dir.path().to_owned()));
        std::fs::write(records.file(&key("p")).unwrap(), "{\"half").unwrap();
        assert_eq!(records.find_layer(&key("p"), now).await.unwrap(), None);
    }
}
