//! What a client hears when the server has a fault, and that a busy client does not outlive its token.

#[path = "e2e_faults/faulty.rs"]
mod faulty;

use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use bytes::Bytes;
use faulty::{FAULTY_CONVERSATION, FAULTY_TOKEN};
use quinn::{Connection, ConnectionError, Endpoint, ReadError};
use quoth_protocol::codec::encode;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, Start};
use quoth_protocol::{ALPN, Code, ConversationName};
use quoth_tests::served::ServedEngine;
use quoth_tests::wire::{Frames, Peer, client_config, hello};

const LONG_MS: &str = "3600000";

/// Over soon, and not before a machine that is held up has signed a client in.
const SHORT_MS: &str = "4000";

/// Generous: all of it takes a moment unless something never comes.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Runs a test against a server of its own.
fn with_server<F: Future<Output = anyhow::Result<()>>>(
    test: impl FnOnce(Endpoint, Arc<ServedEngine>) -> F,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
        tokio::time::timeout(TIMEOUT, test(endpoint, Arc::new(faulty::start()?))).await?
    })
}

async fn closed(quic: &Connection) -> anyhow::Result<Code> {
    match quic.closed().await {
        ConnectionError::ApplicationClosed(close) => Ok(Code(u64::from(close.error_code).try_into()?)),
        other => Err(other.into()),
    }
}

fn reset(error: &anyhow::Error) -> anyhow::Result<Code> {
    match error.downcast_ref::<ReadError>() {
        Some(ReadError::Reset(code)) => Ok(Code(code.into_inner().try_into()?)),
        _ => bail!("no reset: {error:#}"),
    }
}

#[test]
fn a_fault_in_a_stream_resets_it_and_nothing_else() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let peer = Peer::connect(&endpoint, server.address(), server.ca_file(), LONG_MS).await?;
        let Err(error) = peer.open(FAULTY_CONVERSATION, 1, Some(Start::Live)).await else { bail!("opened") };
        assert_eq!(reset(&error)?, Code::INTERNAL);
        let mut fetch = Frames::open(&peer.quic).await?;
        let (conversation, range) = (ConversationName::new(FAULTY_CONVERSATION)?, FetchRange::Latest);
        fetch.write(&ClientFrame::Fetch(Fetch { conversation, range, limit: 1 })).await?;
        let Err(error) = fetch.next().await else { bail!("a page") };
        assert_eq!(reset(&error)?, Code::INTERNAL);
        peer.open("room", 1, Some(Start::Live)).await?;
        Ok(())
    })
}

#[test]
fn a_fault_in_a_connection_closes_it_so_that_its_client_comes_back() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let healthy = Peer::connect(&endpoint, server.address(), server.ca_file(), LONG_MS).await?;
        let config = client_config(server.ca_file(), ALPN)?;
        let quic = endpoint.connect_with(config, server.address(), "localhost")?.await?;
        let mut control = Frames::open(&quic).await?;
        control.write(&hello(FAULTY_TOKEN)?).await?;
        // Whether the client hears first that the stream has ended or that the connection has is the
        // network's.
        assert_eq!(closed(&quic).await?, Code::INTERNAL);
        healthy.open("room", 1, Some(Start::Live)).await?;
        Ok(())
    })
}

#[test]
fn a_client_that_always_has_a_frame_ready_does_not_outlive_its_token() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let mut peer = Peer::connect(&endpoint, server.address(), server.ca_file(), SHORT_MS).await?;
        let typing = encode(&ClientFrame::Typing { conversation: ConversationName::new("r")? });
        let flood = Bytes::from(typing.repeat(2_000));
        while peer.control.send.write_chunk(flood.clone()).await.is_ok() {}
        assert_eq!(closed(&peer.quic).await?, Code::TOKEN_EXPIRED);
        Ok(())
    })
}

#[test]
fn the_time_for_a_hello_begins_once() -> anyhow::Result<()> {
    with_server(|endpoint, server| async move {
        let config = client_config(server.ca_file(), ALPN)?;
        let connect = || endpoint.connect_with(config.clone(), server.address(), "localhost");
        let (quic, silent) = (connect()?.await?, connect()?.await?);
        // The control stream comes late, and so much later would the Hello have to.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let begins = async {
            let mut control = Frames::open(&quic).await?;
            control.send.write_all(&[0x80]).await?;
            anyhow::Ok(control)
        };
        // The time is over by now where nobody had the processor for so long.
        let _begun_or_closed = begins.await;
        // As long as another one has that never says anything, whenever the server's timer rings.
        assert_eq!(closed(&silent).await?, Code::HELLO_TIMEOUT);
        let code = tokio::time::timeout(Duration::from_secs(2), closed(&quic)).await;
        assert_eq!(code??, Code::HELLO_TIMEOUT);
        Ok(())
    })
}
