//! The SDK's requests over a crash of the server, and what clients are told.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quoth_client::{
    Client, ClientEvent, Code, ConversationKind, EventKind, EventsError, GoneCause, NewConversation,
    PresenceWatch, Reason, RequestError, Role, SendError, Seq, Start, State, Status, Transport,
};
use quoth_tests::process::ServerProcess;
use tokio::time::timeout;

/// Bound of a hang.
const PATIENCE: Duration = Duration::from_secs(60);

const TRANSPORTS: [Transport; 2] = [Transport::Quic, Transport::WebSocket];

async fn connect(
    server: &ServerProcess,
    transport: Transport,
    user: &str,
    device: &str,
) -> anyhow::Result<Client> {
    let builder = Client::builder(server.address().to_string()).ca_file(server.ca_file());
    let builder = builder.token(server.token(user)?).transport(transport).device(device);
    Ok(builder.connect().await?)
}

/// Runs a test with a server of its own for each transport.
fn with_each_transport<F: Future<Output = anyhow::Result<()>>>(
    test: impl Fn(ServerProcess, std::path::PathBuf, Transport) -> F,
) -> anyhow::Result<()> {
    for transport in TRANSPORTS {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        let server = ServerProcess::start(&data_dir)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime
            .block_on(test(server, data_dir, transport))
            .map_err(|error| error.context(format!("{transport:?}")))?;
    }
    Ok(())
}

fn again(server: ServerProcess, data_dir: &Path) -> anyhow::Result<ServerProcess> {
    let address = server.address().to_string();
    server.kill()?;
    ServerProcess::start_with(data_dir, &address, &[])
}

