//! Tar streams: [`Writer`] makes one from members and their contents, [`Reader`] takes an untrusted one apart. Both hold
//! one member at a time, so memory stays flat at any size.
//!
//! Written is ustar, with a pax header where a field does not suffice (names over 100 bytes, times with nanoseconds or
//! before 1970, sizes of 8 GiB and more, ids over 2,097,151). Names are written as the bytes they are. Read are V7,
//! ustar, pax and GNU long names; sparse members, multi-volume members and unknown kinds are refused by name.
//!
//! The parser is our own and not that of the crate `tar`: that one reads extension headers of any size into
//! memory, splits pax records at line ends (so a name with a newline becomes another name), gives numbers of one
//! parser's reading while others see another's, and takes an archive that was cut between two members for a whole one.

mod header;
mod member;
mod pax;
mod reader;
mod writer;

pub use member::{Kind, Member};
pub use reader::{Error, Limits, Reader, Special};
pub use writer::{Fit, Writer};
