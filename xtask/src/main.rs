//! Every chore of this repository, one file for each: `cargo xtask TASK`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program that talks to people")]

mod account;
mod arguments;
mod bench;
mod build;
mod check;
mod checkout;
mod demo;
mod dependencies;
mod fuzz;
mod generate;
mod installed;
mod licences;
mod mcp;
mod picture;
mod prepare;
mod python;
mod sdk;
mod smoke;
mod stage;
mod step;
mod tally;
mod test;
mod tidy;
mod wheel;

use std::process::ExitCode;

use arguments::Arguments;

const HELP: &str = "\
Usage: cargo xtask TASK [options]

--shipped tries the programs that the wheel carries.

  prepare                 install what this host lacks (root), or print the line that does
  build [--release | --profile P]
                          build pyro and, beside it, the static guest agent
  demo [--shipped] [--fresh] [--account NAME]
                          prepare, build, make debian:12, run the main job cold and then warm
                          --fresh: with empty caches, in a directory that is removed afterwards
  test [--release | --shipped] [--account NAME] [--as-root] [FILTER...]
                          prepare, build, then every test, guest-backed ones included
                          --account: who runs the guest-backed suite when root starts this
                          --as-root: run what is not the same for root a second time as root
  sdk [--release | --shipped] [--account NAME] [FILTER...]
                          of those, the ones of the Python SDK
  mcp [--release | --shipped] [--account NAME] [FILTER...]
                          of those, the ones of the MCP server with clients of others
  smoke [--release | --shipped] [--account NAME] [STORY...]
                          of those, the use cases of docs/use-cases and the examples of clients
  wheel [--release]       build the Python package with the programs in it
  bench [ARGS...]         prepare, build, measure, compare with benches/budgets.toml (--json for programs, --only GROUP)
  check [--shipped]       formatting, lints, tidiness, licences, dependencies, generated reference
  generate                write docs/reference and the generated part of sdks/python again
  pictures [--record]     draw docs/pictures again; --record: run their sessions in machines first
  fuzz [--seconds N] [TARGET...]
                          run the fuzz targets, each for N seconds (60)
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(task) = words.next() else {
        print!("{HELP}");
        return ExitCode::from(2);
    };
    let arguments = Arguments::new(words);
    let done = match task.as_str() {
        "prepare" => arguments.finish().and_then(|()| prepare::run()),
        "build" => build::run(arguments),
        "demo" => demo::run(arguments),
        "test" => test::run(arguments),
        "sdk" => sdk::run(arguments),
        "mcp" => mcp::run(arguments),
        "smoke" => smoke::run(arguments),
        "wheel" => wheel::run(arguments),
        "bench" => bench::run(arguments),
        "check" => check::run(arguments),
        "generate" => arguments.finish().and_then(|()| generate::run()),
        "pictures" => picture::run(arguments),
        "fuzz" => fuzz::run(arguments),
        "help" | "-h" | "--help" => {
            print!("{HELP}");
            Ok(())
        }
        other => {
            eprintln!("there is no task `{other}`\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {task}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
