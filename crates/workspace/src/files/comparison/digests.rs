//! Digests of many files at once. They are taken here, of what the guest packs: as fast as the guest reads, whatever its
//! processor is, and with every agent.

use std::collections::{HashMap, HashSet};

use pyro_protocol::work::{Pack, WorkFailureCode, work_reply::Body, work_request};
use pyro_tree::{
    Reader, RelativePath,
    archive::{Kind, Limits, Special},
};
use sha2::{Digest as _, Sha256};

use super::super::{
    error::FileError,
    portions::portions,
    transfer::{self, Received, TransferProgress},
    workers::FileWorkers,
};

/// The SHA-256 of a file's content.
pub(super) type Digest = [u8; 32];

/// So many paths of one request may vanish while it is asked.
const MOST_GONE: usize = 16;

impl FileWorkers {
    /// Of these files. One that is no file any more has none.
    pub(super) async fn digests(
        &self,
        paths: Vec<RelativePath>,
    ) -> Result<HashMap<RelativePath, Digest>, FileError> {
        let mut digests = HashMap::with_capacity(paths.len());
        for portion in portions(paths, |path| path.as_bytes().len()) {
            digests.extend(self.digests_of(portion).await?);
        }
        Ok(digests)
    }

    /// Of as many as one request names. What the guest finds missing is asked for no more.
    async fn digests_of(
        &self,
        mut paths: Vec<RelativePath>,
    ) -> Result<HashMap<RelativePath, Digest>, FileError> {
        for _ in 0..MOST_GONE {
            match self.packed_digests(&paths).await {
                Err(FileError::Refused { code: WorkFailureCode::NotFound, path, .. })
                    if paths.iter().any(|asked| asked.as_bytes() == path) =>
                {
                    paths.retain(|asked| asked.as_bytes() != path);
                }
                digests => return digests,
            }
        }
        Err(FileError::Refused {
            code: WorkFailureCode::Changed,
            message: "compare files: they vanish while they are read".to_owned(),
            path: Vec::new(),
        })
    }

    async fn packed_digests(
        &self,
        paths: &[RelativePath],
    ) -> Result<HashMap<RelativePath, Digest>, FileError> {
        let asked: HashSet<_> = paths.iter().cloned().collect();
        let paths = paths.iter().map(|path| path.as_bytes().to_vec()).collect();
        let pack = Pack { paths, base: Vec::new(), not_recursive: true };
        let mut conversation = self.ask(work_request::Body::Pack(pack)).await?;
        let (pieces, archive) = Received::channel();
        let digesting = tokio::task::spawn_blocking(move || digests_in(archive, &asked));
        let mut moved = TransferProgress::default();
        let packed = transfer::receive(&mut conversation, &pieces, &mut moved, &|_| {}).await;
        drop(pieces);
        let digests = digesting.await.unwrap_or(Err(FileError::Protocol("a thread of the host failed")));
        match packed {
            Ok(Body::Unpacked(_)) => digests,
            Ok(_) => Err(FileError::Protocol("packing was answered with something else")),
            // The reader stopped taking: it knows why.
            Err(FileError::Abandoned) => digests.and(Err(FileError::Abandoned)),
            Err(error) => Err(error),
        }
    }
}

/// Of the files in an archive that were asked for. Another name of a file has the digest of the first one.
pub(super) fn digests_in(
    archive: impl std::io::Read,
    asked: &HashSet<RelativePath>,
) -> Result<HashMap<RelativePath, Digest>, FileError> {
    let mut reader = Reader::new(archive, Limits::default(), Special::Skip);
    let mut digests = HashMap::with_capacity(asked.len());
    while let Some(member) = reader.next_member()? {
        if !asked.contains(&member.path) {
            continue;
        }
        let digest = match member.kind {
            Kind::File { .. } => {
                let mut digest = Sha256::new();
                loop {
                    let piece = reader.chunk()?;
                    if piece.is_empty() {
                        break Some(digest.finalize().into());
                    }
                    digest.update(piece);
                }
            }
            Kind::HardLink { target } => digests.get(&target).copied(),
            Kind::Directory | Kind::Symlink { .. } => None,
        };
        digests.extend(digest.map(|digest| (member.path, digest)));
    }
    reader.finish()?;
    Ok(digests)
}
