//! The clients of one thread: connected, put into their conversations, driven, closed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::Progress;
use super::at_once::at_once;
use super::conversation::GivenUp;
use super::member::{InFlight, Member, Shared, Source, publish, receive};
use crate::check::Checker;
use crate::record::Recorder;
use crate::system::{Client, System};

/// Connections that a thread sets up at once.
const CONNECTING_AT_ONCE: u32 = 16;

/// What one connection is to do.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) members: Vec<Member>,
}

impl Seat {
    /// Whether everybody publishes and nobody reads.
    pub(super) fn only_publishes(&self) -> bool {
        self.members.iter().all(|member| !member.part.reads())
    }
}

/// A member that is in its conversation.
struct Entered<C: Client> {
    member: Member,
    sender: C::Sender,
    receiver: C::Receiver,
}

/// Clients in their places.
pub(super) struct Crew<C: Client> {
    clients: Vec<C>,
    entered: Vec<Entered<C>>,
}

/// What a crew has seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) recorder: Recorder,
    /// Of each reader: the conversation's number and what it has got.
    pub(super) checkers: Vec<(u32, Checker)>,
    /// Datagrams that came to the clients while they were driven.
    pub(super) datagrams: Option<u64>,
    /// Seconds of processor time that the thread has taken for each second of what counts.
    pub(super) cpu: f64,
}

impl<C: Client> Crew<C> {
    /// Connects all seats and enters all conversations.
    pub(super) async fn assemble<S: System<Client = C>>(
        system: Arc<S>,
        seats: Vec<Seat>,
        progress: &Arc<Progress>,
    ) -> anyhow::Result<Self> {
        let seated = at_once(progress, seats, CONNECTING_AT_ONCE, |seat| {
            let system = Arc::clone(&system);
            async move { sit(&*system, seat).await }
        });
        let (clients, entered): (Vec<C>, Vec<_>) = seated.await?.into_iter().unzip();
        Ok(Self { clients, entered: entered.into_iter().flatten().collect() })
    }

    /// Drives all members to their end, within `timeout`.
    pub(super) async fn drive(
        self,
        shared: Arc<Shared>,
        mut source_of: impl FnMut(&Member) -> Source,
        timeout: Duration,
    ) -> anyhow::Result<Seen> {
        let datagrams_before = self.datagrams();
        let mut publishing = JoinSet::new();
        let mut receiving = JoinSet::new();
        let mut kept = Vec::new();
        let Self { clients, entered } = self;
        for Entered { member, sender, receiver } in entered {
            let in_flight = Arc::new(InFlight::default());
            let conversation = member.conversation_index;
            let taker = receive(receiver, member.clone(), Arc::clone(&in_flight), Arc::clone(&shared));
            let is_reader = member.part.reads() && !member.is_stalled;
            receiving.spawn(async move { Ok::<_, anyhow::Error>((conversation, is_reader, taker.await?)) });
            if member.part.publishes() {
                let source = source_of(&member);
                publishing.spawn(publish(sender, member, source, in_flight, Arc::clone(&shared)));
            } else {
                // Dropping it may end the stream.
                kept.push(sender);
            }
        }
        let mut checkers = Vec::new();
        let all = async {
            while let Some(received) = receiving.join_next().await {
                let (conversation, is_reader, checker) = received??;
                checkers.extend(is_reader.then_some((conversation, checker)));
            }
            while let Some(published) = publishing.join_next().await {
                kept.push(published??);
            }
            Ok::<_, anyhow::Error>(kept)
        };
        let driven = tokio::select! {
            biased;
            driven = tokio::time::timeout(timeout, all) => {
                driven.context("some messages were never acked").flatten()
            }
            () = shared.publishers.given_up() => Err(GivenUp.into()),
        };
        if driven.is_err() {
            shared.publishers.give_up();
        }
        let _kept_until_now = driven?;
        let crew = Self { clients, entered: Vec::new() };
        let datagrams = crew.datagrams().zip(datagrams_before).map(|(after, before)| after - before);
        crew.close().await;
        let recorder = shared.recorder.lock().clone();
        Ok(Seen { recorder, checkers, datagrams, cpu: 0.0 })
    }

    fn datagrams(&self) -> Option<u64> {
        self.clients.iter().map(Client::datagrams_received).sum()
    }

    async fn close(self) {
        let mut closing = JoinSet::new();
        for client in self.clients {
            closing.spawn(client.close());
        }
        closing.join_all().await;
    }
}

async fn sit<S: System>(system: &S, seat: Seat) -> anyhow::Result<(S::Client, Vec<Entered<S::Client>>)> {
    let client = system.connect().await.context("a client does not connect")?;
    let mut members = Vec::with_capacity(seat.members.len());
    for member in seat.members {
        let name = &member.conversation.name;
        let entered = client.enter(name, member.part).await;
        let (sender, receiver) = entered.with_context(|| format!("{name} cannot be entered"))?;
        members.push(Entered { member, sender, receiver });
    }
    Ok((client, members))
}
