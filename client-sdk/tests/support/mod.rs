//! A small server for tests of the SDK: it speaks the protocol, keeps its logs in memory, and misbehaves on request.

mod conversation;
mod machine;
mod proxy;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quinn::{Connection, Endpoint, EndpointConfig, ServerConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use quoth_client::protocol::frame::{
    ClientFrame, Durability, Event, EventKind, Hello, ServerFrame, Welcome, feature,
};
use quoth_client::{Builder, Client, Code, Seq, UserId};
use tokio::sync::{Notify, mpsc, watch};

pub(crate) use self::machine::Machine;
pub(crate) use self::proxy::Proxy;
use self::wire::Frames;

/// Streams that a client may have open at once.
pub(crate) const STREAMS_MAX: u32 = 56;

/// A server on a port of its own, with a CA of its own.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) world: Arc<World>,
    endpoint: Endpoint,
}

/// What a server keeps over a restart.
#[derive(Clone)]
pub(crate) struct Identity {
    ca_pem: String,
    config: ServerConfig,
    endpoint: EndpointConfig,
}

/// What outlives connections.
#[derive(Default)]
pub(crate) struct World {
    inner: Mutex<Inner>,
    /// Rings when a connection has signed in, a publish has been stored, or a stream has been opened.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) logs: HashMap<String, Log>,
    pub(crate) faults: Faults,
    pub(crate) hellos: Vec<Hello>,
    pub(crate) refreshes: Vec<String>,
    /// All publishes as they came in, with repeats: (producer, n).
    pub(crate) publishes: Vec<(u64, u64)>,
    pub(crate) connections: Vec<(Connection, mpsc::UnboundedSender<ServerFrame>)>,
    /// Events put on conversation streams, with repeats.
    pub(crate) events_sent: usize,
    /// Streams opened, by conversation.
    pub(crate) opens: Vec<String>,
    /// Connections that came with a token of an earlier one.
    pub(crate) known_addresses: usize,
    /// What was read of streams before the Hello was answered.
    pub(crate) early: Vec<ClientFrame>,
}

/// A conversation.
pub(crate) struct Log {
    pub(crate) events: Vec<Event>,
    pub(crate) floor: u64,
    /// (producer, n) to seq.
    pub(crate) ids: HashMap<(u64, u64), u64>,
    pub(crate) head: watch::Sender<u64>,
}

/// What is to go wrong.
#[derive(Default)]
pub(crate) struct Faults {
    /// So many publishes are stored and get no ack.
    pub(crate) swallow_acks: usize,
    /// So many publishes are not even read: the stream stands still before them.
    pub(crate) stop_reading: bool,
    /// The next publishes are refused, with these codes.
    pub(crate) refuse: Vec<Code>,
    /// The next opens are reset, with these codes.
    pub(crate) reset_opens: Vec<Code>,
    /// Everything that reads behind this seq is reset with STORE_FAILED.
    pub(crate) damaged_behind: Option<u64>,
    /// Opens that read are reset with FORBIDDEN.
    pub(crate) forbid_reading: bool,
    /// The next sign-ins are answered with these codes.
    pub(crate) reject_hellos: Vec<Code>,
    /// No Hello is answered before so many frames of the next stream have been read.
    pub(crate) frames_before_answer: usize,
    /// No Hello is answered.
    pub(crate) hold_answers: bool,
    /// Connections are refused by QUIC itself, which has no codes of ours.
    pub(crate) refuse_connections: bool,
    /// The next stream with a publish is stopped behind that, and its ack comes later.
    pub(crate) stop_before_ack: bool,
    /// So many sign-ins are answered with GoAway, as by a server that drains.
    pub(crate) go_away_hellos: usize,
    /// The connection is left open behind a GoAway.
    pub(crate) stay_behind_go_away: bool,
    /// This event is left out.
    pub(crate) leave_out: Option<u64>,
    /// In place of the next event comes a gap up to the last number that there is.
    pub(crate) endless_gap: bool,
    /// Typing goes over the control stream.
    pub(crate) without_datagrams: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { events: Vec::new(), floor: 1, ids: HashMap::new(), head: watch::Sender::new(0) }
    }
}

