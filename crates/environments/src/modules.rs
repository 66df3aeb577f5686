//! The kernel modules that a machine needs before it has its root, in the order in which they load.

use std::{collections::HashSet, io::Read as _};

use crate::{Error, Result, kernel::bad, rootfs::archive::Archive};

const MAX_MODULE_BYTES: u64 = 32 << 20;
const MAX_LIST_BYTES: u64 = 16 << 20;

/// What must be there, as module or built in; dependencies come by themselves. The order is the load order.
const NEEDED: &[&str] =
    &["virtio_ring", "virtio", "virtio_mmio", "virtio_blk", "virtio_console", "overlay", "erofs"];
/// What is loaded where the kernel has it.
const WANTED: &[&str] = &["virtio_rng", "virtio_net"];

/// One module, uncompressed.
pub(crate) struct Module {
    /// File name, e.g. `virtio_blk.ko`.
    pub(crate) file_name: String,
    pub(crate) contents: Vec<u8>,
}

/// Collects the modules of kernel `release`, in load order.
pub(crate) fn collect(archive: &Archive, release: &str) -> Result<Vec<Module>> {
    let directory = format!("lib/modules/{release}");
    let list = |name: &str| {
        archive
            .read(format!("{directory}/{name}").as_bytes(), MAX_LIST_BYTES)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    let dependencies = list("modules.dep")
        .ok_or_else(|| bad(format!("/{directory}/modules.dep is missing (run depmod {release})")))?;
    let order = load_order(&dependencies, &list("modules.builtin").unwrap_or_default())?;
    order.iter().map(|path| read_module(archive, &directory, path)).collect()
}

/// Paths of the modules to load, below the directory of modules.
fn load_order(dependencies: &str, builtin: &str) -> Result<Vec<String>> {
    let lines: Vec<(&str, Vec<&str>)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path.trim(), needs.split_whitespace().collect()))
        .collect();
    let built_in: HashSet<String> = builtin.lines().map(module_name).collect();
    let mut order = Vec::new();
    for (name, is_needed) in
        NEEDED.iter().map(|name| (name, true)).chain(WANTED.iter().map(|name| (name, false)))
    {
        if built_in.contains(*name) {
            continue;
        }
        let Some((path, needs)) = lines.iter().find(|(path, _)| module_name(path) == *name) else {
            if is_needed {
                return Err(bad(format!("it has no module `{name}`, neither as a file nor built in")));
            }
            continue;
        };
        // depmod lists dependencies in the reverse of the order in which they load.
        for step in needs.iter().rev().chain([path]) {
            if !order.iter().any(|known| known == step) {
                order.push((*step).to_owned());
            }
        }
    }
    Ok(order)
}

/// `kernel/drivers/char/hw_random/virtio-rng.ko.zst` is `virtio_rng`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path).trim();
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

fn read_module(archive: &Archive, directory: &str, path: &str) -> Result<Module> {
    let whole = format!("{directory}/{path}");
    let packed = archive
        .read(whole.as_bytes(), MAX_MODULE_BYTES)
        .ok_or_else(|| bad(format!("/{whole} is listed in modules.dep but missing or larger than 32 MiB")))?;
    let unpack = |reader: &mut dyn std::io::Read| -> Result<Vec<u8>> {
        let mut contents = Vec::new();
        reader
            .take(MAX_MODULE_BYTES)
            .read_to_end(&mut contents)
            .map_err(|error| bad(format!("/{whole} does not unpack: {error}")))?;
        Ok(contents)
    };
    let contents = if path.ends_with(".ko") {
        packed
    } else if path.ends_with(".ko.gz") {
        unpack(&mut flate2::read::MultiGzDecoder::new(packed.as_slice()))?
    } else if path.ends_with(".ko.zst") {
        let mut decoder = ruzstd::decoding::StreamingDecoder::new(packed.as_slice())
            .map_err(|error| bad(format!("/{whole} does not unpack: {error}")))?;
        unpack(&mut decoder)?
    } else {
        return Err(Error::BadKernel {
            reason: format!("/{whole} is compressed in a way that is not supported (gzip and zstd are)"),
        });
    };
    Ok(Module { file_name: format!("{}.ko", module_name(path)), contents })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "\
kernel/drivers/virtio/virtio_ring.ko:
kernel/drivers/virtio/virtio.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_mmio.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/virtio_console.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/char/hw_random/virtio-rng.ko: kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko kernel/drivers/virtio/virtio.ko kernel/drivers/virtio/virtio_ring.ko
kernel/fs/overlayfs/overlay.ko:
kernel/lib/libcrc32c.ko:
kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko
";

    #[test]
    fn loads_in_order_of_need() {
        let names: Vec<_> = load_order(DEBIAN, "").unwrap().iter().map(|path| module_name(path)).collect();
        assert_eq!(
            names,
            [
                "virtio_ring",
                "virtio",
                "virtio_mmio",
                "virtio_blk",
                "virtio_console",
                "overlay",
                "libcrc32c",
                "erofs",
                "virtio_rng",
                "failover",
                "net_failover",
                "virtio_net"
            ]
        );
    }

    #[test]
    fn skips_what_is_built_in_and_names_what_is_missing() {
        let without = DEBIAN.replace("kernel/fs/overlayfs/overlay.ko:\n", "");
        assert!(load_order(&without, "").unwrap_err().to_string().contains("`overlay`"));
        assert!(load_order(&without, "kernel/fs/overlayfs/overlay.ko\n").is_ok());
    }
}
