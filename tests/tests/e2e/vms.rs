//! One-shot machines in single steps. These operations have no command line, so they are asked as a program asks them:
//! by the client of the public contract.

use std::time::{Duration, Instant};

use pyro_api::{
    Call, Client, ClientError, ErrorCode, Output, SocketPath,
    operation::{CreateVm, DeleteVm, ExecInVm, GetVmNetworkInfo, GetVmStatus, ReapVms, StartVm, StopVm},
    run::{CommandLine, RunReport},
    vm::{
        Vm, VmCreateRequest, VmDeleteRequest, VmExecRequest, VmNetworkInfoRequest, VmReapRequest,
        VmStartRequest, VmStatusRequest, VmStopRequest,
    },
    workspace::view::WorkspaceState,
};
use pyro_e2e::{ENVIRONMENT, Home};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

/// A program that talks with a home's daemon.
struct Caller {
    client: Client,
    runtime: Runtime,
}

impl Caller {
    /// This client starts no daemon; a command does.
    fn of(home: &Home) -> Self {
        home.pyro(["workspace", "list"]).output().succeeds();
        Self {
            client: Client::new(SocketPath::new(home.runtime_directory(), "daemon.sock")),
            runtime: Builder::new_current_thread().enable_all().build().unwrap(),
        }
    }

    fn try_ask<C: Call>(&self, request: &C::Request) -> Result<C::Result, ErrorCode> {
        self.runtime.block_on(self.client.call::<C>(request)).map_err(code)
    }

    #[track_caller]
    fn ask<C: Call>(&self, request: &C::Request) -> C::Result {
        self.try_ask::<C>(request).unwrap_or_else(|code| panic!("{}: {code}", C::OPERATION.name))
    }

    #[track_caller]
    fn refusal<C: Call>(&self, request: &C::Request) -> ErrorCode {
        self.try_ask::<C>(request).err().unwrap_or_else(|| panic!("{} was not refused", C::OPERATION.name))
    }

    /// Makes a machine.
    #[track_caller]
    fn create(&self, ttl_seconds: u64) -> Vm {
        let request =
            json!({"environment": ENVIRONMENT, "ttl_seconds": ttl_seconds, "allow_host_compat": true});
        self.ask::<CreateVm>(&serde_json::from_value::<VmCreateRequest>(request).unwrap())
    }

    fn status(&self, vm: &Vm) -> Result<Vm, ErrorCode> {
        self.try_ask::<GetVmStatus>(&VmStatusRequest { vm_id: vm.vm_id.clone() })
    }

    /// Runs a shell line; what it printed, and how it ended.
    fn exec(&self, vm: &Vm, line: &str) -> Result<(Vec<u8>, Vec<u8>, RunReport), ErrorCode> {
        let request = VmExecRequest {
            vm_id: vm.vm_id.clone(),
            command: CommandLine::Shell(line.into()),
            timeout_seconds: 60,
        };
        self.runtime.block_on(async {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            let mut exchange = self.client.stream::<ExecInVm>(&request).await.map_err(code)?;
            loop {
                match exchange.next().await.map_err(code)? {
                    Output::Stdout(bytes) => stdout.extend(bytes),
                    Output::Stderr(bytes) => stderr.extend(bytes),
                    Output::Event(_) => {}
                    Output::Result(report) => return Ok((stdout, stderr, report)),
                }
            }
        })
    }
}

fn code(error: ClientError) -> ErrorCode {
    pyro_api::ErrorBody::from(error).code
}

