//! Who may ask what: keys of backends, each with a name and scopes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use quoth_protocol::UserId;
use rand::RngExt as _;

/// Characters that a key has at least: 32 of base64 or more are 192 bits, which nobody guesses.
const KEY_CHARS_MIN: usize = 32;

/// Characters that a key has at most: it travels in a header.
const KEY_CHARS_MAX: usize = 256;

/// Begins a key that this server makes, so that it is recognised where it was left lying about.
const MADE_PREFIX: &str = "qk_";

/// What a key may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Publish, in the name of any user.
    Publish,
    /// Create and change conversations and their members.
    Conversations,
    /// Read events.
    History,
    /// See sessions and presence, end sessions, revoke tokens.
    Sessions,
    /// See how the server does.
    Stats,
    /// All of it.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] =
        [Self::Publish, Self::Conversations, Self::History, Self::Sessions, Self::Stats, Self::Admin];

    /// Its name in the configuration and in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Conversations => "conversations",
            Self::History => "history",
            Self::Sessions => "sessions",
            Self::Stats => "stats",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("expected a scope (one of {names}) in place of {text:?}")
        })
    }
}

/// A key of the server API: `NAME=SCOPE+SCOPE:FILE`. Two may have one name, so that a key can be replaced
/// while both are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeySpec {
    /// Who has it: the sender of what it publishes in nobody else's name, and the actor of its changes.
    pub name: UserId,
    /// What it may ask for.
    pub scopes: Vec<Scope>,
    /// A file with the key: 32 to 256 visible characters of ASCII; white space around them is not part of it.
    pub file: PathBuf,
}

impl FromStr for ApiKeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected NAME=SCOPE+SCOPE:FILE in place of {text:?}");
        let (name, rest) = text.split_once('=').ok_or_else(expected)?;
        let (scopes, file) = rest.split_once(':').ok_or_else(expected)?;
        if file.is_empty() {
            return Err(expected());
        }
        let name = UserId::new(name).map_err(|error| format!("{}: {error}", expected()))?;
        let scopes = scopes.split('+').map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { name, scopes, file: PathBuf::from(file) })
    }
}

impl fmt::Display for ApiKeySpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.scopes.iter().map(|scope| scope.name()).collect();
        write!(f, "{}={}:{}", self.name, scopes.join("+"), self.file.display())
    }
}

/// Who asks, and for what it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) name: UserId,
    scopes: Vec<Scope>,
}

impl Caller {
    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|has| *has == scope || *has == Scope::Admin)
    }
}

/// The keys of a server. Holds their hashes only.
pub(crate) struct Keys {
    specs: Vec<ApiKeySpec>,
    /// Of `specs`, as their files were when they were read last.
    known: RwLock<Arc<[Known]>>,
}

/// A key that is known, and whose it is.
struct Known {
    digest: Digest,
    caller: Caller,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keys").field(&self.specs.len()).finish()
    }
}

impl Keys {
    /// Loads the keys.
    ///
    /// # Errors
    /// The first file that cannot be read or has no key, and one key that has two names or other scopes.
    pub(crate) fn load(specs: &[ApiKeySpec]) -> Result<Self, String> {
        Ok(Self { specs: specs.to_vec(), known: RwLock::new(known(specs)?) })
    }

    /// Reads the files again; requests from now on are judged by these. Gives the names whose keys are other
    /// ones.
    ///
    /// # Errors
    /// As of [`load`](Self::load); all keys stay as they were.
    pub(crate) fn reload(&self) -> Result<Vec<UserId>, String> {
        let new = known(&self.specs)?;
        let old = std::mem::replace(&mut *self.known.write(), Arc::clone(&new));
        let pairs = old.iter().zip(new.iter());
        let changed = pairs.filter(|(old, new)| old.digest.as_ref() != new.digest.as_ref());
        Ok(changed.map(|(_, new)| new.caller.name.clone()).collect())
    }

    /// Whose key this is. Compares with every key, and each in the same time whatever it has in common with
    /// it.
    pub(super) fn caller(&self, key: &str) -> Option<Caller> {
        let asked = digest(&SHA256, key.as_bytes());
        let known = Arc::clone(&self.known.read());
        let mut found = None;
        for Known { digest, caller } in known.iter() {
            if verify_slices_are_equal(digest.as_ref(), asked.as_ref()).is_ok() {
                found = Some(caller);
            }
        }
        found.cloned()
    }
}

/// The keys in files. One key is for one name and its scopes, since a request does not say which it means.
fn known(specs: &[ApiKeySpec]) -> Result<Arc<[Known]>, String> {
    let mut all: Vec<Known> = Vec::with_capacity(specs.len());
    for spec in specs {
        let digest = digest(&SHA256, read(&spec.file)?.as_bytes());
        let caller = Caller { name: spec.name.clone(), scopes: spec.scopes.clone() };
        let same = all.iter().position(|known| known.digest.as_ref() == digest.as_ref());
        if let Some(other) = same.filter(|at| all[*at].caller != caller).map(|at| &specs[at]) {
            return Err(format!(
                "api.keys has one key twice, in {} for {} and in {} for {}: give each name a key of its own, \
                 such as `openssl rand -hex 32` prints",
                other.file.display(),
                other.name,
                spec.file.display(),
                spec.name
            ));
        }
        all.push(Known { digest, caller });
    }
    Ok(all.into())
}

