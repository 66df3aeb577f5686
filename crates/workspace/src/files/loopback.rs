//! Everything about files against the real agent and its real file worker, over a real overlay, without a machine.
//!
//! Each test starts itself again in a mount namespace of its own, see [`crate::loopback`].

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use pyro_engine::{
    BootFiles, DiskLayers, Engine, Machine, MachineId, MachineShape, MachineSpec, Nic, Start,
    fake::FakeEngine,
};
use pyro_tree::{
    RelativePath, Root,
    seed::Git,
    transaction::{NewAttributes, Options, STAGING_NAME, Transaction, Trust, crash},
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::*;
use crate::{
    layout::Layout,
    loopback::{self, Target},
    session::GuestSession,
    workspaces::SeedRecord,
};

/// Runs `body` in a mount namespace, for this one test.
fn in_namespace<F: Future<Output = ()>>(name: &str, body: impl FnOnce() -> F) {
    loopback::in_namespace(&format!("files::loopback::{name}"), body);
}

/// A guest, a directory of the host beside it, and what the one was filled from the other with.
struct Guest {
    home: TempDir,
    _machine: Box<dyn Machine>,
    files: FileWorkers,
    seed: SeedRecord,
}

impl Guest {
    /// Fills the workspace with the host's directory as `fill` made it.
    async fn seeded(fill: impl FnOnce(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let (host, workspace) = (home.path().join("host"), home.path().join("workspace"));
        fs::create_dir(&host).unwrap();
        fs::create_dir(&workspace).unwrap();
        fill(&host);
        let script = loopback::worker(home.path(), Target::At(&workspace));
        let machine = machine(home.path(), &FakeEngine::with_worker(script)).await;
        let session = GuestSession::open(machine.connect().await.unwrap(), "1.0.0").await.unwrap();
        let files = FileWorkers::new(session);
        let source = SeedSource::Directory { path: host, exclude: Vec::new(), tracked_by_git: false };
        let seed = files.seed(Some(source), &git(), |_| {}).await.unwrap();
        Self { home, _machine: machine, files, seed }
    }

    /// A directory of the host, the one it was filled from.
    fn host(&self) -> PathBuf {
        self.home.path().join("host")
    }

    /// As programs of the guest see it.
    fn workspace(&self) -> PathBuf {
        self.home.path().join("workspace")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    async fn pull(&self) -> Pulled {
        self.files.pull(PullRequest::default(), &self.seed, &self.pulls(), |_| {}).await.unwrap()
    }

    async fn push(&self, delete: bool, exclude: &[&str]) -> Result<PushOutcome, FileError> {
        self.push_or_try(delete, exclude, false).await
    }

    async fn push_or_try(
        &self,
        delete: bool,
        exclude: &[&str],
        dry_run: bool,
    ) -> Result<PushOutcome, FileError> {
        let source = SeedSource::Directory {
            path: self.host(),
            exclude: exclude.iter().map(|pattern| (*pattern).to_owned()).collect(),
            tracked_by_git: false,
        };
        let request = PushRequest { source, destination: Vec::new(), delete, dry_run };
        self.files.push(request, &self.seed, &git(), &self.pulls(), |_| {}).await
    }

    async fn export(&self, path: &str, form: ExportForm, place: &Path) -> Result<Exported, FileError> {
        let to = ExportTo::Place { path: place.to_owned(), force: false };
        self.files.export(ExportRequest { path: path.into(), form, to }, &self.claims(), |_| {}).await
    }

    /// A pull that was cut off when it had just decided to replace `a` by what the guest has.
    fn cut_off_pull(&self, trust: Trust<'_>) {
        let root = Root::open(&self.host()).unwrap();
        let hook = |point| if point == "transaction-place" { Err(crash()) } else { Ok(()) };
        let mut change = Transaction::begin(&root, trust, Options::default(), &hook).unwrap();
        let path = RelativePath::new("a").unwrap();
        let mut contents = fs::File::open(self.workspace().join("a")).unwrap();
        change.put_file(&path, &mut contents, NewAttributes::default()).unwrap();
        change.commit().unwrap_err();
    }

    fn claims(&self) -> Claims {
        Claims::of(&self.layout())
    }

    fn pulls(&self) -> Pulls {
        Pulls::of(&self.layout())
    }

    fn layout(&self) -> Layout {
        Layout::new(self.beside("state"), self.beside("cache"))
    }
}

async fn machine(home: &Path, engine: &FakeEngine) -> Box<dyn Machine> {
    let absent = home.join("absent");
    let spec = MachineSpec {
        id: MachineId::from_bytes([1; 6]),
        directory: home.to_owned(),
        shape: MachineShape { vcpus: 1, mem_mib: 64, nic: Nic::None },
        boot: BootFiles {
            vmlinux: absent.clone(),
            initramfs: absent.clone(),
            root_image: absent,
            kernel_arguments: Vec::new(),
        },
        disk: DiskLayers {
            lower: Vec::new(),
            active: engine.create_layer(&home.join("disk"), 1 << 30).unwrap(),
        },
    };
    engine.start(spec, Start::Boot { shared_memory: None }).await.unwrap()
}

fn git() -> Git {
    let environment = std::env::var_os("PATH").map(|path| ("PATH".into(), path));
    Git { program: "git".into(), environment: environment.into_iter().collect() }
}

fn path(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn code(error: FileError) -> WorkFailureCode {
    match error {
        FileError::Refused { code, .. } => code,
        error => panic!("{error}"),
    }
}

#[test]
fn single_files() {
    in_namespace("single_files", || async {
        let guest = Guest::seeded(|host| fs::write(host.join("a"), "one\ntwo\n").unwrap()).await;
        let files = &guest.files;
        let write = |name: &str| Write { path: path(name), ..Write::default() };
        let written = files.write(write("sub/new"), Bytes::from_static(b"new")).await.unwrap();
        assert!(written.created && text(guest.workspace().join("sub/new")) == "new");
        let read = Read { path: path("a"), max_bytes: 5, ..Read::default() };
        let content = files.read(read).await.unwrap();
        assert_eq!((&*content.bytes, content.done.truncated), (&b"one\nt"[..], true));
        let replace = Replace { path: path("a"), old: path("two"), new: path("2"), count: 1 };
        assert_eq!(files.replace(replace.clone()).await.unwrap().lines, [2]);
        assert_eq!(code(files.replace(replace).await.unwrap_err()), WorkFailureCode::CountMismatch);
        let make = |must_create| MakeDirectory { path: path("d/e"), mode: None, must_create };
        assert!(files.make_directory(make(false)).await.unwrap());
        assert!(!files.make_directory(make(false)).await.unwrap());
        assert_eq!(code(files.make_directory(make(true)).await.unwrap_err()), WorkFailureCode::Exists);
        let over_file = MakeDirectory { path: path("a"), ..MakeDirectory::default() };
        files.make_directory(over_file).await.unwrap_err();
        let delete = |missing_ok| Delete { path: path("d"), recursive: true, missing_ok };
        assert!(files.delete(delete(true)).await.unwrap());
        assert!(!files.delete(delete(true)).await.unwrap());
        assert_eq!(code(files.delete(delete(false)).await.unwrap_err()), WorkFailureCode::NotFound);
        let list = List { recursive: true, ..List::default() };
        let listed = files.list(list).await.unwrap().entries;
        assert_eq!(
            listed.into_iter().map(|entry| entry.path).collect::<Vec<_>>(),
            ["a", "sub", "sub/new"].map(path)
        );
        let grep = Grep { pattern: "^n.w$".to_owned(), ..Grep::default() };
        assert_eq!(files.grep(grep).await.unwrap().matches.len(), 1);
        let glob = Glob { pattern: "**/n*".to_owned(), ..Glob::default() };
        assert_eq!(files.glob(glob).await.unwrap().entries.len(), 1);
        symlink("/etc", guest.workspace().join("out")).unwrap();
        let outside = Read { path: path("out/passwd"), max_bytes: 10, ..Read::default() };
        assert_eq!(code(files.read(outside).await.unwrap_err()), WorkFailureCode::Escapes);
    });
}

#[test]
fn a_write_that_is_not_whole_is_none() {
    in_namespace("a_write_that_is_not_whole_is_none", || async {
        let guest = Guest::seeded(|host| fs::write(host.join("a"), "old").unwrap()).await;
        let write = || Write { path: path("a"), ..Write::default() };
        let (pieces, mut taken) = mpsc::channel(1);
        let sending = tokio::spawn(async move { pieces.send(Bytes::from_static(b"half")).await });
        let given_up = guest.files.write_from(write(), &mut taken, || false).await.unwrap_err();
        assert!(matches!(given_up, FileError::Abandoned), "{given_up}");
        sending.await.unwrap().unwrap();
        // A caller that goes away in the middle leaves its worker to be killed.
        let (pieces, mut taken) = mpsc::channel(1);
        pieces.send(Bytes::from_static(b"half")).await.unwrap();
        let writing = guest.files.write_from(write(), &mut taken, || true);
        tokio::select! {
            _ = writing => panic!("without an end"),
            () = pieces.closed() => panic!("refused"),
            _ = pieces.reserve() => {}
        }
        assert_eq!(text(guest.workspace().join("a")), "old");
        guest.files.write(write(), Bytes::from_static(b"new")).await.unwrap();
        assert_eq!(
            (text(guest.workspace().join("a")), names(&guest.workspace())),
            ("new".to_owned(), vec!["a".to_owned()])
        );
        // An early refusal does not wait for the input's end.
        let (_pieces, mut endless) = mpsc::channel(1);
        let below_file = Write { path: path("a/b"), ..Write::default() };
        guest.files.write_from(below_file, &mut endless, || true).await.unwrap_err();
    });
}

#[test]
fn what_changed_is_told_and_applies_elsewhere() {
    in_namespace("what_changed_is_told_and_applies_elsewhere", || async {
        let guest = Guest::seeded(|host| {
            fs::create_dir(host.join("src")).unwrap();
            fs::write(host.join("src/a"), "one\ntwo\nthree\n").unwrap();
            fs::write(host.join("gone"), "gone\n").unwrap();
        })
        .await;
        fs::write(guest.workspace().join("src/a"), "one\n2\nthree\n").unwrap();
        fs::write(guest.workspace().join("src/binary"), b"\0\xff").unwrap();
        fs::remove_file(guest.workspace().join("gone")).unwrap();
        let diff = || Diff { max_bytes: 1 << 20, with_counts: true, ..Diff::default() };
        let report = guest.files.diff(diff()).await.unwrap();
        assert_eq!(report.changes.len(), 3);
        assert!(report.changes.iter().any(|change| change.binary));
        // The host went on and made the same change.
        fs::write(guest.host().join("src/a"), "one\n2\nthree\n").unwrap();
        let report = guest.files.diff_with_host(diff(), &guest.seed, &git(), |_| {}).await.unwrap();
        let paths: Vec<_> = report.changes.into_iter().map(|change| change.path).collect();
        assert_eq!(paths, ["gone", "src/binary"].map(path));
        fs::write(guest.host().join("src/a"), "one\ntwo\nthree\n").unwrap();

        let patch = guest.beside("all.patch");
        let exported = guest.export("", ExportForm::Patch, &patch).await.unwrap();
        assert_eq!((exported.entry_count, exported.content_bytes), (3, fs::metadata(&patch).unwrap().len()));
        assert!(exported.notes.iter().any(|note| note.contains("src/binary")), "{:?}", exported.notes);
        let applied = Command::new("git").args(["apply"]).arg(&patch).current_dir(guest.host()).output();
        assert!(applied.unwrap().status.success(), "{}", text(&patch));
        assert_eq!(text(guest.host().join("src/a")), "one\n2\nthree\n");
        assert!(!guest.host().join("gone").exists());

        let reverse = Patch { reverse: true, ..Patch::default() };
        let patch = Bytes::from(fs::read(patch).unwrap());
        let patched = guest.files.patch(reverse, patch.clone()).await.unwrap();
        assert_eq!(patched.files.len(), 2);
        assert_eq!(text(guest.workspace().join("src/a")), "one\ntwo\nthree\n");
        let again = guest.files.patch(Patch { reverse: true, ..Patch::default() }, patch).await.unwrap_err();
        assert_eq!(code(again), WorkFailureCode::PatchRejected);
    });
}

#[test]
fn pushes_and_pulls_meet_in_the_middle() {
    in_namespace("pushes_and_pulls_meet_in_the_middle", || async {
        let guest = Guest::seeded(|host| {
            for name in ["both", "guest", "host", "gone"] {
                fs::write(host.join(name), "old").unwrap();
            }
        })
        .await;
        let (host, workspace) = (guest.host(), guest.workspace());
        for name in ["both", "guest", "new"] {
            fs::write(workspace.join(name), "guest").unwrap();
        }
        fs::remove_file(workspace.join("gone")).unwrap();
        fs::create_dir_all(workspace.join("deep/er")).unwrap();
        fs::write(workspace.join("deep/er/file"), "guest").unwrap();
        symlink("../outside", workspace.join("link")).unwrap();
        for name in ["both", "host"] {
            fs::write(host.join(name), "host").unwrap();
        }
        let tried = PullRequest { dry_run: true, ..PullRequest::default() };
        let tried = guest.files.pull(tried, &guest.seed, &guest.pulls(), |_| {}).await.unwrap();
        assert_eq!(text(host.join("guest")), "old");
        let moved = Arc::new(AtomicU64::new(0));
        let report = Arc::clone(&moved);
        let progress = move |progress: TransferProgress| report.store(progress.bytes, Ordering::Relaxed);
        let pulled =
            guest.files.pull(PullRequest::default(), &guest.seed, &guest.pulls(), progress).await.unwrap();
        assert_eq!(pulled, tried, "a trial says what will be");
        assert!(moved.load(Ordering::Relaxed) > 0);
        assert_eq!((pulled.changed_count, pulled.deleted_count, pulled.conflict_count), (6, 1, 1));
        assert_eq!(pulled.conflicts[0].path, b"both");
        let kept = ["both", "guest", "host", "new", "deep/er/file"].map(|name| text(host.join(name)));
        assert_eq!(kept, ["host", "guest", "host", "guest", "guest"]);
        assert_eq!(fs::read_link(host.join("link")).unwrap(), Path::new("../outside"));
        assert_eq!(names(&host), ["both", "deep", "guest", "host", "link", "new"]);
        let again = guest.pull().await;
        assert_eq!((again.changed_count, again.deleted_count, again.conflict_count), (0, 0, 1));

        // What is in common goes on with edits of either side.
        fs::write(host.join("new"), "host").unwrap();
        fs::write(workspace.join("guest"), "again").unwrap();
        let pulled = guest.pull().await;
        assert_eq!((pulled.changed_count, text(host.join("guest"))), (1, "again".to_owned()));
        assert_eq!(text(host.join("new")), "host");
        let pushed = guest.push(false, &[]).await.unwrap();
        assert_eq!(pushed.pushed.changed_count, 3, "{:?}", pushed.pushed.changes);
        assert_eq!(["both", "new", "host"].map(|name| text(workspace.join(name))), ["host", "host", "host"]);
        let pulled = guest.pull().await;
        assert_eq!((pulled.changed_count, pulled.conflict_count), (0, 0), "{pulled:?}");
        fs::write(workspace.join("both"), "guest!").unwrap();
        assert_eq!((guest.pull().await.changed_count, text(host.join("both"))), (1, "guest!".to_owned()));
    });
}

#[test]
fn a_journal_that_came_with_a_repository_stops_pull_and_push() {
    in_namespace("a_journal_that_came_with_a_repository_stops_pull_and_push", || async {
        let guest = Guest::seeded(|host| fs::write(host.join("a"), "old").unwrap()).await;
        fs::write(guest.workspace().join("a"), "guest").unwrap();
        guest.cut_off_pull(Trust::Owner);
        let staging = guest.host().join(STAGING_NAME);
        for dry_run in [true, false] {
            let pull = PullRequest { dry_run, ..PullRequest::default() };
            let pulled = guest.files.pull(pull, &guest.seed, &guest.pulls(), |_| {}).await;
            let pushed = guest.push_or_try(false, &[], dry_run).await;
            for refused in [pulled.unwrap_err(), pushed.unwrap_err()] {
                assert!(refused.is_untrusted_journal(), "{}", crate::error::chain(&refused));
            }
            assert!(staging.join("journal").exists());
            assert_eq!(
                (text(guest.host().join("a")), text(guest.workspace().join("a"))),
                ("old".into(), "guest".into())
            );
        }
        fs::remove_dir_all(staging).unwrap();
        assert_eq!((guest.pull().await.changed_count, text(guest.host().join("a"))), (1, "guest".to_owned()));
    });
}

#[test]
fn a_pull_that_was_cut_off_is_settled_by_the_next_and_spares_what_was_edited() {
    in_namespace("a_pull_that_was_cut_off_is_settled_by_the_next_and_spares_what_was_edited", || async {
        let guest = Guest::seeded(|host| fs::write(host.join("a"), "old").unwrap()).await;
        fs::write(guest.workspace().join("a"), "guest").unwrap();
        let under_way = std::mem::ManuallyDrop::new(guest.pulls().begin(&guest.host()).unwrap());
        guest.cut_off_pull(under_way.trust());
        fs::write(guest.host().join("a"), "mine").unwrap();
        let tried = PullRequest { dry_run: true, ..PullRequest::default() };
        let tried = guest.files.pull(tried, &guest.seed, &guest.pulls(), |_| {}).await.unwrap();
        assert!(tried.notes[0].contains("was cut off"), "{:?}", tried.notes);
        let pushed = guest.push_or_try(false, &[], true).await.unwrap();
        assert_eq!(pushed.notes, tried.notes);
        assert_eq!(names(&guest.host()), [STAGING_NAME, "a"]);

        let pulled = guest.pull().await;
        assert!(pulled.notes[0].contains("`a.pyro-new`"), "{:?}", pulled.notes);
        assert_eq!((pulled.changed_count, pulled.conflict_count), (0, 1));
        assert_eq!(["a", "a.pyro-new"].map(|name| text(guest.host().join(name))), ["mine", "guest"]);
        assert_eq!(guest.pull().await.notes, [""; 0], "it is told once");
    });
}

#[test]
fn a_push_that_deletes_spares_what_is_left_out() {
    in_namespace("a_push_that_deletes_spares_what_is_left_out", || async {
        let guest = Guest::seeded(|host| {
            fs::create_dir(host.join("sub")).unwrap();
            fs::write(host.join("sub/.pyroignore"), "*.o\n").unwrap();
            fs::write(host.join("old"), "old").unwrap();
        })
        .await;
        let workspace = guest.workspace();
        for name in ["sub/a.o", "b.o", "c.log", "d"] {
            fs::write(workspace.join(name), "guest").unwrap();
        }
        fs::remove_file(guest.host().join("old")).unwrap();
        let pushed = guest.push(true, &["*.log"]).await.unwrap().pushed;
        assert_eq!(pushed.deleted_count, 3, "{:?}", pushed.changes);
        assert_eq!(
            (names(&workspace), names(&workspace.join("sub"))),
            (vec!["c.log".to_owned(), "sub".to_owned()], vec![".pyroignore".to_owned(), "a.o".to_owned()],)
        );
        let bad = guest.push(true, &["{"]).await.unwrap_err();
        assert!(matches!(bad, FileError::Source { .. }), "{bad}");
    });
}

#[test]
fn exports_are_made_whole_and_nowhere_else() {
    in_namespace("exports_are_made_whole_and_nowhere_else", || async {
        let guest = Guest::seeded(|host| {
            fs::create_dir(host.join("dir")).unwrap();
            fs::write(host.join("dir/file"), "content").unwrap();
        })
        .await;
        let workspace = guest.workspace();
        fs::set_permissions(workspace.join("dir/file"), Permissions::from_mode(0o4755)).unwrap();
        symlink("/etc/passwd", workspace.join("dir/link")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, workspace.join("dir/pipe"), 0o644.into()).unwrap();
        let out = guest.beside("out");
        fs::create_dir(&out).unwrap();
        let tree = guest.export("dir", ExportForm::Tree, &out.join("tree")).await.unwrap();
        assert_eq!((tree.kind, tree.entry_count, tree.content_bytes), (EntryKind::Directory, 3, 7));
        assert_eq!(tree.notes.len(), 1, "the pipe: {:?}", tree.notes);
        assert_eq!(names(&out.join("tree")), ["file", "link"]);
        assert_eq!(fs::metadata(out.join("tree/file")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(out.join("tree/link")).unwrap(), Path::new("/etc/passwd"));
        let file = guest.export("dir/file", ExportForm::Tree, &out.join("file")).await.unwrap();
        assert_eq!(
            (file.kind, file.content_bytes, text(out.join("file"))),
            (EntryKind::File, 7, "content".to_owned())
        );
        guest.export("dir/link", ExportForm::Tree, &out.join("link")).await.unwrap();
        assert_eq!(fs::read_link(out.join("link")).unwrap(), Path::new("/etc/passwd"));
        let tar = guest.export("dir", ExportForm::Tar, &out.join("tar")).await.unwrap();
        assert_eq!(tar.content_bytes, fs::metadata(out.join("tar")).unwrap().len());
        let listed = Command::new("tar").arg("-tvf").arg(out.join("tar")).output().unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        assert!(listed.contains("-rwxr-xr-x") && listed.contains("./"), "{listed}");
        guest.export("dir/file", ExportForm::Tar, &out.join("one.tar")).await.unwrap();
        let listed = Command::new("tar").arg("-tf").arg(out.join("one.tar")).output().unwrap();
        assert_eq!(listed.stdout, b"file\n");

        let taken = guest.export("dir", ExportForm::Tree, &out.join("file")).await.unwrap_err();
        assert!(matches!(taken, FileError::OutputExists { .. }), "{taken}");
        let absent = guest.export("absent", ExportForm::Tree, &out.join("x")).await.unwrap_err();
        assert_eq!(code(absent), WorkFailureCode::NotFound);
        let special = guest.export("dir/pipe", ExportForm::Tree, &out.join("x")).await.unwrap_err();
        assert_eq!(code(special), WorkFailureCode::WrongType);
        assert_eq!(names(&out), ["file", "link", "one.tar", "tar", "tree"], "nothing of ours is left");

        let (pieces, mut sent) = mpsc::channel(64);
        let to = ExportTo::Caller(pieces);
        let request = ExportRequest { path: path("dir"), form: ExportForm::Tar, to };
        let exported = guest.files.export(request, &guest.claims(), |_| {}).await.unwrap();
        let mut bytes = 0;
        while let Some(piece) = sent.recv().await {
            bytes += piece.len() as u64;
        }
        assert_eq!((bytes, exported.entry_count), (exported.content_bytes, tar.entry_count));
        let to = ExportTo::Caller(mpsc::channel(1).0);
        let request = ExportRequest { path: path("dir"), form: ExportForm::Tree, to };
        let unsuited = guest.files.export(request, &guest.claims(), |_| {}).await.unwrap_err();
        assert!(matches!(unsuited, FileError::Unsuited { .. }), "{unsuited}");
    });
}
