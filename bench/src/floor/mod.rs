//! Floors: the least that a machine can do. Each is a child process that runs this program again.
//!
//! | floor | what it does not have |
//! |---|---|
//! | [`relay`] | a store, tokens, rules, limits: messages go from publishers to readers in memory, over bare quinn |
//! | [`websocket`] | the same over WebSocket, without TLS |
//! | [`append`] | a network: a file that is appended to, with `fdatasync` |

pub mod append;
mod bound;
pub mod relay;
mod rooms;
pub mod websocket;

use std::ffi::OsString;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

pub(crate) use bound::arguments as bound_arguments;

/// What a floor's process is told.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum FloorCommand {
    /// A relay over bare quinn.
    Relay {
        /// Where it makes its certificate.
        dir: PathBuf,
        /// Where it listens.
        listen: SocketAddr,
        /// Streams of a connection at once.
        streams: u32,
        /// Its congestion control.
        congestion_control: relay::Control,
    },
    /// A relay over bare WebSocket.
    Websocket {
        /// Where it listens.
        listen: SocketAddr,
    },
    /// Appends to a file, and tells how long each append took.
    Append(append::Task),
    /// Any program, bound to the life of the bench.
    Bound(bound::Bound),
}

/// Runs a floor in this process; a server ends with its process.
///
/// # Errors
/// When it cannot.
pub fn run(command: &FloorCommand) -> anyhow::Result<()> {
    match command {
        FloorCommand::Relay { dir, listen, streams, congestion_control } => {
            relay::serve(dir, *listen, *streams, *congestion_control)
        }
        FloorCommand::Websocket { listen } => websocket::serve(*listen),
        FloorCommand::Append(task) => append::run(task),
        FloorCommand::Bound(bound) => bound::become_program(bound),
    }
}

/// How floors are started: a program with the words in front of a [`FloorCommand`].
#[derive(Debug, Clone)]
pub struct Program {
    /// The program.
    pub path: PathBuf,
    /// As in `bench floor`.
    pub words: Vec<OsString>,
}

impl Program {
    /// This program, as it is called on the command line.
    ///
    /// # Errors
    /// When the system does not say where it is.
    pub fn this() -> std::io::Result<Self> {
        let words = ["bench", "floor"].map(OsString::from).to_vec();
        Ok(Self { path: std::env::current_exe()?, words })
    }

    /// Appends the words and `arguments` to a command of which the program is the path, inside a network
    /// namespace or not.
    pub fn arguments(&self, command: &mut Command, arguments: &[OsString]) {
        command.args(&self.words).args(arguments);
    }
}

/// Tells the parent where a server listens.
fn tell_address(address: SocketAddr) -> std::io::Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{address}")?;
    stdout.flush()
}
