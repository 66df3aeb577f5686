//! Archives that no honest writer makes, and a tree's description to compare with.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot look fails")]

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use pyro_tree::{
    Root,
    archive::{Limits, Reader, Special},
    unpack::{self, Options, Owner, Unpacked},
};

pub(crate) const END: [u8; 1024] = [0; 1024];

/// A member byte by byte.
pub(crate) fn member(kind: u8, name: &[u8], target: &[u8], contents: &[u8]) -> Vec<u8> {
    let mut block = header(kind, name, target, contents.len() as u64).to_vec();
    block.extend_from_slice(contents);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

pub(crate) fn header(kind: u8, name: &[u8], target: &[u8], size: u64) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name);
    block[100..108].copy_from_slice(b"0000644\0");
    block[108..116].copy_from_slice(b"0000000\0");
    block[116..124].copy_from_slice(b"0000000\0");
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[136..148].copy_from_slice(b"00000000001\0");
    block[156] = kind;
    block[157..157 + target.len()].copy_from_slice(target);
    block[257..265].copy_from_slice(b"ustar\x0000");
    seal(&mut block);
    block
}

pub(crate) fn seal(block: &mut [u8; 512]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| length.to_string().len() + rest == *length).unwrap();
        bytes.extend_from_slice(format!("{length} {key}=").as_bytes());
        bytes.extend_from_slice(value);
        bytes.push(b'\n');
    }
    member(b'x', b"pax", b"", &bytes)
}

pub(crate) const OPTIONS: Options = Options { owner: Owner::Caller, keep_set_id: true, asks_for_room: false };

pub(crate) fn unpack_bytes(archive: &[u8], directory: &Path) -> Result<Unpacked, unpack::Error> {
    let mut reader = Reader::new(archive, Limits::default(), Special::Refuse);
    unpack::unpack(&mut reader, &Root::open(directory).unwrap(), OPTIONS)
}

/// The message with all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += ": ";
        text += &error.to_string();
        cause = error.source();
    }
    text
}

/// The same without the times of directories.
pub(crate) fn describe_contents(directory: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut seen = describe(directory);
    for (name, text) in &mut seen {
        if directory.join(std::ffi::OsStr::from_bytes(name)).symlink_metadata().unwrap().is_dir() {
            text.truncate(text.find(' ').unwrap());
        }
    }
    seen
}

/// Everything that can be seen of a tree: by path, the kind, attributes, contents, and with which other paths it is one file.
pub(crate) fn describe(directory: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut seen = BTreeMap::new();
    let mut names: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    describe_below(directory, directory, &mut names, &mut seen);
    seen
}

fn describe_below(
    top: &Path,
    path: &Path,
    names: &mut BTreeMap<(u64, u64), Vec<u8>>,
    seen: &mut BTreeMap<Vec<u8>, String>,
) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(top).unwrap().as_os_str().as_bytes().to_vec();
    let mut text = format!("{:o} {}.{:09}", metadata.mode(), metadata.mtime(), metadata.mtime_nsec());
    if metadata.is_symlink() {
        text += &format!(" -> {}", fs::read_link(path).unwrap().as_os_str().as_bytes().escape_ascii());
    } else if metadata.is_file() {
        text += &format!(" {}", fs::read(path).unwrap().escape_ascii());
    }
    if !metadata.is_dir() && metadata.nlink() > 1 {
        let first = names.entry((metadata.dev(), metadata.ino())).or_insert_with(|| name.clone());
        text += &format!(" = {}", first.escape_ascii());
    }
    seen.insert(name, text);
    if metadata.is_dir() {
        let mut children: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        for child in children {
            describe_below(top, &child, names, seen);
        }
    }
}