async fn knows(watch: &mut PresenceWatch, user: &str, status: Status) -> anyhow::Result<()> {
    let is_so = |watch: &PresenceWatch| {
        let known = watch.members().into_iter().find(|(id, _)| id.as_str() == user);
        known.map_or(Status::Offline, |(_, presence)| presence.status) == status
    };
    let comes = async {
        while !is_so(watch) {
            watch.changed().await?;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, comes).await.with_context(|| format!("{user} does not become {status}"))?
}

#[test]
fn requests_and_presence_go_on_over_a_crash() -> anyhow::Result<()> {
    with_each_transport(|server, data_dir, transport| async move {
        let alice = connect(&server, transport, "alice", "laptop").await?;
        let bob = connect(&server, transport, "bob", "phone").await?;
        let team = alice.create(NewConversation::group("Team").members(["bob"])).await?.conversation;
        ensure!(alice.describe(&team).await?.members == 2);
        let mut watch = alice.watch_presence(&team).await?;
        knows(&mut watch, "bob", Status::Online).await?;
        bob.set_away(true);
        knows(&mut watch, "bob", Status::Away).await?;

        let asked = tokio::spawn({
            let (alice, team) = (alice.clone(), team.clone());
            async move {
                // Some of them meet the crash, on the way there or back.
                for i in 0..200_u32 {
                    alice.rename(&team, format!("Team {i}")).await?;
                }
                Ok::<_, RequestError>(())
            }
        });
        let server = again(server, &data_dir)?;
        timeout(PATIENCE, asked).await???;
        ensure!(alice.describe(&team).await?.title == "Team 199");
        // Who was away before the crash is away behind it.
        knows(&mut watch, "bob", Status::Away).await?;
        bob.close().await;
        knows(&mut watch, "bob", Status::Offline).await?;
        alice.close().await;
        server.terminate()?;
        Ok(())
    })
}

async fn next(events: &mut quoth_client::Events) -> anyhow::Result<Option<Result<ClientEvent, EventsError>>> {
    Ok(timeout(PATIENCE, events.next()).await?)
}

#[test]
fn a_reader_sees_what_happens_to_members_and_who_is_removed_reads_no_further() -> anyhow::Result<()> {
    with_each_transport(|server, _, transport| async move {
        let alice = connect(&server, transport, "alice", "laptop").await?;
        let bob = connect(&server, transport, "bob", "phone").await?;
        alice.create(NewConversation::group("Team").name("team")).await?;
        let invitation = alice.invite("team", Role::Member, 0, 1).await?;
        ensure!(matches!(
            bob.join("team", Some("none")).await,
            Err(RequestError::Refused { code: Code::FORBIDDEN, .. })
        ));
        bob.join("team", Some(&invitation)).await?;
        ensure!(bob.join("team", Some(&invitation)).await?.seq.is_none(), "already a member");
        let mut events = bob.conversation("team")?.events(Start::After(Seq(0))).await?;
        alice.mute("team", Some("bob"), u64::MAX).await?;
        let refused = bob.conversation("team")?.send("hi").await.unwrap_err();
        ensure!(matches!(refused, SendError::Refused { code: Code::MUTED, retry_after: Some(_), .. }));
        alice.remove("team", "bob").await?;
        let mut kinds = Vec::new();
        let end = loop {
            match next(&mut events).await? {
                Some(Ok(ClientEvent::Event(event))) => kinds.push(event.kind),
                Some(Ok(ClientEvent::CaughtUp { .. })) => {}
                Some(Err(error)) => break error,
                other => bail!("{other:?}"),
            }
        };
        ensure!(matches!(end, EventsError::Refused { code: Code::FORBIDDEN, .. }), "{end:?}");
        let [created, owner, invited, joined, muted, gone] = &kinds[..] else { bail!("{kinds:?}") };
        ensure!(matches!(created, EventKind::Created { kind: ConversationKind::Group, .. }));
        ensure!(matches!(owner, EventKind::MemberSet { role: Role::Owner, previous: None, .. }));
        let EventKind::InvitationMade { hash, .. } = invited else { bail!("{invited:?}") };
        ensure!(matches!(joined, EventKind::MemberSet { invitation, .. } if *invitation == Some(*hash)));
        ensure!(matches!(muted, EventKind::Muted { user: Some(_), until_ms: u64::MAX }));
        ensure!(matches!(gone, EventKind::MemberGone { cause: GoneCause::Removed, .. }));
        for client in [alice, bob] {
            client.close().await;
        }
        server.terminate()?;
        Ok(())
    })
}

#[test]
fn a_device_that_is_signed_out_learns_why_and_stays_out() -> anyhow::Result<()> {
    with_each_transport(|server, _, transport| async move {
        let laptop = connect(&server, transport, "alice", "laptop").await?;
        let phone = connect(&server, transport, "alice", "phone").await?;
        let devices = |sessions: Vec<quoth_client::SessionInfo>| {
            sessions.into_iter().map(|s| (s.device.to_string(), s.status)).collect::<Vec<_>>()
        };
        let both = devices(laptop.sessions().await?);
        ensure!(
            both.len() == 2 && both.iter().all(|(_, status)| *status == Status::Online),
            "both: {both:?}"
        );
        laptop.end_session("phone").await?;
        let mut states = phone.states();
        let closed =
            timeout(PATIENCE, states.wait_for(|s| matches!(s, State::Closed { .. }))).await??.clone();
        let State::Closed { reason: Reason::Code { code: Code::KICKED, text } } = closed else {
            bail!("{closed:?}")
        };
        ensure!(text.contains("laptop"), "{text}");
        // Its connection may still be on its way out.
        let listed = async {
            while !devices(laptop.sessions().await?).contains(&("phone".to_owned(), Status::Offline)) {}
            anyhow::Ok(())
        };
        timeout(PATIENCE, listed).await.context("the phone is not listed any more")??;
        // The later connection of a device takes the place of the one before.
        let again = connect(&server, transport, "alice", "laptop").await?;
        let mut states = laptop.states();
        let closed =
            timeout(PATIENCE, states.wait_for(|s| matches!(s, State::Closed { .. }))).await??.clone();
        let is_replaced =
            matches!(closed, State::Closed { reason: Reason::Code { code: Code::REPLACED, .. } });
        ensure!(is_replaced, "{closed:?}");
        again.close().await;
        server.terminate()?;
        Ok(())
    })
}

#[test]
fn lists_name_whom_a_direct_conversation_is_with() -> anyhow::Result<()> {
    with_each_transport(|server, _, transport| async move {
        let alice = connect(&server, transport, "alice", "laptop").await?;
        let bob = connect(&server, transport, "bob", "phone").await?;
        let direct = alice.create(NewConversation::direct("bob")).await?;
        let same = bob.create(NewConversation::direct("alice")).await?;
        ensure!(same.conversation == direct.conversation && same.seq.is_none());
        ensure!(alice.describe(&direct.conversation).await?.title == "bob");
        alice.create(NewConversation::notes()).await?;
        let list = bob.conversations(None, 10).await?;
        let titles: Vec<_> = list.items.iter().map(|info| info.title.as_str()).collect();
        ensure!(titles == ["alice"] && !list.more, "{list:?}");
        let first = alice.conversations(None, 1).await?;
        ensure!(first.more && first.items.len() == 1, "{first:?}");
        let second = alice.conversations(Some(&first.items[0].conversation), 1).await?;
        ensure!(!second.more && second.items[0].kind == Some(ConversationKind::Notes), "{second:?}");
        for client in [alice, bob] {
            client.close().await;
        }
        server.terminate()?;
        Ok(())
    })
}
