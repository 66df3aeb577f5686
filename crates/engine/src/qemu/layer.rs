//! Layers of a disk in a running QEMU: what they are called, which one is active, and what QEMU may still do with the others.
//!
//! A layer's node has the number of its file in its name, and its descriptors have that name in their labels. So QEMU itself tells which
//! file is which, whoever asks and whenever: nothing has to be remembered. Two layers of one disk never have the same number, since
//! QEMU holds both open.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::MetadataExt,
    },
};

use serde_json::Value;

use super::{command_line::descriptor_label, device_state::DeviceState};
use crate::{
    DiskLayer, EngineError,
    qmp::{Command, Qmp, QmpError},
};

const NODE_PREFIX: &str = "layer-";
/// What the layers below are called that a machine is started with, each with its level.
const LOWER_NODE_PREFIX: &str = "disk-";
/// Label of the descriptor that device state is written to.
const STATE: &str = "state";

/// What QEMU calls the layer of this level, below the active one.
pub(super) fn lower_node_name(level: usize) -> String {
    format!("{LOWER_NODE_PREFIX}{level}")
}

/// What QEMU calls the layer in this file.
pub(super) fn node_name(file: &std::fs::Metadata) -> String {
    format!("{NODE_PREFIX}{:x}", file.ino())
}

/// An active layer, open and locked.
#[derive(Debug)]
pub(super) struct OpenLayer {
    pub node: String,
    /// For writing and reading; the lock is its.
    pub write: File,
    /// For reading only.
    pub read: File,
}

impl OpenLayer {
    pub(super) fn open(layer: &DiskLayer) -> Result<Self, EngineError> {
        let failed = |operation| move |e: io::Error| EngineError::file(operation, &layer.path, e);
        let write = layer.open_alone()?;
        // Of the same file, whatever the path leads to by now.
        let read = File::open(format!("/proc/self/fd/{}", write.as_raw_fd())).map_err(failed("open"))?;
        let node = node_name(&write.metadata().map_err(failed("inspect"))?);
        Ok(Self { node, write, read })
    }

    /// Makes it known to QEMU, over nothing and of no disk yet. The descriptors are QEMU's then, and the lock with them.
    pub(super) async fn add(self, control: &Qmp) -> Result<(), QmpError> {
        let set = add_descriptor(control, None, &descriptor_label(&self.node, true), &self.write).await?;
        add_descriptor(control, Some(set), &descriptor_label(&self.node, false), &self.read).await?;
        control.execute(Command::add_layer(self.node, set)).await.map(drop)
    }
}

/// Gives QEMU what device state is to be written to; its name there.
pub(super) async fn add_state(control: &Qmp, state: &DeviceState) -> Result<String, QmpError> {
    Ok(format!("/dev/fdset/{}", add_descriptor(control, None, STATE, state).await?))
}

async fn add_descriptor(
    control: &Qmp,
    set: Option<i64>,
    label: &str,
    file: impl AsFd,
) -> Result<i64, QmpError> {
    let add = Command::AddFd { fdset_id: set, opaque: label.to_owned() };
    let added = control.execute_with(add, &[file.as_fd()]).await?;
    added
        .get("fdset-id")
        .and_then(Value::as_i64)
        .ok_or(QmpError::Strange { lacks: "the set of a descriptor" })
}

/// The node that the machine writes to.
pub(super) async fn active_node(control: &Qmp) -> Result<String, QmpError> {
    active_of(&control.execute(Command::QueryBlock {}).await?)
        .ok_or(QmpError::Strange { lacks: "a drive that can be written to" })
}

fn active_of(drives: &Value) -> Option<String> {
    drives.as_array()?.iter().find_map(|drive| {
        let inserted = drive.get("inserted")?;
        let is_writable = inserted.get("ro")?.as_bool() == Some(false);
        is_writable.then(|| inserted.get("node-name")?.as_str().map(str::to_owned)).flatten()
    })
}

/// How many layers QEMU has. Each keeps one descriptor for reading; what QEMU tells of nodes would be longer by far.
pub(super) async fn count(control: &Qmp) -> Result<usize, QmpError> {
    let sets = control.execute(Command::QueryFdsets {}).await?;
    match descriptors_of(&sets, is_reader_of_layer).len() {
        0 => Err(QmpError::Strange { lacks: "the layers of the disk" }),
        count => Ok(count),
    }
}

fn is_reader_of_layer(label: &str) -> bool {
    let node = label.split(' ').next().unwrap_or_default();
    let is_layer = node.starts_with(NODE_PREFIX) || node.starts_with(LOWER_NODE_PREFIX);
    is_layer && label == descriptor_label(node, false)
}

/// How large the disks of these nodes are for a guest.
pub(super) async fn virtual_bytes(control: &Qmp, of: [&str; 2]) -> Result<[u64; 2], QmpError> {
    let nodes = control.execute(Command::QueryNamedBlockNodes { flat: true }).await?;
    let [first, second] = of.map(|node| virtual_bytes_of(&nodes, node));
    first.zip(second).map(Into::into).ok_or(QmpError::Strange { lacks: "the size of a layer" })
}

