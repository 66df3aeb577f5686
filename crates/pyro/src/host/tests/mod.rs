//! Configurations as people have them: what an entry does to them, and that nothing else happens to them.

mod entries;
mod notations;
mod refusals;

use std::path::Path;

use super::{
    Host, HostName, Location, Places, Scope, Wish, connect,
    connection::{Outcome, Refused},
    mend,
};

/// The program of these tests.
const PYRO: &str = "/usr/bin/pyro";

fn places() -> Places {
    let home = |name: &str| (name == "HOME").then(|| "/h".into());
    Places::new(home, Path::new("/p")).unwrap()
}

fn location(host: &Host, scope: Scope) -> Location {
    let mut locations = host.locations(&places()).into_iter();
    locations.find(|location| location.scope == scope).unwrap()
}

fn wish() -> Wish {
    Wish {
        name: "pyro".to_owned(),
        program: PYRO.to_owned(),
        profile: None,
        allow_paths: vec!["/h/projects".to_owned()],
        environment: [("XDG_RUNTIME_DIR".to_owned(), "/run/user/1".to_owned())].into(),
    }
}

fn same(word: &str) -> bool {
    word == PYRO || word == "pyro"
}

fn connected(name: HostName, text: &str) -> Result<Outcome, Refused> {
    let host = name.host();
    connect(host, &location(host, Scope::User), text, &wish(), false, same)
}

#[track_caller]
fn changed(outcome: Result<Outcome, Refused>) -> String {
    match outcome.unwrap() {
        Outcome::Changed(text) => text,
        Outcome::Unchanged => panic!("nothing was changed"),
    }
}

fn mended(name: HostName, text: &str) -> Result<Outcome, Refused> {
    let host = name.host();
    let wish = Wish { allow_paths: Vec::new(), ..wish() };
    mend(host, &location(host, Scope::User), text, &wish, same)
}
