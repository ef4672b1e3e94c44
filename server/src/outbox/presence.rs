//! Who comes and who goes, as notices of the log: there they stand among the events in their order, and are
//! sent as those are.
//!
//! A register of the server's own conversation says who was told to be there. So a user who did not come back
//! after a crash is told to have gone, and nobody is for ever there.

use std::collections::HashSet;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use quoth_protocol::presence::Status;
use quoth_protocol::{ConversationName, UserId};
use quoth_store::Register;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::engine::Engine;
use crate::sessions::Sessions;

/// Begins the registers of those who were told to be there.
const PREFIX: &[u8] = b"online/";

/// Users of whom something is written at once: one flush is for all of them.
const USERS_AT_ONCE_MAX: usize = 256;

/// After so many times the time that a device may be gone, whoever was there before a restart has come back
/// or has gone.
const RETURN_FACTOR: u32 = 3;

/// How long it takes to try again what could not be stored.
const RETRY: Duration = Duration::from_secs(1);

/// Where it is written, and who knows who is there.
pub(super) trait Book: Send + Sync {
    /// Who was told to be there before.
    fn told(&self) -> impl Future<Output = Result<HashSet<UserId>, String>> + Send;

    /// Whether a user is there, and when that was last so, in milliseconds since 1970.
    fn status(&self, user: &UserId) -> impl Future<Output = (Status, u64)> + Send;

    /// Writes a notice and the register beside it.
    fn notice(&self, content: Bytes, register: Register) -> impl Future<Output = Result<(), String>> + Send;
}

/// The server's own.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) engine: Engine,
    pub(super) sessions: Sessions,
}

impl Book for Server {
    async fn told(&self) -> Result<HashSet<UserId>, String> {
        let registers = self.engine.registers(ConversationName::server(), PREFIX, usize::MAX).await;
        let registers = registers.map_err(|error| error.to_string())?;
        let user = |key: &Bytes| UserId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok();
        Ok(registers.iter().filter_map(|(key, _)| user(key)).collect())
    }

    async fn status(&self, user: &UserId) -> (Status, u64) {
        self.sessions.status(user).await
    }

    async fn notice(&self, content: Bytes, register: Register) -> Result<(), String> {
        self.engine.notice(ConversationName::server(), content, vec![register]).await
    }
}

/// Writes who comes and goes.
#[derive(Debug)]
pub(super) struct Attendance<B> {
    pub(super) book: B,
    /// How long a device that has gone is taken for there.
    pub(super) leave: Duration,
}

impl<B: Book> Attendance<B> {
    /// Writes until the sessions end. What cannot be read or stored, as while the disk is full, is tried again.
    pub(super) async fn run(self, mut changed: mpsc::UnboundedReceiver<UserId>) {
        let mut told = loop {
            match self.book.told().await {
                Ok(told) => break told,
                Err(_) if changed.is_closed() => return,
                Err(error) => {
                    tracing::error!(
                        error,
                        "who was there before cannot be read: nobody is told to come or go, and it is tried again"
                    );
                }
            }
            tokio::time::sleep(RETRY).await;
        };
        // Those who come back meanwhile have not gone.
        let mut returned = told.iter().cloned().collect::<Vec<_>>();
        let mut returns = std::pin::pin!(tokio::time::sleep(self.leave * RETURN_FACTOR));
        let (mut users, mut waits) = (Vec::new(), HashSet::new());
        let mut retry_at: Option<Instant> = None;
        loop {
            tokio::select! {
                count = changed.recv_many(&mut users, USERS_AT_ONCE_MAX) => if count == 0 { return },
                () = returns.as_mut(), if !returned.is_empty() => {
                    let count = returned.len().min(USERS_AT_ONCE_MAX);
                    users.extend(returned.drain(..count));
                }
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => retry_at = None,
            }
            waits.extend(users.drain(..));
            if retry_at.is_none()
                && let Err(error) = self.write_all(&mut waits, &mut told).await
            {
                tracing::warn!(
                    error,
                    users = waits.len(),
                    "who comes and goes cannot be written: it is tried again"
                );
                retry_at = Some(Instant::now() + RETRY);
            }
        }
    }

    /// Writes what is another thing than was told of these users, and leaves those of whom that failed.
    async fn write_all(&self, waits: &mut HashSet<UserId>, told: &mut HashSet<UserId>) -> Result<(), String> {
        while !waits.is_empty() {
            let users: Vec<UserId> = waits.iter().take(USERS_AT_ONCE_MAX).cloned().collect();
            let mut result = Ok(());
            for (user, written) in self.write(users, told).await {
                match written {
                    Ok(is_there) => {
                        waits.remove(&user);
                        if is_there {
                            told.insert(user)
                        } else {
                            told.remove(&user)
                        };
                    }
                    Err(error) => result = Err(error),
                }
            }
            result?;
        }
        Ok(())
    }

