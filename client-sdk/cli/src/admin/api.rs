//! Requests to the server API.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use serde_json::Value;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::{Agent, http};

use super::args::ApiArgs;
use super::call::Call;
use super::hint::hint;
use super::meant::{check_client_file, check_server};
use crate::args::ConnectionArgs;
use crate::connection::env;
use crate::development::{ApiOfDevelopment, api_of_development};
use crate::hint::Hint;

/// Longer than the server takes for a request unless it is told otherwise (`api.request_timeout_ms`).
const TIMEOUT: Duration = Duration::from_secs(30);

/// A server API and a key of it.
#[derive(Debug)]
pub(super) struct Api {
    url: String,
    key: String,
    agent: Agent,
}

impl Api {
    /// What flags, the environment and a development server say, in this order.
    pub(super) fn new(connection: ConnectionArgs, args: ApiArgs) -> anyhow::Result<Self> {
        let ca = connection.ca.clone().or_else(|| env("QUOTH_CA").map(PathBuf::from));
        let of_env = env("QUOTH_API").filter(|_| args.api.is_none());
        check_client_file(connection.client_file.as_deref(), of_env.as_deref())?;
        let url = args.api.or(of_env);
        let key_file = args.api_key_file.or_else(|| env("QUOTH_API_KEY_FILE").map(PathBuf::from));
        let key = key_file.map(|file| {
            let key = std::fs::read_to_string(&file);
            key.map(|key| key.trim().to_owned())
                .with_context(|| format!("cannot read the API key {}", file.display()))
        });
        let (url, key) = match (url, key.transpose()?) {
            (Some(url), Some(key)) => (url, key),
            (Some(_), None) => {
                bail!("give the server's key with --api-key-file: a file of one of its api.keys")
            }
            (None, key) => {
                let ApiOfDevelopment { url, key: ready, file, server } = api_of_development(&connection)?;
                check_server(env("QUOTH_SERVER").as_deref(), &file, &server)?;
                (url, key.unwrap_or(ready))
            }
        };
        let url = with_scheme(url);
        let mut tls = TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        if let Some(ca) = ca {
            let pem = std::fs::read(&ca).with_context(|| format!("cannot read the CA {}", ca.display()))?;
            tls =
                tls.root_certs(RootCerts::Specific(Arc::new(certificates(&pem, &ca.display().to_string())?)));
        } else if url.starts_with("https:") {
            bail!(
                "give the PEM file of the CA that has signed the server's certificate with --ca, or QUOTH_CA"
            );
        }
        let agent = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .tls_config(tls.build())
            .user_agent(concat!("quoth/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key, agent: agent.into() })
    }

    /// The answer to a request.
    ///
    /// # Errors
    /// What the server says is wrong, or why there is no answer.
    pub(super) fn send(&self, call: &Call) -> anyhow::Result<Value> {
        let mut request = http::Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.url, call.path))
            .header("Authorization", format!("Bearer {}", self.key));
        if let Some(once) = &call.once {
            request = request.header("Idempotency-Key", once);
        }
        let answered = match &call.body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json").body(body.to_string());
                self.agent.run(request.context("the request cannot be made")?)
            }
            None => self.agent.run(request.body(()).context("the request cannot be made")?),
        };
        let no_answer =
            || Hint("is --api right, and does the server serve its API (api.listen, api.keys)?".to_owned());
        let mut answer = answered
            .with_context(|| format!("no answer from {}", self.url))
            .map_err(|error| error.context(no_answer()))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().context("the answer was not sent to its end")?;
        let json: Value = serde_json::from_str(&text)
            .map_err(|_| anyhow!("{} does not answer as a server API of Quoth ({status})", self.url))?;
        if status.is_success() {
            return Ok(json);
        }
        let says = |name: &str| json[name].as_str().unwrap_or_default();
        Err(anyhow!("{} ({status})", says("code")).context(Hint(hint(call, says("code"), says("detail")))))
    }
}

/// A URL, of which whoever says HOST:PORT has said enough: a server serves its API without TLS on loopback alone, and
/// a key goes over no network in clear text unless http:// is asked for.
fn with_scheme(url: String) -> String {
    if url.contains("://") {
        return url;
    }
    let clear = format!("http://{url}");
    if is_loopback(&clear) { clear } else { format!("https://{url}") }
}

fn is_loopback(url: &str) -> bool {
    let Ok(url) = url.parse::<http::Uri>() else { return false };
    let host = url.host().unwrap_or_default();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn certificates(pem: &[u8], path: &str) -> anyhow::Result<Vec<Certificate<'static>>> {
    let mut found = Vec::new();
    for item in ureq::tls::parse_pem(pem) {
        if let PemItem::Certificate(certificate) = item.with_context(|| format!("{path} is no PEM file"))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        bail!("{path} has no certificate");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::with_scheme;

    #[test]
    fn a_host_and_a_port_are_enough_and_a_key_goes_over_no_network_in_clear_text() {
        for (told, url) in [
            ("127.0.0.1:4434", "http://127.0.0.1:4434"),
            ("127.8.0.1:4434", "http://127.8.0.1:4434"),
            ("localhost:4434", "http://localhost:4434"),
            ("[::1]:4434", "http://[::1]:4434"),
            ("chat.example:4434", "https://chat.example:4434"),
            ("10.0.0.1:4434", "https://10.0.0.1:4434"),
            ("127.0.0.1.example:4434", "https://127.0.0.1.example:4434"),
            ("127.0.0.1:4434@chat.example", "https://127.0.0.1:4434@chat.example"),
            ("https://127.0.0.1:4434", "https://127.0.0.1:4434"),
            ("http://chat.example", "http://chat.example"),
        ] {
            assert_eq!(with_scheme(told.to_owned()), url);
        }
    }
}
