//! `quoth bench`: what the bench takes from the rest of the command line.

use std::net::ToSocketAddrs as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use quoth_bench::command::{Around, BenchArgs, RunningServer, execute};

use crate::args::ConnectionArgs;
use crate::connection::{Connection, NamedServer};
use crate::import;
use crate::interrupt::{Interrupt, Interrupted};
use crate::output::written;

pub(crate) fn run(connection: ConnectionArgs, args: BenchArgs) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen().context("cannot start")?;
    let connection = Connection::new(connection, interrupt.clone());
    let running = connection.named_server()?.map(running).transpose()?;
    let around = Around {
        running,
        logs: import::lines_in,
        print: &|text| written(std::io::Write::write_all(&mut std::io::stdout().lock(), text.as_bytes())),
        is_interrupted: &|| interrupt.is_asked(),
    };
    let result = execute(args, &around);
    if interrupt.is_asked() { Err(Interrupted.into()) } else { result }
}

fn running(named: NamedServer) -> anyhow::Result<RunningServer> {
    let NamedServer { server, ca, token } = named;
    let address = server.to_socket_addrs().with_context(|| format!("{server} is not found"))?.next();
    let address = address.with_context(|| format!("{server} has no address"))?;
    Ok(RunningServer { address, ca_file: Path::new(&ca).to_owned(), token })
}
