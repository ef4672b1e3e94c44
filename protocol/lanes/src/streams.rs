//! The two halves of a lane, with the calls that QUIC's streams have.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use quoth_protocol::Code;

use crate::lane::Taken;
use crate::state::{Closed, Sent, State};

/// The sending half. Dropping it finishes this side of the lane.
#[derive(Debug)]
pub struct LaneSend {
    state: Arc<Mutex<State>>,
    key: u32,
}

/// The receiving half. A client that drops it before the server has finished resets the lane with
/// `CANCELLED`; for a server what comes is dropped from then on.
#[derive(Debug)]
pub struct LaneRecv {
    state: Arc<Mutex<State>>,
    key: u32,
}

/// What of some frames was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// So many whole frames.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// Why nothing was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteError {
    /// The lane was reset, by either side.
    Reset(Code),
    /// This side of the lane is finished.
    Finished,
    /// The connection has ended.
    Closed(Closed),
}

/// Why nothing can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The lane was reset, by either side.
    Reset(Code),
    /// The connection has ended, and everything that had come before is read.
    Closed(Closed),
}

impl LaneSend {
    pub(crate) fn new(state: Arc<Mutex<State>>, key: u32) -> Self {
        Self { state, key }
    }

    /// Writes some of these frames, each of which is whole and has its length, once there is credit and room:
    /// at least the first one. Dropping the future writes nothing.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn write_chunks(&mut self, frames: &[Bytes]) -> Result<Written, WriteError> {
        poll_fn(|task| self.poll_write_chunks(frames, task)).await
    }

    fn poll_write_chunks(
        &self,
        frames: &[Bytes],
        task: &mut Context<'_>,
    ) -> Poll<Result<Written, WriteError>> {
        self.state.lock().poll_send(self.key, frames, task).map(|sent| match sent {
            Sent::Frames(chunks, bytes) => Ok(Written { chunks, bytes }),
            Sent::Reset(code) => Err(WriteError::Reset(code)),
            Sent::Finished => Err(WriteError::Finished),
            Sent::Closed(closed) => Err(WriteError::Closed(closed)),
        })
    }

    /// Says that nothing more follows.
    pub fn finish(&mut self) {
        self.state.lock().finish(self.key);
    }

    /// Resets the lane in both directions, unless it is over.
    pub fn reset(&mut self, code: Code) {
        self.state.lock().reset(self.key, code);
    }
}

impl Drop for LaneSend {
    fn drop(&mut self) {
        self.state.lock().drop_sender(self.key);
    }
}

impl LaneRecv {
    pub(crate) fn new(state: Arc<Mutex<State>>, key: u32) -> Self {
        Self { state, key }
    }

    /// The next frames, each whole and with its length; `None` when the peer has finished its side. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|task| self.poll_read_chunk(task)).await
    }

    /// The same, for one who waits for several things.
    pub fn poll_read_chunk(&mut self, task: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ReadError>> {
        self.state.lock().poll_take(self.key, task).map(|taken| match taken {
            Ok(Taken::Frames(frames, _)) => Ok(Some(frames)),
            Ok(Taken::Finished | Taken::Nothing) => Ok(None),
            Ok(Taken::Reset(code)) => Err(ReadError::Reset(code)),
            Err(closed) => Err(ReadError::Closed(closed)),
        })
    }

    /// Resets the lane in both directions, unless it is over.
    pub fn stop(&mut self, code: Code) {
        self.state.lock().reset(self.key, code);
    }
}

impl Drop for LaneRecv {
    fn drop(&mut self) {
        self.state.lock().drop_receiver(self.key);
    }
}
