//! What a user can do about a code.

use quoth_client::Code;
use quoth_client::protocol::Action;
use quoth_client::protocol::limits::{BODY_BYTES_MAX, FIRST_FRAME_BYTES_MAX};

use super::{Attempt, Situation};
use crate::connection::Purpose;
use crate::output::printable;
use crate::rights::Barrier;

/// What can be done about a code; for one that this version does not name, what its range says.
pub(super) fn code_hint(code: Code, attempt: Attempt, situation: &Situation<'_>) -> String {
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
        Code::FORBIDDEN => forbidden(attempt, situation),
        Code::ALREADY_OPEN => {
            "the server has not yet seen the end of an earlier connection: try again in a moment".to_owned()
        }
        Code::STALE_MESSAGE_ID => {
            let way = match situation.purpose {
                Purpose::Import => {
                    "import the log into another conversation, with --prefix or --conversation"
                }
                Purpose::Talk(_) | Purpose::Ask => "send it with another --once, or without",
            };
            format!(
                "later messages of the same producer are stored and this one never was, so its place is taken: {way}"
            )
        }
        Code::CURSOR_AHEAD => cursor_ahead(situation),
        _ => return membership_hint(code),
    };
    Some(hint)
}

/// Hints of codes that come of who is in a conversation, of messages, devices and limits.
fn membership_hint(code: Code) -> Option<String> {
    let hint = match code {
        Code::REPLACED => "the same device has connected again: what runs there goes on",
        Code::KICKED => "this device was signed out; the reason says by whom, and whether to sign in again",
        Code::TOKEN_REVOKED => {
            "the token was withdrawn: ask the server's operator for a new one; one that is issued within 30 s of \
             the withdrawal may be refused, too"
        }
        Code::RATE_LIMITED => "that was too much in too short a time: wait a moment",
        Code::SLOW_MODE => "the conversation is in slow mode: each member writes once in a while only",
        Code::MUTED => "you may not write here for now: ask who moderates the conversation",
        Code::UNAVAILABLE => {
            "something that the server must ask first does not answer: try again in a moment"
        }
        Code::TIMED_OUT => "the server is busy, and may have done it all the same: look before you repeat it",
        Code::ALREADY_EXISTS => "somebody uses that name already: take another one",
        Code::INVALID_REQUEST => "the server cannot do that here; the reason says why",
        Code::LAST_OWNER => {
            "make somebody else owner first: `quoth conversation role CONVERSATION USER owner`"
        }
        Code::TOO_MANY => "a limit is reached; the reason says which, and something has to go first",
        Code::DENIED => "the server's operator does not allow it; the reason says why",
        Code::STORAGE_FULL => {
            "the server's disk is full: what is stored can be read, and it takes new messages when its operator has made room"
        }
        Code::NOT_FOUND_MESSAGE => {
            "the message is gone, or was never there: `quoth history` shows which ones can be read"
        }
        Code::TOO_OLD => "the message is older than the server's operator allows for that",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// Which right the token lacks.
fn forbidden(attempt: Attempt, situation: &Situation<'_>) -> String {
    if attempt == Attempt::Ask || situation.purpose == Purpose::Ask {
        return "there is no such conversation, or you are not in it, or who you are there may not do this: `quoth conversation \
                list` shows yours"
            .to_owned();
    }
    let Purpose::Talk(conversation) = situation.purpose else {
        return format!(
            "an import needs a token that may publish in every user's name: {}; beside a development server leave --token \
             and --user out",
            new_token(situation)
        );
    };
    let user = printable(situation.user.as_deref().unwrap_or("this user"));
    let conversation = printable(conversation);
    let is_of_both = situation.barrier == Some(Barrier::NotJoined);
    if let Some(hint) = barrier_hint(situation).filter(|_| is_of_both || attempt == Attempt::Publish) {
        return hint;
    }
    let verb = if attempt == Attempt::Publish { "publish to" } else { "read" };
    let of_members = match attempt {
        Attempt::Publish => ", or one who only reads there, or is blocked by the other one",
        _ => "",
    };
    let of_development = match situation.file {
        Some(_) => format!(
            "; of this development server `quoth-server token --user {}` makes one, and --token takes it",
            quoted_user(situation)
        ),
        None => String::new(),
    };
    format!(
        "the token of {user} does not allow to {verb} {conversation}, or {conversation} has members and {user} is none of \
         them{of_members}: ask who moderates {conversation}, or the server's operator for a token that allows it beside what this one does{of_development}"
    )
}

/// Why the user may not write, and what can be done about it.
pub(crate) fn barrier_hint(situation: &Situation<'_>) -> Option<String> {
    let Purpose::Talk(name) = situation.purpose else { return None };
    let conversation = printable(name);
    let user = printable(situation.user.as_deref().unwrap_or("this user"));
    let better =
        "ask the server's operator for one whose `write` has it, which `quoth-server token --write` makes";
    Some(match situation.barrier? {
        Barrier::OnlyReads => format!(
            "you only read in {conversation}: who administers it can change that, with `quoth conversation role {} {} member`",
            quoted(name),
            quoted_user(situation)
        ),
        Barrier::TokenOnlyReads => format!(
            "your token lets you only read in {conversation}: {better}; this one does not allow to publish to {conversation}"
        ),
        Barrier::TokenForbids => {
            format!("the token of {user} does not allow to publish to {conversation}: {better}")
        }
        Barrier::NotJoined => format!(
            "anybody may join {conversation}, and {user} has not: `quoth conversation join {}`",
            quoted(name)
        ),
        Barrier::Hidden => format!(
            "there is no {conversation}, or {user} is not in it: ask who moderates it; `quoth conversation list` shows what \
             {user} is in"
        ),
    })
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
        Purpose::Talk(_) | Purpose::Ask => "",
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
pub(crate) fn quoted(word: &str) -> String {
    format!("'{}'", printable(word).replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::situation;
    use super::*;

    #[test]
    fn every_code_has_a_hint() {
        for purpose in [Purpose::Talk("general"), Purpose::Import, Purpose::Ask] {
            for attempt in [Attempt::SignIn, Attempt::Read, Attempt::Publish, Attempt::Ask] {
                for code in Code::ALL {
                    let hint = named_code_hint(*code, attempt, &situation(purpose));
                    assert!(hint.is_some_and(|hint| !hint.is_empty()), "{code} has no hint");
                }
            }
        }
        assert_eq!(named_code_hint(Code(0xFFFF), Attempt::Read, &situation(Purpose::Import)), None);
    }
}
