//! The launcher's side: from a fresh process with a socket on standard input to a confined VMM.

use std::{
    ffi::CString,
    fmt, fs, io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{
        PTracer, Pid, PidfdFlags, Resource, Rlimit, getgid, getuid, pidfd_open, set_ptracer, setrlimit,
        setsid,
    },
    thread::{
        CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
    },
};

use super::{
    Confinement, Layer, descriptors, filter, private_root,
    system::{self, Fork},
    wire::{self, Notice, Order},
};

/// The program's descriptor gets this number, and the limit on descriptors is this too: once exec has closed it, no
/// descriptor can ever have that number again, and the system call filter allows execution of no other.
pub(super) const PROGRAM_DESCRIPTOR: i32 = 512;

/// A step that failed, so that nothing may be run.
struct Failure {
    step: String,
    source: io::Error,
}

fn step<E: Into<io::Error>>(step: impl fmt::Display) -> impl FnOnce(E) -> Failure {
    move |source| Failure { step: step.to_string(), source: source.into() }
}

/// Runs the launcher; returns its exit code.
pub(super) fn launch() -> i32 {
    // The socket leaves number 0, which the VMM gets as /dev/null.
    let Ok(socket) = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3) else { return 2 };
    match receive_and_fork(&socket) {
        Ok(()) => 0,
        Err(failure) => {
            let notice =
                Notice::Failed { step: failure.step, errno: failure.source.raw_os_error().unwrap_or(0) };
            // If the engine is gone too, nobody is left to be told.
            i32::from(wire::send(&socket, &notice, &[]).is_ok()) + 1
        }
    }
}

fn receive_and_fork(socket: &OwnedFd) -> Result<(), Failure> {
    let Some((order, received)) = wire::receive::<Order>(socket).map_err(step("receive the order"))? else {
        return Ok(());
    };
    let mut confinement = Confinement::default();
    enter_namespaces(&order, &mut confinement)?;
    match system::fork().map_err(step("fork"))? {
        Fork::Parent { child } => {
            let pid = i32::try_from(child).ok().and_then(Pid::from_raw);
            let pid = pid.ok_or(io::ErrorKind::InvalidData).map_err(step("fork"))?;
            // The child cannot have been reaped, since only this process could.
            let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(step("hold the child"))?;
            wire::send(socket, &Notice::Started { pid: child }, &[std::os::fd::AsFd::as_fd(&pidfd)])
                .map_err(step("report the child"))
        }
        Fork::Child => confine_and_run(socket, order, received, confinement),
    }
}

