//! Environments for runs: the blocking library of the crate below on threads of its own, and its boot files with their digest.

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use pyro_engine::BootFiles;
use pyro_environments::{Cancellation, Environment, Environments, Progress};

use crate::{error::Error, task, template::TemplateSource};

/// The environments of a host.
#[derive(Clone, Debug)]
pub struct EnvironmentStore {
    environments: Arc<Environments>,
    agent: PathBuf,
}

impl EnvironmentStore {
    pub(crate) fn new(environments: Arc<Environments>, agent: PathBuf) -> Self {
        Self { environments, agent }
    }

    /// Runs one blocking operation of the library. Its cancellation fires when the caller drops this future, so
    /// that no builder works for nobody.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Environments, &Cancellation) -> Result<T, pyro_environments::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let environments = Arc::clone(&self.environments);
        let cancellation = Cancellation::new().map_err(|source| Error::Store {
            operation: "open an event descriptor for",
            path: self.agent.clone(),
            source,
        })?;
        let _abandoned = CancelOnDrop(cancellation.clone());
        task::blocking(move || work(&environments, &cancellation).map_err(Error::from)).await
    }

    /// The environment of that name, made now if it is not installed. `report` gets phase and share done.
    pub(crate) async fn ensure(
        &self,
        name: &str,
        mut report: impl FnMut(String, Option<f64>) + Send + 'static,
    ) -> Result<Environment, Error> {
        let name = name.to_owned();
        self.with(move |environments, cancellation| {
            let mut told = |progress: &Progress| report(progress.phase.to_string(), Some(progress.fraction));
            environments.ensure(&name, cancellation, &mut told)
        })
        .await
    }

    /// What machines of this environment boot, with our agent in it.
    pub(crate) async fn template_source(&self, environment: &Environment) -> Result<TemplateSource, Error> {
        let environment = environment.clone();
        let agent = self.agent.clone();
        self.with(move |environments, _| {
            let files = environments.boot_files(&environment, &agent)?;
            let boot = BootFiles {
                vmlinux: files.vmlinux,
                initramfs: files.initramfs,
                root_image: files.root_image,
                kernel_arguments: files.kernel_arguments,
            };
            Ok(TemplateSource { boot, boot_digest: files.digest.to_string() })
        })
        .await
    }

    /// Digests of what every installed environment boots with our agent.
    pub(crate) async fn boot_digests(&self) -> Result<HashSet<String>, Error> {
        let agent = self.agent.clone();
        self.with(move |environments, _| {
            let names = environments.list().into_iter().filter(|info| info.installed).map(|info| info.name);
            let installed = names.filter_map(|name| environments.installed(&name).ok().flatten());
            installed
                .map(|environment| Ok(environments.boot_files(&environment, &agent)?.digest.to_string()))
                .collect()
        })
        .await
    }
}

struct CancelOnDrop(Cancellation);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
