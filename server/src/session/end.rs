//! How a connection ends.

use quoth_protocol::Code;
use tokio::task::JoinSet;

use super::frames::FrameWriter;
use super::goodbye;
use super::transport::Transport;
use crate::sessions::Goodbye;

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    /// Nobody is there.
    Gone,
    /// With a close.
    Close(Code, &'static str),
    /// With a close, and before it when to come again.
    Later {
        code: Code,
        /// In milliseconds.
        retry_after_ms: u32,
        reason: &'static str,
    },
    /// With a close, and the reason before it.
    Goodbye(Goodbye),
}

impl End {
    /// Ends the connection; says whether the client does not come back by itself, because it has wanted the
    /// end or has heard the reason.
    pub(super) async fn perform<T: 'static>(
        &self,
        transport: &Transport,
        writer: &mut FrameWriter,
        streams: &mut JoinSet<T>,
    ) -> bool {
        match self {
            // Before the streams are dropped, which finishes them as if all had been said.
            Self::Close(..) | Self::Gone => transport.close(self.code(), self.reason()),
            // The other one of the same client needs no reason, and is there already.
            Self::Goodbye(goodbye) if goodbye.code == Code::REPLACED => {
                transport.close(goodbye.code, &goodbye.reason);
            }
            Self::Later { code, retry_after_ms, reason } => {
                streams.abort_all();
                let goodbye =
                    Goodbye { retry_after_ms: *retry_after_ms, ..Goodbye::new(*code, (*reason).to_owned()) };
                // It comes back by itself, whether or not it has heard when.
                let _is_heard = goodbye::say(&goodbye, writer, transport).await;
            }
            Self::Goodbye(goodbye) => {
                streams.abort_all();
                return goodbye::say(goodbye, writer, transport).await;
            }
        }
        false
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Gone => Code::CLOSED,
            Self::Close(code, _) | Self::Later { code, .. } => *code,
            Self::Goodbye(goodbye) => goodbye.code,
        }
    }

    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Gone => "the client is gone",
            Self::Close(_, reason) | Self::Later { reason, .. } => reason,
            Self::Goodbye(goodbye) => &goodbye.reason,
        }
    }
}
