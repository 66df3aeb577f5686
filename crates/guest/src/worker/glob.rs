//! `Glob`: the paths below a directory that match a pattern.

use pyro_protocol::work::{Glob, work_reply};
use rustix::fs::FileType;

use super::channel::Output;
use super::error::Result;
use super::ignored::Ignored;
use super::list::{Batch, entry_found};
use super::path_pattern::PathPattern;
use super::walk::{Step, Walk};
use super::workspace::Workspace;

pub(crate) fn answer(
    workspace: &Workspace<'_>,
    request: &Glob,
    output: &mut Output<'_>,
) -> Result<work_reply::Body> {
    let path = workspace.path(&request.path)?;
    let pattern = PathPattern::new(&request.pattern)?;
    let prefix_bytes = if path.is_root() { 0 } else { path.as_bytes().len() + 1 };
    let mut ignored = request.respect_gitignore.then(|| Ignored::above(workspace, &path));
    let mut walk = Walk::new(workspace, &path)?.start()?;
    let mut batch = Batch::new(request.limit);
    while let Some(step) = walk.step()? {
        let is_directory = step == Step::Found(FileType::Directory);
        if step == Step::Left {
            if let Some(ignored) = &mut ignored {
                ignored.leave(walk.path());
            }
            continue;
        }
        if request.skip_hidden && walk.name().as_encoded_bytes().starts_with(b".")
            || ignored.as_ref().is_some_and(|ignored| ignored.ignores(walk.path(), is_directory))
        {
            continue;
        }
        let below = walk.path().get(prefix_bytes..).unwrap_or_default();
        let enters = is_directory && pattern.enters(below);
        if pattern.matches(below)
            && let Some(entry) = entry_found(&walk, false)?
            && !batch.add(output, entry)?
        {
            break;
        }
        if enters
            && walk.enter()?
            && let Some(ignored) = &mut ignored
        {
            ignored.enter(walk.path(), walk.directory()?);
        }
    }
    let notes = walk.take_notes();
    batch.finish(output, notes)
}
