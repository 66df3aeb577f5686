//! Kernel files: an ELF `vmlinux` out of what distributions install as `/boot/vmlinuz-*`.
//!
//! A `bzImage` decompresses itself inside the guest, which is slow under emulation, so it is done here, once.
//! Understood: LZ4 (legacy frames, Debian's default), gzip and zstd; an ELF file is taken as it is.

use std::io::Read as _;

use crate::{
    Error, Result,
    rootfs::{
        archive::Archive,
        tree::{Kind, Tree},
    },
};

const MAX_KERNEL_BYTES: u64 = 256 << 20;
const ELF_MAGIC: &[u8] = b"\x7fELF";
const LZ4_LEGACY_MAGIC: [u8; 4] = [0x02, 0x21, 0x4c, 0x18];
const LZ4_LEGACY_BLOCK_BYTES: usize = 8 << 20;

/// The kernel of a root file system.
pub(crate) struct Kernel {
    /// Its release, e.g. `6.1.0-56-cloud-amd64`; the name of the directory of its modules.
    pub(crate) release: String,
    /// The ELF file.
    pub(crate) vmlinux: Vec<u8>,
}

/// Finds the newest kernel below `/boot` that has modules, and unpacks it.
pub(crate) fn find(archive: &Archive) -> Result<Kernel> {
    let release = newest_release(&archive.tree).ok_or_else(|| {
        bad("there is no /boot/vmlinuz-VERSION with /lib/modules/VERSION (install the distribution's kernel package)")
    })?;
    let path = format!("boot/vmlinuz-{release}");
    let image = archive
        .read(path.as_bytes(), MAX_KERNEL_BYTES)
        .ok_or_else(|| bad(format!("/{path} is unreadable or larger than 256 MiB")))?;
    Ok(Kernel { vmlinux: unpack(&image)?, release })
}

fn newest_release(tree: &Tree) -> Option<String> {
    let boot = tree.find(b"boot")?;
    tree.children(boot)
        .filter_map(|(name, _)| std::str::from_utf8(name.strip_prefix(b"vmlinuz-")?).ok())
        .filter(|release| {
            tree.find(format!("lib/modules/{release}").as_bytes())
                .is_some_and(|id| matches!(tree.node(id).kind, Kind::Directory(_)))
        })
        .max_by_key(|release| version_key(release))
        .map(str::to_owned)
}

/// Numbers compare as numbers: 6.1.0-9 is older than 6.1.0-56.
fn version_key(release: &str) -> Vec<(u64, String)> {
    release
        .split(['.', '-', '+', '~'])
        .map(|part| {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            (part[..digits].parse().unwrap_or(0), part[digits..].to_owned())
        })
        .collect()
}

/// The ELF file inside `image`.
pub(crate) fn unpack(image: &[u8]) -> Result<Vec<u8>> {
    if image.starts_with(ELF_MAGIC) {
        return Ok(image.to_vec());
    }
    let payload = bzimage_payload(image).ok_or_else(|| bad("it is neither an ELF file nor a bzImage"))?;
    let vmlinux = match payload {
        [0x02, 0x21, 0x4c, 0x18, ..] => unpack_lz4_legacy(payload)?,
        [0x1f, 0x8b, ..] => read_bounded(flate2::read::GzDecoder::new(payload), "gzip")?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => read_bounded(
            ruzstd::decoding::StreamingDecoder::new(payload)
                .map_err(|error| bad(format!("bad zstd payload: {error}")))?,
            "zstd",
        )?,
        [0xfd, b'7', b'z', b'X', ..] => return Err(unsupported("xz")),
        [b'B', b'Z', b'h', ..] => return Err(unsupported("bzip2")),
        [0x89, b'L', b'Z', b'O', ..] => return Err(unsupported("lzo")),
        [0x5d, 0, 0, ..] => return Err(unsupported("lzma")),
        _ => return Err(bad("its payload is in an unknown format")),
    };
    if !vmlinux.starts_with(ELF_MAGIC) {
        return Err(bad("its payload is not an ELF file"));
    }
    Ok(vmlinux)
}

/// The compressed kernel, by the setup header of the x86 boot protocol (2.08 and later).
fn bzimage_payload(image: &[u8]) -> Option<&[u8]> {
    let u32_at = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    let version = u16::from_le_bytes(image.get(0x206..0x208)?.try_into().ok()?);
    if image.get(0x202..0x206)? != b"HdrS" || version < 0x208 {
        return None;
    }
    let setup_sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = ((setup_sectors + 1) * 512).checked_add(u32_at(0x248)?)?;
    image.get(start..start.checked_add(u32_at(0x24c)?)?)
}

