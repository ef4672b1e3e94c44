//! The server that is measured, on a folder of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::ServerProcess;
use crate::site::Site;

/// A running server. Ended when it is dropped.
#[derive(Debug)]
pub(super) struct Target {
    server: ServerProcess,
    dir: TempDir,
}

impl Target {
    /// Starts a server on a new folder in `dir`.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) fn quoth(dir: &Path) -> anyhow::Result<Self> {
        Self::quoth_with(dir, &[], |_| Ok(()))
    }

    /// The same with settings, as `KEY=VALUE`, and on a store that `fill` makes in the folder that it is
    /// given.
    ///
    /// # Errors
    /// When that fails, or the server does not start.
    pub(super) fn quoth_with(
        dir: &Path,
        settings: &[String],
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let dir = TempDir::new_in(dir)?;
        let data = dir.path().join("data");
        fill(&data.join("store"))?;
        Ok(Self { server: start(&data, settings)?, dir })
    }

    /// Ends the server as an operator does, and starts it with other settings on the same data.
    ///
    /// # Errors
    /// When it does not end well, or does not start.
    pub(super) fn restart(self, settings: &[String]) -> anyhow::Result<Self> {
        let Self { server, dir } = self;
        let status = server.terminate()?;
        anyhow::ensure!(status.success(), "the server ended with {status}");
        Ok(Self { server: start(&dir.path().join("data"), settings)?, dir })
    }

    /// Its data.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// For users of any name.
    pub(super) fn site(&self) -> Site {
        Site::of_process(&self.server, &self.data_dir())
    }

    pub(super) fn server(&self) -> &ServerProcess {
        &self.server
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(super) fn ca_file(&self) -> PathBuf {
        self.server.ca_file()
    }

    /// A token of a service, which may have many conversations open.
    pub(super) fn token(&self) -> anyhow::Result<String> {
        self.server.token("service_token")
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }
}

fn start(data: &Path, settings: &[String]) -> anyhow::Result<ServerProcess> {
    // Its members' tokens leave all else to membership.
    let settings = ["auth.names_freely=true"].into_iter().chain(settings.iter().map(String::as_str));
    let arguments: Vec<&str> = settings.flat_map(|setting| ["--set", setting]).collect();
    ServerProcess::start_with(data, "127.0.0.1:0", &arguments)
}