/// The key in a file.
fn read(file: &Path) -> Result<String, String> {
    let path = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("the API key {path} cannot be read: {error}"))?;
    let key = text.trim();
    if !(KEY_CHARS_MIN..=KEY_CHARS_MAX).contains(&key.len())
        || !key.bytes().all(|byte| byte.is_ascii_graphic())
    {
        return Err(format!(
            "{path} has no API key: it needs {KEY_CHARS_MIN} to {KEY_CHARS_MAX} visible characters of ASCII, such as \
             `openssl rand -hex 32` prints"
        ));
    }
    Ok(key.to_owned())
}

/// A new key of 256 random bits.
pub(crate) fn make() -> String {
    let secret: [u8; 32] = rand::rng().random();
    format!("{MADE_PREFIX}{}", URL_SAFE_NO_PAD.encode(secret))
}

#[cfg(test)]
mod tests {
    use super::{ApiKeySpec, Keys, Scope, make};

    fn spec(text: &str) -> Result<ApiKeySpec, String> {
        text.parse()
    }

    #[test]
    fn a_spec_is_printed_as_it_is_read_and_its_mistakes_are_told() {
        let text = "shop=publish+history:/etc/quoth/shop.key";
        assert_eq!(spec(text).unwrap().to_string(), text);
        for wrong in ["", "shop", "shop=publish", "shop=publish:", "=publish:f", "publish:f"] {
            assert!(spec(wrong).unwrap_err().contains("NAME=SCOPE+SCOPE:FILE"), "{wrong}");
        }
        let error = spec("shop=publsh:f").unwrap_err();
        assert!(error.contains("publish, conversations, history, sessions, stats, admin"), "{error}");
    }

    #[test]
    fn a_key_opens_its_own_scopes_and_admin_all() {
        let dir = tempfile::tempdir().unwrap();
        let made = [make(), make()];
        let specs: Vec<_> = ["publish+stats", "admin"]
            .into_iter()
            .zip(&made)
            .map(|(scopes, key)| {
                let file = dir.path().join(scopes);
                std::fs::write(&file, format!("{key}\n")).unwrap();
                spec(&format!("{}={scopes}:{}", scopes.replace('+', "-"), file.display())).unwrap()
            })
            .collect();
        let keys = Keys::load(&specs).unwrap();
        let may = |key: &str| {
            let caller = keys.caller(key).unwrap();
            Scope::ALL.map(|scope| caller.may(scope))
        };
        assert_eq!(may(&made[0]), [true, false, false, false, true, false]);
        assert_eq!(may(&made[1]), [true; 6]);
        assert_eq!(keys.caller(&made[0]).unwrap().name.as_str(), "publish-stats");
        for wrong in ["", &made[0][1..], &format!("{}x", made[0]), &make()] {
            assert_eq!(keys.caller(wrong), None);
        }
        assert!(!format!("{keys:?}").contains(&made[0]));
    }

    #[test]
    fn keys_are_read_again_and_a_broken_file_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, key: &str| {
            let file = dir.path().join(name);
            std::fs::write(&file, key).unwrap();
            spec(&format!("{name}=stats:{}", file.display())).unwrap()
        };
        let (old, new, other) = (make(), make(), make());
        let keys = Keys::load(&[write("shop", &old), write("ops", &other)]).unwrap();
        let are_good = || [&old, &new, &other].map(|key| keys.caller(key).is_some());
        // What is broken in one file keeps what has changed in another one out, too.
        write("shop", &new);
        write("ops", "short");
        assert!(keys.reload().unwrap_err().contains("openssl rand -hex 32"));
        assert_eq!(are_good(), [true, false, true]);
        write("ops", &other);
        let changed = keys.reload().unwrap();
        assert_eq!(changed.iter().map(quoth_protocol::UserId::as_str).collect::<Vec<_>>(), ["shop"]);
        assert_eq!(are_good(), [false, true, true]);
        assert_eq!(keys.reload(), Ok(Vec::new()));
    }

    #[test]
    fn one_key_has_one_name_and_one_set_of_scopes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        std::fs::write(&file, make()).unwrap();
        let load = |specs: [&str; 2]| {
            Keys::load(&specs.map(|head| spec(&format!("{head}:{}", file.display())).unwrap())).map(|_| ())
        };
        for specs in [["a=publish", "b=publish"], ["a=publish", "a=admin"]] {
            let error = load(specs).unwrap_err();
            assert!(error.contains("one key twice") && error.contains("openssl rand -hex 32"), "{error}");
        }
        // While one is replaced, both files may have it.
        load(["a=publish", "a=publish"]).unwrap();
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_no_key() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let load = || Keys::load(&[spec(&format!("a=admin:{}", file.display())).unwrap()]);
        assert!(load().unwrap_err().contains("cannot be read"));
        for wrong in ["", "short", &"x".repeat(257), &format!("{} x", "y".repeat(40)), &"\u{e9}".repeat(20)] {
            std::fs::write(&file, wrong).unwrap();
            assert!(load().unwrap_err().contains("openssl rand -hex 32"), "{wrong}");
        }
        std::fs::write(&file, "x".repeat(32)).unwrap();
        load().unwrap();
    }
}
