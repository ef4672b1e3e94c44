//! The relays as child processes.

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

use super::Place;
use crate::process::Process;

/// What a relay speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoken<'a> {
    /// Quoth's frames over QUIC.
    Quic {
        /// Streams of a connection at once.
        streams: u32,
        /// `bbr` or `cubic`.
        congestion_control: &'a str,
    },
    /// The same frames over WebSocket.
    WebSocket,
}

/// A running relay; killed when it is dropped.
#[derive(Debug)]
pub struct Relay {
    process: Process,
    address: SocketAddr,
    dir: TempDir,
}

impl Relay {
    /// Starts one and waits until it serves.
    ///
    /// # Errors
    /// When it does not, with the end of its log.
    pub fn start(place: &Place, spoken: Spoken<'_>) -> anyhow::Result<Self> {
        let dir = place.folder_for("relay")?;
        let listen = place.listen().to_string();
        let arguments: Vec<OsString> = match spoken {
            Spoken::Quic { streams, congestion_control } => vec![
                "relay".into(),
                dir.path().into(),
                listen.into(),
                streams.to_string().into(),
                congestion_control.into(),
            ],
            Spoken::WebSocket => vec!["websocket".into(), listen.into()],
        };
        let mut process =
            Process::start(&mut place.floor_server_command(&arguments), &dir.path().join("log"))?;
        let mut address = String::new();
        BufReader::new(process.stdout()?).read_line(&mut address)?;
        let address = address
            .trim()
            .parse()
            .with_context(|| format!("the relay does not serve: {}", process.log_tail()))?;
        Ok(Self { process, address, dir })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The CA of its certificate, over QUIC.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// An error behind which may be that it has ended.
    pub fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        self.process.explain("the relay", error)
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
