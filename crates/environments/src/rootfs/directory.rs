//! Walks a directory into an archive: owners, modes, times, devices, hard links and extended attributes.
//!
//! Run by an ordinary user, the owner of the directory itself stands for root, since a root file system
//! unpacked by an ordinary user belongs to that user throughout.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, BufWriter, Write},
    os::unix::{fs::FileTypeExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use tar::{Builder, EntryType, Header};

/// Writes the tree under `root` to `output`. Entries come in byte order, so equal trees give equal archives.
pub(crate) fn write_archive(root: &Path, output: &mut impl Write) -> io::Result<()> {
    let top = fs::symlink_metadata(root)?;
    let mut walk = Walk {
        builder: Builder::new(BufWriter::with_capacity(1 << 18, output)),
        device: top.dev(),
        stands_for_root: (top.uid(), top.gid()),
        first_names: HashMap::new(),
    };
    walk.add(root, Path::new("."), &top)?;
    walk.builder.into_inner()?.flush()
}

struct Walk<W: Write> {
    builder: Builder<W>,
    device: u64,
    stands_for_root: (u32, u32),
    first_names: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Walk<W> {
    fn add(&mut self, path: &Path, name: &Path, metadata: &Metadata) -> io::Result<()> {
        let kind = metadata.file_type();
        if kind.is_socket() {
            return Ok(());
        }
        let mut header = self.header_of(metadata);
        if !kind.is_dir() && metadata.nlink() > 1 {
            if let Some(first) = self.first_names.get(&(metadata.dev(), metadata.ino())) {
                header.set_entry_type(EntryType::Link);
                return self.builder.append_link(&mut header, name, first);
            }
            self.first_names.insert((metadata.dev(), metadata.ino()), name.to_owned());
        }
        self.append_xattrs(path)?;
        if kind.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            return self.builder.append_link(&mut header, name, fs::read_link(path)?);
        }
        if kind.is_file() {
            header.set_entry_type(EntryType::Regular);
            header.set_size(metadata.len());
            let contents = Exactly { inner: File::open(path)?, missing_bytes: metadata.len() };
            return self.builder.append_data(&mut header, name, contents);
        }
        if kind.is_dir() {
            header.set_entry_type(EntryType::Directory);
        } else if kind.is_fifo() {
            header.set_entry_type(EntryType::Fifo);
        } else {
            header.set_entry_type(if kind.is_char_device() { EntryType::Char } else { EntryType::Block });
            header.set_device_major(rustix::fs::major(metadata.rdev()))?;
            header.set_device_minor(rustix::fs::minor(metadata.rdev()))?;
        }
        self.builder.append_data(&mut header, name, io::empty())?;
        if kind.is_dir() && metadata.dev() == self.device {
            let mut children = fs::read_dir(path)?.collect::<io::Result<Vec<_>>>()?;
            children.sort_by_key(fs::DirEntry::file_name);
            for child in children {
                let path = child.path();
                let metadata = fs::symlink_metadata(&path)?;
                self.add(&path, &name.join(child.file_name()), &metadata)?;
            }
        }
        Ok(())
    }

    fn header_of(&self, metadata: &Metadata) -> Header {
        let map = |id: u32, root: u32| u64::from(if id == root { 0 } else { id });
        let mut header = Header::new_gnu();
        header.set_size(0);
        header.set_mode(metadata.mode() & 0o7777);
        header.set_uid(map(metadata.uid(), self.stands_for_root.0));
        header.set_gid(map(metadata.gid(), self.stands_for_root.1));
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header
    }

    fn append_xattrs(&mut self, path: &Path) -> io::Result<()> {
        let mut records = Vec::new();
        for name in xattr_names(path)? {
            // Access control lists and the host's own labels mean nothing in the guest.
            if !name.starts_with(b"user.") && name != b"security.capability" {
                continue;
            }
            let text = String::from_utf8_lossy(&name).into_owned();
            let mut value = vec![0; 64 * 1024];
            let length = rustix::fs::lgetxattr(path, name.as_slice(), &mut value[..])?;
            value.truncate(length);
            records.push((format!("SCHILY.xattr.{text}"), value));
        }
        if records.is_empty() {
            return Ok(());
        }
        self.builder
            .append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), value.as_slice())))
    }
}

/// A file that grows meanwhile is cut, one that shrinks is an error; never a broken archive.
struct Exactly {
    inner: File,
    missing_bytes: u64,
}

impl io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.missing_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.inner.read(&mut buffer[..wanted])?;
        if length == 0 && wanted > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a file shrank while it was read"));
        }
        self.missing_bytes -= length as u64;
        Ok(length)
    }
}

fn xattr_names(path: &Path) -> io::Result<Vec<Vec<u8>>> {
    let mut list = vec![0; 64 * 1024];
    match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => {
            list.truncate(length);
            Ok(list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
        }
        Err(rustix::io::Errno::NOTSUP) => Ok(Vec::new()),
        Err(errno) => Err(io::Error::from(errno)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::{archive::Archive, tree::Kind};

    #[test]
    fn a_walked_directory_is_the_same_tree() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/file"), "contents").unwrap();
        fs::hard_link(root.path().join("d/file"), root.path().join("z")).unwrap();
        std::os::unix::fs::symlink("d/file", root.path().join("link")).unwrap();
        let long = "n".repeat(200);
        fs::write(root.path().join(&long), "").unwrap();

        let archive = tempfile::NamedTempFile::new().unwrap();
        write_archive(root.path(), &mut archive.as_file()).unwrap();
        let archive = Archive::open(archive.path(), &crate::Cancellation::new().unwrap()).unwrap();
        assert_eq!(archive.read(b"link", 100).unwrap(), b"contents");
        assert_eq!(archive.tree.find(b"z"), archive.tree.find(b"d/file"));
        assert!(archive.tree.find(long.as_bytes()).is_some());
        let file = archive.tree.node(archive.tree.find(b"z").unwrap());
        assert!(matches!(file.kind, Kind::File { size_bytes: 8, .. }));
        assert_eq!(file.attributes.uid, 0, "the directory's owner stands for root");
    }
}
