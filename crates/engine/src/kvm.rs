//! A virtual processor of our own, for as long as a known loop takes.
#![expect(unsafe_code, reason = "KVM's interface is ioctls and shared memory")]

use std::{
    fs::{File, OpenOptions},
    io,
    os::fd::{AsRawFd, FromRawFd, RawFd},
    time::Instant,
};

/// Times round the loop.
pub(crate) const ROUNDS: u64 = 20_000;

const MEMORY_BYTES: usize = 0x8000;
const CODE: u64 = 0x1000;
const DATA: u64 = 0x2000;
const PAGE_TABLES: u64 = 0x3000;

/// `loop: lock-free compare of 16 bytes; dec rcx; jnz loop; hlt`. The first instruction is one that halfway emulations lack.
const PROGRAM: &[u8] = &[0x48, 0x0f, 0xc7, 0x0f, 0x48, 0xff, 0xc9, 0x75, 0xf7, 0xf4];

const KVM_CREATE_VM: u64 = 0xae01;
const KVM_GET_VCPU_MMAP_SIZE: u64 = 0xae04;
const KVM_CREATE_VCPU: u64 = 0xae41;
const KVM_SET_USER_MEMORY_REGION: u64 = 0x4020_ae46;
const KVM_SET_TSS_ADDR: u64 = 0xae47;
const KVM_RUN: u64 = 0xae80;
const KVM_SET_REGS: u64 = 0x4090_ae82;
const KVM_GET_SREGS: u64 = 0x8138_ae83;
const KVM_SET_SREGS: u64 = 0x4138_ae84;
const KVM_EXIT_HLT: u32 = 5;

#[repr(C)]
struct MemoryRegion {
    slot: u32,
    flags: u32,
    guest_address: u64,
    bytes: u64,
    host_address: u64,
}

