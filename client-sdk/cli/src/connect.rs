//! Finds the server: from flags, from the environment, or from the file that a development server leaves.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use quoth_client::Client;
use serde_json::Value;

/// Where the server is and who we are.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// Server as HOST:PORT; also QUOTH_SERVER. Default: the development server on this machine
    #[arg(long, global = true)]
    server: Option<String>,
    /// PEM file of the certificate authority to trust; also QUOTH_CA
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Token to sign in with; also QUOTH_TOKEN
    #[arg(long, global = true)]
    token: Option<String>,
    /// File with the token; also QUOTH_TOKEN_FILE
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// One of the development server's ready users
    #[arg(long, global = true)]
    user: Option<String>,
}

impl Connection {
    /// Connects; `is_service` asks for the development server's token that may publish on behalf of users.
    pub(crate) async fn connect(self, is_service: bool) -> anyhow::Result<Client> {
        let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (mut server, mut ca) = (self.server.or_else(|| env("QUOTH_SERVER")), self.ca);
        ca = ca.or_else(|| env("QUOTH_CA").map(PathBuf::from));
        let token_file = self.token_file.or_else(|| env("QUOTH_TOKEN_FILE").map(PathBuf::from));
        let mut token = match (self.token.or_else(|| env("QUOTH_TOKEN")), token_file) {
            (Some(token), _) => Some(token),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(&file);
                Some(text.with_context(|| format!("the token file {} cannot be read", file.display()))?)
            }
            (None, None) => None,
        };
        if server.is_none() || ca.is_none() || token.is_none() {
            let (path, file) = development_file()?;
            let text = |key: &str| file[key].as_str().map(str::to_owned);
            server = server.or_else(|| text("server"));
            ca = ca.or_else(|| text("ca").map(PathBuf::from));
            token = match (token, &self.user) {
                (Some(token), _) => Some(token),
                (None, Some(user)) => match file["tokens"][user].as_str() {
                    Some(token) => Some(token.to_owned()),
                    None => bail!(
                        "{} has no token for {user}: make one with `quoth-server token --user {user}` and give it \
                         with --token",
                        path.display()
                    ),
                },
                (None, None) => text(if is_service { "service_token" } else { "token" }),
            };
        }
        let (Some(server), Some(ca), Some(token)) = (server, ca, token) else {
            bail!("the development server's file is incomplete: start the server anew");
        };
        let client =
            Client::builder(&server).ca_file(ca).token(token.trim()).client_name(NAME).connect().await;
        client.with_context(|| {
            format!("cannot connect to {server}; is the server running? `cargo run --release` starts one")
        })
    }
}

const NAME: &str = concat!("quoth/", env!("CARGO_PKG_VERSION"));

/// The file of a development server: in the data folder beside us, or in the user's state folder.
fn development_file() -> anyhow::Result<(PathBuf, Value)> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = of("XDG_RUNTIME_DIR")
        .or_else(|| of("XDG_STATE_HOME"))
        .or_else(|| of("HOME").map(|home| home.join(".local").join("state")));
    let candidates = [
        Some(Path::new("quoth-data").join("client.json")),
        state.map(|dir| dir.join("quoth").join("dev.json")),
    ];
    for path in candidates.into_iter().flatten() {
        if let Ok(text) = std::fs::read_to_string(&path) {
            let file = serde_json::from_str(&text);
            return Ok((path.clone(), file.with_context(|| format!("{} is damaged", path.display()))?));
        }
    }
    bail!(
        "no server given and no development server found: start one with `cargo run --release`, or give --server, \
         --ca and --token"
    )
}
