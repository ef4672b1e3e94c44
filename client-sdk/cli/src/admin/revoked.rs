//! What a revocation comes to beside one that is in force already: the further one of both counts. Pure.

use serde_json::Value;

use super::args::{OneCommand, Which};
use super::call::END_OF_TIME_MS;
use crate::clock::{date, time};
use crate::hint::quoted;

/// What was asked for, of a user's tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    /// Before when they were issued; `None`: those that are out by now.
    issued_before_ms: Option<u64>,
    /// What ends what is in force.
    unrevoke: String,
}

/// What a command asks for; `None` where nothing goes further.
pub(super) fn asked(command: &OneCommand) -> Option<Asked> {
    match command {
        OneCommand::Revoke {
            which: Which { user: Some(user), device, .. },
            issued_before_ms,
            for_good: false,
            ..
        } => {
            let device = device.as_ref().map(|device| format!(" --device {}", quoted(device.as_str())));
            Some(Asked {
                issued_before_ms: *issued_before_ms,
                unrevoke: format!(
                    "quoth admin unrevoke --of {}{}",
                    quoted(user.as_str()),
                    device.unwrap_or_default()
                ),
            })
        }
        _ => None,
    }
}

impl Asked {
    /// What is to be said of what is in force by an answer, if it goes further.
    pub(super) fn exceeded(&self, answer: &Value) -> Option<String> {
        let in_force_ms = answer["issued_before_ms"].as_u64()?;
        let is_further =
            self.issued_before_ms.map_or(in_force_ms >= END_OF_TIME_MS, |asked_ms| in_force_ms > asked_ms);
        let which = match in_force_ms {
            END_OF_TIME_MS.. => "all tokens, those to come too".to_owned(),
            _ => format!("tokens issued before {} {} UTC", date(in_force_ms), time(in_force_ms)),
        };
        is_further.then(|| {
            format!(
                "{which}, were revoked before, and that stays in force: `{}` ends it, and then this can be asked for again",
                self.unrevoke
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::admin::args::AdminCommand;
    use crate::args::{Args, Command};

    fn of(line: &str) -> Option<Asked> {
        let words = ["quoth", "admin", "revoke"].into_iter().chain(line.split(' '));
        let Command::Admin(args) = Args::try_parse_from(words).unwrap().command else { panic!("{line}") };
        let AdminCommand::One(command) = args.command else { panic!("{line}") };
        asked(&command)
    }

    #[test]
    fn what_is_in_force_already_and_goes_further_is_told() {
        let told = |line: &str, in_force_ms: u64| {
            of(line)?.exceeded(&json!({ "closed": 0, "issued_before_ms": in_force_ms }))
        };
        // 2004-12-25, as it was asked for, and a day later.
        let (asked_ms, later_ms) = (1_103_932_800_000, 1_104_019_200_000);
        let dated = "--of bob --issued-before 2004-12-25";
        assert_eq!(told(dated, asked_ms), None);
        let later = told(dated, later_ms).unwrap();
        assert!(
            later.starts_with("tokens issued before 2004-12-26 00:00 UTC, were revoked before"),
            "{later}"
        );
        let ever = told("--of bob --device lap", END_OF_TIME_MS).unwrap();
        assert!(ever.starts_with("all tokens, those to come too, were revoked before"), "{ever}");
        assert!(ever.contains("`quoth admin unrevoke --of 'bob' --device 'lap'`"), "{ever}");
        assert_eq!(told("--of bob", later_ms), None, "by the server's clock");
        assert_eq!(told("--of bob --for-good", END_OF_TIME_MS), None);
        assert_eq!(of("--token-id t"), None);
    }
}
