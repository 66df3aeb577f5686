//! Which templates exist, and which are loaded.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use pyro_engine::{Engine, MachineShape, SavedMachine, SealedMemory};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::{Template, TemplateKey, TemplateSource, build, digest};
use crate::{
    error::Error,
    host::Live,
    layout::{Layout, PARTIAL_PREFIX},
    lock::FileLock,
    task,
};

/// File names inside a template's directory.
pub(super) mod file {
    pub(crate) const MEMORY: &str = "memory";
    pub(crate) const STATE: &str = "state";
    pub(crate) const DISK: &str = "disk.raw";
    pub(crate) const RECORD: &str = "template.json";
}

/// What `template.json` says: the digest of each file. Written last.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) memory: String,
    pub(super) state: String,
    pub(super) disk: String,
    #[serde(flatten)]
    pub(super) origin: Origin,
}

/// What a template was made by and from. One whose engine is another now, or whose boot files belong to no
/// environment, is of no use any more.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    pub(super) engine_digest: String,
    pub(super) boot_digest: String,
    /// For people: what this template is.
    pub(super) about: String,
}

/// All templates of a store.
#[derive(Debug)]
pub(crate) struct Templates {
    layout: Layout,
    engine: Arc<dyn Engine>,
    builder: build::Builder,
    loaded: Mutex<Loaded>,
    /// Builds and loads in progress count as live: nobody may take the process down under them.
    live: Live,
    /// One gate for each key, so that in this process one caller loads or builds and the others wait without a thread.
    gates: Mutex<HashMap<TemplateKey, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug)]
struct Loaded {
    /// Least recently used first.
    templates: Vec<Arc<Template>>,
    cap_bytes: u64,
}

/// How a template came to be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// It was in memory.
    Loaded,
    /// It was on disk.
    Installed,
    /// It was made now.
    Built,
}

impl Templates {
    pub(crate) fn new(
        layout: Layout,
        engine: Arc<dyn Engine>,
        builder: build::Builder,
        cap_bytes: u64,
        live: Live,
    ) -> Self {
        let loaded = Mutex::new(Loaded { templates: Vec::new(), cap_bytes });
        Self { layout, engine, builder, loaded, live, gates: Mutex::default() }
    }

    /// The template for this shape and source: from memory, from disk, or built now.
    ///
    /// Building is not undone when the caller goes away: it ends in a template that the next one uses.
    pub(crate) async fn get(
        self: &Arc<Self>,
        shape: MachineShape,
        source: &TemplateSource,
    ) -> Result<(Arc<Template>, Found), Error> {
        let key = TemplateKey::of(self.engine.as_ref(), shape, source);
        if let Some(template) = self.loaded(&key) {
            return Ok((template, Found::Loaded));
        }
        let this = Arc::clone(self);
        let source = source.clone();
        let alive = self.live.begin();
        task::spawn(async move {
            let _alive = alive;
            this.load_or_build(key, shape, source).await
        })
        .await
    }

    /// Called when a restore failed: a template whose files are damaged is removed, so that the next start builds it anew.
    pub(crate) async fn suspect(&self, template: &Template) {
        self.unload(&template.key);
        let (directory, lock) =
            (self.layout.template(template.key.as_str()), self.layout.template_lock(template.key.as_str()));
        let checked = task::blocking(move || {
            let failed = |source| Error::Store { operation: "lock the template", path: lock.clone(), source };
            let _builder = FileLock::wait(&lock).map_err(failed)?;
            Ok(check(&directory).map(drop).inspect_err(|_| remove(&directory)))
        });
        if let Ok(Err(error)) = checked.await {
            warn!(template = %template.key, %error, "the template is damaged and was removed");
        }
    }

    /// Templates that nobody needs: of another engine, of boot files that are not current, or left by killed builders.
    /// Blocks.
    pub(crate) fn unneeded(&self, current: &HashSet<String>) -> Result<Vec<PathBuf>, Error> {
        self.look_over(current, |_| ())
    }

    /// Removes the templates of other boot files than these. One that is being built is left alone.
    pub(crate) fn prune(&self, current: &HashSet<String>) -> Result<usize, Error> {
        self.look_over(current, remove).map(|removed| removed.len())
    }

