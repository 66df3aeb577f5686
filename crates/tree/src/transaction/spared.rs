//! [`Spared`]: what somebody else had changed when a change was carried out or taken back late.

use std::fmt;

use crate::path::RelativePath;

/// A path that is as somebody else made it after the change was decided. A later edit always wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spared {
    /// Which.
    pub path: RelativePath,
    /// Where what should have been there lies, if there is such a thing: nothing of anybody's work is thrown away.
    pub kept: Option<Kept>,
}

/// What should have been at a path that was spared, under another name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kept {
    /// What the change was to put there: `NAME.pyro-new`.
    New(RelativePath),
    /// What the change had replaced or removed there, and should have got its name again: `NAME.pyro-old`.
    Old(RelativePath),
}

impl fmt::Display for Spared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match &self.kept {
            None => write!(f, "`{path}` is left as somebody else made it meanwhile"),
            Some(Kept::New(kept)) => {
                write!(
                    f,
                    "`{path}` is left as somebody else made it meanwhile; what was to be there is `{kept}`"
                )
            }
            Some(Kept::Old(kept)) => {
                write!(
                    f,
                    "what was `{path}` is `{kept}` now, since somebody else has made something of that name"
                )
            }
        }
    }
}
