//! What waits to be written to a socket: frames of RFC 6455, several in one call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use quoth_lanes::Message;
use tokio::io::AsyncWrite;

/// Payloads of at most so many bytes are copied together: a call for each would cost more.
const COPIED_BYTES_MAX: usize = 1_024;

/// Slices that one call writes.
const SLICES_MAX: usize = 16;

/// Chunks for which memory is kept when nothing waits.
const KEPT_CHUNKS: usize = 4;

/// Bytes on their way to a socket, in order.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    chunks: VecDeque<Bytes>,
    /// The last of them, to which more may be added.
    tail: BytesMut,
    bytes: usize,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds what is framed already.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.bytes += bytes.len();
    }

    /// Adds a message as one frame, which a server does not mask.
    pub(super) fn push(&mut self, message: Message) {
        const FIN: u8 = 0x80;
        let (opcode, payload) = match message {
            Message::Text(text) => (1, Bytes::from(text)),
            Message::Binary(bytes) => (2, bytes),
        };
        let before = self.tail.len();
        self.tail.put_u8(FIN | opcode);
        match payload.len() {
            length @ 0..126 => self.tail.put_u8(u8::try_from(length).unwrap_or_default()),
            length => match u16::try_from(length) {
                Ok(length) => {
                    self.tail.put_u8(126);
                    self.tail.put_u16(length);
                }
                Err(_) => {
                    self.tail.put_u8(127);
                    self.tail.put_u64(length as u64);
                }
            },
        }
        self.bytes += self.tail.len() - before + payload.len();
        if payload.len() <= COPIED_BYTES_MAX {
            self.tail.extend_from_slice(&payload);
        } else {
            self.seal();
            self.chunks.push_back(payload);
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Writes all that waits. What is written is gone, also when there is more.
    pub(super) fn poll_write(
        &mut self,
        task: &mut Context<'_>,
        mut socket: Pin<&mut impl AsyncWrite>,
    ) -> Poll<io::Result<()>> {
        self.seal();
        while let Some(first) = self.chunks.front() {
            let written = if self.chunks.len() > 1 && socket.is_write_vectored() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let count = slices.len().min(self.chunks.len());
                for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
                    *slice = IoSlice::new(chunk);
                }
                ready!(socket.as_mut().poll_write_vectored(task, &slices[..count]))?
            } else {
                ready!(socket.as_mut().poll_write(task, first))?
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.cut(written);
        }
        self.chunks.shrink_to(KEPT_CHUNKS);
        Poll::Ready(Ok(()))
    }

    fn cut(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.chunks.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io;
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use quoth_lanes::Message;
    use tokio::io::AsyncWrite;
    use tungstenite::protocol::{Role, WebSocketContext};

    use super::{COPIED_BYTES_MAX, KEPT_CHUNKS, Outbox};

    /// A socket that takes so many bytes in each call.
    struct Socket {
        taken: Vec<u8>,
        at_once: usize,
        is_vectored: bool,
        calls: usize,
    }

    impl AsyncWrite for Socket {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.at_once);
            self.taken.extend_from_slice(&buf[..count]);
            self.calls += 1;
            Poll::Ready(Ok(count))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all = slices.iter().flat_map(|slice| slice.iter().copied());
            let before = self.taken.len();
            let at_once = self.at_once;
            self.taken.extend(all.take(at_once));
            self.calls += 1;
            Poll::Ready(Ok(self.taken.len() - before))
        }

        fn is_write_vectored(&self) -> bool {
            self.is_vectored
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn written(outbox: &mut Outbox, at_once: usize, is_vectored: bool) -> Socket {
        let mut socket = pin!(Socket { taken: Vec::new(), at_once, is_vectored, calls: 0 });
        poll_fn(|task| outbox.poll_write(task, socket.as_mut())).await.unwrap();
        let Socket { taken, calls, .. } = &mut *socket;
        Socket { taken: std::mem::take(taken), at_once, is_vectored, calls: *calls }
    }

    #[tokio::test]
    async fn frames_are_what_another_implementation_reads_however_they_are_written() {
        let lengths = [0, 1, 125, 126, COPIED_BYTES_MAX, COPIED_BYTES_MAX + 1, 65_535, 65_536, 400_000];
        for (at_once, is_vectored) in [(usize::MAX, true), (usize::MAX, false), (997, true), (13, false)] {
            let mut outbox = Outbox::default();
            for length in lengths {
                outbox.push(Message::Binary(Bytes::from(vec![b'b'; length])));
                outbox.push(Message::Text("t".repeat(length)));
            }
            let waiting = outbox.bytes();
            let socket = written(&mut outbox, at_once, is_vectored).await;
            assert_eq!((socket.taken.len(), outbox.bytes()), (waiting, 0));
            let mut context = WebSocketContext::new(Role::Client, None);
            let mut read = io::Cursor::new(socket.taken);
            for length in lengths {
                let binary = context.read(&mut read).unwrap();
                assert!(binary.is_binary() && binary.len() == length);
                let text = context.read(&mut read).unwrap();
                assert!(text.is_text() && text.len() == length);
            }
        }
    }

    #[tokio::test]
    async fn many_small_messages_are_one_call_and_leave_nothing_behind() {
        let mut outbox = Outbox::default();
        for _ in 0..100 {
            outbox.push(Message::Binary(Bytes::from_static(&[0; 100])));
        }
        assert_eq!(written(&mut outbox, usize::MAX, true).await.calls, 1);
        for _ in 0..100 {
            outbox.push(Message::Binary(Bytes::from_static(&[0; 2_000])));
        }
        assert!(written(&mut outbox, usize::MAX, true).await.calls < 20);
        assert!(outbox.chunks.capacity() <= 2 * KEPT_CHUNKS && outbox.tail.capacity() == 0);
    }
}
