//! [`WorkError`]: why a request is not carried out, as the host is told.

use std::error::Error;
use std::io;

use pyro_protocol::work::{WorkFailure, WorkFailureCode};
use pyro_tree::path::{BadPath, MAX_PATH_BYTES, RelativePath, printable};
use pyro_tree::{archive, beneath, transaction, unpack};
use rustix::io::Errno;

/// Longest message; what is beyond is cut, since a failure must fit into one reply whatever it quotes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// Outcome of a request or a part of one.
pub(crate) type Result<T> = std::result::Result<T, WorkError>;

/// Why a request is not carried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct WorkError {
    /// Stable code.
    pub(crate) code: WorkFailureCode,
    /// Operation, object and cause, as one lower-case fragment.
    pub(crate) message: String,
    /// What it is about, relative to the workspace; empty if nothing.
    pub(crate) path: Vec<u8>,
    /// The system's error number, 0 if there is none.
    pub(crate) errno: i32,
}

impl WorkError {
    /// A failure that the system has no number for.
    pub(crate) fn new(code: WorkFailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: Vec::new(), errno: 0 }
    }

    /// A failure of one path: "`operation` `path`: `cause`".
    pub(crate) fn about(
        code: WorkFailureCode,
        operation: &str,
        path: &RelativePath,
        cause: impl std::fmt::Display,
    ) -> Self {
        Self::new(code, format!("{operation} `{path}`: {cause}")).with_path(path)
    }

    /// Turns what the system said of an operation on a path into a failure.
    pub(crate) fn at<E: Into<io::Error>>(operation: &str, path: &RelativePath) -> impl FnOnce(E) -> Self {
        move |error| {
            let error = error.into();
            let mut failure = Self::about(code_of(&error), operation, path, cause_of(&error));
            failure.errno = error.raw_os_error().unwrap_or(0);
            failure
        }
    }

    /// The same of an operation that follows links, which must not leave the workspace.
    pub(crate) fn resolving(operation: &str, path: &RelativePath) -> impl FnOnce(Errno) -> Self {
        move |errno| match errno {
            Errno::XDEV => {
                let cause = "it leads out of the workspace through a link";
                let failure = Self::about(WorkFailureCode::Escapes, operation, path, cause);
                Self { errno: errno.raw_os_error(), ..failure }
            }
            errno => Self::at(operation, path)(errno),
        }
    }

    /// The same about this path.
    #[must_use]
    pub(crate) fn with_path(mut self, path: &RelativePath) -> Self {
        self.path = path.as_bytes().to_vec();
        self
    }

    /// Whether nothing has the name.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == WorkFailureCode::NotFound
    }
}

impl From<WorkError> for WorkFailure {
    fn from(error: WorkError) -> Self {
        let WorkError { code, mut message, mut path, errno } = error;
        if path.len() > MAX_PATH_BYTES {
            // It names nothing, and the message has its beginning.
            path.clear();
        }
        if message.len() > MAX_MESSAGE_BYTES {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_BYTES));
            message.push('…');
        }
        Self { code: code.into(), message, path, errno }
    }
}

impl From<io::Error> for WorkError {
    fn from(error: io::Error) -> Self {
        let mut failure = Self::new(code_of(&error), cause_of(&error));
        failure.errno = error.raw_os_error().unwrap_or(0);
        failure
    }
}

impl From<Errno> for WorkError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

impl From<BadPath> for WorkError {
    fn from(error: BadPath) -> Self {
        Self::new(WorkFailureCode::Invalid, error.to_string())
    }
}

impl From<beneath::Error> for WorkError {
    fn from(error: beneath::Error) -> Self {
        let message = whole_message(&error);
        match error {
            beneath::Error::Io { operation, path, source } => Self::at(operation, &path)(source),
            beneath::Error::Escapes { path } => Self::new(WorkFailureCode::Escapes, message).with_path(&path),
            beneath::Error::WrongKind { path, .. } => {
                Self::new(WorkFailureCode::WrongType, message).with_path(&path)
            }
            beneath::Error::ThroughLink { path } => {
                Self::new(WorkFailureCode::Invalid, message).with_path(&path)
            }
            beneath::Error::BadName { directory, .. } => {
                Self::new(WorkFailureCode::Invalid, message).with_path(&directory)
            }
            beneath::Error::IsRoot { .. } => Self::new(WorkFailureCode::Invalid, message),
            beneath::Error::NoOpenat2 => Self::new(WorkFailureCode::Unsupported, message),
        }
    }
}

impl From<archive::Error> for WorkError {
    fn from(error: archive::Error) -> Self {
        let message = whole_message(&error);
        match error {
            archive::Error::Read(source) => Self { message, ..source.into() },
            _ => Self::new(WorkFailureCode::BadArchive, message),
        }
    }
}

