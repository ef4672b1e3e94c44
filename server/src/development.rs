//! What a server without a configuration makes by itself: certificates, a signing key, ready tokens, and a
//! file that tells clients all of it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use quoth_protocol::UserId;
use rand::RngExt as _;
use serde_json::json;

use crate::api::{ApiKeySpec, Scope, make_key};
use crate::auth::{Issue, KeySpec, Rights, issue};
use crate::config::Config;
use crate::data_folder::CLIENT_FILE;
use crate::secret::{hex, write_private};

/// Users with a ready token.
pub const USERS: &[&str] = &["alice", "bob"];

/// The user of the ready token that may publish on behalf of everybody, for imports.
const SERVICE_USER: &str = "importer";

/// Whose the key of the server API is.
const OPERATOR: &str = "operator";

/// How long the ready tokens live. They are made anew at each start.
const TOKEN_LIFETIME_S: u64 = 30 * 24 * 3_600;

/// Signs tokens for users who may read and write everything.
#[derive(Debug, Clone)]
pub struct Tokens {
    signing_key: PathBuf,
    audience: String,
}

impl Tokens {
    /// A user's token, which lives for 30 days from `now_s` on, in seconds since 1970.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn of_user(&self, user: &UserId, now_s: u64) -> Result<String, String> {
        self.sign(user, Vec::new(), now_s)
    }

    fn sign(&self, user: &UserId, publish_as: Vec<String>, now_s: u64) -> Result<String, String> {
        let rights = Rights { read: Some(everything()), write: Some(everything()), publish_as };
        let Self { signing_key, audience } = self;
        let what = Issue {
            audience,
            user,
            device: None,
            rights,
            token_id: Some(hex(&rand::rng().random::<[u8; 16]>())),
            issued_s: now_s,
            expires_s: now_s + TOKEN_LIFETIME_S,
        };
        issue(signing_key, Algorithm::HS256, what)
    }
}

fn everything() -> Vec<String> {
    vec!["*".to_owned()]
}

/// What development mode has made.
#[derive(Debug)]
pub struct Development {
    /// PEM file of the CA, for clients.
    pub ca_file: PathBuf,
    /// PEM file of the certificate chain.
    pub certificate_file: PathBuf,
    /// PEM file of its key.
    pub private_key_file: PathBuf,
    /// When the certificate ends, in seconds since 1970.
    pub certificate_ends_s: u64,
    /// The key that tokens are signed with.
    pub token_key: KeySpec,
    /// The key of the server API.
    pub api_key: ApiKeySpec,
    /// What signs them.
    pub tokens: Tokens,
    /// [`USERS`] and their tokens.
    pub user_tokens: Vec<(&'static str, String)>,
    /// JSON file with all that a client needs, once it is [written](Development::write_client_file).
    pub client_file: PathBuf,
    /// What it says.
    client: serde_json::Value,
}

impl Development {
    /// The first user's token.
    #[must_use]
    pub fn token(&self) -> &str {
        self.user_tokens.first().map_or("", |(_, token)| token)
    }

    /// Writes the file for clients: not before nothing more can fail, since whoever finds it takes the server
    /// to be there.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_client_file(&self) -> Result<(), String> {
        write_private(&self.client_file, format!("{:#}\n", self.client).as_bytes())
    }
}

/// Path of the signing key of a development server.
#[must_use]
pub fn signing_key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("signing.key")
}

/// What of an earlier start's keys in the data folder cannot be used, and what to do. Changes nothing.
#[must_use]
pub fn problems(config: &Config, now_s: u64) -> Vec<String> {
    let ca = quoth_certs::check_development(&config.data_dir.join("keys"), now_s);
    let mut problems: Vec<String> = ca.err().map(|error| error.to_string()).into_iter().collect();
    let signing_key = signing_key_file(&config.data_dir);
    if signing_key.exists() {
        let loaded = config.verifier(&[token_key(signing_key)]);
        let remedy =
            "delete it to have a new one made, and the tokens that it has signed are no longer accepted";
        problems.extend(loaded.err().map(|error| format!("{error}; {remedy}")));
    }
    problems
}

fn token_key(signing_key: PathBuf) -> KeySpec {
    KeySpec { id: None, algorithm: Algorithm::HS256, file: signing_key }
}

