//! What readers are told, whether they are there, come back, or read pages.

use std::collections::BTreeMap;
use std::path::Path;

use quoth_client::{ClientEvent, Message, View};
use quoth_protocol::frame::{ClientFrame, EventKind, FetchRange, Publish, ServerFrame, Start};
use quoth_protocol::message::{Edit, MessageState, Reaction};
use quoth_protocol::reply::Reply;
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, Seq};
use quoth_tests::device::{Next, Over};
use quoth_tests::member::{Member, Stream};
use quoth_tests::process::ServerProcess;

use super::world::{Site, create_room, name, user, with_each_carrier};
use super::{edit, edit_with, hide, react, revoke, states};

/// A reader of the room: what a client makes of its stream.
struct Reader {
    view: View,
    stream: Stream,
    cursor: Seq,
}

impl Reader {
    async fn from(member: &mut Member, me: &str, cursor: Seq) -> anyhow::Result<Self> {
        let stream = member.enter(&name("room"), Some(Start::After(cursor))).await?;
        Ok(Self { view: View::new(name("room"), user(me)), stream, cursor })
    }

    /// Reads up to an event.
    async fn read_to(&mut self, member: &mut Member, last: Seq) -> anyhow::Result<()> {
        while self.cursor < last {
            self.cursor = match member.next(&mut self.stream).await? {
                Next::Frame(ServerFrame::Event(event)) => {
                    assert_eq!(event.seq, self.cursor.next(), "nothing is left out");
                    let seq = event.seq;
                    self.view.event(&ClientEvent::Event(event));
                    seq
                }
                Next::Frame(ServerFrame::Gap { from, to }) => {
                    assert!(from == self.cursor.next() && to >= from, "{from}-{to} behind {}", self.cursor);
                    self.view.event(&ClientEvent::Gap { from, to });
                    to
                }
                Next::Frame(_) => self.cursor,
                other => anyhow::bail!("the stream has ended: {other:?}"),
            };
        }
        Ok(())
    }

    fn shown(&self) -> BTreeMap<Seq, Message> {
        shown(&self.view)
    }
}

/// What is seen, without how it came.
fn shown(view: &View) -> BTreeMap<Seq, Message> {
    let mut all: BTreeMap<Seq, Message> =
        view.messages().map(|message| (message.seq, message.clone())).collect();
    all.values_mut().for_each(|message| message.version = Seq::ZERO);
    all
}

/// What somebody sees who pages through all of it from its end.
async fn paged(member: &mut Member, me: &str, limit: u32) -> anyhow::Result<BTreeMap<Seq, Message>> {
    let (mut view, mut range) = (View::new(name("room"), user(me)), FetchRange::Latest);
    loop {
        let page =
            member.page(&name("room"), range, limit).await?.map_err(|code| anyhow::anyhow!("{code}"))?;
        range = FetchRange::Before(page.from);
        let more_before = page.more_before;
        view.page(&page.into_client());
        if !more_before {
            return Ok(shown(&view));
        }
    }
}

