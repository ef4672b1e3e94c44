//! Of a page that goes in parts: what is absent by the time that each of them goes.

use std::sync::atomic::Ordering;

use quoth_protocol::Seq;
use quoth_protocol::retention::Retention;
use quoth_store::PageLimit;

use super::{Known, Model, Told, World, altered, room, told};
use crate::engine::{PageParts, Retain};

/// A conversation with messages behind event 4, of which three fill a part; some have a second to live.
async fn parted(last: u64, expires: impl Fn(u64) -> bool) -> World {
    let (mut world, _) = altered(0).await;
    let mut model = Model::default();
    model.events.extend((0..4).map(|_| Known { time_ms: 0, bytes: 0, expires_ms: 0, is_absent: false }));
    for seq in 5..=last {
        world.publish(&mut model, 5_000, if expires(seq) { 1_000 } else { 0 }).await;
    }
    let keeping = world.engine.reading_of(world.access()).keeping;
    world.engine.applied_bounds(&room("room"), keeping).await.unwrap();
    world
}

impl World {
    async fn parts(&self, cursor: Seq, in_view: Option<Seq>, records: usize) -> PageParts {
        let (limit, at) = (PageLimit { records, bytes: usize::MAX }, self.engine.reading_of(self.access()));
        self.engine.reads().parts(&room("room"), cursor, Seq(u64::MAX), in_view, limit, at).await.unwrap()
    }

    /// What is left of a page, as its reader gets it.
    fn left(&self, parts: &mut PageParts, cursor: &mut Seq, to: Seq) -> Vec<Told> {
        let (mut all, at) = (Vec::new(), self.engine.reading_of(self.access()));
        while *cursor < to
            && let Some(part) = parts.next(*cursor, to, &at)
        {
            all.extend(told(&part));
            *cursor = part.reached;
        }
        all
    }
}

fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Told> {
    seqs.map(Told::Event).collect()
}

/// Each part of a page is judged when it goes, and a hole is told once, however many parts it has.
#[tokio::test]
async fn what_expires_behind_a_reading_is_not_handed_over() {
    const LAST: u64 = 20;
    let world = parted(LAST, |seq| (9..=18).contains(&seq)).await;
    let (to, read) = (Seq(u64::MAX), async || world.parts(Seq(4), None, 100).await);
    let mut cursor = Seq(4);
    assert_eq!(world.left(&mut read().await, &mut cursor, to), events(5..=LAST));
    assert_eq!(cursor, Seq(LAST));
    let mut parts = read().await;
    let part = parts.next(Seq(4), to, &world.engine.reading_of(world.access())).unwrap();
    assert_eq!((told(&part), part.reached), (events(5..=7), Seq(7)));
    world.clock.0.fetch_add(1_000, Ordering::Relaxed);
    cursor = part.reached;
    let behind = [events(8..=8), vec![Told::Gap(9, 18)], events(19..=LAST)].concat();
    assert_eq!(world.left(&mut parts, &mut cursor, to), behind);
    assert_eq!(cursor, Seq(LAST));
    // A reader that may read no further is told of nothing behind that, and of nothing else of the page.
    let mut parts = read().await;
    cursor = Seq(4);
    assert_eq!(world.left(&mut parts, &mut cursor, Seq(6)), events(5..=6));
    assert_eq!(world.left(&mut parts, &mut cursor, to), []);
}

/// Which of them these take is not known of a page that is judged without.
#[tokio::test]
async fn of_a_page_nothing_more_goes_when_marks_may_take_of_it() {
    let (world, _) = altered(0).await;
    world.engine.applied_bounds(&room("room"), Default::default()).await.unwrap();
    let (mut parts, mut cursor) = (world.parts(Seq::ZERO, None, 100).await, Seq::ZERO);
    // What is said of message 1 ends with it, and lies among the last four.
    let count = Retention { count: 4, ..Retention::FOR_EVER };
    world.retain(&mut Model::default(), Retain::Policy(count)).await;
    assert_eq!(world.left(&mut parts, &mut cursor, Seq(u64::MAX)), []);
}

/// However it lies to the parts and to the pages, and whether it has begun before a page was read or not.
#[tokio::test]
async fn what_is_absent_is_one_gap_across_the_pages_that_go_in_parts() {
    const LAST: u64 = 24;
    // Of the page behind 4 the last part is absent as a whole, of the next one everything, and what the view
    // ends with.
    let expected = [events(5..=9), vec![Told::Gap(10, 20)], events(21..=22), vec![Told::Gap(23, LAST)]];
    for (begin, in_view) in [(4, None), (4, Some(Seq(LAST))), (9, None), (9, Some(Seq(LAST)))] {
        for is_read_before in [false, true] {
            let world = parted(LAST, |seq| (10..=20).contains(&seq) || seq > 22).await;
            let (mut cursor, mut all) = (Seq(begin), Vec::new());
            let read = async |cursor| world.parts(cursor, in_view, 8).await;
            let mut before = if is_read_before { Some(read(cursor).await) } else { None };
            world.clock.0.fetch_add(1_000, Ordering::Relaxed);
            while cursor < Seq(LAST) {
                let mut parts = match before.take() {
                    Some(parts) => parts,
                    None => read(cursor).await,
                };
                all.extend(world.left(&mut parts, &mut cursor, Seq(u64::MAX)));
            }
            let expected = expected.concat().split_off(usize::try_from(begin - 4).unwrap());
            assert_eq!(all, expected, "behind {begin}, {in_view:?}, read before: {is_read_before}");
        }
    }
}
