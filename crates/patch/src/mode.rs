//! The kinds of file that a patch speaks of.

use std::fmt;

/// What a file is, as far as patches know: a regular file with or without the executable bit, or a symbolic link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Mode {
    /// `100644`
    Regular,
    /// `100755`
    Executable,
    /// `120000`; its content is the link's target, with no newline behind it.
    Symlink,
}

impl Mode {
    /// The octal number that patches write: type and permissions.
    pub const fn number(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }

    /// From a number as `st_mode` has it: any executable bit of the owner makes an executable. `None` for
    /// directories, devices and everything else that patches do not know.
    pub const fn from_number(number: u32) -> Option<Self> {
        match number & 0o170_000 {
            0o100_000 if number & 0o100 != 0 => Some(Self::Executable),
            0o100_000 => Some(Self::Regular),
            0o120_000 => Some(Self::Symlink),
            _ => None,
        }
    }

    /// Whether a file of one mode may turn into one of the other in place; a link and a file may not.
    pub const fn is_same_kind(self, other: Self) -> bool {
        matches!(self, Self::Symlink) == matches!(other, Self::Symlink)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06o}", self.number())
    }
}
