//! Where to connect and as whom: flags, then environment, then what the development server of this machine
//! has left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use quoth_client::{
    Client, Code, DeviceId, EventsError, FetchRange, HistoryError, SendError, Seq, Transport,
};
use serde::Deserialize;
use tokio::time::timeout;

use crate::args::{self, ConnectionArgs};
use crate::device::Device;
use crate::hint::{Situation, hinted};
use crate::interrupt::Interrupt;
use crate::rights::{self, Barrier, TokenWrites};
use crate::states::{telling_refusals, telling_wait};

/// The development server's file, in the folder where it runs.
const LOCAL_FILE: &str = "quoth-data/client.json";

/// What to do when there is no server.
pub(crate) const START_ONE: &str = "start one with `cargo run --release`, or say where one is with --client-file, or with --server, --ca and --token";

/// What the server gets to hear that the client leaves. Outcome: it finds out by its idle timeout. Acks are
/// not waited for here: a command waits for those of its messages itself.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A command line has mains power mostly, and whoever reads wants to know that the server has restarted.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);

/// How long to ask where a conversation ends. Outcome: the error does not say so.
const HEAD_TIMEOUT: Duration = Duration::from_secs(2);

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

/// What a development server leaves for its clients.
#[derive(Debug, Deserialize)]
struct Development {
    server: String,
    ca: PathBuf,
    token: String,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    service_token: Option<String>,
    api: Option<String>,
    api_key: Option<String>,
    /// Where all of this was read.
    #[serde(skip)]
    file: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
struct Target {
    server: String,
    ca: PathBuf,
    token: String,
    /// The development server's file that has named the server.
    file: Option<PathBuf>,
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
        let Target { server, ca, token, file } = self.target(purpose)?;
        let user = self.args.user.clone();
        let transport = self.transport()?;
        let mut situation = Situation {
            server: &server,
            file: file.as_deref(),
            ca: &ca,
            transport,
            token_bytes: token.len(),
            user,
            purpose,
            head: None,
            token_file: self.token_file(env).filter(|file| self.stays && file.is_file()),
            writes: TokenWrites::of(&token),
            barrier: None,
        };
        let connecting = Client::builder(&server)
            .ca_file(&ca)
            .transport(transport)
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .client_name(concat!("quoth/", env!("CARGO_PKG_VERSION")));
        // What is no file of the disk, such as a pipe, can be read once.
        let connecting = match situation.token_file.clone() {
            Some(file) => {
                let tell = telling_refusals(file.clone());
                connecting.token_provider(move || std::future::ready(token_in(&file))).on_failed_attempt(tell)
            }
            None => connecting.token(token),
        };
        // Who does one thing in passing is not signed in at another desk, for which a chat would have to go where
        // the server lets each class of devices be there once (`login.policy`).
        let connecting = match self.stays {
            true => connecting,
            false => connecting.platform(passing_platform()),
        };
        let machine = Device::of_machine(env);
        let connecting = match self.device(machine.as_ref())? {
            Some(device) => connecting.device(device),
            None => connecting,
        };
        let connecting = match self.server_name() {
            Some(name) => connecting.server_name(name),
            None => connecting,
        };
        let client = self
            .interrupt
            .unless_asked(telling_wait(&server, connecting.connect()))
            .await?
            .map_err(|error| hinted(error.into(), &situation))?;
        situation.user = client.welcome().map(|welcome| welcome.user.to_string()).or(situation.user);
        let result = match work(&client, &situation).await {
            Ok(done) => Ok(done),
            Err(error) => {
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

    fn target(&self, purpose: Purpose<'_>) -> anyhow::Result<Target> {
        let server = self.args.server.clone().or_else(|| env("QUOTH_SERVER"));
        let ca = self.args.ca.clone().or_else(|| env("QUOTH_CA").map(PathBuf::from));
        let token = self.token(env)?;
        let file = self.args.client_file.clone().or_else(|| env("QUOTH_CLIENT_FILE").map(PathBuf::from));
        let development = match (&server, &ca, &token, file) {
            (Some(_), Some(_), Some(_), _) => None,
            (.., Some(file)) => Some(development(&file)?.ok_or_else(|| {
                anyhow!("{} does not exist: a development server leaves it while it runs", file.display())
            })?),
            (.., None) => first_development(env)?,
        };
        target(server, ca, token, self.args.user.as_deref(), development, purpose)
    }

    fn token(&self, env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<String>> {
        match self.token_file(&env) {
            Some(file) => token_in(&file).map(Some).map_err(anyhow::Error::msg),
            None => Ok(self.given_token(env)),
        }
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

/// What a command that only asks or says something is signed in as. It begins with none of the names that the
/// server knows a class by.
fn passing_platform() -> String {
    format!("command on {}", std::env::consts::OS)
}

/// The token in a file, or why there is none: an empty file is one that is being written.
fn token_in(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the token file {shown}: {error}"))?;
    match text.trim() {
        "" => Err(format!("the token file {shown} is empty")),
        token => Ok(token.to_owned()),
    }
}

/// What a development server has told of its API.
#[derive(Debug)]
pub(crate) struct ApiOfDevelopment {
    pub(crate) url: String,
    pub(crate) key: String,
}

/// The API of the development server that flags or the environment name, or else of this machine's.
pub(crate) fn api_of_development(args: &ConnectionArgs) -> anyhow::Result<ApiOfDevelopment> {
    let file = args.client_file.clone().or_else(|| env("QUOTH_CLIENT_FILE").map(PathBuf::from));
    let found = match &file {
        Some(file) => development(file)?,
        None => first_development(env)?,
    };
    let Some(Development { api, api_key, file, .. }) = found else {
        bail!("there is no development server: say where the API is with --api and --api-key-file");
    };
    match (api, api_key) {
        (Some(url), Some(key)) => Ok(ApiOfDevelopment { url, key }),
        _ => bail!("the development server of {} does not serve its API (api.listen)", file.display()),
    }
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
        (Some(server), Some(ca), Some(token), _) => Ok(Target { server, ca, token, file: None }),
        (Some(server), ca, token, None) => {
            let missing: Vec<&str> = [(ca.is_none(), "--ca FILE"), (token.is_none(), "--token TOKEN")]
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
            file: server.is_none().then(|| development.file.clone()),
            server: server.unwrap_or_else(|| development.server.clone()),
            ca: ca.unwrap_or_else(|| development.ca.clone()),
            token: token.map_or_else(|| ready_token(development, user, purpose), Ok)?,
        }),
    }
}

fn ready_token(development: Development, user: Option<&str>, purpose: Purpose<'_>) -> anyhow::Result<String> {
    match (user, purpose) {
        (Some(user), _) => development.tokens.get(user).cloned().ok_or_else(|| {
            let known: Vec<&str> = development.tokens.keys().map(String::as_str).collect();
            anyhow!(
                "there is no ready token for {user:?}, only for {}: get one with `quoth-server token --user {user}` \
                 and pass it with --token",
                known.join(", ")
            )
        }),
        (None, Purpose::Import) => development.service_token.ok_or_else(|| {
            anyhow!(
                "the development server has no token that may publish for others: get one with \
                 `quoth-server token --user importer --publish-as '*'` and pass it with --token"
            )
        }),
        (None, Purpose::Talk(_) | Purpose::Ask) => Ok(development.token),
    }
}

/// The development server beside whose data folder this runs, or else the one of this machine.
fn first_development(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Development>> {
    match development(Path::new(LOCAL_FILE))? {
        None => well_known_file(env).map_or(Ok(None), |file| development(&file)),
        beside => Ok(beside),
    }
}

/// What is in a development server's file, if it is there.
fn development(file: &Path) -> anyhow::Result<Option<Development>> {
    let text = match std::fs::read(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let development: Development = serde_json::from_slice(&text)
        .with_context(|| format!("{} is no file of a development server; delete it", file.display()))?;
    Ok(Some(Development { file: file.to_owned(), ..development }))
}

/// Where a development server leaves its file for clients that run elsewhere.
fn well_known_file(env: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = env("XDG_RUNTIME_DIR")
        .or_else(|| env("XDG_STATE_HOME"))
        .map(PathBuf::from)
        .or_else(|| env("HOME").map(|home| Path::new(&home).join(".local/state")))?;
    Some(folder.join("quoth/dev.json"))
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
    let page = timeout(HEAD_TIMEOUT, room.history(FetchRange::Latest, 1)).await.ok()?;
    page.ok().map(|page| page.head)
}

/// Why the user may not write there, if something was not allowed.
async fn barrier(client: &Client, error: &anyhow::Error, situation: &Situation<'_>) -> Option<Barrier> {
    let Purpose::Talk(conversation) = situation.purpose else { return None };
    let is_forbidden = error.chain().any(|e| {
        matches!(e.downcast_ref(), Some(SendError::Refused { code: Code::FORBIDDEN, .. }))
            || matches!(e.downcast_ref(), Some(EventsError::Refused { code: Code::FORBIDDEN, .. }))
            || matches!(e.downcast_ref(), Some(HistoryError::Refused { code: Code::FORBIDDEN, .. }))
    });
    if !is_forbidden {
        return None;
    }
    rights::barrier(client, conversation, &situation.writes).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn development() -> Development {
        let token = |user: &str| (user.to_owned(), format!("token of {user}"));
        Development {
            server: "127.0.0.1:4433".to_owned(),
            ca: PathBuf::from("ca.pem"),
            token: "token of alice".to_owned(),
            tokens: [token("alice"), token("bob")].into(),
            api: None,
            api_key: None,
            service_token: Some("token of importer".to_owned()),
            file: PathBuf::from("dev.json"),
        }
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
        assert!(error.contains("quoth-server token --user carol"), "{error}");
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
    fn a_certificate_is_for_the_host() {
        let servers = ["chat.example:4433", "127.0.0.1:4433", "[::1]:4433"];
        assert_eq!(servers.map(host), ["chat.example", "127.0.0.1", "::1"]);
    }

    #[test]
    fn its_token_and_ca_go_to_no_other_server() {
        let other = || Some("chat.example:4433".to_owned());
        let error = target(other(), None, None, None, Some(development()), TALK).unwrap_err();
        assert!(error.to_string().contains("--ca FILE and --token TOKEN"), "{error}");
        assert!(error.to_string().contains("(dev.json names 127.0.0.1:4433)"), "{error}");
        let error = target(other(), Some("x".into()), None, None, Some(development()), TALK).unwrap_err();
        assert!(error.to_string().contains("or --token TOKEN"), "{error}");
        let same = Some("127.0.0.1:4433".to_owned());
        assert_eq!(
            target(same, None, None, None, Some(development()), TALK).unwrap().ca,
            Path::new("ca.pem")
        );
    }

    #[test]
    fn without_a_server_the_error_says_how_to_start_one() {
        let error = target(None, None, None, None, None, TALK).unwrap_err().to_string();
        assert!(error.contains("cargo run --release"), "{error}");
    }
}
