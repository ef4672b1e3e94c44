//! A connection's lanes, as a state machine: who may send what, what has come, and what is to be sent.

use std::collections::{HashMap, VecDeque};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use quoth_protocol::Code;
use quoth_protocol::lane::{CONTROL_LANE, LANE_HEADER_BYTES_MAX, LaneMessage, Part, Signal};
use quoth_protocol::limits::{
    JSON_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX, JSON_MESSAGE_BYTES_MAX, LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
    LANE_MESSAGE_BYTES_MAX, STREAMS_BEFORE_SIGN_IN_MAX,
};

use crate::Outgoing;
use crate::format::{self, Format, Message};
use crate::lane::{Lane, Refusal, Taken};

/// Bytes of messages that wait for the socket, above which lanes write no more: the socket has always
/// something to send, and a client that reads nothing pins little. Above twice as much, which only answers to
/// what a client sends can reach, the connection ends with `OVERLOADED`.
pub const OUTGOING_BYTES_MAX: usize = 128 * 1024;

/// Lanes that a server holds at most, as a multiple of those that may be open at once: whoever serves one
/// that is over needs a moment to let go of it, in which the client may open the next one.
const HELD_FOR_EACH_OPEN: usize = 2;

/// Messages for which memory is kept when nothing waits.
const KEPT_MESSAGES: usize = 16;

/// Which end of a connection this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The code of the close; `None` when the connection was lost.
    pub code: Option<Code>,
    /// A text for people.
    pub text: String,
    /// Whether the peer or the network ended it.
    pub by_peer: bool,
}

#[derive(Debug)]
pub(crate) struct State {
    side: Side,
    format: Format,
    /// All lanes that are not over, and those of which somebody holds a half.
    lanes: HashMap<u32, Lane>,
    /// Those of them that are not over.
    open: usize,
    /// From the numbers on the wire to the keys in `lanes`.
    keys: HashMap<u32, u32>,
    next_key: u32,
    next_number: u32,
    lanes_max: u32,
    is_signed_in: bool,
    /// Lanes that the client has opened and nobody has accepted.
    opened: VecDeque<u32>,
    acceptor: Option<Waker>,
    /// Lanes that the client has opened and nobody will accept, since the last [`State::take_unserved`].
    unserved: u32,
    /// Those who wait for a lane to end so that they may open one.
    openers: Vec<Waker>,

    outgoing: VecDeque<Message>,
    outgoing_bytes: usize,
    socket: Option<Waker>,
    /// Lanes that wait for room in `outgoing`, in the order in which they began to.
    waiting: Vec<u32>,

    /// The Ping to answer.
    asked: Option<u64>,
    pings: u64,
    answered: Option<u64>,
    pinger: Option<Waker>,

    end: Option<Closed>,
    enders: Vec<Waker>,
}

/// What became of frames that were to be sent.
pub(crate) enum Sent {
    /// So many of them are on their way, with so many bytes.
    Frames(usize, usize),
    /// The lane is reset.
    Reset(Code),
    /// This side was finished.
    Finished,
    /// The connection has ended.
    Closed(Closed),
}

impl State {
    pub(crate) fn new(side: Side, format: Format) -> Self {
        Self {
            side,
            format,
            lanes: HashMap::new(),
            open: 0,
            keys: HashMap::new(),
            next_key: 0,
            next_number: 0,
            lanes_max: STREAMS_BEFORE_SIGN_IN_MAX,
            is_signed_in: false,
            opened: VecDeque::new(),
            acceptor: None,
            unserved: 0,
            openers: Vec::new(),
            outgoing: VecDeque::new(),
            outgoing_bytes: 0,
            socket: None,
            waiting: Vec::new(),
            asked: None,
            pings: 0,
            answered: None,
            pinger: None,
            end: None,
            enders: Vec::new(),
        }
    }

