//! Clients, joins and messages that a hook is asked about. The order of messages is kept, however the answers
//! come.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use quoth_core::conversation::{About, Append};
use quoth_core::session::Identity;
use quoth_protocol::frame::{EventKind, Hello};
use quoth_protocol::reply::Reply;
use quoth_protocol::{Code, ConversationName, Seq, UserId};
use serde_json::{Value, json};

use super::end::End;
use crate::engine::Stand;
use crate::hooks::{Hook, Judgement, Place};
use crate::sessions::{Arrival, Expected, Goodbye};

/// What is known of a message that was asked about.
pub(super) struct Judged {
    pub(super) append: Append,
    /// What it was let through by before it was asked about: what has changed since is for the committer to
    /// find out.
    pub(super) stand: Stand,
    pub(super) judgement: Judgement,
}

/// The judgement of a message, which has its place until it is taken: so those that are judged and wait for
/// one before them are bounded too.
type Judging = Pin<Box<dyn Future<Output = (Judged, Place)> + Send>>;

/// A message that waits for its place, and what is done then.
struct Waiting {
    place: Pin<Box<dyn Future<Output = Place> + Send>>,
    asks: Box<dyn FnOnce(Place) -> Judging + Send>,
}

/// The messages of a stream that a hook is asked about. Takes no memory before the first.
#[derive(Default)]
pub(super) struct Messages {
    asked: Option<Box<FuturesOrdered<Judging>>>,
    /// The last one, while it waits.
    waits: Option<Waiting>,
}

impl Messages {
    pub(super) fn is_empty(&self) -> bool {
        self.waits.is_none() && self.asked.as_ref().is_none_or(|asked| asked.is_empty())
    }

    /// Whether another one may be asked about. While the last one waits for its place, none behind it is to
    /// be read. However long that is, nothing is refused for it: what is sent behind it would be stored
    /// before it.
    pub(super) fn has_room(&self) -> bool {
        self.waits.is_none()
    }

    /// Asks about a message of a user behind those before it.
    pub(super) fn ask(
        &mut self,
        hook: Hook,
        conversation: &ConversationName,
        user: &UserId,
        append: Append,
        stand: Stand,
    ) {
        let (conversation, user) = (conversation.clone(), user.clone());
        let (waits_for, waiting) = (hook.clone(), user.clone());
        self.waits = Some(Waiting {
            place: Box::pin(async move { waits_for.place(&waiting).await }),
            asks: Box::new(move |place| {
                Box::pin(async move {
                    let judgement = hook.ask_at(&place, || data(&conversation, &user, &append)).await;
                    (Judged { append, stand, judgement }, place)
                })
            }),
        });
    }

    /// The next message, once it is known what becomes of it; `None` once another one may be asked about.
    /// Dropping the future changes nothing.
    pub(super) async fn next(&mut self) -> Option<Judged> {
        poll_fn(|task| {
            if let Some(mut waiting) = self.waits.take() {
                match waiting.place.as_mut().poll(task) {
                    Poll::Ready(place) => {
                        self.asked.get_or_insert_default().push_back((waiting.asks)(place));
                        return Poll::Ready(None);
                    }
                    Poll::Pending => self.waits = Some(waiting),
                }
            }
            match self.asked.as_mut().map(|asked| asked.poll_next_unpin(task)) {
                Some(Poll::Ready(Some((judged, _place)))) => Poll::Ready(Some(judged)),
                Some(Poll::Ready(None) | Poll::Pending) | None => Poll::Pending,
            }
        })
        .await
    }
}

/// Asks whether a user may join.
///
/// # Errors
/// The reply that says why not.
pub(super) async fn may_join(
    hook: &Hook,
    user: &UserId,
    conversation: &ConversationName,
    is_invited: bool,
) -> Result<(), Reply> {
    let data = || json!({ "conversation": conversation, "user": user, "invitation": is_invited });
    match hook.ask(user, data).await {
        Judgement::Allow | Judgement::Change(_) => Ok(()),
        Judgement::Deny(reason) => Err(denied(reason)),
        Judgement::Unavailable { retry_after_ms, reason } => Err(unavailable(retry_after_ms, reason)),
    }
}