impl Log {
    pub(crate) fn append(&mut self, sender: &UserId, body: &[u8], origin_time_ms: Option<u64>) -> u64 {
        let seq = self.events.len() as u64 + 1;
        let kind = EventKind::Message { body: body.to_vec().into() };
        let sender = sender.clone();
        self.events.push(Event { seq: Seq(seq), time_ms: 1_000 + seq, sender, origin_time_ms, kind });
        self.head.send_replace(seq);
        seq
    }
}

impl World {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Waits until the world is so.
    pub(crate) async fn wait_until(&self, what: impl Fn(&Inner) -> bool) {
        loop {
            let changed = self.changed.notified();
            if what(&self.lock()) {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn fill(&self, conversation: &str, count: u64) {
        let mut inner = self.lock();
        let log = inner.logs.entry(conversation.to_owned()).or_default();
        for i in 0..count {
            log.append(&UserId::new("filler").unwrap(), format!("filled {i}").as_bytes(), None);
        }
    }

    pub(crate) fn bodies(&self, conversation: &str) -> Vec<String> {
        let inner = self.lock();
        let Some(log) = inner.logs.get(conversation) else { return Vec::new() };
        log.events
            .iter()
            .map(|e| match &e.kind {
                EventKind::Message { body } => String::from_utf8_lossy(body).into_owned(),
            })
            .collect()
    }

    /// Ends every connection with a code.
    pub(crate) fn drop_connections(&self, code: Code) {
        for (connection, _) in self.lock().connections.drain(..) {
            connection.close(VarInt::from_u32(code.0), b"dropped by the test");
        }
    }

    /// Sends a frame on every control stream; behind a GoAway the connection is closed.
    pub(crate) fn tell_all(&self, frame: &ServerFrame) {
        for (_, control) in &self.lock().connections {
            control.send(frame.clone()).ok();
        }
    }
}

impl Identity {
    pub(crate) fn new() -> Self {
        let key = rcgen::generate_simple_self_signed(vec!["localhost".into(), "127.0.0.1".into()]).unwrap();
        let key_der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![key.cert.der().clone()], key_der.into())
            .unwrap();
        tls.alpn_protocols = vec![b"quoth/1".to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX)).send_window(256 * 1024);
        config.transport_config(Arc::new(transport));
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(|| Box::new(HashedConnectionIdGenerator::from_key(1)));
        Self { ca_pem: key.cert.pem(), config, endpoint }
    }
}

impl Identity {
    /// Connections that are silent for so long are dropped.
    pub(crate) fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
        transport.max_idle_timeout(Some(timeout.try_into().unwrap()));
        self.config.transport_config(Arc::new(transport));
        self
    }
}

impl FakeServer {
    pub(crate) fn start() -> Self {
        Self::start_as(&Identity::new(), 0)
    }

    /// Starts, perhaps again, on this port.
    pub(crate) fn start_as(identity: &Identity, port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let (config, runtime) = (Some(identity.config.clone()), Arc::new(quinn::TokioRuntime));
        let endpoint = Endpoint::new(identity.endpoint.clone(), config, socket, runtime).unwrap();
        let world = Arc::new(World::default());
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&world)));
        let address = endpoint.local_addr().unwrap();
        Self { address, ca_pem: identity.ca_pem.clone(), world, endpoint }
    }

    pub(crate) fn builder(&self) -> Builder {
        Client::builder(self.address.to_string()).ca_pem(self.ca_pem.clone()).token("alice").rng_seed(1)
    }

    pub(crate) async fn client(&self) -> Client {
        self.builder().connect().await.unwrap()
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(Code::CLOSED.0), b"the test is over");
    }
}

async fn accept(endpoint: Endpoint, world: Arc<World>) {
    while let Some(incoming) = endpoint.accept().await {
        let world = Arc::clone(&world);
        if world.lock().faults.refuse_connections {
            incoming.refuse();
            continue;
        }
        world.lock().known_addresses += usize::from(incoming.remote_address_validated());
        tokio::spawn(async move {
            if let Ok(connection) = incoming.await {
                serve(connection, world).await;
            }
        });
    }
}

