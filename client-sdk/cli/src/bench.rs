//! `quoth bench`: what the bench takes from the rest of the command line.

use std::net::ToSocketAddrs as _;
use std::process::ExitCode;

use anyhow::Context as _;
use quoth_bench::command::{Around, BenchArgs, Connecting, RunningServer, execute, lost, run_floor};
use quoth_bench::process::leave_nothing;
use quoth_bench::profile;
use quoth_client::Transport;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, NamedServer};
use crate::import;
use crate::interrupt::Interrupt;
use crate::output::{note, written};

pub(crate) fn run(connection: ConnectionArgs, args: BenchArgs) -> anyhow::Result<ExitCode> {
    if let Some(done) = run_floor(&args) {
        return done.map(|()| ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::listen_for_any_end(|signal| {
        leave_nothing();
        note(lost(signal));
    })
    .context("cannot start")?;
    let connection = Connection::new(connection, interrupt.clone());
    let around = Around {
        connecting: &|| connecting(&connection),
        logs: import::lines_in,
        print: &|text| written(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())),
        note: &|text| note(text),
        stopped_by: &|| interrupt.signal(),
    };
    let result = execute(args, &around);
    match interrupt.exit_code() {
        Some(code) => Ok(code.into()),
        None => result,
    }
}

fn connecting(connection: &Connection) -> anyhow::Result<Connecting> {
    anyhow::ensure!(
        !connection.names_a_device(),
        "--device has no effect on the bench, whose clients each are a device of their own: leave it out"
    );
    Ok(Connecting {
        running: connection.named_server()?.map(running).transpose()?,
        transport: match connection.transport()? {
            Transport::Quic => Some(profile::Transport::Quic),
            Transport::WebSocket => Some(profile::Transport::Websocket),
            // A figure is of one transport, so nothing is tried first.
            Transport::Auto => None,
        },
        of_running: connection.flags_for_a_named_server(),
    })
}

fn running(named: NamedServer) -> anyhow::Result<RunningServer> {
    let NamedServer { server, server_name, ca, token } = named;
    let address = server.to_socket_addrs().with_context(|| format!("{server} is not found"))?.next();
    let address = address.with_context(|| format!("{server} has no address"))?;
    Ok(RunningServer { address, name: server_name, ca_file: ca, token })
}
