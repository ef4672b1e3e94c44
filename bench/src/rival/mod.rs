//! Other servers beside the one that is measured, each as its makers recommend it for live messages.
//!
//! | name | what it is |
//! |---|---|
//! | `nats-core` | nats-server without storage and without acks |
//! | `jetstream` | nats-server with a stream on disk, `sync_interval: always` |
//! | `jetstream-default` | the same as it comes: acked from the page cache |
//! | `mosquitto` | MQTT 3.1.1, `QoS` 1 in, `QoS` 0 out |
//!
//! All but `jetstream-default` exist with `-tls` behind the name too. Without it they have an advantage over
//! a server that always encrypts.
//!
//! **Fairness.** What could hold a rival back for no reason is set aside: `TCP_NODELAY` on both sides, limits
//! that drop slow readers raised (`config.rs` says which), publishes pipelined without waiting for acks. The
//! clients are our own, for NATS' text protocol and MQTT's few packets, because clients and servers share a
//! machine here, and what a library spends would count against its server. For a message of 200 bytes,
//! published and read, 32 in a group, they take 0.2 µs of a processor where async-nats 0.51 takes 0.7, and
//! 2.1 µs where rumqttc 0.25 takes 3.5.
//!
//! **Readers of `JetStream`** subscribe to what the stream republishes: NATS' own way of watching a stream
//! live without a consumer's cost (ADR-28). It comes once the message is stored, and is fanned out as core
//! NATS does. A push consumer for each reader is as fast for one reader, but with 200 its deliveries came
//! twice as late and took half as much again of the server's time.
//!
//! **Numbers.** `JetStream` counts per stream, not per conversation, and the others do not count: no message
//! has a seq here.

mod client;
mod config;
mod link;
mod mqtt;
mod nats;
mod program;
mod secure;
mod server;

pub use client::{RivalClient, RivalReceiver, RivalSender, RivalSystem};
pub use server::{Rival, StartOptions};

/// Which rival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    product: Product,
    tls: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Product {
    NatsCore,
    JetStream,
    JetStreamDefault,
    Mosquitto,
}

impl Kind {
    /// All of them, as they stand in the command line's help.
    pub const ALL: &[Self] = &[
        Self::new(Product::NatsCore, false),
        Self::new(Product::NatsCore, true),
        Self::new(Product::JetStream, false),
        Self::new(Product::JetStream, true),
        Self::new(Product::JetStreamDefault, false),
        Self::new(Product::Mosquitto, false),
        Self::new(Product::Mosquitto, true),
    ];

    const fn new(product: Product, tls: bool) -> Self {
        Self { product, tls }
    }

    /// By its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match (self.product, self.tls) {
            (Product::NatsCore, false) => "nats-core",
            (Product::NatsCore, true) => "nats-core-tls",
            (Product::JetStream, false) => "jetstream",
            (Product::JetStream, true) => "jetstream-tls",
            (Product::JetStreamDefault, _) => "jetstream-default",
            (Product::Mosquitto, false) => "mosquitto",
            (Product::Mosquitto, true) => "mosquitto-tls",
        }
    }

    /// What an ack of it means, in one sentence.
    #[must_use]
    pub fn durability(self) -> &'static str {
        match self.product {
            Product::NatsCore => "none: nothing is stored and nothing is acked",
            Product::JetStream => "stored: flushed to the disk before the ack (sync_interval: always)",
            Product::JetStreamDefault => {
                "page cache: acked before it is flushed, which happens every 2 minutes; a power cut loses acked messages"
            }
            Product::Mosquitto => {
                "memory: acked when taken in; its persistence, off here, would write a snapshot every 30 minutes and no \
                 message before its ack"
            }
        }
    }

    /// What its clients speak.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        if self.is_nats() { "NATS over TCP" } else { "MQTT over TCP" }
    }

    /// Whether that is encrypted.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        self.tls
    }

    /// Whether it acks what is published.
    #[must_use]
    pub fn acks(self) -> bool {
        self.product != Product::NatsCore
    }

    fn is_nats(self) -> bool {
        self.product != Product::Mosquitto
    }

    fn has_stream(self) -> bool {
        matches!(self.product, Product::JetStream | Product::JetStreamDefault)
    }
}

/// Whether the programs of all these are there and new enough, before any is needed.
///
/// # Errors
/// All that are not, with how to get them.
pub fn check_programs(kinds: &[Kind]) -> anyhow::Result<()> {
    let mut missing: Vec<String> =
        kinds.iter().filter_map(|kind| program::of(*kind).err()).map(|error| format!("{error:#}")).collect();
    missing.dedup();
    anyhow::ensure!(missing.is_empty(), "{}", missing.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Kind;

    #[test]
    fn each_kind_is_found_by_its_name_alone() {
        for kind in Kind::ALL {
            assert_eq!(Kind::named(kind.name()), Some(*kind));
        }
        assert_eq!(Kind::named("nats"), None);
    }
}
