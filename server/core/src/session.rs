//! Signing in, token refresh and expiry on a control stream.

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION};
use quoth_protocol::limits::{
    HELLO_TIMEOUT_MS, REFRESHES_PER_MINUTE_MAX, STATUS_INTERVAL_MS, TOKEN_EXPIRING_NOTICE_MS,
};
use quoth_protocol::request::Request;
use quoth_protocol::{Code, ConversationName, DeviceId};

use crate::authorize::Grant;
use crate::rate::Rate;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user and what the token allows.
    pub grant: Arc<Grant>,
    /// When the token ends, in milliseconds since 1970.
    pub expires_ms: u64,
    /// When the token was issued, in milliseconds since 1970; 0 when it does not say.
    pub issued_ms: u64,
    /// The token's id, by which it can be revoked alone.
    pub token_id: Option<String>,
    /// The only device that may sign in with the token.
    pub device: Option<DeviceId>,
}

/// What comes to a session.
#[derive(Debug)]
pub enum Input {
    /// A frame of the control stream.
    Frame(ClientFrame),
    /// The answer to [`Output::Verify`].
    Verified(Result<Identity, Code>),
    /// The time that [`Session::deadline_ms`] names has come.
    Deadline,
}

/// What a session wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Verify this token and feed [`Input::Verified`].
    Verify(String),
    /// The client is signed in: answer with Welcome, raise the stream limit, and let the other streams be
    /// read.
    Welcome {
        /// Who it is.
        identity: Identity,
        /// What it said of itself.
        hello: Box<Hello>,
    },
    /// The connection's grant is now this one.
    Replace(Identity),
    /// Send a frame on the control stream.
    Send(ServerFrame),
    /// Serve a request and answer it with a [`Reply`](quoth_protocol::reply::Reply).
    Request {
        /// The client's number for it.
        id: u32,
        /// What is asked.
        request: Request,
    },
    /// Pass on that the user types here.
    Typing(ConversationName),
    /// Pass on whether somebody sits at the device.
    Away(bool),
    /// Close the connection.
    Close(Code, &'static str),
}

/// The control stream of one connection. Give it inputs with [`Session::handle`]; each gives at most one
/// output but for none being wanted.
#[derive(Debug)]
pub struct Session {
    state: State,
    refreshes: Rate,
    statuses: Statuses,
}

/// What the client says of whether somebody sits there, which others hear of at most once in
/// [`STATUS_INTERVAL_MS`].
#[derive(Debug, Default)]
struct Statuses {
    /// When the last one was passed on, in milliseconds since 1970.
    passed_ms: Option<u64>,
    /// The latest one, if it waits for its time.
    away: Option<bool>,
}

impl Statuses {
    fn due_ms(&self) -> Option<u64> {
        self.away.map(|_| self.passed_ms.map_or(0, |passed_ms| passed_ms.saturating_add(STATUS_INTERVAL_MS)))
    }

    /// Passes on what waits, if it is time. A clock that was set back makes it time.
    fn pass(&mut self, now_ms: u64) -> Option<Output> {
        let was_set_back = self.passed_ms.is_some_and(|passed_ms| passed_ms > now_ms);
        if self.due_ms()? > now_ms && !was_set_back {
            return None;
        }
        self.passed_ms = Some(now_ms);
        self.away.take().map(Output::Away)
    }

    fn say(&mut self, away: bool, now_ms: u64) -> Option<Output> {
        self.away = Some(away);
        self.pass(now_ms)
    }
}

#[derive(Debug)]
enum State {
    AwaitsHello { deadline_ms: u64 },
    Verifies { hello: Box<Hello> },
    SignedIn { identity: Identity, device: DeviceId, notice: Notice },
    Refreshes { identity: Identity, device: DeviceId, notice: Notice },
    Closed,
}

/// What the client hears of its token's end: each end is told once, and only one that is later than those
/// told before. So a client that answers with the token that it has is not asked again and again.
#[derive(Debug, Clone, Copy)]
struct Notice {
    /// When to tell; `None` for never.
    at_ms: Option<u64>,
    /// The latest end that was told.
    told_ms: u64,
}

