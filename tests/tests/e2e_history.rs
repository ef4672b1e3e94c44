//! History in every direction, with real servers: by seq and by time, while messages vanish, and over the
//! server API.

#[path = "e2e_membership/world.rs"]
#[expect(dead_code, reason = "the world of another test")]
mod world;

use std::collections::BTreeSet;

use quoth_protocol::frame::{FetchRange, Start};
use quoth_protocol::request::Request;
use quoth_protocol::retention::Retention;
use quoth_protocol::{Code, Seq};
use quoth_tests::device::{Next, Over};
use quoth_tests::embedded::EmbeddedServer;
use quoth_tests::member::{Member, Page};
use serde_json::{Value, json};

use world::{Site, create_room, name, with_each_carrier};

async fn page(member: &mut Member, range: FetchRange, limit: u32) -> anyhow::Result<Page> {
    member.page(&name("room"), range, limit).await?.map_err(|code| anyhow::anyhow!("{code}"))
}

/// The ends of a page, and whether there is more beyond each.
fn ends(page: &Page) -> (u64, u64, bool, bool) {
    (page.from.0, page.to.0, page.more_before, page.more_after)
}

/// A room of 40 events: two of its making and 38 messages.
async fn filled(member: &mut Member) -> anyhow::Result<()> {
    member.done(create_room(&[])).await?;
    let mut stream = member.enter(&name("room"), None).await?;
    for n in 1..=38 {
        member.publish(&mut stream, n, &format!("message {n}")).await?.unwrap();
    }
    Ok(())
}

fn revoke(seq: Seq) -> Request {
    Request::Revoke { conversation: name("room"), seq }
}

#[test]
fn pages_lie_around_seqs_and_times_and_say_where_they_end() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        filled(&mut alice).await?;
        let all = page(&mut alice, FetchRange::Latest, 1_000).await?;
        assert_eq!((ends(&all), all.head, all.floor), ((1, 40, false, false), Seq(40), Seq(1)));
        let around = |seq| FetchRange::Around(Seq(seq));
        let expected = [
            (FetchRange::After(Seq(0)), 10, (1, 10, false, true)),
            (FetchRange::After(Seq(35)), 10, (36, 40, true, false)),
            (FetchRange::After(Seq(99)), 10, (41, 40, true, false)),
            (FetchRange::Before(Seq(11)), 10, (1, 10, false, true)),
            (FetchRange::Before(Seq(1)), 10, (1, 0, false, true)),
            (FetchRange::Latest, 10, (31, 40, true, false)),
            (around(20), 10, (15, 24, true, true)),
            (around(20), 1, (20, 20, true, true)),
            (around(2), 10, (1, 10, false, true)),
            (around(99), 10, (31, 40, true, false)),
            (FetchRange::AfterTime(0), 10, (1, 10, false, true)),
            (FetchRange::AfterTime(u64::MAX), 10, (41, 40, true, false)),
            (FetchRange::BeforeTime(0), 10, (1, 0, false, true)),
            (FetchRange::BeforeTime(u64::MAX), 10, (31, 40, true, false)),
            (FetchRange::AroundTime(u64::MAX), 10, (31, 40, true, false)),
        ];
        for (range, limit, expected) in expected {
            assert_eq!(ends(&page(&mut alice, range, limit).await?), expected, "{range:?}");
        }
        // By the time of each event: the first one of that time, since several may have it.
        for event in &all.events {
            let time_ms = event.time_ms;
            let first = all.events.iter().find(|other| other.time_ms >= time_ms).expect("itself").seq;
            let from = page(&mut alice, FetchRange::AfterTime(time_ms), 3).await?;
            assert_eq!(from.from, first);
            let before = page(&mut alice, FetchRange::BeforeTime(time_ms), 3).await?;
            assert_eq!(before.to.next(), first);
            let both = page(&mut alice, FetchRange::AroundTime(time_ms), 7).await?;
            assert!(both.from <= first && first <= both.to && both.events.len() == 7);
        }
        Ok(())
    })
}

