//! Who is there, away or gone, and who may know it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use quoth_protocol::frame::{ClientFrame, ServerFrame, Start};
use quoth_protocol::membership::ConversationKind;
use quoth_protocol::presence::Status;
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, UserId};
use quoth_server::config::LoginPolicy;
use quoth_tests::device::{Device, Over};
use quoth_tests::embedded::EmbeddedServer;

use super::{LEAVE_MS, PATIENCE, sign_in, with_policy};

/// Users of a test, on one server.
struct Users<'a> {
    server: &'a EmbeddedServer,
    over: Over,
}

impl Users<'_> {
    async fn come(&self, user: &str, device: &str, generation: u64) -> anyhow::Result<Device> {
        let token = self.server.token_with(&self.id(user), |_| {})?;
        sign_in(self.server, self.over, &token, device, generation).await
    }

    fn id(&self, user: &str) -> String {
        format!("{user} {:?}", self.over)
    }

    fn user(&self, user: &str) -> anyhow::Result<UserId> {
        Ok(UserId::new(self.id(user))?)
    }

    /// A group of the device's user and these.
    async fn group(&self, owner: &mut Device, members: &[&str]) -> anyhow::Result<ConversationName> {
        let members = members.iter().map(|member| self.user(member)).collect::<Result<_, _>>()?;
        let request = Request::Create {
            conversation: None,
            kind: ConversationKind::Group,
            title: "group".to_owned(),
            members,
            open: false,
        };
        match owner.request(request).await? {
            Reply::Done { conversation, .. } => Ok(conversation),
            other => bail!("no group: {other:?}"),
        }
    }
}

async fn watch(device: &mut Device, conversation: &ConversationName) -> anyhow::Result<Reply> {
    device.request(Request::WatchPresence { conversation: conversation.clone(), watch: true }).await
}

/// The next presence.
async fn seen(device: &mut Device) -> anyhow::Result<(String, Status, u64)> {
    loop {
        if let ServerFrame::Presence { user, status, last_seen_ms, .. } = device.told().await? {
            let name = user.to_string();
            let name = name.split_whitespace().next().unwrap_or_default().to_owned();
            return Ok((name, status, last_seen_ms));
        }
    }
}

async fn statuses(device: &mut Device, of: &ConversationName) -> anyhow::Result<Vec<(String, Status, u64)>> {
    let request = Request::Members { conversation: of.clone(), after: None, limit: 10 };
    let members = match device.request(request).await? {
        Reply::Members { members, .. } => members,
        other => bail!("no members: {other:?}"),
    };
    let name = |user: &UserId| user.to_string().split_whitespace().next().unwrap_or_default().to_owned();
    Ok(members.iter().map(|info| (name(&info.user), info.status, info.last_seen_ms)).collect())
}

#[test]
fn a_watcher_hears_who_comes_is_away_and_goes_and_not_of_a_reconnect() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        for over in Over::ALL {
            let users = Users { server: &server, over };
            let mut alice = users.come("alice", "a", 1).await?;
            let group = users.group(&mut alice, &["bob", "carol"]).await?;
            assert!(matches!(watch(&mut alice, &group).await?, Reply::Done { .. }));
            let mut phone = users.come("bob", "phone", 1).await?;
            assert_eq!(seen(&mut alice).await?.1, Status::Online);
            let laptop = users.come("bob", "laptop", 1).await?;
            phone.say(&ClientFrame::Status { away: true }).await?;
            laptop.close().await?;
            let (who, status, _) = seen(&mut alice).await?;
            assert_eq!(
                (who.as_str(), status),
                ("bob", Status::Away),
                "the laptop has gone, the phone is away"
            );
            phone.say(&ClientFrame::Status { away: false }).await?;
            assert_eq!(seen(&mut alice).await?.1, Status::Online);
            // A reconnect within the time that leaving takes is nothing that is told: the next thing is
            // carol. On a busy machine it may take longer.
            let lost_at = Instant::now();
            phone.lose().await?;
            let phone = users.come("bob", "phone", 2).await?;
            let took = lost_at.elapsed();
            let carol = users.come("carol", "c", 1).await?;
            loop {
                let (who, status, _) = seen(&mut alice).await?;
                if who == "carol" {
                    break;
                }
                assert!(took >= Duration::from_millis(LEAVE_MS), "{who} is {status} behind {took:?}");
            }
            phone.close().await?;
            let (who, status, last_seen_ms) = seen(&mut alice).await?;
            assert_eq!((who.as_str(), status), ("bob", Status::Offline));
            let bob = (who, Status::Offline, last_seen_ms);
            let listed = statuses(&mut alice, &group).await?;
            assert!(listed.contains(&bob), "{listed:?} has no {bob:?}");
            assert!(listed.iter().any(|(who, status, _)| who == "carol" && *status == Status::Online));
            // Nothing further once it is not wanted.
            let unwatch = Request::WatchPresence { conversation: group.clone(), watch: false };
            alice.request(unwatch).await?;
            carol.close().await?;
            wait_for(&mut alice, &group, "carol", Status::Offline).await?;
            assert!(tokio::time::timeout(Duration::from_millis(50), seen(&mut alice)).await.is_err());
        }
        Ok(())
    })
}

