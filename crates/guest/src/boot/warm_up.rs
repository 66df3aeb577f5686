//! What the first commands in a machine look up and read goes to the kernel's caches before the machine is saved, so
//! that all its clones find it there. What an image lacks is cached too: that it is not there.

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::plain_file;
use crate::process::launch::DEFAULT_PATH;
use crate::process::program;

/// Programs that are read whole.
const READ_PROGRAMS: &[&str] =
    &["sh", "bash", "busybox", "cat", "echo", "env", "git", "hostname", "ls", "true"];

/// Programs that are looked up in every directory of the default path.
const KNOWN_PROGRAMS: &[&str] = &[
    "awk", "cargo", "chmod", "cp", "curl", "cut", "date", "false", "find", "gcc", "getent", "grep", "head",
    "id", "ln", "make", "mkdir", "mv", "node", "npm", "printf", "pwd", "python", "python3", "rm", "sed",
    "sleep", "sort", "stat", "tail", "tar", "tee", "test", "touch", "tr", "uname", "wc", "which", "xargs",
];

/// Loaders, libraries and tables of the programs that are read.
const COMMON_FILES: &[&str] = &[
    "/lib64/ld-linux-x86-64.so.2",
    "/lib/ld-linux-aarch64.so.1",
    "/lib/ld-musl-x86_64.so.1",
    "/lib/ld-musl-aarch64.so.1",
    "/etc/ld.so.preload",
    "/etc/ld.so.cache",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/gitconfig",
    "/usr/lib/locale/C.utf8/LC_CTYPE",
];

const LIBRARY_DIRECTORIES: &[&str] = &["/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/lib64"];
const LIBRARIES: &[&str] = &["libc.so.6", "libtinfo.so.6", "libselinux.so.1", "libpcre2-8.so.0", "libz.so.1"];

/// Looks up and reads everything once; nothing of it has to be there.
pub(super) fn warm_up() {
    let directories =
        || DEFAULT_PATH.split(|byte| *byte == b':').map(|path| Path::new(OsStr::from_bytes(path)));
    for directory in directories() {
        // Every entry: the directory's blocks are what is wanted.
        let _entries = fs::read_dir(directory).map(Iterator::count);
        for program in READ_PROGRAMS.iter().chain(KNOWN_PROGRAMS) {
            let _cached = directory.join(program).metadata();
        }
    }
    for program in READ_PROGRAMS {
        if let Ok(file) = program::find(program.as_bytes(), DEFAULT_PATH, Path::new("/")) {
            read(&file);
        }
    }
    for directory in LIBRARY_DIRECTORIES {
        for library in LIBRARIES {
            read(&Path::new(directory).join(library));
        }
    }
    COMMON_FILES.iter().map(PathBuf::from).for_each(|file| read(&file));
}

fn read(path: &Path) {
    let mut buffer = vec![0; 64 * 1024];
    if let Ok(mut file) = plain_file::open(path) {
        while matches!(file.read(&mut buffer), Ok(count) if count > 0) {}
    }
}
