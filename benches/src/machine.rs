//! The machine that the figures were taken on.

use std::{collections::BTreeMap, fs};

use pyro_engine::Engine;

/// Processor, memory, kernel, load, engine and isolation.
pub(crate) fn facts(engine: &dyn Engine) -> BTreeMap<&'static str, String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    BTreeMap::from([
        ("processor", format!("{} × {}", cpus, field(&read("/proc/cpuinfo"), "model name"))),
        ("memory", field(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load at the start", read("/proc/loadavg").split_whitespace().take(3).collect::<Vec<_>>().join(" ")),
        ("engine", engine.build().version.clone()),
        ("isolation", format!("{:?}", engine.acceleration()).to_lowercase()),
    ])
}
