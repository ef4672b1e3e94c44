//! The command line of how long messages are kept.

use std::time::Duration;

use clap::ArgGroup;
use quoth_client::{ConversationName, Retention};

use super::time::some_time;

#[derive(Debug, clap::Args)]
#[command(group(ArgGroup::new("bound").args(BOUNDS).multiple(true)))]
pub(crate) struct RetentionArgs {
    /// Of which conversation
    pub(crate) conversation: ConversationName,
    #[command(flatten)]
    pub(crate) bounds: BoundsArgs,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// By what something is said of how long messages are kept.
pub(crate) const BOUNDS: [&str; 5] = ["age", "count", "bytes", "for_ever", "by_class"];

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
    /// Keep what the operator's rules keep (its class in the server's configuration), as if nobody had said
    /// anything
    #[arg(long, conflicts_with_all = ["age", "count", "bytes", "for_ever"])]
    pub(crate) by_class: bool,
    /// Say what would be gone by that, and change nothing
    #[arg(long, requires = "bound")]
    pub(crate) dry_run: bool,
}

/// What is to hold from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// These bounds.
    Bounds(Retention),
    /// The operator's rules.
    ByClass,
}

impl BoundsArgs {
    /// What is to hold from now on; `None`: nothing is said.
    pub(crate) fn wanted(&self) -> Option<Wanted> {
        let Self { age, count, bytes, for_ever, by_class, dry_run: _ } = self;
        let retention = Retention {
            age_s: age.map_or(0, |age| age.as_secs()),
            count: count.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        };
        match by_class {
            true => Some(Wanted::ByClass),
            false => (*for_ever || !retention.is_for_ever()).then_some(Wanted::Bounds(retention)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    fn parsed(line: &str) -> Result<(Option<Wanted>, bool), String> {
        let arguments = ["quoth", "retention", "general"].into_iter().chain(line.split_whitespace());
        match Args::try_parse_from(arguments).map_err(|error| error.to_string())?.command {
            Command::Retention(args) => Ok((args.bounds.wanted(), args.bounds.dry_run)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn bounds_are_said_or_taken_back_or_nothing_is_said() {
        let bounds = |age_s, count, bytes| Some(Wanted::Bounds(Retention { age_s, count, bytes }));
        for (line, expected) in [
            ("", (None, false)),
            ("--age 30d --count 5 --bytes 1000", (bounds(2_592_000, 5, 1_000), false)),
            ("--for-ever", (bounds(0, 0, 0), false)),
            ("--count 5 --dry-run", (bounds(0, 5, 0), true)),
            ("--by-class", (Some(Wanted::ByClass), false)),
            ("--by-class --dry-run", (Some(Wanted::ByClass), true)),
        ] {
            assert_eq!(parsed(line), Ok(expected), "{line}");
        }
        for (bad, told) in [
            ("--age 1w", "30s or 7d"),
            ("--count 0", "--count"),
            ("--for-ever --count 1", "cannot be used"),
            ("--by-class --for-ever", "cannot be used"),
            ("--by-class --age 1d", "cannot be used"),
            ("--dry-run", "required"),
        ] {
            let error = parsed(bad).unwrap_err();
            assert!(error.contains(told), "{bad}: {error}");
        }
    }
}
