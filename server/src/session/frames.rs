//! Frames on a stream: a reader that may be dropped while it waits, and a writer that coalesces.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use quoth_protocol::Code;
use quoth_protocol::codec::{DecodeError, Decoder, encode, frames_of};
use quoth_protocol::frame::{ClientFrame, ServerFrame};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::gate::Gate;
use super::pace::StreamPaces;
use super::transport::{Gone, RecvStream, SendStream};
use super::waiting::Waiting;
use crate::stall::Stall;

/// Bytes that a writer has waiting before its owner adds no more: some packets' worth, so that a write is
/// worth its wake-up, and little enough that a stalled reader pins next to nothing.
const WRITE_BATCH_BYTES: usize = 32 * 1024;

/// How long a peer may take nothing of what a drain has for it, and how long it has to acknowledge the end of
/// a stream. A server that stops waits some seconds for drains, whoever reads.
const DRAIN_STALL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why no frame came.
#[derive(Debug)]
pub(super) enum ReadFailure {
    /// The peer reset the stream or the connection is gone.
    Gone,
    /// The peer broke the protocol.
    Broken(Code),
}

impl From<DecodeError> for ReadFailure {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::TooLarge { .. } => Self::Broken(Code::FRAME_TOO_LARGE),
            _ => Self::Broken(Code::PROTOCOL),
        }
    }
}

impl From<Gone> for ReadFailure {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Why nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteFailure {
    /// The peer wants nothing more or the connection is gone.
    Gone,
    /// The peer has taken nothing, or next to nothing, for the time that it has.
    Stalled,
}

impl From<Gone> for WriteFailure {
    fn from(Gone: Gone) -> Self {
        Self::Gone
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    recv: RecvStream,
    decoder: Decoder,
    /// A look for bytes locks the connection, and a stream's task is woken far more often by what it
    /// delivers.
    gate: Gate,
    /// What slows the client, if anything does.
    paces: Option<StreamPaces>,
    /// Until when nothing is read.
    waits_until: Option<Instant>,
    /// A frame that waits for its places.
    held: Option<ClientFrame>,
    /// Whether the client has reset the stream, or the connection is gone.
    is_reset: bool,
}

impl FrameReader {
    pub(super) fn new(recv: RecvStream, frame_bytes_max: usize) -> Self {
        Self {
            recv,
            decoder: Decoder::new(frame_bytes_max),
            gate: Gate::new(),
            paces: None,
            waits_until: None,
            held: None,
            is_reset: false,
        }
    }

    /// From now on the client is read no faster than this.
    pub(super) fn set_paces(&mut self, paces: Option<StreamPaces>) {
        self.paces = paces;
    }

    /// What slows the client by what others say to the same conversation, if anything does.
    pub(super) fn conversation_paces(&mut self) -> Option<&mut StreamPaces> {
        self.paces.as_mut().filter(|paces| paces.counts_conversation())
    }

    /// Whether the client has reset the stream, or the connection is gone.
    pub(super) fn is_reset(&self) -> bool {
        self.is_reset
    }

    pub(super) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.decoder.set_frame_bytes_max(frame_bytes_max);
    }

    /// The next frame, or `None` when the peer has finished its side. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<ClientFrame>, ReadFailure> {
        loop {
            if let Some(until) = self.waits_until {
                sleep_until(until).await;
                self.waits_until = None;
            }
            let frame = match self.held.take() {
                Some(frame) => Some(frame),
                None => self.decoder.next_frame()?,
            };
            if let Some(frame) = frame {
                match self.paces.as_mut().and_then(|paces| paces.frame(&frame)) {
                    Some(wait) => {
                        self.held = Some(frame);
                        self.waits_until = Some(Instant::now() + wait);
                        continue;
                    }
                    None => return Ok(Some(frame)),
                }
            }
            let recv = &mut self.recv;
            let gate = &mut self.gate;
            let chunk = poll_fn(|task| gate.poll(task, |task| pin!(recv.read_chunk()).poll(task)));
            let chunk = chunk.await.inspect_err(|_| self.is_reset = true)?;
            match chunk {
                Some(chunk) => {
                    self.decoder.push(&chunk);
                    let wait = self.paces.as_ref().and_then(|paces| paces.bytes(chunk.len()));
                    self.waits_until = wait.map(|wait| Instant::now() + wait);
                }
                None if self.decoder.is_mid_frame() => return Err(ReadFailure::Broken(Code::PROTOCOL)),
                None => return Ok(None),
            }
        }
    }

