//! Moves messages between a socket and its lanes until either side ends.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use quoth_lanes::{Closed, Message, Outgoing};
use quoth_protocol::Code;
use tokio::io::{AsyncRead, AsyncWrite as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message as WsMessage};

use super::CLOSE_TIMEOUT;
use super::floods::Floods;
use super::heard::Heard;
use super::heartbeat::{Due, Heartbeat};
use super::messages::Messages;
use super::outbox::Outbox;
use super::status::{close_with, code_of, violation};
use super::wire::Wire;
use crate::http::Stream;
use crate::session::Place;

/// Bytes that are read at once. Each connection has so many at any time.
const READ_BYTES: usize = 2 * 1_024;

/// Bytes in the outbox from which on no more is taken from the lanes, so that what a client does not read
/// waits there, where it holds up those who write.
const OUTBOX_BYTES_MAX: usize = 32 * 1_024;

/// Bytes that are read and dropped behind a close, so that the client gets to hear it: what it may have on
/// its way. Who sends more does not listen.
const DROPPED_BYTES_MAX: usize = 1_024 * 1_024;

/// Bytes of the header of a client's ping or pong (RFC 6455, 5.2 and 5.5): its mask among them.
const CONTROL_HEADER_BYTES: usize = 6;

/// Messages that are read before others have their turn.
const MESSAGES_AT_ONCE: usize = 64;

/// A socket and what stands behind it.
pub(super) struct Pump<M: Messages> {
    stream: Stream,
    context: WebSocketContext,
    outbox: Outbox,
    /// Whether something was written that is not flushed.
    is_unflushed: bool,
    /// Bytes that have come since the last whole message, without pings and pongs.
    come_bytes: usize,
    message_bytes_max: usize,
    messages: M,
    heartbeat: Heartbeat,
    heard: Heard,
    floods: Floods,
    began: Instant,
    /// Among the connections, for as long as this one is there.
    _place: Option<Place>,
}

/// How a socket ends.
enum End {
    /// With a close of ours, which the client answers.
    Close(CloseFrame),
    /// With a close of ours, behind which nothing that comes can be understood.
    Violation(CloseFrame),
    /// With the client's close, which is to be answered.
    Answer,
    /// Nobody is there.
    Lost,
}

impl<M: Messages> Pump<M> {
    /// Of a socket on which the handshake is done; `read` is what came with it. Boxed, since a future that
    /// had it would have room for it twice.
    pub(super) fn new(
        stream: Stream,
        read: Vec<u8>,
        place: Option<Place>,
        messages: M,
        heartbeat: Heartbeat,
        heard: Heard,
        floods: Floods,
    ) -> Box<Self> {
        let message_bytes_max = messages.message_bytes_max();
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            // What it writes goes into the outbox at once. When that is full, the last answer waits.
            .write_buffer_size(0)
            .max_write_buffer_size(256)
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        Box::new(Self {
            _place: place,
            stream,
            context: WebSocketContext::from_partially_read(read, Role::Server, Some(config)),
            outbox: Outbox::default(),
            is_unflushed: false,
            come_bytes: 0,
            message_bytes_max,
            messages,
            heartbeat,
            heard,
            floods,
            began: Instant::now(),
        })
    }

    pub(super) async fn run(mut self: Box<Self>) {
        let end = {
            let mut timer = pin!(sleep_until(self.heartbeat.next()));
            poll_fn(|task| self.poll(task, timer.as_mut())).await
        };
        // Whatever it was, the session must not wait for more. It knows of the end already unless the socket
        // is lost.
        self.messages.closed_by_peer(None, "the connection is lost");
        // Boxed, so that only sockets that end have room for it.
        let _client_is_slow_or_gone = timeout(CLOSE_TIMEOUT, Box::pin(self.end(end))).await;
    }

