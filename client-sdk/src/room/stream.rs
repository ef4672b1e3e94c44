//! The stream of one open conversation.

use std::pin::Pin;
use std::time::Duration;

use quoth_protocol::Code;
use quoth_protocol::frame::{ClientFrame, Open, Start};
use tokio::time::{Instant, timeout, timeout_at};

use crate::link::Session;
use crate::wire::{FrameReader, FrameWriter, Incoming, StreamEnd};

/// Frames that wait for the stream's flow control. Outcome: the outbox keeps the others.
const WAITING_FRAMES_MAX: usize = 64;

/// How long a stream whose one side has ended waits for the server to finish the other. Outcome: it is left.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// A stream that is open, or about to be confirmed.
#[derive(Debug)]
pub(super) struct OpenStream {
    writer: FrameWriter,
    reader: FrameReader,
    epoch: u64,
    /// When the server answered `Open`.
    pub(super) opened_at: Option<Instant>,
    /// The last `Open` or `Read` asks for events.
    pub(super) is_delivering: bool,
    /// `Open` or a `Read` has asked for events.
    pub(super) was_to_be_read: bool,
    /// `Opened` that have yet to come: events before the last of them belong to an older cursor.
    unanswered: usize,
    write_end: Option<WriteEnd>,
}

/// Why the stream takes nothing more. What the server has sent is still read: the acks of what it has taken.
#[derive(Debug)]
struct WriteEnd {
    reason: StreamEnd,
    read_until: Instant,
}

/// A stream that nothing was said on.
pub(super) struct NewStream {
    writer: FrameWriter,
    reader: FrameReader,
    epoch: u64,
}

/// Waits for the credit to open a stream.
pub(super) struct Opening {
    epoch: u64,
    ready: Pin<Box<dyn Future<Output = Result<NewStream, StreamEnd>> + Send>>,
}

impl Opening {
    pub(super) fn new(session: &Session) -> Self {
        let connection = session.connection.clone();
        let epoch = session.epoch;
        let ready = Box::pin(async move {
            let (send, recv) = connection.open().await.map_err(StreamEnd::ConnectionLost)?;
            Ok(NewStream { writer: FrameWriter::new(send), reader: FrameReader::new(recv), epoch })
        });
        Self { epoch, ready }
    }

    /// The place without it.
    pub(super) fn cancelled(&self) -> Slot {
        Slot::Closed { not_before: None, lost_epoch: self.epoch.checked_sub(1) }
    }
}

impl NewStream {
    /// Says what the stream is for: decided now, since readers may have come and gone while it waited for
    /// credit.
    pub(super) fn open(self, open: Open) -> OpenStream {
        let Self { mut writer, reader, epoch } = self;
        let is_delivering = open.from.is_some();
        writer.push(&ClientFrame::Open(open));
        OpenStream {
            writer,
            reader,
            epoch,
            opened_at: None,
            is_delivering,
            was_to_be_read: is_delivering,
            unanswered: 1,
            write_end: None,
        }
    }
}

impl OpenStream {
    /// The epoch of the connection that the stream is on.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether frames can be pushed; not when the server takes nothing more.
    pub(super) fn is_writable(&self) -> bool {
        self.write_end.is_none()
    }

    /// Whether more frames should be pushed now.
    pub(super) fn has_room(&self) -> bool {
        self.is_writable() && self.writer.waiting() < WAITING_FRAMES_MAX
    }

    /// Whether nothing waits for the stream's flow control.
    pub(super) fn has_written_all(&self) -> bool {
        self.writer.waiting() == 0
    }

    pub(super) fn push(&mut self, frame: &ClientFrame) {
        self.writer.push(frame);
    }

    /// Moves the server's reader, or stops it.
    pub(super) fn read_from(&mut self, from: Option<Start>) {
        self.writer.push(&ClientFrame::Read { from });
        self.is_delivering = from.is_some();
        self.was_to_be_read |= from.is_some();
        self.unanswered += usize::from(from.is_some());
    }

