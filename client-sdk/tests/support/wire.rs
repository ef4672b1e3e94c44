//! Frames over a stream, the server's way round.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use quinn::{RecvStream, SendStream, VarInt};
use quoth_client::Code;
use quoth_client::protocol::codec::{Decoder, encode};
use quoth_client::protocol::frame::{ClientFrame, ServerFrame};
use quoth_client::protocol::limits::FRAME_BYTES_MAX;

pub(super) struct Frames {
    send: SendStream,
    recv: RecvStream,
    decoder: Decoder,
    peeked: VecDeque<ClientFrame>,
    waiting: BytesMut,
}

impl Frames {
    pub(super) fn new(send: SendStream, recv: RecvStream) -> Self {
        Self {
            send,
            recv,
            decoder: Decoder::new(FRAME_BYTES_MAX),
            peeked: VecDeque::new(),
            waiting: BytesMut::new(),
        }
    }

    /// The next frame, `None` at the end. Cancel-safe.
    pub(super) async fn next(&mut self) -> Result<Option<ClientFrame>, ()> {
        if let Some(frame) = self.peeked.pop_front() {
            return Ok(Some(frame));
        }
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Ok(Some(frame));
            }
            match self.recv.read_chunk(usize::MAX, true).await {
                Ok(Some(chunk)) => self.decoder.push(&chunk.bytes),
                Ok(None) => return Ok(None),
                Err(_) => return Err(()),
            }
        }
    }

    /// The next frames, which [`Frames::next`] gives again.
    pub(super) async fn peek(&mut self, count: usize) -> Vec<ClientFrame> {
        let mut frames = Vec::new();
        while frames.len() < count
            && let Ok(Some(frame)) = self.next().await
        {
            frames.push(frame);
        }
        self.peeked.extend(frames.iter().cloned());
        frames
    }

    pub(super) fn push(&mut self, frame: &ServerFrame) {
        self.waiting.extend_from_slice(&encode(frame));
    }

    pub(super) async fn flush(&mut self) -> Result<(), ()> {
        let bytes: Bytes = self.waiting.split().freeze();
        self.send.write_chunk(bytes).await.map_err(|_| ())
    }

    pub(super) fn finish(&mut self) {
        self.send.finish().ok();
    }

    /// Waits until the client has got all that was sent, behind a finish.
    pub(super) async fn received(&mut self) {
        self.send.stopped().await.ok();
    }

    /// Takes nothing more.
    pub(super) fn stop(&mut self, code: Code) {
        self.recv.stop(VarInt::from_u32(code.0)).ok();
    }

    pub(super) fn reset(&mut self, code: Code) {
        self.send.reset(VarInt::from_u32(code.0)).ok();
        self.recv.stop(VarInt::from_u32(code.0)).ok();
    }
}
