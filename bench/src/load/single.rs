//! What the loads share that measure a single thing and not a stream of messages. They speak to servers of Quoth's frames only.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use hdrhistogram::Histogram;
use quoth_protocol::frame::Welcome;

use super::Progress;
use super::meter::Meter;
use crate::outcome::Check;
use crate::process::Usage;
use crate::profile::{Payload, Shape, Transport};
use crate::record::{histogram, record};
use crate::system::lanes::QuothWebSocket;
use crate::system::quic::Quic;
use crate::system::{Client as _, System as _};

/// A server of Quoth's frames: the server or the relay.
#[derive(Debug, Clone, Copy)]
pub struct Server<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name that its certificate is for.
    pub name: &'a str,
    /// The CA of its certificate.
    pub ca_file: &'a Path,
    /// A token that allows everything.
    pub token: &'a str,
    /// Its process, where it can be watched.
    pub pid: Option<u32>,
    /// Whether it keeps what is published. A relay does not, so nobody can come back to anything.
    pub stores: bool,
}

/// The load.
#[derive(Debug, Clone, Copy)]
pub struct Single<'a> {
    /// Who talks where.
    pub shape: &'a Shape,
    /// What a message is.
    pub payload: &'a Payload,
    /// Says when to end before the time.
    pub progress: &'a Progress,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Single figures, with the unit last.
    pub values: BTreeMap<String, f64>,
    /// Times.
    pub times: BTreeMap<String, Histogram<u64>>,
    /// What the history checker has found.
    pub check: Check,
}

impl Server<'_> {
    /// It, as a thread of clients sees it, within the thread's runtime.
    ///
    /// # Errors
    /// When there is no such CA or no socket.
    pub fn quic(&self) -> anyhow::Result<Quic> {
        Quic::new(self.address, self.name, self.ca_file, self.token)
    }

    /// The same over WebSocket.
    ///
    /// # Errors
    /// When there is no such CA.
    pub fn websocket(&self, transport: Transport) -> anyhow::Result<QuothWebSocket> {
        let tls = (transport == Transport::Websocket).then_some((self.name, self.ca_file));
        QuothWebSocket::new(self.address, tls, self.token)
    }

    /// What it says when a client signs in.
    ///
    /// # Errors
    /// When none can.
    pub fn welcome(&self) -> anyhow::Result<Welcome> {
        runtime()?.block_on(async {
            let client = self.quic()?.connect().await.context("a client does not connect")?;
            let welcome = client.welcome().clone();
            client.close().await;
            Ok(welcome)
        })
    }

    pub(super) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        self.pid.map(Usage::of).transpose()
    }
}

impl Found {
    pub(super) fn value(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.values.insert(name.to_owned(), value);
        }
    }

    /// What the clients took of a processor, all of them on one thread.
    pub(super) fn clients(&mut self, meter: Meter) {
        let share = meter.share();
        self.value("clients_cpu", share);
        self.value("clients_cpu_busiest", share);
    }

    pub(super) fn times(&mut self, name: &str, times: impl IntoIterator<Item = Duration>) {
        let mut all = histogram();
        times.into_iter().for_each(|time| record(&mut all, time));
        self.times.insert(name.to_owned(), all);
    }
}

/// A runtime for the clients.
pub(super) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// A name that no other run has.
pub(super) fn names(shape: &Shape) -> Vec<String> {
    let run: u32 = rand::random();
    (0..shape.conversations).map(|c| format!("bench-{run:08x}-{c}")).collect()
}
