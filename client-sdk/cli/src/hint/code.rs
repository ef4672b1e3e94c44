//! What a user can do about a code.

use std::path::Path;

use quoth_client::Code;
use quoth_client::protocol::Action;
use quoth_client::protocol::limits::{BODY_BYTES_MAX, FIRST_FRAME_BYTES_MAX};

use super::{Attempt, Situation};
use crate::connection::Purpose;
use crate::output::printable;
use crate::rights::{Barrier, Verb};

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
        Code::TOKEN_REJECTED => rejected(situation),
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
            "the token was withdrawn: ask the server's operator whether there is to be a new one for you; where there is, \
             one that was issued within 30 s of the withdrawal may be refused, too"
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
            "what has this seq is gone, was never there, or is no message but something else that happened: `quoth history` \
             shows messages as <user>, and all else with a *"
        }
        Code::TOO_OLD => "the message is older than the server's operator allows for that",
        _ => return None,
    };
    Some(hint.to_owned())
}

/// A token that is good elsewhere, or nowhere.
fn rejected(situation: &Situation<'_>) -> String {
    let bound = situation.claims.as_ref().and_then(|claims| claims.device.as_deref());
    match bound {
        Some(device) if situation.device.as_deref() != Some(device) => format!(
            "the token is for the device {0} alone: give --device {1}, or QUOTH_DEVICE",
            printable(device),
            quoted(device)
        ),
        _ => format!(
            "the token was not made for this server, or is damaged: {}; a development server makes new ones when it is \
             restarted",
            new_token(situation)
        ),
    }
}

/// Which right is missing.
fn forbidden(attempt: Attempt, situation: &Situation<'_>) -> String {
    if attempt == Attempt::Ask || situation.purpose == Purpose::Ask {
        return "there is no such conversation, or you are not in it, or who you are there may not do this: `quoth conversation \
                list` shows yours"
            .to_owned();
    }
    let Purpose::Talk(conversation) = situation.purpose else {
        return format!(
            "an import needs a token that may publish in every user's name: {}",
            new_token(situation)
        );
    };
    let verb = if attempt == Attempt::Publish { Verb::Write } else { Verb::Read };
    if let Some(hint) = barrier_hint(verb, situation) {
        return hint;
    }
    // It is not known which of it is missing.
    let (verb, besides) = match verb {
        Verb::Write => ("write", ", and in a conversation of two not to be blocked by the other one"),
        Verb::Read => ("read", ""),
    };
    format!(
        "to {verb} in {} it takes a token that allows it, as `quoth whoami` shows, and where there are members, to be one who \
         may{besides}: `quoth conversation show {}` says what you are there",
        printable(conversation),
        quoted(conversation)
    )
}

/// Why the user may not do that, and what can be done about it.
pub(crate) fn barrier_hint(verb: Verb, situation: &Situation<'_>) -> Option<String> {
    let Purpose::Talk(name) = situation.purpose else { return None };
    let (user, conversation) = (me(situation), printable(name));
    Some(match (situation.barrier?, verb) {
        (Barrier::OnlyReads, _) => format!(
            "you only read in {conversation}: who administers it can change that, with `quoth conversation role {} {} member`",
            quoted(name),
            quoted_user(situation)
        ),
        (Barrier::TokenOnlyReads, _) => only_reads(name),
        (Barrier::TokenForbids, Verb::Write) => {
            format!("the token of {user} does not allow to publish to {conversation}: {}", token_with("write", name))
        }
        (Barrier::TokenForbids, Verb::Read) => {
            format!("the token of {user} does not allow to read {conversation}: {}", token_with("read", name))
        }
        (Barrier::MayNotJoin, _) => joins_not(name),
        (Barrier::NotJoined, _) => format!(
            "anybody may join {conversation}, and {user} has not: `quoth conversation join {}`",
            quoted(name)
        ),
        (Barrier::Hidden, _) => format!(
            "there is no {conversation}, or {user} is not in it or may not read there: ask who moderates it; `quoth conversation list` shows what \
             {user} is in"
        ),
        (Barrier::OfTheOther, _) => {
            "it is a conversation of two, and the other one may have blocked you: then nothing can be said there".to_owned()
        }
    })
}

/// What a token lacks with which its bearer reads alone.
pub(super) fn only_reads(name: &str) -> String {
    format!("your token lets you only read in {}: {}", printable(name), token_with("write", name))
}

/// What a token lacks that would let its bearer join an open conversation.
pub(super) fn joins_not(name: &str) -> String {
    format!(
        "anybody may join {}, but your token does not let you join: {}",
        printable(name),
        token_with("write", name)
    )
}

/// Whom to ask for a token that has these conversations.
pub(crate) fn token_with(claim: &str, pattern: &str) -> String {
    format!(
        "ask the server's operator for one whose `{claim}` has {} beside what this one has: the command that made this one \
         makes it, with `--{claim} {}` besides",
        printable(pattern),
        quoted(pattern)
    )
}

fn me(situation: &Situation<'_>) -> String {
    printable(situation.user.as_deref().unwrap_or("this user"))
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
    let user = quoted_user(situation);
    match situation.development {
        Some(development) => format!(
            "{}, and pass it with --token",
            made_by(development.data_dir.as_deref(), &format!("--user {user}{rights}"))
        ),
        None => format!(
            "get a new one from the server's operator, who makes one with `quoth-server token --user {user}{rights}`, and \
             pass it with --token-file"
        ),
    }
}

/// How the development server in this data folder makes a token.
pub(crate) fn made_by(data_dir: Option<&Path>, options: &str) -> String {
    match data_dir {
        Some(dir) => format!(
            "get a new one with `quoth-server --data-dir {} token {options}`",
            quoted(&dir.display().to_string())
        ),
        None => format!("get a new one with `quoth-server token {options}`, run where the server runs"),
    }
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
