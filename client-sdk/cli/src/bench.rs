//! `quoth bench`: what the bench takes from the rest of the command line.

use std::net::ToSocketAddrs as _;
use std::process::ExitCode;

use anyhow::Context as _;
use quoth_bench::command::{Around, BenchArgs, RunningServer, execute, run_floor};
use quoth_bench::process::leave_nothing;

use crate::args::ConnectionArgs;
use crate::connection::{Connection, NamedServer};
use crate::import;
use crate::interrupt::Interrupt;
use crate::output::{note, written};

pub(crate) fn run(connection: ConnectionArgs, args: BenchArgs) -> anyhow::Result<ExitCode> {
    if let Some(done) = run_floor(&args) {
        return done.map(|()| ExitCode::SUCCESS);
    }
    let interrupt = Interrupt::listen_for_any_end(leave_nothing).context("cannot start")?;
    let connection = Connection::new(connection, interrupt.clone());
    let running = connection.named_server()?.map(running).transpose()?;
    let around = Around {
        running,
        logs: import::lines_in,
        print: &|text| written(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())),
        is_interrupted: &|| interrupt.is_asked(),
    };
    let result = execute(args, &around);
    match interrupt.exit_code() {
        Some(code) => {
            note("interrupted");
            Ok(code.into())
        }
        None => result,
    }
}

fn running(named: NamedServer) -> anyhow::Result<RunningServer> {
    let NamedServer { server, server_name, ca, token } = named;
    let address = server.to_socket_addrs().with_context(|| format!("{server} is not found"))?.next();
    let address = address.with_context(|| format!("{server} has no address"))?;
    Ok(RunningServer { address, name: server_name, ca_file: ca, token })
}
