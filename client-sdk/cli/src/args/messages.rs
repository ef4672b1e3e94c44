//! The commands for what becomes of messages, for the inbox, and for how long messages are kept.

use quoth_client::{ConversationName, Seq, UserId};

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
            "history general --around 7",
            "history general --since 2h --until 30m",
            "history general --since 2026-01-31 --until 2026-01-31T12:00 --json",
        ] {
            assert!(parsed(good).is_ok(), "{:?}", parsed(good).err());
        }
    }
}
