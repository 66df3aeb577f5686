//! Guests of a few hundred instructions: enough to write to a disk and to power off, and up at once even in emulation.
//!
//! [`obedient_kernel`] reads the first sector of the root image over and over, an [`Order`] that the test changes in the file,
//! and carries out each new one. What it writes says where it lies, so that a test can tell lost and misplaced writes.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![expect(unsafe_code, reason = "the guest is assembled into this program and copied from there")]

use std::{fs, os::unix::fs::FileExt, path::Path};

/// Bytes of one write of the guest.
pub(crate) const UNIT_BYTES: u64 = 64 << 10;
const ADDRESS: u64 = 0x10_0000;

// 32-bit code without paging, as QEMU enters a PVH kernel. Legacy virtio over MMIO, queues polled, all addresses fixed:
// 0x190000 disk and 0x190100 root: MMIO address, queue, next index; 0x200000 and 0x210000 queues; 0x300000 the order;
// 0x400000 what is written.
core::arch::global_asm!(
    ".pushsection .rodata.pyro_test_guest, \"a\"",
    ".code32",
    ".global pyro_test_guest_start",
    "pyro_test_guest_start:",
    "cli",
    "mov esp, 0x180000",
    // The last order that was carried out.
    "mov dword ptr [0x190200], 0",
    // Finds the block devices: the read-only one is the root.
    "mov esi, 0xfeb00000",
    "mov ecx, 24",
    "20: cmp dword ptr [esi], 0x74726976",
    "jne 22f",
    "cmp dword ptr [esi + 0x8], 2",
    "jne 22f",
    "mov dword ptr [esi + 0x14], 0",
    "mov eax, [esi + 0x10]",
    "mov edi, 0x190000",
    "mov ebx, 0x200000",
    "test eax, 0x20",
    "jz 21f",
    "mov edi, 0x190100",
    "mov ebx, 0x210000",
    "21: mov [edi], esi",
    "mov [edi + 4], ebx",
    "mov dword ptr [edi + 8], 0",
    // Driver, its features (flush), page size, queue 0 of 8, ready.
    "mov dword ptr [esi + 0x70], 0",
    "mov dword ptr [esi + 0x70], 3",
    "mov dword ptr [esi + 0x24], 0",
    "mov dword ptr [esi + 0x20], 0x200",
    "mov dword ptr [esi + 0x28], 4096",
    "mov dword ptr [esi + 0x30], 0",
    "mov dword ptr [esi + 0x38], 8",
    "mov dword ptr [esi + 0x3c], 4096",
    "shr ebx, 12",
    "mov [esi + 0x40], ebx",
    "mov dword ptr [esi + 0x70], 7",
    "22: add esi, 0x200",
    "dec ecx",
    "jnz 20b",
    // Waits for an order: number, first unit, count of units, seed, whether to power off; pages to fill, step, pages to expect, step.
    "30: mov edi, 0x190100",
    "xor eax, eax",
    "xor edx, edx",
    "mov ebp, 0x300000",
    "mov ecx, 512",
    "call 50f",
    "mov eax, [0x300000]",
    "cmp eax, [0x190200]",
    "je 30b",
    "mov [0x190200], eax",
    // Fills pages: the first word of each is one step more than that of the page before.
    "mov ecx, [0x300014]",
    "mov edi, 0x800000",
    "xor eax, eax",
    "34: test ecx, ecx",
    "jz 35f",
    "add eax, [0x300018]",
    "mov [edi], eax",
    "add edi, 0x1000",
    "dec ecx",
    "jmp 34b",
    // Looks for pages that were filled so; others power off at once.
    "35: mov ecx, [0x30001c]",
    "mov edi, 0x800000",
    "xor eax, eax",
    "36: test ecx, ecx",
    "jz 31f",
    "add eax, [0x300020]",
    "cmp [edi], eax",
    "jne 40f",
    "add edi, 0x1000",
    "dec ecx",
    "jmp 36b",
    // Writes unit by unit: each word is the seed plus the word's place on the disk.
    "31: cmp dword ptr [0x300008], 0",
    "je 32f",
    "mov eax, [0x300004]",
    "shl eax, 14",
    "add eax, [0x30000c]",
    "mov edi, 0x400000",
    "mov ecx, 0x4000",
    "33: mov [edi], eax",
    "add edi, 4",
    "inc eax",
    "dec ecx",
    "jnz 33b",
    "mov edi, 0x190000",
    "mov eax, 1",
    "mov edx, [0x300004]",
    "shl edx, 7",
    "mov ebp, 0x400000",
    "mov ecx, 0x10000",
    "call 50f",
    "inc dword ptr [0x300004]",
    "dec dword ptr [0x300008]",
    "jmp 31b",
    "32: cmp dword ptr [0x300010], 0",
    "je 30b",
    // The power switch of microvm's generic event device: sleep type 5.
    "40: mov byte ptr [0xfea00200], 0x34",
    "41: hlt",
    "jmp 41b",
    // A request to device EDI of kind EAX for sector EDX, ECX bytes at EBP; a failure powers off at once.
    "50: mov ebx, [edi + 4]",
    "mov [ebx + 0x2000], eax",
    "mov dword ptr [ebx + 0x2004], 0",
    "mov [ebx + 0x2008], edx",
    "mov dword ptr [ebx + 0x200c], 0",
    "mov byte ptr [ebx + 0x2010], 0xff",
    "lea esi, [ebx + 0x2000]",
    "mov [ebx], esi",
    "mov dword ptr [ebx + 4], 0",
    "mov dword ptr [ebx + 8], 16",
    "mov dword ptr [ebx + 12], 0x10001",
    "mov [ebx + 16], ebp",
    "mov dword ptr [ebx + 20], 0",
    "mov [ebx + 24], ecx",
    "mov dword ptr [ebx + 28], 0x20001",
    "test eax, eax",
    "jnz 51f",
    // The device writes what is read.
    "mov dword ptr [ebx + 28], 0x20003",
    "51: add esi, 0x10",
    "mov [ebx + 32], esi",
    "mov dword ptr [ebx + 36], 0",
    "mov dword ptr [ebx + 40], 1",
    "mov dword ptr [ebx + 44], 2",
    "mov esi, [edi + 8]",
    "and esi, 7",
    "mov word ptr [ebx + 132 + esi * 2], 0",
    "inc dword ptr [edi + 8]",
    "mov eax, [edi + 8]",
    "mov [ebx + 130], ax",
    "mov esi, [edi]",
    "mov dword ptr [esi + 0x50], 0",
    "52: pause",
    "cmp [ebx + 0x1002], ax",
    "jne 52b",
    "mov eax, [esi + 0x60]",
    "mov [esi + 0x64], eax",
    "cmp byte ptr [ebx + 0x2010], 0",
    "jne 40b",
    "ret",
    ".global pyro_test_guest_end",
    "pyro_test_guest_end:",
    ".code64",
    ".popsection",
);

