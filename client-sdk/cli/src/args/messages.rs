//! The commands for what becomes of messages, for the inbox, and for how long messages are kept.

use std::time::Duration;

use quoth_client::{ConversationName, Retention, Seq, UserId};

use super::time::some_time;

#[derive(Debug, clap::Args)]
pub(crate) struct EditArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// All that it is to say; several words are joined by spaces
    #[arg(required = true, value_parser = super::word)]
    pub(crate) text: Vec<String>,
    /// Mention this user; may be given several times. It mentions nobody else from then on
    #[arg(long = "mention", value_name = "USER")]
    pub(crate) mentions: Vec<UserId>,
}

/// A message.
#[derive(Debug, clap::Args)]
pub(crate) struct MessageArgs {
    /// In which conversation
    pub(crate) conversation: ConversationName,
    /// Which message, by its seq: `quoth history` and `quoth tail` show it
    #[arg(value_parser = seq)]
    pub(crate) seq: Seq,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReactArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// An emoji or a short word, at most 32 bytes
    pub(crate) reaction: String,
    /// Take it back
    #[arg(long)]
    pub(crate) lift: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReceiptsArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReadArgs {
    /// Which conversation
    pub(crate) conversation: ConversationName,
    /// Up to and including this message; default: the last one
    #[arg(value_parser = seq)]
    pub(crate) seq: Option<Seq>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InboxArgs {
    /// Go on and print each conversation that changes, until it is interrupted
    #[arg(long)]
    pub(crate) watch: bool,
    /// All of it; default: the first 50 conversations
    #[arg(long)]
    pub(crate) all: bool,
    /// Those that you have archived, too
    #[arg(long)]
    pub(crate) archived: bool,
    /// Print one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a conversation is to stand in the inbox.
#[derive(Debug, clap::Args)]
pub(crate) struct StandArgs {
    /// Which conversation
    pub(crate) conversation: ConversationName,
    /// End it
    #[arg(long)]
    pub(crate) lift: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct QuietArgs {
    /// Which conversation
    pub(crate) conversation: ConversationName,
    #[command(flatten)]
    pub(crate) time: super::TimeArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct RetentionArgs {
    /// Of which conversation
    pub(crate) conversation: ConversationName,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// How much is kept. What is over any of the bounds that are given is gone for everybody.
#[derive(Debug, clap::Args)]
pub(crate) struct BoundsArgs {
    /// Keep what is younger than this, such as 30d
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) age: Option<Duration>,
    /// Keep so many of the last events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Keep the last events, of up to so many bytes together
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) bytes: Option<u64>,
    /// Keep everything from now on
    #[arg(long, conflicts_with_all = ["age", "count", "bytes"])]
    pub(crate) for_ever: bool,
}

impl BoundsArgs {
    /// What is to hold from now on; `None`: nothing is said.
    pub(crate) fn retention(&self) -> Option<Retention> {
        let Self { age, count, bytes, for_ever } = self;
        let retention = Retention {
            age_s: age.map_or(0, |age| age.as_secs()),
            count: count.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        };
        (*for_ever || !retention.is_for_ever()).then_some(retention)
    }
}

/// A message's place.
pub(super) fn seq(text: &str) -> Result<Seq, &'static str> {
    match text.parse() {
        Ok(seq @ 1..) => Ok(Seq(seq)),
        _ => Err("a seq is a number from 1 on; `quoth history` shows that of each message"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn parsed(line: &str) -> Result<Command, String> {
        let arguments = ["quoth"].into_iter().chain(line.split_whitespace());
        Args::try_parse_from(arguments).map(|args| args.command).map_err(|error| error.to_string())
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for (bad, told) in [
            ("edit general 0 hi", "quoth history"),
            ("edit general x hi", "quoth history"),
            ("edit general 7", "required"),
            ("react general 7", "required"),
            ("send general hi --expires 0s", "a second at least"),
            ("send general hi --expires 1000000d", "less than 3650d"),
            ("retention general --age 1w", "30s or 7d"),
            ("retention general --count 0", "--count"),
            ("retention general --for-ever --count 1", "cannot be used"),
            ("mute general --for 1h --lift", "cannot be used"),
            ("history general --around 5 --before 3", "cannot be used"),
            ("history general --since yesterday", "2026-01-31"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
        for good in [
            "edit general 7 better text --mention bob",
            "react general 7 +1 --lift",
            "send general --reply-to 7 --mention bob --mention carol --expires 1h hi",
            "read general",
            "read general 7",
            "receipts general 7 --json",
            "inbox --watch --all --archived --json",
            "archive general --lift",
            "mute general --for 8h",
            "retention general",
            "retention general --age 30d --count 5 --bytes 1000",
            "history general --around 7",
            "history general --since 2h --until 30m",
            "history general --since 2026-01-31 --until 2026-01-31T12:00 --json",
        ] {
            assert!(parsed(good).is_ok(), "{:?}", parsed(good).err());
        }
    }
    #[test]
    fn nothing_is_set_where_nothing_is_said() {
        let none = || BoundsArgs { age: None, count: None, bytes: None, for_ever: false };
        assert_eq!(none().retention(), None);
        assert_eq!(BoundsArgs { for_ever: true, ..none() }.retention(), Some(Retention::FOR_EVER));
        let some = BoundsArgs { age: Some(Duration::from_secs(60)), bytes: Some(5), ..none() };
        assert_eq!(some.retention(), Some(Retention { age_s: 60, count: 0, bytes: 5 }));
    }
}
