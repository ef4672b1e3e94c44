//! What it costs a storm of sign-ins that tokens are verified.
//!
//! The servers are in this process, since one that takes any token must not exist as a program. All else is
//! alike: whole handshakes over QUIC, a user for each session, and all sessions stay until the last one is
//! in. What is compared is the processor time of the server's thread, which does all of it, because the
//! clients' work is as much again and the machine may have other work; the rates stand beside it.

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
use crate::threads::{cpu_s, this_thread};
use crate::wire::Peer;

/// Sign-ins under way at once: below what the server lets one address have (64), so that none has to wait and
/// try again.
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
        let (verified, not) = if round.is_multiple_of(2) {
            let verified = with()?;
            (verified, without()?)
        } else {
            let not = without()?;
            (with()?, not)
        };
        let tell = |storm: &Storm| {
            let each = plan.sign_ins as f64;
            format!("{:.0} µs each at {:.0}/s", storm.cpu_s / each * 1e6, each / storm.wall_s)
        };
        let note = format!("verified {}; not {}", tell(&verified), tell(&not));
        report.round(verified.cpu_s / not.cpu_s, note);
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
    let demands = Demands { audience: "quoth".to_owned(), lifetime_max: None, names_freely: false };
    let verifier = Verifier::load(demands, &[], Some(jwks)).map_err(|error| anyhow!(error))?;
    verifier.start();
    Ok(verifier)
}

/// What a storm took, from the first sign-in to the last one.
struct Storm {
    /// Of the clock, in seconds.
    wall_s: f64,
    /// Of the server's thread, in seconds.
    cpu_s: f64,
}

/// Has users sign in with these tokens.
fn storm<V: Verify>(
    tokens: &[String],
    verify: impl FnOnce() -> anyhow::Result<V> + Send,
) -> anyhow::Result<Storm> {
    let (stop, stopped) = oneshot::channel::<()>();
    let (started, starts) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            runtime()?.block_on(async {
                let server = ServedEngine::start(Store::memory(), verify()?)?;
                started.send((server.address(), server.ca_file().to_owned(), this_thread()?))?;
                let _dropped_or_told = stopped.await;
                server.stop().await
            })
        });
        let (address, ca_file, thread) = starts.recv().context("the server has not started")?;
        let took = runtime()?.block_on(async {
            let mut tls = quoth_certs::client_config(&ca_file, &[ALPN])?;
            tls.resumption = Resumption::disabled();
            let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
            let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
            // So that the keys are there, as they are on a server that runs.
            let first = Peer::connect_with(&endpoint, config.clone(), address, &tokens[0]).await?;
            let turns = Arc::new(Semaphore::new(AT_ONCE));
            let (began, cpu_before_s) = (Instant::now(), cpu_s(thread)?);
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
            let took = Storm { wall_s: began.elapsed().as_secs_f64(), cpu_s: cpu_s(thread)? - cpu_before_s };
            drop((first, peers));
            endpoint.wait_idle().await;
            anyhow::Ok(took)
        })?;
        drop(stop);
        server.join().map_err(|_| anyhow!("the server panicked"))??;
        Ok(took)
    })
}
