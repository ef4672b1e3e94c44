//! The client: a handle on one connection to one server, for as long as it lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::Endpoint;
use quoth_protocol::frame::Welcome;
use quoth_protocol::{ConversationName, ProducerId};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::builder::Builder;
use crate::conversation::Conversation;
use crate::error::ConversationError;
use crate::link::Core;
use crate::marks::Marks;
use crate::requests::Receiving;
use crate::room::{COMMANDS_MAX, Command, Room};
use crate::send::Numbers;
use crate::state::State;
use crate::transport::{Connection, Transport, quic};

/// What [`Client::close`] gives sends to get their acks. Outcome: their outcome is unknown.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the endpoint gets to tell the server about the close, which takes three round trips and 75 ms at most
/// when nothing is lost. Outcome: the server finds out by its idle timeout.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A client of one server, signed in as one user. Cheap to clone; all clones are the same client. It connects
/// again by itself whenever that can help. When the last of it, its conversations and its events has been
/// dropped, the connection is closed without waiting for acks: prefer [`Client::close`].
#[derive(Debug, Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
}

/// What does not change.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) producer: ProducerId,
    pub(crate) producer_is_fixed: bool,
    pub(crate) send_timeout: Duration,
    pub(crate) own_endpoint: bool,
    pub(crate) mark_delivered: bool,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) core: Arc<Core>,
    pub(crate) settings: Settings,
    /// `None` when the client has no QUIC.
    endpoint: Option<Endpoint>,
    shutdown: watch::Sender<bool>,
    numbers: Arc<Numbers>,
    rooms: Mutex<Rooms>,
}

/// The conversations that have a task.
#[derive(Debug)]
struct Rooms {
    by_name: BTreeMap<ConversationName, RoomTask>,
    rng: StdRng,
}

#[derive(Debug)]
struct RoomTask {
    commands: mpsc::WeakSender<Command>,
    producer: ProducerId,
    receiving: Receiving,
    task: JoinHandle<()>,
}

impl Client {
    /// Begins a client of the server at `host:port`.
    #[must_use]
    pub fn builder(server: impl Into<String>) -> Builder {
        Builder::new(server.into())
    }

    /// A conversation, by its name. It is opened on the server with the first send or read, and closed when
    /// the last handle and reader of it is dropped and everything sent has its answer.
    ///
    /// # Errors
    /// When the name is empty, over 128 bytes, or has control characters.
    pub fn conversation(&self, name: impl AsRef<str>) -> Result<Conversation, ConversationError> {
        let Settings { producer, producer_is_fixed, .. } = self.shared.settings;
        self.shared.conversation(name.as_ref(), producer, producer_is_fixed)
    }

    /// The same with a producer of its own, for an import or a bridge that must recognise its messages after
    /// a restart. Every message needs a number ([`SendOptions::n`](crate::SendOptions::n)).
    ///
    /// # Errors
    /// As [`Client::conversation`], and when the conversation is in use with another producer.
    pub fn conversation_with_producer(
        &self,
        name: impl AsRef<str>,
        producer: ProducerId,
    ) -> Result<Conversation, ConversationError> {
        self.shared.conversation(name.as_ref(), producer, true)
    }

