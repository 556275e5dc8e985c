//! What SQLite says, as sentences that say what to do.
//!
//! An operation fails in one of three ways. A [`Failure::Told`] is an answer: it was found before
//! anything was written and concerns this operation alone. A [`Failure::Unreadable`] is one about a record
//! that stands in its way, which can be set aside ([`crate::aside`]). A [`Failure::Sql`] is trouble with the
//! file or the disk: the transaction cannot be trusted any more, so all of it is rolled back.

use std::path::Path;

use outlast_core::Error;
use rusqlite::ErrorCode;

/// Why an operation did not happen.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An answer for the caller.
    Told(Error),
    /// A record, or what belongs to it, is not what it should be.
    Unreadable(Error),
    /// Trouble below.
    Sql(rusqlite::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Failure {
    /// What was found to be no answer, but the fault of a record.
    pub(crate) fn of_record(self) -> Self {
        match self {
            Self::Told(error) => Self::Unreadable(error),
            other => other,
        }
    }

    /// As the caller of a store sees it.
    pub(crate) fn into_error(self, path: &Path) -> Error {
        match self {
            Self::Told(error) | Self::Unreadable(error) => error,
            Self::Sql(error) => explain(path, error),
        }
    }
}

/// The error of a closed store.
pub(crate) fn closed() -> Error {
    Error::broken("the task store is closed")
}

/// Puts an error of SQLite into words.
pub(crate) fn explain(path: &Path, error: rusqlite::Error) -> Error {
    let store = path.display();
    let (message, retryable) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            format!(
                "the disk that holds the task store {store} is full: free some space; the change \
                 was not made, everything acknowledged before is safe, and the store goes on as \
                 soon as there is room"
            ),
            true,
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            format!(
                "another program keeps the task store {store} locked: end its transaction, for \
                 example in a sqlite3 shell"
            ),
            true,
        ),
        Some(ErrorCode::SystemIoFailure) => (
            format!(
                "reading or writing the task store {store} failed ({error}): check the disk and \
                 the file system"
            ),
            true,
        ),
        Some(ErrorCode::ReadOnly) => (
            format!(
                "the task store {store} is read-only: give the server's user the right to write \
                 the file and its folder"
            ),
            false,
        ),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => (
            format!(
                "the task store {store} cannot be opened: check that its folder exists and that \
                 the server's user may read and write both"
            ),
            false,
        ),
        Some(ErrorCode::NotADatabase) => (
            format!(
                "{store} is not a SQLite database: name another file as the store, or move this \
                 one away"
            ),
            false,
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            format!(
                "the task store {store} is damaged ({error}): stop the server, keep a copy, and \
                 restore a backup or try `sqlite3 {store} .recover`"
            ),
            false,
        ),
        _ => (format!("the task store {store} failed: {error}"), false),
    };
    Error::Store {
        message,
        retryable,
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn every_trouble_says_what_to_do() {
        let cases = [
            (ffi::SQLITE_FULL, "free some space", true),
            (ffi::SQLITE_BUSY, "end its transaction", true),
            (ffi::SQLITE_IOERR_FSYNC, "check the disk", true),
            (ffi::SQLITE_READONLY, "the right to write", false),
            (ffi::SQLITE_READONLY_DIRECTORY, "the right to write", false),
            (ffi::SQLITE_CANTOPEN, "check that its folder exists", false),
            (ffi::SQLITE_NOTADB, "name another file", false),
            (ffi::SQLITE_CORRUPT, "restore a backup", false),
        ];
        for (code, advice, retryable) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let told = explain(Path::new("/srv/tasks.db"), error);
            let text = told.to_string();
            assert!(text.contains(advice), "{code}: {text}");
            assert!(text.contains("/srv/tasks.db"), "{code}: {text}");
            assert_eq!(told.is_retryable(), retryable, "{code}");
        }
    }
}
