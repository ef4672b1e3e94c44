//! Revocations as registers of the conversation `$server`.

use bytes::{BufMut as _, Bytes, BytesMut};
use quoth_core::revocation::{Extent, Revoked};
use quoth_protocol::{ConversationName, DeviceId, UserId};
use quoth_store::{Register, View};

/// What the keys begin with. Behind it: `u`, `d` or `t`, and a 0 in front of each id, since no id has one.
pub(super) const PREFIX: &[u8] = b"revoked/";

/// What a store's view has of revocations. Blocks.
///
/// # Errors
/// When it cannot be read: a server must not take tokens that were revoked.
pub fn revoked_in(view: &dyn View) -> Result<Vec<(Revoked, Extent)>, String> {
    let registers = view.registers(&ConversationName::server(), PREFIX, None, usize::MAX);
    let registers = registers.map_err(|error| format!("the revocations cannot be read: {error}"))?;
    let decoded = registers.iter().map(|(key, value)| {
        decode(key, value).ok_or_else(|| format!("the revocation {} is damaged", key.escape_ascii()))
    });
    decoded.collect()
}

/// The register of a revocation; `None` removes it.
pub(super) fn register(revoked: &Revoked, extent: Option<Extent>) -> Register {
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
    let value = extent.map(|extent| {
        let mut value = BytesMut::with_capacity(16);
        value.put_u64_le(extent.issued_before_ms);
        value.put_u64_le(extent.over_ms);
        value.freeze()
    });
    Register { key: key.freeze(), value }
}

/// What a register says; `None` when it is none of these.
pub(super) fn decode(key: &Bytes, value: &Bytes) -> Option<(Revoked, Extent)> {
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
    let (issued_before, over) = value.split_first_chunk::<8>()?;
    let extent = Extent {
        issued_before_ms: u64::from_le_bytes(*issued_before),
        over_ms: u64::from_le_bytes(over.try_into().ok()?),
    };
    Some((revoked, extent))
}

#[cfg(test)]
mod tests {
    use quoth_core::revocation::{Extent, Revoked};
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
            let register = register(&revoked, Some(extent));
            assert!(register.key.len() <= quoth_store::REGISTER_KEY_BYTES_MAX);
            let value = register.value.unwrap();
            assert_eq!(decode(&register.key, &value), Some((revoked, extent)));
            assert_eq!(decode(&register.key, &value.slice(1..)), None);
        }
    }
}
