//! `generate`: `docs/reference`, written from what the program says of itself, the configurations in `examples/clients`, and
//! the part of the Python SDK that is made from it, so that they cannot drift.

use std::{fs, path::PathBuf, process::Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    build::{self, Programs},
    checkout, python, step,
};

/// Directory of the pages, from the root of the repository.
const REFERENCE: &str = "docs/reference";

/// Directory of the configurations of chat hosts, and how each is asked for.
const CLIENTS: &str = "examples/clients";
const CLIENT_PAGES: &[(&str, &[&str])] = &[
    ("claude-code.json", &["claude-code"]),
    ("codex.toml", &["codex"]),
    ("opencode.json", &["opencode"]),
    ("cursor.json", &["cursor", "--project"]),
    ("claude-desktop.json", &["claude-desktop", "--allow-path", "/home/me/projects"]),
    ("vscode.json", &["vscode", "--project"]),
    ("vm-run.json", &["claude-code", "--profile", "vm-run"]),
];

/// Commands that help does not list, since a daemon comes and goes by itself; the reference has them all the same.
const UNLISTED: &[&str] = &["daemon"];

/// Columns of the help texts, whatever the terminal.
const COLUMNS: &str = "100";

/// Entry of the task.
pub(crate) fn run() -> Result<()> {
    let built = build::build("dev")?;
    for directory in [REFERENCE, CLIENTS] {
        fs::create_dir_all(checkout::root().join(directory)).with_context(|| format!("make {directory}"))?;
    }
    for (name, text) in pages(&built.pyro)? {
        fs::write(checkout::root().join(&name), text).with_context(|| format!("write {name}"))?;
    }
    Ok(())
}

/// Fails when the committed reference is not what the program says.
pub(crate) fn verify(programs: &Programs) -> Result<()> {
    let built = programs.build()?;
    for (name, text) in pages(&built.pyro)? {
        let committed = fs::read_to_string(checkout::root().join(&name)).unwrap_or_default();
        if committed != text {
            bail!("{name} is out of date; run `cargo xtask generate`");
        }
    }
    Ok(())
}

/// Every page: its file from the root of the repository, and its text.
fn pages(pyro: &PathBuf) -> Result<Vec<(String, String)>> {
    let api = page(pyro, "api")?;
    let mut pages = python::pages(&api)?;
    let reference = [
        ("cli.md", describe(pyro)?),
        ("errors.md", table(pyro, "errors")?),
        ("operations.md", table(pyro, "operations")?),
        ("mcp.md", table(pyro, "mcp")?),
        ("api.json", api),
    ];
    pages.extend(reference.map(|(name, text)| (format!("{REFERENCE}/{name}"), text)));
    for (name, words) in CLIENT_PAGES {
        pages.push((format!("{CLIENTS}/{name}"), client(pyro, words)?));
    }
    Ok(pages)
}

/// A page that the program writes as it is.
fn page(pyro: &PathBuf, page: &str) -> Result<String> {
    let mut command = std::process::Command::new(pyro);
    command.args(["reference", page]).stdin(Stdio::null());
    let output = step::output(&format!("pyro reference {page}"), &mut command)?;
    String::from_utf8(output).with_context(|| format!("the page {page} is not UTF-8"))
}

/// A configuration of a chat host, as the program writes it.
fn client(pyro: &PathBuf, words: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new(pyro);
    command.args(["host", "connect", "--print"]).args(words).stdin(Stdio::null());
    let output = step::output(&format!("pyro host connect --print {}", words.join(" ")), &mut command)?;
    String::from_utf8(output).context("a configuration is not UTF-8")
}

/// A page that the program writes, with a word on where it comes from.
fn table(pyro: &PathBuf, name: &str) -> Result<String> {
    let text = page(pyro, name)?;
    let (title, rest) = text.split_once('\n').with_context(|| format!("the page {name} is empty"))?;
    Ok(format!(
        "{title}\n\nWritten by `cargo xtask generate` from the program's own tables; do not edit.\n{rest}"
    ))
}

/// The help of the program and of all its commands, as one page.
fn describe(pyro: &PathBuf) -> Result<String> {
    let mut page = String::from(
        "# Command line\n\nWritten by `cargo xtask generate` from the program's own help; do not edit.\n",
    );
    describe_command(pyro, &[], &mut page)?;
    for command in UNLISTED {
        describe_command(pyro, &[(*command).to_owned()], &mut page)?;
    }
    Ok(page)
}

fn describe_command(pyro: &PathBuf, words: &[String], page: &mut String) -> Result<()> {
    ensure!(words.len() < 4, "commands nest too deeply: {}", words.join(" "));
    let mut command = std::process::Command::new(pyro);
    command.args(words).arg("--help").env("COLUMNS", COLUMNS).env("NO_COLOR", "1");
    let output = step::output(&format!("pyro {} --help", words.join(" ")), command.stdin(Stdio::null()))?;
    let help = String::from_utf8(output).context("help is not UTF-8")?;
    let name = ["pyro"].into_iter().chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ");
    let tidy: Vec<&str> = help.lines().map(str::trim_end).collect();
    page.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", tidy.join("\n").trim_end()));
    for subcommand in subcommands(&help) {
        let mut words = words.to_vec();
        words.push(subcommand);
        describe_command(pyro, &words, page)?;
    }
    Ok(())
}

/// Names under `Commands:` of a help text.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    listed
        .take_while(|line| !line.trim().is_empty())
        // A name stands two columns in; what stands further in is the rest of a description.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_help() {
        let help = "Does it\n\nUsage: pyro\n\nCommands:\n  run     Runs a\n          command\n  env     Lists\n  help    Prints\n\nOptions:\n  -h  Help\n";
        assert_eq!(subcommands(help), ["run", "env"]);
        assert!(subcommands("Usage: pyro run\n").is_empty());
    }
}
