//! Who talks where, how often and over what; and what of that a variant has otherwise.

use serde::{Deserialize, Serialize};

/// Who talks where. Member m of conversation c is on connection (c × members + m) modulo connections, so
/// members of one conversation are on different connections, and connections have equally many members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// How many conversations.
    pub conversations: u32,
    /// Members of each. Loads whose clients all do the same have as many as there are connections for them.
    #[serde(default)]
    pub members: u32,
    /// How many of a conversation's members publish: the first ones.
    #[serde(default = "one")]
    pub publishers: u32,
    /// Whether those read as well.
    #[serde(default)]
    pub publishers_read: bool,
    /// Whether connections on which everybody publishes are on the servers' side of the network, as those of
    /// people who are elsewhere and not what is measured. Without a network it changes nothing.
    #[serde(default)]
    pub publishers_near: bool,
    /// Connections of all clients.
    pub connections: u32,
    /// What the server's clients speak. Floors and rivals speak what they do.
    #[serde(default)]
    pub transport: Transport,
    /// Open loop: messages per second, all publishers together, in turn.
    #[serde(default)]
    pub rate_per_s: f64,
    /// Open loop: how they come.
    #[serde(default)]
    pub arrival: Arrival,
    /// Closed loop: messages on their way.
    #[serde(default = "default_window")]
    pub window: u32,
    /// Closed loop: whose.
    #[serde(default)]
    pub window_of: WindowOf,
    /// Closed loop: until when a message is on its way.
    #[serde(default)]
    pub window_until: Until,
    /// How many conversations, the last ones, have readers that never read, so that flow control stops them.
    #[serde(default)]
    pub stalled: u32,
    /// Catch-up and storm: messages in each conversation that readers come back to.
    #[serde(default)]
    pub backlog: u32,
    /// All but open and closed loops: handshakes that are under way at once.
    #[serde(default = "default_at_once")]
    pub at_once: u32,
    /// Storm: whether clients have kept what lets them come back with a shorter handshake. A floor never has.
    #[serde(default)]
    pub tickets: bool,
}

/// What a client speaks its frames over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// QUIC.
    #[default]
    Quic,
    /// WebSocket, with TLS.
    Websocket,
    /// WebSocket without TLS, as the relay's is; a server that runs already must have `server.plain_http`.
    WebsocketPlain,
}

impl Transport {
    /// In words.
    #[must_use]
    pub fn told(self) -> &'static str {
        match self {
            Self::Quic => "QUIC",
            Self::Websocket => "WebSocket with TLS",
            Self::WebsocketPlain => "WebSocket without TLS",
        }
    }
}

/// How messages of an open loop come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arrival {
    /// Evenly.
    #[default]
    Even,
    /// At random, independent of each other, as people do (exponential gaps).
    Poisson,
    /// One of each publisher at once, then a pause.
    Burst,
}

/// Whose messages a window counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowOf {
    /// Each publisher's.
    #[default]
    Publisher,
    /// Those of all publishers on a connection, who publish in turn. Until their acks.
    Connection,
}

/// Until when a message of a closed loop is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Until {
    /// Its ack.
    #[default]
    Acked,
    /// As many deliveries of the conversation as all its readers together have to get.
    Delivered,
}

/// Another shape of the same load. What is not given is as in the profile.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// How it is called in tables.
    pub name: String,
    conversations: Option<u32>,
    members: Option<u32>,
    connections: Option<u32>,
    window: Option<u32>,
    rate_per_s: Option<f64>,
    arrival: Option<Arrival>,
    stalled: Option<u32>,
    tickets: Option<bool>,
}

fn one() -> u32 {
    1
}

fn default_window() -> u32 {
    64
}

fn default_at_once() -> u32 {
    64
}

impl Shape {
    /// Readers of each conversation.
    #[must_use]
    pub fn readers(&self) -> u32 {
        if self.publishers_read { self.members } else { self.members - self.publishers }
    }

    /// Members on a connection, at most.
    #[must_use]
    pub fn members_per_connection(&self) -> u32 {
        (self.conversations * self.members).div_ceil(self.connections)
    }
}

impl Variant {
    /// The profile's shape with what the variant changes.
    #[must_use]
    pub fn apply(&self, shape: &Shape) -> Shape {
        Shape {
            conversations: self.conversations.unwrap_or(shape.conversations),
            members: self.members.unwrap_or(shape.members),
            connections: self.connections.unwrap_or(shape.connections),
            window: self.window.unwrap_or(shape.window),
            rate_per_s: self.rate_per_s.unwrap_or(shape.rate_per_s),
            arrival: self.arrival.unwrap_or(shape.arrival),
            stalled: self.stalled.unwrap_or(shape.stalled),
            tickets: self.tickets.unwrap_or(shape.tickets),
            ..shape.clone()
        }
    }
}
