//! The way down: processes are told, then killed, and the host gets to know how each of them ended. The agent serves on
//! meanwhile; what is left to do afterwards is [`crate::power`]'s.
//!
//! # States
//!
//! *Told*: every process has got SIGTERM and has its grace to end. *Killed*: the grace was too short; SIGKILL is on its
//! way. *Parting*: nobody is left, or nobody who can be killed; the host takes the last output and exit statuses. A state
//! lasts no longer than its time, and only as long as there is something to wait for.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, Sleep};

use crate::agent::Served;
use crate::process::table::Table;

/// What processes get at the machine's deadline, when nobody says.
pub(crate) const DEADLINE_GRACE: Duration = Duration::from_secs(5);
/// How long those who were killed may take to die. One who hangs in the kernel is no reason to live on.
const DYING: Duration = Duration::from_secs(2);
/// How long the host may take to fetch what is left.
const PARTING: Duration = Duration::from_secs(2);

/// An agent that ends; see the [module](self).
#[derive(Debug)]
pub(crate) struct Ending {
    cause: Served,
    state: State,
    until: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Told,
    Killed,
    Parting,
}

impl Ending {
    /// Tells every process.
    pub(crate) fn begin(cause: Served, grace: Duration, processes: &Table) -> Self {
        processes.signal_everyone(Signal::TERM);
        // A stopped one hears nothing.
        processes.signal_everyone(Signal::CONT);
        Self { cause, state: State::Told, until: Box::pin(tokio::time::sleep(grace)) }
    }

    /// Goes on; ready when nothing is left to wait for. `is_host_served` says whether the host has everything.
    pub(crate) fn poll_over(
        &mut self,
        context: &mut Context<'_>,
        processes: &Table,
        is_host_served: impl FnOnce() -> bool,
    ) -> Poll<Served> {
        let anybody_lives = self.state != State::Parting && processes.anybody_lives();
        let mut time_is_up = self.until.as_mut().poll(context).is_ready();
        if self.state == State::Told && anybody_lives && time_is_up {
            processes.signal_everyone(Signal::KILL);
            time_is_up = self.enter(State::Killed, DYING, context);
        }
        if self.state != State::Parting && (!anybody_lives || time_is_up) {
            time_is_up = self.enter(State::Parting, PARTING, context);
        }
        if self.state == State::Parting && (time_is_up || is_host_served()) {
            return Poll::Ready(self.cause);
        }
        Poll::Pending
    }

    /// True if its time is over at once.
    fn enter(&mut self, state: State, time: Duration, context: &mut Context<'_>) -> bool {
        self.state = state;
        self.until.as_mut().reset(Instant::now() + time);
        self.until.as_mut().poll(context).is_ready()
    }
}
