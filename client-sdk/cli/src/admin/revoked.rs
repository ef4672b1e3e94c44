//! What a revocation comes to where another one goes further. Pure.

use serde_json::Value;

use super::args::{OneCommand, Which};
use super::call::END_OF_TIME_MS;
use crate::clock::{date, time};
use crate::hint::quoted;
use crate::output::printable;

/// What ends whatever is in force of what was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked {
    unrevoke: String,
}

/// What a command asks for; `None` where it revokes nothing.
pub(super) fn asked(command: &OneCommand) -> Option<Asked> {
    let OneCommand::Revoke { which: Which { user, device, token_id }, .. } = command else { return None };
    let given = [
        ("--of", user.as_ref().map(|user| user.as_str())),
        ("--device", device.as_ref().map(|device| device.as_str())),
        ("--token-id", token_id.as_deref()),
    ];
    let which: String =
        given.into_iter().filter_map(|(name, value)| Some(format!(" {name} {}", quoted(value?)))).collect();
    Some(Asked { unrevoke: format!("quoth admin unrevoke{which}") })
}

impl Asked {
    /// What is to be said of the one in force that goes further by an answer, if one does.
    pub(super) fn covered(&self, answer: &Value) -> Option<String> {
        let further = answer["covered_by"].as_object()?;
        let moment = |time_ms: u64| format!("{} {} UTC", date(time_ms), time(time_ms));
        let which = match further["issued_before_ms"].as_u64() {
            None => "this token was".to_owned(),
            Some(END_OF_TIME_MS..) => "all tokens, those to come too, were".to_owned(),
            Some(before_ms) => format!("tokens issued before {} were", moment(before_ms)),
        };
        let until = match further["expires_ms"].as_u64() {
            None | Some(END_OF_TIME_MS..) => "for ever".to_owned(),
            Some(over_ms) => format!("until {}", moment(over_ms)),
        };
        let reason = match further["reason"].as_str() {
            None | Some("") => "without a reason".to_owned(),
            Some(reason) => format!("with the reason: {}", printable(reason)),
        };
        Some(format!(
            "this adds nothing: {which} revoked before, {until}, {reason}; and that stays in force. `{}` ends all of it, and then this \
             can be asked for again",
            self.unrevoke
        ))
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
        let words = ["quoth", "admin"].into_iter().chain(line.split(' '));
        let Command::Admin(args) = Args::try_parse_from(words).unwrap().command else { panic!("{line}") };
        let AdminCommand::One(command) = args.command else { panic!("{line}") };
        asked(&command)
    }

    #[test]
    fn what_is_in_force_already_and_goes_further_is_told_with_its_end_and_reason() {
        let told = |line: &str, further: Value| {
            of(line)?.covered(&json!({ "closed": 0, "in_force": [further], "covered_by": further }))
        };
        // 2004-12-25 and a day later.
        let (day_ms, next_ms) = (1_103_932_800_000_u64, 1_104_019_200_000_u64);
        let dated = json!({ "issued_before_ms": day_ms, "expires_ms": next_ms, "reason": "lost\u{7}" });
        let dated = told("revoke --of bob --issued-before 1h", dated).unwrap();
        assert!(
            dated.starts_with(
                "this adds nothing: tokens issued before 2004-12-25 00:00 UTC were revoked before, until 2004-12-26 00:00 UTC, with \
                 the reason: lost\\u{7}; and that stays in force. `quoth admin unrevoke --of 'bob'` ends"
            ),
            "{dated}"
        );
        let ever = json!({ "issued_before_ms": END_OF_TIME_MS, "expires_ms": u64::MAX, "reason": "" });
        let ever = told("revoke --of bob --device lap", ever).unwrap();
        assert!(
            ever.contains("all tokens, those to come too, were revoked before, for ever, without a reason;"),
            "{ever}"
        );
        assert!(ever.contains("`quoth admin unrevoke --of 'bob' --device 'lap'`"), "{ever}");
        let token = json!({ "issued_before_ms": null, "expires_ms": next_ms, "reason": "t1" });
        let token = told("revoke --token-id t", token).unwrap();
        assert!(
            token.contains("this token was revoked before, until 2004-12-26 00:00 UTC, with the reason: t1;"),
            "{token}"
        );
        assert!(token.contains("`quoth admin unrevoke --token-id 't'`"), "{token}");
        assert_eq!(told("revoke --of bob", Value::Null), None);
        assert_eq!(of("unrevoke --of bob"), None);
    }
}
