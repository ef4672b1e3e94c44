//! Which request does what a command asks. Pure.

use std::fmt::Write as _;

use clap::ValueEnum;
use quoth_client::{ConversationName, UserId};
use serde_json::{Value, json};

use super::args::{
    ConversationCommand, MemberCommand, Message, MessageCommand, OneCommand, Place, Said, UserCommand, Which,
    Whom,
};
use crate::output::printable;

/// A time that no token is issued behind, in milliseconds since 1970: the greatest that every reader of JSON
/// takes exactly (2^53 - 1).
pub(super) const END_OF_TIME_MS: u64 = 9_007_199_254_740_991;

/// A request.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) method: &'static str,
    /// With its query.
    pub(super) path: String,
    pub(super) body: Option<Value>,
    pub(super) once: Option<String>,
}

impl Call {
    pub(super) fn new(method: &'static str, path: String, body: Option<Value>) -> Self {
        Self { method, path, body, once: None }
    }

    pub(super) fn get(path: String) -> Self {
        Self::new("GET", path, None)
    }
}

/// A text as one part of a path or a query (RFC 3986, section 2.3: all but unreserved characters are
/// encoded).
pub(super) fn encoded(text: impl std::fmt::Display) -> String {
    let mut out = String::new();
    for byte in text.to_string().bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path with those of the parameters that are given.
fn with(path: String, parameters: &[(&str, Option<String>)]) -> String {
    let given =
        parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path } else { format!("{path}?{query}") }
}