/// A connection. The token is the user's name.
async fn serve(connection: Connection, world: Arc<World>) {
    let Ok((send, recv)) = connection.accept_bi().await else { return };
    let mut control = Frames::new(send, recv);
    let Ok(Some(ClientFrame::Hello(hello))) = control.next().await else { return };
    let user = UserId::new(&hello.token).unwrap();
    let (frames, queue) = mpsc::unbounded_channel();
    world.lock().hellos.push(hello);
    world.changed.notify_waiters();
    let early = early_stream(&connection, &world).await;
    world.wait_until(|w| !w.faults.hold_answers).await;
    let goes_away = {
        let mut inner = world.lock();
        let goes_away = inner.faults.go_away_hellos > 0;
        inner.faults.go_away_hellos -= usize::from(goes_away);
        goes_away
    };
    if goes_away {
        control.push(&ServerFrame::GoAway { code: Code::GOING_AWAY, retry_after_ms: 1 });
        control.flush().await.ok();
        control.finish();
        control.received().await;
        connection.close(VarInt::from_u32(Code::GOING_AWAY.0), b"the server is going away");
        return;
    }
    let features = {
        let mut inner = world.lock();
        if !inner.faults.reject_hellos.is_empty() {
            let code = inner.faults.reject_hellos.remove(0);
            connection.close(VarInt::from_u32(code.0), b"rejected by the test");
            drop(inner);
            world.changed.notify_waiters();
            return;
        }
        inner.connections.push((connection.clone(), frames));
        if inner.faults.without_datagrams { 0 } else { feature::DATAGRAMS }
    };
    control.push(&ServerFrame::Welcome(Welcome {
        version: 1,
        features,
        user: user.clone(),
        durability: Durability::Memory,
        time_ms: 1_000,
        open_conversations_max: 48,
        server: "fake".to_owned(),
    }));
    control.flush().await.ok();
    world.changed.notify_waiters();
    let streams = async {
        if let Some(frames) = early {
            tokio::spawn(conversation::serve(frames, Arc::clone(&world), user.clone()));
        }
        while let Ok((send, recv)) = connection.accept_bi().await {
            let (world, user) = (Arc::clone(&world), user.clone());
            tokio::spawn(conversation::serve(Frames::new(send, recv), world, user));
        }
    };
    let datagrams = async {
        while let Ok(datagram) = connection.read_datagram().await {
            if let Ok(ClientFrame::Typing { conversation }) = quoth_client::protocol::codec::decode(&datagram)
            {
                let notice = ServerFrame::Typing { conversation, user: user.clone() };
                let notice = quoth_client::protocol::codec::encode_datagram(&notice);
                let connections: Vec<Connection> =
                    world.lock().connections.iter().map(|(c, _)| c.clone()).collect();
                for other in connections {
                    other.send_datagram(notice.clone()).ok();
                }
            }
        }
    };
    tokio::join!(streams, datagrams, serve_control(&connection, control, queue, &world, &user));
}

/// The stream of which something is read before the Hello is answered.
async fn early_stream(connection: &Connection, world: &World) -> Option<Frames> {
    let count = world.lock().faults.frames_before_answer;
    if count == 0 {
        return None;
    }
    let (send, recv) = connection.accept_bi().await.ok()?;
    let mut frames = Frames::new(send, recv);
    let seen = frames.peek(count).await;
    world.lock().early.extend(seen);
    world.changed.notify_waiters();
    Some(frames)
}

async fn serve_control(
    connection: &Connection,
    mut control: Frames,
    mut queue: mpsc::UnboundedReceiver<ServerFrame>,
    world: &World,
    user: &UserId,
) {
    loop {
        tokio::select! {
            frame = control.next() => match frame {
                Ok(Some(ClientFrame::Refresh { token })) => {
                    world.lock().refreshes.push(token);
                    world.changed.notify_waiters();
                }
                Ok(Some(ClientFrame::Typing { conversation })) => {
                    world.tell_all(&ServerFrame::Typing { conversation, user: user.clone() });
                }
                Ok(Some(other)) => panic!("{other:?} on the control stream"),
                Ok(None) | Err(()) => return,
            },
            Some(frame) = queue.recv() => {
                control.push(&frame);
                control.flush().await.ok();
                if let ServerFrame::GoAway { code, .. } = frame
                    && !world.lock().faults.stay_behind_go_away
                {
                    control.finish();
                    control.received().await;
                    return connection.close(VarInt::from_u32(code.0), b"going away");
                }
            }
        }
    }
}
