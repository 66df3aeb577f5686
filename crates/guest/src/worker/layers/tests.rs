//! Layers made by hand, with what a kernel writes as root, which an ordinary user's does not.

use std::fs;
use std::path::Path;

use pyro_tree::beneath::Root;
use rustix::fs::XattrFlags;

use super::*;
use crate::worker::contents::Contents;
use crate::worker::filter::Filter;
use crate::worker::overlay::{Differences, differences};

struct Disk(tempfile::TempDir);

impl Disk {
    fn new(seed: &[&str], upper: &[&str]) -> Self {
        // Not where temporary files usually lie: an old kernel's tmpfs has no attributes of users.
        let directory =
            tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../../target").unwrap();
        let disk = Self(directory);
        let opened = File::open(disk.0.path()).unwrap();
        workspace_mount::make_directories(opened.as_fd()).unwrap();
        fs::write(disk.0.path().join(workspace_mount::SEEDED), "").unwrap();
        for (layer, names) in [(workspace_mount::SEED, seed), (workspace_mount::UPPER, upper)] {
            for name in names {
                let path = disk.path(layer, name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                if name.ends_with('/') {
                    fs::create_dir_all(path).unwrap();
                } else {
                    fs::write(path, format!("{layer} {name}")).unwrap();
                }
            }
        }
        disk
    }

    fn path(&self, layer: &str, name: &str) -> std::path::PathBuf {
        self.0.path().join(layer).join(name)
    }

    fn upper(&self, name: &str) -> std::path::PathBuf {
        self.path(workspace_mount::UPPER, name)
    }

    fn mark(&self, name: &str, attribute: &str, value: &str) {
        let path = self.upper(name);
        rustix::fs::setxattr(
            path,
            format!("user.overlay.{attribute}"),
            value.as_bytes(),
            XattrFlags::empty(),
        )
        .unwrap();
    }

    fn whiteout(&self, name: &str) {
        self.mark(Path::new(name).parent().unwrap().to_str().unwrap(), "opaque", "x");
        fs::write(self.upper(name), "").unwrap();
        self.mark(name, "whiteout", "y");
    }

    fn walked(&self) -> (String, u64) {
        self.walked_as(OverlayAttributes::User)
    }

    fn walked_as(&self, attributes: OverlayAttributes) -> (String, u64) {
        let disk = Root::open(self.0.path()).unwrap();
        let layers = Layers::open(&disk, attributes).unwrap();
        let state = disk.descend(&RelativePath::new(workspace_mount::STATE).unwrap()).unwrap();
        let contents = Contents { layers: Some(&layers), workspace: &disk, spool: None };
        let Differences { list, visited, notes } =
            differences(&layers, contents, &state, &Filter::new(Vec::new())).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let line = |difference: &super::super::node::Difference| {
            let now = difference.now.as_ref().filter(|node| node.is_file()).map(|node| {
                format!("={}", String::from_utf8(contents.bytes(node, 100).unwrap().unwrap()).unwrap())
            });
            let sign = match (&difference.base, &difference.now) {
                (None, _) => "+",
                (_, None) => "-",
                _ => "~",
            };
            format!("{sign}{}{}", difference.path, now.unwrap_or_default())
        };
        (list.iter().map(line).collect::<Vec<_>>().join("\n"), visited)
    }
}

#[test]
fn a_renamed_directory_is_what_it_was_in_the_seed() {
    let disk = Disk::new(&["a/b/f", "a/g", "other/h"], &["z/new", "n/y/", "n/other/"]);
    disk.whiteout("a");
    disk.mark("z", "redirect", "a");
    disk.whiteout("z/b");
    disk.mark("n", "opaque", "y");
    disk.mark("n/y", "redirect", "/a/b");
    // Below a directory with nothing of the seed, a name alone leads nowhere.
    disk.mark("n/other", "redirect", "other");
    let expected = "-a\n-a/b\n-a/b/f\n-a/g\n+n\n+n/other\n+n/y\n+n/y/f=workspace/seed a/b/f\n+z\n\
                    +z/g=workspace/seed a/g\n+z/new=workspace/upper z/new";
    assert_eq!(disk.walked().0, expected);
}

#[test]
fn a_name_in_a_renamed_directory_stands_beside_where_that_was() {
    // mv a z; mv z/b z/c
    let disk = Disk::new(&["a/b/f"], &["z/c/"]);
    disk.whiteout("a");
    disk.mark("z", "redirect", "a");
    disk.whiteout("z/b");
    disk.mark("z/c", "redirect", "b");
    assert_eq!(disk.walked().0, "-a\n-a/b\n-a/b/f\n+z\n+z/c\n+z/c/f=workspace/seed a/b/f");
}

#[test]
fn two_directories_that_changed_places() {
    let disk = Disk::new(&["a/f", "a/g", "b/f"], &["a/", "b/"]);
    disk.mark("a", "redirect", "b");
    disk.mark("b", "redirect", "a");
    let expected = "~a/f=workspace/seed b/f\n-a/g\n~b/f=workspace/seed a/f\n+b/g=workspace/seed a/g";
    assert_eq!(disk.walked().0, expected);
}

#[test]
fn a_redirect_that_no_kernel_wrote_leads_nowhere() {
    let disk = Disk::new(&["a/f"], &["x/", "y/"]);
    disk.mark("x", "redirect", "/../../state");
    disk.mark("y", "redirect", "..");
    assert_eq!(disk.walked().0, "+x\n+y");
}

#[test]
fn what_a_program_writes_beside_the_kernels_notes_means_nothing() {
    let disk = Disk::new(&["a/f", "b/f"], &["a/", "b/new"]);
    disk.mark("a", "opaque", "y");
    disk.mark("b", "redirect", "a");
    assert_eq!(disk.walked_as(OverlayAttributes::Trusted).0, "+b/new=workspace/upper b/new");
}

#[test]
fn all_names_of_a_changed_file_show_what_the_index_has() {
    let disk = Disk::new(&["one", "d/keep", "moved/also"], &["one"]);
    let seed = |name| disk.path(workspace_mount::SEED, name);
    for name in ["d/other", "moved/third"] {
        fs::hard_link(seed("one"), seed(name)).unwrap();
    }
    fs::create_dir(disk.path(workspace_mount::INDEX, "")).unwrap();
    let handle = FileHandle::of(File::open(seed("")).unwrap(), b"one").unwrap();
    let entry = disk.path(workspace_mount::INDEX, &handle.index_name());
    fs::hard_link(disk.upper("one"), entry).unwrap();
    // mv moved away
    disk.whiteout("moved");
    fs::create_dir(disk.upper("away")).unwrap();
    disk.mark("away", "redirect", "moved");
    let expected = "+away\n+away/also=workspace/seed moved/also\n+away/third=workspace/upper one\n\
                    ~d/other=workspace/upper one\n-moved\n-moved/also\n-moved/third\n~one=workspace/upper one";
    assert_eq!(disk.walked().0, expected);
    assert_eq!(disk.walked().0, expected, "with what was remembered");
}

#[test]
fn the_work_follows_what_was_changed() {
    let few: Vec<String> = (0..10).map(|number| format!("d{number}/f")).collect();
    let many: Vec<String> =
        (0..3_000).map(|number| format!("d{}/s{}/f{number}", number % 7, number % 70)).collect();
    let changed = ["d0/f", "d1/new", "d2/deep/er/file"];
    let visited = |seed: &[String]| {
        let seed: Vec<&str> = seed.iter().map(String::as_str).collect();
        Disk::new(&seed, &changed).walked().1
    };
    assert_eq!(visited(&few), visited(&many));
    assert_eq!(visited(&few), 8, "the names in the upper layer");
}