unsafe extern "C" {
    static pyro_test_guest_start: u8;
    static pyro_test_guest_end: u8;
}

/// A kernel that carries out [`Order`]s.
pub(crate) fn obedient_kernel() -> Vec<u8> {
    let (start, end) = (&raw const pyro_test_guest_start, &raw const pyro_test_guest_end);
    // SAFETY: both labels are of one section of this program's read-only data, the first before the last.
    let code = unsafe { std::slice::from_raw_parts(start, end.addr() - start.addr()) };
    kernel(code)
}

/// A kernel that does nothing: `hlt; jmp`.
pub(crate) fn halting_kernel() -> Vec<u8> {
    kernel(&[0xf4, 0xeb, 0xfd, 0x90])
}

/// What an obedient guest is to do next.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// Which order this is; not 0, and another than the last.
    pub number: u32,
    /// Where on its disk it writes first, in units.
    pub first_unit: u32,
    /// How many units it writes.
    pub units: u32,
    /// What it writes.
    pub seed: u32,
    /// Whether it powers off afterwards.
    pub power_off: bool,
}

/// What an obedient guest is to do with its memory before it writes to its disk: pages from the same place on, each
/// different, unless the step is 0, which makes them zero.
#[derive(Clone, Copy, Default)]
pub(crate) struct Memory {
    /// How many pages it fills.
    pub fill_pages: u32,
    /// By how much they differ.
    pub fill_step: u32,
    /// How many pages must be as filled with the step below: otherwise it powers off without writing.
    pub expect_pages: u32,
    /// By how much they differ.
    pub expect_step: u32,
}