/// Asks about what a message is to say from now on; gives back what it may say.
///
/// # Errors
/// The reply that says why not.
pub(super) async fn judge_edit(
    hook: &Hook,
    user: &UserId,
    conversation: &ConversationName,
    seq: Seq,
    body: Bytes,
    mentions: &[UserId],
) -> Result<Bytes, Reply> {
    let about = About { mentions: mentions.to_vec(), ..About::default() };
    let append = Append { n: 0, sender: user.clone(), origin_time_ms: None, body, about };
    let data = || {
        let mut data = data(conversation, user, &append);
        data["edits"] = json!(seq);
        data
    };
    match hook.ask(user, data).await {
        Judgement::Allow => Ok(append.body),
        Judgement::Change(body) => Ok(body),
        Judgement::Deny(reason) => Err(denied(reason)),
        Judgement::Unavailable { retry_after_ms, reason } => Err(unavailable(retry_after_ms, reason)),
    }
}

const fn denied(reason: String) -> Reply {
    Reply::Refused { code: Code::DENIED, retry_after_ms: 0, reason }
}

fn unavailable(retry_after_ms: u32, reason: &str) -> Reply {
    Reply::Refused { code: Code::UNAVAILABLE, retry_after_ms, reason: reason.to_owned() }
}

/// Whether a client may be signed in; the error is how its connection ends. Dropping it ends it.
pub(super) type Asking = Pin<Box<dyn Future<Output = Result<(Identity, Expected), End>> + Send>>;

/// A client that asks to be signed in.
#[derive(Debug)]
pub(super) struct Connecting {
    hook: Hook,
    data: Value,
}

impl Connecting {
    pub(super) fn new(hook: &Hook, hello: &Hello, peer: SocketAddr) -> Self {
        let Hello { device, generation, platform, client, .. } = hello;
        let data = json!({
            "device": device,
            "generation": generation,
            "platform": platform,
            "client": client,
            "address": peer.ip(),
        });
        Self { hook: hook.clone(), data }
    }

    /// Asks about the client, of whom it is known now who it is. It is expected from its arrival on until it is
    /// signed in: who is kicked meanwhile does not come in.
    pub(super) fn ask(self, identity: Identity, arrival: Arrival) -> Asking {
        let Self { hook, mut data } = self;
        data["user"] = json!(identity.grant.user);
        let expected = arrival.expect(&identity.grant.user);
        Box::pin(async move {
            match hook.ask(&identity.grant.user, || data).await {
                Judgement::Allow | Judgement::Change(_) => Ok((identity, expected)),
                Judgement::Deny(reason) => {
                    // The sum of those that end before a sign-in has it: anybody with a token can come often.
                    tracing::debug!(reason, user = %identity.grant.user, "a hook has refused a client");
                    Err(End::Goodbye(Goodbye::new(Code::DENIED, reason)))
                }
                Judgement::Unavailable { retry_after_ms, reason } => {
                    Err(End::Later { code: Code::UNAVAILABLE, retry_after_ms, reason })
                }
            }
        })
    }
}

