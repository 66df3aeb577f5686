//! QEMU's command line as typed parts: one type for each switch, front end and back end apart.

use std::fmt::{self, Write};

use crate::{DiskFormat, Isolation, MachineShape};

/// Bytes of QEMU's translation buffer. Left alone it grows to 1 GiB; from 32 to 128 MiB no difference could be measured
/// in restoring and booting, and a guest's working set of code fits.
pub(crate) const TRANSLATION_BUFFER_MIB: u64 = 128;

/// The descriptors of a machine, by their numbers in the VMM.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors {
    pub agent: u32,
    pub control: u32,
    pub console: u32,
    pub nic: Option<u32>,
    pub root: u32,
    /// Lowest layer first, the active one last.
    pub disk: Vec<(u32, DiskFormat)>,
    /// Guest memory and whether changes reach the file.
    pub memory: Option<(u32, bool)>,
    /// Kernel and initramfs; a restored machine has both in its memory.
    pub kernel: Option<(u32, u32)>,
}

/// One switch with its value.
pub(crate) trait Switch {
    fn name(&self) -> &'static str;
    fn value(&self) -> String;
}

/// A command line in the making.
#[derive(Default)]
pub(crate) struct CommandLine(Vec<String>);

impl CommandLine {
    fn flag(&mut self, flag: &str) {
        self.0.push(flag.to_owned());
    }

    fn switch(&mut self, switch: &impl Switch) {
        self.0.push(switch.name().to_owned());
        self.0.push(switch.value());
    }
}

/// Everything QEMU is told.
pub(crate) fn command_line(
    shape: MachineShape,
    isolation: Isolation,
    firmware: &[std::path::PathBuf],
    descriptors: &Descriptors,
    kernel_arguments: &KernelArguments,
) -> Vec<String> {
    let mut line = CommandLine::default();
    for flag in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        line.flag(flag);
    }
    line.switch(&Plain("-display", "none".into()));
    line.switch(&Plain("-name", "pyro".into()));
    for directory in firmware {
        line.switch(&Plain("-L", directory.display().to_string()));
    }
    line.switch(&Sandbox);
    line.switch(&MachineType);
    line.switch(&Accelerator(isolation));
    line.switch(&Processor(isolation));
    line.switch(&Plain("-smp", shape.vcpus.to_string()));
    line.switch(&Plain("-m", format!("{}M", shape.mem_mib)));
    line.switch(&Memory { size_mib: shape.mem_mib, file: descriptors.memory });
    if let Some((kernel, initramfs)) = descriptors.kernel {
        line.switch(&Plain("-kernel", own_descriptor(kernel)));
        line.switch(&Plain("-initrd", own_descriptor(initramfs)));
        line.switch(&Plain("-append", kernel_arguments.to_string()));
    } else {
        line.switch(&Plain("-incoming", "defer".into()));
    }
    line.switch(&ListeningSocket { id: "control", descriptor: descriptors.control });
    line.switch(&Plain("-mon", "chardev=control,mode=control".into()));
    line.switch(&ListeningSocket { id: "console", descriptor: descriptors.console });
    line.switch(&Plain("-serial", "chardev:console".into()));
    line.switch(&ListeningSocket { id: "agent", descriptor: descriptors.agent });
    line.switch(&Plain("-device", "virtio-serial-device".into()));
    line.switch(&Plain("-device", "virtserialport,chardev=agent,name=pyro.agent".into()));
    disk(&mut line, "root", &[(descriptors.root, DiskFormat::Raw)], false);
    disk(&mut line, "disk", &descriptors.disk, true);
    if let Some(descriptor) = descriptors.nic {
        line.switch(&StreamNetwork { descriptor });
        line.switch(&Plain("-device", "virtio-net-device,netdev=nic,mac=02:00:00:00:00:01".into()));
    }
    line.0
}

/// A chain of layers, each a descriptor that QEMU never opens again, and the drive on top.
fn disk(line: &mut CommandLine, name: &str, layers: &[(u32, DiskFormat)], writable: bool) {
    let mut below = None;
    for (level, (descriptor, format)) in layers.iter().enumerate() {
        let top = level + 1 == layers.len();
        let node = if top { name.to_owned() } else { format!("{name}-{level}") };
        let writable = writable && top;
        line.switch(&AddDescriptor { descriptor: *descriptor });
        line.switch(&FileNode { name: format!("{node}-file"), descriptor: *descriptor, writable });
        line.switch(&FormatNode {
            file: format!("{node}-file"),
            format: *format,
            writable,
            backing: below,
            name: node.clone(),
        });
        below = Some(node);
    }
    // A write that the host fails is kept, and the machine stands still until it is resumed: not only for want of
    // space, since a quota that is used up has another name.
    let on_error = if writable { ",werror=stop,rerror=report" } else { "" };
    line.switch(&Plain("-device", format!("virtio-blk-device,drive={name}{on_error}")));
}

