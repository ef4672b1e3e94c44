//! What to do about a refusal, in words of the command line: the server's own texts are for who speaks HTTP. Pure.

use super::call::Call;

/// What can be done about a refusal with this code; where nothing of the command line does, what the server says.
pub(super) fn hint(call: &Call, code: &str, detail: &str) -> String {
    let (path, _query) = call.path.split_once('?').unwrap_or((&call.path, ""));
    let parts: Vec<&str> = path.split('/').skip(2).collect();
    let hint = match (parts.as_slice(), code) {
        (_, "unauthorized") => {
            "the key is none of the server's api.keys, or has been replaced there: --api-key-file takes its file"
        }
        (["users", _, "erasure"], "not_found") => {
            "nobody has asked to erase this user: `quoth admin user erase USER` does"
        }
        (["conversations", _, "retention" | "hold", ..], "not_found") => {
            "nothing was ever said in a conversation of this name, nobody has made one, and nothing was set for it: \
             `quoth admin conversation list` shows all there are"
        }
        (["conversations", _, "messages", ..], "forbidden") if call.method == "PATCH" => {
            "only its sender edits a message: say who that is with --as USER, or take it away with `quoth admin message revoke`"
        }
        (["conversations", ..], "not_found") => {
            "no conversation of this name has members: `quoth admin conversation list` shows all there are, and `quoth admin \
             conversation create` makes one"
        }
        _ => detail,
    };
    hint.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_commands_and_no_requests() {
        const DETAIL: &str = "POST /v1/x does";
        for (method, path, code, told) in [
            ("GET", "/v1/stats", "unauthorized", "--api-key-file"),
            ("GET", "/v1/users/a/erasure", "not_found", "`quoth admin user erase USER`"),
            ("GET", "/v1/conversations/a/retention", "not_found", "nothing was ever said"),
            ("DELETE", "/v1/conversations/a/hold", "not_found", "nothing was ever said"),
            ("POST", "/v1/conversations/a/retention/preview", "not_found", "nothing was ever said"),
            ("PATCH", "/v1/conversations/a/messages/1?user=b", "forbidden", "--as USER"),
            ("GET", "/v1/conversations/a%2Fb", "not_found", "conversation create"),
            ("PUT", "/v1/conversations/a/members/b", "not_found", "conversation create"),
            ("GET", "/v1/conversations/a/members?limit=1", "not_found", "conversation list"),
        ] {
            let hint = hint(&Call::new(method, path.to_owned(), None), code, DETAIL);
            assert!(hint.contains(told) && !hint.contains("/v1/"), "{method} {path}: {hint}");
        }
        let other = Call::new("POST", "/v1/publish".to_owned(), None);
        assert_eq!(hint(&other, "rate_limited", "wait"), "wait");
    }
}
