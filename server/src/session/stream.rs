//! A stream of a connection besides its control stream: its first frame says what it is.

use std::sync::Arc;
use std::time::Duration;

use quoth_protocol::Code;
use quoth_protocol::frame::ClientFrame;
use quoth_protocol::limits::{FIRST_FRAME_BYTES_MAX, FIRST_FRAME_TIMEOUT_MS};

use super::connection::Shared;
use super::frames::{FrameReader, FrameWriter, ReadFailure};
use super::transport::{RecvStream, SendStream};
use super::{conversation, fetch};

/// Runs a stream besides the control stream until either side ends it. Says whether the client has abandoned
/// it: reset its side, or wanted no more of the server's.
pub(super) async fn run(shared: Arc<Shared>, send: SendStream, recv: RecvStream) -> bool {
    let mut reader = FrameReader::new(recv, FIRST_FRAME_BYTES_MAX);
    let mut writer = FrameWriter::new(send);
    match serve(&shared, &mut reader, &mut writer).await {
        Ok(()) => {
            writer.finish().await;
        }
        Err(code) => {
            writer.reset(code);
            reader.stop(code);
        }
    }
    reader.is_reset() || writer.is_stopped()
}

/// Serves a stream: its first frame says what it is. The error is the code to reset it with.
async fn serve(shared: &Arc<Shared>, reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<(), Code> {
    let phase = shared.service.phase.clone();
    let timeout = Duration::from_millis(FIRST_FRAME_TIMEOUT_MS);
    let first = tokio::select! {
        biased;
        phase = phase.next(false) => return Err(phase.end_code()),
        first = tokio::time::timeout(timeout, reader.next()) => first.map_err(|_| Code::HELLO_TIMEOUT)?,
    };
    match first {
        Ok(Some(ClientFrame::Open(open))) => conversation::run(shared, open, reader, writer).await,
        Ok(Some(ClientFrame::Fetch(request))) => tokio::select! {
            biased;
            phase = phase.next(false) => Err(phase.end_code()),
            code = broken_behind_fetch(reader) => Err(code),
            served = fetch::run(shared, request, writer) => served,
        },
        Ok(Some(_)) => Err(Code::PROTOCOL),
        Err(ReadFailure::Broken(code)) => Err(code),
        Ok(None) | Err(ReadFailure::Gone) => Ok(()),
    }
}

/// Waits until the client sends something behind its Fetch, where nothing has a place, and gives the code to
/// reset the stream with.
async fn broken_behind_fetch(reader: &mut FrameReader) -> Code {
    match reader.next().await {
        Ok(Some(_)) => Code::PROTOCOL,
        Err(ReadFailure::Broken(code)) => code,
        Ok(None) | Err(ReadFailure::Gone) => std::future::pending().await,
    }
}