impl Notice {
    /// The notice of a token that is taken at `now_ms`.
    fn of(expires_ms: u64, now_ms: u64, told_ms: u64) -> Self {
        let half_left_ms = expires_ms.saturating_sub(now_ms) / 2;
        let at_ms = expires_ms.saturating_sub(TOKEN_EXPIRING_NOTICE_MS.min(half_left_ms));
        Self { at_ms: (expires_ms > told_ms).then_some(at_ms), told_ms }
    }
}

impl Session {
    /// A session of a connection whose handshake was complete at `now_ms`, in milliseconds since 1970.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            state: State::AwaitsHello { deadline_ms: now_ms.saturating_add(HELLO_TIMEOUT_MS) },
            refreshes: Rate::new(REFRESHES_PER_MINUTE_MAX, 60_000),
            statuses: Statuses::default(),
        }
    }

    /// When to feed [`Input::Deadline`], in milliseconds since 1970, and again as long as it has passed.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let of_state_ms = match &self.state {
            State::AwaitsHello { deadline_ms } => *deadline_ms,
            State::SignedIn { identity, notice, .. } => notice.at_ms.unwrap_or(identity.expires_ms),
            State::Refreshes { identity, .. } => identity.expires_ms,
            State::Verifies { .. } | State::Closed => return None,
        };
        Some(self.statuses.due_ms().map_or(of_state_ms, |due_ms| due_ms.min(of_state_ms)))
    }

    /// Takes an input at `now_ms` and says what to do.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Option<Output> {
        let is_deadline = matches!(input, Input::Deadline);
        let state = std::mem::replace(&mut self.state, State::Closed);
        let (state, output) = match input {
            Input::Frame(ClientFrame::Refresh { .. }) if !self.refreshes.take(now_ms) => {
                (State::Closed, Some(Output::Close(Code::OVERLOADED, "too many new tokens")))
            }
            Input::Frame(frame) => Self::frame(state, frame),
            Input::Verified(result) => Self::verified(state, result, now_ms),
            Input::Deadline => Self::deadline(state, now_ms),
        };
        let is_over = matches!(state, State::Closed);
        self.state = state;
        match output {
            Some(Output::Away(away)) => self.statuses.say(away, now_ms),
            None if is_deadline && !is_over => self.statuses.pass(now_ms),
            output => output,
        }
    }

    fn frame(state: State, frame: ClientFrame) -> (State, Option<Output>) {
        match (state, frame) {
            (State::AwaitsHello { .. }, ClientFrame::Hello(hello)) => {
                if hello.version != VERSION {
                    let reason = "this server speaks version 1";
                    return (State::Closed, Some(Output::Close(Code::UNSUPPORTED_VERSION, reason)));
                }
                let token = hello.token.clone();
                (State::Verifies { hello: Box::new(hello) }, Some(Output::Verify(token)))
            }
            (State::SignedIn { identity, device, notice }, ClientFrame::Refresh { token }) => {
                (State::Refreshes { identity, device, notice }, Some(Output::Verify(token)))
            }
            // Whatever a client says that is signed in has its place while a new token of it is judged.
            (
                state @ (State::SignedIn { .. } | State::Refreshes { .. }),
                ClientFrame::Typing { conversation },
            ) => (state, Some(Output::Typing(conversation))),
            (
                state @ (State::SignedIn { .. } | State::Refreshes { .. }),
                ClientFrame::Request { id, request },
            ) => (state, Some(Output::Request { id, request })),
            (state @ (State::SignedIn { .. } | State::Refreshes { .. }), ClientFrame::Status { away }) => {
                (state, Some(Output::Away(away)))
            }
            (State::Closed, _) => (State::Closed, None),
            (State::AwaitsHello { .. }, _) => {
                (State::Closed, Some(Output::Close(Code::PROTOCOL, "the first frame must be a Hello")))
            }
            _ => (
                State::Closed,
                Some(Output::Close(Code::PROTOCOL, "this frame has no place on the control stream")),
            ),
        }
    }

    fn verified(state: State, result: Result<Identity, Code>, now_ms: u64) -> (State, Option<Output>) {
        let is_for = |identity: &Identity, device: &DeviceId| {
            identity.device.as_ref().is_none_or(|only| only == device)
        };
        match (state, result) {
            (State::Verifies { hello }, Ok(identity)) if is_for(&identity, &hello.device) => {
                let notice = Notice::of(identity.expires_ms, now_ms, 0);
                let device = hello.device.clone();
                let state = State::SignedIn { identity: identity.clone(), device, notice };
                (state, Some(Output::Welcome { identity, hello }))
            }
            (State::Refreshes { identity: old, device, notice }, Ok(new))
                if old.grant.user == new.grant.user && is_for(&new, &device) =>
            {
                let notice = Notice::of(new.expires_ms, now_ms, notice.told_ms);
                (State::SignedIn { identity: new.clone(), device, notice }, Some(Output::Replace(new)))
            }
            (State::Verifies { .. }, Ok(_)) => {
                (State::Closed, Some(Output::Close(Code::TOKEN_REJECTED, "the token is for another device")))
            }
            (State::Refreshes { .. }, Ok(_)) => (
                State::Closed,
                Some(Output::Close(Code::TOKEN_REJECTED, "the new token is for another user or device")),
            ),
            (State::Verifies { .. } | State::Refreshes { .. }, Err(code)) => {
                let reason = match code {
                    Code::TOKEN_EXPIRED | Code::TOKEN_REJECTED => "the token was not accepted",
                    _ => "the token cannot be judged at the moment",
                };
                (State::Closed, Some(Output::Close(code, reason)))
            }
            (state, _) => (state, None),
        }
    }

    fn deadline(state: State, now_ms: u64) -> (State, Option<Output>) {
        match state {
            State::AwaitsHello { deadline_ms } if deadline_ms <= now_ms => {
                (State::Closed, Some(Output::Close(Code::HELLO_TIMEOUT, "no Hello in time")))
            }
            State::SignedIn { identity, .. } | State::Refreshes { identity, .. }
                if identity.expires_ms <= now_ms =>
            {
                (State::Closed, Some(Output::Close(Code::TOKEN_EXPIRED, "the token has ended")))
            }
            State::SignedIn { identity, device, notice }
                if notice.at_ms.is_some_and(|at_ms| at_ms <= now_ms) =>
            {
                let in_ms = u32::try_from(identity.expires_ms - now_ms).unwrap_or(u32::MAX);
                let output = Output::Send(ServerFrame::TokenExpiring { in_ms });
                let notice = Notice { at_ms: None, told_ms: identity.expires_ms };
                (State::SignedIn { identity, device, notice }, Some(output))
            }
            state => (state, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame};
    use quoth_protocol::limits::{REFRESHES_PER_MINUTE_MAX, STATUS_INTERVAL_MS};
    use quoth_protocol::request::Request;
    use quoth_protocol::{Code, ConversationName, DeviceId, UserId};

    use super::{Identity, Input, Output, Session};
    use crate::authorize::Grant;

    fn identity(user: &str, expires_ms: u64) -> Identity {
        let user = UserId::new(user).unwrap();
        let grant =
            Arc::new(Grant { user, read: None, write: None, publish_as: vec![], names_freely: false });
        Identity { grant, expires_ms, issued_ms: 0, token_id: None, device: None }
    }

    fn hello(version: u16) -> Input {
        Input::Frame(ClientFrame::Hello(Hello {
            version,
            features: 0,
            token: "t".into(),
            device: DeviceId::new("d").unwrap(),
            generation: 1,
            platform: String::new(),
            client: String::new(),
        }))
    }

    fn signed_in(expires_ms: u64) -> Session {
        let mut session = Session::new(0);
        assert_eq!(session.handle(hello(1), 0), Some(Output::Verify("t".into())));
        let output = session.handle(Input::Verified(Ok(identity("alice", expires_ms))), 0);
        assert!(matches!(output, Some(Output::Welcome { .. })));
        session
    }

    fn refresh() -> Input {
        Input::Frame(ClientFrame::Refresh { token: "new".into() })
    }

    fn close_code(output: Option<Output>) -> Code {
        match output {
            Some(Output::Close(code, _)) => code,
            other => panic!("not a close: {other:?}"),
        }
    }

    #[test]
    fn nothing_passes_before_a_valid_hello() {
        let mut session = Session::new(0);
        assert_eq!(session.deadline_ms(), Some(5_000));
        assert_eq!(session.handle(Input::Deadline, 4_999), None);
        assert_eq!(close_code(session.handle(Input::Deadline, 5_000)), Code::HELLO_TIMEOUT);
        assert_eq!(close_code(Session::new(0).handle(refresh(), 0)), Code::PROTOCOL);
        assert_eq!(close_code(Session::new(0).handle(hello(2), 0)), Code::UNSUPPORTED_VERSION);
        let mut session = Session::new(0);
        session.handle(hello(1), 0);
        let refused = session.handle(Input::Verified(Err(Code::TOKEN_REJECTED)), 0);
        assert_eq!(close_code(refused), Code::TOKEN_REJECTED);
        assert_eq!(session.handle(Input::Verified(Ok(identity("alice", 9))), 0), None, "closed stays closed");
    }

    #[test]
    fn a_token_that_was_not_judged_is_not_said_to_be_bad() {
        for (code, expected) in [
            (Code::TOKEN_EXPIRED, "the token was not accepted"),
            (Code::TOKEN_REJECTED, "the token was not accepted"),
            (Code::UNAVAILABLE, "the token cannot be judged at the moment"),
        ] {
            let mut session = Session::new(0);
            session.handle(hello(1), 0);
            let closed = session.handle(Input::Verified(Err(code)), 0);
            assert_eq!(closed, Some(Output::Close(code, expected)));
        }
    }

    #[test]
    fn a_token_is_told_of_then_ends() {
        let mut session = signed_in(200_000);
        assert_eq!(session.deadline_ms(), Some(140_000));
        let told = session.handle(Input::Deadline, 140_000);
        assert_eq!(told, Some(Output::Send(ServerFrame::TokenExpiring { in_ms: 60_000 })));
        assert_eq!(session.deadline_ms(), Some(200_000));
        assert_eq!(close_code(session.handle(Input::Deadline, 200_000)), Code::TOKEN_EXPIRED);
    }

    #[test]
    fn a_refresh_must_be_for_the_same_user() {
        let mut session = signed_in(100_000);
        assert_eq!(session.handle(refresh(), 1), Some(Output::Verify("new".into())));
        let new = identity("alice", 900_000);
        assert_eq!(session.handle(Input::Verified(Ok(new.clone())), 1), Some(Output::Replace(new)));
        assert_eq!(session.deadline_ms(), Some(840_000));
        session.handle(refresh(), 1);
        let other = session.handle(Input::Verified(Ok(identity("bob", 900_000))), 1);
        assert_eq!(close_code(other), Code::TOKEN_REJECTED);
    }

    #[test]
    fn a_client_goes_on_while_its_new_token_is_judged() {
        let mut session = signed_in(100_000);
        session.handle(refresh(), 1);
        let conversation = ConversationName::new("room").unwrap();
        let typing = ClientFrame::Typing { conversation: conversation.clone() };
        assert_eq!(session.handle(Input::Frame(typing), 1), Some(Output::Typing(conversation)));
        let status = ClientFrame::Status { away: true };
        assert_eq!(session.handle(Input::Frame(status), 1), Some(Output::Away(true)));
        let request = ClientFrame::Request { id: 1, request: Request::Sessions };
        assert!(matches!(session.handle(Input::Frame(request), 1), Some(Output::Request { id: 1, .. })));
        assert_eq!(close_code(session.handle(refresh(), 1)), Code::PROTOCOL, "one token at a time");
    }

    #[test]
    fn the_latest_status_is_passed_on_once_a_second() {
        let mut session = signed_in(100_000);
        let say = |session: &mut Session, away: bool, now_ms: u64| {
            session.handle(Input::Frame(ClientFrame::Status { away }), now_ms)
        };
        assert_eq!(say(&mut session, true, 10_000), Some(Output::Away(true)));
        for n in 0..1_000 {
            assert_eq!(say(&mut session, n % 2 == 0, 10_000 + n / 2), None);
        }
        assert_eq!(session.deadline_ms(), Some(10_000 + STATUS_INTERVAL_MS));
        assert_eq!(session.handle(Input::Deadline, 10_999), None);
        assert_eq!(session.handle(Input::Deadline, 11_000), Some(Output::Away(false)), "the latest");
        assert_eq!(session.deadline_ms(), Some(50_000), "the token's");
        assert_eq!(session.handle(Input::Deadline, 12_000), None, "nothing waits");
        assert_eq!(say(&mut session, true, 12_000), Some(Output::Away(true)));
        assert_eq!(say(&mut session, false, 11_000), Some(Output::Away(false)), "the clock was set back");
    }

    fn refreshed(session: &mut Session, expires_ms: u64, now_ms: u64) {
        assert_eq!(session.handle(refresh(), now_ms), Some(Output::Verify("new".into())));
        let output = session.handle(Input::Verified(Ok(identity("alice", expires_ms))), now_ms);
        assert!(matches!(output, Some(Output::Replace(_))));
    }

    #[test]
    fn a_token_for_a_device_is_for_no_other() {
        let of = |device: &str| Identity {
            device: Some(DeviceId::new(device).unwrap()),
            ..identity("alice", 900_000)
        };
        let mut session = Session::new(0);
        session.handle(hello(1), 0);
        assert_eq!(close_code(session.handle(Input::Verified(Ok(of("other"))), 0)), Code::TOKEN_REJECTED);
        let mut session = Session::new(0);
        session.handle(hello(1), 0);
        let welcome = session.handle(Input::Verified(Ok(of("d"))), 0);
        assert!(matches!(welcome, Some(Output::Welcome { .. })));
        session.handle(refresh(), 1);
        assert!(matches!(session.handle(Input::Verified(Ok(of("d"))), 1), Some(Output::Replace(_))));
        session.handle(refresh(), 1);
        assert_eq!(close_code(session.handle(Input::Verified(Ok(of("other"))), 1)), Code::TOKEN_REJECTED);
    }

    #[test]
    fn an_end_is_told_once() {
        let mut session = signed_in(200_000);
        assert!(session.handle(Input::Deadline, 140_000).is_some());
        refreshed(&mut session, 200_000, 140_001);
        assert_eq!(session.deadline_ms(), Some(200_000), "the same end is not told again");
        assert_eq!(session.handle(Input::Deadline, 140_001), None);
        refreshed(&mut session, 190_000, 140_002);
        assert_eq!(session.deadline_ms(), Some(190_000), "nor is an earlier one");
        refreshed(&mut session, 400_000, 140_003);
        assert_eq!(session.deadline_ms(), Some(340_000));
        assert!(session.handle(Input::Deadline, 340_000).is_some());
        assert_eq!(close_code(session.handle(Input::Deadline, 400_000)), Code::TOKEN_EXPIRED);
    }

    #[test]
    fn a_short_token_is_told_of_when_half_of_it_is_over() {
        let mut session = signed_in(50_000);
        assert_eq!(session.deadline_ms(), Some(25_000));
        assert_eq!(session.handle(Input::Deadline, 24_999), None);
        let told = session.handle(Input::Deadline, 25_000);
        assert_eq!(told, Some(Output::Send(ServerFrame::TokenExpiring { in_ms: 25_000 })));
        refreshed(&mut session, 75_000, 25_000);
        assert_eq!(session.deadline_ms(), Some(50_000));
    }

    #[test]
    fn too_many_refreshes_close() {
        let mut session = signed_in(1_000_000);
        for _ in 0..REFRESHES_PER_MINUTE_MAX {
            refreshed(&mut session, 1_000_000, 59_999);
        }
        refreshed(&mut session, 1_000_000, 60_000);
        for _ in 1..REFRESHES_PER_MINUTE_MAX {
            refreshed(&mut session, 1_000_000, 60_000);
        }
        assert_eq!(close_code(session.handle(refresh(), 60_001)), Code::OVERLOADED);
    }
}
