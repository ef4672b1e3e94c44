//! A right that is taken away ends what it allowed, under way as well.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use quinn::{Endpoint, ReadError};
use quoth_core::authorize::Grant;
use quoth_core::session::Identity;
use quoth_protocol::frame::{ClientFrame, Fetch, FetchRange, ServerFrame, Start};
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{ALPN, Code, ConversationName};
use quoth_server::session::{Verification, Verify};
use quoth_store::testing::{commit, record};
use quoth_store::{Content, Record, Store};
use quoth_tests::device::Over;
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::served::{ServedEngine, everything};
use quoth_tests::site::Site;
use quoth_tests::wire::{Frames, Peer, client_config_with};

const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that the client takes of a stream before it reads on: far less than a page has.
const CREDIT_BYTES: u32 = 4 * 1024;

const EVENTS: u64 = 300;

/// Tokens of one user, who may do everything or nothing.
struct AllOrNothing;

impl Verify for AllOrNothing {
    fn verify(&self, token: &str, _: u64) -> Verification {
        let identity = everything("alice", u64::MAX).expect("a user's name");
        if token == "all" {
            return Ok(identity).into();
        }
        let user = identity.grant.user.clone();
        let grant = Grant { user, read: None, write: None, publish_as: Vec::new(), names_freely: false };
        Ok(Identity { grant: Arc::new(grant), ..identity }).into()
    }
}

async fn reset(frames: &mut Frames) -> anyhow::Result<Code> {
    loop {
        match tokio::time::timeout(PATIENCE, frames.next()).await.context("the stream stands")? {
            Ok(Some(ServerFrame::Event(_))) => {}
            Ok(other) => bail!("{other:?}"),
            Err(error) => match error.downcast_ref() {
                Some(ReadError::Reset(code)) => return Ok(Code(u32::try_from(code.into_inner())?)),
                _ => return Err(error),
            },
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_with_fewer_rights_ends_readers_and_pages() -> anyhow::Result<()> {
    let store = Store::memory();
    let body = vec![b'x'; 1_000];
    let records: Vec<Record> = (1..=EVENTS)
        .map(|n| Record { content: Content::Message(body.clone().into()), ..record("room", n, n) })
        .collect();
    store.view.apply(commit(&*store.log, &records)?, &records)?;
    let server = ServedEngine::start(store, AllOrNothing)?;
    let endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    let config = client_config_with(server.ca_file(), ALPN, CREDIT_BYTES)?;
    let mut peer = Peer::connect_with(&endpoint, config, server.address(), "all").await?;
    let (mut reader, _) = peer.open("room", 1, Some(Start::Live)).await?;
    let mut page = Frames::open(&peer.quic).await?;
    let (conversation, range) = (ConversationName::new("room")?, FetchRange::Latest);
    page.write(&ClientFrame::Fetch(Fetch { conversation, range, limit: u32::try_from(EVENTS)? })).await?;
    let Some(ServerFrame::Event(_)) = page.next().await? else { bail!("no page") };
    peer.control.write(&ClientFrame::Refresh { token: "nothing".to_owned() }).await?;
    assert_eq!(reset(&mut reader).await?, Code::FORBIDDEN);
    assert_eq!(reset(&mut page).await?, Code::FORBIDDEN);
    peer.close(&endpoint).await;
    server.stop().await
}

/// A token that says nothing makes conversations, and takes no name that others' tokens are for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_ones_own_needs_a_token_that_has_it() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.names_freely = false)?;
    let site = Site::of(&server);
    let create = |conversation: Option<&str>, kind| Request::Create {
        conversation: conversation.map(|name| ConversationName::new(name).expect("a valid name")),
        kind,
        title: String::new(),
        members: Vec::new(),
        open: false,
    };
    for over in Over::ALL {
        let mut eve = site.member(over, "eve").await?;
        let named = |name: &str| create(Some(name), ConversationKind::Group);
        match eve.request(named("announcements")).await? {
            Reply::Refused { code: Code::FORBIDDEN, reason, .. } => {
                for way in ["--write", "auth.names_freely", "without a name"] {
                    assert!(reason.contains(way), "who is refused is told what to do: {reason}");
                }
            }
            other => anyhow::bail!("{other:?}"),
        }
        eve.done(create(None, ConversationKind::Group)).await?;
        eve.done(create(None, ConversationKind::Notes)).await?;
        let mut editor = site.member_with(over, "editor", &["announce*"]).await?;
        editor.done(named("announcements")).await?;
        assert_eq!(eve.refused(named("announcements")).await?, Code::FORBIDDEN);
        assert_eq!(editor.refused(named("other")).await?, Code::FORBIDDEN);
        let mut other = site.member_with(over, "other", &["*"]).await?;
        assert_eq!(other.refused(named("announcements")).await?, Code::ALREADY_EXISTS);
    }
    server.stop()
}
