//! `docs/LIMITS.md` against what it tells of: settings, constants of the protocol, codes and tests.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use quoth_protocol::{Code, limits};
use quoth_server::config::{Config, SETTINGS, Setting};

/// Settings that are no limits: what the server sends, and how, and how long it waits for who takes events.
const NO_LIMITS: [&str; 3] = [
    "limits.keep_alive_interval_ms",
    "limits.segmentation_offload_connections_max",
    "hooks.events_timeout_ms",
];

/// Constants of the protocol that no client can reach: they are part of another one, or say when and how
/// often the server speaks.
const NOT_REACHED: [&str; 15] = [
    "TOKEN_BYTES_MAX",
    "CONVERSATION_NAME_BYTES_MAX",
    "USER_ID_BYTES_MAX",
    "DEVICE_ID_BYTES_MAX",
    "TOKEN_EXPIRING_NOTICE_MS",
    "ROSTER_INTERVAL_MS",
    "PRESENCE_INTERVAL_MS",
    "REASON_BYTES_MAX",
    // The server makes no longer ones, so they are refused like all that it has not made.
    "INVITATION_BYTES_MAX",
    // What is longer is cut.
    "PLATFORM_BYTES_MAX",
    // The value of a setting when it is not set.
    "OPEN_CONVERSATIONS_MAX",
    "MEMBERS_MAX",
    // How often the server speaks of them.
    "RECEIPT_INTERVAL_MS",
    "INBOX_ROW_INTERVAL_MS",
    // The server makes no longer ones either.
    "INBOX_CURSOR_BYTES_MAX",
];

/// The names and values of constants.
macro_rules! values {
    ($($name:ident),+ $(,)?) => {
        [$((stringify!($name), u64::try_from(limits::$name).expect("a small number"))),+]
    };
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

struct Row {
    limit: String,
    default: String,
    setting: String,
    code: String,
    test: String,
}

fn rows() -> Vec<Row> {
    let text = read("docs/LIMITS.md");
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| limit |"));
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let [limit, default, setting, _counts, _outcome, code, test] = <[String; 7]>::try_from(cells)
            .unwrap_or_else(|cells| panic!("seven columns, not {}: {line}", cells.len()));
        Row { limit, default, setting, code, test }
    });
    rows.collect()
}

/// The numbers at the front of a default and behind "in development", without separators.
fn numbers(default: &str) -> (u64, Option<u64>) {
    let first = |text: &str| {
        let digits = text.chars().take_while(|c| c.is_ascii_digit() || *c == ',').filter(|c| *c != ',');
        digits.collect::<String>().parse().unwrap_or_else(|_| panic!("no number: {default}"))
    };
    let development = default.split_once("in development ").map(|(_, rest)| first(rest));
    (first(default), development)
}

#[test]
fn every_setting_is_in_the_table_with_its_default() {
    let development = Config::default();
    let deployed = Config { limits: development.limits.clone().deployed(), ..Config::default() };
    let mut told = HashSet::new();
    for Row { limit, default, setting, .. } in rows() {
        if ["fixed", "by the conversation"].iter().any(|other| setting.starts_with(other)) {
            continue;
        }
        let key = setting.trim_matches('`').to_owned();
        let found = Setting::find(&key).unwrap_or_else(|| panic!("{limit}: no setting {key}"));
        let (number, in_development) = numbers(&default);
        assert_eq!(found.get(&deployed), number.to_string(), "{limit}: {default}");
        assert_eq!(
            found.get(&development),
            in_development.unwrap_or(number).to_string(),
            "{limit}: {default}"
        );
        assert!(told.insert(key), "{limit}: told twice");
    }
    let all = SETTINGS.iter().map(|setting| setting.key);
    // Of the API and of hooks the numbers are limits, and other settings say where and who.
    let is_number =
        |key: &str| Setting::find(key).is_some_and(|found| found.get(&deployed).parse::<u64>().is_ok());
    let of_backends = |key: &str| (key.starts_with("api.") || key.starts_with("hooks.")) && is_number(key);
    for key in all.filter(|key| (key.starts_with("limits.") || of_backends(key)) && !NO_LIMITS.contains(key))
    {
        assert!(told.contains(key), "{key} is not in docs/LIMITS.md");
    }
}

