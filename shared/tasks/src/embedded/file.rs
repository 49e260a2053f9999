//! The database file: made whole or not at all, verified when opened, opened again after a failed write.

use std::any::Any;
use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::{Database, DatabaseError, ReadableDatabase, StorageError};

use super::record::{About, unseal};
use super::tables::{self, View};
use crate::StoreError;

/// redb's page cache. The system's cache is behind it.
const CACHE_BYTES: usize = 4 << 20;

/// Opens the database in an existing file.
pub(super) type Opener = Box<dyn Fn(&Path) -> Result<Database, DatabaseError> + Send + Sync>;

/// The open file. The database is not there while a failed one could not be opened again.
pub(super) struct StoreFile {
    path: PathBuf,
    opener: Opener,
    database: RwLock<Option<Database>>,
}

impl StoreFile {
    /// Opens the file at `path`, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Box::new(|path| builder().open(path)))
    }

    pub(super) fn open_with(path: &Path, opener: Opener) -> Result<Self, StoreError> {
        if !path.try_exists().map_err(|error| unavailable(path, &error))? {
            create(path)?;
        }
        let file = Self { path: path.to_owned(), opener, database: RwLock::new(None) };
        file.reopen()?;
        if file.view(version)? < About::CURRENT.version {
            file.commit(|tables| tables.touch())?;
        }
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The database, opened again if a failure has closed it.
    pub(super) fn database(&self) -> Result<impl std::ops::Deref<Target = Option<Database>> + '_, StoreError> {
        let open = self.read_lock();
        if open.is_some() {
            return Ok(open);
        }
        drop(open);
        self.reopen()?;
        Ok(self.read_lock())
    }

    /// Closes the database, until somebody needs it.
    fn close(&self) {
        let database = self.database.write().unwrap_or_else(PoisonError::into_inner).take();
        let closed = catch_unwind(AssertUnwindSafe(|| drop(database)));
        // A panic here has been reported as the failure that it follows.
        drop(closed);
    }

    /// Runs `look` over the latest commit.
    pub(super) fn view<T>(&self, look: impl FnOnce(&View) -> Result<T, Fault>) -> Result<T, StoreError> {
        let open = self.database()?;
        let database = open.as_ref().ok_or_else(|| Fault::GivenUp.at(&self.path))?;
        let seen = guarded(|| look(&View(database.begin_read()?)));
        drop(open);
        self.close_after(&seen);
        seen.map_err(|fault| fault.at(&self.path))
    }

    /// After a failed access redb refuses all others until the file is opened again; after a panic, what it has in
    /// memory is not to be trusted.
    pub(super) fn close_after<T>(&self, outcome: &Result<T, Fault>) {
        use redb::Error::{Corrupted, Io, PreviousIo};
        if let Err(Fault::Database(Io(_) | PreviousIo | Corrupted(_)) | Fault::Panic(_)) = outcome {
            self.close();
        }
    }

    fn reopen(&self) -> Result<(), StoreError> {
        let mut open = self.database.write().unwrap_or_else(PoisonError::into_inner);
        if open.is_none() {
            *open = Some(open_verified(&self.path, &self.opener)?);
        }
        Ok(())
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open_verified(path: &Path, opener: &Opener) -> Result<Database, StoreError> {
    let length = path.metadata().map_err(|error| unavailable(path, &error))?.len();
    if length == 0 {
        // A store is made under another name, so an empty file is one that was cut, not one that is new.
        return Err(damaged(path, path.display().to_string(), "it is empty"));
    }
    guarded(|| Ok(opener(path)?)).map_err(|fault| fault.at(path))
}

/// Makes the store under another name and moves it to `path` when it is whole, unless another process was faster.
fn create(path: &Path) -> Result<(), StoreError> {
    let failed = |error: &io::Error| unavailable(path, error);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let fresh = create_beside(path, directory)?;
    match fresh.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(&error.error)),
    }
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|error| failed(&error))
}