#[test]
fn a_machine_runs_one_command_and_is_gone() {
    let home = Home::warm();
    let caller = Caller::of(&home);
    let made = caller.create(600);
    assert_eq!((made.state, made.execution_mode.as_str()), (WorkspaceState::Started, "guest_vsock"));
    assert!(made.allow_host_compat, "it is told as it was asked");
    assert!(made.vm_id.len() == 12 && made.vm_id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{made:?}");
    let life = made.expires_at.unwrap() - made.created_at;
    assert!((599.0..700.0).contains(&life), "{made:?}");
    let now = caller.status(&made).unwrap();
    assert_eq!((&now.vm_id, now.state, now.created_at), (&made.vm_id, made.state, made.created_at));
    let network = caller.ask::<GetVmNetworkInfo>(&VmNetworkInfoRequest { vm_id: made.vm_id.clone() });
    assert!(!network.network_enabled && !network.outbound_connectivity_expected && network.reason.is_some());
    // It is no workspace: neither listed nor found as one.
    let listed = home.pyro(["workspace", "list", "--json"]).output().succeeds().json();
    assert_eq!(listed["count"], 0, "{listed}");
    home.pyro(["workspace", "status", &made.vm_id, "--json"]).output().fails_with("unknown_workspace");

    let (stdout, stderr, report) = caller.exec(&made, "echo out; echo err >&2; exit 3").unwrap();
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (b"out\n".as_slice(), b"err\n".as_slice()));
    assert_eq!((report.exit_code, report.stdout_bytes, report.stderr_bytes), (3, 4, 4));
    assert!(report.cleanup.deleted && report.cleanup.reason == "post_exec_cleanup", "{report:?}");
    assert_eq!((&report.vm_id, report.start.as_str()), (&made.vm_id, "restored"));
    assert_eq!(caller.status(&made).unwrap_err(), ErrorCode::UnknownVm);
    assert_eq!(caller.exec(&made, "true").unwrap_err(), ErrorCode::UnknownVm);
    home.wait_until_nothing_is_left();
}

#[test]
fn a_machine_can_be_stopped_and_started_and_time_deletes_it() {
    let home = Home::warm();
    let caller = Caller::of(&home);
    let lasts = caller.create(600);
    let vm_id = || lasts.vm_id.clone();
    assert_eq!(caller.ask::<StopVm>(&VmStopRequest { vm_id: vm_id() }).state, WorkspaceState::Stopped);
    assert_eq!(caller.exec(&lasts, "true").unwrap_err(), ErrorCode::WrongState);
    assert_eq!(caller.ask::<StartVm>(&VmStartRequest { vm_id: vm_id() }).state, WorkspaceState::Started);
    // Nobody asks for what time does; of a stopped one it is the daemon or `reap`, whoever comes first.
    let ends = caller.create(1);
    let stopped = caller.create(1);
    let was_stopped = caller.try_ask::<StopVm>(&VmStopRequest { vm_id: stopped.vm_id.clone() });
    let deadline = Instant::now() + Duration::from_secs(60);
    // Each question is answered at once; what is waited for is the passing of a second.
    let gone = |vm: &Vm| match caller.status(vm) {
        Ok(_) => false,
        Err(ErrorCode::UnknownVm | ErrorCode::MachineExpired) => true,
        Err(other) => panic!("{other}"),
    };
    while !gone(&ends) {
        assert!(Instant::now() < deadline, "{ends:?} outlives its time");
    }
    let mut reaped = Vec::new();
    while was_stopped.is_ok() && reaped.is_empty() && !gone(&stopped) {
        assert!(Instant::now() < deadline, "{stopped:?} is never reaped");
        let answer = caller.ask::<ReapVms>(&VmReapRequest {});
        assert_eq!(answer.count, answer.deleted_vm_ids.len() as u64);
        reaped = answer.deleted_vm_ids;
    }
    assert!(reaped.is_empty() || reaped == [stopped.vm_id.clone()], "{reaped:?}");
    assert!(gone(&stopped));
    // The other is within its time.
    assert_eq!(caller.status(&lasts).unwrap().state, WorkspaceState::Started);
    let deleted = caller.ask::<DeleteVm>(&VmDeleteRequest::new(vm_id()));
    assert_eq!((deleted.vm_id, deleted.deleted, deleted.reason.as_str()), (vm_id(), true, "explicit_delete"));
    assert_eq!(caller.refusal::<DeleteVm>(&VmDeleteRequest::new(vm_id())), ErrorCode::UnknownVm);
    home.wait_until_nothing_is_left();
}
