//! Devices that were connected, as registers of their user's own log.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use quoth_protocol::limits::{PLATFORM_BYTES_MAX, SESSIONS_MAX};
use quoth_protocol::presence::Status;
use quoth_protocol::reply::SessionInfo;
use quoth_protocol::{ConversationName, DeviceId, UserId};
use quoth_store::Register;

use super::Inner;
use super::alive::Runs;
use super::keep::Keep;
use super::state::until;

/// What the keys begin with; behind it is the device's id.
const PREFIX: &[u8] = b"device/";

/// In place of when a device was last there: it was there when this was stored, and no end of that has been.
pub(super) const THERE: u64 = 0;

/// Users whose devices of before are read at once: reads wait for the disk, and a network that fails takes
/// thousands with it.
const READS_AT_ONCE: usize = 32;

/// Devices that have come or gone, by user and device.
pub(super) type Gone = HashMap<(UserId, DeviceId), SessionInfo>;

/// The devices that a user has had.
///
/// # Errors
/// When they cannot be read.
pub(super) async fn load(keep: &dyn Keep, runs: &Runs, user: &UserId) -> Result<Vec<SessionInfo>, String> {
    let registers = keep.load(ConversationName::of_user(user), PREFIX, None, 4 * SESSIONS_MAX).await?;
    let seen = |mut info: SessionInfo| {
        if info.last_seen_ms == THERE {
            info.last_seen_ms = runs.last_seen_ms(info.connected_ms);
        }
        info
    };
    Ok(registers.iter().filter_map(|(key, value)| decode(key, value)).map(seen).collect())
}

/// Stores what devices have come and gone when it is time, for as long as somebody has the sessions. Nothing
/// else waits for it: it takes as long as the disk takes.
pub(super) async fn run(sessions: Weak<Inner>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let store_ms = inner.state.lock().store_ms();
        if store_ms.is_some_and(|store_ms| store_ms <= inner.clock.unix_ms()) {
            store(&inner).await;
        }
        let wait = until(inner.state.lock().store_ms(), inner.clock.unix_ms());
        // Without a hold on the sessions, so that they can end.
        let went = Arc::clone(&inner.went);
        drop(inner);
        let _sooner_or_not = tokio::time::timeout(wait, went.notified()).await;
    }
}

/// Stores what devices have come and gone, of which that is not stored yet.
pub(super) async fn store(inner: &Inner) {
    let _in_order = inner.storing.lock().await;
    let gone = inner.state.lock().begin_to_store();
    keep(&*inner.keep(), &inner.runs, gone).await;
    inner.state.lock().stored();
}

/// Forgets a user's devices that are not connected, those that wait to be stored among them.
pub(super) async fn forget(inner: &Inner, user: &UserId) -> Result<(), String> {
    store(inner).await;
    let _in_order = inner.storing.lock().await;
    let keep = inner.keep();
    loop {
        let devices = load(&*keep, &inner.runs, user).await?;
        if devices.is_empty() {
            return Ok(());
        }
        let removed = devices.iter().map(|info| Register { key: key(&info.device), value: None });
        keep.keep(ConversationName::of_user(user), removed.collect()).await?;
    }
}

/// Remembers devices, and forgets the oldest ones of each user.
async fn keep(keep: &dyn Keep, runs: &Runs, gone: Gone) {
    let mut by_user: HashMap<UserId, Vec<SessionInfo>> = HashMap::new();
    for ((user, _), info) in gone {
        by_user.entry(user).or_default().push(info);
    }
    let reads = by_user.into_iter().map(|(user, gone)| async move {
        let log = ConversationName::of_user(&user);
        match load(keep, runs, &user).await {
            Ok(before) => Some((log, registers(gone, before))),
            Err(error) => {
                tracing::warn!(%user, error, "when the devices were last there cannot be stored");
                None
            }
        }
    });
    let notes: Vec<_> =
        stream::iter(reads).buffer_unordered(READS_AT_ONCE).filter_map(std::future::ready).collect().await;
    if notes.is_empty() {
        return;
    }
    let users = notes.len();
    if let Err(error) = keep.keep_all(notes).await {
        tracing::warn!(users, error, "when the devices of users were last there cannot be stored");
    }
}

fn registers(gone: Vec<SessionInfo>, before: Vec<SessionInfo>) -> Vec<Register> {
    let mut others: Vec<SessionInfo> =
        before.into_iter().filter(|info| gone.iter().all(|gone| gone.device != info.device)).collect();
    others.sort_by_key(|info| std::cmp::Reverse(info.last_seen_ms));
    let forgotten = others.drain(SESSIONS_MAX.saturating_sub(gone.len()).min(others.len())..);
    let removed: Vec<Register> =
        forgotten.map(|info| Register { key: key(&info.device), value: None }).collect();
    gone.iter()
        .map(|info| Register { key: key(&info.device), value: Some(encode(info)) })
        .chain(removed)
        .collect()
}

fn key(device: &DeviceId) -> Bytes {
    [PREFIX, device.as_str().as_bytes()].concat().into()
}

fn encode(info: &SessionInfo) -> Bytes {
    let mut value = BytesMut::new();
    for number in [info.generation, info.connected_ms, info.last_seen_ms] {
        value.put_u64_le(number);
    }
    value.put_slice(text_of(&info.platform, PLATFORM_BYTES_MAX).as_bytes());
    value.freeze()
}

/// The beginning of a text, of at most so many bytes.
fn text_of(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

fn decode(key: &Bytes, value: &Bytes) -> Option<SessionInfo> {
    let device = DeviceId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok()?;
    let (numbers, platform) = value.split_at_checked(24)?;
    let number = |at: usize| numbers[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    Some(SessionInfo {
        device,
        platform: std::str::from_utf8(platform).ok()?.to_owned(),
        generation: number(0)?,
        status: Status::Offline,
        connected_ms: number(8)?,
        last_seen_ms: number(16)?,
    })
}

#[cfg(test)]
mod tests {
    use quoth_protocol::DeviceId;
    use quoth_protocol::presence::Status;
    use quoth_protocol::reply::SessionInfo;

    use super::{SESSIONS_MAX, decode, encode, key, registers};

    fn info(id: &str, last_seen_ms: u64) -> SessionInfo {
        SessionInfo {
            device: DeviceId::new(id).unwrap(),
            platform: "ü".repeat(32),
            generation: 7,
            status: Status::Offline,
            connected_ms: 8,
            last_seen_ms,
        }
    }

    #[test]
    fn a_device_comes_back() {
        let info = info(&"d".repeat(64), 9);
        assert_eq!(decode(&key(&info.device), &encode(&info)), Some(info.clone()));
        let long = SessionInfo { platform: "ü".repeat(32) + "xy", ..info.clone() };
        assert_eq!(decode(&key(&long.device), &encode(&long)), Some(info));
    }

    #[test]
    fn the_oldest_devices_are_forgotten() {
        let before = (0..SESSIONS_MAX as u64).map(|n| info(&format!("old {n}"), n)).collect();
        let registers = registers(vec![info("new", 1_000), info("old 3", 1_000)], before);
        let removed: Vec<_> = registers.iter().filter(|register| register.value.is_none()).collect();
        assert_eq!((registers.len(), removed.len()), (3, 1));
        assert_eq!(removed[0].key, key(&DeviceId::new("old 0").unwrap()));
    }
}
