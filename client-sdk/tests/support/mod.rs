//! A small server for tests of the SDK: it speaks the protocol, keeps its logs in memory, and misbehaves on
//! request.

mod connection;
mod conversation;
mod machine;
mod proxy;
pub(crate) mod requests;
mod websocket;
mod wire;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quinn::{Endpoint, EndpointConfig, ServerConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;
use quoth_client::protocol::frame::{
    ClientFrame, Durability, Event, EventKind, Hello, ServerFrame, Welcome, feature,
};
use quoth_client::{Builder, Client, Code, Seq, Transport, UserId};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, watch};

use self::connection::Connection;
pub(crate) use self::machine::Machine;
pub(crate) use self::proxy::{Passes, Proxy};
use self::requests::Requests;
use self::wire::Frames;

/// Streams that a client may have open at once.
pub(crate) const STREAMS_MAX: u32 = 56;

/// A server on a port of its own, with a CA of its own.
pub(crate) struct FakeServer {
    pub(crate) address: SocketAddr,
    pub(crate) ca_pem: String,
    pub(crate) world: Arc<World>,
    /// What its clients use.
    pub(crate) transport: Transport,
    endpoint: Endpoint,
}

/// What a server keeps over a restart.
#[derive(Clone)]
pub(crate) struct Identity {
    ca_pem: String,
    config: ServerConfig,
    endpoint: EndpointConfig,
    /// For TLS over TCP.
    tls: Arc<rustls::ServerConfig>,
}

/// What outlives connections.
#[derive(Default)]
pub(crate) struct World {
    inner: Mutex<Inner>,
    /// Rings when a connection has signed in, a publish has been stored, a stream has been opened, or a request
    /// has been asked or answered.
    pub(crate) changed: Notify,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) logs: HashMap<String, Log>,
    pub(crate) faults: Faults,
    pub(crate) requests: Requests,
    pub(crate) hellos: Vec<Hello>,
    /// What each of them came over.
    pub(crate) hellos_over: Vec<Transport>,
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
    /// How clients have closed: over what, with which code if with any.
    pub(crate) ends: Vec<(Transport, Option<Code>)>,
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
    /// Which store it is; another one is that of a backup.
    pub(crate) store: u64,
    /// So many publishes are stored and get no ack.
    pub(crate) swallow_acks: usize,
    /// So many publishes are not even read: the stream stands still before them.
    pub(crate) stop_reading: bool,
    /// The next publishes are refused, with these codes.
    pub(crate) refuse: Vec<Code>,
    /// The next publish is refused for so many milliseconds.
    pub(crate) refuse_for: Option<(Code, u32)>,
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
    /// Only what comes over this is answered.
    pub(crate) answer_only: Option<Transport>,
    /// Connections are refused by QUIC itself, which has no codes of ours, and cut by TCP.
    pub(crate) refuse_connections: bool,
    /// Requests for a WebSocket are answered with this status and `Retry-After`, in seconds.
    pub(crate) answer_requests: Option<(u16, u64)>,
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
        let kind = EventKind::message(body.to_vec());
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
        log.events.iter().filter_map(|e| Some(String::from_utf8_lossy(e.kind.body()?).into_owned())).collect()
    }

    /// Ends every connection with a code.
    pub(crate) fn drop_connections(&self, code: Code) {
        for (connection, _) in self.lock().connections.drain(..) {
            connection.close(code, "dropped by the test");
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
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp_tls = Arc::new(tls.clone());
        tls.alpn_protocols = vec![b"quoth/1".to_vec()];
        let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let mut config = ServerConfig::with_crypto(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX)).send_window(256 * 1024);
        config.transport_config(Arc::new(transport));
        let mut endpoint = EndpointConfig::default();
        endpoint.cid_generator(|| Box::new(HashedConnectionIdGenerator::from_key(1)));
        Self { ca_pem: key.cert.pem(), config, endpoint, tls: tcp_tls }
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
    /// For clients that use this transport.
    pub(crate) fn over(transport: Transport) -> Self {
        let mut server = Self::start();
        server.transport = transport;
        server
    }

    /// For clients that use QUIC.
    pub(crate) fn start() -> Self {
        Self::start_as(&Identity::new(), 0)
    }

    /// Starts, perhaps again, on this port.
    pub(crate) fn start_as(identity: &Identity, port: u16) -> Self {
        let (udp, tcp) = bind(port);
        let (config, runtime) = (Some(identity.config.clone()), Arc::new(quinn::TokioRuntime));
        let endpoint = Endpoint::new(identity.endpoint.clone(), config, udp, runtime).unwrap();
        let world = Arc::new(World::default());
        tokio::spawn(accept(endpoint.clone(), Arc::clone(&world)));
        tokio::spawn(websocket::accept(tcp, Arc::clone(&identity.tls), Arc::clone(&world)));
        let address = endpoint.local_addr().unwrap();
        Self { address, ca_pem: identity.ca_pem.clone(), world, transport: Transport::Quic, endpoint }
    }

    pub(crate) fn builder(&self) -> Builder {
        self.builder_by_way_of(self.address)
    }

    /// The server is reached at another address than its own.
    pub(crate) fn builder_by_way_of(&self, address: SocketAddr) -> Builder {
        let builder = Client::builder(address.to_string()).ca_pem(self.ca_pem.clone());
        builder.token("alice").rng_seed(1).transport(self.transport)
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

/// Sockets on one port number; 0 is any that both have free.
fn bind(port: u16) -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let port_of_both = udp.local_addr().unwrap().port();
        match std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port_of_both)) {
            Ok(tcp) => {
                tcp.set_nonblocking(true).unwrap();
                return (udp, TcpListener::from_std(tcp).unwrap());
            }
            // Somebody else's.
            Err(error) => assert_eq!(port, 0, "{error}"),
        }
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
                serve(Connection::Quic(connection), world).await;
            }
        });
    }
}

