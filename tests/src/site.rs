//! A server, and users who sign in there.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use quoth_protocol::UserId;
use quoth_server::auth::{Issue, Rights, algorithm, issue};
use quoth_server::config::Config;
use quoth_server::development::signing_key_file;

use crate::device::Over;
use crate::embedded::EmbeddedServer;
use crate::member::Member;
use crate::process::ServerProcess;

/// Far in the future, in seconds since 1970.
const ENDS_S: u64 = 4_000_000_000;

/// Where a server is, and what signs its tokens.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its address.
    pub address: SocketAddr,
    /// Its CA.
    pub ca_file: PathBuf,
    /// Its data.
    pub data_dir: PathBuf,
}

impl Site {
    /// That of a server in the test's process.
    #[must_use]
    pub fn of(server: &EmbeddedServer) -> Self {
        let (address, ca_file) = (server.address(), server.ca_file());
        Self { address, ca_file, data_dir: server.data_dir() }
    }

    /// That of a server in a process of its own.
    #[must_use]
    pub fn of_process(server: &ServerProcess, data_dir: &Path) -> Self {
        let (address, ca_file) = (server.address(), server.ca_file());
        Self { address, ca_file, data_dir: data_dir.to_owned() }
    }

    /// Signs a user in whose token leaves everything to membership.
    ///
    /// # Errors
    /// When that fails.
    pub async fn member(&self, carrier: Over, user: &str) -> anyhow::Result<Member> {
        self.member_with(carrier, user, &[]).await
    }

    /// The same with a token that is for these conversations only.
    ///
    /// # Errors
    /// When that fails.
    pub async fn member_with(&self, carrier: Over, user: &str, patterns: &[&str]) -> anyhow::Result<Member> {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        let claimed = (!patterns.is_empty()).then_some(patterns);
        let rights = Rights { read: claimed.clone(), write: claimed, publish_as: Vec::new() };
        let token = token(&self.data_dir, user, rights)?;
        Member::connect(carrier, self.address, &self.ca_file, &token).await
    }
}

fn token(data_dir: &Path, user: &str, rights: Rights) -> anyhow::Result<String> {
    let (key, user, audience) = (signing_key_file(data_dir), UserId::new(user)?, Config::default().audience);
    let algorithm = algorithm("HS256").map_err(|error| anyhow!(error))?;
    let what = Issue {
        audience: &audience,
        user: &user,
        device: None,
        rights,
        token_id: None,
        issued_s: 0,
        expires_s: ENDS_S,
    };
    issue(&key, algorithm, what).map_err(|error| anyhow!(error))
}

/// Runs a test with a server of its own for each carrier.
///
/// # Errors
/// When one of them fails.
pub fn with_each_carrier<F: Future<Output = anyhow::Result<()>>>(
    test: impl Fn(Site, Over) -> F,
) -> anyhow::Result<()> {
    for carrier in Over::ALL {
        let server = EmbeddedServer::start()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime
            .block_on(test(Site::of(&server), carrier))
            .map_err(|error| error.context(format!("{carrier:?}")))?;
        server.stop()?;
    }
    Ok(())
}
