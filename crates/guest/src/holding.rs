//! Processes that are held: none takes a step from before the machine is captured until it goes on, or until a twin that goes on from
//! what was captured has an identity of its own. Otherwise twins would draw the same random bytes for a moment.
//!
//! What is started meanwhile is held with the others before its program runs. It ends by itself: a host that dies in between holds
//! nobody for ever.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

/// Whether processes are held.
#[derive(Debug, Default)]
pub(crate) struct Holding {
    /// Its bound. The loop of the agent polls it along with all else: nobody sleeps.
    end: Option<Pin<Box<Sleep>>>,
}

impl Holding {
    /// It begins, or goes on, for so long at the most.
    pub(crate) fn begin(&mut self, at_most: Duration) {
        self.end = Some(Box::pin(tokio::time::sleep(at_most)));
    }

    pub(crate) fn is_on(&self) -> bool {
        self.end.is_some()
    }

    /// Whether its time is over.
    pub(crate) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.end.as_mut().map_or(Poll::Pending, |end| end.as_mut().poll(context))
    }

    /// It is over.
    pub(crate) fn end(&mut self) {
        self.end = None;
    }
}
