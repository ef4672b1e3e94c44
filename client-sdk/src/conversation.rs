//! A handle on one conversation.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange};
use quoth_protocol::{ConversationName, ProducerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::client::Shared;
use crate::control::send_typing;
use crate::error::HistoryError;
use crate::events::{Events, EventsError, Typings};
use crate::history::{Page, page};
use crate::kept::ReadFrom;
use crate::requests::Receiving;
use crate::room::Command;
use crate::send::{Ack, MessageId, SendError, SendOptions};
use crate::state::{Reason, State};

/// How often a client says at most that its user is typing; a notice holds for 5 s.
const TYPING_INTERVAL: Duration = Duration::from_secs(3);

/// A conversation, from [`Client::conversation`](crate::Client::conversation). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversation {
    name: ConversationName,
    producer: ProducerId,
    producer_is_fixed: bool,
    commands: mpsc::Sender<Command>,
    pub(crate) receiving: Receiving,
    pub(crate) shared: Arc<Shared>,
    last_typing: Arc<Mutex<Option<Instant>>>,
}

/// An ack that is on its way, from [`Conversation::send_pipelined`]. Resolves as [`Conversation::send`] does.
/// Dropping it gives up the answer, not the message.
#[derive(Debug)]
#[must_use = "without awaiting it nobody learns whether the message is stored"]
pub struct Sending {
    answer: oneshot::Receiver<Result<Ack, SendError>>,
}

impl Conversation {
    pub(crate) fn new(
        name: ConversationName,
        (producer, producer_is_fixed): (ProducerId, bool),
        commands: mpsc::Sender<Command>,
        receiving: Receiving,
        shared: Arc<Shared>,
    ) -> Self {
        Self { name, producer, producer_is_fixed, commands, receiving, shared, last_typing: Arc::default() }
    }

    /// The conversation's name.
    #[must_use]
    pub fn name(&self) -> &ConversationName {
        &self.name
    }

    /// Sends a message and waits until it is stored. Over a lost connection it is sent again under the same
    /// id, so it is stored once. Sends that are made one after the other are stored in that order.
    ///
    /// Dropping the future gives up the answer, not the message: it may be stored all the same.
    ///
    /// # Errors
    /// Every [`SendError`]; [`SendError::UnknownOutcome`] when there was no ack in time.
    pub async fn send(&self, body: impl Into<SendOptions>) -> Result<Ack, SendError> {
        self.send_with(body.into()).await
    }

    /// [`Conversation::send`] with a number, a user, an origin time or a time limit.
    ///
    /// Dropping the future gives up the answer, not the message: it may be stored all the same.
    ///
    /// # Errors
    /// Every [`SendError`].
    pub async fn send_with(&self, options: SendOptions) -> Result<Ack, SendError> {
        self.send_pipelined(options).await?.await
    }

    /// Queues a message and gives the future of its ack, so that many can be on the way: 256 are sent ahead
    /// of their acks and about 1,000 more wait here, then this call waits for room. The messages are stored
    /// in the order of the calls.
    ///
    /// Dropping the future before it resolves: the message is not sent, or it is and the answer is given up.
    ///
    /// # Errors
    /// What can be told without the server: `NotSent`, `TooLarge`, `OriginTimeWithoutUser`, `NumberMissing`.
    pub async fn send_pipelined(&self, options: SendOptions) -> Result<Sending, SendError> {
        options.check(self.producer_is_fixed)?;
        let deadline = self.deadline(options.timeout);
        let (waiter, answer) = oneshot::channel();
        match timeout_at(deadline, self.commands.send(Command::Send { options, deadline, waiter })).await {
            Ok(Ok(())) => Ok(Sending { answer }),
            Ok(Err(_)) => Err(SendError::NotSent { reason: self.end() }),
            Err(_) => Err(SendError::NotSent { reason: Reason::TimedOut }),
        }
    }

