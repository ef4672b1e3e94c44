//! Revocations as registers of the conversation `$server`.

use std::sync::{Arc, Weak};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::{BufMut as _, Bytes, BytesMut};
use quoth_core::revocation::{Extent, InForce, Revoked};
use quoth_protocol::{ConversationName, DeviceId, UserId};
use quoth_store::{Register, View};

use super::Inner;
use super::keep::Keep;
use super::state::until;

/// What the keys begin with. Behind it: `u`, `d` or `t`, a 0 in front of each id, since no id has one, and
/// [`END`].
pub(super) const PREFIX: &[u8] = b"revoked/";

/// What the keys end with: no other one stands between such a key and the same without it, so behind the latter
/// a page begins with the former.
const END: u8 = 0;

/// Forgets what is over when it is time, for as long as somebody has the sessions. Nothing else waits for it:
/// it takes as long as the disk takes.
pub(super) async fn run(sessions: Weak<Inner>) {
    loop {
        let Some(inner) = sessions.upgrade() else { return };
        let over = inner.state.lock().revocations.expire(inner.clocks.machine.unix_ms());
        if !over.is_empty()
            && let Err(error) = inner.store(&over).await
        {
            tracing::warn!(
                error,
                "revocations that are over could not be removed from the store; they are without effect"
            );
        }
        let wait = until(inner.state.lock().revocations.due_ms(), inner.clocks.machine.unix_ms());
        // Without a hold on the sessions, so that they can end.
        let revoked = Arc::clone(&inner.revoked);
        drop(inner);
        let _sooner_or_not = tokio::time::timeout(wait, revoked.notified()).await;
    }
}

/// What has come of a request to revoke something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Connections that it has closed.
    pub closed: usize,
    /// What is in force of it then, the one that lasts longest first.
    pub in_force: Vec<InForce>,
    /// The one of these that goes further, where that is so: what was asked for adds nothing to it.
    pub covered_by: Option<InForce>,
}

/// What a store's view has of revocations. Blocks.
///
/// # Errors
/// When it cannot be read: a server must not take tokens that were revoked.
pub fn revoked_in(view: &dyn View) -> Result<Vec<(Revoked, Vec<InForce>)>, String> {
    let registers = view.registers(&ConversationName::server(), PREFIX, None, usize::MAX);
    let registers = registers.map_err(|error| format!("the revocations cannot be read: {error}"))?;
    let decoded = registers.iter().map(|(key, value)| {
        decode(key, value).ok_or_else(|| format!("the revocation {} is damaged", key.escape_ascii()))
    });
    decoded.collect()
}

/// Where a revocation stands among all: those of one device first, then those of one token, and those of a
/// user last; of one thing the one that lasts longest first. A text of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPlace {
    /// The key of its register.
    key: Bytes,
    /// When it ends, of which one thing has no two.
    over_ms: u64,
}

impl std::fmt::Display for RevocationPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode([&self.key, &self.over_ms.to_be_bytes()[..]].concat()))
    }
}

impl std::str::FromStr for RevocationPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let place = URL_SAFE_NO_PAD.decode(text).ok();
        let place = place.as_deref().and_then(<[u8]>::split_last_chunk);
        let place = place.filter(|(key, _)| key.starts_with(PREFIX) && key.ends_with(&[END]));
        place
            .map(|(key, over_ms)| Self {
                key: Bytes::copy_from_slice(key),
                over_ms: u64::from_be_bytes(*over_ms),
            })
            .ok_or("it is none of those that a page has given")
    }
}

/// A page of what is revoked at `now_ms`.
pub(super) async fn page(
    keep: &dyn Keep,
    after: Option<&RevocationPlace>,
    limit: usize,
    now_ms: u64,
) -> Result<(Vec<(Revoked, InForce)>, Option<RevocationPlace>), String> {
    // Behind the key without its end stands that key itself, whose others may be to come.
    let behind = after.map(|after| after.key.slice(..after.key.len() - 1));
    // One more than the page may have: the first may be all behind the place.
    let rows_max = limit.saturating_add(1);
    let rows = keep.load(ConversationName::server(), PREFIX, behind, rows_max).await?;
    let (mut listed, mut last) = (Vec::new(), None);
    for (key, value) in &rows {
        let Some((revoked, in_force)) = decode(key, value) else { continue };
        for in_force in in_force {
            let place = RevocationPlace { key: key.clone(), over_ms: in_force.extent.over_ms };
            let is_before =
                after.is_some_and(|after| after.key == place.key && place.over_ms >= after.over_ms);
            // Those that are over go a moment later.
            if !is_before && place.over_ms > now_ms {
                if listed.len() == limit {
                    return Ok((listed, last));
                }
                listed.push((revoked.clone(), in_force));
            }
            last = Some(place);
        }
    }
    Ok((listed, last.filter(|_| rows.len() == rows_max)))
}

