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

/// What the keys begin with. Behind it: `u`, `d` or `t`, and a 0 in front of each id, since no id has one.
pub(super) const PREFIX: &[u8] = b"revoked/";

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

/// What a store's view has of revocations. Blocks.
///
/// # Errors
/// When it cannot be read: a server must not take tokens that were revoked.
pub fn revoked_in(view: &dyn View) -> Result<Vec<(Revoked, InForce)>, String> {
    let registers = view.registers(&ConversationName::server(), PREFIX, None, usize::MAX);
    let registers = registers.map_err(|error| format!("the revocations cannot be read: {error}"))?;
    let decoded = registers.iter().map(|(key, value)| {
        decode(key, value).ok_or_else(|| format!("the revocation {} is damaged", key.escape_ascii()))
    });
    decoded.collect()
}

/// Where a revocation stands among all: those of one device first, then those of one token, and those of a
/// user last. A text of letters, digits, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationPlace(Bytes);

impl std::fmt::Display for RevocationPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(&self.0))
    }
}

impl std::str::FromStr for RevocationPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let key = URL_SAFE_NO_PAD.decode(text).ok().filter(|key| key.starts_with(PREFIX));
        key.map(|key| Self(key.into())).ok_or("it is none of those that a page has given")
    }
}

/// A page of what is revoked at `now_ms`.
pub(super) async fn page(
    keep: &dyn Keep,
    after: Option<&RevocationPlace>,
    limit: usize,
    now_ms: u64,
) -> Result<(Vec<(Revoked, InForce)>, Option<RevocationPlace>), String> {
    let (server, after) = (ConversationName::server(), after.map(|after| after.0.clone()));
    let rows = keep.load(server, PREFIX, after, limit).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| RevocationPlace(key.clone()));
    let decoded = rows.iter().filter_map(|(key, value)| decode(key, value));
    // Those that are over go a moment later.
    Ok((decoded.filter(|(_, in_force)| in_force.extent.over_ms > now_ms).collect(), next))
}

/// The register of a revocation; `None` removes it.
pub(super) fn register(revoked: &Revoked, in_force: Option<&InForce>) -> Register {
    let mut key = BytesMut::from(PREFIX);
    let mut put = |kind: u8, ids: &[&str]| {
        key.put_u8(kind);
        for id in ids {
            key.put_u8(0);
            key.put_slice(id.as_bytes());
        }
    };
    match revoked {
        Revoked::User { user, device: None } => put(b'u', &[user.as_str()]),
        Revoked::User { user, device: Some(device) } => put(b'd', &[user.as_str(), device.as_str()]),
        Revoked::Token { id } => put(b't', &[id]),
    }
    let value = in_force.map(|InForce { extent, reason }| {
        let mut value = BytesMut::with_capacity(16 + reason.len());
        value.put_u64_le(extent.issued_before_ms);
        value.put_u64_le(extent.over_ms);
        value.put_slice(reason.as_bytes());
        value.freeze()
    });
    Register { key: key.freeze(), value }
}

/// What a register says; `None` when it is none of these.
pub(super) fn decode(key: &Bytes, value: &Bytes) -> Option<(Revoked, InForce)> {
    let (kind, ids) = key.strip_prefix(PREFIX)?.split_first()?;
    let ids = std::str::from_utf8(ids.strip_prefix(&[0])?).ok()?;
    let revoked = match kind {
        b'u' => Revoked::User { user: UserId::new(ids).ok()?, device: None },
        b'd' => {
            let (user, device) = ids.split_once('\0')?;
            Revoked::User { user: UserId::new(user).ok()?, device: Some(DeviceId::new(device).ok()?) }
        }
        b't' => Revoked::Token { id: ids.to_owned() },
        _ => return None,
    };
    let (issued_before, rest) = value.split_first_chunk::<8>()?;
    let (over, reason) = rest.split_first_chunk::<8>()?;
    let extent =
        Extent { issued_before_ms: u64::from_le_bytes(*issued_before), over_ms: u64::from_le_bytes(*over) };
    Some((revoked, InForce { extent, reason: std::str::from_utf8(reason).ok()?.into() }))
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
            let extent = Extent { issued_before_ms: 7, over_ms: u64::MAX };
            let in_force = InForce { extent, reason: "\u{fc}ber".into() };
            let register = register(&revoked, Some(&in_force));
            assert!(register.key.len() <= quoth_store::REGISTER_KEY_BYTES_MAX);
            let value = register.value.unwrap();
            assert_eq!(decode(&register.key, &value), Some((revoked, in_force)));
            assert_eq!(decode(&register.key, &value.slice(..15)), None);
        }
    }
}