/// A new store in `directory`, closed and whole; it goes away unless it is moved to `path`.
pub(super) fn create_beside(path: &Path, directory: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = tempfile::Builder::new()
        .prefix(&format!(".{name}.new-"))
        .tempfile_in(directory)
        .map_err(|error| unavailable(path, &error))?;
    let made = guarded(|| {
        let database = builder().create(fresh.path())?;
        tables::initialise(&database)
    });
    made.map_err(|fault| fault.at(path))?;
    Ok(fresh)
}

/// The version of the file, if it can be read.
fn version(view: &View) -> Result<u32, Fault> {
    let table = view.table(tables::ABOUT)?;
    let about = redb::ReadableTable::get(&table, About::KEY)?;
    let about: About = match &about {
        Some(bytes) => unseal(About::KEY, bytes.value())?,
        None => return Err(Fault::Record { title: "store".to_owned(), detail: "it has no version".to_owned() }),
    };
    let known = (1..=About::CURRENT.version).contains(&about.version);
    if known { Ok(about.version) } else { Err(Fault::Version(about.version)) }
}

/// Runs `work`; a panic of redb over a damaged file becomes a fault. What a panic leaves half done is a transaction,
/// which is never committed.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Fault::Panic(text_of(panic.as_ref()))))
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no reason given").to_owned()
}

/// Why an operation on the file failed, before the file is named.
#[derive(Debug)]
pub(super) enum Fault {
    /// The operation says no.
    Told(StoreError),
    /// A record is not as it was written.
    Record { title: String, detail: String },
    /// A record would be too long to be read again.
    TooLong { title: String, bytes: usize },
    /// Another version of Accel wrote the file.
    Version(u32),
    /// redb failed.
    Database(redb::Error),
    /// redb panicked.
    Panic(String),
    /// Another write of the same commit failed half way.
    GivenUp,
}

impl Fault {
    /// The error to tell, with the file at `path` named in it.
    pub(super) fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Told(error) => error,
            Self::Record { title, detail } => damaged(path, format!("{title} in {}", path.display()), &detail),
            Self::TooLong { title, bytes } => StoreError::Unavailable(format!("{title} is too long: {bytes} bytes")),
            Self::Version(version) => StoreError::Unavailable(format!(
                "{} was written by another version of Accel (store version {version}, this one reads 1 to {})",
                path.display(),
                About::CURRENT.version
            )),
            Self::GivenUp => {
                StoreError::Unavailable(format!("{}: another write failed, and this one with it", path.display()))
            }
            Self::Panic(text) => damaged(path, path.display().to_string(), &text),
            Self::Database(error) => database_error(path, &error),
        }
    }
}

fn database_error(path: &Path, error: &redb::Error) -> StoreError {
    use redb::Error;
    match error {
        Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => StoreError::InUse(path.display().to_string()),
        Error::Io(error) => match error.kind() {
            // What redb says of a file that is shorter than it should be, or not one of its own.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData => {
                damaged(path, path.display().to_string(), &error.to_string())
            }
            _ => unavailable(path, error),
        },
        Error::PreviousIo | Error::DatabaseClosed => {
            StoreError::Unavailable(format!("{}: {error}: it is opened again", path.display()))
        }
        // Corrupted, an old format, tables that are missing or of other types, a lock poisoned by a panic.
        _ => damaged(path, path.display().to_string(), &error.to_string()),
    }
}

/// Damage to `what`, and what to do about it.
fn damaged(path: &Path, what: String, detail: &str) -> StoreError {
    let way_out = format!(
        "stop the server and run `accelctl store salvage {}`: it sets the file aside and keeps what can be read of it",
        path.display()
    );
    StoreError::Damaged { what, detail: format!("{detail}; {way_out}") }
}

pub(super) fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Self::Database(error.into())
    }
}

impl From<redb::TableError> for Fault {
    fn from(error: redb::TableError) -> Self {
        Self::Database(error.into())
    }
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        Self::Database(error.into())
    }
}

impl From<redb::TransactionError> for Fault {
    fn from(error: redb::TransactionError) -> Self {
        Self::Database(error.into())
    }
}

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        Self::Database(error.into())
    }
}
