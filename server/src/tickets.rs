//! Keys of session tickets, by which a client comes back without the work that a certificate is. They are
//! kept in the data folder, so that a restart, after which all clients come at once, is no reason for them to
//! begin anew.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use parking_lot::RwLock;
use rand::RngExt as _;
use rustls::server::ProducesTickets;

use crate::secret::{bytes_of_hex, hex, write_private};

/// How long tickets are made with one key, in seconds. What is stolen later does not open tickets of before.
const ROTATION_S: u64 = 6 * 3_600;

/// How long a key opens tickets, in seconds.
const LIFETIME_S: u32 = 12 * 3_600;

type Secret = [u8; 32];

/// The key that tickets are made with, and the one before, which still opens its own.
pub struct TicketKeys {
    file: PathBuf,
    /// Newest first.
    keys: RwLock<Vec<Key>>,
}

#[derive(Clone)]
struct Key {
    made_s: u64,
    secret: Secret,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("file", &self.file).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// The keys in a data folder; none are made before they are [rotated](Self::rotate).
    ///
    /// # Errors
    /// When the file cannot be read, or is damaged.
    pub fn open(data_dir: &Path) -> Result<Self, String> {
        let file = file(data_dir);
        Ok(Self { keys: RwLock::new(read(&file)?), file })
    }

    /// Says whether the keys in a data folder can be used. Changes nothing.
    ///
    /// # Errors
    /// When there is a file that cannot be read, or is damaged.
    pub fn check(data_dir: &Path) -> Result<(), String> {
        read(&file(data_dir)).map(drop)
    }

    /// Whether there is a key to make tickets with.
    #[must_use]
    pub fn has_any(&self) -> bool {
        !self.keys.read().is_empty()
    }

    /// Makes another key when the newest one is old at `now_s`, in seconds since 1970, and drops those that
    /// open tickets no longer.
    ///
    /// # Errors
    /// When the file cannot be written; the old keys stay in force.
    pub fn rotate(&self, now_s: u64) -> Result<(), String> {
        // A key that is said to be made later is of a clock that was wrong.
        let is_within = |key: &Key, limit_s: u64| now_s.abs_diff(key.made_s) < limit_s;
        // Also where no new one can be written.
        self.keys.write().retain(|key| is_within(key, LIFETIME_S.into()));
        let mut keys = self.keys.read().clone();
        if keys.first().is_some_and(|newest| is_within(newest, ROTATION_S)) {
            return Ok(());
        }
        keys.insert(0, Key { made_s: now_s, secret: rand::rng().random() });
        let lines = keys.iter().map(|key| format!("{} {}\n", key.made_s, hex(&key.secret)));
        write_private(&self.file, lines.collect::<String>().as_bytes())?;
        *self.keys.write() = keys;
        Ok(())
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.read().first()?.aead()?;
        let mut sealed = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        Some([nonce.as_ref().as_slice(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        self.keys.read().iter().find_map(|key| {
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::from(nonce);
            let plain = key.aead()?.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?;
            Some(plain.to_vec())
        })
    }
}

impl Key {
    fn aead(&self) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.secret).ok()
    }
}

fn file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("tickets.key")
}

/// The keys in a file; none without one.
fn read(file: &Path) -> Result<Vec<Key>, String> {
    if !file.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
    let key = |line: &str| {
        let (made_s, secret) = line.split_once(' ')?;
        Some(Key { made_s: made_s.parse().ok()?, secret: bytes_of_hex(secret)? })
    };
    let keys = text.lines().map(key).collect::<Option<Vec<Key>>>();
    keys.filter(|keys| !keys.is_empty()).ok_or_else(|| {
        format!("{} is damaged: delete it, and clients of before need a whole handshake", file.display())
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use rustls::server::ProducesTickets as _;

    use super::{LIFETIME_S, ROTATION_S, TicketKeys};

    const NOW_S: u64 = 1_800_000_000;

    /// As a start has them.
    fn keys_at(data_dir: &std::path::Path, now_s: u64) -> Result<TicketKeys, String> {
        let keys = TicketKeys::open(data_dir)?;
        keys.rotate(now_s)?;
        Ok(keys)
    }

    #[test]
    fn a_ticket_is_opened_after_a_restart_and_not_once_its_key_is_old() {
        let dir = tempfile::tempdir().unwrap();
        let ticket = keys_at(dir.path(), NOW_S).unwrap().encrypt(b"a session").unwrap();
        let opened_at = |s| keys_at(dir.path(), s).unwrap().decrypt(&ticket);
        assert_eq!(opened_at(NOW_S + 1).as_deref(), Some(&b"a session"[..]));
        assert_eq!(opened_at(NOW_S + ROTATION_S).as_deref(), Some(&b"a session"[..]), "by the key before");
        assert_eq!(opened_at(NOW_S + 2 * u64::from(LIFETIME_S)), None);
    }

    #[test]
    fn keys_rotate_while_the_server_runs() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!TicketKeys::open(dir.path()).unwrap().has_any(), "none is made before");
        let keys = keys_at(dir.path(), NOW_S).unwrap();
        assert!(keys.has_any());
        let first = keys.encrypt(b"first").unwrap();
        keys.rotate(NOW_S + ROTATION_S).unwrap();
        let second = keys.encrypt(b"second").unwrap();
        assert!(keys.decrypt(&first).is_some() && keys.decrypt(&second).is_some());
        keys.rotate(NOW_S + 2 * ROTATION_S).unwrap();
        assert!(keys.decrypt(&first).is_none() && keys.decrypt(&second).is_some());
        let clock_was_wrong = NOW_S - ROTATION_S;
        keys.rotate(clock_was_wrong).unwrap();
        assert!(keys.decrypt(&second).is_none());
    }

    #[test]
    fn what_is_no_ticket_is_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let keys = keys_at(dir.path(), NOW_S).unwrap();
        let mut ticket = keys.encrypt(b"a session").unwrap();
        assert_ne!(ticket, keys.encrypt(b"a session").unwrap());
        for not_a_ticket in [&[][..], &[0; 11], &[0; 200]] {
            assert!(keys.decrypt(not_a_ticket).is_none());
        }
        *ticket.last_mut().unwrap() ^= 1;
        assert!(keys.decrypt(&ticket).is_none());
    }

    #[test]
    fn the_file_is_private_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        keys_at(dir.path(), NOW_S).unwrap();
        let path = dir.path().join("keys/tickets.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        TicketKeys::check(dir.path()).unwrap();
        for damaged in ["", "1800000000 abc\n"] {
            fs::write(&path, damaged).unwrap();
            assert!(TicketKeys::check(dir.path()).unwrap_err().contains("damaged"));
            assert!(keys_at(dir.path(), NOW_S).unwrap_err().contains("damaged"));
        }
    }
}