/// One pages back and on from the middle, while another one revokes: what comes is told of once, and nothing
/// is left out.
#[test]
fn paging_both_ways_meets_while_messages_vanish() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let (mut alice, mut reader) =
            (site.member(carrier, "alice").await?, site.member(carrier, "alice").await?);
        filled(&mut alice).await?;
        let mut told = BTreeSet::new();
        let mut revoked: Vec<Seq> = Vec::new();
        let mut tell = |page: &Page, revoked: &[Seq]| {
            assert!(
                page.events.iter().all(|event| !revoked.contains(&event.seq)),
                "what is revoked is gone at once"
            );
            for seq in page.from.0..=page.to.0 {
                assert!(told.insert(seq), "{seq} is told of twice");
            }
        };
        let middle = page(&mut reader, FetchRange::Around(Seq(20)), 4).await?;
        tell(&middle, &revoked);
        let (mut low, mut high) = (middle.from, middle.to);
        let (mut before, mut after) = (middle.more_before, middle.more_after);
        let mut step = 0;
        while before || after {
            // On both sides: what was told of already, what is next, and what is far away.
            step += 1;
            for seq in [low.0 + 1, low.0.saturating_sub(2), high.0 + 2, 3 + step * 7 % 35] {
                let seq = Seq(seq);
                if (3..=40).contains(&seq.0) && !revoked.contains(&seq) {
                    alice.done(revoke(seq)).await?;
                    revoked.push(seq);
                }
            }
            if before {
                let page = page(&mut reader, FetchRange::Before(low), 5).await?;
                assert_eq!(page.to.next(), low);
                tell(&page, &revoked);
                (low, before) = (page.from, page.more_before);
            }
            if after {
                let page = page(&mut reader, FetchRange::After(high), 5).await?;
                assert_eq!(page.from, high.next());
                tell(&page, &revoked);
                (high, after) = (page.to, page.more_after);
            }
            anyhow::ensure!(step < 100, "it never ends");
        }
        let head = 40 + revoked.len() as u64;
        assert!(revoked.len() > 10);
        assert!(told.iter().copied().eq(1..=head), "all of it is told of");
        // What is told now has all gaps as wide as they can be.
        let all = page(&mut reader, FetchRange::After(Seq(0)), 1_000).await?;
        assert!(all.gaps.windows(2).all(|pair| pair[0].1.next() < pair[1].0), "{:?}", all.gaps);
        let mut stream = reader.enter(&name("room"), Some(Start::After(Seq(0)))).await?;
        assert_eq!(stream.head, Seq(head));
        let mut at = Seq(0);
        while at < Seq(head) {
            match reader.next(&mut stream).await? {
                Next::Frame(quoth_protocol::frame::ServerFrame::Event(event)) => {
                    assert!(event.seq == at.next() && !revoked.contains(&event.seq));
                    at = event.seq;
                }
                Next::Frame(quoth_protocol::frame::ServerFrame::Gap { from, to }) => {
                    assert!(from == at.next() && (from.0..=to.0).all(|seq| revoked.contains(&Seq(seq))));
                    at = to;
                }
                Next::Frame(_) => {}
                other => anyhow::bail!("{other:?}"),
            }
        }
        Ok(())
    })
}

