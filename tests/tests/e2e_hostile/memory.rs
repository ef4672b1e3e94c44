//! What clients cost that have not shown who they are.

use std::time::Duration;

use anyhow::ensure;
use quinn::Endpoint;
use quoth_protocol::ALPN;
use quoth_protocol::limits::{
    FIRST_FRAME_BYTES_MAX, FRAME_BYTES_MAX, HELLO_TIMEOUT_MS, STREAMS_BEFORE_SIGN_IN_MAX,
};
use quoth_tests::websocket::{Handshake, Socket};
use quoth_tests::wire::client_config;

use crate::{Target, run};

/// Connections over each transport.
const CONNECTIONS: u64 = 150;

/// What each may cost, in bytes: what it may send, what QUIC and TLS keep, and room for the allocator.
const BYTES_MAX: u64 = 160 * 1024;

#[test]
fn clients_that_do_not_sign_in_cost_little() -> anyhow::Result<()> {
    let target = Target::start(&["--set", "limits.handshakes_per_address_max=1024"])?;
    run(async {
        let address = target.server.address();
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        let config = client_config(&target.server.ca_file(), ALPN)?;
        let began = tokio::time::Instant::now();
        let (mut connections, mut streams) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let quic = endpoint.connect_with(config.clone(), address, "localhost")?.await?;
            for n in 0..STREAMS_BEFORE_SIGN_IN_MAX {
                let (mut send, recv) = quic.open_bi().await?;
                // A frame that is never whole, and on streams that are not read as much as there is credit
                // for.
                let mut bytes = vec![0xFF, 0x3F];
                bytes.resize(if n == 0 { FIRST_FRAME_BYTES_MAX } else { FRAME_BYTES_MAX }, 0);
                let no_credit = tokio::time::timeout(Duration::from_millis(3), send.write_all(&bytes)).await;
                ensure!(n == 0 || no_credit.is_err(), "{} bytes were taken", bytes.len());
                streams.push((send, recv));
            }
            connections.push(quic);
        }
        let of_quic = target.grown_bytes()?;
        let mut sockets = Vec::new();
        for _ in 0..CONNECTIONS {
            let connected = Socket::connect(address, Handshake::PLAIN).await?;
            sockets.push(connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?);
        }
        let of_websockets = target.grown_bytes()?.saturating_sub(of_quic);
        let of_each = [of_quic, of_websockets].map(|bytes| bytes / CONNECTIONS);
        println!("{of_each:?} bytes for each of {CONNECTIONS} connections over QUIC and over WebSocket");
        ensure!(of_each.iter().all(|bytes| *bytes <= BYTES_MAX), "{of_each:?} bytes for each");
        // They are closed for want of a Hello, and what they cost is of use again.
        let closes = connections.iter().map(quinn::Connection::closed);
        let all = async {
            for closed in closes {
                closed.await;
            }
        };
        let patience = Duration::from_millis(6 * HELLO_TIMEOUT_MS);
        tokio::time::timeout(patience, all).await?;
        println!("all of them were closed after {:.1?}", began.elapsed());
        Ok(())
    })
}
