//! `quoth-network`: a network for programs that are started by hand.

use std::process::ExitCode;

use clap::Parser;
use nix::sys::signal::{SigSet, Signal};
use quoth_network::{Namespace, Network, NetworkError, Profile, ProfileError};

/// Runs a network of delay, loss and limits between two namespaces until it is told to end (Ctrl-C), and
/// prints what it has done; with SIGUSR1 it prints that and goes on. Needs root.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = false)]
struct Arguments {
    /// lan, home, mobile, bad, or a TOML file
    #[arg(long, default_value = "home")]
    profile: String,
    /// What decides which packets are lost, so that a run can be repeated
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quoth-network: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("signals: {0}")]
    Signals(#[from] nix::errno::Errno),
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let profile = Profile::open(&arguments.profile)?;
    // Before there is a second thread, which would be ended by one.
    let signals: SigSet =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1].into_iter().collect();
    signals.thread_block()?;
    let network = Network::start(&profile, arguments.seed)?;
    let told = |namespace: &Namespace| format!("nsenter --net={} -- PROGRAM", namespace.path().display());
    println!(
        "profile {}, seed {}\nserver  {}  {}\nclient  {}  {}",
        arguments.profile,
        arguments.seed,
        network.server_address(),
        told(network.server_namespace()),
        network.client_address(),
        told(network.client_namespace())
    );
    while signals.wait()? == Signal::SIGUSR1 {
        println!("{}", network.counters());
    }
    println!("{}", network.stop()?);
    Ok(())
}
