//! Frames on a QUIC stream: a reader that may be dropped while it waits, and a writer that coalesces.

use bytes::Bytes;
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use quoth_protocol::Code;
use quoth_protocol::codec::{DecodeError, Decoder, encode};
use quoth_protocol::frame::{ClientFrame, ServerFrame};

/// Bytes that a writer has waiting before its owner adds no more: some packets' worth, so that a write is worth its
/// wake-up, and little enough that a stalled reader pins next to nothing.
const WRITE_BATCH_BYTES: usize = 32 * 1024;

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

impl From<ReadError> for ReadFailure {
    fn from(_: ReadError) -> Self {
        Self::Gone
    }
}

/// Reads frames from a stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    recv: RecvStream,
    decoder: Decoder,
}

impl FrameReader {
    pub(super) fn new(recv: RecvStream, frame_bytes_max: usize) -> Self {
        Self { recv, decoder: Decoder::new(frame_bytes_max) }
    }

    pub(super) fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.decoder.set_frame_bytes_max(frame_bytes_max);
    }

    /// The next frame, or `None` when the peer has finished its side. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<ClientFrame>, ReadFailure> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(usize::MAX, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None if self.decoder.is_mid_frame() => return Err(ReadFailure::Broken(Code::PROTOCOL)),
                None => return Ok(None),
            }
        }
    }

    pub(super) fn stop(&mut self, code: Code) {
        let _already_ended = self.recv.stop(VarInt::from_u32(code.0));
    }
}

/// Writes frames to a stream: what has gathered goes out in one call.
#[derive(Debug)]
pub(super) struct FrameWriter {
    send: SendStream,
    waiting: Vec<Bytes>,
    /// Chunks of `waiting` that are written.
    written: usize,
    waiting_bytes: usize,
    /// Bytes that were written since the beginning.
    written_bytes: u64,
}

impl FrameWriter {
    pub(super) fn new(send: SendStream) -> Self {
        Self { send, waiting: Vec::new(), written: 0, waiting_bytes: 0, written_bytes: 0 }
    }

    pub(super) fn push(&mut self, frame: &ServerFrame) {
        self.extend(std::iter::once(encode(frame)));
    }

    pub(super) fn extend(&mut self, frames: impl IntoIterator<Item = Bytes>) {
        for frame in frames {
            self.waiting_bytes += frame.len();
            self.waiting.push(frame);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting_bytes == 0
    }

    /// Bytes that the owner may add.
    pub(super) fn room(&self) -> usize {
        WRITE_BATCH_BYTES.saturating_sub(self.waiting_bytes)
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Bytes that were written since the beginning.
    pub(super) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// What [`FrameWriter::written_bytes`] will be when everything that was added is written.
    pub(super) fn end(&self) -> u64 {
        self.written_bytes + self.waiting_bytes as u64
    }

    /// Writes some of what waits. Dropping the future loses nothing.
    pub(super) async fn write(&mut self) -> Result<(), WriteError> {
        let done = self.send.write_chunks(&mut self.waiting[self.written..]).await?;
        self.written += done.chunks;
        self.waiting_bytes -= done.bytes;
        self.written_bytes += done.bytes as u64;
        if self.waiting_bytes == 0 {
            self.waiting.clear();
            self.written = 0;
        }
        Ok(())
    }

    pub(super) async fn write_all(&mut self) -> Result<(), WriteError> {
        while !self.is_idle() {
            self.write().await?;
        }
        Ok(())
    }

    pub(super) fn set_priority(&self, priority: i32) {
        let _already_ended = self.send.set_priority(priority);
    }

    pub(super) fn reset(&mut self, code: Code) {
        let _already_ended = self.send.reset(VarInt::from_u32(code.0));
    }

    /// Finishes the stream and waits until the peer has all of it.
    pub(super) async fn finish(&mut self) {
        if self.send.finish().is_ok() {
            let _peer_is_gone = self.send.stopped().await;
        }
    }
}
