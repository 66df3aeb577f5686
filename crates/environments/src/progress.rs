//! How far a build has come.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is being done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The builder is starting, or another one is at work.
    Starting,
    /// Package lists and packages are fetched.
    Downloading,
    /// Packages are unpacked and configured.
    Installing,
    /// The root file system is read into one archive.
    Archiving,
    /// Kernel and modules are taken out.
    Kernel,
    /// The root image is written.
    Image,
    /// Digests are taken and files are flushed.
    Recording,
    /// It is installed.
    Ready,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Phase::Starting => "starting",
            Phase::Downloading => "downloading packages",
            Phase::Installing => "installing packages",
            Phase::Archiving => "archiving",
            Phase::Kernel => "extracting the kernel",
            Phase::Image => "writing the root image",
            Phase::Recording => "recording digests",
            Phase::Ready => "ready",
        })
    }
}

/// One report; reports of one call never go back in `fraction`, except when a dead builder is taken over.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub phase: Phase,
    /// Share of the whole build, 0 to 1.
    pub fraction: f64,
    /// The thing at hand, e.g. a package's name; may be empty.
    pub detail: String,
    /// Whether another thread or process does the work while this caller waits.
    pub by_another: bool,
}

/// Where reports go.
pub(crate) struct Reporter<'a> {
    sink: &'a mut dyn FnMut(&Progress),
    last: Option<Progress>,
}

/// A smaller step forward is not worth a report of its own.
const SMALLEST_STEP: f64 = 0.0025;

impl<'a> Reporter<'a> {
    pub(crate) fn new(sink: &'a mut dyn FnMut(&Progress)) -> Self {
        Self { sink, last: None }
    }

    pub(crate) fn report(&mut self, phase: Phase, fraction: f64, detail: &str) {
        let reached = self.last.as_ref().map_or(0.0, |last| last.fraction);
        let fraction = fraction.clamp(reached, 1.0);
        let is_news = self.last.as_ref().is_none_or(|last| {
            last.phase != phase || last.detail != detail || fraction - reached >= SMALLEST_STEP
        });
        if is_news {
            let report = Progress { phase, fraction, detail: detail.to_owned(), by_another: false };
            (self.sink)(&report);
            self.last = Some(report);
        }
    }
}
