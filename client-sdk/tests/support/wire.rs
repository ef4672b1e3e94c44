//! Frames over a stream, the server's way round.

use std::collections::VecDeque;

use bytes::Bytes;
use quoth_client::Code;
use quoth_client::protocol::codec::{Decoder, encode};
use quoth_client::protocol::frame::{ClientFrame, ServerFrame};
use quoth_client::protocol::limits::FRAME_BYTES_MAX;

use super::connection::{RecvHalf, SendHalf};

pub(super) struct Frames {
    send: SendHalf,
    recv: RecvHalf,
    decoder: Decoder,
    peeked: VecDeque<ClientFrame>,
    waiting: VecDeque<Bytes>,
}

impl Frames {
    pub(super) fn new(send: SendHalf, recv: RecvHalf) -> Self {
        Self {
            send,
            recv,
            decoder: Decoder::new(FRAME_BYTES_MAX),
            peeked: VecDeque::new(),
            waiting: VecDeque::new(),
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
            match self.recv.read().await? {
                Some(bytes) => self.decoder.push(&bytes),
                None => return Ok(None),
            }
        }
    }

    /// [`Frames::next`] gives these again.
    pub(super) fn put_back(&mut self, frames: Vec<ClientFrame>) {
        self.peeked.extend(frames);
    }

    pub(super) fn push(&mut self, frame: &ServerFrame) {
        self.waiting.push_back(encode(frame));
    }

    /// An error tells that the stream has ended, also when nothing waits.
    pub(super) async fn flush(&mut self) -> Result<(), ()> {
        loop {
            let written = self.send.write(self.waiting.make_contiguous()).await?;
            self.waiting.drain(..written);
            if self.waiting.is_empty() {
                return Ok(());
            }
        }
    }

    pub(super) fn finish(&mut self) {
        self.send.finish();
    }

    /// Waits until the client has got all that was sent, behind a finish.
    pub(super) async fn received(&mut self) {
        self.send.received().await;
    }

    /// Takes nothing more.
    pub(super) fn stop(&mut self, code: Code) {
        self.recv.stop(code);
    }

    pub(super) fn reset(&mut self, code: Code) {
        self.send.reset(code);
        self.recv.stop(code);
    }
}
