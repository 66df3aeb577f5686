//! The floor: the engine alone restores the template and the agent runs the command, with no command line, no
//! daemon and no store. What the product takes more than this is the product's own cost.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use pyro_engine::{
    BootFiles, DiskFormat, DiskLayer, DiskLayers, Engine, Machine, MachineId, MachineShape, MachineSpec, Nic,
    SavedMachine, SealedMemory, Start,
};
use pyro_protocol::message;
use pyro_workspace::session::{GuestSession, OutputKind};

/// The shape that `pyro run` takes when it is not told otherwise.
const SHAPE: MachineShape = MachineShape { vcpus: 1, mem_mib: 1024, nic: Nic::None };

/// A template of the store, taken into use by hand.
#[derive(Clone, Debug)]
pub(crate) struct Floor {
    engine: Arc<dyn Engine>,
    saved: SavedMachine,
    disk: PathBuf,
    boot: BootFiles,
    scratch: PathBuf,
    count: u64,
}

/// A machine in use.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) machine: Box<dyn Machine>,
    pub(crate) session: GuestSession,
    pub(crate) directory: PathBuf,
    commands: u64,
}

impl Floor {
    /// Takes the one template that a single `pyro run` left in `home`.
    pub(crate) fn new(
        engine: Arc<dyn Engine>,
        boot: BootFiles,
        templates: &Path,
        scratch: &Path,
    ) -> anyhow::Result<Self> {
        let template = std::fs::read_dir(templates)?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.join("template.json").exists())
            .with_context(|| format!("no template in {}", templates.display()))?;
        let memory = Arc::new(SealedMemory::load(&template.join("memory"))?);
        let saved = SavedMachine { memory, state: template.join("state") };
        Ok(Self {
            engine,
            saved,
            disk: template.join("disk.raw"),
            boot,
            scratch: scratch.to_owned(),
            count: 0,
        })
    }

    /// Restores a machine and greets its guest.
    pub(crate) async fn restore(&mut self) -> anyhow::Result<Live> {
        let spec = self.spec()?;
        self.start(spec).await
    }

    /// Restores so many machines, started together; how long that took.
    pub(crate) async fn restore_together(&mut self, count: usize) -> anyhow::Result<(Duration, Vec<Live>)> {
        let specs = (0..count).map(|_| self.spec()).collect::<anyhow::Result<Vec<_>>>()?;
        let this = Arc::new(self.clone());
        let begin = Instant::now();
        let mut starting = tokio::task::JoinSet::new();
        for spec in specs {
            let this = Arc::clone(&this);
            starting.spawn(async move { this.start(spec).await });
        }
        let mut live = Vec::new();
        while let Some(started) = starting.join_next().await {
            live.push(started??);
        }
        Ok((begin.elapsed(), live))
    }

    fn spec(&mut self) -> anyhow::Result<MachineSpec> {
        self.count += 1;
        let id = MachineId::from_bytes(self.count.to_be_bytes()[2..].try_into()?);
        let directory = self.scratch.join(id.as_str());
        std::fs::create_dir(&directory)?;
        let base = DiskLayer { path: self.disk.clone(), format: DiskFormat::Raw };
        let active = self
            .engine
            .create_layer(&directory.join("active.qcow2"), std::fs::metadata(&base.path)?.len())?;
        Ok(MachineSpec {
            id,
            directory,
            shape: SHAPE,
            boot: self.boot.clone(),
            disk: DiskLayers { lower: vec![base], active },
        })
    }

    async fn start(&self, spec: MachineSpec) -> anyhow::Result<Live> {
        let (id, directory) = (spec.id.clone(), spec.directory.clone());
        let machine = self.engine.start(spec, Start::Restore(self.saved.clone())).await?;
        let session = GuestSession::open(machine.connect().await?, env!("CARGO_PKG_VERSION")).await?;
        let individualize = message::Individualize {
            entropy: vec![7; 64],
            realtime_ns: u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_nanos())?,
            host_name: format!("pyro-{id}"),
            machine_id: format!("{:0>32}", id.as_str()),
            deadline_ms: 600_000,
        };
        session.individualize(individualize).await?;
        Ok(Live { machine, session, directory, commands: 0 })
    }

    /// The whole floor: restore, run `true`, end, clean up.
    pub(crate) async fn run_true(&mut self) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut live = self.restore().await?;
        live.run(&["true"]).await?;
        live.end().await?;
        Ok(begin.elapsed())
    }
}

impl Live {
    /// Runs a command as the daemon does; its standard output.
    pub(crate) async fn run(&mut self, argv: &[&str]) -> anyhow::Result<Vec<u8>> {
        let (id, start) = self.command(argv);
        let started = self.session.start(start);
        let mut stdout = self.session.output(&id, OutputKind::Stdout, 0);
        let exited = self.session.wait(&id);
        started.await?;
        let mut output = Vec::new();
        while let Some(chunk) = stdout.next().await {
            output.extend_from_slice(&chunk?);
        }
        let status = exited.await?;
        ensure!(status.code == Some(0), "{argv:?} ended with {status:?}");
        // Asked for, not waited for: the answer to the command is what counts.
        drop(self.session.remove(&id));
        Ok(output)
    }

    /// How long the guest takes to read so many bytes.
    pub(crate) async fn swallow(&mut self, bytes: usize) -> anyhow::Result<Duration> {
        let (id, start) = self.command(&["sh", "-c", "cat > /dev/null"]);
        self.session.start(message::Start { stdin: message::Stdin::Stream.into(), ..start }).await?;
        let begin = Instant::now();
        let mut input = self.session.input(&id);
        let piece = vec![b'x'; 64 << 10];
        for _ in 0..bytes / piece.len() {
            input.write_all(&piece).await?;
        }
        input.finish().await?;
        let status = self.session.wait(&id).await?;
        ensure!(status.code == Some(0), "`cat` ended with {status:?}");
        let taken = begin.elapsed();
        self.session.remove(&id).await?;
        Ok(taken)
    }

    /// How long the guest takes to write so many bytes.
    pub(crate) async fn pour(&mut self, bytes: usize) -> anyhow::Result<Duration> {
        let count = bytes.to_string();
        let (id, start) = self.command(&["head", "-c", &count, "/dev/zero"]);
        let begin = Instant::now();
        self.session.start(start).await?;
        let mut stdout = self.session.output(&id, OutputKind::Stdout, 0);
        let mut read = 0;
        while let Some(chunk) = stdout.next().await {
            read += chunk?.len();
        }
        ensure!(read == bytes, "{read} of {bytes} bytes came");
        let taken = begin.elapsed();
        // Its output may end before it does, and one that runs cannot be removed.
        let status = self.session.wait(&id).await?;
        ensure!(status.code == Some(0), "`head` ended with {status:?}");
        self.session.remove(&id).await?;
        Ok(taken)
    }

    /// An id of its own, and what starts the command.
    fn command(&mut self, argv: &[&str]) -> (String, message::Start) {
        self.commands += 1;
        let id = format!("bench-{}", self.commands);
        let start = message::Start {
            id: id.clone(),
            argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
            cwd: b"/workspace".to_vec(),
            timeout_ms: 60_000,
            ..message::Start::default()
        };
        (id, start)
    }

    /// Ends the machine and removes its directory.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.machine.kill().await?;
        std::fs::remove_dir_all(&self.directory)?;
        Ok(())
    }
}
