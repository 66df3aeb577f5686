//! QEMU's command line as typed parts: one type for each switch, front end and back end apart.

use std::fmt::{self, Write};

use super::layer::lower_node_name;
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
    /// Layers below the active one, the lowest first.
    pub lower: Vec<(u32, DiskFormat)>,
    pub active: ActiveLayer,
    /// Guest memory and whether changes reach the file.
    pub memory: (u32, bool),
    /// Kernel and initramfs; a restored machine has both in its memory.
    pub kernel: Option<(u32, u32)>,
}

/// The layer that takes every write.
#[derive(Clone, Debug)]
pub(crate) struct ActiveLayer {
    /// Its name among QEMU's nodes.
    pub node: String,
    pub format: DiskFormat,
    /// Open for writing and reading; the number of the set of both, too.
    pub write: u32,
    /// Open for reading only: what QEMU changes to when another layer becomes active.
    pub read: u32,
}

/// What QEMU calls the host's end of the agent's port.
pub(crate) const AGENT_CHARDEV: &str = "agent";

/// What a descriptor of a layer is called: QEMU keeps it for us.
pub(crate) fn descriptor_label(node: &str, writable: bool) -> String {
    format!("{node} {}", if writable { "write" } else { "read" })
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
    // State that is written without memory has no section about the configuration, and what is restored must not wait for one.
    line.switch(&Plain("-global", "migration.send-configuration=off".into()));
    line.switch(&Accelerator(isolation));
    line.switch(&Processor(isolation));
    line.switch(&Plain("-smp", shape.vcpus.to_string()));
    line.switch(&Plain("-m", format!("{}M", shape.mem_mib)));
    let (memory, shared) = descriptors.memory;
    line.switch(&Memory { size_mib: shape.mem_mib, descriptor: memory, shared });
    if let Some((kernel, initramfs)) = descriptors.kernel {
        line.switch(&Plain("-kernel", own_descriptor(kernel)));
        line.switch(&Plain("-initrd", own_descriptor(initramfs)));
        line.switch(&Plain("-append", kernel_arguments.to_string()));
        // It runs when somebody hears what becomes of it: a guest may be over in a moment.
        line.0.push("-S".into());
    } else {
        line.switch(&Plain("-incoming", "defer".into()));
    }
    line.switch(&ListeningSocket { id: "control", descriptor: descriptors.control });
    line.switch(&Plain("-mon", "chardev=control,mode=control".into()));
    line.switch(&ListeningSocket { id: "console", descriptor: descriptors.console });
    line.switch(&Plain("-serial", "chardev:console".into()));
    line.switch(&ListeningSocket { id: AGENT_CHARDEV, descriptor: descriptors.agent });
    line.switch(&Plain("-device", "virtio-serial-device".into()));
    line.switch(&Plain("-device", format!("virtserialport,chardev={AGENT_CHARDEV},name=pyro.agent")));
    let root = layer(&mut line, "root", descriptors.root, DiskFormat::Raw, None);
    line.switch(&Plain("-device", format!("virtio-blk-device,drive={root}")));
    disk(&mut line, &descriptors.lower, &descriptors.active);
    if let Some(descriptor) = descriptors.nic {
        line.switch(&StreamNetwork { descriptor });
        line.switch(&Plain("-device", "virtio-net-device,netdev=nic,mac=02:00:00:00:00:01".into()));
    }
    line.0
}

/// A layer that is only read; its name.
fn layer(
    line: &mut CommandLine,
    node: &str,
    descriptor: u32,
    format: DiskFormat,
    backing: Option<String>,
) -> String {
    line.switch(&AddDescriptor { descriptor, set: descriptor, label: descriptor_label(node, false) });
    line.switch(&FileNode { node, set: descriptor, writable: false });
    line.switch(&FormatNode { node, format, writable: false, backing });
    node.to_owned()
}

/// A chain of layers, each of descriptors that QEMU never opens again, and the drive on top.
fn disk(line: &mut CommandLine, lower: &[(u32, DiskFormat)], active: &ActiveLayer) {
    let mut backing = None;
    for (level, (descriptor, format)) in lower.iter().enumerate() {
        backing = Some(layer(line, &lower_node_name(level), *descriptor, *format, backing));
    }
    let ActiveLayer { node, format, write, read } = active;
    for (descriptor, writable) in [(*write, true), (*read, false)] {
        let label = descriptor_label(node, writable);
        line.switch(&AddDescriptor { descriptor, set: *write, label });
    }
    line.switch(&FileNode { node, set: *write, writable: true });
    line.switch(&FormatNode { node, format: *format, writable: true, backing });
    // A write that the host fails is kept, and the machine stands still until it is resumed: not only for want of
    // space, since a quota that is used up has another name.
    let device = format!("virtio-blk-device,drive={node},werror=stop,rerror=report");
    line.switch(&Plain("-device", device));
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

/// The machine without legacy. With its clock: without it a kernel waits 2 s for one. Without a description of its state for people,
/// which is not in what is written without memory either.
struct MachineType;

impl Switch for MachineType {
    fn name(&self) -> &'static str {
        "-machine"
    }
    fn value(&self) -> String {
        "microvm,rtc=on,acpi=on,memory-backend=memory,suppress-vmdesc=on".into()
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

/// Guest memory: a file by its descriptor.
struct Memory {
    size_mib: u32,
    descriptor: u32,
    shared: bool,
}

impl Switch for Memory {
    fn name(&self) -> &'static str {
        "-object"
    }
    fn value(&self) -> String {
        format!(
            "memory-backend-file,id=memory,size={}M,mem-path={},share={}",
            self.size_mib,
            own_descriptor(self.descriptor),
            on_off(self.shared)
        )
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

/// Makes a descriptor one of those known as `/dev/fdset/N`.
struct AddDescriptor {
    descriptor: u32,
    set: u32,
    label: String,
}

impl Switch for AddDescriptor {
    fn name(&self) -> &'static str {
        "-add-fd"
    }
    fn value(&self) -> String {
        format!("fd={},set={},opaque={}", self.descriptor, self.set, self.label)
    }
}

/// The bytes of an image. A writable one is only open for writing while something is above that writes. QEMU's locks are left out: in
/// its jail it finds no `/dev/null` to try them on, and takes to a kind that is lost unexpectedly. The engine's own on the active layer
/// comes with its descriptor, and lower layers are shared.
struct FileNode<'a> {
    node: &'a str,
    set: u32,
    writable: bool,
}

impl Switch for FileNode<'_> {
    fn name(&self) -> &'static str {
        "-blockdev"
    }
    fn value(&self) -> String {
        format!(
            "driver=file,node-name={}-file,filename=/dev/fdset/{},read-only={},auto-read-only={},locking=off,discard=unmap",
            self.node,
            self.set,
            on_off(!self.writable),
            on_off(self.writable)
        )
    }
}

