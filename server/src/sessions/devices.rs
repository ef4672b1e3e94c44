//! Devices that were connected, as registers of their user's own log.

use std::collections::HashSet;
use std::sync::{Arc, Weak};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};
use quoth_protocol::limits::{PLATFORM_BYTES_MAX, SESSIONS_MAX};
use quoth_protocol::{ConversationName, DeviceId, UserId};
use quoth_store::Register;

use super::Inner;
use super::alive::Runs;
use super::keep::{Keep, Registers};
use super::state::until;
use super::visits::{ByUser, Until, Visit};

/// What the keys begin with; behind it is the device's id.
const PREFIX: &[u8] = b"device/";

/// What is stored in place of when a device went that is there.
const THERE: u64 = 0;

/// Users whose devices of before are read at once: reads wait for the disk, and a network that fails takes
/// thousands with it.
const READS_AT_ONCE: usize = 32;

/// The devices that a user has had.
///
/// # Errors
/// When they cannot be read.
pub(super) async fn load(keep: &dyn Keep, user: &UserId) -> Result<Vec<Visit>, String> {
    Ok(visits(&keep.load(ConversationName::of_user(user), PREFIX, None, 4 * SESSIONS_MAX).await?))
}

/// The devices that each of several users has had, in their order.
///
/// # Errors
/// When they cannot be read.
pub(super) async fn load_each(keep: &dyn Keep, users: &[&UserId]) -> Result<Vec<Vec<Visit>>, String> {
    let logs = users.iter().map(|user| ConversationName::of_user(user)).collect();
    Ok(keep.load_each(logs, PREFIX, 4 * SESSIONS_MAX).await?.iter().map(visits).collect())
}

fn visits(registers: &Registers) -> Vec<Visit> {
    registers.iter().filter_map(|(key, value)| decode(key, value)).collect()
}

/// When a device was last there of which this is stored, in milliseconds since 1970.
pub(super) fn last_seen_ms(visit: &Visit, runs: &Runs) -> u64 {
    match visit.until {
        Until::Gone(gone_ms) => gone_ms,
        Until::There => runs.last_seen_ms(visit.connected_ms),
    }
}

/// Stores what devices have come and gone when it is time, for as long as somebody has the sessions. Nothing
/// else waits for it: it takes as long as the disk takes.
pub(super) async fn run(sessions: Weak<Inner>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let store_ms = inner.state.lock().visits.store_ms();
        if store_ms.is_some_and(|store_ms| store_ms <= inner.now_ms()) {
            store(&inner).await;
        }
        let wait = until(inner.state.lock().visits.store_ms(), inner.now_ms());
        // Without a hold on the sessions, so that they can end.
        let went = Arc::clone(&inner.went);
        drop(inner);
        let _sooner_or_not = tokio::time::timeout(wait, went.notified()).await;
    }
}

/// Stores what devices have come and gone, of which that is not stored yet. What cannot be stored is tried
/// again later.
pub(super) async fn store(inner: &Inner) {
    let _in_order = inner.storing.lock().await;
    let visits = inner.state.lock().visits.begin_to_store();
    let failed = keep(&*inner.keep(), &inner.runs, visits).await;
    inner.state.lock().visits.stored(&failed, inner.now_ms());
}

/// Forgets a user's devices that are not connected, those that wait to be stored among them.
pub(super) async fn forget(inner: &Inner, user: &UserId) -> Result<(), String> {
    let _in_order = inner.storing.lock().await;
    inner.state.lock().visits.forget(user);
    let keep = inner.keep();
    loop {
        let devices = load(&*keep, user).await?;
        if devices.is_empty() {
            return Ok(());
        }
        let removed = devices.iter().map(|visit| Register { key: key(&visit.device), value: None });
        keep.keep(ConversationName::of_user(user), removed.collect()).await?;
    }
}

