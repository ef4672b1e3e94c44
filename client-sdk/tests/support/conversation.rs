//! Conversation and fetch streams of the fake server.

use std::sync::Arc;
use std::time::Duration;

use quoth_client::protocol::frame::{ClientFrame, Fetch, FetchRange, Open, Publish, ServerFrame, Start};
use quoth_client::{Code, Seq, UserId};

use super::wire::Frames;
use super::{Log, World};

/// A slow disk.
const FLUSH: Duration = Duration::from_millis(300);

pub(super) async fn serve(mut frames: Frames, world: Arc<World>, user: UserId) {
    match frames.next().await {
        Ok(Some(ClientFrame::Open(open))) => conversation(frames, world, user, open).await,
        Ok(Some(ClientFrame::Fetch(fetch))) => page(frames, &world, &fetch).await,
        Ok(Some(other)) => panic!("a stream begins with {other:?}"),
        Ok(None) | Err(()) => {}
    }
}

/// Blocks on writing as long as the client does not read: acks then wait behind events, which a client must
/// not let happen.
async fn conversation(mut frames: Frames, world: Arc<World>, user: UserId, open: Open) {
    let name = open.conversation.as_str().to_owned();
    let (mut head, mut cursor) = {
        let mut inner = world.lock();
        inner.opens.push(name.clone());
        world.changed.notify_waiters();
        let forbidden = inner.faults.forbid_reading && open.from.is_some();
        let fault = if forbidden { Some(Code::FORBIDDEN) } else { inner.faults.reset_opens.pop() };
        let store = inner.faults.store;
        let log = inner.logs.entry(name.clone()).or_default();
        let bounds = (log.events.len() as u64, log.floor);
        if let Some(code) = fault.or_else(|| ahead(open.from, bounds.0)) {
            return frames.reset(code);
        }
        frames.push(&ServerFrame::Opened { head: Seq(bounds.0), floor: Seq(bounds.1), store });
        (log.head.subscribe(), open.from.map(|from| cursor(from, bounds)))
    };
    if frames.flush().await.is_err() {
        return;
    }
    loop {
        let behind = cursor.is_some_and(|c| c < *head.borrow());
        let stopped = world.lock().faults.stop_reading;
        tokio::select! {
            biased;
            frame = frames.next(), if !stopped => match frame {
                Ok(Some(ClientFrame::Publish(publish))) => {
                    answer(&mut frames, &world, &name, &user, open.producer.0, publish);
                    if std::mem::take(&mut world.lock().faults.stop_before_ack) {
                        return finish_late(frames).await;
                    }
                }
                Ok(Some(ClientFrame::Read { from })) => {
                    let bounds = bounds(&world, &name);
                    let forbidden = world.lock().faults.forbid_reading && from.is_some();
                    let fault = forbidden.then_some(Code::FORBIDDEN);
                    if let Some(code) = fault.or_else(|| ahead(from, bounds.0)) {
                        return frames.reset(code);
                    }
                    cursor = from.map(|from| self::cursor(from, bounds));
                    if from.is_some() {
                        let store = world.lock().faults.store;
                        frames.push(&ServerFrame::Opened { head: Seq(bounds.0), floor: Seq(bounds.1), store });
                    }
                }
                Ok(Some(other)) => panic!("{other:?} in a conversation"),
                Ok(None) => {
                    frames.flush().await.ok();
                    return frames.finish();
                }
                Err(()) => return,
            },
            () = std::future::ready(()), if behind => {
                if world.lock().faults.damaged_behind.is_some_and(|seq| cursor.unwrap() >= seq) {
                    // What was written before has left by then: a reset drops the rest.
                    tokio::time::sleep(FLUSH).await;
                    return frames.reset(Code::STORE_FAILED);
                }
                deliver(&mut frames, &world, &name, &mut cursor);
            }
            changed = head.changed() => if changed.is_err() { return },
        }
        if frames.flush().await.is_err() {
            return;
        }
    }
}

/// As a server that drains: reads no more, and acks what it has read when its disk is done.
async fn finish_late(mut frames: Frames) {
    frames.stop(Code::GOING_AWAY);
    tokio::time::sleep(FLUSH).await;
    if frames.flush().await.is_ok() {
        frames.finish();
        frames.received().await;
    }
}

