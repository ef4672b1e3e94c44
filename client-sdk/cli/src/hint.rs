//! What a user can do about an error of the SDK. Pure.

use std::path::Path;

use quoth_client::protocol::Action;
use quoth_client::protocol::limits::{BODY_BYTES_MAX, FIRST_FRAME_BYTES_MAX};
use quoth_client::{Code, ConnectError, EventsError, HistoryError, Reason, SendError, Seq, Transport};

use crate::connection::{Purpose, START_ONE};
use crate::output::printable;

/// What was going on when an error came up.
#[derive(Debug, Clone)]
pub(crate) struct Situation<'a> {
    pub(crate) server: &'a str,
    /// The development server's file that has named it.
    pub(crate) file: Option<&'a Path>,
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
            let named =
                situation.file.map_or_else(String::new, |file| format!(", named by {}", file.display()));
            let blocked = match situation.transport {
                Transport::Quic => "; in a network that lets no UDP through, leave --transport out",
                Transport::WebSocket => {
                    "; one with server.websocket = false takes QUIC alone: leave --transport out, or say --transport quic"
                }
                Transport::Auto => "",
            };
            Some(format!(
                "nothing answers at {}{named}: if no server runs there, {START_ONE}{blocked}",
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

/// What can be done about a code; for one that this version does not name, what its range says.
fn code_hint(code: Code, attempt: Attempt, situation: &Situation<'_>) -> String {
    named_code_hint(code, attempt, situation).unwrap_or_else(|| match code.action() {
        Action::Retry => "try again in a moment".to_owned(),
        Action::Reauthenticate => new_token(situation),
        Action::Nothing | Action::Stop => {
            "this version of quoth does not know the code: use the client of the server's release".to_owned()
        }
    })
}

fn named_code_hint(code: Code, attempt: Attempt, situation: &Situation<'_>) -> Option<String> {
    let hint = match code {
        Code::CLOSED | Code::CANCELLED => "the server has ended this on purpose: try again".to_owned(),
        Code::GOING_AWAY => "the server is being stopped or restarted: try again when it is back".to_owned(),
        Code::OVERLOADED => "the server has too much to do at the moment: try again in a minute".to_owned(),
        Code::INTERNAL => "this is a fault of the server: its log says more".to_owned(),
        Code::STORE_FAILED if attempt == Attempt::Read => {
            "the server cannot read what it has stored of this conversation: its log says what is damaged, and \
             `quoth-server verify` on the server's machine what can be done"
                .to_owned()
        }
        Code::STORE_FAILED => {
            "the server's disk is full or has failed: its log says more; it takes messages again when \
             the cause is removed and it is restarted"
                .to_owned()
        }
        Code::TOKEN_EXPIRED => format!("the token has expired: {}", new_token(situation)),
        Code::TOKEN_REJECTED => {
            format!("the token was not made for this server, or is damaged: {}", new_token(situation))
        }
        Code::PROTOCOL | Code::UNSUPPORTED_VERSION => format!(
            "client and server do not understand each other: use the same release of both; this is quoth {}",
            env!("CARGO_PKG_VERSION")
        ),
        Code::FRAME_TOO_LARGE if attempt == Attempt::SignIn => {
            format!(
                "the token has {} bytes, and with it the sign-in is longer than the {FIRST_FRAME_BYTES_MAX} that a server takes: \
                 get one with fewer or shorter patterns, such as 'team-*' for many conversations",
                situation.token_bytes
            )
        }
        Code::FRAME_TOO_LARGE | Code::TOO_LARGE => format!(
            "a message has at most {BODY_BYTES_MAX} bytes: split it, or put it elsewhere and send where it is"
        ),
        Code::HELLO_TIMEOUT => "the network is too slow, or the machine is too busy: try again".to_owned(),
        Code::RATE_LIMITED => {
            "the server has taken what came for a flood, and closed: try again in a moment, and more slowly".to_owned()
        }
        Code::FORBIDDEN => forbidden(attempt, situation),
        Code::ALREADY_OPEN => {
            "the server has not yet seen the end of an earlier connection: try again in a moment".to_owned()
        }
        Code::STALE_MESSAGE_ID => {
            let way = match situation.purpose {
                Purpose::Import => {
                    "import the log into another conversation, with --prefix or --conversation"
                }
                Purpose::Talk(_) => "send it with another --once, or without",
            };
            format!(
                "later messages of the same producer are stored and this one never was, so its place is taken: {way}"
            )
        }
        Code::CURSOR_AHEAD => cursor_ahead(situation),
        _ => return None,
    };
    Some(hint)
}

/// Which right the token lacks.
fn forbidden(attempt: Attempt, situation: &Situation<'_>) -> String {
    let Purpose::Talk(conversation) = situation.purpose else {
        return format!(
            "an import needs a token that may publish in every user's name: {}; beside a development server leave --token \
             and --user out",
            new_token(situation)
        );
    };
    let verb = if attempt == Attempt::Publish { "publish to" } else { "read" };
    format!(
        "the token of {} does not allow to {verb} {}: ask the server's operator for one that allows it beside what this \
         one does, or make one for a development server, which may do everything, with `quoth-server token --user {}`; \
         pass it with --token",
        printable(situation.user.as_deref().unwrap_or("this user")),
        printable(conversation),
        quoted_user(situation)
    )
}

fn cursor_ahead(situation: &Situation<'_>) -> String {
    match (situation.head, situation.purpose) {
        (Some(head), Purpose::Talk(conversation)) => format!(
            "{} ends with {head}: begin with {} or less",
            printable(conversation),
            head.0.saturating_add(1)
        ),
        _ => "the conversation ends before that: `quoth history` shows its last messages".to_owned(),
    }
}

/// Where a token comes from.
fn new_token(situation: &Situation<'_>) -> String {
    let rights = match situation.purpose {
        Purpose::Import => " --publish-as '*'",
        Purpose::Talk(_) => "",
    };
    format!(
        "get a new one from the server's operator, or make one for a development server with \
         `quoth-server token --user {}{rights}`, and pass it with --token; a development server makes new ones when it is \
         restarted",
        quoted_user(situation)
    )
}

/// The user as a shell takes it.
fn quoted_user(situation: &Situation<'_>) -> String {
    situation.user.as_deref().map_or_else(|| "NAME".to_owned(), quoted)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    format!("'{}'", printable(word).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use quoth_client::{ConversationName, MessageId, ProducerId};

    use super::*;

    fn situation(purpose: Purpose<'_>) -> Situation<'_> {
        let (server, ca) = ("chat.example:4433", Path::new("ca.pem"));
        let user = Some("alice".to_owned());
        let transport = Transport::Auto;
        Situation { server, file: None, ca, transport, token_bytes: 9_000, user, purpose, head: None }
    }

    fn refused(code: Code) -> SendError {
        SendError::Refused { id: MessageId { producer: ProducerId(1), n: 1 }, code }
    }

    #[test]
    fn every_code_has_a_hint() {
        for purpose in [Purpose::Talk("general"), Purpose::Import] {
            for attempt in [Attempt::SignIn, Attempt::Read, Attempt::Publish] {
                for code in Code::ALL {
                    let hint = named_code_hint(*code, attempt, &situation(purpose));
                    assert!(hint.is_some_and(|hint| !hint.is_empty()), "{code} has no hint");
                }
            }
        }
        assert_eq!(named_code_hint(Code(0xFFFF), Attempt::Read, &situation(Purpose::Import)), None);
    }

    #[test]
    fn what_the_token_lacks_is_said() {
        let talk = situation(Purpose::Talk("it's"));
        let hint_of = |error: &(dyn std::error::Error + 'static), situation| hint(error, situation).unwrap();
        let write = hint_of(&refused(Code::FORBIDDEN), &talk);
        assert!(
            write.contains("not allow to publish to it's:") && write.contains("--user 'alice'`"),
            "{write}"
        );
        let conversation = ConversationName::new("it's").unwrap();
        let read = EventsError::Refused { conversation: conversation.clone(), code: Code::FORBIDDEN };
        assert!(hint_of(&read, &talk).contains("not allow to read it's:"), "{}", hint_of(&read, &talk));
        let read = HistoryError::Refused { conversation, code: Code::FORBIDDEN };
        assert!(hint_of(&read, &talk).contains("not allow to read it's:"), "{}", hint_of(&read, &talk));
        let too_large = Reason::Code { code: Code::FRAME_TOO_LARGE, text: String::new() };
        let too_large = ConnectError::Refused { server: String::new(), reason: too_large };
        assert!(hint_of(&too_large, &talk).contains("the token has 9000 bytes"));
        let import = hint_of(&refused(Code::FORBIDDEN), &situation(Purpose::Import));
        assert!(import.contains("--publish-as '*'"), "{import}");
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
            timeout: std::time::Duration::from_secs(10),
            last: None,
        };
        let told = hint(&silent, &Situation { file: Some(Path::new("dev.json")), ..talk.clone() }).unwrap();
        assert!(told.contains("named by dev.json") && told.contains("--client-file"), "{told}");
        assert!(!told.contains("--transport"), "{told}");
        let told = hint(&silent, &Situation { transport: Transport::Quic, ..talk.clone() }).unwrap();
        assert!(told.contains("leave --transport out"), "{told}");
        let nameless = ConnectError::TimedOut {
            server: talk.server.to_owned(),
            timeout: std::time::Duration::from_secs(10),
            last: Some(Reason::NoAddress(String::new())),
        };
        let told = hint(&nameless, &talk).unwrap();
        assert!(told.contains("the name in chat.example:4433 does not resolve"), "{told}");
        let portal = ConnectError::TimedOut {
            server: talk.server.to_owned(),
            timeout: std::time::Duration::from_secs(10),
            last: Some(Reason::NoWebSocket("HTTP 302 Found".to_owned())),
        };
        let told = hint(&portal, &talk).unwrap();
        assert!(told.contains("no proxy answers") && told.contains("--transport quic"), "{told}");
        let other = anyhow::Error::new(std::io::Error::other("disk"));
        assert!(hinted(other, &talk).downcast_ref::<Hint>().is_none());
    }
}