fn data(conversation: &ConversationName, user: &UserId, append: &Append) -> Value {
    let Append { n: _, sender, origin_time_ms, body, about } = append;
    let About { reply_to, mentions, expires_in_ms } = about;
    let event = EventKind::message(body.clone());
    json!({
        "conversation": conversation,
        "user": user,
        "sender": sender,
        "origin_time_ms": origin_time_ms,
        "body": json!(event)["message"]["body"],
        "reply_to": reply_to,
        "mentions": mentions,
        "expires_in_ms": expires_in_ms,
        "edits": null,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use futures_util::FutureExt as _;
    use quoth_core::authorize::Standing;
    use quoth_core::conversation::{About, Append};
    use quoth_protocol::limits::BODY_BYTES_MAX;
    use quoth_protocol::{ConversationName, UserId};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::Messages;
    use crate::engine::Stand;
    use crate::hooks::Hook;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn ask(messages: &mut Messages, hook: &Hook, user: &UserId, n: u64) {
        let name = ConversationName::new("room").unwrap();
        let body = Bytes::from(vec![b'a'; BODY_BYTES_MAX]);
        let append = Append { n, sender: user.clone(), origin_time_ms: None, body, about: About::default() };
        let stand = Stand { standing: Standing::OF_OWN_LOG, version: 0 };
        messages.ask(hook.clone(), &name, user, append, stand);
    }

    /// A listener, and a hook that asks who answers there.
    async fn hooked() -> (TcpListener, Hook) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("hooks.secret");
        std::fs::write(&secret, "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=").unwrap();
        let hook = Hook::of(&format!("http://{}/", listener.local_addr().unwrap()), &secret);
        (listener, hook)
    }

    async fn soon<T>(future: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(30), future).await.expect("it comes")
    }

    /// Streams have 256 messages without an ack each, and connections any number of streams.
    #[tokio::test]
    async fn messages_that_wait_for_a_backend_are_bounded_over_all_streams() {
        let (listener, hook) = hooked().await;
        let users: Vec<_> = (0..8).map(|n| user(&format!("user {n}"))).collect();
        let mut streams: Vec<Messages> = (0..40).map(|_| Messages::default()).collect();
        let (mut count, mut of_first) = (0, 0);
        for (nth, stream) in streams.iter_mut().enumerate() {
            let user = &users[nth / 5];
            for _ in 0..256 {
                if stream.has_room() {
                    count += 1;
                    of_first += u64::from(*user == users[0]);
                    ask(stream, &hook, user, count);
                }
                let judged = stream.next().now_or_never();
                assert!(judged.is_none_or(|judged| judged.is_none()), "nothing is judged");
            }
        }
        assert_eq!(of_first, 16 + 5, "a quarter of one user, and one of each stream waits");
        assert_eq!(count, 64 + 40);
        assert!(!streams[39].has_room());
        // Once the backend answers, all of them are judged, in order.
        tokio::spawn(async move {
            while let Ok((mut tcp, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut request, mut read) = (Vec::new(), vec![0; 64 * 1024]);
                    // All of it, of which the head says how much it is.
                    let is_whole = |request: &[u8]| {
                        let text = String::from_utf8_lossy(request);
                        text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                            let length = head.split_once("content-length: ").unwrap().1.lines().next();
                            body.len() == length.unwrap().parse::<usize>().unwrap()
                        })
                    };
                    while !is_whole(&request) {
                        let count = tcp.read(&mut read).await.unwrap();
                        request.extend_from_slice(&read[..count]);
                    }
                    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 18\r\n\r\n";
                    tcp.write_all(format!("{head}{{\"result\":\"allow\"}}").as_bytes()).await.unwrap();
                });
            }
        });
        let mut last = 0;
        for stream in &mut streams {
            while !stream.is_empty() {
                let Some(judged) = soon(stream.next()).await else { continue };
                assert!(judged.append.n > last, "in order");
                last = judged.append.n;
            }
            assert!(stream.has_room());
        }
        assert_eq!(last, count);
    }

    /// One that was refused could not take its place in the order any more once those behind it are stored.
    #[tokio::test(start_paused = true)]
    async fn a_message_waits_for_its_place_as_long_as_it_takes() {
        let (_listener, hook) = hooked().await;
        let (alice, bob) = (user("alice"), user("bob"));
        let mut taken = Vec::new();
        for n in 0..4 {
            for _ in 0..16 {
                taken.push(hook.place(&user(&format!("user {n}"))).await);
            }
        }
        let mut stream = Messages::default();
        ask(&mut stream, &hook, &alice, 1);
        let waited = tokio::time::timeout(Duration::from_secs(600), stream.next()).await;
        assert!(waited.is_err(), "it is judged without having been asked about");
        // Whoever holds up nothing is told.
        let join = super::may_join(&hook, &bob, &ConversationName::new("room").unwrap(), false).await;
        let Err(super::Reply::Refused { code: super::Code::UNAVAILABLE, reason, .. }) = join else {
            panic!("{join:?}")
        };
        assert!(reason.contains("too much is asked"), "the backend is not to blame: {reason}");
        assert_eq!(hook.counts().unanswered, 0, "nor has it been asked");
        drop(taken);
        assert!(soon(stream.next()).await.is_none() && stream.has_room() && !stream.is_empty());
    }
}
