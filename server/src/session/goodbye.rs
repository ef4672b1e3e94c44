//! The end of a connection that the client is to hear the reason of.

use std::time::Duration;

use quoth_protocol::frame::ServerFrame;
use tokio::time::timeout;

use super::frames::FrameWriter;
use super::transport::Transport;
use crate::sessions::Goodbye;

/// How long a client has to hear the reason before the connection is closed. Its streams have ended before,
/// so this is for people's sake alone; with it everything is over within the second that a revocation may
/// take.
const HEAR_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a WebSocket's client has to answer the close.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Says why the connection ends, and when the client may come again unless that is 0, and closes it. Gives
/// whether the client has heard it for sure.
pub(super) async fn say(goodbye: &Goodbye, writer: &mut FrameWriter, transport: &Transport) -> bool {
    let Goodbye { code, reason, retry_after_ms } = goodbye;
    writer.push(&ServerFrame::GoAway {
        code: *code,
        retry_after_ms: *retry_after_ms,
        reason: reason.clone(),
    });
    let said = async {
        writer.write_all().await?;
        Ok::<_, super::frames::WriteFailure>(writer.finish().await)
    };
    let is_acknowledged = matches!(timeout(HEAR_TIMEOUT, said).await, Ok(Ok(true)));
    transport.close(*code, reason);
    is_acknowledged || timeout(ANSWER_TIMEOUT, transport.close_answered()).await.is_ok()
}