    pub(crate) fn signed_in(&mut self, lanes_max: u32) {
        self.is_signed_in = true;
        self.lanes_max = lanes_max;
        wake_all(&mut self.openers);
        self.wake_waiting();
    }

    fn wake_waiting(&mut self) {
        for key in std::mem::take(&mut self.waiting) {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.waits_for_room = false;
                lane.wake_sender();
            }
        }
    }

    /// What one message of the peer may have, in bytes. Only a client's are bounded more before the sign-in.
    pub(crate) fn message_bytes_max(&self) -> usize {
        match (self.format, self.is_signed_in || self.side == Side::Client) {
            (Format::Postcard, true) => LANE_MESSAGE_BYTES_MAX,
            (Format::Postcard, false) => LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
            (Format::Json, true) => JSON_MESSAGE_BYTES_MAX,
            (Format::Json, false) => JSON_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
        }
    }

    /// What the frames of one message of this side may have, in bytes.
    fn sent_frames_bytes_max(&self) -> usize {
        let message = match (self.side, self.is_signed_in) {
            (Side::Client, false) => LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
            _ => LANE_MESSAGE_BYTES_MAX,
        };
        message - LANE_HEADER_BYTES_MAX
    }

    fn has_room_for_a_lane(&self) -> bool {
        let open_max = usize::try_from(self.lanes_max).unwrap_or(usize::MAX);
        let holds_few =
            self.side == Side::Client || self.lanes.len() < open_max.saturating_mul(HELD_FOR_EACH_OPEN);
        self.open < open_max && holds_few
    }

    fn add_lane(&mut self, number: Option<u32>) -> u32 {
        let key = self.next_key;
        self.next_key += 1;
        self.lanes.insert(key, Lane::new(self.side, number));
        self.open += 1;
        if let Some(number) = number {
            self.keys.insert(number, key);
        }
        key
    }

    pub(crate) fn poll_open(&mut self, task: &mut Context<'_>) -> Poll<Result<u32, Closed>> {
        if let Some(end) = &self.end {
            return Poll::Ready(Err(end.clone()));
        }
        if self.has_room_for_a_lane() {
            return Poll::Ready(Ok(self.add_lane(None)));
        }
        wait_among(&mut self.openers, task)
    }

    pub(crate) fn poll_accept(&mut self, task: &mut Context<'_>) -> Poll<Result<u32, Closed>> {
        if let Some(end) = &self.end {
            return Poll::Ready(Err(end.clone()));
        }
        if let Some(key) = self.opened.pop_front() {
            return Poll::Ready(Ok(key));
        }
        self.acceptor = Some(task.waker().clone());
        Poll::Pending
    }

    /// Sends the first of these frames, as whole ones and at least one, when there is credit and room.
    pub(crate) fn poll_send(&mut self, key: u32, frames: &[Bytes], task: &mut Context<'_>) -> Poll<Sent> {
        if let Some(end) = &self.end {
            return Poll::Ready(Sent::Closed(end.clone()));
        }
        let bytes_max = self.sent_frames_bytes_max();
        let has_room = self.outgoing_bytes < OUTGOING_BYTES_MAX;
        let Some(lane) = self.lanes.get_mut(&key) else { return Poll::Ready(Sent::Finished) };
        if let Some(code) = lane.reset {
            return Poll::Ready(Sent::Reset(code));
        }
        if lane.is_finished {
            return Poll::Ready(Sent::Finished);
        }
        let Some(first) = frames.first() else { return Poll::Ready(Sent::Frames(0, 0)) };
        // A frame that is too large before the sign-in waits for it.
        if !has_room || first.len() > bytes_max {
            if !std::mem::replace(&mut lane.waits_for_room, true) {
                self.waiting.push(key);
            }
            return wait(&mut lane.sender, task);
        }
        let Ok(credit) = usize::try_from(lane.send_credit) else { return wait(&mut lane.sender, task) };
        if credit == 0 {
            return wait(&mut lane.sender, task);
        }
        let (mut count, mut bytes) = (1, first.len());
        for frame in &frames[1..] {
            if bytes + frame.len() > bytes_max.min(credit) {
                break;
            }
            count += 1;
            bytes += frame.len();
        }
        let number = *lane.number.get_or_insert_with(|| {
            let number = self.next_number;
            self.next_number += 1;
            self.keys.insert(number, key);
            number
        });
        let (outgoing, mut cost) = (&mut self.outgoing, 0);
        // A text can be many times as long as its frame, so that there is credit for fewer of them.
        let count = format::write_frames(self.format, self.side, number, &frames[..count], |message| {
            cost += message.len();
            outgoing.push_back(message);
            cost < credit
        });
        lane.send_credit -= i64::try_from(cost).unwrap_or(i64::MAX);
        self.outgoing_bytes += cost;
        self.wake_socket();
        Poll::Ready(Sent::Frames(count, frames[..count].iter().map(Bytes::len).sum()))
    }

    /// `Err` when the connection has ended.
    pub(crate) fn poll_take(&mut self, key: u32, task: &mut Context<'_>) -> Poll<Result<Taken, Closed>> {
        let Some(lane) = self.lanes.get_mut(&key) else { return Poll::Ready(Ok(Taken::Finished)) };
        let taken = lane.take();
        match (&taken, &self.end) {
            // What came before the end can still be taken.
            (Taken::Nothing, Some(end)) => Poll::Ready(Err(end.clone())),
            (Taken::Nothing, None) => wait(&mut lane.receiver, task),
            (Taken::Frames(_, Some(bytes)), None) => {
                if let Some(number) = lane.number {
                    self.signal(number, Signal::Credit { bytes: *bytes });
                }
                Poll::Ready(Ok(taken))
            }
            _ => Poll::Ready(Ok(taken)),
        }
    }

    /// Finishes this side of a lane.
    pub(crate) fn finish(&mut self, key: u32) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.is_finished || lane.reset.is_some() {
            return;
        }
        lane.is_finished = true;
        if let Some(number) = lane.number {
            self.signal(number, Signal::Finish {});
        }
        self.lane_has_changed(key);
    }

    /// Resets a lane, unless it is over.
    pub(crate) fn reset(&mut self, key: u32, code: Code) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        if lane.is_over() {
            return;
        }
        lane.end(code);
        if let Some(number) = lane.number {
            self.signal(number, Signal::Reset { code });
        }
        self.lane_has_changed(key);
    }

    /// Nobody holds the sending half any more.
    pub(crate) fn drop_sender(&mut self, key: u32) {
        self.finish(key);
        self.drop_half(key);
    }

    /// Nobody holds the receiving half any more. A client that drops it wants nothing more of the lane; a
    /// server may still have something to say on it.
    pub(crate) fn drop_receiver(&mut self, key: u32) {
        let is_cut_off = self.lanes.get_mut(&key).is_some_and(Lane::give_up_incoming);
        if is_cut_off && self.side == Side::Client {
            self.reset(key, Code::CANCELLED);
        }
        self.drop_half(key);
    }

    fn drop_half(&mut self, key: u32) {
        if let Some(lane) = self.lanes.get_mut(&key) {
            lane.halves -= 1;
        }
        self.lane_has_changed(key);
    }

    /// A lane may be over, and nobody may hold it.
    fn lane_has_changed(&mut self, key: u32) {
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        let is_over = lane.is_over() || lane.is_finished && lane.number.is_none();
        if !is_over {
            return;
        }
        if std::mem::replace(&mut lane.counts_as_open, false) {
            self.open -= 1;
            wake_all(&mut self.openers);
        }
        if lane.halves == 0 {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: u32) {
        if let Some(number) = self.lanes.remove(&key).and_then(|lane| lane.number) {
            self.keys.remove(&number);
        }
    }

    /// Forgets a lane that is over before anybody has accepted it: nobody is there who could let go of it,
    /// and a client may open and reset as many as it likes. The control lane stays, so that whoever accepts
    /// it hears of its end, which is the connection's.
    fn forget_unaccepted(&mut self, key: u32) {
        let is_over = |lane: &Lane| lane.is_over() && lane.number != Some(CONTROL_LANE);
        if self.lanes.get(&key).is_some_and(is_over)
            && let Some(place) = self.opened.iter().position(|opened| *opened == key)
        {
            self.opened.remove(place);
            self.forget(key);
            self.unserved = self.unserved.saturating_add(1);
        }
    }

    /// How many lanes the client has opened, since this was asked last, that nobody will accept: it has reset
    /// them before, or has as many as it may have.
    pub(crate) fn take_unserved(&mut self) -> u32 {
        std::mem::take(&mut self.unserved)
    }

    /// Takes a message of the peer.
    pub(crate) fn receive(&mut self, message: Message) -> Result<(), Code> {
        if self.end.is_some() {
            return Ok(());
        }
        let cost = message.len();
        let max = self.message_bytes_max();
        if cost > max {
            let text = format!("a message of {cost} bytes is over the limit of {max}");
            return self.fail(Code::FRAME_TOO_LARGE, text);
        }
        let LaneMessage { lane: number, part } = match format::read(self.format, self.side, message) {
            Ok(message) => message,
            Err(error) => return self.fail(Code::PROTOCOL, error.to_string()),
        };
        match part {
            Part::Frames(frames) => self.receive_frames(number, frames, cost)?,
            Part::Signal(Signal::Ping { n }) if number == CONTROL_LANE => {
                self.asked = Some(n);
                self.wake_socket();
            }
            Part::Signal(Signal::Pong { n }) if number == CONTROL_LANE => {
                self.answered = Some(n);
                wake(&mut self.pinger);
            }
            Part::Signal(signal) => self.receive_signal(number, signal)?,
        }
        if self.outgoing_bytes > 2 * OUTGOING_BYTES_MAX {
            return self.fail(Code::OVERLOADED, "answers wait that the client does not read".to_owned());
        }
        Ok(())
    }

    fn receive_frames(&mut self, number: u32, frames: Bytes, cost: usize) -> Result<(), Code> {
        if number == self.next_number && self.side == Side::Server {
            self.next_number += 1;
            if !self.has_room_for_a_lane() {
                self.signal(number, Signal::Reset { code: Code::OVERLOADED });
                self.unserved = self.unserved.saturating_add(1);
                return Ok(());
            }
            let key = self.add_lane(Some(number));
            self.opened.push_back(key);
            wake(&mut self.acceptor);
        }
        let Some(lane) = self.lane_of(number)? else { return Ok(()) };
        match lane.receive(frames, cost) {
            Ok(()) => Ok(()),
            Err(Refusal::Finished) => {
                self.fail(Code::PROTOCOL, format!("frames behind the end of lane {number}"))
            }
            Err(Refusal::NoCredit) => {
                self.fail(Code::PROTOCOL, format!("frames without credit on lane {number}"))
            }
        }
    }

    fn receive_signal(&mut self, number: u32, signal: Signal) -> Result<(), Code> {
        let Some(lane) = self.lane_of(number)? else { return Ok(()) };
        match signal {
            Signal::Finish {} => lane.finish_incoming(),
            Signal::Reset { code } => lane.end(code),
            Signal::Credit { bytes } => lane.add_send_credit(bytes),
            Signal::Ping { .. } | Signal::Pong { .. } => {
                return self.fail(Code::PROTOCOL, format!("a ping on lane {number}"));
            }
        }
        if let Some(&key) = self.keys.get(&number) {
            self.lane_has_changed(key);
            self.forget_unaccepted(key);
        }
        Ok(())
    }

    /// The lane of a number; `None` when it is over.
    fn lane_of(&mut self, number: u32) -> Result<Option<&mut Lane>, Code> {
        if number >= self.next_number {
            return self.fail(Code::PROTOCOL, format!("lane {number} was not opened")).map(|()| None);
        }
        let lane = self.keys.get(&number).and_then(|key| self.lanes.get_mut(key));
        Ok(lane.filter(|lane| lane.reset.is_none()))
    }

    fn fail(&mut self, code: Code, text: String) -> Result<(), Code> {
        self.end(Closed { code: Some(code), text, by_peer: false });
        Err(code)
    }

    fn signal(&mut self, number: u32, signal: Signal) {
        // The close says it all. What is dropped behind it would tell of streams that ended well.
        if self.end.is_some() {
            return;
        }
        let message = format::write_signal(self.format, number, signal);
        self.outgoing_bytes += message.len();
        self.outgoing.push_back(message);
        self.wake_socket();
    }

    pub(crate) fn ping(&mut self) -> u64 {
        self.pings += 1;
        let n = self.pings;
        self.signal(CONTROL_LANE, Signal::Ping { n });
        n
    }

    pub(crate) fn poll_pong(&mut self, n: u64, task: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        if self.answered == Some(n) {
            return Poll::Ready(Ok(()));
        }
        if let Some(end) = &self.end {
            return Poll::Ready(Err(end.clone()));
        }
        wait(&mut self.pinger, task)
    }

    /// The next message for the socket.
    pub(crate) fn poll_message(&mut self, task: &mut Context<'_>) -> Poll<Outgoing> {
        if let Some(n) = self.asked.take() {
            return Poll::Ready(Outgoing::Message(format::write_signal(
                self.format,
                CONTROL_LANE,
                Signal::Pong { n },
            )));
        }
        if let Some(message) = self.outgoing.pop_front() {
            self.outgoing_bytes -= message.len();
            if self.outgoing_bytes < OUTGOING_BYTES_MAX {
                self.wake_waiting();
            }
            if self.outgoing.is_empty() {
                self.outgoing.shrink_to(KEPT_MESSAGES);
            }
            return Poll::Ready(Outgoing::Message(message));
        }
        match &self.end {
            Some(end) => Poll::Ready(Outgoing::Close(end.clone())),
            None => wait(&mut self.socket, task),
        }
    }

    pub(crate) fn end(&mut self, end: Closed) {
        if self.end.is_some() {
            return;
        }
        self.end = Some(end);
        self.lanes.values_mut().for_each(Lane::wake);
        wake(&mut self.acceptor);
        wake(&mut self.pinger);
        wake_all(&mut self.openers);
        wake_all(&mut self.enders);
        self.wake_socket();
    }

    pub(crate) fn end_reason(&self) -> Option<&Closed> {
        self.end.as_ref()
    }

    pub(crate) fn poll_end(&mut self, task: &mut Context<'_>) -> Poll<Closed> {
        if let Some(end) = &self.end {
            return Poll::Ready(end.clone());
        }
        wait_among(&mut self.enders, task)
    }

    fn wake_socket(&mut self) {
        wake(&mut self.socket);
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.keys.is_empty() && self.open == 0
    }

    #[cfg(test)]
    pub(crate) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    #[cfg(test)]
    pub(crate) fn outgoing_bytes(&self) -> usize {
        self.outgoing_bytes
    }
}

fn wait<T>(waker: &mut Option<Waker>, task: &Context<'_>) -> Poll<T> {
    match waker {
        Some(waker) => waker.clone_from(task.waker()),
        None => *waker = Some(task.waker().clone()),
    }
    Poll::Pending
}

fn wait_among<T>(wakers: &mut Vec<Waker>, task: &Context<'_>) -> Poll<T> {
    if !wakers.iter().any(|waker| waker.will_wake(task.waker())) {
        wakers.push(task.waker().clone());
    }
    Poll::Pending
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn wake_all(wakers: &mut Vec<Waker>) {
    std::mem::take(wakers).into_iter().for_each(Waker::wake);
}