    fn poll(&mut self, task: &mut Context<'_>, timer: Pin<&mut Sleep>) -> Poll<End> {
        match self.poll_all(task, timer) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    fn poll_all(&mut self, task: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Result<(), End> {
        let before = self.stream.read_bytes();
        self.read(task)?;
        self.judge_lanes()?;
        let read_bytes = self.stream.read_bytes();
        if read_bytes > before {
            let now = Instant::now();
            self.heartbeat.heard(now);
            if self.come_bytes > 0 {
                self.heartbeat.is_mid_message(read_bytes, now);
            } else {
                self.heartbeat.is_between_messages();
            }
        }
        self.write(task)?;
        loop {
            let next = self.heartbeat.next();
            if next < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(next);
            }
            if timer.as_mut().poll(task).is_pending() {
                return Ok(());
            }
            match self.heartbeat.due(Instant::now()) {
                Some(Due::Ping) => {
                    let (context, mut wire) = self.wire(task);
                    // One that finds no room is not needed: there is enough that the client may answer.
                    let _no_room = context.write(&mut wire, WsMessage::Ping(Bytes::new()));
                    self.write(task)?;
                }
                Some(due @ (Due::Silent | Due::Stalled)) => {
                    tracing::debug!(?due, "the client is gone");
                    return Err(End::Lost);
                }
                None => {}
            }
        }
    }

    fn wire<'a, 'b>(&'a mut self, task: &'a mut Context<'b>) -> (&'a mut WebSocketContext, Wire<'a, 'b>) {
        let Self { stream, outbox, come_bytes, message_bytes_max, .. } = self;
        let wire = Wire { task, stream, outbox, come_bytes, message_bytes_max: *message_bytes_max };
        (&mut self.context, wire)
    }

    /// Gives the lanes what has come.
    fn read(&mut self, task: &mut Context<'_>) -> Result<(), End> {
        self.raise_limits();
        for _ in 0..MESSAGES_AT_ONCE {
            let (context, mut wire) = self.wire(task);
            let message = match context.read(&mut wire) {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(self.unreadable(&error)),
            };
            if let WsMessage::Ping(payload) | WsMessage::Pong(payload) = &message {
                // They may come in the middle of a message, and are no part of it.
                self.come_bytes = self.come_bytes.saturating_sub(CONTROL_HEADER_BYTES + payload.len());
            } else {
                self.come_bytes = 0;
                self.heartbeat.is_between_messages();
            }
            let message = match message {
                WsMessage::Binary(bytes) => Message::Binary(bytes),
                WsMessage::Text(text) => Message::Text(text.as_str().to_owned()),
                WsMessage::Close(close) => {
                    let text = close.as_ref().map_or("", |close| close.reason.as_str());
                    self.messages.closed_by_peer(code_of(close.as_ref()), text);
                    return Err(End::Answer);
                }
                WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => {
                    let now_ms = self.now_ms();
                    if self.floods.control_frames.is_over(now_ms) {
                        return Err(self.flooded("too many pings and pongs"));
                    }
                    continue;
                }
            };
            if self.messages.receive(message).is_err() {
                // The lanes have ended, and what is written next says why.
                return Ok(());
            }
        }
        task.waker().wake_by_ref();
        Ok(())
    }

    /// Ends a connection whose client opens lane after lane that no session gets to see, which could count
    /// them otherwise.
    fn judge_lanes(&mut self) -> Result<(), End> {
        let now_ms = self.now_ms();
        for _ in 0..self.messages.take_unserved() {
            if self.floods.unserved_lanes.is_over(now_ms) {
                return Err(self.flooded("too many lanes were opened for nothing"));
            }
        }
        Ok(())
    }

    /// Time since the beginning, which is as good as any other for floods.
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn flooded(&self, text: &str) -> End {
        self.messages.close(Code::RATE_LIMITED, text);
        End::Violation(close_with(Code::RATE_LIMITED, text))
    }

    /// Messages may be larger once the client is signed in.
    fn raise_limits(&mut self) {
        let message_bytes_max = self.messages.message_bytes_max();
        if message_bytes_max != self.message_bytes_max {
            self.message_bytes_max = message_bytes_max;
            self.context.set_config(|config| {
                config.max_message_size = Some(message_bytes_max);
                config.max_frame_size = Some(message_bytes_max);
            });
        }
    }

    fn unreadable(&self, error: &Error) -> End {
        match violation(error) {
            Some((code, close)) => {
                self.messages.close(code, &close.reason);
                End::Violation(close)
            }
            None => End::Lost,
        }
    }

    /// Writes what the lanes have, and flushes once. Does not rest before the lanes have said that they have
    /// nothing: only then do they call when there is more.
    fn write(&mut self, task: &mut Context<'_>) -> Result<(), End> {
        loop {
            self.take_answers(task);
            let mut has_all = false;
            while self.outbox.bytes() < OUTBOX_BYTES_MAX {
                match self.messages.poll_next_message(task) {
                    Poll::Ready(Outgoing::Message(message)) => self.outbox.push(message),
                    Poll::Ready(Outgoing::Close(closed)) => return Err(end_of(&closed)),
                    Poll::Pending => {
                        has_all = true;
                        break;
                    }
                }
            }
            if has_all && self.outbox.bytes() == 0 && !self.is_unflushed {
                self.heartbeat.is_idle();
                return Ok(());
            }
            match self.poll_outbox(task, has_all) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Err(End::Lost),
                Poll::Pending => {
                    self.heartbeat.waits(self.stream.written_bytes(), Instant::now());
                    return Ok(());
                }
            }
        }
    }

