//! A row of the inbox as a line for people. Pure.

use quoth_client::protocol::limits::UNREAD_MAX;
use quoth_client::{ConversationKind, InboxRow};

use crate::clock;
use crate::output::{printable, shortened};

pub(super) fn row_line(row: &InboxRow, now_ms: u64) -> String {
    let name = printable(row.conversation.as_str());
    if row.gone {
        return format!("{name}  you are not in it any more");
    }
    let called = match row.kind {
        Some(ConversationKind::Direct) => format!(" with {}", printable(&row.title)),
        _ if row.title.is_empty() => String::new(),
        _ => format!(" \"{}\"", printable(&row.title)),
    };
    let last = match &row.last {
        Some(last) => format!(
            "[{} {}] <{}> {}",
            clock::date(row.time_ms),
            clock::time(row.time_ms),
            printable(last.sender.as_str()),
            last.kind.body().map(|body| shortened(body)).unwrap_or_default()
        ),
        None => format!("[{} {}]", clock::date(row.time_ms), clock::time(row.time_ms)),
    };
    let parts = [Some(format!("{name}{called}")), unread(row), stands(row, now_ms), Some(last)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

fn unread(row: &InboxRow) -> Option<String> {
    let shown = |count: u32| match count {
        UNREAD_MAX.. => format!("{}+", UNREAD_MAX - 1),
        count => count.to_string(),
    };
    match (row.unread, row.mentions) {
        (0, _) => None,
        (unread, 0) => Some(format!("{} unread", shown(unread))),
        (unread, mentions) => Some(format!("{} unread, {} for you", shown(unread), shown(mentions))),
    }
}

fn stands(row: &InboxRow, now_ms: u64) -> Option<String> {
    let mut how = Vec::new();
    how.extend(row.pinned.then(|| "pinned".to_owned()));
    how.extend(row.archived.then(|| "archived".to_owned()));
    how.extend((row.muted_until_ms > now_ms).then(|| muted(row.muted_until_ms)));
    (!how.is_empty()).then(|| format!("({})", how.join(", ")))
}

/// A time that never comes is not told: from 2^53 on, which is what JSON keeps exactly.
pub(super) fn muted(until_ms: u64) -> String {
    const NEVER_MS: u64 = 1 << 53;
    match until_ms {
        NEVER_MS.. => "muted".to_owned(),
        _ => format!("muted until {} {}", clock::date(until_ms), clock::time(until_ms)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use quoth_client::{ConversationName, Event, EventKind, Seq, UserId};

    use super::*;

    pub(in crate::inbox) fn row() -> InboxRow {
        InboxRow {
            conversation: ConversationName::new("team").unwrap(),
            kind: Some(ConversationKind::Group),
            title: "The team".to_owned(),
            head: Seq(9),
            time_ms: 1_103_947_440_000,
            last: None,
            unread: 1_000,
            mentions: 2,
            read: Seq(3),
            archived: false,
            muted_until_ms: u64::MAX,
            pinned: true,
            gone: false,
            version: 7,
            stale_ms: 0,
        }
    }

    #[test]
    fn a_row_says_what_waits_and_how_it_stands() {
        let kind = EventKind::message("it\u{1b} is late");
        let (time_ms, sender) = (row().time_ms, UserId::new("bob").unwrap());
        let last = Event { seq: Seq(9), time_ms, sender, origin_time_ms: None, kind };
        let row = InboxRow { last: Some(last), ..row() };
        assert_eq!(
            row_line(&row, 0),
            "team \"The team\"  999+ unread, 2 for you  (pinned, muted)  [2004-12-25 04:04] <bob> it\\u{1b} is late"
        );
        let quiet = InboxRow {
            kind: Some(ConversationKind::Direct),
            title: "bob".to_owned(),
            unread: 0,
            mentions: 0,
            pinned: false,
            muted_until_ms: time_ms,
            last: None,
            ..row.clone()
        };
        assert_eq!(row_line(&quiet, time_ms), "team with bob  [2004-12-25 04:04]", "the mute is over");
        assert_eq!(row_line(&quiet, 0), "team with bob  (muted until 2004-12-25 04:04)  [2004-12-25 04:04]");
        let gone = InboxRow { gone: true, ..row };
        assert_eq!(row_line(&gone, 0), "team  you are not in it any more");
    }
}
