//! Uncompressed `newc` cpio archives. The kernel unpacks several that stand one after the other.

use crate::modules::Module;

/// Where the guest finds the list of modules: one path per line, in load order.
const MODULE_LIST: &str = "pyro/modules";

/// The environment's part: its modules and their list.
pub(crate) fn environment_part(modules: &[Module]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.directory("lib");
    archive.directory("lib/modules");
    let mut list = String::new();
    for module in modules {
        let path = format!("lib/modules/{}", module.file_name);
        archive.file(&path, 0o644, &module.contents);
        list.push('/');
        list.push_str(&path);
        list.push('\n');
    }
    archive.directory("pyro");
    archive.file(MODULE_LIST, 0o644, list.as_bytes());
    archive.finish()
}

/// The agent's part: the guest binary as `/init`.
pub(crate) fn agent_part(agent: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.file("init", 0o755, agent);
    archive.finish()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn directory(&mut self, path: &str) {
        self.entry(path, 0o040_755, 2, &[]);
    }

    fn file(&mut self, path: &str, permissions: u32, contents: &[u8]) {
        self.entry(path, 0o100_000 | permissions, 1, contents);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 1, &[]);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, links: u32, contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        // Inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name's length, checksum.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_format_says() {
        let archive = agent_part(b"agent");
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[14..22], b"000081ed");
        assert_eq!(&archive[54..62], b"00000005");
        assert_eq!(&archive[110..115], b"init\0");
        assert_eq!(&archive[116..121], b"agent");
        assert_eq!(archive.len() % 512, 0);
    }
}
