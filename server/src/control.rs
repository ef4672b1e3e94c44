//! The socket in the data folder by which commands on the same machine reach the server that has the folder.
//!
//! Whoever may open it may read the folder anyway: it is the owner's alone. A command sends one line of JSON
//! and gets one; what it was given is its own until it closes the connection, so nothing is left of a command
//! that is killed.
//!
//! `{"do":"pin"}` is answered with `{"dir":"…","end":812}`: a [`Pin`] of the store, with a copy of the
//! outbox's cursor, and the last position in it; or with `{"error":"…"}`.

use std::fs::{File, Permissions};
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use quoth_store::{Pin, Pinner, Position};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::data_folder::{CONTROL_SOCKET, OUTBOX_FILE};

/// Bytes of a command's line.
const COMMAND_BYTES_MAX: u64 = 4 * 1024;

/// How long nothing is accepted after the system could give no more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Command {
    Pin,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Reply {
    Pinned { dir: PathBuf, end: u64 },
    Failed { error: String },
}

/// The socket of a running server. It is closed, and what commands were given is taken back, when this is
/// dropped.
#[derive(Debug)]
pub(crate) struct Control {
    path: PathBuf,
    _serving: JoinSet<()>,
}

impl Control {
    /// Serves on the current runtime. The data folder's store is this process' own already, so a socket that
    /// is there is left over.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn start(data_dir: &Path, pinner: Pinner) -> Result<Self, String> {
        let path = data_dir.join(CONTROL_SOCKET);
        let failed = |error| format!("the socket {} cannot be made: {error}", path.display());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let (address, _folder) = address(data_dir).map_err(failed)?;
        let listener = UnixListener::bind(address).map_err(failed)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(failed)?;
        let mut serving = JoinSet::new();
        let pins = Arc::new(Pins { pinner, beside: vec![data_dir.join(OUTBOX_FILE)] });
        serving.spawn(accept(listener, pins));
        Ok(Self { path, _serving: serving })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _nobody_is_there_anyway = std::fs::remove_file(&self.path);
    }
}

/// What pins the store, and what is copied beside it.
#[derive(Debug)]
struct Pins {
    pinner: Pinner,
    beside: Vec<PathBuf>,
}

async fn accept(listener: UnixListener, pins: Arc<Pins>) {
    let mut commands = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = commands.join_next() => crate::session::log_panic(&ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let pins = Arc::clone(&pins);
                    commands.spawn(async move {
                        if let Err(error) = command(stream, pins).await {
                            tracing::debug!(%error, "a command's connection ended");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "no command of this machine is accepted for a moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn command(mut stream: tokio::net::UnixStream, pins: Arc<Pins>) -> std::io::Result<()> {
    let (reads, mut writes) = stream.split();
    let mut reads = tokio::io::BufReader::new(reads.take(COMMAND_BYTES_MAX));
    let mut line = String::new();
    reads.read_line(&mut line).await?;
    let (reply, given) = match serde_json::from_str(&line) {
        Ok(Command::Pin) => pin(pins).await,
        Err(error) => {
            (Reply::Failed { error: format!("the server does not know this command: {error}") }, None)
        }
    };
    let mut reply = serde_json::to_vec(&reply)?;
    reply.push(b'\n');
    // Until the command ends, in whatever way.
    let ended = async {
        writes.write_all(&reply).await?;
        reads.read_line(&mut line).await
    };
    let ended = ended.await;
    tokio::task::spawn_blocking(move || drop(given)).await?;
    ended.map(drop)
}

async fn pin(pins: Arc<Pins>) -> (Reply, Option<Pin>) {
    match tokio::task::spawn_blocking(move || pins.pinner.pin(&pins.beside)).await {
        Ok(Ok(pin)) => {
            let dir = std::path::absolute(pin.dir()).unwrap_or_else(|_| pin.dir().to_owned());
            tracing::info!(position = %pin.end(), "the store is pinned for a command");
            (Reply::Pinned { dir, end: pin.end().0 }, Some(pin))
        }
        Ok(Err(error)) => (Reply::Failed { error: error.to_string() }, None),
        Err(error) => (Reply::Failed { error: format!("by a mistake in the server: {error}") }, None),
    }
}

/// A pin of a running server's store, which lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) dir: PathBuf,
    pub(crate) end: Position,
    _connection: UnixStream,
}

/// Has the server that runs on a data folder pin its store. `None` when none answers there.
///
/// # Errors
/// Why it could not.
pub(crate) fn pinned(data_dir: &Path) -> Result<Option<Pinned>, String> {
    let failed = |error: std::io::Error| {
        format!("the server of {} does not answer on {CONTROL_SOCKET}: {error}", data_dir.display())
    };
    let connection = address(data_dir).and_then(|(address, _folder)| UnixStream::connect(address));
    let mut connection = match connection {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        connection => connection.map_err(failed)?,
    };
    let mut command = serde_json::to_string(&Command::Pin).map_err(|error| error.to_string())?;
    command.push('\n');
    connection.write_all(command.as_bytes()).map_err(failed)?;
    let mut line = String::new();
    BufReader::new(connection.try_clone().map_err(failed)?).read_line(&mut line).map_err(failed)?;
    if line.is_empty() {
        return Err("the server has ended meanwhile, and nothing was taken of it: run it again".to_owned());
    }
    match serde_json::from_str(&line) {
        Ok(Reply::Pinned { dir, end }) => {
            Ok(Some(Pinned { dir, end: Position(end), _connection: connection }))
        }
        Ok(Reply::Failed { error }) => Err(format!("the server could not pin its store: {error}")),
        Err(error) => Err(format!("the server's answer cannot be read: {error}")),
    }
}

/// The socket's address. A path of more than some 100 bytes is none, so the folder is named by its
/// descriptor, which must be open meanwhile.
fn address(data_dir: &Path) -> std::io::Result<(PathBuf, File)> {
    let folder = File::open(data_dir)?;
    let by_descriptor = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let dir = if by_descriptor.exists() { by_descriptor } else { data_dir.to_owned() };
    Ok((dir.join(CONTROL_SOCKET), folder))
}