#[tokio::test]
async fn who_has_left_gets_pages_up_to_there_and_no_later_edits() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let site = Site::of(&server);
    let mut alice = site.member(Over::Quic, "alice").await?;
    let mut bob = site.member(Over::Quic, "bob").await?;
    alice.done(create_room(&["bob"])).await?;
    let mut stream = alice.enter(&name("room"), None).await?;
    let said = alice.publish(&mut stream, 1, "message").await?.unwrap();
    let (_, left) = bob.done(world::leave()).await?;
    let edit =
        Request::Edit { conversation: name("room"), seq: said, body: "later".into(), mentions: vec![] };
    alice.done(edit).await?;
    let seen = page(&mut bob, FetchRange::Around(said), 100).await?;
    assert_eq!((seen.head, seen.to, seen.more_after), (left, left, false));
    assert!(seen.states.is_empty(), "what was said later is not for him: {:?}", seen.states);
    assert_eq!(page(&mut alice, FetchRange::Latest, 100).await?.states.len(), 1);
    let mut eve = site.member(Over::Quic, "eve").await?;
    let refused = eve.page(&name("room"), FetchRange::AroundTime(0), 1).await?;
    assert_eq!(refused, Err(Code::FORBIDDEN));
    for member in [alice, bob, eve] {
        member.close().await;
    }
    server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_get_the_same_pages() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let site = Site::of(&server);
    let mut alice = site.member(Over::Quic, "alice").await?;
    filled(&mut alice).await?;
    for seq in [5, 6, 20] {
        alice.done(revoke(Seq(seq))).await?;
    }
    let all = page(&mut alice, FetchRange::Latest, 1_000).await?;
    let api = server.api()?;
    let get = |query: &str| -> anyhow::Result<Value> {
        let path = format!("/v1/conversations/room/history?limit=10{query}");
        tokio::task::block_in_place(|| api.done("GET", &path, None))
    };
    let ends = |page: &Value| {
        let number = |field: &str| page[field].as_u64().unwrap_or(u64::MAX);
        let flag = |field: &str| page[field].as_bool().expect("a flag");
        (number("from"), number("to"), flag("more_before"), flag("more_after"))
    };
    // Of an event before all gaps: what is gone may be the first of its time.
    let time_ms = all.events[3].time_ms;
    let first = all.events.iter().find(|event| event.time_ms >= time_ms).expect("itself").seq.0;
    let cases = [
        (String::new(), (34, 43, true, false)),
        ("&after=0".to_owned(), (1, 10, false, true)),
        ("&after=10".to_owned(), (11, 20, true, true)),
        ("&before=11".to_owned(), (1, 10, false, true)),
        ("&around=20".to_owned(), (15, 24, true, true)),
        (format!("&after_time_ms={time_ms}"), (first, first + 9, first > 1, true)),
        ("&before_time_ms=0".to_owned(), (1, 0, false, true)),
        (format!("&around_time_ms={}", u64::MAX), (34, 43, true, false)),
    ];
    for (query, expected) in cases {
        assert_eq!(ends(&get(&query)?), expected, "{query}");
    }
    let early = get("&after=0")?;
    assert_eq!(early["gaps"], json!([{ "from": 5, "to": 6 }]));
    let seqs: Vec<_> =
        early["events"].as_array().expect("events").iter().map(|event| event["seq"].as_u64()).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 7, 8, 9, 10].map(Some));
    let both = tokio::task::block_in_place(|| {
        api.send("GET", "/v1/conversations/room/history?after=1&around_time_ms=3", None)
    })?;
    assert_eq!(both.status(), 400);
    alice.close().await;
    server.stop()
}

/// A room of which the first messages are gone, and those that stay are of a later time.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_from_a_time_on_begins_with_what_is_gone_of_that_time() -> anyhow::Result<()> {
    let server = EmbeddedServer::start()?;
    let mut alice = Site::of(&server).member(Over::Quic, "alice").await?;
    alice.done(create_room(&[])).await?;
    let mut stream = alice.enter(&name("room"), None).await?;
    let mut published = 0;
    loop {
        published += 1;
        alice.publish(&mut stream, published, "a message").await?.unwrap();
        let events = page(&mut alice, FetchRange::Latest, 2).await?.events;
        if published > 5 && events[0].time_ms < events[1].time_ms {
            break;
        }
    }
    let all = page(&mut alice, FetchRange::Latest, 1_000).await?;
    let [.., before, kept] = &all.events[..] else { anyhow::bail!("no events: {all:?}") };
    // With the event that says so.
    let retention = Retention { count: 2, ..Retention::FOR_EVER };
    let retention = Some(retention);
    alice.done(Request::SetRetention { conversation: name("room"), retention, dry_run: false }).await?;
    let api = server.api()?;
    for (time_ms, gaps) in [(kept.time_ms, vec![]), (before.time_ms, vec![(Seq(1), before.seq)])] {
        let from = gaps.first().map_or(kept.seq, |(from, _)| *from);
        let by_time = page(&mut alice, FetchRange::AfterTime(time_ms), 10).await?;
        assert_eq!((by_time.floor, by_time.from, by_time.to), (kept.seq, from, kept.seq.next()));
        assert_eq!((&by_time.gaps, by_time.more_before), (&gaps, false));
        let path = format!("/v1/conversations/room/history?after_time_ms={time_ms}");
        let told = tokio::task::block_in_place(|| api.done("GET", &path, None))?;
        let gaps: Vec<_> = gaps.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect();
        assert_eq!((&told["gaps"], &told["from"]), (&json!(gaps), &json!(from)));
        assert_eq!(told["complete"], json!(gaps.is_empty()));
    }
    alice.close().await;
    server.stop()
}