/// Asks until a member has a status.
async fn wait_for(
    device: &mut Device,
    of: &ConversationName,
    member: &str,
    expected: Status,
) -> anyhow::Result<u64> {
    let waits = async {
        loop {
            let listed = statuses(device, of).await?;
            if let Some((.., last_seen_ms)) =
                listed.iter().find(|(who, status, _)| who == member && *status == expected)
            {
                return Ok(*last_seen_ms);
            }
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.with_context(|| format!("{member} stays what it is"))?
}

#[test]
fn of_two_tabs_one_may_be_closed() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        let users = Users { server: &server, over: Over::WebSocket };
        let mut alice = users.come("alice", "a", 1).await?;
        let group = users.group(&mut alice, &["bob", "carol"]).await?;
        let (first, _second) = (users.come("bob", "tab 1", 1).await?, users.come("bob", "tab 2", 1).await?);
        let carol = users.come("carol", "c", 1).await?;
        first.close().await?;
        carol.close().await?;
        // Both have gone at once; of the one that is told the other one would have been.
        wait_for(&mut alice, &group, "carol", Status::Offline).await?;
        wait_for(&mut alice, &group, "bob", Status::Online).await?;
        Ok(())
    })
}

#[test]
fn who_may_not_know_is_not_told() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        for over in Over::ALL {
            let users = Users { server: &server, over };
            let mut alice = users.come("alice", "a", 1).await?;
            let group = users.group(&mut alice, &["bob", "carol"]).await?;
            let mut mallory = users.come("mallory", "m", 1).await?;
            let nowhere = ConversationName::group([7; 16]);
            for conversation in [&group, &nowhere] {
                let refused = watch(&mut mallory, conversation).await?;
                assert!(matches!(refused, Reply::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
            }
            let mut bob = users.come("bob", "b", 1).await?;
            watch(&mut alice, &group).await?;
            let (who, status, _) = seen(&mut alice).await?;
            assert_eq!((who.as_str(), status), ("bob", Status::Online));
            let block =
                |blocked| Ok::<_, anyhow::Error>(Request::Block { user: users.user("alice")?, blocked });
            let Reply::Done { time_ms: blocked_ms, .. } = bob.request(block(true)?).await? else {
                bail!("no block")
            };
            // As if bob had gone then, as everybody goes, and not as who was never there.
            let gone = ("bob".to_owned(), Status::Offline, blocked_ms);
            assert_eq!(seen(&mut alice).await?, gone);
            bob.say(&ClientFrame::Status { away: true }).await?;
            bob.say(&ClientFrame::Status { away: false }).await?;
            assert!(statuses(&mut alice, &group).await?.contains(&gone));
            bob.say(&ClientFrame::Status { away: true }).await?;
            bob.request(block(false)?).await?;
            // The block is lifted. What is said within a second of the one before waits, so on a busy machine
            // there may be another status first.
            loop {
                let (who, status, _) = seen(&mut alice).await?;
                assert!(who == "bob" && status != Status::Offline, "{who} is {status}");
                if status == Status::Away {
                    break;
                }
            }
            // Who is removed is told no more.
            let mut carol = users.come("carol", "c", 1).await?;
            assert_eq!(seen(&mut alice).await?.0, "carol");
            watch(&mut carol, &group).await?;
            while seen(&mut carol).await?.0 != "bob" {}
            let remove = Request::Remove { conversation: group.clone(), user: users.user("carol")? };
            assert!(matches!(alice.request(remove).await?, Reply::Done { .. }));
            // Of herself she is told, which says that it has ended; asked again the server says why.
            assert_eq!(seen(&mut carol).await?, ("carol".to_owned(), Status::Offline, 0));
            let refused = watch(&mut carol, &group).await?;
            assert!(matches!(refused, Reply::Refused { code: Code::FORBIDDEN, .. }), "{refused:?}");
            bob.say(&ClientFrame::Status { away: false }).await?;
            assert_eq!(seen(&mut alice).await?.1, Status::Online);
            assert!(tokio::time::timeout(Duration::from_millis(1_100), seen(&mut carol)).await.is_err());
        }
        Ok(())
    })
}

/// The time at which it is told would tell the two apart.
#[test]
fn who_blocks_is_there_for_as_long_as_who_goes() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.presence_leave_ms = 600_000)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let users = Users { server: &server, over: Over::Quic };
        let mut alice = users.come("alice", "a", 1).await?;
        let group = users.group(&mut alice, &["bob", "carol"]).await?;
        let (mut bob, carol) = (users.come("bob", "b", 1).await?, users.come("carol", "c", 1).await?);
        carol.close().await?;
        let block = Request::Block { user: users.user("alice")?, blocked: true };
        let Reply::Done { time_ms: blocked_ms, .. } = bob.request(block).await? else { bail!("no block") };
        let listed = statuses(&mut alice, &group).await?;
        assert!(listed.contains(&("bob".to_owned(), Status::Online, blocked_ms)), "{listed:?}");
        let is_there = |(who, status, _): &(String, Status, u64)| who == "carol" && *status == Status::Online;
        assert!(listed.iter().any(is_there), "{listed:?}");
        watch(&mut alice, &group).await?;
        let mut told = [seen(&mut alice).await?, seen(&mut alice).await?];
        told.sort();
        assert_eq!(told[0], ("bob".to_owned(), Status::Online, blocked_ms));
        assert_eq!((told[1].0.as_str(), told[1].1), ("carol", Status::Online));
        anyhow::Ok(())
    })
}

