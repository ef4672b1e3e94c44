//! What is decided holds after a crash.

use quoth_protocol::frame::Start;
use quoth_protocol::membership::{ConversationKind, Permissions, Role};
use quoth_protocol::presence::Status;
use quoth_protocol::reply::{MemberInfo, Reply};
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, Seq};
use quoth_tests::device::Over;
use quoth_tests::process::ServerProcess;

use super::world::{Site, ban, create, create_room, join, leave, mute, name, now_ms, set, user};

/// What members are, but for whether they are there, which is another thing each time.
fn roles(reply: Reply) -> anyhow::Result<Vec<MemberInfo>> {
    let Reply::Members { members, more: false } = reply else { anyhow::bail!("not all members: {reply:?}") };
    let timeless = |info| MemberInfo { status: Status::Offline, last_seen_ms: 0, ..info };
    Ok(members.into_iter().map(timeless).collect())
}

#[tokio::test]
async fn everything_is_there_again_after_kill_9() -> anyhow::Result<()> {
    for carrier in Over::ALL {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        let room = name("room");
        let start = || {
            let server =
                ServerProcess::start_with(&data_dir, "127.0.0.1:0", &["--set", "auth.names_freely=true"])?;
            let site = Site::of_process(&server, &data_dir);
            anyhow::Ok((server, site))
        };
        let (server, site) = start()?;
        let mut alice = site.member(carrier, "alice").await?;
        let mut leaver = site.member(carrier, "leaver").await?;
        alice.done(create_room(&["bob", "leaver", "outlaw", "quiet"])).await?;
        alice.done(set("bob", Role::Admin)).await?;
        let permissions = Some(Permissions::READ.union(Permissions::MODERATE));
        alice
            .done(Request::SetMember {
                conversation: room.clone(),
                user: user("guard"),
                role: Role::Reader,
                permissions,
            })
            .await?;
        alice.done(mute(Some("quiet"), now_ms() + 1_000_000)).await?;
        alice.done(ban("outlaw", u64::MAX)).await?;
        alice.done(Request::SlowMode { conversation: room.clone(), interval_ms: 600_000 }).await?;
        let invite =
            Request::Invite { conversation: room.clone(), role: Role::Reader, expires_ms: 0, uses_max: 1 };
        let Reply::Invitation { invitation } = alice.request(invite).await? else { anyhow::bail!("none") };
        let (_, left) = leaver.done(leave()).await?;
        alice.done(Request::Block { user: user("quiet"), blocked: true }).await?;
        alice.done(create(None, ConversationKind::Direct, &["bob"])).await?;
        let describe = || Request::Describe { conversation: room.clone() };
        let members = || Request::Members { conversation: room.clone(), after: None, limit: 99 };
        let before = (alice.request(describe()).await?, roles(alice.request(members()).await?)?);
        server.kill()?;

        let (server, site) = start()?;
        let mut alice = site.member(carrier, "alice").await?;
        assert_eq!((alice.request(describe()).await?, roles(alice.request(members()).await?)?), before);
        let Reply::Users { users } = alice.request(Request::Blocked).await? else {
            anyhow::bail!("no users")
        };
        assert_eq!(users, [user("quiet")]);
        let Reply::Conversations { conversations, .. } =
            alice.request(Request::Conversations { after: None, limit: 9 }).await?
        else {
            anyhow::bail!("no conversations")
        };
        let direct = ConversationName::direct(&user("alice"), &user("bob"));
        let names: Vec<_> = conversations.into_iter().map(|info| info.conversation).collect();
        assert_eq!(names, [direct, room.clone()]);
        let mut quiet = site.member(carrier, "quiet").await?;
        let mut stream = quiet.enter(&room, None).await?;
        assert_eq!(quiet.publish(&mut stream, 1, "x").await?.unwrap_err().0, Code::MUTED);
        assert_eq!(quiet.refused(create(None, ConversationKind::Direct, &["alice"])).await?, Code::FORBIDDEN);
        let mut outlaw = site.member(carrier, "outlaw").await?;
        assert_eq!(outlaw.fetch(&room).await?.unwrap_err(), Code::FORBIDDEN);
        assert_eq!(outlaw.refused(join(Some(&invitation))).await?, Code::FORBIDDEN);
        let mut leaver = site.member(carrier, "leaver").await?;
        assert_eq!(leaver.fetch(&room).await?.unwrap().1, left);
        leaver.done(join(Some(&invitation))).await?;
        let mut stranger = site.member(carrier, "stranger").await?;
        assert_eq!(stranger.refused(join(Some(&invitation))).await?, Code::FORBIDDEN, "it is used up");
        let mut bob = site.member(carrier, "bob").await?;
        bob.done(set("writer", Role::Member)).await?;
        let mut writer = site.member(carrier, "writer").await?;
        let mut stream = writer.enter(&room, Some(Start::Live)).await?;
        writer.publish(&mut stream, 1, "x").await?.unwrap();
        assert_eq!(writer.publish(&mut stream, 2, "x").await?.unwrap_err().0, Code::SLOW_MODE);
        // Seqs go on where they were.
        let Reply::Conversation(info) = alice.request(describe()).await? else {
            anyhow::bail!("not described")
        };
        let Reply::Conversation(of_before) = before.0 else { anyhow::bail!("not described") };
        assert_eq!(info.version, Seq(of_before.version.0 + 2));
        server.kill()?;
    }
    Ok(())
}