/// The meaning of the bytes of an image. What lies below is stated, also when it is nothing.
struct FormatNode<'a> {
    node: &'a str,
    format: DiskFormat,
    writable: bool,
    backing: Option<String>,
}

impl Switch for FormatNode<'_> {
    fn name(&self) -> &'static str {
        "-blockdev"
    }
    fn value(&self) -> String {
        let driver = match self.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        };
        let (node, read_only) = (self.node, !self.writable);
        let mut value = format!(
            "{{\"driver\":\"{driver}\",\"node-name\":\"{node}\",\"file\":\"{node}-file\",\"read-only\":{read_only},\"discard\":\"unmap\""
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
            lower: Vec::new(),
            active: ActiveLayer { node: "layer-2a".into(), format: DiskFormat::Raw, write: 14, read: 15 },
            memory: (16, false),
            kernel: None,
        };
        change(&mut descriptors);
        let shape = MachineShape { vcpus: 2, mem_mib: 512, nic: Nic::None };
        let arguments =
            KernelArguments { timestamp_khz: Some(2_445_000), more: vec!["pyro.rootfs=erofs".into()] };
        command_line(shape, isolation, &[], &descriptors, &arguments).join(" ")
    }

    #[test]
    fn memory_is_private_to_a_restored_machine_and_the_file_itself_of_a_booted_one() {
        let restored = line(Isolation::Emulated, |_| {});
        assert!(
            restored.contains(
                "-object memory-backend-file,id=memory,size=512M,mem-path=/proc/self/fd/16,share=off"
            )
        );
        let booted = line(Isolation::Emulated, |d| d.memory = (16, true));
        assert!(booted.contains("mem-path=/proc/self/fd/16,share=on"));
    }

    #[test]
    fn state_with_memory_and_without_fits_every_machine() {
        for kernel in [None, Some((17, 18))] {
            let text = line(Isolation::Emulated, |d| d.kernel = kernel);
            assert!(text.contains(",suppress-vmdesc=on -global migration.send-configuration=off"));
        }
    }

    #[test]
    fn a_restored_machine_has_no_kernel_and_a_booted_one_waits_to_be_heard() {
        let restored = line(Isolation::Emulated, |_| {});
        assert!(restored.contains("-incoming defer") && !restored.contains("-kernel"));
        let booted = line(Isolation::Emulated, |d| d.kernel = Some((17, 18)));
        assert!(booted.contains("-kernel /proc/self/fd/17 -initrd /proc/self/fd/18 -append quiet"));
        assert!(booted.contains(" -S "));
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
        let text = line(Isolation::Emulated, |d| {
            d.lower = vec![(20, DiskFormat::Raw), (21, DiskFormat::Qcow2)];
            d.active.format = DiskFormat::Qcow2;
        });
        for part in [
            "-add-fd fd=13,set=13,opaque=root read -blockdev driver=file,node-name=root-file,filename=/dev/fdset/13,read-only=on,auto-read-only=off",
            "-add-fd fd=20,set=20,opaque=disk-0 read -blockdev driver=file,node-name=disk-0-file,filename=/dev/fdset/20,read-only=on,auto-read-only=off",
            "\"node-name\":\"disk-1\",\"file\":\"disk-1-file\",\"read-only\":true,\"discard\":\"unmap\",\"backing\":\"disk-0\"",
            "-add-fd fd=14,set=14,opaque=layer-2a write -add-fd fd=15,set=14,opaque=layer-2a read",
            "node-name=layer-2a-file,filename=/dev/fdset/14,read-only=off,auto-read-only=on",
            "\"node-name\":\"layer-2a\",\"file\":\"layer-2a-file\",\"read-only\":false,\"discard\":\"unmap\",\"backing\":\"disk-1\"",
            "drive=root -add-fd",
            "drive=layer-2a,werror=stop",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        let lone = line(Isolation::Emulated, |d| d.active.format = DiskFormat::Qcow2);
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