#[test]
fn a_roster_says_who_is_away() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        let users = Users { server: &server, over: Over::Quic };
        let (mut alice, mut bob) = (users.come("alice", "a", 1).await?, users.come("bob", "b", 1).await?);
        let stream = alice.open("room", 1, Some(Start::Live)).await?;
        let _stream = bob.open("room", 1, Some(Start::Live)).await?;
        for (away, expected) in [(false, Status::Online), (true, Status::Away), (false, Status::Online)] {
            bob.say(&ClientFrame::Status { away }).await?;
            loop {
                let Some(ServerFrame::Roster { present, .. }) = alice.next(stream).await? else { continue };
                let bob = users.user("bob")?;
                if present.iter().any(|present| present.user == bob && present.status == expected) {
                    break;
                }
            }
        }
        Ok(())
    })
}

/// Reads a stream until a roster has exactly these users.
async fn roster_of(device: &mut Device, stream: u32, expected: &[UserId]) -> anyhow::Result<()> {
    loop {
        let frame = device.next(stream).await?.context("the stream has ended")?;
        let ServerFrame::Roster { users, present } = frame else { continue };
        if present.iter().map(|present| &present.user).eq(expected) {
            assert_eq!(users as usize, expected.len(), "nobody is counted who is not named");
            return Ok(());
        }
    }
}

/// Who types next.
async fn types(device: &mut Device) -> anyhow::Result<UserId> {
    loop {
        if let ServerFrame::Typing { user, .. } = device.told().await? {
            return Ok(user);
        }
    }
}

#[test]
fn who_has_blocked_somebody_is_not_there_for_that_one() -> anyhow::Result<()> {
    with_policy(LoginPolicy::All, |server| async move {
        for over in Over::ALL {
            let users = Users { server: &server, over };
            let mut alice = users.come("alice", "a", 1).await?;
            let group = users.group(&mut alice, &["bob", "carol"]).await?;
            let (mut bob, mut carol) = (users.come("bob", "b", 1).await?, users.come("carol", "c", 1).await?);
            let of_alice = alice.open(group.as_str(), 1, Some(Start::Live)).await?;
            bob.open(group.as_str(), 1, Some(Start::Live)).await?;
            let of_carol = carol.open(group.as_str(), 1, Some(Start::Live)).await?;
            let all = [users.user("alice")?, users.user("bob")?, users.user("carol")?];
            roster_of(&mut alice, of_alice, &all).await?;
            let block = |blocked| anyhow::Ok(Request::Block { user: users.user("alice")?, blocked });
            bob.request(block(true)?).await?;
            roster_of(&mut alice, of_alice, &[all[0].clone(), all[2].clone()]).await?;
            let say = ClientFrame::Typing { conversation: group.clone() };
            bob.say(&say).await?;
            assert_eq!(types(&mut carol).await?, all[1]);
            carol.say(&say).await?;
            assert_eq!(types(&mut alice).await?, all[2], "and nothing of bob before");
            bob.request(block(false)?).await?;
            roster_of(&mut alice, of_alice, &all).await?;
            roster_of(&mut carol, of_carol, &all).await?;
            bob.say(&say).await?;
            assert_eq!(types(&mut alice).await?, all[1]);
        }
        Ok(())
    })
}

#[test]
fn when_somebody_was_last_there_survives_a_restart() -> anyhow::Result<()> {
    let server = EmbeddedServer::start_configured(|config| config.presence_leave_ms = 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (group, before) = runtime.block_on(async {
        let users = Users { server: &server, over: Over::Quic };
        let mut alice = users.come("alice", "a", 1).await?;
        let group = users.group(&mut alice, &["bob", "dave"]).await?;
        users.come("bob", "phone", 1).await?.close().await?;
        let last_seen_ms = wait_for(&mut alice, &group, "bob", Status::Offline).await?;
        assert!(last_seen_ms > 0);
        Ok::<_, anyhow::Error>((group, last_seen_ms))
    })?;
    let server = server.restart_configured(|_| {})?;
    runtime.block_on(async {
        let users = Users { server: &server, over: Over::Quic };
        let mut alice = users.come("alice", "a", 2).await?;
        let listed = statuses(&mut alice, &group).await?;
        assert!(listed.contains(&("bob".to_owned(), Status::Offline, before)), "{listed:?}");
        assert!(listed.contains(&("dave".to_owned(), Status::Offline, 0)), "{listed:?}");
        let mut bob = users.come("bob", "laptop", 1).await?;
        let listed = super::devices(&mut bob).await?;
        assert_eq!(listed, [("laptop".to_owned(), Status::Online), ("phone".to_owned(), Status::Offline)]);
        Ok(())
    })
}
