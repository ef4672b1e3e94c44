//! Where to connect and as whom: flags, then environment, then what the development server of this machine
//! has left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use quoth_client::{
    Client, Code, DeviceId, EventsError, FetchRange, HistoryError, SendError, Seq, Transport,
};
use tokio::time::timeout;

use crate::args::{self, ConnectionArgs};
use crate::claims::Claims;
use crate::development::{Beside, Development, development, first_development, ready_token};
use crate::device::Device;
use crate::hint::{HINT_TIMEOUT, Situation, hinted};
use crate::interrupt::Interrupt;
use crate::rights::{self, Barrier, Verb};
use crate::states::{Refusals, telling_wait};
use crate::token_file::{TokenFile, token_in};

/// What to do when there is no server.
pub(crate) const START_ONE: &str = "start one with `cargo run --release`, or say where one is with --client-file, or with --server, --ca and --token";

/// What the server gets to hear that the client leaves. Outcome: it finds out by its idle timeout. Acks are
/// not waited for here: a command waits for those of its messages itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A command line has mains power mostly, and whoever reads wants to know that the server has restarted.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How to connect.
#[derive(Debug)]
pub(crate) struct Connection {
    args: ConnectionArgs,
    interrupt: Interrupt,
    /// Whether it is to go on for longer than a token may.
    stays: bool,
}

/// What a command connects for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose<'a> {
    /// To read this conversation or publish to it, as a user.
    Talk(&'a str),
    /// To publish in every user's name, with a service's token.
    Import,
    /// To ask for something besides, as a user.
    Ask,
}

/// Where to connect, and with what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    server: String,
    ca: PathBuf,
    /// What it signs in with, good or not.
    pub(crate) token: String,
    /// The development server that has named the server.
    development: Option<Beside>,
}

/// A server with what it takes to sign in.
#[derive(Debug)]
pub(crate) struct NamedServer {
    pub(crate) server: String,
    /// The name that its certificate is for.
    pub(crate) server_name: String,
    pub(crate) ca: PathBuf,
    pub(crate) token: String,
}

impl Connection {
    pub(crate) fn new(args: ConnectionArgs, interrupt: Interrupt) -> Self {
        Self { args, interrupt, stays: false }
    }

    /// The same for a command that goes on for longer than a token may: a file with the token is read again
    /// for each sign-in and when the token is about to end. Others are told at once that their token is not
    /// good.
    pub(crate) fn staying(self, stays: bool) -> Self {
        Self { stays, ..self }
    }

