//! Counts of changed lines.

/// Lines that one file gains and loses.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stat {
    /// Lines that come.
    pub added: usize,
    /// Lines that go.
    pub removed: usize,
    /// Binary content differs, so there are no lines to count.
    pub binary: bool,
}