    /// The server has answered `Open` or a `Read`.
    pub(super) fn answered(&mut self) {
        self.opened_at.get_or_insert_with(Instant::now);
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// Whether the server may still refuse what was asked before the last `Open` or `Read`.
    pub(super) fn has_older_unanswered(&self) -> bool {
        self.unanswered > usize::from(self.is_delivering)
    }

    /// Whether events that come now are those that the last `Open` or `Read` has asked for.
    pub(super) fn is_current(&self) -> bool {
        self.is_delivering && self.unanswered == 0
    }

    /// Frames that are here already.
    pub(super) fn buffered(&mut self) -> Result<Option<Incoming>, StreamEnd> {
        self.reader.buffered()
    }

    /// Writes some of what waits, or reads a frame if it may. Cancel-safe.
    async fn next(&mut self, may_read: bool) -> StreamInput {
        if self.is_writable() {
            let Self { writer, reader, .. } = self;
            tokio::select! {
                biased;
                wrote = writer.write_some(), if writer.waiting() > 0 => match wrote {
                    Ok(()) => return StreamInput::Wrote,
                    Err(reason) => {
                        let read_until = Instant::now() + FINISH_TIMEOUT;
                        self.write_end = Some(WriteEnd { reason, read_until });
                    }
                },
                incoming = reader.next(), if may_read => return StreamInput::Incoming(incoming),
                else => return std::future::pending().await,
            }
        }
        StreamInput::Incoming(self.read_to_the_end().await)
    }

    /// The next frame of a stream that takes nothing more; behind the last one, the reason for that.
    /// Cancel-safe.
    async fn read_to_the_end(&mut self) -> Result<Incoming, StreamEnd> {
        let Self { reader, write_end, .. } = self;
        let Some(WriteEnd { reason, read_until }) = write_end else { return reader.next().await };
        match timeout_at(*read_until, reader.next()).await {
            Ok(Err(StreamEnd::Finished)) | Err(_) => Err(reason.clone()),
            Ok(read) => read,
        }
    }

    /// Ends the stream in agreement with the server: it has been told that nothing follows and has finished
    /// its side, so that the conversation may be opened again on the connection.
    pub(super) async fn finish(mut self) {
        let goodbye = async {
            self.writer.write_all().await?;
            self.writer.finish();
            loop {
                self.reader.next().await?;
            }
        };
        // Every result is an end: finished, reset, connection lost, or a server that does not answer.
        let _: Result<Result<(), StreamEnd>, _> = timeout(FINISH_TIMEOUT, goodbye).await;
    }

    /// Ends the stream because of what the server sent.
    pub(super) fn abandon(mut self, code: Code) {
        self.writer.reset(code);
        self.reader.stop(code);
    }
}

/// What happened on a stream.
pub(super) enum StreamInput {
    Opened(Result<NewStream, StreamEnd>),
    Wrote,
    Incoming(Result<Incoming, StreamEnd>),
}

/// The place of a conversation's stream.
pub(super) enum Slot {
    /// There is none.
    Closed {
        /// A stream that the server has just ended is not opened again before this.
        not_before: Option<Instant>,
        /// Connections up to this one are gone.
        lost_epoch: Option<u64>,
    },
    /// It waits for credit.
    Opening(Opening),
    /// It is open.
    Open(Box<OpenStream>),
}

impl Slot {
    /// The next thing that happens; waits for ever without a stream. Without `may_read` an open stream is
    /// left unread, as long as it can be written to. Cancel-safe.
    pub(super) async fn next(&mut self, may_read: bool) -> StreamInput {
        match self {
            Self::Closed { .. } => std::future::pending().await,
            Self::Opening(opening) => StreamInput::Opened(opening.ready.as_mut().await),
            Self::Open(stream) => stream.next(may_read).await,
        }
    }

    /// The epoch of the connection that the stream is on.
    pub(super) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Closed { lost_epoch, .. } => *lost_epoch,
            Self::Opening(opening) => Some(opening.epoch),
            Self::Open(stream) => Some(stream.epoch()),
        }
    }
}
