//! Where tokens come from, and when.

use std::future::{Ready, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use quoth_client::protocol::frame::ServerFrame;
use quoth_client::{Code, Transport};
use tokio::time::timeout;

use super::support::FakeServer;

/// Far less than a client's pause between two renewals, and far more than a renewal takes.
const A_WHILE: Duration = Duration::from_secs(1);

/// Gives another token each time, and how often it was asked.
fn counting_provider() -> (Arc<AtomicUsize>, impl Fn() -> Ready<Result<String, String>>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let provider = move || {
        let nth = counter.fetch_add(1, Ordering::Relaxed);
        ready(Ok(format!("user-{nth}")))
    };
    (asked, provider)
}

over_both! {
    a_token_provider_is_asked_for_each_sign_in_and_before_a_token_ends
    a_token_that_is_about_to_end_when_it_comes_is_not_renewed_at_once
    the_token_in_force_is_not_sent_as_a_fresh_one
}

async fn a_token_provider_is_asked_for_each_sign_in_and_before_a_token_ends(over: Transport) {
    let server = FakeServer::over(over);
    let (asked, provider) = counting_provider();
    server.world.lock().faults.reject_hellos = vec![Code::TOKEN_EXPIRED];
    let client = server.builder().token_provider(provider).connect().await.unwrap();
    assert_eq!(client.welcome().unwrap().user.as_str(), "user-1");
    server.world.tell_all(&ServerFrame::TokenExpiring { in_ms: 60_000 });
    server.world.wait_until(|w| w.refreshes == ["user-2"]).await;
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    client.close().await;
}

async fn a_token_that_is_about_to_end_when_it_comes_is_not_renewed_at_once(over: Transport) {
    let server = FakeServer::over(over);
    let (asked, provider) = counting_provider();
    let client = server.builder().token_provider(provider).connect().await.unwrap();
    server.world.tell_all(&ServerFrame::TokenExpiring { in_ms: 100 });
    server.world.wait_until(|w| w.refreshes == ["user-1"]).await;
    server.world.tell_all(&ServerFrame::TokenExpiring { in_ms: 100 });
    let second = timeout(A_WHILE, server.world.wait_until(|w| w.refreshes.len() > 1)).await;
    assert!(second.is_err(), "{:?}", server.world.lock().refreshes);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    client.close().await;
}

async fn the_token_in_force_is_not_sent_as_a_fresh_one(over: Transport) {
    let server = FakeServer::over(over);
    let client = server.builder().token_provider(async || Ok::<_, String>("same".to_owned())).connect().await;
    let client = client.unwrap();
    server.world.tell_all(&ServerFrame::TokenExpiring { in_ms: 60_000 });
    let refreshed = timeout(A_WHILE, server.world.wait_until(|w| !w.refreshes.is_empty())).await;
    assert!(refreshed.is_err(), "{:?}", server.world.lock().refreshes);
    client.close().await;
}
