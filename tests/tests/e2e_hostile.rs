//! Peers that mean harm, against the real server: it stays alive, its memory stays bounded, and honest
//! clients hardly notice.
//!
//! Each test prints what it has measured. `HOSTILE_SECONDS` makes the attacks longer, as in
//! `HOSTILE_SECONDS=30`.

#[path = "e2e_hostile/attack.rs"]
mod attack;
#[path = "e2e_hostile/initials.rs"]
mod initials;
#[path = "e2e_hostile/memory.rs"]
mod memory;
#[path = "e2e_hostile/peers.rs"]
mod peers;
#[path = "e2e_hostile/sockets.rs"]
mod sockets;

use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use quoth_bench::process::Usage;
use quoth_tests::process::ServerProcess;
use tempfile::TempDir;

/// What an attack may add to the server's memory.
const MEMORY_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// One target at a time: what honest clients notice must not be what another test does meanwhile.
static TURN: Mutex<()> = Mutex::new(());

/// A server in development mode, on a folder of its own.
struct Target {
    server: ServerProcess,
    dir: TempDir,
    memory_before: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Target {
    fn start(arguments: &[&str]) -> anyhow::Result<Self> {
        let turn = TURN.lock();
        let dir = tempfile::tempdir()?;
        let server = ServerProcess::start_with(&dir.path().join("data"), "127.0.0.1:0", arguments)?;
        let memory_before = Usage::of(server.pid())?.memory_bytes;
        Ok(Self { server, dir, memory_before, _turn: turn })
    }

    /// What it has more of memory than when it was started; fails when it is not alive.
    fn grown_bytes(&self) -> anyhow::Result<u64> {
        Ok(Usage::of(self.server.pid())?.memory_bytes.saturating_sub(self.memory_before))
    }

    fn assert_bounded(&self, what: &str) -> anyhow::Result<u64> {
        let grown = self.grown_bytes()?;
        assert!(grown <= MEMORY_BYTES_MAX, "{what}: the server has {grown} bytes more");
        Ok(grown)
    }

    fn log(&self) -> String {
        ServerProcess::log(&self.dir.path().join("data"))
    }
}

/// How long an attack lasts, unless that is configured.
fn seconds(default: f64) -> Duration {
    let configured = std::env::var("HOSTILE_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs_f64(configured.unwrap_or(default))
}

fn run<T>(test: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}
