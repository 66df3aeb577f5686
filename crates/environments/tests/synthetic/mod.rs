//! Tiny root file systems with a kernel that unpacks and modules that are named right, and a package builder
//! that hands one out instead of downloading Debian.

#![expect(clippy::unwrap_used, reason = "a helper of tests that fails as a test does")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use pyro_environments::{Environments, EnvironmentsConfig};
use tar::{Builder, EntryType, Header};

pub(crate) const RELEASE: &str = "6.1.0-9-test";
pub(crate) const VMLINUX: &[u8] = b"\x7fELF the kernel itself";
const MODULES: &[(&str, &str)] = &[
    ("kernel/virtio_ring.ko", ""),
    ("kernel/virtio.ko", "kernel/virtio_ring.ko"),
    ("kernel/virtio_mmio.ko", "kernel/virtio.ko kernel/virtio_ring.ko"),
    ("kernel/virtio_blk.ko", "kernel/virtio.ko kernel/virtio_ring.ko"),
    ("kernel/virtio_console.ko", "kernel/virtio.ko kernel/virtio_ring.ko"),
    ("kernel/libcrc32c.ko", ""),
    ("kernel/erofs.ko", "kernel/libcrc32c.ko"),
];

/// An archive with everything an environment needs, and `marker` as a file.
pub(crate) fn rootfs(marker: &str) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    put(&mut tar, "./etc/os-release", b"ID=testix\nVERSION_ID=\"7\"\nPRETTY_NAME=\"Testix 7\"\n");
    put(&mut tar, "./etc/marker", marker.as_bytes());
    put(&mut tar, "./boot/vmlinuz-5.10.0-99-test", b"not a kernel, and without modules");
    put(&mut tar, &format!("./boot/vmlinuz-{RELEASE}"), &bzimage());
    put(&mut tar, "./usr/share/large", &vec![7; 300_000]);
    for at in 0..300 {
        put(&mut tar, &format!("./usr/share/many/a-file-with-a-rather-long-name-{at}"), &vec![b'x'; at * 13]);
    }
    link(&mut tar, "./lib", "usr/lib", EntryType::Symlink);
    link(&mut tar, "./etc/hard", "./etc/marker", EntryType::Link);
    let directory = format!("./usr/lib/modules/{RELEASE}");
    let dependencies: String = MODULES.iter().map(|(path, needs)| format!("{path}: {needs}\n")).collect();
    put(&mut tar, &format!("{directory}/modules.dep"), dependencies.as_bytes());
    put(&mut tar, &format!("{directory}/modules.builtin"), b"kernel/fs/overlayfs/overlay.ko\n");
    for (path, _) in MODULES {
        put(&mut tar, &format!("{directory}/{path}"), format!("module {path}").as_bytes());
    }
    tar.append_pax_extensions([("SCHILY.xattr.user.note", b"kept".as_slice())]).unwrap();
    put(&mut tar, "./usr/bin/ping", b"#!");
    tar.into_inner().unwrap()
}

fn put(tar: &mut Builder<Vec<u8>>, path: &str, contents: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_size(contents.len() as u64);
    header.set_mode(0o755);
    header.set_mtime(1_700_000_000);
    header.set_uid(12);
    header.set_gid(34);
    tar.append_data(&mut header, path, contents).unwrap();
}

fn link(tar: &mut Builder<Vec<u8>>, path: &str, target: &str, kind: EntryType) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(0o777);
    tar.append_link(&mut header, path, target).unwrap();
}

/// A boot image whose payload is [`VMLINUX`] in gzip.
fn bzimage() -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gzip, VMLINUX).unwrap();
    let payload = gzip.finish().unwrap();
    let mut image = vec![0; 1024];
    image[0x1f1] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
    image.extend_from_slice(&payload);
    image
}

/// A cache whose builder hands out [`rootfs`] and counts how often it was asked.
pub(crate) struct House {
    directory: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl House {
    pub(crate) fn new() -> Self {
        let owned = tempfile::tempdir().unwrap();
        let house = Self { directory: owned.path().to_owned(), _owned: Some(owned) };
        for name in ["bin", "scratch"] {
            fs::create_dir(house.directory.join(name)).unwrap();
        }
        fs::write(house.directory.join("rootfs.tar"), rootfs("built")).unwrap();
        house.builder_does("cat \"$house/rootfs.tar\"");
        house
    }

    /// The same house, seen by another process.
    pub(crate) fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), _owned: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn builder_does(&self, script: &str) {
        let program = self.directory.join("bin/mmdebstrap");
        let house = self.directory.display();
        let script = format!("#!/bin/sh\nset -e\nhouse='{house}'\necho run >> \"$house/runs\"\n{script}\n");
        // Beside it and then in its place: one that is just being started cannot be written to.
        let draft = self.directory.join("bin/.mmdebstrap");
        fs::write(&draft, script).unwrap();
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(&draft, &program).unwrap();
    }

    pub(crate) fn builder_runs(&self) -> usize {
        fs::read_to_string(self.directory.join("runs")).unwrap_or_default().lines().count()
    }

    pub(crate) fn config(&self) -> EnvironmentsConfig {
        EnvironmentsConfig {
            scratch_dir: self.directory.join("scratch"),
            program_path: vec![self.directory.join("bin"), "/usr/bin".into(), "/bin".into()],
            ..EnvironmentsConfig::new(self.directory.join("cache"))
        }
    }

    pub(crate) fn environments(&self) -> Environments {
        Environments::open(self.config()).unwrap()
    }

    /// What lies in the cache, but for locks, sorted.
    pub(crate) fn contents(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.directory.join("cache/linux/amd64"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.starts_with(".lock-"))
            .collect();
        names.sort();
        names
    }

    pub(crate) fn scratch_is_empty(&self) -> bool {
        fs::read_dir(self.directory.join("scratch")).unwrap().next().is_none()
    }
}
