//! What a user can do about an error of the SDK. Pure.

mod asked;
mod code;

use std::path::Path;
use std::time::Duration;

use quoth_client::{
    Code, ConnectError, EventsError, HistoryError, Reason, RequestError, SendError, Seq, Transport,
};

pub(crate) use self::asked::{Asked, Needs, WITHOUT_MEMBERS, explained, is_silent, without_members};
use self::code::code_hint;
pub(crate) use self::code::{barrier_hint, made_by, quoted, token_with};
use crate::claims::Claims;
use crate::connection::{Purpose, START_ONE};
use crate::development::Beside;
use crate::rights::Barrier;
use crate::token_file::TokenFile;

/// How long the server may take to say what a hint needs, which nobody waits for where it answers. Outcome: nothing
/// is said of it.
pub(crate) const HINT_TIMEOUT: Duration = Duration::from_secs(5);

/// What was going on when an error came up.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    pub(crate) server: &'a str,
    /// The development server that has named it.
    pub(crate) development: Option<&'a Beside>,
    pub(crate) ca: &'a Path,
    /// What was to be connected over.
    pub(crate) transport: Transport,
    /// Length of the token, in bytes.
    pub(crate) token_bytes: usize,
    /// Who is signed in, or wants to be; `None` when only the token knows.
    pub(crate) user: Option<String>,
    pub(crate) purpose: Purpose<'a>,
    /// Where the conversation ends, if that was asked for.
    pub(crate) head: Option<Seq>,
    /// The file that is read again for each sign-in.
    pub(crate) token_file: Option<TokenFile>,
    /// What the token says, if that can be read.
    pub(crate) claims: Option<Claims>,
    /// Which of the user's devices this is, if it says so.
    pub(crate) device: Option<String>,
    /// Why the user may not read or write there, if that is known.
    pub(crate) barrier: Option<Barrier>,
}

/// The outermost context of an error that something can be done about; shown below it.
#[derive(Debug)]
pub(crate) struct Hint(pub(crate) String);

/// What the client was about when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    SignIn,
    Read,
    Publish,
    Ask,
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Adds what can be done about an error, if it is one of the SDK's and does not say so yet.
pub(crate) fn hinted(error: anyhow::Error, situation: &Situation<'_>) -> anyhow::Error {
    if error.is::<Hint>() {
        return error;
    }
    match error.chain().find_map(|cause| hint(cause, situation)) {
        Some(hint) => error.context(Hint(hint)),
        None => error,
    }
}

