//! What a conversation stream does with each frame that its client sends.

use bytes::Bytes;
use quoth_protocol::frame::{ClientFrame, Open, Publish, ServerFrame, Start};
use quoth_protocol::limits::{BODY_BYTES_MAX, IN_FLIGHT_PUBLISHES_MAX, MENTIONS_MAX};
use quoth_protocol::{Code, ConversationName, ProducerId, Seq, UserId};

use crate::authorize::{Action, Grant, Reach, Standing};
use crate::membership::{Actor, Refusal};

/// A message that has passed all checks and is to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The second half of the message id.
    pub n: u64,
    /// In whose name.
    pub sender: UserId,
    /// When it was first said, for imports, in milliseconds since 1970.
    pub origin_time_ms: Option<u64>,
    /// The message.
    pub body: Bytes,
    /// What is said of it.
    pub about: About,
}

/// What a publisher says of a message beside its body. By default it is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The message that it answers.
    pub reply_to: Option<Seq>,
    /// Whom it mentions, each once, in the order in which they were named.
    pub mentions: Vec<UserId>,
    /// When it becomes absent, in milliseconds after it was stored; 0: at no time of its own.
    pub expires_in_ms: u64,
}

/// Whose stream it is, and how the user stands in its conversation at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// The user's grant.
    pub grant: &'a Grant,
    /// How the user stands there.
    pub standing: &'a Standing,
    /// The time, in milliseconds since 1970.
    pub now_ms: u64,
}

impl Rights<'_> {
    /// Whether the user may do this here; see [`authorize`](crate::authorize::authorize).
    ///
    /// # Errors
    /// Why not.
    pub fn allow(&self, action: Action<'_>) -> Result<Reach, Refusal> {
        self.standing.allows(Actor::User(self.grant), action, self.now_ms)
    }
}

/// What a conversation stream wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Append a message, and answer with its outcome.
    Append(Append),
    /// Move the cursor and answer with Opened, or stop delivery.
    Seek(Option<Start>),
    /// The user has read up to here.
    Seen(Seq),
    /// Answer with this frame.
    Send(ServerFrame),
    /// Reset the stream in both directions.
    Reset(Code),
}

/// An open conversation stream. It counts the answers that it owes until they are written
/// ([`ConversationStream::answered`]), so a client that takes none is not read on and costs no memory.
#[derive(Debug)]
pub struct ConversationStream {
    conversation: ConversationName,
    producer: ProducerId,
    /// Whether the client wants to hear who else reads, and may say how far its user has read.
    has_roster: bool,
    /// Whether events are delivered.
    reads: bool,
    unanswered: usize,
}

impl ConversationStream {
    /// Opens the stream, if the user may: reading where a start is given, writing otherwise. The Open is to
    /// be answered. `has_roster` says whether feature `ROSTER` is in force.
    ///
    /// Who is muted may open it, since a mute ends by itself.
    ///
    /// # Errors
    /// The code to reset the stream with.
    pub fn open(open: &Open, rights: Rights<'_>, has_roster: bool) -> Result<Self, Code> {
        let reads = open.from.is_some();
        match rights.allow(if reads { Action::ReadHistory } else { Action::Publish }) {
            Ok(_) => {}
            Err(Refusal { code: Code::MUTED, .. }) => {}
            Err(refusal) => return Err(refusal.code),
        }
        let (conversation, producer) = (open.conversation.clone(), open.producer);
        Ok(Self { conversation, producer, has_roster, reads, unanswered: 1 })
    }

    /// Whether the client is to be told who else reads.
    #[must_use]
    pub fn has_roster(&self) -> bool {
        self.has_roster && self.reads
    }

    /// The conversation.
    #[must_use]
    pub fn conversation(&self) -> &ConversationName {
        &self.conversation
    }

    /// The producer of the stream's publishes.
    #[must_use]
    pub fn producer(&self) -> ProducerId {
        self.producer
    }

    /// Takes a frame. `rights` are those of the moment.
    pub fn handle(&mut self, frame: ClientFrame, rights: Rights<'_>) -> Output {
        match frame {
            ClientFrame::Publish(publish) => self.publish(publish, rights),
            ClientFrame::Read { from } => match rights.allow(Action::ReadHistory) {
                Err(refusal) if from.is_some() => Output::Reset(refusal.code),
                _ => {
                    self.reads = from.is_some();
                    self.unanswered += usize::from(self.reads);
                    Output::Seek(from)
                }
            },
            ClientFrame::Seen { seq } if self.has_roster() => Output::Seen(seq),
            _ => Output::Reset(Code::PROTOCOL),
        }
    }