    /// Whether the user has asked to leave.
    pub(crate) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Connects, signs in, does `work`, and closes whatever came of it: a client that leaves without a word
    /// keeps the server waiting for it.
    pub(crate) async fn run<T>(
        &self,
        purpose: Purpose<'_>,
        work: impl AsyncFnOnce(&Client, &Situation<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.run_at(self.target(purpose)?, purpose, work).await
    }

    /// The same at a target that was looked up before.
    pub(crate) async fn run_at<T>(
        &self,
        target: Target,
        purpose: Purpose<'_>,
        work: impl AsyncFnOnce(&Client, &Situation<'_>) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let Target { server, ca, token, development } = target;
        let user = self.args.user.clone();
        let transport = self.transport()?;
        let machine = Device::of_machine(env);
        let device = self.device(machine.as_ref())?;
        let mut situation = Situation {
            server: &server,
            development: development.as_ref(),
            ca: &ca,
            transport,
            token_bytes: token.len(),
            user,
            purpose,
            head: None,
            token_file: self.token_file(env).filter(|file| self.stays && file.is_file()).map(TokenFile::at),
            claims: Claims::of(&token),
            device: device.clone(),
            barrier: None,
        };
        let connecting = Client::builder(&server)
            .ca_file(&ca)
            .transport(transport)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .client_name(concat!("quoth/", env!("CARGO_PKG_VERSION")));
        // What is no file of the disk, such as a pipe, can be read once.
        let refusals = situation.token_file.clone().map(Refusals::of);
        let connecting = match refusals.clone() {
            Some(refusals) => {
                let file = refusals.token_file.clone();
                connecting
                    .token_provider(move || std::future::ready(file.show()))
                    .on_failed_attempt(move |reason| refusals.tell(reason))
            }
            None => connecting.token(token),
        };
        // Who does one thing in passing is not signed in at another desk, for which a chat would have to go where
        // the server lets each class of devices be there once (`login.policy`).
        let connecting = match self.stays {
            true => connecting,
            false => connecting.platform(passing_platform()),
        };
        let connecting = match device {
            Some(device) => connecting.device(device),
            None => connecting,
        };
        let connecting = match self.server_name() {
            Some(name) => connecting.server_name(name),
            None => connecting,
        };
        let client = self
            .interrupt
            .unless_asked(telling_wait(&server, refusals.as_ref(), connecting.connect()))
            .await?
            .map_err(|error| hinted(error.into(), &situation))?;
        situation.user = client.welcome().map(|welcome| welcome.user.to_string()).or(situation.user);
        let result = match work(&client, &situation).await {
            Ok(done) => Ok(done),
            Err(error) => {
                situation.claims =
                    claims_now(situation.token_file.as_ref().map(TokenFile::path), situation.claims);
                situation.head = head(&client, &error, purpose).await;
                situation.barrier = barrier(&client, &error, &situation).await;
                Err(hinted(error, &situation))
            }
        };
        timeout(CLOSE_TIMEOUT, client.close()).await.ok();
        result
    }

    /// The server that flags or the environment name, if any do: a development server that only happens to
    /// run on this machine is not meant. Its token must allow everything.
    pub(crate) fn named_server(&self) -> anyhow::Result<Option<NamedServer>> {
        let args = &self.args;
        let is_named = args.server.is_some() || args.client_file.is_some();
        if !is_named && env("QUOTH_SERVER").is_none() && env("QUOTH_CLIENT_FILE").is_none() {
            return Ok(None);
        }
        let Target { server, ca, token, .. } = self.target(Purpose::Import)?;
        let server_name = self.server_name().unwrap_or_else(|| host(&server).to_owned());
        Ok(Some(NamedServer { server, server_name, ca, token }))
    }

    /// The flags that were given and say how to reach a server, and not which.
    pub(crate) fn flags_for_a_named_server(&self) -> Vec<&'static str> {
        let ConnectionArgs { ca, server_name, token, token_file, user, .. } = &self.args;
        let given = [
            ("--ca", ca.is_some()),
            ("--server-name", server_name.is_some()),
            ("--token", token.is_some()),
            ("--token-file", token_file.is_some()),
            ("--user", user.is_some()),
        ];
        given.into_iter().filter_map(|(flag, is_given)| is_given.then_some(flag)).collect()
    }

    /// Whether a flag says which device this is.
    pub(crate) fn names_a_device(&self) -> bool {
        self.args.device.is_some()
    }

    /// What was named, or else one of this machine.
    fn device(&self, machine: Option<&Device>) -> anyhow::Result<Option<String>> {
        let named = || env("QUOTH_DEVICE").map(DeviceId::new).transpose();
        let named = self.args.device.clone().map_or_else(named, |given| Ok(Some(given)));
        let device = named.context("QUOTH_DEVICE")?;
        Ok(device.or_else(|| machine.map(|machine| machine.id.clone())).map(|device| device.to_string()))
    }

    fn server_name(&self) -> Option<String> {
        self.args.server_name.clone().or_else(|| env("QUOTH_SERVER_NAME"))
    }

    pub(crate) fn transport(&self) -> anyhow::Result<Transport> {
        let named = || env("QUOTH_TRANSPORT").map(|name| args::transport(&name)).transpose();
        let transport = self.args.transport.map_or_else(named, |given| Ok(Some(given)));
        Ok(transport.map_err(|error| anyhow!("QUOTH_TRANSPORT: {error}"))?.unwrap_or_default())
    }

    /// What flags, the environment and a development server say, in this order.
    pub(crate) fn target(&self, purpose: Purpose<'_>) -> anyhow::Result<Target> {
        let server = self.args.server.clone().or_else(|| env("QUOTH_SERVER"));
        let ca = self.args.ca.clone().or_else(|| env("QUOTH_CA").map(PathBuf::from));
        let token = self.token(|name| std::env::var(name).ok())?;
        let file = self.args.client_file.clone().or_else(|| env("QUOTH_CLIENT_FILE").map(PathBuf::from));
        let development = match (&server, &ca, &token, file) {
            // A file that a flag names is looked at in any case: it may name another server.
            (Some(_), Some(_), Some(_), _) if self.args.client_file.is_none() => None,
            (.., Some(file)) => Some(development(&file)?.ok_or_else(|| {
                anyhow!("{} does not exist: a development server leaves it while it runs", file.display())
            })?),
            (.., None) => first_development(env)?,
        };
        if let (Some(_), Some(server), Some(development)) = (&self.args.client_file, &server, &development) {
            is_one_server(server, development)?;
        }
        target(server, ca, token, self.args.user.as_deref(), development, purpose)
    }

    /// `variable`: what a variable of the environment says, also if that is nothing.
    fn token(&self, variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
        let env = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let Some(file) = self.token_file(env) {
            return token_in(&file).map(Some).map_err(anyhow::Error::msg);
        }
        let given = self.given_token(env);
        if given.as_ref().is_some_and(|token| token.trim().is_empty()) {
            bail!("--token is empty: give a token, or leave it out");
        }
        if let Some(name) = lost_token(&variable).filter(|_| given.is_none() && self.args.user.is_none()) {
            bail!("{name} is set and empty: give it what is meant, or unset it");
        }
        Ok(given)
    }

    fn given_token(&self, env: impl Fn(&str) -> Option<String>) -> Option<String> {
        let ConnectionArgs { token, token_file, user, .. } = &self.args;
        let of_env = || env("QUOTH_TOKEN").filter(|_| token_file.is_none());
        token.clone().or_else(of_env).filter(|_| user.is_none())
    }

    /// Where the token is, when it is in a file.
    fn token_file(&self, env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        if self.args.user.is_some() || self.given_token(&env).is_some() {
            return None;
        }
        self.args.token_file.clone().or_else(|| env("QUOTH_TOKEN_FILE").map(PathBuf::from))
    }
}

/// The variable in which a token was lost on the way: who has lost it would be somebody else.
fn lost_token(variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    let is_lost = |name: &&str| variable(name).is_some_and(|value| value.is_empty());
    ["QUOTH_TOKEN", "QUOTH_TOKEN_FILE"].into_iter().find(is_lost)
}

/// What a command that only asks or says something is signed in as. It begins with none of the names that the
/// server knows a class by.
fn passing_platform() -> String {
    format!("command on {}", std::env::consts::OS)
}

/// The host of a HOST:PORT, without the brackets of an IPv6 address.
fn host(server: &str) -> &str {
    let host = server.rsplit_once(':').map_or(server, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// An environment variable that says something.
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Refuses a server that is not the one of the file that a flag names besides: one of them would not count.
fn is_one_server(server: &str, development: &Development) -> anyhow::Result<()> {
    if server == development.server {
        return Ok(());
    }
    bail!(
        "{server} (--server or QUOTH_SERVER) is not the server of {} (--client-file), which names {}: leave --client-file out and give \
         --ca FILE and --token-file FILE (or --token), or leave the other one out",
        development.file.display(),
        development.server
    )
}

/// Completes what was given from what the development server has left. Its token and CA go to no other
/// server.
fn target(
    server: Option<String>,
    ca: Option<PathBuf>,
    token: Option<String>,
    user: Option<&str>,
    development: Option<Development>,
    purpose: Purpose<'_>,
) -> anyhow::Result<Target> {
    let (known, development) = match (&server, development) {
        (Some(server), Some(development)) if *server != development.server => {
            (format!(" ({} names {})", development.file.display(), development.server), None)
        }
        (_, development) => (String::new(), development),
    };
    match (server.clone(), ca, token, development) {
        (Some(server), Some(ca), Some(token), _) => Ok(Target { server, ca, token, development: None }),
        (Some(server), ca, token, None) => {
            let missing: Vec<&str> =
                [(ca.is_none(), "--ca FILE"), (token.is_none(), "--token-file FILE (or --token)")]
                    .into_iter()
                    .filter_map(|(is_missing, flag)| is_missing.then_some(flag))
                    .collect();
            bail!(
                "{server} is not the development server of this machine{known}: give --client-file, or {} as well",
                missing.join(" and ")
            );
        }
        (None, _, _, None) => bail!("no server: there is no development server on this machine; {START_ONE}"),
        (server, ca, token, Some(development)) => Ok(Target {
            development: server.is_none().then(|| development.beside()),
            server: server.unwrap_or_else(|| development.server.clone()),
            ca: ca.unwrap_or_else(|| development.ca.clone()),
            token: token.map_or_else(|| ready_token(development, user, purpose), Ok)?,
        }),
    }
}

/// What the token says that the client signs in with by now: a file with one may have another one than at the start.
fn claims_now(token_file: Option<&Path>, at_start: Option<Claims>) -> Option<Claims> {
    token_file.and_then(|file| token_in(file).ok()).map_or(at_start, |token| Claims::of(&token))
}

/// Where the conversation ends, if it was read from behind its end.
async fn head(client: &Client, error: &anyhow::Error, purpose: Purpose<'_>) -> Option<Seq> {
    let Purpose::Talk(conversation) = purpose else { return None };
    let is_ahead = error
        .chain()
        .any(|e| matches!(e.downcast_ref(), Some(EventsError::Refused { code: Code::CURSOR_AHEAD, .. })));
    if !is_ahead {
        return None;
    }
    let room = client.conversation(conversation).ok()?;
    let page = timeout(HINT_TIMEOUT, room.history(FetchRange::Latest, 1)).await.ok()?;
    page.ok().map(|page| page.head)
}

/// Why the user may not do that there, if something was not allowed.
async fn barrier(client: &Client, error: &anyhow::Error, situation: &Situation<'_>) -> Option<Barrier> {
    let Purpose::Talk(conversation) = situation.purpose else { return None };
    let refused = |e: &(dyn std::error::Error + 'static)| match (
        e.downcast_ref(),
        e.downcast_ref(),
        e.downcast_ref(),
    ) {
        (Some(SendError::Refused { code: Code::FORBIDDEN, .. }), ..) => Some(Verb::Write),
        (_, Some(EventsError::Refused { code: Code::FORBIDDEN, .. }), _)
        | (.., Some(HistoryError::Refused { code: Code::FORBIDDEN, .. })) => Some(Verb::Read),
        _ => None,
    };
    let verb = error.chain().find_map(refused)?;
    let standing = rights::standing(client, conversation).await?;
    rights::barrier_met(verb, conversation, standing, situation.claims.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn development() -> Development {
        let told = serde_json::json!({
            "server": "127.0.0.1:4433",
            "ca": "ca.pem",
            "token": "token of alice",
            "tokens": { "alice": "token of alice", "bob": "token of bob" },
            "service_token": "token of importer",
            "signing_key": "/srv/data/keys/signing.key",
        });
        let mut development: Development = serde_json::from_value(told).unwrap();
        development.file = PathBuf::from("dev.json");
        development
    }

    const TALK: Purpose<'_> = Purpose::Talk("general");

    fn token(user: Option<&str>, purpose: Purpose<'_>) -> anyhow::Result<String> {
        Ok(target(None, None, None, user, Some(development()), purpose)?.token)
    }

    #[test]
    fn a_development_server_needs_no_flags() {
        assert_eq!(token(None, TALK).unwrap(), "token of alice");
        assert_eq!(token(Some("bob"), TALK).unwrap(), "token of bob");
        assert_eq!(token(None, Purpose::Import).unwrap(), "token of importer");
        let error = token(Some("carol"), TALK).unwrap_err().to_string();
        assert!(error.contains("`quoth-server --data-dir '/srv/data' token --user 'carol'`"), "{error}");
    }

    #[test]
    fn a_token_in_a_file_is_the_one_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let told = |text: &str| {
            std::fs::write(&file, text).unwrap();
            token_in(&file)
        };
        assert_eq!(told("one\n").as_deref(), Ok("one"));
        assert_eq!(told("two\n").as_deref(), Ok("two"));
        assert!(told("\n").unwrap_err().contains("is empty"));
        assert!(token_in(dir.path()).unwrap_err().contains("cannot read the token file"));
    }

    #[test]
    fn a_refusal_is_explained_by_the_token_of_now() {
        use crate::claims::tests::{claims, token};
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let (narrow, wide) = (r#"{"write":[]}"#, r#"{"write":["*"]}"#);
        assert_eq!(claims_now(Some(&file), claims(narrow)), claims(narrow), "the file is gone");
        std::fs::write(&file, token(wide)).unwrap();
        assert_eq!(claims_now(Some(&file), claims(narrow)), claims(wide));
        assert_eq!(claims_now(None, claims(narrow)), claims(narrow));
    }

    #[test]
    fn a_token_that_was_lost_on_the_way_is_told() {
        let lost =
            |name: &str, value: &str| lost_token(|asked: &str| (asked == name).then(|| value.to_owned()));
        for name in ["QUOTH_TOKEN", "QUOTH_TOKEN_FILE"] {
            assert_eq!((lost(name, ""), lost(name, "one")), (Some(name), None));
        }
        assert_eq!(lost("QUOTH_CA", ""), None);
    }

    #[test]
    fn a_certificate_is_for_the_host() {
        let servers = ["chat.example:4433", "127.0.0.1:4433", "[::1]:4433"];
        assert_eq!(servers.map(host), ["chat.example", "127.0.0.1", "::1"]);
    }

    #[test]
    fn its_token_and_ca_go_to_no_other_server() {
        let other = || Some("chat.example:4433".to_owned());
        let error = target(other(), None, None, None, Some(development()), TALK).unwrap_err();
        assert!(error.to_string().contains("--ca FILE and --token-file FILE"), "{error}");
        assert!(error.to_string().contains("(dev.json names 127.0.0.1:4433)"), "{error}");
        let error = target(other(), Some("x".into()), None, None, Some(development()), TALK).unwrap_err();
        assert!(error.to_string().contains("or --token-file FILE"), "{error}");
        let same = Some("127.0.0.1:4433".to_owned());
        assert_eq!(
            target(same, None, None, None, Some(development()), TALK).unwrap().ca,
            Path::new("ca.pem")
        );
    }

    #[test]
    fn two_servers_are_not_meant_at_once() {
        is_one_server("127.0.0.1:4433", &development()).unwrap();
        let refused = is_one_server("chat.example:4433", &development()).unwrap_err().to_string();
        for told in
            ["chat.example:4433 (", "dev.json (--client-file)", "names 127.0.0.1:4433", "--token-file"]
        {
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn without_a_server_the_error_says_how_to_start_one() {
        let error = target(None, None, None, None, None, TALK).unwrap_err().to_string();
        assert!(error.contains("cargo run --release"), "{error}");
    }
}