    /// Whether the server can be reached now.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.core.state.borrow().clone()
    }

    /// The same as a value that can be watched.
    #[must_use]
    pub fn states(&self) -> watch::Receiver<State> {
        self.shared.core.state.subscribe()
    }

    /// What the server said at the sign-in: who the user is, what an ack means, how many conversations may be
    /// open. `None` while there is no connection.
    #[must_use]
    pub fn welcome(&self) -> Option<Arc<Welcome>> {
        let link = self.shared.core.link.borrow();
        let signed_in = link.session.as_ref()?.signed_in.as_ref()?;
        Some(Arc::clone(&signed_in.welcome))
    }

    /// What carries the connection at present: never [`Transport::Auto`]. `None` while there is no
    /// connection.
    #[must_use]
    pub fn transport(&self) -> Option<Transport> {
        let link = self.shared.core.link.borrow();
        let session = link.session.as_ref().filter(|session| session.signed_in.is_some())?;
        Some(session.connection.path().into())
    }

    /// The first half of this client's message ids.
    #[must_use]
    pub fn producer(&self) -> ProducerId {
        self.shared.settings.producer
    }

    /// Moves to a fresh socket after a change of networks. Call it when the system reports such a change;
    /// without it the connection is found dead after the idle timeout. The connection and all that is open on
    /// it survive when the server answers on the new path within three round trips (1 s at least, 3 s at
    /// most); otherwise the client connects again at once, reads on and repeats what has no ack, as after any
    /// disconnect, and as it does in any case over a WebSocket, which cannot move. A client without a
    /// connection tries again at once.
    ///
    /// # Errors
    /// When no socket can be bound, and on a client that was built with an endpoint of the caller's, who must
    /// rebind that one.
    pub fn rebind(&self) -> std::io::Result<()> {
        if !self.shared.settings.own_endpoint {
            return Err(std::io::Error::new(
                std::io::ErrorKind::Unsupported,
                "the endpoint was given to the builder; rebind that one",
            ));
        }
        let core = &self.shared.core;
        let connection = self.shared.connection();
        let challenges = connection.and_then(|c| c.path_challenges()).unwrap_or_default();
        if let Some(endpoint) = &self.shared.endpoint {
            endpoint.rebind(quic::socket(endpoint.local_addr()?)?)?;
        }
        core.moves.send_replace(challenges);
        Ok(())
    }

    /// Ends the client and all clones of it: takes no more sends, waits up to 5 s for the acks of those that
    /// were made, closes the connection and waits until the server has been told (without that, it goes on
    /// sending into the void), up to 1 s. With other connections on an endpoint of the caller's that happens
    /// behind this call: keep the endpoint. Dropping the future leaves the client closing; the connection
    /// then ends when the last handle is dropped.
    pub async fn close(&self) {
        let tasks = self.shared.close_rooms();
        let finished = async {
            for task in tasks {
                // An error means that the task panicked, which is an end as well.
                task.await.ok();
            }
        };
        // What has no ack by now has an unknown outcome, which the connector's end tells each caller.
        timeout(CLOSE_TIMEOUT, finished).await.ok();
        let connection = self.shared.connection();
        let is_quic = matches!(connection, Some(Connection::Quic(_)));
        let is_websocket = matches!(connection, Some(Connection::WebSocket(_)));
        // Idle is the endpoint, not a connection: those of others would be waited for, and so would a QUIC
        // that was given up for a WebSocket.
        let idle = self.shared.endpoint.as_ref().filter(|endpoint| {
            let is_alone = endpoint.open_connections() <= usize::from(is_quic);
            !is_websocket && (self.shared.settings.own_endpoint || is_alone)
        });
        self.shared.shutdown.send_replace(true);
        let mut states = self.states();
        states.wait_for(|state| matches!(state, State::Closed { .. })).await.ok();
        let told = async {
            if let Some(connection) = connection {
                connection.told().await;
            }
            if let Some(endpoint) = idle {
                endpoint.wait_idle().await;
            }
        };
        timeout(IDLE_TIMEOUT, told).await.ok();
    }

    pub(crate) fn new(
        core: Arc<Core>,
        endpoint: Option<Endpoint>,
        shutdown: watch::Sender<bool>,
        settings: Settings,
        rng: StdRng,
    ) -> Self {
        let rooms = Mutex::new(Rooms { by_name: BTreeMap::new(), rng });
        let numbers = Arc::default();
        Self { shared: Arc::new(Shared { core, settings, endpoint, shutdown, numbers, rooms }) }
    }
}

impl Shared {
    /// The connection, if there is one.
    fn connection(&self) -> Option<Connection> {
        self.core.link.borrow().session.as_ref().map(|session| session.connection.clone())
    }

    /// A seed for a random number generator of one's own.
    pub(crate) fn seed(&self) -> u64 {
        self.rooms().rng.random()
    }

    /// A handle on a conversation, whose task is started if there is none.
    fn conversation(
        self: &Arc<Self>,
        name: &str,
        producer: ProducerId,
        producer_is_fixed: bool,
    ) -> Result<Conversation, ConversationError> {
        let name = ConversationName::new(name)?;
        let mut rooms = self.rooms();
        let running = rooms
            .by_name
            .get(&name)
            .and_then(|room| Some(((room.commands.upgrade()?, room.receiving.clone()), room.producer)));
        let (commands, receiving) = match running {
            Some((_, other)) if other != producer => {
                return Err(ConversationError::OtherProducer { conversation: name });
            }
            Some((running, _)) => running,
            None => self.start_room(&mut rooms, &name, producer),
        };
        drop(rooms);
        Ok(Conversation::new(name, (producer, producer_is_fixed), commands, receiving, Arc::clone(self)))
    }

    fn start_room(
        &self,
        rooms: &mut Rooms,
        name: &ConversationName,
        producer: ProducerId,
    ) -> (mpsc::Sender<Command>, Receiving) {
        let predecessor = rooms.by_name.remove(name).map(|room| room.task);
        rooms.by_name.retain(|_, room| !room.task.is_finished());
        let (commands, receiver) = mpsc::channel(COMMANDS_MAX);
        let rng = StdRng::from_rng(&mut rooms.rng);
        let ids = (producer, Arc::clone(&self.numbers));
        let receiving = Receiving::default();
        let marks = Marks::new(name, Arc::clone(&self.core.marks), self.settings.mark_delivered);
        let told = (receiving.clone(), marks);
        let room = Room::new(name.clone(), ids, receiver, self.core.link.subscribe(), told, rng);
        let task = tokio::spawn(room.run(predecessor));
        let room = RoomTask { commands: commands.downgrade(), producer, receiving: receiving.clone(), task };
        rooms.by_name.insert(name.clone(), room);
        (commands, receiving)
    }

    /// Tells all conversations to finish, and gives their tasks to wait for.
    fn close_rooms(&self) -> Vec<JoinHandle<()>> {
        self.core.link.send_modify(|link| link.closing = true);
        std::mem::take(&mut self.rooms().by_name).into_values().map(|room| room.task).collect()
    }

    fn rooms(&self) -> MutexGuard<'_, Rooms> {
        // Nothing panics while it holds the lock; if it did, the map would still be whole.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