    fn publish(&mut self, publish: Publish, rights: Rights<'_>) -> Output {
        let n = publish.n;
        if publish.origin_time_ms.is_some() && publish.publish_as.is_none() {
            return Output::Reset(Code::PROTOCOL);
        }
        self.unanswered += 1;
        let action = publish.publish_as.as_ref().map_or(Action::Publish, Action::PublishAs);
        if let Err(Refusal { code, retry_after_ms, .. }) = rights.allow(action) {
            return refused(n, code, retry_after_ms);
        }
        if publish.body.len() > BODY_BYTES_MAX {
            return refused(n, Code::TOO_LARGE, 0);
        }
        if publish.mentions.len() > MENTIONS_MAX {
            return refused(n, Code::TOO_MANY, 0);
        }
        let sender = publish.publish_as.unwrap_or_else(|| rights.grant.user.clone());
        let Publish { origin_time_ms, body, reply_to, mentions, expires_in_ms, .. } = publish;
        let about = About { reply_to, mentions: each_once(mentions), expires_in_ms };
        Output::Append(Append { n, sender, origin_time_ms, body, about })
    }

    /// So many answers were written: outcomes of appends, other refusals, and Opened.
    ///
    /// # Panics
    /// When fewer are owed: something was answered twice.
    pub fn answered(&mut self, count: usize) {
        self.unanswered = self.unanswered.checked_sub(count).expect("each frame has one answer");
    }

    /// Answers that are owed.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.unanswered
    }

    /// Whether the next frame may be read: otherwise the client waits, and nothing is queued for it.
    #[must_use]
    pub fn may_read(&self) -> bool {
        self.unanswered < IN_FLIGHT_PUBLISHES_MAX
    }
}

/// Users in the order in which they were named first, each once.
#[must_use]
pub fn each_once(users: Vec<UserId>) -> Vec<UserId> {
    let mut once: Vec<UserId> = Vec::with_capacity(users.len());
    for user in users {
        if !once.contains(&user) {
            once.push(user);
        }
    }
    once
}

/// A refusal whose code says it all.
const fn refused(n: u64, code: Code, retry_after_ms: u32) -> Output {
    Output::Send(ServerFrame::Refused { n, code, retry_after_ms, reason: String::new() })
}

#[cfg(test)]
mod tests {
    use quoth_protocol::frame::{ClientFrame, Open, Publish, Start};
    use quoth_protocol::limits::{BODY_BYTES_MAX, IN_FLIGHT_PUBLISHES_MAX, MENTIONS_MAX};
    use quoth_protocol::{Code, ConversationName, Pattern, ProducerId, Seq, UserId};

    use super::{ConversationStream, Output, Rights};
    use crate::authorize::{Grant, Place, Standing};
    use crate::membership::Actor;

    /// A user's grant and how the user stands in the room, which is not managed.
    struct User(Grant, Standing);

