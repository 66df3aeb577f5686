//! Landlock and the system call filter of the VMM.

use std::{collections::BTreeMap, io, path::PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, sock_filter,
};

use super::{child::PROGRAM_DESCRIPTOR, wire::Order};

/// Why landlock does not hold.
#[derive(Debug, thiserror::Error)]
pub(super) enum LandlockError {
    #[error("the kernel does not enforce it")]
    NotEnforced,
    #[error("{0}")]
    Rules(String),
}

impl From<RulesetError> for LandlockError {
    fn from(error: RulesetError) -> Self {
        Self::Rules(error.to_string())
    }
}

/// Denies every file but the order's, every TCP port, and signals and abstract sockets outside.
pub(super) fn restrict_files(order: &Order) -> Result<(), LandlockError> {
    let newest = ABI::V6;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(newest))?
        .handle_access(AccessNet::from_all(newest))?
        .scope(Scope::from_all(newest))?
        .create()?;
    let rules = allow(rules, &order.directories, AccessFs::ReadFile | AccessFs::ReadDir)?;
    let rules = allow(rules, &order.files, AccessFs::ReadFile.into())?;
    let rules = allow(rules, &order.executables, AccessFs::ReadFile | AccessFs::Execute)?;
    let rules = allow(rules, &order.devices, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev)?;
    // A memfd belongs to no file system and needs no rule (and takes none); an ordinary file does.
    let reopened: Vec<_> =
        order.reopened.iter().map(|number| PathBuf::from(format!("/proc/self/fd/{number}"))).collect();
    let rules = reopened.iter().try_fold(rules, |rules, path| match PathFd::new(path) {
        Ok(file) if !is_memfd(&file) => rules
            .add_rule(PathBeneath::new(file, AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate)),
        _ => Ok(rules),
    })?;
    match rules.restrict_self()? {
        RestrictionStatus { ruleset: RulesetStatus::NotEnforced, .. } => Err(LandlockError::NotEnforced),
        _ => Ok(()),
    }
}

fn is_memfd(file: &PathFd) -> bool {
    // A memfd is an unlinked file.
    rustix::fs::fstat(file).is_ok_and(|stat| stat.st_nlink == 0)
}

fn allow(
    rules: RulesetCreated,
    paths: &[PathBuf],
    access: landlock::BitFlags<AccessFs>,
) -> Result<RulesetCreated, LandlockError> {
    paths.iter().try_fold(rules, |rules, path| match PathFd::new(path) {
        Ok(file) => Ok(rules.add_rule(PathBeneath::new(file, access))?),
        Err(e) => Err(LandlockError::Rules(e.to_string())),
    })
}

/// Never needed by a VMM whose sockets and files are all open before it starts.
const DENIED: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_tkill,
    libc::SYS_kcmp,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_personality,
    libc::SYS_quotactl,
    libc::SYS_acct,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_fanotify_init,
    libc::SYS_shmget,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_msgget,
    libc::SYS_msgsnd,
    libc::SYS_msgrcv,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_semctl,
    // An image that others use too is its owner's to write as soon as its mode says so.
    libc::SYS_chmod,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_chown,
    libc::SYS_fchown,
    libc::SYS_lchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    libc::SYS_utimensat,
    libc::SYS_mq_open,
];

/// Commands of `fcntl`, by their numbers in Linux's `asm-generic/fcntl.h`.
const F_SETOWN: i32 = 8;
const F_SETSIG: i32 = 10;
const F_SETOWN_EX: i32 = 15;

/// Installs the filter; every later program of this process is bound by it.
pub(super) fn restrict_system_calls() -> io::Result<()> {
    for program in [denials(), absences()] {
        let program = program.map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    seccompiler::apply_filter(&other_numbers()).map_err(io::Error::other)
}

/// Denies the x32 interface, by whose numbers the same calls would pass the other filters.
fn other_numbers() -> [sock_filter; 4] {
    const X32_BIT: u32 = 0x4000_0000;
    // The classes and codes of a BPF program fit in 16 bits, as does an error number.
    let instruction =
        |code: u32, jt, jf, k| sock_filter { code: u16::try_from(code).unwrap_or(0), jt, jf, k };
    [
        // The call's number is the first field of what a filter sees.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 1, X32_BIT),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs()),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn denials() -> Result<BpfProgram, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let own_pid = u64::from(std::process::id());
    let when = |argument, operator, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    // Execution of the one descriptor that exists before the first exec and cannot exist after it.
    rules.insert(
        libc::SYS_execveat,
        vec![
            when(0, Ne, u64::from(PROGRAM_DESCRIPTOR.unsigned_abs()))?,
            when(4, Ne, u64::from(libc::AT_EMPTY_PATH.unsigned_abs()))?,
        ],
    );
    for call in [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_rt_sigqueueinfo, libc::SYS_rt_tgsigqueueinfo] {
        rules.insert(call, vec![when(0, Ne, own_pid)?]);
    }
    // Limits of its own it may lower, those of others not.
    rules.insert(
        libc::SYS_prlimit64,
        vec![SeccompRule::new(vec![
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, Ne, 0)?,
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, Ne, own_pid)?,
        ])?],
    );
    // Threads yes, processes and namespaces no.
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let mut clone = vec![when(0, MaskedEq(thread), 0)?];
    for namespace in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWPID, libc::CLONE_NEWNET] {
        let bit = u64::from(namespace.unsigned_abs());
        clone.push(when(0, MaskedEq(bit), bit)?);
    }
    rules.insert(libc::SYS_clone, clone);
    // A pair of datagram sockets could send to any socket's path; `SOCK_RAW` means the same here.
    let kind = |kind: i32| when(1, MaskedEq(0xf), u64::from(kind.unsigned_abs()));
    rules.insert(libc::SYS_socketpair, vec![kind(libc::SOCK_DGRAM)?, kind(libc::SOCK_RAW)?]);
    // Being told of a descriptor's events by a signal is a way to send one to somebody else.
    let command = |command: i32| when(1, Eq, u64::from(command.unsigned_abs()));
    rules.insert(libc::SYS_fcntl, vec![command(F_SETOWN)?, command(F_SETOWN_EX)?, command(F_SETSIG)?]);
    compile(rules, libc::EPERM)
}

/// Calls that look absent, so that the C library takes the older way that can be filtered.
fn absences() -> Result<BpfProgram, seccompiler::BackendError> {
    compile(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS)
}

fn compile(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: i32,
) -> Result<BpfProgram, seccompiler::BackendError> {
    let answer = SeccompAction::Errno(errno.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, answer, TargetArch::x86_64)?.try_into()
}
