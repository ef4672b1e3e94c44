//! Who comes and who goes, as notices of the log: there they stand among the events in their order, and are sent as those are.
//!
//! A register of the server's own conversation says who was told to be there. So a user who did not come back after a crash is told to
//! have gone, and nobody is for ever there.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quoth_protocol::presence::Status;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::Register;
use serde_json::json;
use tokio::sync::mpsc;

use crate::engine::Engine;
use crate::sessions::Sessions;

/// Begins the registers of those who were told to be there.
const PREFIX: &[u8] = b"online/";

/// Users of whom something is written at once: one flush is for all of them.
const USERS_AT_ONCE_MAX: usize = 256;

/// After so many times the time that a device may be gone, whoever was there before a restart has come back or has gone.
const RETURN_FACTOR: u32 = 3;

/// Writes who comes and goes.
#[derive(Debug)]
pub(super) struct Attendance {
    pub(super) engine: Engine,
    pub(super) sessions: Sessions,
    /// How long a device that has gone is taken for there.
    pub(super) leave: Duration,
}

impl Attendance {
    /// Writes until the sessions end or the store fails.
    pub(super) async fn run(self, mut changed: mpsc::UnboundedReceiver<UserId>) {
        let mut told = match self.told().await {
            Ok(told) => told,
            Err(error) => {
                return tracing::error!(
                    error,
                    "who was there before cannot be read: nobody is told to come or go"
                );
            }
        };
        // Those who come back meanwhile have not gone.
        let mut returned = told.iter().cloned().collect::<Vec<_>>();
        let mut returns = std::pin::pin!(tokio::time::sleep(self.leave * RETURN_FACTOR));
        let mut users = Vec::new();
        loop {
            tokio::select! {
                count = changed.recv_many(&mut users, USERS_AT_ONCE_MAX) => if count == 0 { return },
                () = returns.as_mut(), if !returned.is_empty() => {
                    let count = returned.len().min(USERS_AT_ONCE_MAX);
                    users.extend(returned.drain(..count));
                }
            }
            let waits: HashSet<UserId> = users.drain(..).collect();
            if let Err(error) = self.write(waits, &mut told).await {
                return tracing::error!(error, "who comes and goes cannot be written any more");
            }
        }
    }

    /// Who was told to be there before.
    async fn told(&self) -> Result<HashSet<UserId>, String> {
        let registers = self.engine.registers(ConversationName::server(), PREFIX, usize::MAX).await;
        let registers = registers.map_err(|error| error.to_string())?;
        let user = |key: &Bytes| UserId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok();
        Ok(registers.iter().filter_map(|(key, _)| user(key)).collect())
    }

    /// Writes what is another thing than was told of these users.
    async fn write(&self, users: HashSet<UserId>, told: &mut HashSet<UserId>) -> Result<(), String> {
        let mut notices = Vec::new();
        for user in users {
            let (status, last_seen_ms) = self.sessions.status(&user, self.engine.now_ms()).await;
            let is_there = status != Status::Offline;
            let key = Bytes::from([PREFIX, user.as_str().as_bytes()].concat());
            let (content, value) = if is_there && told.insert(user.clone()) {
                (json!({ "type": "online", "user": user }), Some(Bytes::new()))
            } else if !is_there && told.remove(&user) {
                (json!({ "type": "offline", "user": user, "last_seen_ms": last_seen_ms }), None)
            } else {
                continue;
            };
            let content = Bytes::from(content.to_string());
            let register = Register { key, value };
            notices.push(self.engine.notice(ConversationName::server(), content, vec![register]));
        }
        join_all(notices).await.into_iter().collect()
    }
}