    /// Waits again for a message of which a send has said [`SendError::UnknownOutcome`]. It is stored once,
    /// however often this is called. The time limit is the client's
    /// [`send_timeout`](crate::Builder::send_timeout).
    ///
    /// Dropping the future gives up the answer, not the message.
    ///
    /// # Errors
    /// Every [`SendError`]; `UnknownMessage` when this client does not hold the message.
    pub async fn resend(&self, id: MessageId) -> Result<Ack, SendError> {
        if id.producer != self.producer {
            return Err(SendError::UnknownMessage { id });
        }
        let deadline = self.deadline(None);
        let (waiter, answer) = oneshot::channel();
        let resend = Command::Resend { n: id.n, deadline, waiter };
        match timeout_at(deadline, self.commands.send(resend)).await {
            Ok(Ok(())) => Sending { answer }.await,
            Ok(Err(_)) => Err(SendError::UnknownOutcome { id, reason: self.end() }),
            Err(_) => Err(SendError::UnknownOutcome { id, reason: Reason::TimedOut }),
        }
    }

    /// Reads the conversation from a [`Start`](crate::Start) or a [`Cursor`](crate::Cursor) on, through history into live. Resolves when the server has
    /// confirmed it and waits for a connection until then. A conversation has one reader in a client at a
    /// time.
    ///
    /// A slow application costs neither memory nor anybody else's time: at most 128 KiB of events wait for it
    /// here (1 MiB when it sends at the same time), and the rest stays at the server until there is room.
    ///
    /// Messages of others that were taken from it are marked as delivered by themselves, within some seconds
    /// ([`Builder::mark_delivered`](crate::Builder::mark_delivered)).
    ///
    /// Dropping the future, or what it gives, stops the reading.
    ///
    /// # Errors
    /// Every [`EventsError`].
    pub async fn events(&self, from: impl Into<ReadFrom>) -> Result<Events, EventsError> {
        let from = from.into();
        let (ready, events) = oneshot::channel();
        let closed = |_| EventsError::Closed(self.end());
        self.commands.send(Command::Read { from, ready }).await.map_err(|_| closed(()))?;
        let incoming = events.await.map_err(|_| closed(()))??;
        Ok(Events::new(incoming, self.clone()))
    }

    /// Who is typing here, while the conversation is read or was sent to over this client.
    #[must_use]
    pub fn typings(&self) -> Typings {
        Typings::new(self.name.clone(), Arc::clone(&self.shared))
    }

    /// Says that the user is typing. Call it with every key: it goes out at most once in 3 s, only while the
    /// conversation is open, and may be lost.
    pub fn typing(&self) {
        let link = self.shared.core.link.borrow();
        let Some(session) = link.signed_in() else { return };
        let mut last = self.last_typing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if last.is_none_or(|at| now.duration_since(at) >= TYPING_INTERVAL) {
            *last = Some(now);
            send_typing(session, ClientFrame::Typing { conversation: self.name.clone() });
        }
    }

    /// Reads a page of at most `limit` events (the server gives at most 1,000): before, behind or around a
    /// seq or a time, in milliseconds since 1970. Over a lost connection it is asked for again, within the
    /// client's [`send_timeout`](crate::Builder::send_timeout). Go on with `Before` the page's
    /// [`from`](Page::from) while there is [`more_before`](Page::more_before), and with `After` its
    /// [`to`](Page::to) while there is [`more_after`](Page::more_after): pages that meet have no event twice
    /// and leave none out, whatever becomes absent meanwhile. A [`View`](crate::View) makes one of them.
    ///
    /// Dropping the future cancels the request.
    ///
    /// # Errors
    /// Every [`HistoryError`].
    pub async fn history(&self, range: FetchRange, limit: u32) -> Result<Page, HistoryError> {
        let fetch = Fetch { conversation: self.name.clone(), range, limit };
        let mut link = self.shared.core.link.subscribe();
        page(&mut link, &fetch, self.deadline(None), self.shared.seed()).await
    }

    fn deadline(&self, timeout: Option<Duration>) -> Instant {
        Instant::now() + timeout.unwrap_or(self.shared.settings.send_timeout)
    }

    /// Why the conversation's task does not answer: it only ends before its handles when the client does.
    fn end(&self) -> Reason {
        match &*self.shared.core.state.borrow() {
            State::Closed { reason } => reason.clone(),
            _ => Reason::Closed,
        }
    }
}

impl Future for Sending {
    type Output = Result<Ack, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A task that ends by itself answers everybody before.
        Pin::new(&mut self.answer).poll(cx).map(|answer| answer.unwrap_or(Err(SendError::Abandoned)))
    }
}