fn deliver(frames: &mut Frames, world: &World, name: &str, cursor: &mut Option<u64>) {
    let mut inner = world.lock();
    let endless_gap = std::mem::take(&mut inner.faults.endless_gap);
    inner.events_sent += 1;
    let log = &inner.logs[name];
    let next = cursor.unwrap() + 1;
    if endless_gap {
        frames.push(&ServerFrame::Gap { from: Seq(next), to: Seq(u64::MAX) });
        *cursor = None;
    } else if next < log.floor {
        frames.push(&ServerFrame::Gap { from: Seq(next), to: Seq(log.floor - 1) });
        *cursor = Some(log.floor - 1);
    } else {
        if inner.faults.leave_out != Some(next) {
            frames.push(&ServerFrame::Event(log.events[usize::try_from(next).unwrap() - 1].clone()));
        }
        *cursor = Some(next);
    }
}

fn answer(frames: &mut Frames, world: &World, name: &str, user: &UserId, producer: u64, publish: Publish) {
    let mut inner = world.lock();
    let n = publish.n;
    inner.publishes.push((producer, n));
    if !inner.faults.refuse.is_empty() {
        let code = inner.faults.refuse.remove(0);
        return frames.push(&refused(n, code, 0));
    }
    if let Some((code, retry_after_ms)) = inner.faults.refuse_for.take() {
        return frames.push(&refused(n, code, retry_after_ms));
    }
    let log = inner.logs.get_mut(name).unwrap();
    let highest = log.ids.keys().filter(|(p, _)| *p == producer).map(|(_, n)| *n).max();
    let (seq, duplicate) = match log.ids.get(&(producer, n)) {
        Some(seq) => (*seq, true),
        None if highest.is_some_and(|highest| n < highest) => {
            return frames.push(&refused(n, Code::STALE_MESSAGE_ID, 0));
        }
        None => {
            let sender = publish.publish_as.as_ref().unwrap_or(user);
            let seq = log.append(sender, &publish.body, publish.origin_time_ms);
            log.ids.insert((producer, n), seq);
            (seq, false)
        }
    };
    if inner.faults.swallow_acks > 0 {
        inner.faults.swallow_acks -= 1;
    } else {
        frames.push(&ServerFrame::Ack { n, seq: Seq(seq), time_ms: 1_000 + seq, duplicate });
    }
    world.changed.notify_waiters();
}

async fn page(mut frames: Frames, world: &World, fetch: &Fetch) {
    {
        let mut inner = world.lock();
        if inner.faults.forbid_reading {
            return frames.reset(Code::FORBIDDEN);
        }
        if inner.faults.damaged_behind.is_some() {
            return frames.reset(Code::STORE_FAILED);
        }
        let log: &mut Log = inner.logs.entry(fetch.conversation.as_str().to_owned()).or_default();
        let (head, limit) = (log.events.len() as u64, u64::from(fetch.limit.min(1_000)));
        let (from, to) = match fetch.range {
            FetchRange::After(Seq(after)) => (after + 1, (after.max(log.floor - 1) + limit).min(head)),
            FetchRange::Before(Seq(before)) => {
                let to = before.saturating_sub(1).min(head);
                (to.saturating_sub(limit).max(log.floor - 1) + 1, to)
            }
            FetchRange::Latest => (head.saturating_sub(limit).max(log.floor - 1) + 1, head),
            _ => return frames.reset(Code::INVALID_REQUEST),
        };
        // Piece by piece, as a server may judge what it reads: for the client it is one.
        for absent in from..log.floor {
            frames.push(&ServerFrame::Gap { from: Seq(absent), to: Seq(absent) });
        }
        for event in log.events.iter().filter(|e| (from.max(log.floor)..=to).contains(&e.seq.0)) {
            frames.push(&ServerFrame::Event(event.clone()));
        }
        frames.push(&ServerFrame::PageEnd {
            head: Seq(head),
            floor: Seq(log.floor),
            from: Seq(from),
            to: Seq(to),
            more_before: from > log.floor,
            more_after: to < head,
        });
    }
    if frames.flush().await.is_ok() {
        frames.finish();
    }
}

fn bounds(world: &World, name: &str) -> (u64, u64) {
    let inner = world.lock();
    let log = &inner.logs[name];
    (log.events.len() as u64, log.floor)
}

fn ahead(from: Option<Start>, head: u64) -> Option<Code> {
    matches!(from, Some(Start::After(Seq(seq))) if seq > head).then_some(Code::CURSOR_AHEAD)
}

fn cursor(from: Start, (head, floor): (u64, u64)) -> u64 {
    match from {
        Start::After(Seq(seq)) => seq,
        Start::Live => head,
        Start::Last(count) => head.saturating_sub(u64::from(count)).max(floor - 1),
    }
}

/// The reason of a refusal of these tests is what a terminal must not be steered with.
fn refused(n: u64, code: Code, retry_after_ms: u32) -> ServerFrame {
    ServerFrame::Refused { n, code, retry_after_ms, reason: "be\u{7}fair".to_owned() }
}