/// Makes what is missing, but for the file for clients, and returns where it is. `address` is where the
/// server listens, `api` where it serves its API.
///
/// # Errors
/// What could not be made, with its path.
pub fn prepare(
    config: &Config,
    address: SocketAddr,
    api: Option<SocketAddr>,
    now_s: u64,
) -> Result<Development, String> {
    let dir = absolute(&config.data_dir)?;
    let certificates = certificates(&dir, now_s)?;
    let signing_key = signing_key_file(&dir);
    if !signing_key.exists() {
        let secret: [u8; 32] = rand::rng().random();
        write_private(&signing_key, hex(&secret).as_bytes())?;
    }
    let api_key_file = dir.join("keys").join("api.key");
    let api_key = match std::fs::read_to_string(&api_key_file) {
        Ok(key) => key.trim().to_owned(),
        Err(_) => {
            let key = make_key();
            write_private(&api_key_file, key.as_bytes())?;
            key
        }
    };
    let signer = Tokens { signing_key: signing_key.clone(), audience: config.audience.clone() };
    let sign = |user: &str, publish_as: Vec<String>| {
        let user = UserId::new(user).map_err(|error| error.to_string())?;
        signer.sign(&user, publish_as, now_s)
    };
    let user_tokens =
        USERS.iter().map(|user| Ok((*user, sign(user, Vec::new())?))).collect::<Result<Vec<_>, String>>()?;
    let token_of = |(user, token): &(&str, String)| ((*user).to_owned(), json!(token));
    let mut client = json!({
        "server": address.to_string(),
        "ca": certificates.ca_pem_path,
        "token": user_tokens.first().map(|(_, token)| token),
        "tokens": user_tokens.iter().map(token_of).collect::<serde_json::Map<_, _>>(),
        "service_token": sign(SERVICE_USER, everything())?,
        "signing_key": signing_key,
        "audience": config.audience,
    });
    if let Some(api) = api {
        client["api"] = json!(format!("http://{api}"));
        client["api_key"] = json!(api_key);
    }
    let name = UserId::new(OPERATOR).map_err(|error| error.to_string())?;
    Ok(Development {
        ca_file: certificates.ca_pem_path,
        certificate_file: certificates.leaf_pem_path,
        private_key_file: certificates.leaf_key_pem_path,
        certificate_ends_s: certificates.leaf_not_after_unix_s,
        token_key: token_key(signing_key),
        api_key: ApiKeySpec { name, scopes: vec![Scope::Admin], file: api_key_file },
        tokens: signer,
        user_tokens,
        client_file: dir.join(CLIENT_FILE),
        client,
    })
}

/// Makes the certificate of a running server, which ends at `ends_s`, anew when it is due. Returns when the
/// new one ends, or `None` if the old one is good for a while yet. It is in force once the server has read
/// it.
///
/// # Errors
/// What could not be made, with its path.
pub fn renew_certificate(config: &Config, ends_s: u64, now_s: u64) -> Result<Option<u64>, String> {
    if !quoth_certs::leaf_is_due(ends_s, now_s) {
        return Ok(None);
    }
    Ok(Some(certificates(&absolute(&config.data_dir)?, now_s)?.leaf_not_after_unix_s))
}

fn certificates(dir: &Path, now_s: u64) -> Result<quoth_certs::DevCertificates, String> {
    quoth_certs::development(&dir.join("keys"), &[], now_s).map_err(|error| error.to_string())
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{} is no path: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use quoth_certs::{CertStore, LEAF_RENEW_BEFORE_S, LEAF_VALID_S};

    use super::{certificates, renew_certificate};
    use crate::config::Config;

    #[test]
    fn a_certificate_is_renewed_before_its_end_and_a_reload_puts_it_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        let start_s = 1_700_000_000;
        let made = certificates(dir.path(), start_s).unwrap();
        let store = CertStore::open(&made.leaf_pem_path, &made.leaf_key_pem_path).unwrap();
        let shown = || store.in_force().cert.clone();
        let (before, ends_s) = (shown(), made.leaf_not_after_unix_s);
        assert_eq!(renew_certificate(&config, ends_s, ends_s - LEAF_RENEW_BEFORE_S), Ok(None));
        let due_s = ends_s - LEAF_RENEW_BEFORE_S + 1;
        assert_eq!(renew_certificate(&config, ends_s, due_s), Ok(Some(due_s + LEAF_VALID_S)));
        store.reload().unwrap();
        assert_ne!(shown(), before);
        assert_eq!(renew_certificate(&config, due_s + LEAF_VALID_S, due_s), Ok(None));
        // Whoever did not hear of a renewal hears of it now.
        assert_eq!(renew_certificate(&config, ends_s, due_s), Ok(Some(due_s + LEAF_VALID_S)));
    }
}