/// Each namespace by itself, so that a host that forbids one still grants the others.
fn enter_namespaces(order: &Order, confinement: &mut Confinement) -> Result<(), Failure> {
    if !getuid().is_root() {
        let (uid, gid) = (getuid().as_raw(), getgid().as_raw());
        let entered = system::unshare(UnshareFlags::NEWUSER)
            .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
            .and_then(|()| fs::write("/proc/self/uid_map", format!("{uid} {uid} 1")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("{gid} {gid} 1")));
        confinement.note(Layer::UserNamespace, entered);
    } else if order.user.is_none() {
        return Err(step("choose an unprivileged user")(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    for (layer, flag) in [
        (Layer::MountNamespace, UnshareFlags::NEWNS),
        (Layer::PidNamespace, UnshareFlags::NEWPID),
        (Layer::NetworkNamespace, UnshareFlags::NEWNET),
        (Layer::IpcNamespace, UnshareFlags::NEWIPC),
        (Layer::UtsNamespace, UnshareFlags::NEWUTS),
        (Layer::CgroupNamespace, UnshareFlags::NEWCGROUP),
    ] {
        confinement.note(layer, system::unshare(flag));
    }
    Ok(())
}

fn confine_and_run(
    socket: &OwnedFd,
    order: Order,
    received: Vec<OwnedFd>,
    mut confinement: Confinement,
) -> Result<(), Failure> {
    // Already a session leader is fine.
    setsid()
        .map(drop)
        .or_else(|e| if e == rustix::io::Errno::PERM { Ok(()) } else { Err(e) })
        .map_err(step("detach"))?;
    descriptors::arrange(received).map_err(step("arrange descriptors"))?;
    if confinement.has(Layer::MountNamespace) {
        confinement.note(Layer::PrivateRoot, private_root::enter(&order));
    } else {
        confinement.note(Layer::PrivateRoot, Err("it needs a mount namespace"));
    }
    let program = order.program.as_ref().map(|program| {
        let opened = rustix::fs::open(program, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        opened
            .map_err(io::Error::from)
            .and_then(|file| system::duplicate_above(std::os::fd::AsFd::as_fd(&file), PROGRAM_DESCRIPTOR))
            .map_err(step(format_args!("open {}", program.display())))
    });
    let program = program.transpose()?;
    limit_resources(&order).map_err(step("limit resources"))?;
    confinement.note(Layer::ResourceLimits, Ok::<(), io::Error>(()));
    if getuid().is_root() {
        become_user(&order).map_err(step("become an unprivileged user"))?;
        confinement.note(Layer::OwnUser, Ok::<(), io::Error>(()));
    }
    if !confinement.has(Layer::UserNamespace) {
        // Its memory is read by a process that is not its ancestor, which Yama would refuse. Without Yama there is nothing to allow.
        let _without_yama = set_ptracer(PTracer::Any);
    }
    drop_privileges().map_err(step("drop privileges"))?;
    confinement.note(Layer::NoPrivileges, Ok::<(), io::Error>(()));
    confinement.note(Layer::Landlock, filter::restrict_files(&order));
    filter::restrict_system_calls().map_err(step("restrict system calls"))?;
    confinement.note(Layer::SystemCallFilter, Ok::<(), io::Error>(()));

    let arguments = std::iter::once(
        order.program.iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>().concat(),
    )
    .chain(order.arguments.into_iter().map(String::into_bytes))
    .map(CString::new)
    .collect::<Result<Vec<_>, _>>()
    .map_err(step("take the arguments"))?;
    wire::send(socket, &Notice::Confined(confinement), &[]).map_err(step("report the confinement"))?;
    let Some(_program) = program else { return Ok(()) };
    // The end of the socket means that the engine died before it wrote its record: run nothing.
    let Some(((), _)) = wire::receive::<()>(socket).map_err(step("wait for the engine"))? else {
        return Ok(());
    };
    Err(step("execute the program")(system::execute(PROGRAM_DESCRIPTOR, &arguments)))
}

fn limit_resources(order: &Order) -> rustix::io::Result<()> {
    let limit = |resource, value: u64| {
        let most = rustix::process::getrlimit(resource).maximum.map_or(value, |maximum| maximum.min(value));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
    };
    limit(Resource::As, order.limits.address_space_bytes)?;
    limit(Resource::Fsize, order.limits.file_size_bytes)?;
    limit(Resource::Nofile, u64::from(PROGRAM_DESCRIPTOR.unsigned_abs()))?;
    limit(Resource::Core, 0)?;
    if order.user.is_some() {
        // For an ordinary user this limit would count the person's own processes too.
        limit(Resource::Nproc, order.limits.tasks)?;
    }
    Ok(())
}

fn become_user(order: &Order) -> rustix::io::Result<()> {
    let (uid, gid) = order.user.ok_or(rustix::io::Errno::INVAL)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if uid.is_root() {
        return Err(rustix::io::Errno::INVAL);
    }
    for capability in CapabilitySet::all() {
        // The kernel may know fewer than we do.
        match remove_capability_from_bounding_set(capability) {
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(e),
        }
    }
    let groups: Vec<_> = order.groups.iter().map(|group| Gid::from_raw(*group)).collect();
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)
}

fn drop_privileges() -> rustix::io::Result<()> {
    set_no_new_privs(true)?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}
