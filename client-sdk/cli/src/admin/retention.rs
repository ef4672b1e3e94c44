//! `quoth admin retention`: its command line, and which request does what it asks. Pure.

use clap::{ArgGroup, Subcommand};
use quoth_client::ConversationName;
use serde_json::json;

use super::call::{Call, encoded};
use crate::args::{BOUNDS, BoundsArgs, Wanted};

/// How long what is said is kept, and when its space is freed.
#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// How a conversation is kept
    Show {
        /// Which
        conversation: ConversationName,
    },
    /// Say how a conversation is kept, in place of what its members have said; what is gone by then stays so
    #[command(group(ArgGroup::new("bound").args(BOUNDS).required(true).multiple(true)))]
    Set {
        /// Which
        conversation: ConversationName,
        #[command(flatten)]
        bounds: BoundsArgs,
    },
    /// Keep all that is there, whatever is said of how long
    Hold {
        /// Which
        conversation: ConversationName,
    },
    /// End a hold; what is gone by that stays so
    Release {
        /// Which
        conversation: ConversationName,
        /// Say what would be gone by that, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// What is gone, and when its space is freed: window by window, and of which conversations most
    Plan,
    /// What other classes in the configuration would take of what is stored; nothing is changed
    ///
    /// A start with them takes that for good. Name all that would be configured, as retention.classes has them:
    /// `quoth admin retention preview 'teams:team-*:age_s=2592000' 'rest:*:count=100000'`
    Preview {
        /// A class: its name, patterns with + between them, and bounds with & between them
        #[arg(required = true, value_name = "CLASS")]
        classes: Vec<String>,
    },
    /// How much is kept, how much is gone and takes space still, and what was erased and when that is gone
    Status,
    /// Free that space now, all that can be
    Run {
        /// Show how far it is, and say at its end what was freed
        #[arg(long)]
        wait: bool,
    },
}

/// The request by which it is known before a command whether a hold ends by it.
pub(super) fn before(command: &RetentionCommand) -> Option<Call> {
    match command {
        RetentionCommand::Release { conversation, .. } => {
            Some(of(RetentionCommand::Show { conversation: conversation.clone() }))
        }
        _ => None,
    }
}

/// The request of a command.
pub(super) fn of(command: RetentionCommand) -> Call {
    let path = |name: ConversationName, below: &str| format!("/v1/conversations/{}/{below}", encoded(name));
    match command {
        RetentionCommand::Show { conversation } => Call::get(path(conversation, "retention")),
        RetentionCommand::Set { conversation, bounds } => {
            let preview =
                |proposal| Call::new("POST", path(conversation.clone(), "retention/preview"), Some(proposal));
            match (bounds.wanted(), bounds.dry_run) {
                (Some(Wanted::Bounds(retention)), true) => preview(json!(retention)),
                (Some(Wanted::Bounds(retention)), false) => {
                    Call::new("PUT", path(conversation, "retention"), Some(json!(retention)))
                }
                (_, true) => preview(json!({ "by_class": true })),
                (_, false) => Call::new("DELETE", path(conversation, "retention"), None),
            }
        }
        RetentionCommand::Hold { conversation } => Call::new("PUT", path(conversation, "hold"), None),
        RetentionCommand::Release { conversation, dry_run: true } => {
            Call::new("POST", path(conversation, "hold/preview"), None)
        }
        RetentionCommand::Release { conversation, dry_run: false } => {
            Call::new("DELETE", path(conversation, "hold"), None)
        }
        RetentionCommand::Plan | RetentionCommand::Status => Call::get("/v1/retention".to_owned()),
        RetentionCommand::Preview { classes } => {
            Call::new("POST", "/v1/retention/preview".to_owned(), Some(json!({ "classes": classes })))
        }
        RetentionCommand::Run { .. } => Call::new("POST", "/v1/retention/run".to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::admin::args::AdminCommand;
    use crate::args::{Args, Command};

    fn shown(line: &str) -> Result<String, String> {
        let arguments = ["quoth", "admin", "retention"].into_iter().chain(line.split_whitespace());
        let parsed = Args::try_parse_from(arguments).map_err(|error| error.to_string())?;
        let Command::Admin(admin) = parsed.command else { panic!("not admin") };
        let AdminCommand::One(command) = admin.command else { panic!("several requests") };
        let Call { method, path, body, .. } = super::super::call::of(command);
        Ok(format!("{method} {path} {}", body.map(|body| body.to_string()).unwrap_or_default()))
    }

    #[test]
    fn each_command_is_one_request() {
        for (line, expected) in [
            ("show a/b", "GET /v1/conversations/a%2Fb/retention "),
            (
                "set a --age 1d --count 5",
                "PUT /v1/conversations/a/retention {\"age_s\":86400,\"bytes\":0,\"count\":5}",
            ),
            (
                "set a --count 5 --dry-run",
                "POST /v1/conversations/a/retention/preview {\"age_s\":0,\"bytes\":0,\"count\":5}",
            ),
            ("set a --for-ever", "PUT /v1/conversations/a/retention {\"age_s\":0,\"bytes\":0,\"count\":0}"),
            ("set a --by-class", "DELETE /v1/conversations/a/retention "),
            ("set a --by-class --dry-run", "POST /v1/conversations/a/retention/preview {\"by_class\":true}"),
            ("hold a", "PUT /v1/conversations/a/hold "),
            ("release a", "DELETE /v1/conversations/a/hold "),
            ("release a --dry-run", "POST /v1/conversations/a/hold/preview "),
            ("plan", "GET /v1/retention "),
            (
                "preview teams:team-*:age_s=5 rest:*:count=9",
                "POST /v1/retention/preview {\"classes\":[\"teams:team-*:age_s=5\",\"rest:*:count=9\"]}",
            ),
            ("status", "GET /v1/retention "),
            ("run", "POST /v1/retention/run "),
            ("run --wait", "POST /v1/retention/run "),
        ] {
            assert_eq!(shown(line).as_deref(), Ok(expected), "{line}");
        }
        assert!(shown("set a").unwrap_err().contains("--for-ever"), "it would keep everything");
        assert!(shown("set a --by-class --count 5").unwrap_err().contains("cannot be used with"));
    }
}