    /// Puts answers to pings and closes into the outbox.
    fn take_answers(&mut self, task: &mut Context<'_>) {
        let (context, mut wire) = self.wire(task);
        // What finds no room comes later, and that everything is said is seen by reading.
        let _later = context.flush(&mut wire);
    }

    fn poll_outbox(&mut self, task: &mut Context<'_>, flushes: bool) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        self.is_unflushed |= self.outbox.bytes() > 0;
        std::task::ready!(self.outbox.poll_write(task, stream.as_mut()))?;
        if flushes {
            std::task::ready!(stream.poll_flush(task))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Says the last and waits until the client has heard it.
    async fn end(&mut self, end: End) -> io::Result<()> {
        let (close, awaits_answer) = match end {
            End::Close(close) => (Some(close), true),
            End::Violation(close) => (Some(close), false),
            End::Answer => (None, false),
            End::Lost => return Ok(()),
        };
        let mut close = close;
        poll_fn(|task| {
            let (context, mut wire) = self.wire(task);
            if let Some(close) = close.take() {
                let _finds_room_later = context.close(&mut wire, Some(close));
            }
            self.take_answers(task);
            std::task::ready!(self.poll_outbox(task, true))?;
            // What found no room before has some now.
            self.take_answers(task);
            self.poll_outbox(task, true)
        })
        .await?;
        if awaits_answer {
            poll_fn(|task| self.poll_answer(task)).await;
        }
        self.stream.shutdown().await?;
        // A socket that is closed while something comes would take the close back that is on its way.
        let mut dropped = [0; 1_024];
        let mut dropped_bytes = 0;
        poll_fn(|task| {
            loop {
                let mut dropped = ReadBuf::new(&mut dropped);
                std::task::ready!(Pin::new(&mut self.stream).poll_read(task, &mut dropped))?;
                dropped_bytes += dropped.filled().len();
                if dropped.filled().is_empty() || dropped_bytes > DROPPED_BYTES_MAX {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// Reads until the client has answered a close or is gone.
    fn poll_answer(&mut self, task: &mut Context<'_>) -> Poll<()> {
        loop {
            let (context, mut wire) = self.wire(task);
            match context.read(&mut wire) {
                Ok(_) => self.come_bytes = 0,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(Error::ConnectionClosed) => {
                    self.heard.set();
                    return Poll::Ready(());
                }
                Err(_) => return Poll::Ready(()),
            }
        }
    }
}

/// Whatever ends this task ends the session.
impl<M: Messages> Drop for Pump<M> {
    fn drop(&mut self) {
        self.messages.closed_by_peer(None, "the connection is lost");
    }
}

fn end_of(closed: &Closed) -> End {
    match closed.code {
        Some(code) if !closed.by_peer => End::Close(close_with(code, &closed.text)),
        _ => End::Lost,
    }
}