impl From<unpack::Error> for WorkError {
    fn from(error: unpack::Error) -> Self {
        let message = whole_message(&error);
        match error {
            unpack::Error::Archive(source) => Self { message, ..source.into() },
            unpack::Error::Io { source, .. } => Self { message, ..source.into() },
            _ => Self::new(WorkFailureCode::BadArchive, message),
        }
    }
}

impl From<transaction::Error> for WorkError {
    fn from(error: transaction::Error) -> Self {
        use transaction::Error;
        let message = whole_message(&error);
        let about = |code, path: &RelativePath| Self::new(code, message.clone()).with_path(path);
        match error {
            Error::Busy => Self::new(WorkFailureCode::Changed, message),
            Error::Reserved { path } | Error::Twice { path } | Error::BadPath { path, .. } => {
                about(WorkFailureCode::Invalid, &path)
            }
            Error::Missing { path } => about(WorkFailureCode::NotFound, &path),
            Error::WrongKind { path, .. } => about(WorkFailureCode::WrongType, &path),
            Error::Changed { path } => about(WorkFailureCode::Changed, &path),
            Error::Tree(source) => source.into(),
            Error::Io { operation, path, source } => Self::at(operation, &path)(source),
            Error::Spared { spared, .. } => about(WorkFailureCode::Changed, &spared.path),
            Error::Foreign => Self::new(WorkFailureCode::Exists, message),
            // The disk may be full: with room on it the next change goes on.
            Error::Stuck { first, .. } => Self { message, ..Self::from(*first) },
            _ => Self::new(WorkFailureCode::Unspecified, message),
        }
    }
}

/// An error with all its causes in one line.
pub(crate) fn whole_message(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        message.push_str(": ");
        match cause.downcast_ref::<io::Error>() {
            Some(cause) => message.push_str(&cause_of(cause)),
            None => message.push_str(&cause.to_string()),
        }
        source = cause.source();
    }
    message
}

/// A code for what the system said.
pub(crate) fn code_of(error: &io::Error) -> WorkFailureCode {
    let Some(errno) = Errno::from_io_error(error) else { return WorkFailureCode::Unspecified };
    match errno {
        Errno::NOENT => WorkFailureCode::NotFound,
        Errno::EXIST => WorkFailureCode::Exists,
        Errno::NOTDIR | Errno::ISDIR => WorkFailureCode::WrongType,
        Errno::NOTEMPTY => WorkFailureCode::NotEmpty,
        Errno::NOSPC | Errno::DQUOT => WorkFailureCode::DiskFull,
        Errno::FBIG => WorkFailureCode::TooLarge,
        Errno::LOOP | Errno::NAMETOOLONG => WorkFailureCode::Invalid,
        _ => WorkFailureCode::Unspecified,
    }
}

/// What the system said, as a lower-case fragment.
pub(crate) fn cause_of(error: &io::Error) -> String {
    let text = match Errno::from_io_error(error) {
        None => return error.to_string(),
        Some(Errno::NOENT) => "it is not there",
        Some(Errno::EXIST) => "something is there already",
        Some(Errno::XDEV) => "it is on another file system",
        Some(Errno::NOTDIR) => "not a directory",
        Some(Errno::ISDIR) => "it is a directory",
        Some(Errno::NOTEMPTY) => "the directory is not empty",
        Some(Errno::NOSPC) => "no space is left on the disk of the machine",
        Some(Errno::LOOP) => "too many symbolic links",
        Some(Errno::NAMETOOLONG) => "the name is too long",
        Some(Errno::ROFS) => "the file system is read-only",
        Some(Errno::ACCESS | Errno::PERM) => "not permitted",
        Some(Errno::BUSY) => "it is in use",
        Some(_) => {
            let text = error.to_string();
            let words = text.split(" (os error").next().unwrap_or_default();
            return words.chars().take(1).flat_map(char::to_lowercase).chain(words.chars().skip(1)).collect();
        }
    };
    text.to_owned()
}

/// Some bytes that a message quotes.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    format!("`{}`", printable(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_link_that_was_followed_leads_out_of_the_workspace() {
        let path = RelativePath::new("a").unwrap();
        let renamed = WorkError::at("move", &path)(Errno::XDEV);
        assert_eq!((renamed.code, renamed.errno), (WorkFailureCode::Unspecified, Errno::XDEV.raw_os_error()));
        let followed = WorkError::resolving("read", &path)(Errno::XDEV);
        assert_eq!((followed.code, followed.errno), (WorkFailureCode::Escapes, Errno::XDEV.raw_os_error()));
        assert_eq!(WorkError::resolving("read", &path)(Errno::NOENT).code, WorkFailureCode::NotFound);
    }
}