#[repr(C)]
#[derive(Default)]
struct Registers {
    rax: u64,
    rbx: u64,
    rcx: u64,
    rdx: u64,
    rsi: u64,
    rdi: u64,
    rsp: u64,
    rbp: u64,
    r8_to_r15: [u64; 8],
    rip: u64,
    rflags: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Segment {
    base: u64,
    limit: u32,
    selector: u16,
    kind: u8,
    present: u8,
    dpl: u8,
    db: u8,
    s: u8,
    l: u8,
    g: u8,
    avl: u8,
    unusable: u8,
    padding: u8,
}

#[repr(C)]
#[derive(Default)]
struct SpecialRegisters {
    /// cs, ds, es, fs, gs, ss, tr, ldt
    segments: [Segment; 8],
    /// gdt, idt: base, limit and padding
    tables: [[u64; 2]; 2],
    cr0: u64,
    cr2: u64,
    cr3: u64,
    cr4: u64,
    cr8: u64,
    efer: u64,
    apic_base: u64,
    interrupts: [u64; 4],
}

/// Where the loop ended.
#[derive(Debug)]
pub(crate) enum LoopEnd {
    /// At its `hlt`, after this long.
    Halted { elapsed_ns: u64 },
    /// Elsewhere, with this KVM exit reason.
    Exit { reason: u32 },
}

/// Memory shared with the kernel.
struct Mapping {
    address: *mut libc::c_void,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize, descriptor: Option<RawFd>) -> io::Result<Self> {
        let flags =
            if descriptor.is_some() { libc::MAP_SHARED } else { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS };
        // SAFETY: a new mapping at an address of the kernel's choice.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                descriptor.unwrap_or(-1),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { address, bytes })
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        assert!(
            offset.checked_add(data.len()).is_some_and(|end| end <= self.bytes),
            "guest memory is large enough"
        );
        // SAFETY: the range lies within the mapping, as just asserted, and the guest is not running.
        unsafe {
            std::ptr::copy_nonoverlapping(data.as_ptr(), self.address.cast::<u8>().add(offset), data.len());
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; nothing keeps a pointer into it.
        unsafe { libc::munmap(self.address, self.bytes) };
    }
}

fn ioctl(file: &File, request: u64, argument: u64) -> io::Result<i32> {
    // SAFETY: `argument` is a number, or the address of a structure of the layout that `request` encodes the size
    // of, alive during the call; all callers are in this module.
    match unsafe { libc::ioctl(file.as_raw_fd(), request, argument) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

fn address_of<T>(value: &mut T) -> u64 {
    std::ptr::from_mut(value).expose_provenance() as u64
}

fn created(number: i32) -> File {
    // SAFETY: the ioctl has just made this descriptor, so it has no other owner.
    unsafe { File::from_raw_fd(number) }
}

/// Runs the loop in ring 0 of a guest in long mode.
pub(crate) fn run_loop() -> io::Result<LoopEnd> {
    let kvm = OpenOptions::new().read(true).write(true).open("/dev/kvm")?;
    let machine = created(ioctl(&kvm, KVM_CREATE_VM, 0)?);
    // Needed by Intel processors, ignored by others.
    ioctl(&machine, KVM_SET_TSS_ADDR, 0xfffb_d000)?;
    let mut memory = Mapping::new(MEMORY_BYTES, None)?;
    memory.write(CODE, PROGRAM);
    // One 2 MiB page maps address 0 onwards to itself.
    let (pointers, directory) = (PAGE_TABLES + 0x1000, PAGE_TABLES + 0x2000);
    memory.write(PAGE_TABLES, &(pointers | 3).to_le_bytes());
    memory.write(pointers, &(directory | 3).to_le_bytes());
    memory.write(directory, &0x83u64.to_le_bytes());
    let mut region = MemoryRegion {
        slot: 0,
        flags: 0,
        guest_address: 0,
        bytes: MEMORY_BYTES as u64,
        host_address: memory.address.expose_provenance() as u64,
    };
    ioctl(&machine, KVM_SET_USER_MEMORY_REGION, address_of(&mut region))?;
    let processor = created(ioctl(&machine, KVM_CREATE_VCPU, 0)?);
    let run_bytes = usize::try_from(ioctl(&kvm, KVM_GET_VCPU_MMAP_SIZE, 0)?).unwrap_or(0);
    let run = Mapping::new(run_bytes, Some(processor.as_raw_fd()))?;

    let mut special = SpecialRegisters::default();
    ioctl(&processor, KVM_GET_SREGS, address_of(&mut special))?;
    enter_long_mode(&mut special);
    ioctl(&processor, KVM_SET_SREGS, address_of(&mut special))?;
    let mut registers = Registers { rcx: ROUNDS, rdi: DATA, rip: CODE, rflags: 2, ..Registers::default() };
    ioctl(&processor, KVM_SET_REGS, address_of(&mut registers))?;

    let start = Instant::now();
    ioctl(&processor, KVM_RUN, 0)?;
    let elapsed_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: `exit_reason` is the u32 at offset 8 of the run structure, which is larger than a page.
    let reason = unsafe { run.address.cast::<u32>().add(2).read_volatile() };
    Ok(if reason == KVM_EXIT_HLT { LoopEnd::Halted { elapsed_ns } } else { LoopEnd::Exit { reason } })
}

fn enter_long_mode(special: &mut SpecialRegisters) {
    let flat = Segment { limit: u32::MAX, present: 1, s: 1, g: 1, ..Segment::default() };
    let code = Segment { selector: 8, kind: 11, l: 1, ..flat };
    let data = Segment { selector: 16, kind: 3, db: 1, ..flat };
    let [cs, ds, es, fs, gs, ss, ..] = &mut special.segments;
    *cs = code;
    for segment in [ds, es, fs, gs, ss] {
        *segment = data;
    }
    special.cr3 = PAGE_TABLES;
    special.cr4 = 1 << 5; // PAE
    special.cr0 = 1 << 31 | 1; // PG, PE
    special.efer = 1 << 10 | 1 << 8; // LMA, LME
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_have_the_sizes_that_the_requests_encode() {
        let size = |request: u64| usize::try_from(request >> 16 & 0x3fff).unwrap();
        assert_eq!(size_of::<MemoryRegion>(), size(KVM_SET_USER_MEMORY_REGION));
        assert_eq!(size_of::<Registers>(), size(KVM_SET_REGS));
        assert_eq!(size_of::<SpecialRegisters>(), size(KVM_SET_SREGS));
    }
}
