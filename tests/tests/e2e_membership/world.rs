//! A server with users, and requests in short.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use quoth_protocol::membership::{ConversationKind, Role};
use quoth_protocol::request::Request;
use quoth_protocol::{ConversationName, UserId};
use quoth_server::auth::{Issue, Rights, algorithm, issue};
use quoth_server::config::Config;
use quoth_server::development::signing_key_file;
use quoth_tests::device::Over;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::member::Member;

/// Far in the future, in seconds since 1970.
const ENDS_S: u64 = 4_000_000_000;

/// Where a server is, and what signs its tokens.
pub(crate) struct Site {
    pub(crate) address: SocketAddr,
    pub(crate) ca_file: PathBuf,
    pub(crate) data_dir: PathBuf,
}

impl Site {
    pub(crate) fn of(server: &EmbeddedServer) -> Self {
        let (address, ca_file) = (server.address(), server.ca_file());
        Self { address, ca_file, data_dir: server.data_dir() }
    }

    /// Signs a user in whose token leaves everything to membership.
    pub(crate) async fn member(&self, carrier: Over, user: &str) -> anyhow::Result<Member> {
        self.member_with(carrier, user, &[]).await
    }

    /// The same with a token that is for these conversations only.
    pub(crate) async fn member_with(
        &self,
        carrier: Over,
        user: &str,
        patterns: &[&str],
    ) -> anyhow::Result<Member> {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        let rights = Rights { read: patterns.clone(), write: patterns, publish_as: Vec::new() };
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
pub(crate) fn with_each_carrier<F: Future<Output = anyhow::Result<()>>>(
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

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).expect("a user id")
}

pub(crate) fn name(name: &str) -> ConversationName {
    ConversationName::new(name).expect("a conversation name")
}

pub(crate) fn create(conversation: Option<&str>, kind: ConversationKind, members: &[&str]) -> Request {
    Request::Create {
        conversation: conversation.map(name),
        kind,
        title: String::new(),
        members: members.iter().map(|name| user(name)).collect(),
        open: false,
    }
}

/// A group named `room`.
pub(crate) fn create_room(members: &[&str]) -> Request {
    create(Some("room"), ConversationKind::Group, members)
}

pub(crate) fn set(who: &str, role: Role) -> Request {
    Request::SetMember { conversation: name("room"), user: user(who), role, permissions: None }
}

pub(crate) fn leave() -> Request {
    Request::Leave { conversation: name("room") }
}

pub(crate) fn remove(who: &str) -> Request {
    Request::Remove { conversation: name("room"), user: user(who) }
}

pub(crate) fn ban(who: &str, until_ms: u64) -> Request {
    Request::Ban { conversation: name("room"), user: user(who), until_ms }
}

pub(crate) fn mute(who: Option<&str>, until_ms: u64) -> Request {
    Request::Mute { conversation: name("room"), user: who.map(user), until_ms }
}

pub(crate) fn join(invitation: Option<&str>) -> Request {
    Request::Join { conversation: name("room"), invitation: invitation.map(str::to_owned) }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
