//! A socket as tungstenite wants it: calls that do not wait. What is written goes into the outbox.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

use super::outbox::Outbox;
use crate::http::Stream;

/// Bytes that may come beside a message before it is whole: the headers of a frame and of what is read with
/// it. A message in so many fragments that their headers are more is refused.
const HEADERS_BYTES_MAX: usize = 4 * 1_024;

/// Bytes in the outbox above which no answer to a ping is added.
const ANSWERS_BYTES_MAX: usize = 64 * 1_024;

/// A message whose fragments' headers take more than they may.
#[derive(Debug, thiserror::Error)]
#[error("too many fragments for one message")]
pub(super) struct TooManyFragments;

impl TooManyFragments {
    pub(super) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

/// A socket during one call.
pub(super) struct Wire<'a, 'b> {
    pub(super) task: &'a mut Context<'b>,
    pub(super) stream: &'a mut Stream,
    pub(super) outbox: &'a mut Outbox,
    /// Bytes that have come since the last whole message, without pings and pongs.
    pub(super) come_bytes: &'a mut usize,
    /// Bytes that a message may have.
    pub(super) message_bytes_max: usize,
}

impl Read for Wire<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut buf = ReadBuf::new(buf);
        match Pin::new(&mut *self.stream).poll_read(self.task, &mut buf) {
            Poll::Pending => return Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(read) => read?,
        }
        let count = buf.filled().len();
        *self.come_bytes += count;
        if *self.come_bytes > self.message_bytes_max + HEADERS_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, TooManyFragments));
        }
        Ok(count)
    }
}

impl Write for Wire<'_, '_> {
    /// Takes all or nothing, so that frames stay whole.
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.outbox.bytes() > ANSWERS_BYTES_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.outbox.extend(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
