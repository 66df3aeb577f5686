//! What can go wrong between host and guest.

use std::{io, sync::Arc};

use pyro_protocol::{
    ProtocolError, SendError,
    message::{Failure, FailureCode},
    version::VersionMismatch,
};

/// A request to a guest, or a stream of it, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// The session is over though nobody here closed it.
    #[error("session with the guest was lost")]
    Lost {
        /// Why; the same for everybody who waited.
        source: Arc<Loss>,
    },
    /// This side closed the session.
    #[error("session with the guest is closed")]
    Closed,
    /// The guest is too new for this host.
    #[error("guest speaks no protocol version that this host knows")]
    Version {
        /// The versions.
        source: VersionMismatch,
    },
    /// The guest did not do what it was asked.
    #[error("guest failed to {message}")]
    Refused {
        /// Stable code.
        code: FailureCode,
        /// The guest's words, a fragment that reads after "failed to".
        message: String,
    },
    /// The guest answered something else than was asked.
    #[error("guest answered a request to {operation} with an answer to another one")]
    Unexpected {
        /// What was asked.
        operation: &'static str,
    },
    /// The request was not sent.
    #[error("cannot ask the guest to {operation}")]
    Unsent {
        /// What was to be asked.
        operation: &'static str,
        /// Why.
        source: SendError,
    },
    /// The process takes no more input: it has closed it or has ended.
    #[error("process takes no more input")]
    InputEnded,
}

/// Why a session was lost.
#[derive(Debug, thiserror::Error)]
pub enum Loss {
    /// The stream reached its end: the machine is gone, or its port.
    #[error("the guest's stream ended")]
    Ended,
    /// Reading or writing failed.
    #[error("cannot {operation} the guest's stream")]
    Io {
        /// "read from" or "write to".
        operation: &'static str,
        /// Why.
        source: io::Error,
    },
    /// There is no randomness to name a session with.
    #[error("cannot draw a nonce")]
    Nonce {
        /// Why.
        source: io::Error,
    },
    /// The guest broke the protocol.
    #[error("the guest broke the protocol")]
    Protocol {
        /// How.
        source: ProtocolError,
    },
    /// The guest sent a hello or a reply that does not decode, or a second hello.
    #[error("the guest sent a malformed {object}")]
    Malformed {
        /// "hello" or "reply".
        object: &'static str,
    },
    /// The hello of this side could not be sent.
    #[error("cannot greet the guest")]
    Greeting {
        /// Why.
        source: SendError,
    },
}

impl From<Loss> for SessionError {
    fn from(loss: Loss) -> Self {
        Self::Lost { source: Arc::new(loss) }
    }
}

impl From<Failure> for SessionError {
    fn from(failure: Failure) -> Self {
        let code = FailureCode::try_from(failure.code).unwrap_or(FailureCode::Unspecified);
        Self::Refused { code, message: failure.message }
    }
}