/// The register of what is in force of something; without any it is removed.
pub(super) fn register(revoked: &Revoked, in_force: &[InForce]) -> Register {
    let mut key = BytesMut::from(PREFIX);
    let mut put = |kind: u8, ids: &[&str]| {
        key.put_u8(kind);
        for id in ids {
            key.put_u8(0);
            key.put_slice(id.as_bytes());
        }
        key.put_u8(END);
    };
    match revoked {
        Revoked::User { user, device: None } => put(b'u', &[user.as_str()]),
        Revoked::User { user, device: Some(device) } => put(b'd', &[user.as_str(), device.as_str()]),
        Revoked::Token { id } => put(b't', &[id]),
    }
    let mut value = BytesMut::new();
    for InForce { extent, reason } in in_force {
        value.put_u64_le(extent.issued_before_ms);
        value.put_u64_le(extent.over_ms);
        value.put_u32_le(u32::try_from(reason.len()).unwrap_or(u32::MAX));
        value.put_slice(reason.as_bytes());
    }
    Register { key: key.freeze(), value: (!in_force.is_empty()).then(|| value.freeze()) }
}

/// What a register says; `None` when it is none of these.
pub(super) fn decode(key: &Bytes, value: &Bytes) -> Option<(Revoked, Vec<InForce>)> {
    let (kind, ids) = key.strip_prefix(PREFIX)?.split_first()?;
    let ids = std::str::from_utf8(ids.strip_prefix(&[0])?.strip_suffix(&[END])?).ok()?;
    let revoked = match kind {
        b'u' => Revoked::User { user: UserId::new(ids).ok()?, device: None },
        b'd' => {
            let (user, device) = ids.split_once('\0')?;
            Revoked::User { user: UserId::new(user).ok()?, device: Some(DeviceId::new(device).ok()?) }
        }
        b't' => Revoked::Token { id: ids.to_owned() },
        _ => return None,
    };
    let (mut rest, mut in_force) = (&value[..], Vec::new());
    while !rest.is_empty() {
        let (issued_before, behind) = rest.split_first_chunk()?;
        let (over, behind) = behind.split_first_chunk()?;
        let (reason_bytes, behind) = behind.split_first_chunk()?;
        let reason_bytes = usize::try_from(u32::from_le_bytes(*reason_bytes)).ok()?;
        let (reason, behind) = behind.split_at_checked(reason_bytes)?;
        let extent = Extent {
            issued_before_ms: u64::from_le_bytes(*issued_before),
            over_ms: u64::from_le_bytes(*over),
        };
        in_force.push(InForce { extent, reason: std::str::from_utf8(reason).ok()?.into() });
        rest = behind;
    }
    (!in_force.is_empty()).then_some((revoked, in_force))
}

#[cfg(test)]
mod tests {
    use quoth_core::revocation::{Extent, InForce, Revoked};
    use quoth_protocol::{DeviceId, UserId};

    use super::{decode, register};

    #[test]
    fn each_kind_comes_back() {
        let user = UserId::new("u".repeat(64)).unwrap();
        let device = Some(DeviceId::new("d".repeat(64)).unwrap());
        for revoked in [
            Revoked::User { user: user.clone(), device: None },
            Revoked::User { user, device },
            Revoked::Token { id: "t".repeat(crate::auth::TOKEN_ID_BYTES_MAX) },
        ] {
            let of = |issued_before_ms, over_ms, reason: &str| InForce {
                extent: Extent { issued_before_ms, over_ms },
                reason: reason.into(),
            };
            let in_force = vec![of(7, u64::MAX, "\u{fc}ber"), of(8, 900, ""), of(9, 800, "x")];
            let stored = register(&revoked, &in_force);
            assert!(stored.key.len() <= quoth_store::REGISTER_KEY_BYTES_MAX);
            let value = stored.value.unwrap();
            assert_eq!(decode(&stored.key, &value), Some((revoked.clone(), in_force)));
            for cut in [0, 15, 19, 22, value.len() - 1] {
                assert_eq!(decode(&stored.key, &value.slice(..cut)), None, "{cut}");
            }
            assert_eq!(register(&revoked, &[]).value, None);
        }
    }
}