/// A connection. The token is the user's name.
async fn serve(connection: Connection, world: Arc<World>) {
    let Ok(mut control) = connection.accept().await else { return };
    let Ok(Some(ClientFrame::Hello(hello))) = control.next().await else { return };
    let user = UserId::new(&hello.token).unwrap();
    let (frames, queue) = mpsc::unbounded_channel();
    let (ending, ends) = (connection.clone(), Arc::clone(&world));
    tokio::spawn(async move {
        let code = ending.closed().await;
        ends.lock().ends.push((ending.transport(), code));
        ends.changed.notify_waiters();
    });
    {
        let mut inner = world.lock();
        inner.hellos.push(hello);
        inner.hellos_over.push(connection.transport());
    }
    world.changed.notify_waiters();
    let early = early_stream(&connection, &world).await;
    let is_answered = |faults: &Faults| faults.answer_only.is_none_or(|over| over == connection.transport());
    world.wait_until(|w| !w.faults.hold_answers && is_answered(&w.faults)).await;
    let goes_away = {
        let mut inner = world.lock();
        let goes_away = inner.faults.go_away_hellos > 0;
        inner.faults.go_away_hellos -= usize::from(goes_away);
        goes_away
    };
    if goes_away {
        control.push(&ServerFrame::GoAway {
            code: Code::GOING_AWAY,
            retry_after_ms: 1,
            reason: String::new(),
        });
        control.flush().await.ok();
        control.finish();
        control.received().await;
        connection.close(Code::GOING_AWAY, "the server is going away");
        return;
    }
    let features = {
        let mut inner = world.lock();
        if !inner.faults.reject_hellos.is_empty() {
            let code = inner.faults.reject_hellos.remove(0);
            connection.close(code, "rejected by the test");
            drop(inner);
            world.changed.notify_waiters();
            return;
        }
        inner.connections.push((connection.clone(), frames.clone()));
        let has_datagrams = !inner.faults.without_datagrams && connection.transport() == Transport::Quic;
        let membership = if inner.requests.unknown { 0 } else { feature::MEMBERSHIP };
        let messages = if inner.requests.messages { feature::MESSAGES } else { 0 };
        membership | messages | if has_datagrams { feature::DATAGRAMS } else { 0 }
    };
    connection.signed_in();
    control.push(&ServerFrame::Welcome(Welcome {
        version: 1,
        features,
        user: user.clone(),
        durability: Durability::Memory,
        time_ms: 1_000,
        // Beside them are the control stream and 4 pages.
        open_conversations_max: STREAMS_MAX - 5,
        server: "fake".to_owned(),
    }));
    control.flush().await.ok();
    world.changed.notify_waiters();
    let streams = async {
        if let Some(frames) = early {
            tokio::spawn(conversation::serve(frames, Arc::clone(&world), user.clone()));
        }
        while let Ok(frames) = connection.accept().await {
            tokio::spawn(conversation::serve(frames, Arc::clone(&world), user.clone()));
        }
    };
    tokio::join!(
        streams,
        pass_typing_on(&connection, &world, &user),
        serve_control(&connection, control, (frames, queue), &world, &user)
    );
}

/// Typing notices in datagrams.
async fn pass_typing_on(connection: &Connection, world: &World, user: &UserId) {
    while let Some(datagram) = connection.read_datagram().await {
        if let Ok(ClientFrame::Typing { conversation }) = quoth_client::protocol::codec::decode(&datagram) {
            let notice = ServerFrame::Typing { conversation, user: user.clone() };
            let notice = quoth_client::protocol::codec::encode_datagram(&notice);
            for (other, _) in &world.lock().connections {
                other.send_datagram(notice.clone());
            }
        }
    }
}

/// The stream of which something is read before the Hello is answered.
async fn early_stream(connection: &Connection, world: &World) -> Option<Frames> {
    let count = || world.lock().faults.frames_before_answer;
    let no_more_are_awaited = || world.wait_until(|w| w.faults.frames_before_answer == 0);
    if count() == 0 {
        return None;
    }
    let mut frames = tokio::select! {
        frames = connection.accept() => frames.ok()?,
        () = no_more_are_awaited() => return None,
    };
    let mut seen = Vec::new();
    while seen.len() < count() {
        tokio::select! {
            frame = frames.next() => {
                let Ok(Some(frame)) = frame else { break };
                world.lock().early.push(frame.clone());
                seen.push(frame);
            }
            () = no_more_are_awaited() => break,
        }
        world.changed.notify_waiters();
    }
    frames.put_back(seen);
    Some(frames)
}

async fn serve_control(
    connection: &Connection,
    mut control: Frames,
    (frames, mut queue): (mpsc::UnboundedSender<ServerFrame>, mpsc::UnboundedReceiver<ServerFrame>),
    world: &Arc<World>,
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
                Ok(Some(ClientFrame::Request { id, request })) if !world.lock().requests.unknown => {
                    let frames = frames.clone();
                    requests::take(world, id, request, move |reply| drop(frames.send(reply)));
                }
                Ok(Some(ClientFrame::Status { away })) if !world.lock().requests.unknown => {
                    world.lock().requests.statuses.push(away);
                    world.changed.notify_waiters();
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
                    return connection.close(code, "going away");
                }
            }
        }
    }
}