    /// Writes of each of these users whether the user is there, if it was told otherwise.
    async fn write(&self, users: Vec<UserId>, told: &HashSet<UserId>) -> Vec<(UserId, Result<bool, String>)> {
        let book = &self.book;
        let write = |user: UserId| async move {
            let (status, last_seen_ms) = book.status(&user).await;
            let is_there = status != Status::Offline;
            let key = Bytes::from([PREFIX, user.as_str().as_bytes()].concat());
            let (content, value) = match (told.contains(&user), is_there) {
                (false, true) => (json!({ "type": "online", "user": user }), Some(Bytes::new())),
                (true, false) => {
                    (json!({ "type": "offline", "user": user, "last_seen_ms": last_seen_ms }), None)
                }
                (true, true) | (false, false) => return (user, Ok(is_there)),
            };
            let written = book.notice(Bytes::from(content.to_string()), Register { key, value }).await;
            (user, written.map(|()| is_there))
        };
        join_all(users.into_iter().map(write)).await
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use parking_lot::Mutex;
    use quoth_protocol::UserId;
    use quoth_protocol::presence::Status;
    use quoth_store::Register;
    use tokio::sync::mpsc;

    use super::{Attendance, Book};

    /// A book on a disk that may be full.
    #[derive(Debug, Clone, Default)]
    struct Disk(Arc<Mutex<Inner>>);

    #[derive(Debug, Default)]
    struct Inner {
        is_full: bool,
        /// How often it cannot be read before it can.
        unreadable: usize,
        /// Who is there.
        there: HashSet<UserId>,
        tries: usize,
        told: Vec<String>,
    }

    impl Book for Disk {
        async fn told(&self) -> Result<HashSet<UserId>, String> {
            let mut inner = self.0.lock();
            if inner.unreadable > 0 {
                inner.unreadable -= 1;
                return Err("the disk waits".to_owned());
            }
            Ok(HashSet::new())
        }

        async fn status(&self, user: &UserId) -> (Status, u64) {
            let is_there = self.0.lock().there.contains(user);
            (if is_there { Status::Online } else { Status::Offline }, 7)
        }

        async fn notice(&self, content: Bytes, _: Register) -> Result<(), String> {
            let mut inner = self.0.lock();
            inner.tries += 1;
            if inner.is_full {
                return Err("the disk is full".to_owned());
            }
            let event: serde_json::Value = serde_json::from_slice(&content).unwrap();
            inner.told.push(format!(
                "{} {}",
                event["user"].as_str().unwrap(),
                event["type"].as_str().unwrap()
            ));
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_while_it_cannot_be_read_who_was_there_is_told_later() {
        let (disk, (observer, changed)) = (Disk::default(), mpsc::unbounded_channel());
        let alice = UserId::new("alice").unwrap();
        disk.0.lock().unreadable = 3;
        disk.0.lock().there.insert(alice.clone());
        let attendance = Attendance { book: disk.clone(), leave: Duration::from_secs(5) };
        let running = tokio::spawn(attendance.run(changed));
        observer.send(alice).unwrap();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert!(disk.0.lock().told.is_empty());
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(disk.0.lock().told, ["alice online"]);
        drop(observer);
        running.await.unwrap();
        // One that never can be ends with the sessions.
        disk.0.lock().unreadable = usize::MAX;
        let (observer, changed) = mpsc::unbounded_channel();
        let attendance = Attendance { book: disk, leave: Duration::from_secs(5) };
        let running = tokio::spawn(attendance.run(changed));
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        drop(observer);
        tokio::time::timeout(Duration::from_secs(2), running).await.expect("it ends").unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_full_disk_refused_is_told_when_there_is_room() {
        let (disk, (observer, changed)) = (Disk::default(), mpsc::unbounded_channel());
        let attendance = Attendance { book: disk.clone(), leave: Duration::from_secs(5) };
        let running = tokio::spawn(attendance.run(changed));
        let user = |name: &str| UserId::new(name).unwrap();
        let change = |name: &str, is_there: bool| {
            let mut inner = disk.0.lock();
            if is_there {
                inner.there.insert(user(name))
            } else {
                inner.there.remove(&user(name))
            };
            drop(inner);
            observer.send(user(name)).unwrap();
        };
        // The clock goes on once nobody has anything to do.
        let later = || tokio::time::sleep(Duration::from_millis(2_500));
        change("alice", true);
        later().await;
        disk.0.lock().is_full = true;
        change("alice", false);
        change("bob", true);
        change("carol", true);
        later().await;
        change("carol", false);
        later().await;
        assert_eq!(disk.0.lock().told, ["alice online"]);
        assert!(disk.0.lock().tries < 30, "with pauses");
        disk.0.lock().is_full = false;
        later().await;
        let mut told = disk.0.lock().told.clone();
        told.sort_unstable();
        assert_eq!(told, ["alice offline", "alice online", "bob online"], "as it is by then");
        change("alice", true);
        later().await;
        assert_eq!(disk.0.lock().told.last().unwrap(), "alice online", "it goes on");
        drop(observer);
        running.await.unwrap();
    }
}
