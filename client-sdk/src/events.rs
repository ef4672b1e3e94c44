//! A conversation's events as a stream.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_core::Stream;
use quoth_protocol::frame::Event;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use tokio::sync::broadcast;

use crate::client::Shared;
use crate::conversation::Conversation;
use crate::kept::Cursor;
use crate::queue;
use crate::state::Reason;

/// What a reader of a conversation gets, in the order of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// An event of the log. Its seq is one more than the one before.
    Event(Event),
    /// An event of a kind that this version does not know. It counts like any other.
    Unknown {
        /// Its place.
        seq: Seq,
        /// When it was stored, in milliseconds since 1970.
        time_ms: u64,
        /// Who published it.
        sender: UserId,
    },
    /// Retention took these events before this reader came to them.
    Gap {
        /// The first missing seq.
        from: Seq,
        /// The last missing seq.
        to: Seq,
    },
    /// The server has failed several times in a row to send what comes next. The reader goes on trying, with
    /// growing pauses; the next event that comes says that it has succeeded.
    Interrupted {
        /// How it failed the last time.
        code: Code,
    },
    /// What was there when reading began has been handed out; from here on events are live. Told once.
    CaughtUp {
        /// The head when reading began.
        head: Seq,
    },
}

impl ClientEvent {
    /// The last seq that it tells of.
    fn last_seq(&self) -> Option<Seq> {
        match self {
            Self::Event(Event { seq, .. }) | Self::Unknown { seq, .. } => Some(*seq),
            Self::Gap { to, .. } => Some(*to),
            Self::Interrupted { .. } | Self::CaughtUp { .. } => None,
        }
    }
}

/// Why reading ended or did not begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The server refuses to let this client read here: [`Code::FORBIDDEN`], or [`Code::CURSOR_AHEAD`], which
    /// [is a reset](EventsError::is_reset). The client goes on.
    #[error("the server refused to read {conversation}: {code}")]
    Refused {
        /// Where.
        conversation: ConversationName,
        /// Why.
        code: Code,
    },
    /// The server has failed several times in a row to begin: it may succeed later. The client goes on.
    #[error("the server failed to read {conversation}: {code}")]
    Failed {
        /// Where.
        conversation: ConversationName,
        /// How it failed the last time.
        code: Code,
    },
    /// This client reads the conversation already: one reader for each conversation and client.
    #[error("this client reads {conversation} already; share its events, or drop them first")]
    AlreadyReading {
        /// Where.
        conversation: ConversationName,
    },
    /// The server left out events, or sent what is no frame. The client goes on.
    #[error("the server broke the protocol in {conversation}: {text}")]
    Protocol {
        /// Where.
        conversation: ConversationName,
        /// What it did.
        text: String,
    },
    /// The client is closed.
    #[error("{0}")]
    Closed(Reason),
}

impl EventsError {
    /// Whether what was read before is not what the server has, and is to be dropped and read anew: the
    /// server has been restored from a backup since, or has less than the cursor says.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Refused { code: Code::CURSOR_AHEAD, .. })
    }
}

/// A conversation's events, from [`Conversation::events`]. Survives reconnects: it goes on behind the last
/// event that it has handed out, without a hole and without a repeat. Ends after an error, and when the
/// client is closed. It is a handle on the client like any other, which lives as long as it does. Dropping it
/// stops the delivery.
pub struct Events {
    incoming: IncomingEvents,
    told_end: bool,
    /// Without a handle the conversation's task would end, and so would the client.
    conversation: Conversation,
}

/// The application's end of a reader.
#[derive(Debug)]
pub(crate) struct IncomingEvents {
    pub(crate) queue: queue::Receiver,
    /// Why nothing follows, set before the queue ends.
    pub(crate) end: Arc<OnceLock<EventsError>>,
    /// Where reading began, behind the last item that was taken since.
    pub(crate) cursor: Cursor,
}

impl Events {
    pub(crate) fn new(incoming: IncomingEvents, conversation: Conversation) -> Self {
        Self { incoming, told_end: false, conversation }
    }

    /// The place behind what was taken from it by now: with it another client goes on from here. Keep it when
    /// what was taken has been handled, and as often as that is worth it.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        self.incoming.cursor
    }

    /// The next event, or `None` when there will be none. Dropping the future loses nothing.
    ///
    /// # Errors
    /// Every [`EventsError`] but `AlreadyReading` and `Failed`, once, as the last item. The application's own
    /// [`Client::close`](crate::Client::close) is no error: behind the events that are there comes `None`; so
    /// it is when another client has taken this one's place ([`Code::REPLACED`]).
    pub async fn next(&mut self) -> Option<Result<ClientEvent, EventsError>> {
        std::future::poll_fn(|cx| Pin::new(&mut *self).poll_next(cx)).await
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("conversation", self.conversation.name()).finish_non_exhaustive()
    }
}

impl Stream for Events {
    type Item = Result<ClientEvent, EventsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.incoming.queue.poll_next(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Some(event)) => {
                if let Some(seq) = event.last_seq() {
                    self.incoming.cursor.seq = seq;
                }
                Poll::Ready(Some(Ok(event)))
            }
            Poll::Ready(None) if self.told_end => Poll::Ready(None),
            Poll::Ready(None) => {
                self.told_end = true;
                let end = self.incoming.end.get().cloned();
                let is_wanted =
                    |e: &EventsError| matches!(e, EventsError::Closed(reason) if reason.is_wanted());
                Poll::Ready(end.filter(|e| !is_wanted(e)).map(Err))
            }
        }
    }
}

/// Who is typing in a conversation, from [`Conversation::typings`]. It is a handle on the client like any
/// other, which lives as long as it does.
pub struct Typings {
    conversation: ConversationName,
    notices: broadcast::Receiver<(ConversationName, UserId)>,
    /// Without a handle the client would end.
    _client: Arc<Shared>,
}

impl Typings {
    pub(crate) fn new(conversation: ConversationName, client: Arc<Shared>) -> Self {
        Self { conversation, notices: client.core.typings.subscribe(), _client: client }
    }

    /// The next user who says that they are typing, or `None` when the client is closed. A notice is over
    /// after 5 s. Notices that come faster than they are taken are dropped, oldest first. Dropping the future
    /// loses nothing.
    pub async fn next(&mut self) -> Option<UserId> {
        loop {
            match self.notices.recv().await {
                Ok((conversation, user)) if conversation == self.conversation => return Some(user),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}

impl std::fmt::Debug for Typings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Typings").field("conversation", &self.conversation).finish_non_exhaustive()
    }
}
