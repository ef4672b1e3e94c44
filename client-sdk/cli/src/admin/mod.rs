//! `quoth admin`: the server API from the terminal.

mod api;
mod args;
mod call;
mod create;
mod hint;
mod many;
mod meant;
mod named;
mod notes;
mod retention;
mod revoked;
mod show;
mod wait;

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::Value;

pub(crate) use self::args::AdminArgs;
use self::args::{AdminCommand, OneCommand, UserCommand};
use self::retention::RetentionCommand;
use crate::args::ConnectionArgs;
use crate::output::{note, written};

/// Does what is asked, and prints the answer.
pub(crate) fn run(connection: ConnectionArgs, args: AdminArgs) -> anyhow::Result<ExitCode> {
    let AdminArgs { api, json, command } = args;
    meant::check_flags(&connection, api.api.is_some(), command.takes_device())?;
    let api = api::Api::new(connection, api)?;
    let command = match command {
        AdminCommand::Many(command) => return many::run(&api, command, json),
        AdminCommand::One(command) => command,
    };
    let waits = matches!(command, OneCommand::Retention(RetentionCommand::Run { wait: true }));
    let is_status = matches!(command, OneCommand::Retention(RetentionCommand::Status));
    let asks_how_far = matches!(command, OneCommand::User(UserCommand::Erasure { .. }));
    let caveats = call::caveats(&command);
    let revoked = revoked::asked(&command);
    let before = match &command {
        OneCommand::Retention(command) => retention::before(command),
        _ => None,
    };
    // Why it cannot be asked for is why the request itself is refused.
    let is_held = |kept: Value| kept["hold_ms"].as_u64() > Some(0);
    let ends_hold = before.is_some_and(|before| api.send(&before).is_ok_and(is_held));
    let users = named::users(&command);
    let device = named::device(&command);
    let wanted = create::wanted(&command);
    let kicked = matches!(command, OneCommand::Kick { .. });
    let mut answer = api.send(&call::of(command))?;
    if waits {
        answer = wait::until_done(&api, &answer)?;
    }
    if is_status && let Some(fields) = answer.as_object_mut() {
        fields.remove("windows");
        fields.remove("conversations");
    }
    let covered = revoked.and_then(|revoked| revoked.covered(&answer));
    if !json && let Some(fields) = answer.as_object_mut() {
        fields.remove("covered_by");
    }
    let text = match (json, waits) {
        (true, _) => format!("{answer}\n"),
        (false, true) => wait::done(&answer),
        (false, false) => show::text(&answer),
    };
    written(std::io::stdout().lock().write_all(text.as_bytes()))?;
    if let Some(wanted) = wanted {
        create::check(&api, &wanted, &answer)?;
    }
    notes::notes(&answer, ends_hold).into_iter().for_each(note);
    match covered {
        Some(covered) => note(covered),
        None => caveats.into_iter().for_each(note),
    }
    named::firsts(&answer).into_iter().for_each(note);
    if kicked && answer["closed"] == 0 {
        note("nobody was connected there, so nothing was closed");
    }
    if !json
        && named::tell_unseen(&api, &users, &answer)
        && let Some((user, device)) = device
    {
        named::tell_unknown(&api, &user, &device);
    }
    // It has ended, and not with all that it was to do; or has not ended.
    let is_unfinished = asks_how_far && !matches!(answer["state"].as_str(), Some("absent" | "gone"));
    let has_failed = is_unfinished || waits && !answer["error"].is_null();
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
