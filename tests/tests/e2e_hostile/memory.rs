//! What clients cost that have not shown who they are.

use anyhow::ensure;
use quinn::Endpoint;
use quoth_protocol::ALPN;
use quoth_protocol::limits::{HELLO_TIMEOUT_MS, STREAMS_BEFORE_SIGN_IN_MAX};
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
        let (mut connections, mut sent) = (Vec::new(), 0_u64);
        for _ in 0..CONNECTIONS {
            let quic = endpoint.connect_with(config.clone(), address, "localhost")?.await?;
            for _ in 0..STREAMS_BEFORE_SIGN_IN_MAX {
                let (mut send, recv) = quic.open_bi().await?;
                // The length of a frame that is never whole, and as much of it as there is credit for.
                let mut frame = vec![0xFF, 0x3F];
                frame.resize(64 * 1024, 0);
                let writes = send.write_all(&frame[..8 * 1024]);
                let _no_credit = tokio::time::timeout(std::time::Duration::from_millis(2), writes).await;
                sent += 8 * 1024;
                connections.push((quic.clone(), send, recv));
            }
        }
        let mut sockets = Vec::new();
        for _ in 0..CONNECTIONS {
            let connected = Socket::connect(address, Handshake::PLAIN).await?;
            sockets.push(connected.map_err(|refused| anyhow::anyhow!("{refused:?}"))?);
        }
        let grown = target.grown_bytes()?;
        let of_each = grown / (2 * CONNECTIONS);
        println!(
            "{of_each} bytes for each of {} connections, of which half have sent {sent} bytes",
            2 * CONNECTIONS
        );
        ensure!(of_each <= BYTES_MAX, "{of_each} bytes for each");
        // They are closed for want of a Hello, and what they cost is of use again.
        let closes = connections.iter().map(|(quic, ..)| quic.closed());
        let all = async {
            for closed in closes {
                closed.await;
            }
        };
        let patience = std::time::Duration::from_millis(6 * HELLO_TIMEOUT_MS);
        tokio::time::timeout(patience, all).await?;
        println!("all of them were closed after {:.1?}", began.elapsed());
        Ok(())
    })
}
