//! What a server without a configuration makes by itself: certificates, a signing key, ready tokens, and a file that
//! lets the command line client find all of it.

use std::path::{Path, PathBuf};

use jsonwebtoken::Algorithm;
use quoth_protocol::UserId;
use rand::RngExt as _;
use serde_json::json;

use crate::auth::{KeySpec, Rights, issue};
use crate::config::Config;
use crate::secret::{hex, write_private};

/// Users with a ready token.
pub const USERS: &[&str] = &["alice", "bob"];

/// The user of the ready token that may publish on behalf of everybody, for imports.
const SERVICE_USER: &str = "importer";

/// How long the ready tokens live. They are made anew at each start.
const TOKEN_LIFETIME_S: u64 = 30 * 24 * 3_600;

/// What development mode has made.
#[derive(Debug)]
pub struct Development {
    /// PEM file of the CA, for clients.
    pub ca_file: PathBuf,
    /// PEM file of the certificate chain.
    pub certificate_file: PathBuf,
    /// PEM file of its key.
    pub private_key_file: PathBuf,
    /// The key that tokens are signed with.
    pub token_key: KeySpec,
    /// The first user's token.
    pub token: String,
}

/// Path of the signing key of a development server.
#[must_use]
pub fn signing_key_file(data_dir: &Path) -> PathBuf {
    data_dir.join("keys").join("signing.key")
}

/// Makes what is missing and returns where it is. `address` is where the server listens.
///
/// # Errors
/// What could not be made, with its path.
pub fn prepare(config: &Config, address: std::net::SocketAddr, now_s: u64) -> Result<Development, String> {
    let dir = absolute(&config.data_dir)?;
    let keys = dir.join("keys");
    std::fs::create_dir_all(&keys).map_err(|error| format!("{} cannot be made: {error}", keys.display()))?;
    let certificates = quoth_certs::development(&keys, &[], now_s).map_err(|error| error.to_string())?;
    let signing_key = signing_key_file(&dir);
    if !signing_key.exists() {
        let secret: [u8; 32] = rand::rng().random();
        write_private(&signing_key, hex(&secret).as_bytes())?;
    }
    let token_key = KeySpec { id: None, algorithm: Algorithm::HS256, file: signing_key.clone() };
    let all = || vec!["*".to_owned()];
    let sign = |user: &str, publish_as: Vec<String>| {
        let user = UserId::new(user).map_err(|error| error.to_string())?;
        let rights = Rights { read: all(), write: all(), publish_as };
        issue(&signing_key, Algorithm::HS256, &config.audience, &user, rights, now_s + TOKEN_LIFETIME_S)
    };
    let tokens =
        USERS.iter().map(|user| Ok((*user, sign(user, Vec::new())?))).collect::<Result<Vec<_>, String>>()?;
    let token = tokens.first().map(|(_, token)| token.clone()).unwrap_or_default();
    let client = json!({
        "server": address.to_string(),
        "ca": certificates.ca_pem_path,
        "token": token,
        "tokens": tokens.into_iter().map(|(user, token)| (user.to_owned(), json!(token))).collect::<serde_json::Map<_, _>>(),
        "service_token": sign(SERVICE_USER, all())?,
        "signing_key": signing_key,
        "audience": config.audience,
    });
    let text = format!("{client:#}\n");
    write_private(&dir.join("client.json"), text.as_bytes())?;
    if let Some(file) = well_known_file() {
        // A convenience only: without it the client looks into the data folder.
        if let Err(error) = write_private(&file, text.as_bytes()) {
            tracing::debug!(%error, "the client file was not written");
        }
    }
    Ok(Development {
        ca_file: certificates.ca_pem_path,
        certificate_file: certificates.leaf_pem_path,
        private_key_file: certificates.leaf_key_pem_path,
        token_key,
        token,
    })
}

/// Where the command line client looks when it does not run beside the data folder.
fn well_known_file() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let dir = of("XDG_RUNTIME_DIR")
        .or_else(|| of("XDG_STATE_HOME"))
        .or_else(|| of("HOME").map(|home| home.join(".local").join("state")))?;
    Some(dir.join("quoth").join("dev.json"))
}

fn absolute(path: &Path) -> Result<PathBuf, String> {
    std::path::absolute(path).map_err(|error| format!("{} is no path: {error}", path.display()))
}
