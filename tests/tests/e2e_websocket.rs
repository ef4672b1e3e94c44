//! The WebSocket bridge: what a client over TCP gets is what one over QUIC gets, and what breaks it breaks
//! nothing else.

#[path = "e2e_websocket/broken.rs"]
mod broken;
#[path = "e2e_websocket/chat.rs"]
mod chat;
#[path = "e2e_websocket/ends.rs"]
mod ends;
#[path = "e2e_websocket/http.rs"]
mod http;
#[path = "e2e_websocket/lanes.rs"]
mod lanes;

/// Runs a test on a runtime of its own.
fn run(test: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(test)
}
