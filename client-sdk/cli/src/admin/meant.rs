//! Which server is meant: what says so to other commands is not passed over in silence, since what an operator does
//! to a wrong server cannot be undone. Pure.

use std::path::Path;

use anyhow::bail;
use quoth_bench::command::WrongUsage;

use crate::args::ConnectionArgs;

/// Refuses flags that say how a user connects: a server API has a URL and a key.
///
/// # Errors
/// Names the flag that is meant. `has_api`: whether a flag says where the server API is. `takes_device`: whether
/// `--device` is the command's own.
pub(super) fn check_flags(
    connection: &ConnectionArgs,
    has_api: bool,
    takes_device: bool,
) -> Result<(), WrongUsage> {
    const WHERE: &str = "say where its server API is with --api URL, and give a key with --api-key-file FILE";
    const WHICH_KEY: &str = "it signs in with a key of the server API: give it with --api-key-file FILE";
    const WHOSE: &str = "say in whose name it is done with --as USER, where a command takes that";
    const HOW: &str = "it goes over HTTP to the URL that --api says";
    const ONE: &str = "--api says already which server is meant; leave one of both out";
    const DEVICE: &str = "it is done by no device; kick, revoke and unrevoke take one";
    let ConnectionArgs {
        server,
        client_file,
        ca: _,
        server_name,
        transport,
        token,
        token_file,
        user,
        device,
    } = connection;
    let unused = [
        ("--server", server.is_some(), WHERE),
        ("--client-file", client_file.is_some() && has_api, ONE),
        ("--server-name", server_name.is_some(), WHERE),
        ("--transport", transport.is_some(), HOW),
        ("--token", token.is_some(), WHICH_KEY),
        ("--token-file", token_file.is_some(), WHICH_KEY),
        ("--user", user.is_some(), WHOSE),
        ("--device", device.is_some() && !takes_device, DEVICE),
    ];
    match unused.into_iter().find(|(_, is_given, _)| *is_given) {
        Some((flag, _, instead)) => {
            Err(WrongUsage::new(format!("quoth admin does not use {flag}: {instead}")))
        }
        None => Ok(()),
    }
}

/// Refuses a file of a development server that a flag names where the environment names a server API: whichever
/// counted, the other one might be meant.
///
/// # Errors
/// Names both.
pub(super) fn check_client_file(file: Option<&Path>, api: Option<&str>) -> anyhow::Result<()> {
    match (file, api) {
        (Some(file), Some(api)) => bail!(
            "both {} (--client-file) and {api} (QUOTH_API) say which server is meant: leave --client-file out, or unset QUOTH_API",
            file.display()
        ),
        _ => Ok(()),
    }
}

/// Refuses a development server, of this file and at this address, where the environment names another server.
///
/// # Errors
/// Says how that other one is reached.
pub(super) fn check_server(named: Option<&str>, file: &Path, address: &str) -> anyhow::Result<()> {
    match named {
        Some(named) if named != address => bail!(
            "{named} (QUOTH_SERVER) is not the development server of this machine ({} names {address}): say where its server API is \
             with --api URL, and give a key with --api-key-file FILE",
            file.display()
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Args, Command};

    fn checked(line: &str) -> Result<(), String> {
        let args = Args::try_parse_from(["quoth"].into_iter().chain(line.split_whitespace())).unwrap();
        let Command::Admin(admin) = args.command else { panic!("not admin: {line}") };
        check_flags(&args.connection, admin.api.api.is_some(), admin.command.takes_device())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn flags_that_are_not_used_are_refused_with_what_is_meant() {
        for (line, flag, instead) in [
            ("admin --server chat.example:4433 stats", "--server:", "--api URL"),
            ("--server chat.example:4433 admin stats", "--server:", "--api URL"),
            ("admin stats --server chat.example:4433 --api chat.example:4434", "--server:", "--api URL"),
            ("admin stats --client-file f --api chat.example:4434", "--client-file:", "--api says already"),
            ("admin stats --server-name chat.example", "--server-name:", "--api URL"),
            ("admin stats --transport quic", "--transport:", "--api"),
            ("admin stats --token t", "--token:", "--api-key-file FILE"),
            ("admin stats --token-file f", "--token-file:", "--api-key-file FILE"),
            ("admin publish general hello --user alice", "--user:", "--as USER"),
            ("admin revoke --of a --user b", "--user:", "--as USER"),
            ("admin stats --device phone", "--device:", "kick, revoke and unrevoke"),
        ] {
            let refused = checked(line).expect_err(line);
            assert!(
                refused.contains(&format!("does not use {flag}")) && refused.contains(instead),
                "{line}: {refused}"
            );
        }
        for line in [
            "admin stats",
            "admin stats --client-file f --ca c",
            "admin stats --client-file f --api-key-file k",
            "admin stats --api chat.example:4434 --ca c",
            "admin kick bob --device phone",
            "admin revoke --of bob --device phone",
            "admin unrevoke --of bob --device phone",
            "admin publish general hello --as alice",
        ] {
            assert_eq!(checked(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn a_file_of_one_server_and_the_api_of_another_one_are_not_meant_at_once() {
        let (file, api) = (Some(Path::new("dev.json")), Some("https://prod.example:4434"));
        assert!(check_client_file(file, None).is_ok() && check_client_file(None, api).is_ok());
        let refused = check_client_file(file, api).unwrap_err().to_string();
        for told in ["dev.json (--client-file)", "https://prod.example:4434 (QUOTH_API)", "unset QUOTH_API"] {
            assert!(refused.contains(told), "{refused}");
        }
    }

    #[test]
    fn a_development_server_stands_in_for_no_other_one() {
        let check = |named: Option<&str>| check_server(named, Path::new("dev.json"), "127.0.0.1:4433");
        assert!(check(None).is_ok() && check(Some("127.0.0.1:4433")).is_ok());
        let refused = check(Some("prod.example:4433")).unwrap_err().to_string();
        for told in ["prod.example:4433 (QUOTH_SERVER)", "dev.json names 127.0.0.1:4433", "--api URL"] {
            assert!(refused.contains(told), "{refused}");
        }
    }
}
