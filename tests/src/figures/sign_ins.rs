//! What it costs a storm of sign-ins that tokens are verified.
//!
//! The servers are in this process, since one that takes any token must not exist as a program. All else is alike: whole handshakes over
//! QUIC, a user for each session, and all sessions stay until the last one is in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint};
use quoth_protocol::ALPN;
use quoth_server::auth::{Demands, JwksConfig, Verifier};
use quoth_server::session::Verify;
use quoth_store::Store;
use rustls::client::Resumption;
use tokio::sync::{Semaphore, oneshot};

use super::client::runtime;
use super::{Plan, Report};
use crate::issuer::Issuer;
use crate::served::{ServedEngine, UserNames};
use crate::wire::Peer;

/// Sign-ins under way at once: below what the server lets one address have (64), so that none has to wait and try again.
const AT_ONCE: usize = 32;

pub(super) fn run(plan: &Plan, report: &mut Report) -> anyhow::Result<()> {
    let mut issuer = Issuer::start()?;
    let key = issuer.add_rsa("key")?;
    let users = (0..plan.sign_ins).map(|n| format!("user {n}")).collect::<Vec<_>>();
    let tokens = users.iter().map(|user| key.token(user)).collect::<Result<Vec<_>, _>>()?;
    for round in 0..plan.rounds {
        let with = || storm(&tokens, || verifier(&issuer));
        let without = || storm(&users, || Ok(UserNames));
        // In turns, so that neither is always the first.
        let (with_s, without_s) = if round.is_multiple_of(2) {
            let with_s = with()?;
            (with_s, without()?)
        } else {
            let without_s = without()?;
            (with()?, without_s)
        };
        let rate = |seconds: f64| plan.sign_ins as f64 / seconds;
        let note = format!("{:.0}/s verified, {:.0}/s not", rate(with_s), rate(without_s));
        report.round(with_s / without_s, note);
    }
    Ok(())
}

fn verifier(issuer: &Issuer) -> anyhow::Result<Verifier> {
    let jwks = JwksConfig {
        url: issuer.url().parse().map_err(|error: String| anyhow!(error))?,
        ca_file: None,
        refresh: Duration::from_secs(300),
        refresh_min: Duration::from_secs(30),
        overlap: Duration::from_secs(300),
    };
    let demands = Demands { audience: "quoth".to_owned(), lifetime_max: None };
    let verifier = Verifier::load(demands, &[], Some(jwks)).map_err(|error| anyhow!(error))?;
    verifier.start();
    Ok(verifier)
}

/// Seconds from the first sign-in to the last one, with these tokens.
fn storm<V: Verify>(
    tokens: &[String],
    verify: impl FnOnce() -> anyhow::Result<V> + Send,
) -> anyhow::Result<f64> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, starts) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            runtime()?.block_on(async {
                let server = ServedEngine::start(Store::memory(), verify()?)?;
                started.send((server.address(), server.ca_file().to_owned()))?;
                let _dropped_or_told = stopped.await;
                server.stop().await
            })
        });
        let (address, ca_file) = starts.recv().context("the server has not started")?;
        let took_s = runtime()?.block_on(async {
            let mut tls = quoth_certs::client_config(&ca_file, &[ALPN])?;
            tls.resumption = Resumption::disabled();
            let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
            let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
            // So that the keys are there, as they are on a server that runs.
            let first = Peer::connect_with(&endpoint, config.clone(), address, &tokens[0]).await?;
            let turns = Arc::new(Semaphore::new(AT_ONCE));
            let began = Instant::now();
            let mut coming = Vec::with_capacity(tokens.len());
            for token in tokens {
                let turn = Arc::clone(&turns).acquire_owned().await?;
                let (endpoint, config, token) = (endpoint.clone(), config.clone(), token.clone());
                coming.push(tokio::spawn(async move {
                    let peer = Peer::connect_with(&endpoint, config, address, &token).await;
                    drop(turn);
                    peer
                }));
            }
            let mut peers = Vec::with_capacity(tokens.len());
            for peer in coming {
                peers.push(peer.await??);
            }
            let took_s = began.elapsed().as_secs_f64();
            drop((first, peers));
            endpoint.wait_idle().await;
            anyhow::Ok(took_s)
        })?;
        drop(stop);
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        Ok(took_s)
    })
}
