//! Which environment variables are meant for the server, so that a mistyped one is told and not ignored.

use super::load::{LISTED, near};
use super::{SETTINGS, Setting};

/// Variables of the command line client, which often stand in the environment that a server is started in.
const OF_THE_CLIENT: [&str; 11] = [
    "QUOTH_SERVER",
    "QUOTH_CLIENT_FILE",
    "QUOTH_CA",
    "QUOTH_SERVER_NAME",
    "QUOTH_TRANSPORT",
    "QUOTH_TOKEN",
    "QUOTH_TOKEN_FILE",
    "QUOTH_DEVICE",
    "QUOTH_API",
    "QUOTH_API_KEY_FILE",
    "QUOTH_LOG",
];

/// Edits up to which a name is taken for a mistyped one.
const NEAR_EDITS_MAX: usize = 2;

/// What is wrong with a variable that is no setting, or `None` if it is somebody else's. Meant for the server
/// is a variable that is none of the client's, begins with `QUOTH_` in any case and
///
/// - has two underscores in a row, as every setting has between its section and its name
///   (`QUOTH_SERVER__LISTN`), or
/// - goes on with a section and an underscore (`QUOTH_SERVER_LISTEN`), unless it is one that Kubernetes sets
///   for a service of such a name (`QUOTH_SERVER_SERVICE_HOST`, `QUOTH_SERVER_PORT_4433_UDP`), or
/// - is a setting without its section (`QUOTH_LISTEN`), or
/// - is at most [`NEAR_EDITS_MAX`] edits from a setting (`QUOTH_LIMIT_CONNECTIONS_MAX`).
///
/// So the variables of scripts and tests are left alone.
pub(super) fn mistake(name: &str) -> Option<String> {
    if OF_THE_CLIENT.contains(&name) {
        return None;
    }
    let name = name.to_ascii_uppercase();
    let rest = name.strip_prefix("QUOTH_")?;
    let nearest = |setting: &str| format!("no such setting; the nearest is {setting}");
    let is_bare = |setting: &&Setting| setting.section_and_name().1.eq_ignore_ascii_case(rest);
    if let Some(setting) = SETTINGS.iter().find(is_bare) {
        return Some(nearest(&setting.env_name()));
    }
    let names: Vec<String> = SETTINGS.iter().map(Setting::env_name).collect();
    let near = near(&name, names.iter().map(String::as_str));
    let is_mistyped = near.is_some_and(|near| {
        strsim::damerau_levenshtein(&name.replace("__", "_"), &near.replace("__", "_")) <= NEAR_EDITS_MAX
    });
    let is_meant =
        name.contains("__") || is_mistyped || (begins_with_section(rest) && !is_service_link(rest));
    is_meant.then(|| near.map_or_else(|| format!("no such setting; {LISTED}"), nearest))
}

fn begins_with_section(rest: &str) -> bool {
    let first = rest.split_once('_').map(|(first, _)| first);
    first.is_some_and(|first| {
        SETTINGS.iter().any(|setting| setting.section_and_name().0.eq_ignore_ascii_case(first))
    })
}

/// Whether Kubernetes makes such a variable for a service, for every pod of its namespace.
fn is_service_link(rest: &str) -> bool {
    let numbered_port =
        rest.split("_PORT_").skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()));
    rest.ends_with("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || rest.ends_with("_PORT")
        || numbered_port
}

#[cfg(test)]
mod tests {
    use super::{LISTED, OF_THE_CLIENT, mistake};

    #[test]
    fn a_variable_that_misses_a_setting_is_told_with_the_setting() {
        for (name, setting) in [
            ("QUOTH_SERVER_LISTEN", "QUOTH_SERVER__LISTEN"),
            ("QUOTH_SERVER__LISTN", "QUOTH_SERVER__LISTEN"),
            ("QUOTH__SERVER__LISTEN", "QUOTH_SERVER__LISTEN"),
            ("quoth_server__listen", "QUOTH_SERVER__LISTEN"),
            ("QUOTH_LISTEN", "QUOTH_SERVER__LISTEN"),
            ("QUOTH_DATA_DIR", "QUOTH_SERVER__DATA_DIR"),
            ("QUOTH_TOKEN_KEYS", "QUOTH_AUTH__TOKEN_KEYS"),
            ("QUOTH_LIMITS_CONNECTIONS", "QUOTH_LIMITS__CONNECTIONS_MAX"),
            ("QUOTH_LIMIT_CONNECTIONS_MAX", "QUOTH_LIMITS__CONNECTIONS_MAX"),
            ("QUOTH_LOG_FILTER", "QUOTH_LOG__FILTER"),
        ] {
            assert_eq!(mistake(name), Some(format!("no such setting; the nearest is {setting}")), "{name}");
        }
        assert_eq!(mistake("QUOTH_SERVER__FOO"), Some(format!("no such setting; {LISTED}")));
    }

    #[test]
    fn every_variable_of_the_client_is_left_alone() {
        let arguments = include_str!("../../../client-sdk/cli/src/args/mod.rs");
        let of_admin = include_str!("../../../client-sdk/cli/src/admin/args.rs");
        let arguments = format!("{arguments}{of_admin}");
        let documented = arguments.split("[env: ").skip(1).map(|rest| rest.split(']').next().unwrap());
        let mut of_the_client: Vec<&str> = documented.collect();
        of_the_client.push("QUOTH_LOG");
        assert_eq!(of_the_client, OF_THE_CLIENT);
        for name in of_the_client {
            assert_eq!(mistake(name), None, "{name}");
        }
    }

    #[test]
    fn a_variable_of_somebody_else_is_left_alone() {
        for name in [
            "PATH",
            "SERVER__LISTEN",
            "QUOTH_CONFIG",
            "QUOTH_BIN_DIR",
            "QUOTH_PYTHON",
            "QUOTH_BITFLIP_SECONDS",
            "QUOTH_CRASH_ROUNDS",
            "QUOTH_SIM_SEED",
            "QUOTH_SERVICE_HOST",
            "QUOTH_PORT_4433_UDP_ADDR",
            "QUOTH_SERVER_SERVICE_HOST",
            "QUOTH_SERVER_SERVICE_PORT_QUIC",
            "QUOTH_SERVER_PORT",
            "QUOTH_SERVER_PORT_4433_UDP_PROTO",
        ] {
            assert_eq!(mistake(name), None, "{name}");
        }
    }
}