/// Remembers devices, and forgets the oldest ones of each user. Gives those users of whom that has failed.
async fn keep(keep: &dyn Keep, runs: &Runs, by_user: ByUser) -> HashSet<UserId> {
    let reads = by_user.into_iter().map(|(user, visits)| async move {
        match load(keep, &user).await {
            Ok(before) => Ok((user, registers(visits.into_values().collect(), before, runs))),
            Err(error) => Err((user, error)),
        }
    });
    let read: Vec<_> = stream::iter(reads).buffer_unordered(READS_AT_ONCE).collect().await;
    let (mut notes, mut kept, mut failed, mut reason) = (Vec::new(), Vec::new(), HashSet::new(), None);
    for read in read {
        match read {
            Ok((user, registers)) => {
                notes.push((ConversationName::of_user(&user), registers));
                kept.push(user);
            }
            Err((user, error)) => {
                failed.insert(user);
                reason = Some(error);
            }
        }
    }
    if !notes.is_empty()
        && let Err(error) = keep.keep_all(notes).await
    {
        failed.extend(kept);
        reason = Some(error);
    }
    if let Some(error) = reason {
        let users = failed.len();
        tracing::warn!(users, error, "when the devices of users were last there is not stored yet");
    }
    failed
}

fn registers(visits: Vec<Visit>, before: Vec<Visit>, runs: &Runs) -> Vec<Register> {
    let mut others: Vec<Visit> =
        before.into_iter().filter(|other| visits.iter().all(|visit| visit.device != other.device)).collect();
    others.sort_by_key(|visit| std::cmp::Reverse(last_seen_ms(visit, runs)));
    let forgotten = others.drain(SESSIONS_MAX.saturating_sub(visits.len()).min(others.len())..);
    let removed: Vec<Register> =
        forgotten.map(|visit| Register { key: key(&visit.device), value: None }).collect();
    visits
        .iter()
        .map(|visit| Register { key: key(&visit.device), value: Some(encode(visit)) })
        .chain(removed)
        .collect()
}

fn key(device: &DeviceId) -> Bytes {
    [PREFIX, device.as_str().as_bytes()].concat().into()
}

fn encode(visit: &Visit) -> Bytes {
    let last_seen_ms = match visit.until {
        Until::Gone(gone_ms) => gone_ms,
        Until::There => THERE,
    };
    let mut value = BytesMut::new();
    for number in [visit.generation, visit.connected_ms, last_seen_ms] {
        value.put_u64_le(number);
    }
    value.put_slice(text_of(&visit.platform, PLATFORM_BYTES_MAX).as_bytes());
    value.freeze()
}

/// The beginning of a text, of at most so many bytes.
fn text_of(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or_default()]
}

fn decode(key: &Bytes, value: &Bytes) -> Option<Visit> {
    let device = DeviceId::new(std::str::from_utf8(key.strip_prefix(PREFIX)?).ok()?).ok()?;
    let (numbers, platform) = value.split_at_checked(24)?;
    let number = |at: usize| numbers[at..at + 8].try_into().map(u64::from_le_bytes).ok();
    Some(Visit {
        device,
        platform: std::str::from_utf8(platform).ok()?.to_owned(),
        generation: number(0)?,
        connected_ms: number(8)?,
        until: match number(16)? {
            THERE => Until::There,
            gone_ms => Until::Gone(gone_ms),
        },
    })
}

#[cfg(test)]
mod tests {
    use quoth_protocol::DeviceId;

    use super::super::alive::Runs;
    use super::super::visits::{Until, Visit};
    use super::{SESSIONS_MAX, decode, encode, key, registers};

    fn visit(id: &str, until: Until) -> Visit {
        let device = DeviceId::new(id).unwrap();
        Visit { device, platform: "ü".repeat(32), generation: 7, connected_ms: 8, until }
    }

    #[test]
    fn a_device_comes_back() {
        for until in [Until::There, Until::Gone(9)] {
            let visit = visit(&"d".repeat(64), until);
            assert_eq!(decode(&key(&visit.device), &encode(&visit)), Some(visit.clone()));
            let long = Visit { platform: "ü".repeat(32) + "xy", ..visit.clone() };
            assert_eq!(decode(&key(&long.device), &encode(&long)), Some(visit));
        }
    }

    #[test]
    fn the_oldest_devices_are_forgotten() {
        let gone = |id: &str, gone_ms| visit(id, Until::Gone(gone_ms));
        let before = (0..SESSIONS_MAX as u64).map(|n| gone(&format!("old {n}"), n)).collect();
        let new = vec![gone("new", 1_000), gone("old 3", 1_000)];
        let registers = registers(new, before, &Runs::new(0));
        let removed: Vec<_> = registers.iter().filter(|register| register.value.is_none()).collect();
        assert_eq!((registers.len(), removed.len()), (3, 1));
        assert_eq!(removed[0].key, key(&DeviceId::new("old 0").unwrap()));
    }
}
