//! What all requests to backends are made with.

use crate::config::Config;
use crate::outbound::Client;
use crate::secret::write_private;

use super::Signer;
use super::signature::make_secret;

/// A client, and what its requests are signed with.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) client: Client,
    pub(crate) signer: Signer,
}

impl Backend {
    /// What is configured; `None` when nothing is sent to anybody. A development server makes a secret.
    ///
    /// # Errors
    /// When the secret or the CA cannot be used.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, String> {
        let hooks = &config.hooks;
        if !hooks.is_on() {
            return Ok(None);
        }
        let file = match &hooks.secret_file {
            Some(file) => file.clone(),
            None => {
                let file = config.data_dir.join("keys").join("hooks.secret");
                if !file.exists() {
                    write_private(&file, make_secret().as_bytes())?;
                }
                file
            }
        };
        Ok(Some(Self { client: Client::new(hooks.ca_file.as_deref())?, signer: Signer::load(&file)? }))
    }

    /// What of the configuration cannot be used. Changes nothing.
    pub(crate) fn problems(config: &Config) -> Vec<String> {
        let hooks = &config.hooks;
        if !hooks.is_on() {
            return Vec::new();
        }
        let secret = hooks.secret_file.as_deref().and_then(|file| Signer::load(file).err());
        secret.into_iter().chain(Client::new(hooks.ca_file.as_deref()).err()).collect()
    }
}