impl Order {
    /// Gives it to the machines of this root image.
    pub(crate) fn give(self, root_image: &Path) {
        self.give_with(Memory::default(), root_image);
    }

    /// The same, with something to do in memory.
    pub(crate) fn give_with(self, memory: Memory, root_image: &Path) {
        let Self { number, first_unit, units, seed, power_off } = self;
        let Memory { fill_pages, fill_step, expect_pages, expect_step } = memory;
        let words = [
            number,
            first_unit,
            units,
            seed,
            power_off.into(),
            fill_pages,
            fill_step,
            expect_pages,
            expect_step,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        fs::OpenOptions::new().write(true).open(root_image).unwrap().write_all_at(&bytes, 0).unwrap();
    }

    /// Whether its last unit has reached a file that is the active layer, in whatever format.
    pub(crate) fn has_reached(self, file: &Path) -> bool {
        let last = self.first_unit + self.units - 1;
        let first_words = (last << 14).wrapping_add(self.seed);
        let expected: Vec<u8> =
            (0..16).flat_map(|word| first_words.wrapping_add(word).to_le_bytes()).collect();
        let file = fs::File::open(file).unwrap();
        let mut found = vec![0; expected.len()];
        // A unit is as large as a cluster.
        (0..file.metadata().unwrap().len())
            .step_by(usize::try_from(UNIT_BYTES).unwrap())
            .any(|place| file.read_exact_at(&mut found, place).is_ok() && found == expected)
    }

    /// Checks that `disk`, byte for byte what the guest saw, has what this order wrote.
    pub(crate) fn check(self, disk: &Path) {
        let file = fs::File::open(disk).unwrap();
        let mut found = vec![0; usize::try_from(UNIT_BYTES).unwrap()];
        for unit in self.first_unit..self.first_unit + self.units {
            file.read_exact_at(&mut found, u64::from(unit) * UNIT_BYTES).unwrap();
            let first = (unit << 14).wrapping_add(self.seed);
            let expected: Vec<u8> =
                (0..1 << 14).flat_map(|word| first.wrapping_add(word).to_le_bytes()).collect();
            assert!(found == expected, "unit {unit} is not what the guest wrote");
        }
    }
}

/// An ELF kernel of this code, with the note by which QEMU finds its PVH entry.
fn kernel(code: &[u8]) -> Vec<u8> {
    let length = code.len() as u64;
    let mut elf = Vec::<u8>::new();
    elf.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    for (value, bytes) in [
        (2, 2),
        (62, 2),
        (1, 4),
        (ADDRESS, 8),
        (64, 8),
        (0, 8),
        (0, 4),
        (64, 2),
        (56, 2),
        (2, 2),
        (64, 2),
        (0, 2),
        (0, 2),
    ] {
        elf.extend(&u64::to_le_bytes(value)[..bytes]);
    }
    let program_header = |kind: u64, offset: u64, address: u64, length: u64| {
        let mut header = Vec::<u8>::new();
        for (value, bytes) in
            [(kind, 4), (5, 4), (offset, 8), (address, 8), (address, 8), (length, 8), (length, 8), (4, 8)]
        {
            header.extend(&u64::to_le_bytes(value)[..bytes]);
        }
        header
    };
    elf.extend(program_header(1, 0x1000, ADDRESS, length));
    elf.extend(program_header(4, 0x200, 0, 20));
    elf.resize(0x200, 0);
    // Owner "Xen", type 18 (PHYS32_ENTRY), the entry's address.
    elf.extend([4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0]);
    elf.extend(b"Xen\0");
    elf.extend(&ADDRESS.to_le_bytes()[..4]);
    elf.resize(0x1000, 0);
    elf.extend(code);
    elf
}
