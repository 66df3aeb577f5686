//! Counts of changed lines.

use std::fmt;

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

/// The sum over some files; prints as the last line of `git diff --stat`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Summary {
    /// Files that change.
    pub files: usize,
    /// Lines that come.
    pub added: usize,
    /// Lines that go.
    pub removed: usize,
    /// Files among them whose content is binary.
    pub binary: usize,
}

impl FromIterator<Stat> for Summary {
    fn from_iter<I: IntoIterator<Item = Stat>>(stats: I) -> Self {
        stats.into_iter().fold(Self::default(), |sum, stat| Self {
            files: sum.files + 1,
            added: sum.added + stat.added,
            removed: sum.removed + stat.removed,
            binary: sum.binary + usize::from(stat.binary),
        })
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        write!(f, "{} file{} changed", self.files, plural(self.files))?;
        let nothing = self.added == 0 && self.removed == 0;
        if self.added > 0 || (nothing && self.files > 0) {
            write!(f, ", {} insertion{}(+)", self.added, plural(self.added))?;
        }
        if self.removed > 0 || (nothing && self.files > 0) {
            write!(f, ", {} deletion{}(-)", self.removed, plural(self.removed))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_as_git_does() {
        let sum = |stats: &[(usize, usize)]| {
            let stats =
                stats.iter().map(|(added, removed)| Stat { added: *added, removed: *removed, binary: false });
            stats.collect::<Summary>().to_string()
        };
        assert_eq!(sum(&[]), "0 files changed");
        assert_eq!(sum(&[(1, 0)]), "1 file changed, 1 insertion(+)");
        assert_eq!(sum(&[(2, 1), (0, 3)]), "2 files changed, 2 insertions(+), 4 deletions(-)");
        assert_eq!(sum(&[(0, 0)]), "1 file changed, 0 insertions(+), 0 deletions(-)");
    }
}