/// The name of a choice, as the server has it.
fn named(value: impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// An object of the fields that are given.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// A message as the server API has it, without where it goes.
pub(super) fn fields(text: &str, message: &Message) -> Value {
    let Message { publish_as, reply_to, mention, expires_in, once: _ } = message;
    object([
        ("text", Some(json!(text))),
        ("publish_as", publish_as.as_ref().map(|user| json!(user))),
        ("reply_to", reply_to.map(Value::from)),
        ("mentions", (!mention.is_empty()).then(|| json!(mention))),
        ("expires_in_ms", expires_in.map(|wait| json!(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))),
    ])
}

/// What a command does not do, which whoever gives it may expect of it.
pub(super) fn caveats(command: &OneCommand) -> Vec<String> {
    match command {
        OneCommand::Revoke { which, issued_before_ms, for_good, .. } => {
            of_revocation(which, issued_before_ms.is_none() && !for_good)
        }
        OneCommand::User(UserCommand::Erase { user }) => {
            let user = printable(user.as_str());
            vec![format!(
                "the tokens of {user} are good still, unless they are revoked, and what {user} does with them may stay: `quoth admin revoke --of \
                 {user} --for-good` shuts {user} out"
            )]
        }
        _ => Vec::new(),
    }
}

fn of_revocation(which: &Which, by_now: bool) -> Vec<String> {
    let mut caveats = Vec::new();
    if which.user.is_some() && by_now {
        let told = "tokens that are issued within the next 30 s are refused, too, since the issuer's clock may be ahead: the user \
                    signs in again with one that is issued after that";
        caveats.push(told.to_owned());
    }
    if which.device.is_some() {
        let told = "this holds for tokens with the claim `device`: any other one can be used under another device's id at once; \
                    without --device all of the user's are revoked";
        caveats.push(told.to_owned());
    }
    caveats
}

/// The request of a command.
pub(super) fn of(command: OneCommand) -> Call {
    match command {
        OneCommand::Stats => Call::get("/v1/stats".to_owned()),
        OneCommand::Publish { conversation, text, message } => {
            let mut body = fields(&text.join(" "), &message);
            body["conversation"] = json!(conversation);
            Call { once: message.once, ..Call::new("POST", "/v1/publish".to_owned(), Some(body)) }
        }
        OneCommand::History { conversation, place, limit } => {
            let Place { after, before, around, after_time_ms, before_time_ms, around_time_ms } = place;
            let number = |number: Option<u64>| number.map(|number| number.to_string());
            let parameters = [
                ("after", number(after)),
                ("before", number(before)),
                ("around", number(around)),
                ("after_time_ms", number(after_time_ms)),
                ("before_time_ms", number(before_time_ms)),
                ("around_time_ms", number(around_time_ms)),
                ("limit", Some(limit.to_string())),
            ];
            Call::get(with(format!("/v1/conversations/{}/history", encoded(conversation)), &parameters))
        }
        OneCommand::Message(command) => of_message(command),
        OneCommand::Conversation(command) => of_conversation(command),
        OneCommand::Member(command) => of_member(command),
        OneCommand::Retention(command) => super::retention::of(command),
        OneCommand::User(UserCommand::Erase { user }) => {
            Call::new("POST", format!("/v1/users/{}/erasure", encoded(user)), None)
        }
        OneCommand::User(UserCommand::Erasure { user }) => {
            Call::get(format!("/v1/users/{}/erasure", encoded(user)))
        }
        OneCommand::User(UserCommand::Block { user, whom }) => Call::new("PUT", block(&user, &whom), None),
        OneCommand::User(UserCommand::Unblock { user, whom }) => {
            Call::new("DELETE", block(&user, &whom), None)
        }
        OneCommand::User(UserCommand::Blocked { user }) => {
            Call::get(format!("/v1/users/{}/blocks", encoded(user)))
        }
        OneCommand::Sessions { user } => Call::get(format!("/v1/users/{}/sessions", encoded(user))),
        OneCommand::Presence { user } => Call::get(format!("/v1/users/{}/presence", encoded(user))),
        OneCommand::Kick { user, device, reason } => {
            let body =
                object([("device", device.map(|device| json!(device))), ("reason", Some(json!(reason)))]);
            Call::new("POST", format!("/v1/users/{}/kick", encoded(user)), Some(body))
        }
        OneCommand::Revoke {
            which: Which { user, device, token_id },
            issued_before_ms,
            for_good,
            expires_ms,
            reason,
        } => {
            let body = object([
                ("user", user.map(|user| json!(user))),
                ("device", device.map(|device| json!(device))),
                ("token_id", token_id.map(Value::from)),
                (
                    "issued_before_ms",
                    issued_before_ms.or_else(|| for_good.then_some(END_OF_TIME_MS)).map(Value::from),
                ),
                ("expires_ms", expires_ms.map(Value::from)),
                ("reason", Some(json!(reason))),
            ]);
            Call::new("POST", "/v1/revocations".to_owned(), Some(body))
        }
        OneCommand::Revocations { after, limit } => {
            let parameters = [("after", after), ("limit", Some(limit.to_string()))];
            Call::get(with("/v1/revocations".to_owned(), &parameters))
        }
        OneCommand::Unrevoke { which: Which { user, device, token_id } } => {
            let body = object([
                ("user", user.map(|user| json!(user))),
                ("device", device.map(|device| json!(device))),
                ("token_id", token_id.map(Value::from)),
            ]);
            Call::new("POST", "/v1/revocations/lift".to_owned(), Some(body))
        }
    }
}

fn of_message(command: MessageCommand) -> Call {
    let path = |Said { conversation, seq, by }, below: &str| {
        let path = format!("/v1/conversations/{}/messages/{seq}{below}", encoded(conversation));
        with(path, &[("user", by.map(|user| user.to_string()))])
    };
    match command {
        MessageCommand::Edit { message, text, mention } => {
            let body = json!({ "text": text.join(" "), "mentions": mention });
            Call::new("PATCH", path(message, ""), Some(body))
        }
        MessageCommand::Revoke { message } => Call::new("DELETE", path(message, ""), None),
        MessageCommand::React { message, reaction, off } => {
            let method = if off { "DELETE" } else { "PUT" };
            Call::new(method, path(message, &format!("/reactions/{}", encoded(reaction))), None)
        }
    }
}

fn of_conversation(command: ConversationCommand) -> Call {
    let path = |name: ConversationName, below: &str| format!("/v1/conversations/{}{below}", encoded(name));
    match command {
        ConversationCommand::Create { conversation, owner, kind, title, member, open, once } => {
            let body = object([
                ("conversation", conversation.map(|name| json!(name))),
                ("kind", Some(json!(named(kind)))),
                ("owner", Some(json!(owner))),
                ("title", Some(json!(title))),
                ("members", Some(json!(member))),
                ("open", Some(json!(open))),
            ]);
            Call { once, ..Call::new("POST", "/v1/conversations".to_owned(), Some(body)) }
        }
        ConversationCommand::List { after, limit } => {
            let after = after.map(|name| name.to_string());
            let parameters = [("after", after), ("limit", Some(limit.to_string()))];
            Call::get(with("/v1/conversations".to_owned(), &parameters))
        }
        ConversationCommand::Show { conversation } => Call::get(path(conversation, "")),
        ConversationCommand::Of { user, after } => {
            let after = after.map(|name| name.to_string());
            Call::get(with(format!("/v1/users/{}/conversations", encoded(user)), &[("after", after)]))
        }
        ConversationCommand::Rename { conversation, title } => {
            Call::new("PATCH", path(conversation, ""), Some(json!({ "title": title })))
        }
        ConversationCommand::Mute { conversation, until_ms } => {
            Call::new("PUT", path(conversation, "/mute"), Some(until(until_ms)))
        }
        ConversationCommand::Unmute { conversation } => {
            Call::new("DELETE", path(conversation, "/mute"), None)
        }
        ConversationCommand::SlowMode { conversation, interval } => {
            let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
            Call::new("PUT", path(conversation, "/slow_mode"), Some(json!({ "interval_ms": interval_ms })))
        }
        ConversationCommand::Invite { conversation, role, expires_ms, uses_max } => {
            let body = json!({ "role": named(role), "expires_ms": expires_ms.unwrap_or_default(), "uses_max": uses_max.unwrap_or_default() });
            Call::new("POST", path(conversation, "/invitations"), Some(body))
        }
        ConversationCommand::Invitations { conversation } => Call::get(path(conversation, "/invitations")),
        ConversationCommand::RevokeInvitation { conversation, hash } => {
            Call::new("DELETE", path(conversation, &format!("/invitations/{hash}")), None)
        }
        ConversationCommand::RevokeInvitations { conversation } => {
            Call::new("DELETE", path(conversation, "/invitations"), None)
        }
    }
}

fn of_member(command: MemberCommand) -> Call {
    let path = |Whom { conversation, user }, folder: &str, below: &str| {
        format!("/v1/conversations/{}/{folder}/{}{below}", encoded(conversation), encoded(user))
    };
    match command {
        MemberCommand::List { conversation, after, limit } => {
            let parameters =
                [("after", after.map(|user| user.to_string())), ("limit", Some(limit.to_string()))];
            Call::get(with(format!("/v1/conversations/{}/members", encoded(conversation)), &parameters))
        }
        MemberCommand::Set { whom, role } => {
            Call::new("PUT", path(whom, "members", ""), Some(json!({ "role": named(role) })))
        }
        MemberCommand::Remove { whom } => Call::new("DELETE", path(whom, "members", ""), None),
        MemberCommand::Mute { whom, until_ms } => {
            Call::new("PUT", path(whom, "members", "/mute"), Some(until(until_ms)))
        }
        MemberCommand::Unmute { whom } => Call::new("DELETE", path(whom, "members", "/mute"), None),
        MemberCommand::Ban { whom, until_ms } => {
            Call::new("PUT", path(whom, "bans", ""), Some(until(until_ms)))
        }
        MemberCommand::Banned { conversation, after, limit } => {
            let parameters =
                [("after", after.map(|user| user.to_string())), ("limit", Some(limit.to_string()))];
            Call::get(with(format!("/v1/conversations/{}/bans", encoded(conversation)), &parameters))
        }
        MemberCommand::Unban { whom } => Call::new("DELETE", path(whom, "bans", ""), None),
    }
}

fn until(until_ms: Option<u64>) -> Value {
    object([("until_ms", until_ms.map(Value::from))])
}

/// Where a block is set and ended.
fn block(user: &UserId, whom: &UserId) -> String {
    format!("/v1/users/{}/blocks/{}", encoded(user), encoded(whom))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::args::{AdminArgs, AdminCommand};
    use super::{Call, caveats, of};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        admin: AdminArgs,
    }

    fn call(line: &[&str]) -> Call {
        one(Line::try_parse_from([&["admin"], line].concat()).unwrap().admin.command)
    }

    fn one(command: AdminCommand) -> Call {
        match command {
            AdminCommand::One(command) => of(command),
            AdminCommand::Many(command) => panic!("several requests: {command:?}"),
        }
    }

    #[test]
    fn no_name_is_that_of_another_flag() {
        let parsed =
            crate::args::Args::try_parse_from(["quoth", "admin", "revoke", "--of", "a", "--user", "b"])
                .unwrap();
        assert_eq!(parsed.connection.user.as_deref(), Some("b"));
        let crate::args::Command::Admin(admin) = parsed.command else { panic!("not admin") };
        assert_eq!(one(admin.command).body.unwrap()["user"], "a");
        for line in [
            &["sessions", "a"][..],
            &["presence", "a"],
            &["kick", "a"],
            &["conversation", "of", "a"],
            &["member", "remove", "c", "a"],
            &["user", "erase", "a"],
        ] {
            crate::args::Args::try_parse_from([&["quoth", "admin"], line].concat()).unwrap();
        }
    }

    fn shown(line: &[&str]) -> String {
        let Call { method, path, body, once } = call(line);
        format!(
            "{method} {path} {} {}",
            body.map(|body| body.to_string()).unwrap_or_default(),
            once.unwrap_or_default()
        )
    }

    #[test]
    fn names_are_one_part_of_the_path_whatever_is_in_them() {
        assert_eq!(
            shown(&["conversation", "show", "group/a b?"]),
            "GET /v1/conversations/group%2Fa%20b%3F  "
        );
        assert_eq!(
            shown(&["member", "ban", "team", "\u{e9}va"]),
            "PUT /v1/conversations/team/bans/%C3%A9va {} "
        );
        assert_eq!(
            shown(&["history", "a", "--after", "7"]),
            "GET /v1/conversations/a/history?after=7&limit=100  "
        );
        assert_eq!(
            shown(&["history", "a", "--around-time-ms", "7"]),
            "GET /v1/conversations/a/history?around_time_ms=7&limit=100  "
        );
        assert_eq!(shown(&["user", "erase", "\u{e9}va"]), "POST /v1/users/%C3%A9va/erasure  ");
        assert_eq!(shown(&["user", "erasure", "a"]), "GET /v1/users/a/erasure  ");
    }

    #[test]
    fn times_are_lengths_and_what_is_over_at_once_is_refused() {
        let now_ms = u64::try_from(
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis(),
        )
        .unwrap();
        for (line, field) in [
            ("member ban team a --for 1h", "until_ms"),
            ("member mute team a --for 1h", "until_ms"),
            ("conversation mute team --for 1h", "until_ms"),
            ("conversation invite team --role reader --for 1h", "expires_ms"),
            ("revoke --token-id t --expires 1h", "expires_ms"),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let end_ms = call(&words).body.unwrap()[field].as_u64().unwrap();
            assert!((3_600_000..4_200_000).contains(&(end_ms - now_ms)), "{line}: {end_ms}");
            let over = line.replace("1h", "0s");
            let words: Vec<&str> = ["admin"].into_iter().chain(over.split(' ')).collect();
            Line::try_parse_from(words).unwrap_err();
        }
        assert_eq!(
            shown(&["revoke", "--of", "a", "--issued-before", "2004-12-25"]),
            "POST /v1/revocations {\"issued_before_ms\":1103932800000,\"reason\":\"\",\"user\":\"a\"} "
        );
        assert_eq!(
            shown(&["conversation", "slow-mode", "a", "30s"]),
            "PUT /v1/conversations/a/slow_mode {\"interval_ms\":30000} "
        );
    }

    #[test]
    fn what_a_revocation_does_not_do_is_told() {
        let told =
            |line: &[&str]| match Line::try_parse_from([&["admin"], line].concat()).unwrap().admin.command {
                AdminCommand::One(command) => caveats(&command),
                AdminCommand::Many(command) => panic!("several requests: {command:?}"),
            };
        let of_user = told(&["revoke", "--of", "a"]);
        assert!(of_user.len() == 1 && of_user[0].contains("within the next 30 s"), "{of_user:?}");
        let of_device = told(&["revoke", "--of", "a", "--device", "d", "--for-good"]);
        assert!(of_device.len() == 1 && of_device[0].contains("claim `device`"), "{of_device:?}");
        let erase = told(&["user", "erase", "bob"]);
        assert!(
            erase.len() == 1 && erase[0].contains("`quoth admin revoke --of bob --for-good`"),
            "{erase:?}"
        );
        for line in [
            &["revoke", "--of", "a", "--issued-before", "1h"][..],
            &["revoke", "--token-id", "t"],
            &["stats"],
        ] {
            assert_eq!(told(line), Vec::<String>::new());
        }
    }

    #[test]
    fn a_message_is_named_by_its_seq_and_its_sender() {
        assert_eq!(
            shown(&["message", "edit", "team", "7", "better", "so", "--as", "bob"]),
            "PATCH /v1/conversations/team/messages/7?user=bob {\"mentions\":[],\"text\":\"better so\"} "
        );
        assert_eq!(shown(&["message", "revoke", "team", "7"]), "DELETE /v1/conversations/team/messages/7  ");
        let path = "/v1/conversations/team/messages/7/reactions/%F0%9F%91%8D?user=b";
        let react = ["message", "react", "team", "7", "\u{1f44d}", "--as", "b"];
        assert_eq!(shown(&react), format!("PUT {path}  "));
        assert_eq!(shown(&[&react[..], &["--off"]].concat()), format!("DELETE {path}  "));
        let answer = ["publish", "a", "b", "--reply-to", "7", "--mention", "c", "--expires", "2s"];
        let said = "\"expires_in_ms\":2000,\"mentions\":[\"c\"],\"reply_to\":7,\"text\":\"b\"";
        assert_eq!(shown(&answer), format!("POST /v1/publish {{\"conversation\":\"a\",{said}}} "));
    }

    #[test]
    fn what_is_not_given_is_left_out() {
        assert_eq!(
            shown(&["publish", "a", "b", "c", "--once", "k"]),
            "POST /v1/publish {\"conversation\":\"a\",\"text\":\"b c\"} k"
        );
        assert_eq!(shown(&["member", "mute", "a", "b"]), "PUT /v1/conversations/a/members/b/mute {} ");
        assert_eq!(
            shown(&["revoke", "--token-id", "t"]),
            "POST /v1/revocations {\"reason\":\"\",\"token_id\":\"t\"} "
        );
        assert_eq!(
            shown(&["revoke", "--of", "a", "--device", "d", "--for-good"]),
            "POST /v1/revocations {\"device\":\"d\",\"issued_before_ms\":9007199254740991,\"reason\":\"\",\"user\":\"a\"} "
        );
        for wrong in [
            &["revoke"][..],
            &["revoke", "--of", "a", "--token-id", "t"],
            &["revoke", "--device", "d"],
            &["revoke", "--token-id", "t", "--for-good"],
            // Nobody is made something else for want of a word.
            &["member", "set", "a", "b"],
            &["conversation", "invite", "a"],
        ] {
            Line::try_parse_from([&["admin"], wrong].concat()).unwrap_err();
        }
    }
}
