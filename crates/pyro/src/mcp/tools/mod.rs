//! The table of tools, one file for each noun. Names and arguments are the contract's; where ours does more, it is asked for
//! with an argument that need not be given.

mod content;
mod diff;
mod disk;
mod environment;
mod exec;
mod export;
mod file;
mod listing;
mod logs;
mod patch;
mod run;
mod snapshot;
mod summary;
mod sync;
mod timeline;
mod vm;
mod workspace;

use super::tool::Tool;

/// Every tool. The order is that in which clients see them.
pub(super) fn all() -> Vec<Tool> {
    [
        run::tools(),
        workspace::tools(),
        exec::tools(),
        logs::tools(),
        summary::tools(),
        file::tools(),
        patch::tools(),
        diff::tools(),
        sync::tools(),
        export::tools(),
        snapshot::tools(),
        timeline::tools(),
        disk::tools(),
        environment::tools(),
        vm::tools(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests;