fn own_descriptor(number: u32) -> String {
    format!("/proc/self/fd/{number}")
}

/// A switch whose value has no parts worth a type.
struct Plain(&'static str, String);

impl Switch for Plain {
    fn name(&self) -> &'static str {
        self.0
    }
    fn value(&self) -> String {
        self.1.clone()
    }
}

/// QEMU's own system call filter, on top of ours.
struct Sandbox;

impl Switch for Sandbox {
    fn name(&self) -> &'static str {
        "-sandbox"
    }
    fn value(&self) -> String {
        "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny".into()
    }
}

/// The machine without legacy. With its clock: without it a kernel waits 2 s for one.
struct MachineType;

impl Switch for MachineType {
    fn name(&self) -> &'static str {
        "-machine"
    }
    fn value(&self) -> String {
        "microvm,rtc=on,acpi=on,memory-backend=memory".into()
    }
}

struct Accelerator(Isolation);

impl Switch for Accelerator {
    fn name(&self) -> &'static str {
        "-accel"
    }
    fn value(&self) -> String {
        match self.0 {
            Isolation::Kvm => "kvm".into(),
            Isolation::Emulated => format!("tcg,tb-size={TRANSLATION_BUFFER_MIB}"),
        }
    }
}

/// All that the emulator can do, but for what makes guests slower when it is emulated: a fifth level of page tables,
/// guards around each access to a program's memory, and string instructions that the C library takes for fast ones. A
/// command took a fifth less processor time without them.
const EMULATED_CPU: &str = "max,-la57,-smap,-smep,-erms,-fsrm";

struct Processor(Isolation);

impl Switch for Processor {
    fn name(&self) -> &'static str {
        "-cpu"
    }
    fn value(&self) -> String {
        match self.0 {
            Isolation::Kvm => "host".into(),
            Isolation::Emulated => EMULATED_CPU.into(),
        }
    }
}

/// Guest memory: a file by its descriptor, or anonymous.
struct Memory {
    size_mib: u32,
    file: Option<(u32, bool)>,
}

impl Switch for Memory {
    fn name(&self) -> &'static str {
        "-object"
    }
    fn value(&self) -> String {
        let size = self.size_mib;
        match self.file {
            None => format!("memory-backend-ram,id=memory,size={size}M"),
            Some((descriptor, shared)) => format!(
                "memory-backend-file,id=memory,size={size}M,mem-path={},share={}",
                own_descriptor(descriptor),
                on_off(shared)
            ),
        }
    }
}

/// A character device on a socket that listens already.
struct ListeningSocket {
    id: &'static str,
    descriptor: u32,
}

impl Switch for ListeningSocket {
    fn name(&self) -> &'static str {
        "-chardev"
    }
    fn value(&self) -> String {
        format!("socket,id={},fd={},server=on,wait=off", self.id, self.descriptor)
    }
}

/// Frames of the network card on a socket that listens already.
struct StreamNetwork {
    descriptor: u32,
}

impl Switch for StreamNetwork {
    fn name(&self) -> &'static str {
        "-netdev"
    }
    fn value(&self) -> String {
        format!("stream,id=nic,server=on,addr.type=fd,addr.str={}", self.descriptor)
    }
}

/// Makes a descriptor known as `/dev/fdset/N`.
struct AddDescriptor {
    descriptor: u32,
}

impl Switch for AddDescriptor {
    fn name(&self) -> &'static str {
        "-add-fd"
    }
    fn value(&self) -> String {
        format!("fd={0},set={0}", self.descriptor)
    }
}

/// The bytes of an image. QEMU's locks are left out: in its jail it finds no `/dev/null` to try them on, and takes to a kind
/// that is lost unexpectedly. The engine's own on the active layer comes with its descriptor, and lower layers are shared.
struct FileNode {
    name: String,
    descriptor: u32,
    writable: bool,
}

impl Switch for FileNode {
    fn name(&self) -> &'static str {
        "-blockdev"
    }
    fn value(&self) -> String {
        format!(
            "driver=file,node-name={},filename=/dev/fdset/{},read-only={},auto-read-only=off,locking=off,discard=unmap",
            self.name,
            self.descriptor,
            on_off(!self.writable)
        )
    }
}

/// The meaning of the bytes of an image. What lies below is stated, also when it is nothing.
struct FormatNode {
    name: String,
    file: String,
    format: DiskFormat,
    writable: bool,
    backing: Option<String>,
}