    /// Does `to_each` of those that nobody needs, while no builder can begin on it.
    fn look_over(&self, current: &HashSet<String>, to_each: impl Fn(&Path)) -> Result<Vec<PathBuf>, Error> {
        let directory = self.layout.templates();
        let failed = |source| Error::Store {
            operation: "look over the templates in",
            path: directory.clone(),
            source,
        };
        let mut unneeded = Vec::new();
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(key) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else {
                continue;
            };
            if !path.is_dir() {
                continue;
            }
            // What a killed builder left is of the same key, and of no use without a builder.
            let (key, partial) = match key.strip_prefix(PARTIAL_PREFIX) {
                Some(key) => (key, true),
                None => (key.as_str(), false),
            };
            let Some(_builder) = FileLock::try_take(&self.layout.template_lock(key)).map_err(failed)? else {
                continue;
            };
            let engine_digest = &self.engine.build().digest;
            let of_use = |origin: &Origin| {
                current.contains(&origin.boot_digest) && origin.engine_digest == *engine_digest
            };
            if !partial && record(&path).is_ok_and(|record| of_use(&record.origin)) {
                continue;
            }
            to_each(&path);
            unneeded.push(path);
        }
        Ok(unneeded)
    }

    async fn load_or_build(
        &self,
        key: TemplateKey,
        shape: MachineShape,
        source: TemplateSource,
    ) -> Result<(Arc<Template>, Found), Error> {
        let gate = Arc::clone(
            self.gates.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()).or_default(),
        );
        let _turn = gate.lock().await;
        if let Some(template) = self.loaded(&key) {
            return Ok((template, Found::Loaded));
        }
        let lock = self.layout.template_lock(key.as_str());
        let _builder = task::blocking(move || {
            FileLock::wait(&lock).map_err(|source| Error::Store {
                operation: "lock the template",
                path: lock,
                source,
            })
        })
        .await?;
        if let Some(template) = self.load(&key).await? {
            return Ok((template, Found::Installed));
        }
        self.builder.build(self.engine.as_ref(), &self.layout, &key, shape, &source).await?;
        let template = self.load(&key).await?.ok_or_else(|| Error::Store {
            operation: "read the template just made in",
            path: self.layout.template(key.as_str()),
            source: io::ErrorKind::InvalidData.into(),
        })?;
        Ok((template, Found::Built))
    }

    /// Loads an installed template; a damaged one is removed and counts as absent.
    async fn load(&self, key: &TemplateKey) -> Result<Option<Arc<Template>>, Error> {
        let directory = self.layout.template(key.as_str());
        if !directory.join(file::RECORD).exists() {
            return Ok(None);
        }
        let from = directory.clone();
        let loaded = task::blocking(move || {
            Ok(check(&from).and_then(|record| {
                let memory = SealedMemory::load(&from.join(file::MEMORY)).map_err(|error| error.source)?;
                Ok((memory, record.memory))
            }))
        })
        .await?;
        match loaded {
            Ok((memory, memory_digest)) => {
                let template = Arc::new(Template {
                    key: key.clone(),
                    saved: SavedMachine { memory: Arc::new(memory), state: directory.join(file::STATE) },
                    disk: directory.join(file::DISK),
                    memory: directory.join(file::MEMORY),
                    memory_digest,
                });
                self.remember(&template);
                Ok(Some(template))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                ) =>
            {
                warn!(template = %key, %error, "the template is damaged and is built again");
                remove(&directory);
                Ok(None)
            }
            Err(source) => Err(Error::Store { operation: "load the template in", path: directory, source }),
        }
    }

    fn loaded(&self, key: &TemplateKey) -> Option<Arc<Template>> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let place = loaded.templates.iter().position(|template| template.key == *key)?;
        let template = loaded.templates.remove(place);
        // A cache may be deleted at any time; then it is made again.
        if !template.is_on_disk() {
            return None;
        }
        loaded.templates.push(Arc::clone(&template));
        Some(template)
    }

    /// The memory of a loaded template that was loaded from this very file, by whatever name.
    pub(crate) fn memory_of(&self, file: &Path) -> Option<Arc<SealedMemory>> {
        let wanted = fs::metadata(file).ok()?;
        let is_same = |template: &&Arc<Template>| {
            fs::metadata(&template.memory)
                .is_ok_and(|about| (about.dev(), about.ino()) == (wanted.dev(), wanted.ino()))
        };
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.templates.iter().find(is_same).map(|template| Arc::clone(&template.saved.memory))
    }

    /// Keeps the template loaded and lets go of the least recently used ones over the cap. Machines that run
    /// from one keep its memory alive until they end.
    fn remember(&self, template: &Arc<Template>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.templates.push(Arc::clone(template));
        let mut total: u64 =
            loaded.templates.iter().map(|template| template.saved.memory.resident_bytes()).sum();
        while total > loaded.cap_bytes && loaded.templates.len() > 1 {
            let dropped = loaded.templates.remove(0);
            total -= dropped.saved.memory.resident_bytes();
            info!(template = %dropped.key, "unloading a template to stay under the memory cap");
        }
    }

    fn unload(&self, key: &TemplateKey) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.templates.retain(|template| template.key != *key);
    }
}

/// Every file of the template against its recorded digest.
fn check(directory: &Path) -> io::Result<Record> {
    let record = record(directory)?;
    for (name, expected) in
        [(file::MEMORY, &record.memory), (file::STATE, &record.state), (file::DISK, &record.disk)]
    {
        if digest::sparse(&directory.join(name))? != *expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("`{name}` is not as it was saved"),
            ));
        }
    }
    Ok(record)
}

fn record(directory: &Path) -> io::Result<Record> {
    Ok(serde_json::from_slice(&fs::read(directory.join(file::RECORD))?)?)
}

pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory)
        && error.kind() != io::ErrorKind::NotFound
    {
        warn!(path = %directory.display(), %error, "cannot remove");
    }
}
