//! Entries of a workspace in the contract's words, and how many of them one answer holds.

use pyro_api::{
    ErrorBody,
    text::ByteString,
    workspace::{
        entry::{ArtifactType, FileEntry, FileMode},
        patch::ChangeStatus,
        path::absolute,
    },
};
use pyro_workspace::{
    Host,
    files::{self, Entry, EntryKind},
    workspaces::WorkspaceFiles,
};

use crate::daemon::convert::error_body;

/// Bytes of JSON that the items of one answer take; a client takes twice as many.
const ANSWER_BYTES: usize = 8 << 20;

/// What an item takes in JSON besides its names and texts.
const ITEM_BYTES: usize = 400;

/// The files of a workspace by its id or name.
pub(super) async fn open(host: &Host, reference: &str) -> Result<WorkspaceFiles, ErrorBody> {
    host.workspaces().files(reference).await.map_err(|error| failed(&error))
}

/// A failure in the contract's words, which the log has too.
pub(super) fn failed(error: &pyro_workspace::Error) -> ErrorBody {
    let body = error_body(error);
    tracing::info!(code = %body.code, %error, "an operation on files was not carried out");
    body
}

pub(super) fn entry(entry: Entry) -> FileEntry {
    let kind = entry.kind();
    FileEntry {
        path: absolute(&entry.path),
        artifact_type: artifact_type(kind),
        size_bytes: entry.size_bytes,
        link_target: (kind == EntryKind::Symlink).then_some(ByteString(entry.link_target)),
        mode: mode(entry.mode),
        uid: entry.uid,
        gid: entry.gid,
        modified_at: seconds(entry.modified_ns),
        sha256: (!entry.sha256.is_empty()).then(|| hexadecimal(&entry.sha256)),
    }
}

pub(super) fn artifact_type(kind: EntryKind) -> ArtifactType {
    match kind {
        EntryKind::File => ArtifactType::File,
        EntryKind::Directory => ArtifactType::Directory,
        EntryKind::Symlink => ArtifactType::Symlink,
        EntryKind::Special => ArtifactType::Special,
    }
}

/// Permission bits and nothing else, whatever a guest says.
pub(super) fn mode(mode: u32) -> FileMode {
    FileMode(mode & 0o7777)
}

/// How a path changed; a guest that does not know is taken for saying that it did.
pub(super) fn change_status(status: files::ChangeStatus) -> ChangeStatus {
    match status {
        files::ChangeStatus::Added => ChangeStatus::Added,
        files::ChangeStatus::Modified | files::ChangeStatus::Unspecified => ChangeStatus::Modified,
        files::ChangeStatus::Deleted => ChangeStatus::Deleted,
        files::ChangeStatus::TypeChanged => ChangeStatus::TypeChanged,
        files::ChangeStatus::Renamed => ChangeStatus::Renamed,
        files::ChangeStatus::Copied => ChangeStatus::Copied,
    }
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::cast_precision_loss, reason = "the contract's times are seconds with fractions")]
fn seconds(nanoseconds: i64) -> f64 {
    nanoseconds as f64 / 1e9
}

/// Cuts items off that one answer cannot hold; whether there were any.
pub(super) fn fit<T>(items: &mut Vec<T>, texts: impl Fn(&T) -> usize) -> bool {
    let mut taken = 0;
    let fitting = items
        .iter()
        .take_while(|item| {
            taken += ITEM_BYTES + texts(item);
            taken <= ANSWER_BYTES
        })
        .count();
    let is_cut = fitting < items.len();
    items.truncate(fitting);
    is_cut
}

/// Bytes that some bytes take in JSON, at least.
pub(super) fn in_json(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.bytes().map(escaped).sum(),
        Err(_) => bytes.len() / 3 * 4 + 20,
    }
}

fn escaped(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\t' | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_what_a_client_takes() {
        let mut few = vec![vec![b'a'; 10]; 100];
        assert!(!fit(&mut few, |bytes| in_json(bytes)));
        assert_eq!(few.len(), 100);
        let mut many = vec![vec![1_u8; 4000]; 10_000];
        assert!(fit(&mut many, |bytes| in_json(bytes)));
        let json = serde_json::to_string(&many.into_iter().map(ByteString).collect::<Vec<_>>()).unwrap();
        assert!(json.len() <= ANSWER_BYTES && json.len() > ANSWER_BYTES / 2, "{}", json.len());
    }

    #[test]
    fn an_entry_is_told_whole() {
        let link = Entry {
            path: b"a/b".to_vec(),
            kind: EntryKind::Symlink.into(),
            mode: 0o120_777,
            link_target: b"../\xff".to_vec(),
            modified_ns: 1_500_000_000,
            ..Entry::default()
        };
        let told = entry(link);
        assert_eq!((told.path, told.mode, told.modified_at), ("/workspace/a/b".into(), FileMode(0o777), 1.5));
        assert_eq!((told.link_target, told.sha256), (Some(ByteString(b"../\xff".to_vec())), None));
    }
}