impl Switch for FormatNode {
    fn name(&self) -> &'static str {
        "-blockdev"
    }
    fn value(&self) -> String {
        let driver = match self.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        let mut value = format!(
            "{{\"driver\":\"{driver}\",\"node-name\":\"{}\",\"file\":\"{}\",\"read-only\":{},\"discard\":\"unmap\"",
            self.name, self.file, !self.writable
        );
        if self.format == DiskFormat::Qcow2 {
            let backing = self.backing.as_ref().map_or_else(|| "null".into(), |node| format!("\"{node}\""));
            // Writing to a String does not fail.
            let _ = write!(value, ",\"backing\":{backing}");
        }
        value.push('}');
        value
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// What the kernel is told.
#[derive(Clone, Debug)]
pub(crate) struct KernelArguments {
    /// The rate of the host's timestamp counter, which an emulated guest sees as its own: on a busy host a kernel
    /// fails to find it out by itself and hangs. `None` under KVM, which tells it.
    pub timestamp_khz: Option<u64>,
    /// The environment's.
    pub more: Vec<String>,
}

impl fmt::Display for KernelArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A panic resets the machine by a triple fault, which QEMU takes as its end; the other ways hang on microvm.
        f.write_str(
            "quiet panic=-1 reboot=t no_timer_check cryptomgr.notests init_on_alloc=0 random.trust_cpu=on",
        )?;
        if let Some(khz) = self.timestamp_khz {
            // A guest that doubts its clock falls back to one that ticks every 4 ms; an emulated one's is the host's own.
            write!(f, " tsc=reliable tsc_early_khz={khz}")?;
        }
        self.more.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nic;

    fn line(isolation: Isolation, change: impl FnOnce(&mut Descriptors)) -> String {
        let mut descriptors = Descriptors {
            agent: 10,
            control: 11,
            console: 12,
            nic: None,
            root: 13,
            disk: vec![(14, DiskFormat::Raw)],
            memory: Some((15, false)),
            kernel: None,
        };
        change(&mut descriptors);
        let shape = MachineShape { vcpus: 2, mem_mib: 512, nic: Nic::None };
        let arguments =
            KernelArguments { timestamp_khz: Some(2_445_000), more: vec!["pyro.rootfs=erofs".into()] };
        command_line(shape, isolation, &[], &descriptors, &arguments).join(" ")
    }

    #[test]
    fn memory_is_private_to_a_restored_machine_and_shared_by_a_template() {
        let restored = line(Isolation::Emulated, |_| {});
        assert!(
            restored.contains(
                "-object memory-backend-file,id=memory,size=512M,mem-path=/proc/self/fd/15,share=off"
            )
        );
        let template = line(Isolation::Emulated, |d| d.memory = Some((15, true)));
        assert!(template.contains("mem-path=/proc/self/fd/15,share=on"));
        assert!(
            line(Isolation::Emulated, |d| d.memory = None).contains("memory-backend-ram,id=memory,size=512M")
        );
    }

    #[test]
    fn a_restored_machine_has_no_kernel_and_a_booted_one_waits_for_nothing() {
        let restored = line(Isolation::Emulated, |_| {});
        assert!(restored.contains("-incoming defer") && !restored.contains("-kernel"));
        let booted = line(Isolation::Emulated, |d| d.kernel = Some((16, 17)));
        assert!(booted.contains("-kernel /proc/self/fd/16 -initrd /proc/self/fd/17 -append quiet"));
        assert!(
            booted.contains("tsc=reliable tsc_early_khz=2445000 pyro.rootfs=erofs")
                && !booted.contains("-incoming")
        );
    }

    #[test]
    fn acceleration_is_explicit() {
        assert!(line(Isolation::Emulated, |_| {}).contains("-accel tcg,tb-size=128 -cpu max,-la57"));
        assert!(line(Isolation::Kvm, |_| {}).contains("-accel kvm -cpu host"));
    }

    #[test]
    fn only_the_active_layer_is_writable_and_every_backing_is_stated() {
        let text =
            line(Isolation::Emulated, |d| d.disk = vec![(14, DiskFormat::Raw), (15, DiskFormat::Qcow2)]);
        assert!(text.contains("-add-fd fd=14,set=14 -blockdev driver=file,node-name=disk-0-file,filename=/dev/fdset/14,read-only=on"));
        assert!(text.contains("node-name=disk-file,filename=/dev/fdset/15,read-only=off"));
        assert!(text.contains("\"node-name\":\"disk\",\"file\":\"disk-file\",\"read-only\":false,\"discard\":\"unmap\",\"backing\":\"disk-0\""));
        assert!(text.contains("drive=disk,werror=stop") && !text.contains("drive=root,werror"));
        let lone = line(Isolation::Emulated, |d| d.disk = vec![(15, DiskFormat::Qcow2)]);
        assert!(lone.contains("\"backing\":null"));
    }

    #[test]
    fn a_network_card_is_there_only_when_asked_for() {
        assert!(!line(Isolation::Emulated, |_| {}).contains("net"));
        let text = line(Isolation::Emulated, |d| d.nic = Some(20));
        assert!(text.contains(
            "-netdev stream,id=nic,server=on,addr.type=fd,addr.str=20 -device virtio-net-device,netdev=nic"
        ));
    }
}
