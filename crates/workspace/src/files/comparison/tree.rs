//! [`Tree`]: what a workspace holds, as its guest tells it.

use pyro_protocol::work::{Entry, List, work_reply::Body, work_request};
use pyro_tree::RelativePath;

use super::super::{error::FileError, gathered::Gathered, workers::FileWorkers};

/// Everything in `/workspace` but itself.
#[derive(Debug)]
pub(super) struct Tree {
    /// With their paths; of files their stamps, as far as the agent knows those.
    pub(super) entries: Vec<(RelativePath, Entry)>,
    /// What was left out, and why.
    pub(super) notes: Vec<String>,
}

impl FileWorkers {
    /// What is at these paths and below; no paths: everything.
    pub(super) async fn tree(&self, wanted: &[RelativePath]) -> Result<Tree, FileError> {
        let list = List { recursive: true, with_stamps: true, ..List::default() };
        let mut conversation = self.ask(work_request::Body::List(list)).await?;
        let mut gathered = Gathered::new("entries");
        loop {
            match conversation.next().await? {
                Body::Entries(mut more) => {
                    more.entries.retain(|entry| is_wanted(entry, wanted));
                    gathered.add(more.entries)?;
                }
                Body::Done(listed) => {
                    let entries = gathered.all().into_iter().map(with_path).collect::<Result<_, _>>()?;
                    return Ok(Tree { entries, notes: listed.notes });
                }
                _ => return Err(FileError::Protocol("a listing was answered with something else")),
            }
        }
    }
}

fn is_wanted(entry: &Entry, wanted: &[RelativePath]) -> bool {
    let is_at_or_below = |directory: &RelativePath| {
        let rest = entry.path.strip_prefix(directory.as_bytes());
        directory.is_root() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    wanted.is_empty() || wanted.iter().any(is_at_or_below)
}

pub(super) fn with_path(entry: Entry) -> Result<(RelativePath, Entry), FileError> {
    let path = RelativePath::new(&entry.path).ok().filter(|path| path.as_bytes() == entry.path);
    let path = path.ok_or(FileError::Protocol("an entry has a path that leads elsewhere"))?;
    Ok((path, entry))
}
