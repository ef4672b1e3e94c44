//! Signing in, token refresh and expiry on a control stream.

use std::sync::Arc;

use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame, VERSION};
use quoth_protocol::limits::{HELLO_TIMEOUT_MS, TOKEN_EXPIRING_NOTICE_MS};
use quoth_protocol::{Code, ConversationName};

use crate::authorize::Grant;

/// What a verified token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user and what the token allows.
    pub grant: Arc<Grant>,
    /// When the token ends, in milliseconds since 1970.
    pub expires_ms: u64,
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
    /// The client is signed in: answer with Welcome, raise the stream limit, and let the other streams be read.
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
    /// Pass on that the user types here.
    Typing(ConversationName),
    /// Close the connection.
    Close(Code, &'static str),
}

/// The control stream of one connection. Give it inputs with [`Session::handle`]; each gives at most one output but for
/// none being wanted.
#[derive(Debug)]
pub struct Session {
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitsHello { deadline_ms: u64 },
    Verifies { hello: Box<Hello> },
    SignedIn { identity: Identity, told: bool },
    Refreshes { identity: Identity },
    Closed,
}

impl Session {
    /// A session of a connection that was made at `now_ms`, in milliseconds since 1970.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self { state: State::AwaitsHello { deadline_ms: now_ms.saturating_add(HELLO_TIMEOUT_MS) } }
    }

    /// When to feed [`Input::Deadline`], in milliseconds since 1970.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        match &self.state {
            State::AwaitsHello { deadline_ms } => Some(*deadline_ms),
            State::SignedIn { identity, told: false } => {
                Some(identity.expires_ms.saturating_sub(TOKEN_EXPIRING_NOTICE_MS))
            }
            State::SignedIn { identity, told: true } | State::Refreshes { identity } => {
                Some(identity.expires_ms)
            }
            State::Verifies { .. } | State::Closed => None,
        }
    }

    /// Takes an input at `now_ms` and says what to do.
    pub fn handle(&mut self, input: Input, now_ms: u64) -> Option<Output> {
        let state = std::mem::replace(&mut self.state, State::Closed);
        let (state, output) = match input {
            Input::Frame(frame) => Self::frame(state, frame),
            Input::Verified(result) => Self::verified(state, result),
            Input::Deadline => Self::deadline(state, now_ms),
        };
        self.state = state;
        output
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
            (State::SignedIn { identity, .. }, ClientFrame::Refresh { token }) => {
                (State::Refreshes { identity }, Some(Output::Verify(token)))
            }
            (state @ State::SignedIn { .. }, ClientFrame::Typing { conversation }) => {
                (state, Some(Output::Typing(conversation)))
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

    fn verified(state: State, result: Result<Identity, Code>) -> (State, Option<Output>) {
        match (state, result) {
            (State::Verifies { hello }, Ok(identity)) => {
                let state = State::SignedIn { identity: identity.clone(), told: false };
                (state, Some(Output::Welcome { identity, hello }))
            }
            (State::Refreshes { identity: old }, Ok(new)) if old.grant.user == new.grant.user => {
                (State::SignedIn { identity: new.clone(), told: false }, Some(Output::Replace(new)))
            }
            (State::Refreshes { .. }, Ok(_)) => (
                State::Closed,
                Some(Output::Close(Code::TOKEN_REJECTED, "the new token is for another user")),
            ),
            (State::Verifies { .. } | State::Refreshes { .. }, Err(code)) => {
                (State::Closed, Some(Output::Close(code, "the token was not accepted")))
            }
            (state, _) => (state, None),
        }
    }

    fn deadline(state: State, now_ms: u64) -> (State, Option<Output>) {
        match state {
            State::AwaitsHello { deadline_ms } if deadline_ms <= now_ms => {
                (State::Closed, Some(Output::Close(Code::HELLO_TIMEOUT, "no Hello in time")))
            }
            State::SignedIn { identity, .. } | State::Refreshes { identity }
                if identity.expires_ms <= now_ms =>
            {
                (State::Closed, Some(Output::Close(Code::TOKEN_EXPIRED, "the token has ended")))
            }
            State::SignedIn { identity, told: false }
                if identity.expires_ms.saturating_sub(TOKEN_EXPIRING_NOTICE_MS) <= now_ms =>
            {
                let in_ms = u32::try_from(identity.expires_ms - now_ms).unwrap_or(u32::MAX);
                let output = Output::Send(ServerFrame::TokenExpiring { in_ms });
                (State::SignedIn { identity, told: true }, Some(output))
            }
            state => (state, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use quoth_protocol::frame::{ClientFrame, Hello, ServerFrame};
    use quoth_protocol::{Code, DeviceId, UserId};

    use super::{Identity, Input, Output, Session};
    use crate::authorize::Grant;

    fn identity(user: &str, expires_ms: u64) -> Identity {
        let user = UserId::new(user).unwrap();
        let grant = Arc::new(Grant { user, read: vec![], write: vec![], publish_as: vec![] });
        Identity { grant, expires_ms }
    }

    fn hello(version: u16) -> Input {
        Input::Frame(ClientFrame::Hello(Hello {
            version,
            features: 0,
            token: "t".into(),
            device: DeviceId::new("d").unwrap(),
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
    fn a_token_is_told_of_then_ends() {
        let mut session = signed_in(100_000);
        assert_eq!(session.deadline_ms(), Some(40_000));
        let told = session.handle(Input::Deadline, 40_000);
        assert_eq!(told, Some(Output::Send(ServerFrame::TokenExpiring { in_ms: 60_000 })));
        assert_eq!(session.deadline_ms(), Some(100_000));
        assert_eq!(close_code(session.handle(Input::Deadline, 100_000)), Code::TOKEN_EXPIRED);
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
}
