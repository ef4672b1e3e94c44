//! Everybody who uses the server while it is killed again and again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::history::What;
use crate::load::{From, Publisher, Reader, Recorder, read_log};
use crate::process::ServerProcess;
use crate::wire::Peer;
use anyhow::Context as _;
use quinn::{Endpoint, VarInt};
use quoth_protocol::frame::Start;
use quoth_protocol::{ConversationName, Seq, UserId};
use tokio::task::JoinSet;

/// Smallest segments that the server allows, so that the log rotates often.
pub const SMALL_SEGMENTS: &[&str] = &["--set", "store.log_segment_bytes=4194304"];

/// A bound of a hang, not a measurement.
pub const HANG: Duration = Duration::from_secs(60);

/// The conversations; two producers share the first two, one has each of the others.
const CONVERSATIONS: &[&str] = &["shared-1", "shared-2", "alice-only", "bob-only"];

/// Who publishes where, with which producer id.
const PUBLISHERS: &[(&str, u64, &[usize])] = &[("alice", 101, &[0, 1, 2]), ("bob", 102, &[0, 1, 3])];

/// How readers start again, and where they read.
const READERS: &[(From, &[usize])] =
    &[(From::Cursor, &[0, 1, 2, 3]), (From::Live, &[0, 1]), (From::Before, &[0, 3])];

/// Publishers under load do not stop by themselves.
static NEVER: AtomicBool = AtomicBool::new(false);

/// Publishers and readers between two servers, and what they have seen.
#[derive(Debug)]
pub struct World {
    /// What everybody has seen.
    pub recorder: Recorder,
    conversations: Vec<ConversationName>,
    publishers: Vec<(&'static str, Vec<Publisher>)>,
    readers: Vec<Vec<Reader>>,
}

/// Publishers and readers at work on one server.
#[derive(Debug)]
pub struct Load {
    recorder: Recorder,
    conversations: Vec<ConversationName>,
    peers: Vec<Arc<Peer>>,
    publishing: Vec<(&'static str, JoinSet<Publisher>)>,
    reading: Vec<JoinSet<Reader>>,
}

impl World {
    /// Nothing is sent yet.
    pub fn new(seed: u64) -> Self {
        let recorder = Recorder::default();
        let name = |name: &&str| ConversationName::new(name).unwrap();
        let conversations: Vec<_> = CONVERSATIONS.iter().map(name).collect();
        let publisher = |user: &str, producer: u64, at: usize| {
            let (conversation, user) = (conversations[at].clone(), UserId::new(user).unwrap());
            Publisher::new(conversation, user, producer, seed ^ at as u64, recorder.clone())
        };
        let publishers = PUBLISHERS.iter().map(|(user, producer, places)| {
            (*user, places.iter().map(|at| publisher(user, *producer, *at)).collect())
        });
        let readers = READERS.iter().zip(0..).map(|((from, places), id)| {
            let reader =
                |at: &usize| Reader::new(id, conversations[*at].clone(), *from, seed, recorder.clone());
            places.iter().map(reader).collect()
        });
        Self {
            publishers: publishers.collect(),
            readers: readers.collect(),
            recorder: recorder.clone(),
            conversations: conversations.clone(),
        }
    }

    /// Connects everybody, sends again what is in flight and goes on. The load starts when all have signed
    /// in: a flood may drop the packets of a handshake, which then takes seconds.
    pub async fn start(self, server: &ServerProcess) -> anyhow::Result<Load> {
        let Self { recorder, conversations, publishers, readers } = self;
        let mut peers = Vec::new();
        for user in readers.iter().map(|_| "alice").chain(publishers.iter().map(|(user, _)| *user)) {
            peers.push(Arc::new(connect(server, user).await?));
        }
        let (of_readers, of_publishers) = peers.split_at(readers.len());
        let mut reading = Vec::new();
        for (readers, peer) in readers.into_iter().zip(of_readers) {
            let mut tasks = JoinSet::new();
            for mut reader in readers {
                let peer = Arc::clone(peer);
                tasks.spawn(async move {
                    let _ends_with_the_server = reader.run(&peer, Seq(u64::MAX)).await;
                    reader
                });
            }
            reading.push(tasks);
        }
        let mut publishing = Vec::new();
        for ((user, publishers), peer) in publishers.into_iter().zip(of_publishers) {
            let mut tasks = JoinSet::new();
            for mut publisher in publishers {
                let peer = Arc::clone(peer);
                tasks.spawn(async move {
                    let _ends_with_the_server = publisher.run(&peer, &NEVER).await;
                    publisher
                });
            }
            publishing.push((user, tasks));
        }
        Ok(Load { recorder, conversations, peers, publishing, reading })
    }