/// What can be done about an error of the SDK.
pub(crate) fn hint(error: &(dyn std::error::Error + 'static), situation: &Situation<'_>) -> Option<String> {
    if let Some(error) = error.downcast_ref::<ConnectError>() {
        return connect_hint(error, situation);
    }
    if let Some(error) = error.downcast_ref::<SendError>() {
        return send_hint(error, situation);
    }
    if let Some(error) = error.downcast_ref::<RequestError>() {
        return request_hint(error, situation);
    }
    if let Some(error) = error.downcast_ref::<EventsError>() {
        return match error {
            EventsError::Refused { code, .. } | EventsError::Failed { code, .. } => {
                Some(code_hint(*code, Attempt::Read, situation))
            }
            EventsError::Closed(reason) => reason_hint(reason, Attempt::Read, situation),
            EventsError::Protocol { .. } => Some(code_hint(Code::PROTOCOL, Attempt::Read, situation)),
            _ => None,
        };
    }
    match error.downcast_ref::<HistoryError>()? {
        HistoryError::Refused { code, .. } | HistoryError::Failed { code, .. } => {
            Some(code_hint(*code, Attempt::Read, situation))
        }
        HistoryError::TimedOut { reason, .. } | HistoryError::Closed(reason) => {
            reason_hint(reason, Attempt::Read, situation)
        }
        HistoryError::Protocol { .. } => Some(code_hint(Code::PROTOCOL, Attempt::Read, situation)),
        _ => None,
    }
}

fn connect_hint(error: &ConnectError, situation: &Situation<'_>) -> Option<String> {
    match error {
        ConnectError::TimedOut {
            last:
                Some(
                    reason @ (Reason::Code { .. }
                    | Reason::NoAddress(_)
                    | Reason::NoWebSocket(_)
                    | Reason::Tls(_)),
                ),
            ..
        }
        | ConnectError::Refused { reason, .. } => reason_hint(reason, Attempt::SignIn, situation),
        ConnectError::TimedOut { .. } => {
            let (named, advice) = match situation.development {
                Some(Beside { file, .. }) => (format!(", named by {}", file.display()), START_ONE),
                None => (
                    String::new(),
                    "see whether the address and the port are right, and ask whoever runs one there",
                ),
            };
            let blocked = match situation.transport {
                Transport::Quic => "; in a network that lets no UDP through, leave --transport out",
                Transport::WebSocket => {
                    "; one with server.websocket = false takes QUIC alone: leave --transport out, or say --transport quic"
                }
                Transport::Auto => "",
            };
            Some(format!(
                "nothing answers at {}{named}: if no server runs there, {advice}{blocked}",
                situation.server
            ))
        }
        _ => None,
    }
}

fn send_hint(error: &SendError, situation: &Situation<'_>) -> Option<String> {
    match error {
        SendError::Refused { code, .. } => Some(code_hint(*code, Attempt::Publish, situation)),
        SendError::NotSent { reason } => reason_hint(reason, Attempt::Publish, situation),
        SendError::UnknownOutcome { reason, .. } => {
            let why = reason_hint(reason, Attempt::Publish, situation).map(|hint| format!("{hint}; "));
            let then = match situation.purpose {
                Purpose::Import => "import again: what is there already is not written twice".to_owned(),
                Purpose::Ask => "ask again".to_owned(),
                Purpose::Talk(conversation) => {
                    format!(
                        "look with `quoth history {}` before you send it again: it would be a new message",
                        quoted(conversation)
                    )
                }
            };
            Some(format!("{}{then}", why.unwrap_or_default()))
        }
        SendError::TooLarge { .. } => Some(code_hint(Code::TOO_LARGE, Attempt::Publish, situation)),
        _ => None,
    }
}

fn request_hint(error: &RequestError, situation: &Situation<'_>) -> Option<String> {
    match error {
        // It says why itself, and the others do not say what to do.
        RequestError::Refused { code, reason, .. }
            if !reason.is_empty() && !matches!(*code, Code::FORBIDDEN | Code::NOT_FOUND_MESSAGE) =>
        {
            None
        }
        RequestError::Refused { code, .. } => Some(code_hint(*code, Attempt::Ask, situation)),
        RequestError::NotSent { reason } => reason_hint(reason, Attempt::Ask, situation),
        RequestError::UnknownOutcome { reason } => {
            let why = reason_hint(reason, Attempt::Ask, situation).map(|hint| format!("{hint}; "));
            let then =
                "see whether it was done before you ask again, with `quoth conversation list` or `show`";
            Some(format!("{}{then}", why.unwrap_or_default()))
        }
        RequestError::Protocol(_) => Some(code_hint(Code::PROTOCOL, Attempt::Ask, situation)),
        _ => None,
    }
}

fn reason_hint(reason: &Reason, attempt: Attempt, situation: &Situation<'_>) -> Option<String> {
    match reason {
        Reason::Code { code, .. } => Some(code_hint(*code, attempt, situation)),
        Reason::Tls(text) => Some(tls_hint(text, situation)),
        Reason::TimedOut | Reason::Transport(_) => Some(format!(
            "see whether the server at {} runs and the network is up, then try again",
            situation.server
        )),
        Reason::NoWebSocket(_) => Some(format!(
            "UDP does not get through to {0}, or was not wanted, and what answers there over TCP is not Quoth, or has no \
             WebSocket: see whether {0} is right and no proxy answers in its place; where UDP gets through, try \
             --transport quic",
            situation.server
        )),
        Reason::NoAddress(_) => Some(format!(
            "the name in {} does not resolve: see whether it is spelt right and the network is up",
            situation.server
        )),
        Reason::Protocol(_) => Some(code_hint(Code::PROTOCOL, attempt, situation)),
        _ => None,
    }
}

/// What TLS does not accept is known by its words alone.
fn tls_hint(text: &str, situation: &Situation<'_>) -> String {
    let (server, ca) = (situation.server, situation.ca.display());
    if text.contains("not valid for name") {
        format!("the certificate of {server} is for another name: give one that it is for with --server-name")
    } else if text.contains("expired") || text.contains("not valid yet") {
        format!(
            "the certificate of {server} is not valid at this time: see whether the clock of this machine is \
             right; the server's operator can renew it"
        )
    } else {
        format!(
            "the certificate of {server} was not signed by the CA in {ca}: give the server's CA with --ca"
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use quoth_client::{ConversationName, MessageId, ProducerId};

    use super::*;

    pub(super) fn situation(purpose: Purpose<'_>) -> Situation<'_> {
        let (server, ca) = ("chat.example:4433", Path::new("ca.pem"));
        let user = Some("alice".to_owned());
        let transport = Transport::Auto;
        Situation {
            server,
            development: None,
            ca,
            transport,
            token_bytes: 9_000,
            user,
            purpose,
            head: None,
            token_file: None,
            claims: None,
            device: None,
            barrier: None,
        }
    }

    fn beside() -> Beside {
        Beside { file: PathBuf::from("dev.json"), data_dir: Some(PathBuf::from("/srv/it's")) }
    }

    fn refused(code: Code) -> SendError {
        let id = MessageId { producer: ProducerId(1), n: 1 };
        SendError::Refused { id, code, reason: String::new(), retry_after: None }
    }

    #[test]
    fn what_the_token_lacks_is_said() {
        let talk = situation(Purpose::Talk("it's"));
        let hint_of = |error: &(dyn std::error::Error + 'static), situation: &Situation<'_>| {
            hint(error, situation).unwrap()
        };
        let write = hint_of(&refused(Code::FORBIDDEN), &talk);
        assert!(
            write.contains("to write in it's it takes") && write.contains("not to be blocked"),
            "{write}"
        );
        for (barrier, told) in [
            (
                Barrier::OnlyReads,
                &["you only read in it's: who", "conversation role 'it'\\''s' 'alice' member"][..],
            ),
            (Barrier::TokenOnlyReads, &["only read in it's: ask", "whose `write` has it's"]),
            (
                Barrier::TokenForbids,
                &["the token of alice does not allow to publish to it's: ask", "--write 'it'\\''s'"],
            ),
            (Barrier::NotJoined, &["anybody may join it's", "conversation join 'it'\\''s'"]),
            (Barrier::MayNotJoin, &["but your token does not let you join", "--write 'it'\\''s'"]),
            (Barrier::Hidden, &["there is no it's", "alice is not in it"]),
            (Barrier::OfTheOther, &["may have blocked you"]),
        ] {
            let barred = Situation { barrier: Some(barrier), ..talk.clone() };
            let write = hint_of(&refused(Code::FORBIDDEN), &barred);
            assert!(told.iter().all(|told| write.contains(told)), "{barrier:?}: {write}");
        }
        let conversation = ConversationName::new("it's").unwrap();
        let read = EventsError::Refused { conversation: conversation.clone(), code: Code::FORBIDDEN };
        assert!(hint_of(&read, &talk).contains("to read in it's it takes"), "{}", hint_of(&read, &talk));
        let read = HistoryError::Refused { conversation, code: Code::FORBIDDEN };
        assert!(hint_of(&read, &talk).contains("to read in it's it takes"), "{}", hint_of(&read, &talk));
        let outside = Situation { barrier: Some(Barrier::NotJoined), ..talk.clone() };
        assert!(hint_of(&read, &outside).contains("conversation join"), "{}", hint_of(&read, &outside));
        let by_token = Situation { barrier: Some(Barrier::TokenForbids), ..talk.clone() };
        let told = hint_of(&read, &by_token);
        assert!(told.contains("does not allow to read it's: ask") && told.contains("--read 'it'"), "{told}");
        let too_large = Reason::Code { code: Code::FRAME_TOO_LARGE, text: String::new() };
        let too_large = ConnectError::Refused { server: String::new(), reason: too_large };
        assert!(hint_of(&too_large, &talk).contains("the token has 9000 bytes"));
        let import = hint_of(&refused(Code::FORBIDDEN), &situation(Purpose::Import));
        assert!(import.contains("--publish-as '*'"), "{import}");
    }

    #[test]
    fn where_a_new_token_comes_from_is_said_as_far_as_it_is_known() {
        let rejected = || Reason::Code { code: Code::TOKEN_REJECTED, text: String::new() };
        let told = |situation: &Situation<'_>| {
            hint(&ConnectError::Refused { server: String::new(), reason: rejected() }, situation).unwrap()
        };
        let ask = situation(Purpose::Ask);
        assert!(told(&ask).contains("the server's operator") && told(&ask).contains("--user 'alice'"));
        let beside = beside();
        let here = Situation { development: Some(&beside), ..ask.clone() };
        let made = "quoth-server --data-dir '/srv/it'\\''s' token --user 'alice'`";
        assert!(told(&here).contains(made) && !told(&here).contains("operator"), "{}", told(&here));
        // What another device may use is not damaged.
        let claims = crate::claims::tests::claims(r#"{"device":"lap"}"#);
        let device = Some("desk".to_owned());
        let other = Situation { claims, device, ..here };
        assert!(told(&other).contains("give --device 'lap'"), "{}", told(&other));
        let same = Situation { device: Some("lap".to_owned()), ..other };
        assert!(told(&same).contains("damaged"), "{}", told(&same));
    }

    #[test]
    fn where_a_conversation_ends_is_said() {
        let situation = Situation { head: Some(Seq(41)), ..situation(Purpose::Talk("general")) };
        let conversation = ConversationName::new("general").unwrap();
        let ahead = EventsError::Refused { conversation, code: Code::CURSOR_AHEAD };
        let error = hinted(anyhow::Error::new(ahead).context("reading"), &situation);
        assert_eq!(
            error.downcast_ref::<Hint>().map(ToString::to_string).as_deref(),
            Some("general ends with 41: begin with 42 or less")
        );
    }

    #[test]
    fn what_ended_the_connection_counts_as_well() {
        let expired = Reason::Code { code: Code::TOKEN_EXPIRED, text: String::new() };
        let talk = situation(Purpose::Talk("general"));
        let id = MessageId { producer: ProducerId(1), n: 1 };
        let unknown = SendError::UnknownOutcome { id, reason: expired.clone() };
        let told = hint(&unknown, &talk).unwrap();
        assert!(told.contains("the token has expired") && told.contains("quoth history 'general'"), "{told}");
        let told = hint(&EventsError::Closed(expired), &talk).unwrap();
        assert!(told.contains("quoth-server token --user 'alice'"), "{told}");
        let tls = |text: &str| {
            let reason = Reason::Tls(text.to_owned());
            hint(&ConnectError::Refused { server: String::new(), reason }, &talk).unwrap()
        };
        assert!(tls("invalid peer certificate: UnknownIssuer").contains("--ca"));
        let name = tls("certificate not valid for name \"127.0.0.1\"");
        assert!(name.contains("--server-name") && !name.contains("--ca"), "{name}");
        assert!(tls("invalid peer certificate: certificate expired").contains("renew"));
        let silent = ConnectError::TimedOut {
            server: talk.server.to_owned(),
            timeout: Duration::from_secs(10),
            last: None,
        };
        let told = hint(&silent, &Situation { development: Some(&beside()), ..talk.clone() }).unwrap();
        assert!(told.contains("named by dev.json") && told.contains("--client-file"), "{told}");
        assert!(!told.contains("--transport"), "{told}");
        let told = hint(&silent, &talk).unwrap();
        assert!(told.contains("address and the port") && !told.contains("cargo run"), "{told}");
        let told = hint(&silent, &Situation { transport: Transport::Quic, ..talk.clone() }).unwrap();
        assert!(told.contains("leave --transport out"), "{told}");
        let nameless = ConnectError::TimedOut {
            server: talk.server.to_owned(),
            timeout: Duration::from_secs(10),
            last: Some(Reason::NoAddress(String::new())),
        };
        let told = hint(&nameless, &talk).unwrap();
        assert!(told.contains("the name in chat.example:4433 does not resolve"), "{told}");
        let portal = ConnectError::TimedOut {
            server: talk.server.to_owned(),
            timeout: Duration::from_secs(10),
            last: Some(Reason::NoWebSocket("HTTP 302 Found".to_owned())),
        };
        let told = hint(&portal, &talk).unwrap();
        assert!(told.contains("no proxy answers") && told.contains("--transport quic"), "{told}");
        let other = anyhow::Error::new(std::io::Error::other("disk"));
        assert!(hinted(other, &talk).downcast_ref::<Hint>().is_none());
    }
}
