//! What a guest has to say at length, held in memory up to a bound: it may be broken or hostile.

use prost::Message;

use super::error::FileError;

/// Bytes that all items of one answer may take as messages. Some hundred thousand paths with all about them.
const MOST_BYTES: usize = 128 << 20;

/// Items of one answer, in the order they came.
#[derive(Debug)]
pub(super) struct Gathered<T> {
    items: Vec<T>,
    bytes: usize,
    what: &'static str,
}

impl<T: Message> Gathered<T> {
    /// None yet; `what` they are is for the error.
    pub(super) fn new(what: &'static str) -> Self {
        Self { items: Vec::new(), bytes: 0, what }
    }

    pub(super) fn add(&mut self, items: Vec<T>) -> Result<(), FileError> {
        // An empty message is not for nothing either.
        self.bytes += items.iter().map(|item| item.encoded_len() + size_of::<T>()).sum::<usize>();
        self.items.extend(items);
        if self.bytes > MOST_BYTES { Err(FileError::TooMuch { what: self.what }) } else { Ok(()) }
    }

    pub(super) fn items(&self) -> &[T] {
        &self.items
    }

    pub(super) fn all(self) -> Vec<T> {
        self.items
    }
}