    pub(super) fn stop(&mut self, code: Code) {
        self.recv.stop(code);
    }
}

impl Drop for FrameReader {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.stop(Code::INTERNAL);
        }
    }
}

/// Writes frames to a stream: what has gathered goes out in one call.
#[derive(Debug)]
pub(super) struct FrameWriter {
    send: SendStream,
    waiting: Waiting,
    drains: bool,
    /// Whether the peer stalls while at least so many bytes wait; `None` where it may.
    stall: Option<(Stall, usize)>,
    /// Whether the client wants nothing more of the stream, or the connection is gone.
    is_stopped: bool,
}

impl FrameWriter {
    pub(super) fn new(send: SendStream) -> Self {
        Self { send, waiting: Waiting::default(), drains: false, stall: None, is_stopped: false }
    }

    pub(super) fn push(&mut self, frame: &ServerFrame) {
        self.waiting.push(encode(frame), false);
    }

    /// Adds events: whole frames, one or several in a chunk. A writer that drains takes no more.
    pub(super) fn extend(&mut self, chunks: impl IntoIterator<Item = Bytes>) {
        if self.drains {
            return;
        }
        for chunk in chunks {
            if self.send.takes_runs() {
                self.waiting.push(chunk, true);
            } else {
                frames_of(chunk).for_each(|frame| self.waiting.push(frame, true));
            }
        }
    }

    /// Whether the client wants nothing more of the stream, or the connection is gone.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.bytes() == 0
    }

    /// Bytes that the owner may add.
    pub(super) fn room(&self) -> usize {
        WRITE_BATCH_BYTES.saturating_sub(self.waiting.bytes())
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// From now on a write fails when the peer stalls for so long while at least so many bytes wait.
    pub(super) fn set_stall_timeout(&mut self, timeout: Duration, bytes_min: usize) {
        self.stall = Some((Stall::new(timeout), bytes_min));
    }

    /// Drops the events that are not begun, since a reader gets them from its cursor on at any time, and
    /// gives the peer little time for the rest.
    pub(super) fn drain(&mut self) {
        self.drains = true;
        self.waiting.drop_events();
        // A line that many streams share gives each of them little, and the drain ends anyway.
        self.stall = Some((Stall::of_any(DRAIN_STALL_TIMEOUT), 0));
    }

    /// Bytes that were written since the beginning, or dropped by a drain.
    pub(super) fn written_bytes(&self) -> u64 {
        self.waiting.gone_bytes()
    }

    /// What [`FrameWriter::written_bytes`] will be when everything that was added is written.
    pub(super) fn end(&self) -> u64 {
        self.waiting.gone_bytes() + self.waiting.bytes() as u64
    }

    /// Writes some of what waits. Dropping the future loses nothing.
    pub(super) async fn write(&mut self) -> Result<(), WriteFailure> {
        let ends = self.stalls();
        let writes = self.send.write_chunks(self.waiting.chunks());
        let done = match ends {
            Some(ends) => timeout_at(ends, writes).await.map_err(|_| WriteFailure::Stalled)?,
            None => writes.await,
        };
        let done = done.inspect_err(|_| self.is_stopped = true)?;
        self.waiting.written(done.chunks, done.bytes);
        self.stalls();
        Ok(())
    }

    /// When the peer has stalled for too long, unless it takes enough until then.
    fn stalls(&mut self) -> Option<Instant> {
        let (stall, bytes_min) = self.stall.as_mut()?;
        let waiting_bytes = self.waiting.bytes();
        // Half of it, since what waits goes up and down around it where the peer gets more as it takes some.
        if waiting_bytes == 0 || waiting_bytes < *bytes_min / 2 {
            stall.is_idle();
        } else {
            stall.waits(self.waiting.gone_bytes(), Instant::now());
        }
        stall.ends().filter(|_| waiting_bytes >= *bytes_min)
    }

    pub(super) async fn write_all(&mut self) -> Result<(), WriteFailure> {
        while !self.is_idle() {
            self.write().await?;
        }
        Ok(())
    }

    pub(super) fn set_priority(&self, priority: i32) {
        self.send.set_priority(priority);
    }

    pub(super) fn reset(&mut self, code: Code) {
        self.send.reset(code);
    }

    /// Finishes the stream and gives the peer a moment to have all of it. What it has not acknowledged then
    /// goes on being sent for as long as the connection lives. Gives whether it is known to have all.
    pub(super) async fn finish(&mut self) -> bool {
        if self.send.finish().is_err() {
            return false;
        }
        timeout(DRAIN_STALL_TIMEOUT, self.send.stopped()).await.unwrap_or(false)
    }
}