    impl User {
        fn rights(&self) -> Rights<'_> {
            Rights { grant: &self.0, standing: &self.1, now_ms: 0 }
        }
    }

    fn grant(read: &str, write: &str, publish_as: &str) -> User {
        let patterns = |text: &str| vec![Pattern::new(text)];
        let user = UserId::new("alice").unwrap();
        let (read, write) = (Some(patterns(read)), Some(patterns(write)));
        let grant = Grant { user, read, write, publish_as: patterns(publish_as), names_freely: false };
        let place = Place { name: &ConversationName::new("room").unwrap(), state: None, is_blocked: false };
        let standing = Standing::new(Actor::User(&grant), place);
        User(grant, standing)
    }

    fn open(from: Option<Start>) -> Open {
        Open { conversation: ConversationName::new("room").unwrap(), producer: ProducerId(1), from }
    }

    fn publish(len: usize, publish_as: Option<&str>, origin_time_ms: Option<u64>) -> ClientFrame {
        let publish_as = publish_as.map(|user| UserId::new(user).unwrap());
        ClientFrame::Publish(Publish { publish_as, origin_time_ms, ..Publish::new(9, vec![0; len]) })
    }

    fn refused(code: Code) -> Output {
        super::refused(9, code, 0)
    }

    #[test]
    fn opening_needs_the_right_that_is_used() {
        let code = |from, rights: Rights<'_>| ConversationStream::open(&open(from), rights, false).err();
        assert_eq!(code(Some(Start::Live), grant("room", "", "").rights()), None);
        assert_eq!(code(None, grant("room", "", "").rights()), Some(Code::FORBIDDEN));
        assert_eq!(code(None, grant("", "room", "").rights()), None);
        assert_eq!(code(Some(Start::Live), grant("", "room", "").rights()), Some(Code::FORBIDDEN));
    }

    #[test]
    fn a_publish_is_checked_before_it_is_appended() {
        let writer = grant("", "room", "guest-*");
        let mut stream = ConversationStream::open(&open(None), writer.rights(), false).unwrap();
        let reader = grant("room", "", "");
        assert_eq!(stream.handle(publish(1, None, None), reader.rights()), refused(Code::FORBIDDEN));
        assert_eq!(stream.handle(publish(1, Some("boss"), None), writer.rights()), refused(Code::FORBIDDEN));
        assert_eq!(
            stream.handle(publish(BODY_BYTES_MAX + 1, None, None), writer.rights()),
            refused(Code::TOO_LARGE)
        );
        assert_eq!(stream.handle(publish(1, None, Some(5)), writer.rights()), Output::Reset(Code::PROTOCOL));
        let output = stream.handle(publish(BODY_BYTES_MAX, Some("guest-1"), Some(5)), writer.rights());
        assert!(matches!(output, Output::Append(append) if append.sender.as_str() == "guest-1"));
    }

    #[test]
    fn a_message_mentions_so_many_users_and_each_once() {
        let writer = grant("", "room", "");
        let mut stream = ConversationStream::open(&open(None), writer.rights(), false).unwrap();
        let users = |count: usize| (0..count).map(|n| UserId::new(format!("user-{n}")).unwrap());
        let mut publish = |mentions: Vec<UserId>| {
            let publish = Publish { mentions, ..Publish::new(9, "") };
            stream.handle(ClientFrame::Publish(publish), writer.rights())
        };
        assert_eq!(publish(users(MENTIONS_MAX + 1).collect()), refused(Code::TOO_MANY));
        let Output::Append(append) = publish(users(25).chain(users(25)).collect()) else { panic!("refused") };
        assert_eq!(append.about.mentions, users(25).collect::<Vec<_>>());
    }

    #[test]
    fn a_stream_that_owes_too_many_answers_is_not_read_on() {
        let (writer, other) = (grant("room", "room", ""), grant("room", "", ""));
        let frames = [
            (publish(0, None, None), writer.rights()),
            (publish(0, None, None), other.rights()),
            (publish(BODY_BYTES_MAX + 1, None, None), writer.rights()),
            (ClientFrame::Read { from: Some(Start::Live) }, writer.rights()),
        ];
        for (frame, rights) in frames {
            let mut stream = ConversationStream::open(&open(None), writer.rights(), false).unwrap();
            assert_eq!(stream.unanswered(), 1, "the Open");
            stream.answered(1);
            for _ in 0..IN_FLIGHT_PUBLISHES_MAX {
                assert!(stream.may_read());
                stream.handle(frame.clone(), rights);
            }
            assert!(!stream.may_read(), "{frame:?}");
            stream.answered(1);
            assert!(stream.may_read());
            assert_eq!(stream.handle(ClientFrame::Read { from: None }, rights), Output::Seek(None));
            assert!(stream.may_read(), "needs no answer");
        }
    }

    #[test]
    fn reading_needs_the_right_at_each_move() {
        let mut stream =
            ConversationStream::open(&open(None), grant("", "room", "").rights(), false).unwrap();
        let read = |from| ClientFrame::Read { from };
        assert_eq!(
            stream.handle(read(Some(Start::Live)), grant("", "room", "").rights()),
            Output::Reset(Code::FORBIDDEN)
        );
        assert_eq!(stream.handle(read(None), grant("", "room", "").rights()), Output::Seek(None));
        let seek = stream.handle(read(Some(Start::Last(2))), grant("room", "", "").rights());
        assert_eq!(seek, Output::Seek(Some(Start::Last(2))));
        let typing = ClientFrame::Typing { conversation: ConversationName::new("room").unwrap() };
        assert_eq!(stream.handle(typing, grant("room", "", "").rights()), Output::Reset(Code::PROTOCOL));
    }

    #[test]
    fn only_who_reads_and_wants_the_roster_says_how_far() {
        let reader = grant("room", "room", "");
        let seen = || ClientFrame::Seen { seq: Seq(3) };
        let mut stream = ConversationStream::open(&open(Some(Start::Live)), reader.rights(), true).unwrap();
        assert_eq!(stream.handle(seen(), reader.rights()), Output::Seen(Seq(3)));
        stream.handle(ClientFrame::Read { from: None }, reader.rights());
        assert_eq!(stream.handle(seen(), reader.rights()), Output::Reset(Code::PROTOCOL));
        stream.handle(ClientFrame::Read { from: Some(Start::Live) }, reader.rights());
        assert_eq!(stream.handle(seen(), reader.rights()), Output::Seen(Seq(3)));
        let mut stream = ConversationStream::open(&open(Some(Start::Live)), reader.rights(), false).unwrap();
        assert_eq!(stream.handle(seen(), reader.rights()), Output::Reset(Code::PROTOCOL));
    }
}