/// Blocks of at most 8 MiB, each with its length; the kernel's build adds the unpacked size at the end.
fn unpack_lz4_legacy(payload: &[u8]) -> Result<Vec<u8>> {
    let truncated = || bad("its lz4 payload is truncated");
    let (mut rest, size) = payload.split_last_chunk::<4>().ok_or_else(truncated)?;
    let size = u32::from_le_bytes(*size) as usize;
    if size as u64 > MAX_KERNEL_BYTES {
        return Err(bad("it unpacks to more than 256 MiB"));
    }
    rest = rest.strip_prefix(&LZ4_LEGACY_MAGIC).ok_or_else(truncated)?;
    let mut unpacked = Vec::with_capacity(size);
    while unpacked.len() < size {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(truncated)?;
        let length = u32::from_le_bytes(*length) as usize;
        let block = after.get(..length).ok_or_else(truncated)?;
        let wanted = (size - unpacked.len()).min(LZ4_LEGACY_BLOCK_BYTES);
        let block = lz4_flex::block::decompress(block, wanted)
            .map_err(|error| bad(format!("bad lz4 payload: {error}")))?;
        if block.is_empty() {
            return Err(truncated());
        }
        unpacked.extend_from_slice(&block);
        rest = &after[length..];
    }
    Ok(unpacked)
}

fn read_bounded(reader: impl std::io::Read, format: &str) -> Result<Vec<u8>> {
    let mut unpacked = Vec::new();
    reader
        .take(MAX_KERNEL_BYTES + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| bad(format!("bad {format} payload: {error}")))?;
    if unpacked.len() as u64 > MAX_KERNEL_BYTES {
        return Err(bad("it unpacks to more than 256 MiB"));
    }
    Ok(unpacked)
}

fn unsupported(format: &str) -> Error {
    bad(format!("it is compressed with {format}, which is not supported (lz4, gzip and zstd are)"))
}

pub(crate) fn bad(reason: impl Into<String>) -> Error {
    Error::BadKernel { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 1024];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[0x248..0x24c].copy_from_slice(&8_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
        image.extend_from_slice(&[0xcc; 8]);
        image.extend_from_slice(payload);
        image.extend_from_slice(b"trailer");
        image
    }

    fn lz4_of(elf: &[u8]) -> Vec<u8> {
        let mut payload = LZ4_LEGACY_MAGIC.to_vec();
        for block in elf.chunks(LZ4_LEGACY_BLOCK_BYTES) {
            let packed = lz4_literals(block);
            payload.extend_from_slice(&u32::try_from(packed.len()).unwrap().to_le_bytes());
            payload.extend_from_slice(&packed);
        }
        payload.extend_from_slice(&u32::try_from(elf.len()).unwrap().to_le_bytes());
        payload
    }

    /// An LZ4 block of literals only.
    fn lz4_literals(bytes: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        if bytes.len() < 15 {
            block.push(u8::try_from(bytes.len()).unwrap() << 4);
        } else {
            block.push(0xf0);
            let mut rest = bytes.len() - 15;
            while rest >= 255 {
                block.push(255);
                rest -= 255;
            }
            block.push(u8::try_from(rest).unwrap());
        }
        block.extend_from_slice(bytes);
        block
    }

    #[test]
    fn unpacks_lz4_in_several_blocks() {
        let mut elf = b"\x7fELF".to_vec();
        elf.extend((0..LZ4_LEGACY_BLOCK_BYTES + 77).map(|at| u8::try_from(at % 251).unwrap()));
        assert_eq!(unpack(&bzimage(&lz4_of(&elf))).unwrap(), elf);
    }

    #[test]
    fn unpacks_gzip_and_zstd_and_takes_elf_as_it_is() {
        let elf = b"\x7fELF and more".to_vec();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &elf).unwrap();
        assert_eq!(unpack(&bzimage(&gzip.finish().unwrap())).unwrap(), elf);
        let zstd = ruzstd::encoding::compress_to_vec(
            elf.as_slice(),
            ruzstd::encoding::CompressionLevel::Uncompressed,
        );
        assert_eq!(unpack(&bzimage(&zstd)).unwrap(), elf);
        assert_eq!(unpack(&elf).unwrap(), elf);
    }

    #[test]
    fn says_what_is_wrong() {
        for (image, word) in [
            (bzimage(b"\xfd7zXZ\0"), "xz"),
            (bzimage(b"?????"), "unknown format"),
            (b"MZ".to_vec(), "neither"),
            (bzimage(&lz4_of(b"not elf")), "not an ELF"),
        ] {
            let error = unpack(&image).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        let whole = bzimage(&lz4_of(b"\x7fELF0123456789"));
        for length in 0..whole.len() - 7 {
            assert!(unpack(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn newest_is_by_number() {
        assert!(version_key("6.1.0-9-cloud-amd64") < version_key("6.1.0-56-cloud-amd64"));
    }
}