fn virtual_bytes_of(nodes: &Value, node: &str) -> Option<u64> {
    let mut nodes = nodes.as_array()?.iter();
    let found = nodes.find(|found| found.get("node-name").and_then(Value::as_str) == Some(node))?;
    found.get("image")?.get("virtual-size")?.as_u64()
}

/// Takes a node from QEMU that is of no disk. One that is active stays.
pub(super) async fn discard(control: &Qmp, node: &str) -> Result<(), QmpError> {
    match control.execute(Command::BlockdevDel { node_name: node.to_owned() }).await {
        // It is in use, or was never made.
        Ok(_) | Err(QmpError::Refused { .. }) => {}
        Err(error) => return Err(error),
    }
    let nodes = control.execute(Command::QueryNamedBlockNodes { flat: true }).await?;
    let mut nodes = nodes.as_array().into_iter().flatten();
    if nodes.any(|found| found.get("node-name").and_then(Value::as_str) == Some(node)) {
        return Ok(());
    }
    remove_descriptors(control, |label| label.split(' ').next() == Some(node)).await
}

/// Takes from QEMU the right to write to any layer but the active one, and what a state was written to.
pub(super) async fn retire_all_but(control: &Qmp, active: &str) -> Result<(), QmpError> {
    remove_descriptors(control, |label| is_retired(label, active)).await
}

fn is_retired(label: &str, active: &str) -> bool {
    let writes = |node: &str| node.starts_with(NODE_PREFIX) && label == descriptor_label(node, true);
    label == STATE || label.split(' ').next().is_some_and(|node| node != active && writes(node))
}

async fn remove_descriptors(control: &Qmp, which: impl Fn(&str) -> bool) -> Result<(), QmpError> {
    let sets = control.execute(Command::QueryFdsets {}).await?;
    for (fdset_id, fd) in descriptors_of(&sets, which) {
        control.execute(Command::RemoveFd { fdset_id, fd: Some(fd) }).await?;
    }
    Ok(())
}

/// Sets and numbers of the descriptors that have such a label.
fn descriptors_of(sets: &Value, which: impl Fn(&str) -> bool) -> Vec<(i64, i64)> {
    let mut found = Vec::new();
    for set in sets.as_array().into_iter().flatten() {
        let Some(fdset_id) = set.get("fdset-id").and_then(Value::as_i64) else { continue };
        for descriptor in set.get("fds").and_then(Value::as_array).into_iter().flatten() {
            let label = descriptor.get("opaque").and_then(Value::as_str).unwrap_or_default();
            if let Some(fd) = descriptor.get("fd").and_then(Value::as_i64)
                && which(label)
            {
                found.push((fdset_id, fd));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_active_node_is_that_of_the_drive_that_can_be_written_to() {
        let drive = |node: &str, read_only: bool| {
            let inserted = json!({ "node-name": node, "ro": read_only });
            json!({ "device": "", "locked": false, "inserted": inserted })
        };
        let drives = json!([drive("root", true), { "device": "empty" }, drive("layer-2a", false)]);
        assert_eq!(active_of(&drives), Some("layer-2a".to_owned()));
        assert_eq!(active_of(&json!([drive("root", true)])), None);
        assert_eq!(active_of(&json!({})), None);
    }

    #[test]
    fn the_size_of_a_node_is_that_of_its_image() {
        let nodes = json!([
            { "node-name": "layer-1-file", "image": { "virtual-size": 5 } },
            { "node-name": "layer-1", "image": { "virtual-size": 1 << 30 } },
        ]);
        assert_eq!(virtual_bytes_of(&nodes, "layer-1"), Some(1 << 30));
        assert_eq!(virtual_bytes_of(&nodes, "layer-2"), None);
    }

    #[test]
    fn layers_are_counted_and_nothing_else() {
        let labels = ["disk-0 read", "disk-1 read", "layer-2a read"];
        assert!(labels.into_iter().all(is_reader_of_layer));
        let others = ["root read", "layer-2a write", "state", "disk-0", "layer-2a read on", ""];
        assert!(!others.into_iter().any(is_reader_of_layer));
    }

    #[test]
    fn every_layer_but_the_active_one_loses_its_writer_and_no_reader() {
        let descriptor = |fd: i64, label: &str| json!({ "fd": fd, "opaque": label });
        let sets = json!([
            { "fdset-id": 13, "fds": [descriptor(13, "root read")] },
            { "fdset-id": 14, "fds": [descriptor(14, "layer-1 write"), descriptor(15, "layer-1 read")] },
            { "fdset-id": 3, "fds": [descriptor(21, "layer-2 read"), descriptor(22, "layer-2 write")] },
            { "fdset-id": 4, "fds": [descriptor(23, "state"), { "fd": 24 }] },
        ]);
        let retired = |active: &str| descriptors_of(&sets, |label| is_retired(label, active));
        assert_eq!(retired("layer-2"), [(14, 14), (4, 23)]);
        assert_eq!(retired("layer-1"), [(3, 22), (4, 23)]);
        assert_eq!(retired("layer-12"), [(14, 14), (3, 22), (4, 23)]);
    }

    #[test]
    fn a_name_has_room_in_qemu() {
        // 31 characters, of which the node of the file has the most.
        assert!(format!("{NODE_PREFIX}{:x}-file", u64::MAX).len() <= 31);
    }
}
