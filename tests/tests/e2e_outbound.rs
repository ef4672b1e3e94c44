//! What the server asks and tells others over TLS: whose certificate it takes, and whose it does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use quoth_protocol::Code;
use quoth_server::hooks::{HookConfig, OnFailure};
use quoth_server::outbound::Url;
use quoth_tests::device::{Device, Over, Who};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::http::{Backend, Message};
use quoth_tests::issuer::Issuer;
use quoth_tests::tls::TlsFront;
use serde_json::json;

/// An address of loopback that the certificate does not name.
const ANOTHER_NAME: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn url(text: &str) -> anyhow::Result<Url> {
    text.parse().map_err(|error| anyhow::anyhow!("{error}"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// The code with which a token is turned away, if it is.
async fn turned_away(server: &EmbeddedServer, token: &str) -> anyhow::Result<Option<Code>> {
    let who = Who { token, device: "phone", generation: 0, platform: "linux" };
    Ok(Device::sign_in(server, Over::Quic, &who).await?.err().map(|ended| ended.code))
}

/// Where something is, and a file with who may have signed its certificate.
type Case = (String, Option<PathBuf>, bool);

/// The ways to ask what two fronts are before, of which the second one has another address: the last ones end
/// in nothing.
fn cases(front: &TlsFront, elsewhere: &TlsFront, path: &str) -> [Case; 4] {
    let (ca, other_ca) = (Some(front.ca_file().to_owned()), Some(elsewhere.ca_file().to_owned()));
    [
        (front.url(path), ca, true),
        (front.url(path), None, false),
        (front.url(path), other_ca.clone(), false),
        (elsewhere.url(path), other_ca, false),
    ]
}

fn fronts(backend: SocketAddr) -> anyhow::Result<(TlsFront, TlsFront)> {
    Ok((TlsFront::start(Ipv4Addr::LOCALHOST, backend)?, TlsFront::start(ANOTHER_NAME, backend)?))
}

#[test]
fn a_key_set_comes_from_whom_the_operator_trusts_and_nobody_else() -> anyhow::Result<()> {
    let mut issuer = Issuer::start()?;
    let key = issuer.add_ed25519("key")?;
    let (front, elsewhere) = fronts(issuer.address())?;
    for (from, ca_file, is_good) in cases(&front, &elsewhere, "/keys.json") {
        let asked = issuer.asked();
        let from = url(&from)?;
        let server = EmbeddedServer::start_configured(|config| {
            config.jwks.url = Some(from.clone());
            config.jwks.ca_file = ca_file.clone();
        })?;
        let expected = (!is_good).then_some(Code::UNAVAILABLE);
        let refused = runtime()?.block_on(turned_away(&server, &key.token("alice")?))?;
        assert_eq!(refused, expected, "{from} with {ca_file:?}");
        assert_eq!(issuer.asked() > asked, is_good, "{from} with {ca_file:?}");
    }
    Ok(())
}

#[test]
fn hooks_ask_whom_the_operator_trusts_and_nobody_else() -> anyhow::Result<()> {
    let backend = Backend::start(|_| (204, String::new()))?;
    let (front, elsewhere) = fronts(backend.address())?;
    for (at, ca_file, is_good) in cases(&front, &elsewhere, "/hook") {
        let asked = backend.requests().len();
        let hook = HookConfig { url: Some(url(&at)?), on_failure: OnFailure::Deny };
        let server = EmbeddedServer::start_configured(|config| {
            config.hooks.connect = hook.clone();
            config.hooks.ca_file = ca_file.clone();
            // Long, so that a machine that is busy with something else is no refusal.
            config.hooks.timeout_ms = 30_000;
        })?;
        let expected = (!is_good).then_some(Code::UNAVAILABLE);
        let refused = runtime()?.block_on(turned_away(&server, server.token()))?;
        assert_eq!(refused, expected, "{at} with {ca_file:?}");
        assert_eq!(
            backend.requests().len() > asked,
            is_good,
            "{at} with {ca_file:?}: nothing is said to others"
        );
    }
    Ok(())
}

/// Whether a request has an event of this text.
fn has(request: &Message, text: &str) -> bool {
    request.json().to_string().contains(text)
}

#[test]
fn events_go_to_whom_the_operator_trusts_and_wait_otherwise() -> anyhow::Result<()> {
    let backend = Backend::start(|_| (200, String::new()))?;
    let (front, _elsewhere) = fronts(backend.address())?;
    let events = url(&front.url("/events"))?;
    let message = json!({ "conversation": "room", "text": "over TLS" });
    let server = EmbeddedServer::start_configured(|config| config.hooks.events_url = Some(events.clone()))?;
    server.api()?.done("POST", "/v1/publish", Some(&message))?;
    // What cannot be told for want of trust is told as failing.
    let api = server.api()?;
    let failing = loop {
        let stats = api.done("GET", "/v1/stats", None)?;
        if let Some(failing) = stats["outbox"]["failing"].as_str() {
            break failing.to_owned();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert!(failing.contains("certificate"), "{failing}");
    assert!(backend.requests().is_empty());
    let ca_file = front.ca_file().to_owned();
    let server = server.restart_configured(|config| {
        config.hooks.events_url = Some(events);
        config.hooks.ca_file = Some(ca_file);
    });
    let _server = server.context("it starts with the CA")?;
    backend.wait_until(|requests| requests.iter().any(|request| has(request, "over TLS")));
    Ok(())
}
