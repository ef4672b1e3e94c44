//! The fake server's answers to requests.

use quoth_client::protocol::frame::ServerFrame;
use quoth_client::protocol::reply::{ConversationInfo, MemberInfo, Reply, SessionInfo};
use quoth_client::protocol::request::Request;
use quoth_client::{
    Code, ConversationKind, ConversationName, DeviceId, Permissions, Retention, Role, Seq, Status, UserId,
};

use super::World;

/// What has been asked, and how it is answered.
#[derive(Default)]
pub(crate) struct Requests {
    /// All of them as they came in, with repeats.
    pub(crate) asked: Vec<Request>,
    /// Whether anybody sits there, as clients have said.
    pub(crate) statuses: Vec<bool>,
    /// How many had no answer at once.
    pub(crate) under_way_max: usize,
    pub(crate) answered: usize,
    /// They are answered when this is over.
    pub(crate) hold: bool,
    /// The next ones are answered with these.
    pub(crate) answers: Vec<Reply>,
    /// The server does not know of requests.
    pub(crate) unknown: bool,
    /// It knows of those about messages, too.
    pub(crate) messages: bool,
}

/// Takes a request; its answer goes to `answer` in its time.
pub(super) fn take(
    world: &std::sync::Arc<World>,
    id: u32,
    request: Request,
    answer: impl Fn(ServerFrame) + Send + 'static,
) {
    {
        let requests = &mut world.lock().requests;
        requests.asked.push(request.clone());
        requests.under_way_max = requests.under_way_max.max(requests.asked.len() - requests.answered);
    }
    world.changed.notify_waiters();
    let world = std::sync::Arc::clone(world);
    tokio::spawn(async move {
        world.wait_until(|w| !w.requests.hold).await;
        let reply = {
            let mut inner = world.lock();
            inner.requests.answered += 1;
            let answers = &mut inner.requests.answers;
            if answers.is_empty() { usual(request) } else { answers.remove(0) }
        };
        answer(ServerFrame::Reply { id, reply });
        world.changed.notify_waiters();
    });
}

fn name(text: &str) -> ConversationName {
    ConversationName::new(text).unwrap()
}

fn usual(request: Request) -> Reply {
    let done = |conversation| Reply::Done { conversation, seq: Seq(7), time_ms: 1_007 };
    match request {
        Request::Create { conversation, .. } => done(conversation.unwrap_or_else(|| name("group/made"))),
        Request::Join { conversation, .. }
        | Request::Leave { conversation }
        | Request::SetMember { conversation, .. }
        | Request::Remove { conversation, .. }
        | Request::Rename { conversation, .. }
        | Request::Mute { conversation, .. }
        | Request::Ban { conversation, .. }
        | Request::SlowMode { conversation, .. }
        | Request::RevokeInvitations { conversation } => done(conversation),
        Request::WatchPresence { conversation, .. } => Reply::Done { conversation, seq: Seq(0), time_ms: 0 },
        Request::Revoke { conversation, .. } => done(conversation),
        Request::Mark { conversation, .. } => Reply::Done { conversation, seq: Seq(0), time_ms: 0 },
        Request::WatchInbox { since, .. } => Reply::Watching { version: since.unwrap_or(9), complete: true },
        Request::Block { .. } | Request::EndSession { .. } => done(name("$me")),
        Request::Invite { .. } => Reply::Invitation { invitation: "come in".to_owned() },
        Request::Describe { conversation } => Reply::Conversation(info(conversation)),
        Request::Members { limit, .. } => {
            let members = ["alice", "bob", "carol"].into_iter().take(limit as usize).map(member).collect();
            Reply::Members { members, more: limit < 3 }
        }
        Request::Blocked => Reply::Users { users: vec![UserId::new("mallory").unwrap()] },
        Request::Sessions => Reply::Sessions { sessions: vec![session()] },
        Request::Conversations { .. } => {
            Reply::Conversations { conversations: vec![info(name("team"))], more: false }
        }
        _ => {
            let reason = "this server does not serve this request".to_owned();
            Reply::Refused { code: Code::INVALID_REQUEST, retry_after_ms: 0, reason }
        }
    }
}

fn info(conversation: ConversationName) -> ConversationInfo {
    ConversationInfo {
        conversation,
        kind: Some(ConversationKind::Group),
        title: "Team".to_owned(),
        open: false,
        role: Some(Role::Owner),
        permissions: Permissions::ALL,
        members: 3,
        muted_until_ms: 0,
        slow_mode_interval_ms: 0,
        retention: Retention { age_s: 86_400, ..Retention::FOR_EVER },
        own_retention: true,
        version: Seq(7),
    }
}

fn member(user: &str) -> MemberInfo {
    MemberInfo {
        user: UserId::new(user).unwrap(),
        role: Role::Member,
        permissions: Permissions::READ,
        muted_until_ms: 0,
        status: Status::Online,
        last_seen_ms: 1_000,
    }
}

fn session() -> SessionInfo {
    SessionInfo {
        device: DeviceId::new("phone").unwrap(),
        platform: "android".to_owned(),
        generation: 3,
        status: Status::Offline,
        connected_ms: 1,
        last_seen_ms: 2,
    }
}

/// A refusal.
pub(crate) fn refused(code: Code, retry_after_ms: u32, reason: &str) -> Reply {
    Reply::Refused { code, retry_after_ms, reason: reason.to_owned() }
}