#[test]
fn whoever_was_away_ends_with_the_view_of_one_that_was_there() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut there = Reader::from(&mut alice, "alice", Seq::ZERO).await?;
        let mut of_bob = bob.enter(&name("room"), None).await?;
        let mut said = Vec::new();
        for n in 1..=12 {
            said.push(bob.publish(&mut of_bob, n, &format!("message {n}")).await?.unwrap());
        }
        there.read_to(&mut alice, said[11]).await?;
        // Another device of Alice's has read so far, and is away from then on.
        let mut phone = site.member(carrier, "alice").await?;
        let mut away = Reader::from(&mut phone, "alice", Seq::ZERO).await?;
        away.read_to(&mut phone, said[11]).await?;
        let (kept, left) = (away.view.clone(), away.cursor);
        phone.close().await;

        bob.done(edit(said[0], "once")).await?;
        bob.done(edit(said[0], "twice")).await?;
        bob.done(edit_with(said[1], vec![user("alice")])).await?;
        for (seq, reaction) in [(0, "👍"), (0, "+1"), (3, "👍"), (4, "👍"), (5, "👍")] {
            alice.done(react(said[seq], reaction, true)).await?;
            bob.done(react(said[seq], reaction, true)).await?;
        }
        alice.done(react(said[3], "👍", false)).await?;
        bob.done(react(said[3], "👍", false)).await?;
        bob.done(react(said[4], "👍", false)).await?;
        bob.done(revoke(said[5])).await?;
        bob.done(edit(said[6], "not for long")).await?;
        bob.done(revoke(said[6])).await?;
        let (_, last) = alice.done(revoke(said[7])).await?;
        there.read_to(&mut alice, last).await?;

        let expected = there.shown();
        assert_eq!(expected.len(), 9);
        let body = |n: usize| expected[&said[n]].body.clone();
        assert_eq!(
            (&body(0)[..], &body(1)[..], &body(2)[..]),
            (&b"twice"[..], &b"hey"[..], &b"message 3"[..])
        );
        assert_eq!(expected[&said[1]].mentions, [user("alice")]);
        let count =
            |n: usize, text: &str| expected[&said[n]].reactions.get(text).map(|one| (one.count, one.mine));
        assert_eq!(
            (count(0, "👍"), count(3, "👍"), count(4, "👍")),
            (Some((2, true)), None, Some((1, true)))
        );

        let mut phone = site.member(carrier, "alice").await?;
        let mut back = Reader::from(&mut phone, "alice", left).await?;
        back.view = kept;
        back.read_to(&mut phone, last).await?;
        assert_eq!(back.shown(), expected, "from the cursor on");
        phone.close().await;
        let mut phone = site.member(carrier, "alice").await?;
        let mut anew = Reader::from(&mut phone, "alice", Seq::ZERO).await?;
        anew.read_to(&mut phone, last).await?;
        assert_eq!(anew.shown(), expected, "from the beginning");
        for limit in [1, 5, 100] {
            assert_eq!(paged(&mut phone, "alice", limit).await?, expected, "by pages of {limit}");
        }
        // Bob's own marks are others.
        assert!(!paged(&mut bob, "bob", 100).await?[&said[4]].reactions["👍"].mine);

        let edited = Edit { seq: Seq(0), time_ms: 0, body: "twice".into(), mentions: vec![] };
        let asked = alice.request(states(&[said[5], said[0], said[2], Seq(1), Seq(999)])).await?;
        let Reply::Messages { mut states, absent, more: false } = asked else { anyhow::bail!("{asked:?}") };
        assert_eq!(absent, [said[5], Seq(1), Seq(999)]);
        if let Some(edit) = &mut states[0].edited {
            assert!(edit.seq > said[11] && edit.time_ms > 0);
            (edit.seq, edit.time_ms) = (Seq(0), 0);
        }
        assert!(states[0].version > said[11]);
        states[0].version = Seq(0);
        let both = |reaction: &str| Reaction { reaction: reaction.to_owned(), count: 2, mine: true };
        let (version, edited, reactions) = (Seq(0), Some(edited), vec![both("+1"), both("👍")]);
        let of_first = MessageState { seq: said[0], version, edited, reactions };
        let of_third = MessageState { seq: said[2], version, edited: None, reactions: vec![] };
        assert_eq!(states, [of_first, of_third]);
        Ok(())
    })
}

#[test]
fn replies_and_mentions_come_with_the_message() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&["bob"])).await?;
        let mut stream = alice.enter(&name("room"), Some(Start::Live)).await?;
        let first = alice.publish(&mut stream, 1, "question").await?.unwrap();
        let mentions = vec![user("bob"), user("alice"), user("bob")];
        let answer = Publish { reply_to: Some(first), mentions, ..Publish::new(2, "answer") };
        alice.send(&mut stream, &ClientFrame::Publish(answer)).await?;
        let expected = EventKind::Message {
            body: "answer".into(),
            reply_to: Some(first),
            mentions: vec![user("bob"), user("alice")],
            expires_ms: 0,
        };
        loop {
            match alice.next(&mut stream).await? {
                Next::Frame(ServerFrame::Event(event)) if event.seq > first => {
                    assert_eq!(event.kind, expected);
                    break;
                }
                Next::Frame(_) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        // What is replied to may go; the reply stays as it is.
        alice.done(revoke(first)).await?;
        let (events, _) = alice.fetch(&name("room")).await?.unwrap();
        assert!(events.iter().any(|event| event.kind == expected));
        assert!(events.iter().all(|event| event.seq != first));
        // Edited like any other message.
        let (_, edited) = alice.done(edit(first.next(), "better answer")).await?;
        let page = alice.page(&name("room"), FetchRange::Latest, 100).await?.unwrap();
        assert_eq!(
            page.states[0].edited.as_ref().map(|edit| (edit.seq, &edit.body[..])),
            Some((edited, &b"better answer"[..]))
        );
        Ok(())
    })
}

