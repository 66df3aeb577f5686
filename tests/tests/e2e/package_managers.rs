//! What package managers do to a tree that was seeded, on the real overlay of a real machine.
//!
//! A guest of `debian:12` has none of them, and no network to bring them. So the seed carries a program that makes the
//! calls they make, in their order, on the trees that they leave. Each call must do what it does on a plain disk; a
//! manager that fails over to copying would not tell, so nothing here does. Where the calls come from:
//!
//! - npm 10: `reify.js` of `@npmcli/arborist` moves what it replaces to the name of `retire-path.js`, unpacks anew, moves
//!   children that stay back, and removes what it retired, or after a failure moves it back; `move-file.js` of `@npmcli/fs`
//!   renames.
//! - cargo: `paths::link_or_copy` of `cargo-util` links `target/debug/NAME` to `deps/NAME-HASH`; its `flock.rs` locks
//!   `.cargo-lock`; `rustc_incremental`'s `persist/fs.rs` fills a `-working` directory with links to the last session's
//!   files, publishes it by a rename, and removes the last session under its lock.
//! - pip: `StashedUninstallPathSet` (`req_uninstall.py`) renames a package over an empty `AdjacentTempDirectory`
//!   (`temp_dir.py`), whose name begins with `~`, and on failure back; `operations/install/wheel.py` writes anew and replaces
//!   single files from beside them.

use std::{fs, path::PathBuf};

use pyro_e2e::{ENVIRONMENT, Home, Invocation, Outcome};

fn workspace<const N: usize>(home: &Home, words: [&str; N]) -> Invocation {
    home.pyro(["workspace"].into_iter().chain(words))
}

fn sh(home: &Home, script: &str) -> Outcome {
    workspace(home, ["exec", "w", "-n", "-q", "--", "sh", "-c", script]).output()
}

