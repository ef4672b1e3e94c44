//! What a development server has left on this machine, so that its clients need no flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use serde::Deserialize;

use crate::args::ConnectionArgs;
use crate::connection::{Purpose, env};
use crate::hint::{made_by, quoted};

/// The development server's file, in the folder where it runs.
const LOCAL_FILE: &str = "quoth-data/client.json";

/// What a development server leaves for its clients.
#[derive(Debug, Deserialize)]
pub(crate) struct Development {
    pub(crate) server: String,
    pub(crate) ca: PathBuf,
    pub(crate) token: String,
    #[serde(default)]
    tokens: BTreeMap<String, String>,
    service_token: Option<String>,
    signing_key: Option<PathBuf>,
    api: Option<String>,
    api_key: Option<String>,
    /// Where all of this was read.
    #[serde(skip)]
    pub(crate) file: PathBuf,
}

impl Development {
    pub(crate) fn beside(&self) -> Beside {
        Beside { file: self.file.clone(), data_dir: self.data_dir().map(Path::to_owned) }
    }

    /// The folder with its keys, by which `quoth-server token` makes tokens for it.
    fn data_dir(&self) -> Option<&Path> {
        self.signing_key.as_deref()?.parent()?.parent()
    }
}

/// The development server of this machine that is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beside {
    /// The file that it leaves for clients.
    pub(crate) file: PathBuf,
    /// Its data folder, if the file says so.
    pub(crate) data_dir: Option<PathBuf>,
}

/// What a development server has told of its API.
#[derive(Debug)]
pub(crate) struct ApiOfDevelopment {
    pub(crate) url: String,
    pub(crate) key: String,
    /// The file that has told it.
    pub(crate) file: PathBuf,
    /// Where clients connect to the same server.
    pub(crate) server: String,
}

/// The API of the development server that flags or the environment name, or else of this machine's.
pub(crate) fn api_of_development(args: &ConnectionArgs) -> anyhow::Result<ApiOfDevelopment> {
    let file = args.client_file.clone().or_else(|| env("QUOTH_CLIENT_FILE").map(PathBuf::from));
    let found = match &file {
        Some(file) => development(file)?,
        None => first_development(env)?,
    };
    let Some(Development { api, api_key, file, server, .. }) = found else {
        bail!("there is no development server: say where the API is with --api and --api-key-file");
    };
    match (api, api_key) {
        (Some(url), Some(key)) => Ok(ApiOfDevelopment { url, key, file, server }),
        _ => bail!("the development server of {} does not serve its API (api.listen)", file.display()),
    }
}

/// The token that it has ready for a user, or for a purpose.
pub(crate) fn ready_token(
    development: Development,
    user: Option<&str>,
    purpose: Purpose<'_>,
) -> anyhow::Result<String> {
    let make = |options: &str| made_by(development.data_dir(), options);
    match (user, purpose) {
        (Some(user), _) => development.tokens.get(user).cloned().ok_or_else(|| {
            let known: Vec<&str> = development.tokens.keys().map(String::as_str).collect();
            let make = make(&format!("--user {}", quoted(user)));
            anyhow!(
                "there is no ready token for {user:?}, only for {}: {make}, and pass it with --token",
                known.join(", ")
            )
        }),
        (None, Purpose::Import) => development.service_token.clone().ok_or_else(|| {
            let make = make("--user importer --publish-as '*'");
            anyhow!("the development server has no token that may publish for others: {make}, and pass it with --token")
        }),
        (None, Purpose::Talk(_) | Purpose::Ask) => Ok(development.token),
    }
}

/// The development server beside whose data folder this runs, or else the one of this machine.
pub(crate) fn first_development(env: impl Fn(&str) -> Option<String>) -> anyhow::Result<Option<Development>> {
    match development(Path::new(LOCAL_FILE))? {
        None => well_known_file(env).map_or(Ok(None), |file| development(&file)),
        beside => Ok(beside),
    }
}

/// What is in a development server's file, if it is there.
pub(crate) fn development(file: &Path) -> anyhow::Result<Option<Development>> {
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