#[test]
fn what_is_hidden_is_told_to_all_devices_and_delivered_to_all_others() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut stream = alice.enter(&name("room"), None).await?;
        let said = alice.publish(&mut stream, 1, "message").await?.unwrap();
        let mut phone = site.member(carrier, "bob").await?;
        let mut me = phone.enter(&ConversationName::me(), Some(Start::Live)).await?;
        let (log, seq) = bob.done(hide(said)).await?;
        assert_eq!(log, ConversationName::me());
        let told = phone.event(&mut me).await?.unwrap();
        assert_eq!((told.seq, told.kind), (seq, EventKind::Hidden { conversation: name("room"), seq: said }));
        assert_eq!(bob.done(hide(said)).await?.1, Seq::ZERO, "the same again is done");
        assert_eq!(bob.refused(hide(Seq(99))).await?, Code::NOT_FOUND_MESSAGE);
        let (events, _) = alice.fetch(&name("room")).await?.unwrap();
        assert!(events.iter().any(|event| event.seq == said));
        Ok(())
    })
}

async fn bodies(site: &Site, carrier: Over) -> anyhow::Result<BTreeMap<Seq, Message>> {
    paged(&mut site.member(carrier, "alice").await?, "alice", 3).await
}

#[tokio::test]
async fn everything_is_there_again_after_kill_9_and_what_is_revoked_is_not() -> anyhow::Result<()> {
    let start = |data_dir: &Path| {
        let arguments = ["--set", "auth.names_freely=true"];
        let server = ServerProcess::start_with(data_dir, "127.0.0.1:0", &arguments)?;
        let (address, ca_file) = (server.address(), server.ca_file());
        anyhow::Ok((server, Site { address, ca_file, data_dir: data_dir.to_owned() }))
    };
    for carrier in Over::ALL {
        let dir = tempfile::tempdir()?;
        let data_dir = dir.path().join("data");
        let (server, site) = start(&data_dir)?;
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&["bob"])).await?;
        let mut stream = alice.enter(&name("room"), None).await?;
        let mut said = Vec::new();
        for n in 1..=5 {
            said.push(alice.publish(&mut stream, n, &format!("message {n}")).await?.unwrap());
        }
        alice.done(edit(said[0], "edited")).await?;
        alice.done(react(said[1], "👍", true)).await?;
        alice.done(edit(said[2], "not for long")).await?;
        alice.done(revoke(said[2])).await?;
        let before = bodies(&site, carrier).await?;
        assert_eq!((before.len(), &before[&said[0]].body[..]), (4, &b"edited"[..]));
        server.kill()?;
        let (server, site) = start(&data_dir)?;
        assert_eq!(bodies(&site, carrier).await?, before);
        let mut alice = site.member(carrier, "alice").await?;
        assert_eq!(alice.refused(edit(said[2], "again")).await?, Code::NOT_FOUND_MESSAGE);
        assert_eq!(alice.done(edit(said[0], "edited")).await?.1, Seq::ZERO, "it is known what it says");
        assert_eq!(alice.done(react(said[1], "👍", true)).await?.1, Seq::ZERO, "and how she has reacted");
        server.kill()?;
    }
    Ok(())
}

#[test]
fn a_list_shows_the_latest_words_and_nothing_that_is_revoked() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (mut alice, mut bob) = (site.member(carrier, "alice").await?, site.member(carrier, "bob").await?);
        alice.done(create_room(&["bob"])).await?;
        let mut stream = bob.enter(&name("room"), None).await?;
        let mut said = Vec::new();
        for (n, body) in (1..).zip(["one", "two", "three"]) {
            said.push(bob.publish(&mut stream, n, body).await?.unwrap());
        }
        let list =
            async |alice: &mut Member| match alice.request(Request::Inbox { after: None, limit: 9 }).await? {
                Reply::Inbox { rows, .. } => {
                    let last = rows[0].last.as_ref().and_then(|event| event.kind.body());
                    Ok((rows[0].unread, last.map(|body| String::from_utf8_lossy(body).into_owned())))
                }
                other => Err(anyhow::anyhow!("{other:?}")),
            };
        assert_eq!(list(&mut alice).await?, (3, Some("three".into())));
        bob.done(edit(said[2], "edited")).await?;
        assert_eq!(list(&mut alice).await?, (3, Some("edited".into())));
        bob.done(revoke(said[2])).await?;
        assert_eq!(list(&mut alice).await?, (2, Some("two".into())));
        bob.done(revoke(said[0])).await?;
        assert_eq!(list(&mut alice).await?, (1, Some("two".into())));
        Ok(())
    })
}