/// What all three begin with: every call must succeed, and links and inodes are counted.
const PRELUDE: &str = r#"use strict; use warnings; use Fcntl ":flock"; use File::Path;
sub move_to { rename($_[0], $_[1]) or die "rename $_[0] to $_[1]: $!\n" }
sub make { File::Path::make_path($_[0]) }
sub spill { open(my $f, ">", $_[0]) or die "write $_[0]: $!\n"; print $f $_[1]; close($f) or die $! }
sub read_all { open(my $f, "<", $_[0]) or die "read $_[0]: $!\n"; local $/; <$f> }
sub remove { File::Path::remove_tree($_[0], { error => \my $errors }); die "remove $_[0]: @$errors\n" if @$errors || -e $_[0] }
sub hard { link($_[0], $_[1]) or die "link $_[0] to $_[1]: $!\n" }
sub inode { (lstat($_[0]))[1] // die "$_[0]: $!\n" }
sub links { (lstat($_[0]))[3] // die "$_[0]: $!\n" }
sub lock { open(my $f, ">>", $_[0]) or die "open $_[0]: $!\n"; flock($f, $_[1] | LOCK_NB) ? $f : undef }
sub same { my ($what, $is, $must) = @_; $is eq $must or die "$what: $is and not $must\n" }
"#;

/// `npm install left@2`, with `right` nested in it unchanged; then one that fails half way.
const NPM: &str = r#"
my ($old, $retired) = ("node_modules/left", "node_modules/.left-Xa3bQ9zK");
my $inner = inode("$old/node_modules/right/index.js");
move_to($old, $retired);
make("$old/node_modules/right");
spill("$old/package.json", "2\n"); spill("$old/cli.js", "cli 2\n");
# _moveContents: what stays is moved into the new tree, entry by entry.
move_to("$retired/node_modules/right/$_", "$old/node_modules/right/$_") for "index.js", "lib";
same("content", read_all("$old/node_modules/right/lib/deep.js"), "deep\n");
same("the inode of what was only moved", inode("$old/node_modules/right/index.js"), $inner);
remove($retired);
unlink("node_modules/.bin/left") or die $!;
symlink("../left/cli.js", "node_modules/.bin/left") or die $!;
# It fails: what was unpacked goes, what was retired comes back.
($old, $retired) = ("node_modules/\@scope/thing", "node_modules/\@scope/.thing-0123abcd");
move_to($old, $retired); make($old); spill("$old/half", "x");
# renamePath: a target that is not empty is removed first.
rename($retired, $old) and die "a directory that is not empty was replaced\n";
$!{ENOTEMPTY} || $!{EEXIST} or die "rename over a directory that is not empty: $!\n";
remove($old); move_to($retired, $old);
same("content", read_all("$old/index.js"), "thing\n");
# npm ci: the whole of it goes aside and away.
spill("node_modules/.package-lock.json", "{}\n");
"#;

/// `cargo build` after an edit, with the target directory of the last one.
const CARGO: &str = r#"
my $lock = lock("target/debug/.cargo-lock", LOCK_EX) or die "the build directory is locked\n";
!defined(lock("target/debug/.cargo-lock", LOCK_EX)) or die "two have the lock\n";
# One session after the other, each a copy of the last by links.
my ($crate, $last) = ("target/debug/incremental/app-1x2y", "s-h0aaaaaaaa-0aaaaaa-finished");
for my $turn (1, 2) {
  my $stem = "s-h1bbbbbbb$turn-1bbbbbb";
  my $own = lock("$crate/$stem.lock", LOCK_EX) or die;
  make("$crate/$stem-working");
  my $reading = lock("$crate/" . ($last =~ s/-[^-]*$//r) . ".lock", LOCK_SH) or die;
  for my $file ("dep-graph.bin", "query-cache.bin", "cgu.o") { hard("$crate/$last/$file", "$crate/$stem-working/$file") }
  same("links", links("$crate/$stem-working/cgu.o"), 2);
  same("inode", inode("$crate/$stem-working/cgu.o"), inode("$crate/$last/cgu.o"));
  # Written anew, never in place: the last session keeps what it had.
  unlink("$crate/$stem-working/dep-graph.bin") or die $!;
  spill("$crate/$stem-working/dep-graph.bin", "graph $turn\n");
  move_to("$crate/$stem-working", "$crate/$stem-svh$turn");
  close($reading);
  my $collecting = lock("$crate/" . ($last =~ s/-[^-]*$//r) . ".lock", LOCK_EX) or die "a released lock is held\n";
  remove("$crate/$last"); unlink("$crate/" . ($last =~ s/-[^-]*$//r) . ".lock") or die $!;
  $last = "$stem-svh$turn";
  same("links", links("$crate/$last/cgu.o"), 1);
  same("content", read_all("$crate/$last/cgu.o"), "object\n");
}
# The linker makes a new file; cargo gives it its name.
my ($built, $named) = ("target/debug/deps/app-5f4e", "target/debug/app");
# link_or_copy asks whether both are one file (same_file) before and after set_file_time_no_err, which copies one name up.
same("a seeded link", inode($built), inode($named));
utime(undef, undef, $built) or die $!;
same("a seeded link whose time was set", inode($built), inode($named)); same("links", links($named), 2);
unlink($built) or die $!; spill($built, "new program\n"); chmod(0755, $built) or die $!;
same("the name before", read_all($named), "old program\n");
unlink($named) or die $!; hard($built, $named);
same("links", links($named), 2); same("inode", inode($named), inode($built));
same("the name after", read_all($named), "new program\n");
# A new target directory comes into being by a rename (create_dir_all_excluded_from_backups_atomic).
make("target2.tmp"); spill("target2.tmp/CACHEDIR.TAG", "tag\n"); move_to("target2.tmp", "target2");
"#;

/// `pip install --upgrade pkg`, then one that is rolled back.
const PIP: &str = r##"
my $site = "venv/lib/python3/site-packages";
sub stash { my ($path, $aside) = @_; mkdir($aside) or die "$aside: $!\n"; rmdir($aside) or die $!; move_to($path, $aside) }
sub adjacent { my ($path, $content) = @_; spill("$path.tmp1234.tmp", $content); move_to("$path.tmp1234.tmp", $path) }
stash("$site/pkg", "$site/~kg"); stash("$site/pkg-1.dist-info", "$site/~kg-1.dist-info");
make("$site/pkg/sub/__pycache__"); make("$site/pkg-2.dist-info");
spill("$site/pkg/__init__.py", "version = 2\n"); spill("$site/pkg/sub/__pycache__/m.pyc", "m\n");
adjacent("$site/pkg-2.dist-info/INSTALLER", "pip\n"); adjacent("$site/pkg-2.dist-info/RECORD", "record 2\n");
unlink("venv/bin/pkg") or die $!; spill("venv/bin/pkg", "#!2\n"); chmod(0755, "venv/bin/pkg") or die $!;
remove("$site/~kg"); remove("$site/~kg-1.dist-info");
# Rolled back: what was written is removed, what was stashed is renamed back.
my $before = inode("$site/other/data.bin");
stash("$site/other", "$site/~ther"); make("$site/other"); spill("$site/other/half", "x");
remove("$site/other"); move_to("$site/~ther", "$site/other");
same("inode", inode("$site/other/data.bin"), $before);
same("content", read_all("$site/other/data.bin"), "data\n");
# A seeded file is replaced in one step.
adjacent("$site/easy-install.pth", "./pkg\n");
"##;

/// What is there at the end, with kinds, modes and targets.
const TREE: &str = "find node_modules target target2 venv ! -type d -printf '%P %m %n %l\\n' | sort; \
                    find node_modules target target2 venv -type d -empty";

fn seed(home: &Home) -> PathBuf {
    let seed = home.scratch().join("seed");
    for (path, content) in [
        ("node_modules/left/package.json", "1\n"),
        ("node_modules/left/cli.js", "cli\n"),
        ("node_modules/left/node_modules/right/index.js", "right\n"),
        ("node_modules/left/node_modules/right/lib/deep.js", "deep\n"),
        ("node_modules/@scope/thing/index.js", "thing\n"),
        ("target/debug/.cargo-lock", ""),
        ("target/debug/incremental/app-1x2y/s-h0aaaaaaaa-0aaaaaa.lock", ""),
        ("target/debug/incremental/app-1x2y/s-h0aaaaaaaa-0aaaaaa-finished/dep-graph.bin", "graph 0\n"),
        ("target/debug/incremental/app-1x2y/s-h0aaaaaaaa-0aaaaaa-finished/query-cache.bin", "cache\n"),
        ("target/debug/incremental/app-1x2y/s-h0aaaaaaaa-0aaaaaa-finished/cgu.o", "object\n"),
        ("target/debug/deps/app-5f4e", "old program\n"),
        ("venv/bin/pkg", "#!1\n"),
        ("venv/lib/python3/site-packages/pkg/__init__.py", "version = 1\n"),
        ("venv/lib/python3/site-packages/pkg/sub/m.py", "m\n"),
        ("venv/lib/python3/site-packages/pkg-1.dist-info/RECORD", "record 1\n"),
        ("venv/lib/python3/site-packages/other/data.bin", "data\n"),
        ("venv/lib/python3/site-packages/easy-install.pth", "\n"),
        ("npm.pl", &format!("{PRELUDE}{NPM}")),
        ("cargo.pl", &format!("{PRELUDE}{CARGO}")),
        ("pip.pl", &format!("{PRELUDE}{PIP}")),
    ] {
        let path = seed.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    fs::create_dir(seed.join("node_modules/.bin")).unwrap();
    std::os::unix::fs::symlink("../left/old.js", seed.join("node_modules/.bin/left")).unwrap();
    fs::hard_link(seed.join("target/debug/deps/app-5f4e"), seed.join("target/debug/app")).unwrap();
    seed
}

#[test]
fn what_npm_cargo_and_pip_do_to_a_seeded_tree_works_as_on_any_disk() {
    let home = Home::warm();
    let seed = seed(&home);
    workspace(&home, ["create", ENVIRONMENT, "--name", "w", "--seed-path"]).flag(&seed).output().succeeds();
    // The host says what a plain disk makes of it.
    let plain = home.scratch().join("plain");
    let on_the_host = format!(
        "umask 022 && cp -a seed plain && cd plain && perl npm.pl && perl cargo.pl && perl pip.pl && {TREE}"
    );
    let expected =
        std::process::Command::new("sh").args(["-c", &on_the_host]).current_dir(home.scratch()).output();
    let expected = expected.unwrap();
    assert!(expected.status.success(), "{}", String::from_utf8_lossy(&expected.stderr));
    for manager in ["npm", "cargo", "pip"] {
        sh(&home, &format!("umask 022; perl {manager}.pl")).succeeds().prints("");
    }
    sh(&home, TREE).succeeds().prints(&expected.stdout);

    // The difference knows all of it, and brings a copy of the seed to the same.
    let patch = home.scratch().join("w.patch");
    workspace(&home, ["export", "w", ".", "--patch", "--output"]).flag(&patch).output().succeeds();
    let again = "cp -a seed copy && cd copy && git apply ../w.patch && diff -r --no-dereference . ../plain";
    let again =
        std::process::Command::new("sh").args(["-c", again]).current_dir(home.scratch()).output().unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stdout));
    assert!(plain.join("target2/CACHEDIR.TAG").exists());
    workspace(&home, ["delete", "w"]).output().succeeds();
    home.wait_until_nothing_is_left();
}
