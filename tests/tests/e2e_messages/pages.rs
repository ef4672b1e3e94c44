//! Pages of a conversation whose messages disappear.

use std::time::{Duration, Instant};

use anyhow::ensure;
use quoth_protocol::Seq;
use quoth_protocol::frame::{ClientFrame, FetchRange, Publish, ServerFrame};
use quoth_tests::device::Next;
use quoth_tests::member::Page;

use super::world::{create_room, name, with_each_carrier};
use super::{edit, react};

/// The time that messages are there: long enough for what is done to each as soon as it is said.
const LIFE_MS: u64 = 10_000;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn what_has_expired_has_no_state_and_does_not_fill_pages() -> anyhow::Result<()> {
    with_each_carrier(|site, carrier| async move {
        let mut alice = site.member(carrier, "alice").await?;
        alice.done(create_room(&[])).await?;
        let mut stream = alice.enter(&name("room"), None).await?;
        let mut said = Vec::new();
        for n in 1..=70 {
            // Those in the middle disappear.
            let expires_in_ms = if (4..=68).contains(&n) { LIFE_MS } else { 0 };
            let publish = Publish { expires_in_ms, ..Publish::new(n, format!("message {n}")) };
            alice.send(&mut stream, &ClientFrame::Publish(publish)).await?;
            let seq = loop {
                if let Next::Frame(ServerFrame::Ack { seq, .. }) = alice.next(&mut stream).await? {
                    break seq;
                }
            };
            if [2, 10, 41, 70].contains(&n) {
                alice.done(react(seq, "+1", true)).await?;
                alice.done(edit(seq, "later")).await?;
            }
            said.push(seq);
        }
        let last = said[69];
        let begun = Instant::now();
        let mut page = async |range, limit: u32| -> anyhow::Result<Page> {
            Ok(alice.page(&name("room"), range, limit).await?.expect("one reads one's own room"))
        };
        while !page(FetchRange::Latest, 1_000).await?.gaps.contains(&(said[3], said[67])) {
            ensure!(begun.elapsed() < PATIENCE, "they do not go");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let seqs = |page: &Page| page.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        let states = |page: &Page| page.states.iter().map(|state| state.seq).collect::<Vec<_>>();

        let whole = page(FetchRange::Latest, 1_000).await?;
        assert_eq!(states(&whole), [said[1], last]);
        // All of what was asked for is absent, so it goes on to where something is.
        let before = page(FetchRange::Before(said[60]), 10).await?;
        let first: Vec<Seq> = (1..=said[2].0).map(Seq).collect();
        assert_eq!((seqs(&before), before.from, before.to), (first.clone(), Seq(1), said[59]));
        assert_eq!((states(&before), before.more_before, before.more_after), (vec![said[1]], false, true));
        let after = page(FetchRange::After(said[10]), 2).await?;
        assert_eq!((seqs(&after), after.from, after.to), (vec![said[68], last], said[11], last));
        let around = page(FetchRange::Around(said[30]), 4).await?;
        assert_eq!(seqs(&around), first[first.len() - 4..]);
        Ok(())
    })
}