/// Without it the stream of a task that panics, or is ended from outside, would be finished as if all had
/// been said.
impl Drop for FrameWriter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.reset(Code::INTERNAL);
        } else if !self.is_idle() {
            self.reset(Code::GOING_AWAY);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use quoth_lanes::{Format, Lanes, Message, Outgoing};
    use quoth_protocol::Code;
    use quoth_protocol::codec::encode;
    use quoth_protocol::frame::{ClientFrame, ServerFrame};
    use quoth_protocol::lane::{LaneMessage, Signal, encode_frames};
    use quoth_protocol::limits::{LANE_CREDIT_OF_SERVER_BYTES, STALL_PROGRESS_BYTES_MIN};
    use tokio::time::Instant;

    use super::super::transport::SendStream;
    use super::{FrameWriter, WriteFailure};

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_little_from_time_to_time_has_stalled_and_a_slow_one_has_not() {
        const TIMEOUT: Duration = Duration::from_secs(15);
        const FRAME_BYTES: usize = 100;
        const WAITING_BYTES: usize = 10_000;
        let enough = usize::try_from(STALL_PROGRESS_BYTES_MIN).unwrap() / FRAME_BYTES + 1;
        for (frames_at_once, is_stalled) in [(1, true), (enough, false)] {
            let lanes = Lanes::server(Format::Postcard);
            let control = encode_frames(0, &[encode(&ClientFrame::Read { from: None })]);
            lanes.receive(Message::Binary(control)).unwrap();
            let (send, _recv) = lanes.accept().await.unwrap();
            let mut writer = FrameWriter::new(SendStream::Lane(send));
            writer.set_stall_timeout(TIMEOUT, WAITING_BYTES);
            let reason = "x".repeat(FRAME_BYTES);
            let frame = ServerFrame::GoAway { code: Code::CLOSED, retry_after_ms: 0, reason };
            // More than there is credit for without the client's doing.
            let credit_bytes = usize::try_from(LANE_CREDIT_OF_SERVER_BYTES).unwrap();
            let mut left = (credit_bytes + 2 * WAITING_BYTES) / FRAME_BYTES;
            let takes = tokio::spawn({
                let lanes = lanes.clone();
                async move {
                    while let Outgoing::Message(_) = poll_fn(|task| lanes.poll_next_message(task)).await {}
                }
            });
            let grants = tokio::spawn(async move {
                loop {
                    tokio::time::sleep(TIMEOUT - Duration::from_secs(1)).await;
                    let bytes = u32::try_from(frames_at_once * FRAME_BYTES).unwrap();
                    let credit = LaneMessage::signal(0, Signal::Credit { bytes });
                    lanes.receive(Message::Binary(credit.encode())).unwrap();
                }
            });
            let start = Instant::now();
            let written = loop {
                // As much as there may be, again and again, as where answers hold up the next requests.
                while left > 0 && writer.waiting_bytes() < WAITING_BYTES {
                    writer.push(&frame);
                    left -= 1;
                }
                match writer.write().await {
                    Ok(()) if left == 0 && writer.is_idle() => break Ok(()),
                    Ok(()) => {}
                    failed => break failed,
                }
            };
            assert_eq!(written, if is_stalled { Err(WriteFailure::Stalled) } else { Ok(()) });
            assert_eq!(start.elapsed() == TIMEOUT, is_stalled, "{:?}", start.elapsed());
            assert!(start.elapsed() >= TIMEOUT, "it has to wait");
            takes.abort();
            grants.abort();
        }
    }
}
