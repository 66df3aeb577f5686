//! Groups of figures, each of which can be taken alone.

use std::str::FromStr;

use anyhow::bail;

/// What is measured together. The first run of a home belongs to none of them: all need what it leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Group {
    /// `pyro run` against the floor.
    Run,
    /// A command on a live machine, and the port of its guest.
    Exec,
    /// What a machine weighs, and the first steps of a restored one.
    Machines,
    /// Workspaces by the command line.
    Workspaces,
    /// Snapshots, resets, forks and sleep, by the command line.
    Snapshots,
    /// The server of tools for chats, and the Python package.
    Chat,
}

impl Group {
    /// The groups whose figures this one computes with, itself among them.
    fn parts(self) -> &'static [Self] {
        match self {
            Self::Run => &[Self::Run],
            Self::Exec => &[Self::Exec],
            Self::Machines => &[Self::Machines],
            Self::Workspaces => &[Self::Run, Self::Exec, Self::Workspaces],
            Self::Snapshots => &[Self::Snapshots],
            Self::Chat => &[Self::Chat],
        }
    }

    /// Whether it has to be taken if `only` is wanted; nothing means all.
    pub(crate) fn is_part_of(self, only: Option<Self>) -> bool {
        only.is_none_or(|only| only.parts().contains(&self))
    }
}

impl FromStr for Group {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        Ok(match name {
            "run" => Self::Run,
            "exec" => Self::Exec,
            "machines" => Self::Machines,
            "workspaces" => Self::Workspaces,
            "snapshots" => Self::Snapshots,
            "chat" => Self::Chat,
            other => {
                bail!("no group `{other}`; there are run, exec, machines, workspaces, snapshots and chat")
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_taken_with_what_it_computes_with() {
        let wanted: Group = "workspaces".parse().unwrap();
        assert!(Group::Run.is_part_of(Some(wanted)) && !Group::Chat.is_part_of(Some(wanted)));
        assert!(Group::Chat.is_part_of(None));
        assert!("everything".parse::<Group>().is_err());
    }
}