    /// Everybody comes to the end: what is in flight is acked, and readers that resume have everything.
    pub async fn settle(mut self, server: &ServerProcess) -> anyhow::Result<Self> {
        let stop = AtomicBool::new(true);
        for (user, publishers) in &mut self.publishers {
            let peer = connect(server, user).await?;
            for publisher in publishers {
                publisher.run(&peer, &stop).await?;
            }
        }
        let peer = connect(server, "bob").await?;
        let mut heads = Vec::new();
        for conversation in &self.conversations {
            heads.push((conversation.clone(), peer.open(conversation.as_str(), 0, None).await?.1));
        }
        for readers in &mut self.readers {
            // Readers of one connection never have a conversation in common: it is open once there.
            let peer = connect(server, "alice").await?;
            for reader in readers {
                let head =
                    heads.iter().find(|(name, _)| name == reader.conversation()).context("all are open")?.1;
                reader.run(&peer, head).await?;
            }
        }
        Ok(self)
    }

    /// Reads every log at the end, and gives the number of events in all of them.
    pub async fn read_logs(&self, server: &ServerProcess) -> anyhow::Result<u64> {
        self.read_logs_into(&self.recorder, server).await
    }

    /// The number of events in all logs, read aside of the history.
    pub async fn stored(&self, server: &ServerProcess) -> anyhow::Result<u64> {
        self.read_logs_into(&Recorder::default(), server).await
    }

    async fn read_logs_into(&self, recorder: &Recorder, server: &ServerProcess) -> anyhow::Result<u64> {
        let peer = connect(server, "alice").await?;
        let mut events = 0;
        for conversation in &self.conversations {
            events += read_log(&peer, conversation, recorder).await?.0;
        }
        Ok(events)
    }

    /// Opens each conversation at the last seq that was acked in it, and gives the answers.
    pub async fn open_at_acked(&self, server: &ServerProcess) -> anyhow::Result<Vec<anyhow::Result<Seq>>> {
        let peer = connect(server, "alice").await?;
        let mut acked = HashMap::new();
        for step in self.recorder.steps() {
            if let What::Acked { ack, .. } = step.what {
                let last = acked.entry(step.conversation).or_insert(ack.seq);
                *last = ack.seq.max(*last);
            }
        }
        let mut answers = Vec::new();
        for (conversation, seq) in acked {
            let opened = peer.open(conversation.as_str(), 0, Some(Start::After(seq))).await;
            answers.push(opened.map(|(_, head)| head));
        }
        Ok(answers)
    }
}

impl Load {
    /// Waits for the acks of so many new messages.
    pub async fn acked(&self, count: u64) -> anyhow::Result<()> {
        Ok(tokio::time::timeout(HANG, self.recorder.acked(count)).await?)
    }

    /// Where they write down what they see.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Everybody notices that the server is gone.
    pub async fn end(self) -> World {
        for peer in &self.peers {
            peer.quic.close(VarInt::from_u32(0), b"");
        }
        let (mut publishers, mut readers) = (Vec::new(), Vec::new());
        for (user, publishing) in self.publishing {
            publishers.push((user, publishing.join_all().await));
        }
        for reading in self.reading {
            readers.push(reading.join_all().await);
        }
        World { recorder: self.recorder, conversations: self.conversations, publishers, readers }
    }
}

/// Names of the log's segments, oldest first.
fn segments(data_dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(data_dir.join("store").join("log")) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
    names.sort();
    names
}

/// Waits until the log's first segment is another one.
pub async fn trimmed(data_dir: &Path) {
    let first = segments(data_dir).first().cloned();
    let started = Instant::now();
    while segments(data_dir).first().cloned() == first {
        assert!(started.elapsed() < HANG, "the log was not trimmed under load");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A connection with a socket of its own.
pub async fn connect(server: &ServerProcess, user: &str) -> anyhow::Result<Peer> {
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    Peer::connect(&endpoint, server.address(), &server.ca_file(), &server.token(user)?).await
}