#[test]
fn every_constant_of_the_protocol_is_in_the_table_with_its_value() {
    let values = values![
        BODY_BYTES_MAX,
        MENTIONS_MAX,
        REACTION_BYTES_MAX,
        REACTIONS_MAX,
        MESSAGES_PAGE_MAX,
        FRAME_BYTES_MAX,
        FIRST_FRAME_BYTES_MAX,
        DATAGRAM_BYTES_MAX,
        IN_FLIGHT_PUBLISHES_MAX,
        FETCH_EVENTS_MAX,
        FETCHES_AT_ONCE_MAX,
        STALL_PROGRESS_BYTES_MIN,
        FETCH_STALL_TIMEOUT_MS,
        CONTROL_STALL_TIMEOUT_MS,
        START_LAST_MAX,
        OPEN_CONVERSATIONS_SERVICE_MAX,
        HELLO_TIMEOUT_MS,
        FIRST_FRAME_TIMEOUT_MS,
        REFRESHES_PER_MINUTE_MAX,
        TYPING_PER_SECOND_MAX,
        STATUS_INTERVAL_MS,
        ROSTER_USERS_MAX,
        LANE_MESSAGE_BYTES_MAX,
        LANE_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
        JSON_MESSAGE_BYTES_MAX,
        JSON_MESSAGE_BYTES_BEFORE_SIGN_IN_MAX,
        LANE_CREDIT_OF_CLIENT_BYTES,
        LANE_CREDIT_OF_SERVER_BYTES,
        STREAMS_BEFORE_SIGN_IN_MAX,
        TITLE_BYTES_MAX,
        REQUESTS_UNDER_WAY_MAX,
        CREATE_MEMBERS_MAX,
        INVITATIONS_MAX,
        BANS_MAX,
        FORMER_MEMBERS_MAX,
        BLOCKED_USERS_MAX,
        SESSIONS_MAX,
        MEMBERS_PAGE_MAX,
        CONVERSATIONS_PAGE_MAX,
        WATCHED_CONVERSATIONS_MAX,
        WATCHED_MEMBERS_MAX,
        WATCHED_MEMBERS_OF_CONNECTION_MAX,
        WATCHED_MEMBERS_OF_USER_MAX,
        UNREAD_EVENTS_MAX,
        UNREAD_MAX,
        RECEIPT_MEMBERS_MAX,
        INBOX_PAGE_MAX,
        INBOX_PINNED_MAX,
        INBOX_CHANGES_MAX,
        INBOX_STALE_MAX,
        INBOX_PREVIEW_BYTES_MAX,
    ];
    let mut told = HashSet::new();
    for Row { limit, default, setting, .. } in rows() {
        let Some(name) = setting.strip_prefix("fixed: `").and_then(|rest| rest.strip_suffix('`')) else {
            continue;
        };
        let value = values.iter().find(|(known, _)| *known == name);
        let (_, value) = value.unwrap_or_else(|| panic!("{limit}: no constant {name} that is known here"));
        assert_eq!(numbers(&default).0, *value, "{limit}: {default}");
        told.insert(name.to_owned());
    }
    let source = read("protocol/src/limits.rs");
    let constants = source.lines().filter_map(|line| line.strip_prefix("pub const ")?.split(':').next());
    // A rate that is a setting's default.
    let is_setting = |name: &str| Setting::find(&format!("limits.{}", name.to_ascii_lowercase())).is_some();
    for name in constants.filter(|name| !NOT_REACHED.contains(name) && !is_setting(name)) {
        assert!(told.contains(name), "{name} is not in docs/LIMITS.md");
    }
}

#[test]
fn every_code_and_every_test_of_the_table_exists() {
    let rows = rows();
    assert!(rows.len() > 40, "found {} rows", rows.len());
    for Row { limit, code, test, .. } in rows {
        if code != "–" {
            let name = code.trim_matches('`');
            assert!(Code::ALL.iter().any(|known| known.name() == name), "{limit}: no code {code}");
        }
        let (name, path) = test
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(')'))
            .and_then(|rest| rest.split_once("](../"))
            .unwrap_or_else(|| panic!("{limit}: not a test with its file: {test}"));
        let source = read(path);
        let is_test = source.split_once(&format!("fn {name}(")).is_some_and(|(before, _)| {
            // What stands before `fn` in its line, and then the attributes above.
            let mut above =
                before.trim_end_matches([' ', '\n']).trim_end_matches("async").trim_end().lines().rev();
            above.next().is_some_and(|line| {
                let attribute = line.trim_start();
                attribute.starts_with("#[test]") || attribute.starts_with("#[tokio::test")
            })
        });
        assert!(is_test, "{limit}: {path} has no test {name}");
    }
}
