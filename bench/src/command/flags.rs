//! Flags over a profile: one that would have no effect is refused, since whoever has given it expects one.

use anyhow::Context as _;

use super::args::{Connecting, RunArgs};
use crate::profile::keys::takers;
use crate::profile::{COUNT_MAX, Kind, Profile, RATES_PER_S, Size};
use crate::target::QuothOptions;

/// What the user has asked for cannot be; nothing was tried.
#[derive(Debug)]
pub struct WrongUsage(String);

impl std::fmt::Display for WrongUsage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUsage {}

impl WrongUsage {
    /// Says what is wrong, and what to give in place of that.
    #[must_use]
    pub const fn new(told: String) -> Self {
        Self(told)
    }

    pub(super) fn of(error: &anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}

/// The profile that the arguments name, with the flags over it.
pub(super) fn profile(args: &RunArgs, connecting: &Connecting) -> anyhow::Result<Profile> {
    let mut profile = Profile::find(&args.profile)?;
    check_server(args, &profile, connecting)?;
    if args.closed {
        anyhow::ensure!(
            profile.kind != Kind::Closed,
            "--closed has no effect on `{}`, which is of kind \"closed\" already: leave it out",
            args.profile
        );
        refuse_unless(&profile, "--closed", "stalled", &args.profile)?;
        profile.kind = Kind::Closed;
    }
    check_load(args, &profile)?;
    if let Some(transport) = connecting.transport.filter(|transport| *transport != profile.shape.transport) {
        refuse_unless(&profile, "--transport (or QUOTH_TRANSPORT)", "transport", &args.profile)?;
        profile.shape.transport = transport;
    }
    profile.resize(size(args));
    let shape = &mut profile.shape;
    shape.rate_per_s = args.rate.unwrap_or(shape.rate_per_s);
    shape.window = args.window.unwrap_or(shape.window);
    if let Some(payload) = &args.payload {
        profile.payload = payload.clone();
    }
    profile.duration_s = args.duration.unwrap_or(profile.duration_s);
    profile.warm_up_s = args.warm_up.unwrap_or(profile.warm_up_s);
    profile.network = args.network.clone().or_else(|| profile.network.take());
    profile.rounds = args.rounds.unwrap_or(profile.rounds);
    if args.no_floors {
        profile.floors.clear();
    }
    check_settings(args, &profile)?;
    profile.check()?;
    if let Some(network) = profile.network.as_deref().filter(|network| *network != "loopback") {
        quoth_network::Profile::open(network).with_context(|| format!("the network {network}"))?;
    }
    Ok(profile)
}

fn size(args: &RunArgs) -> Size {
    Size { connections: args.connections, conversations: args.conversations, readers: args.readers }
}

/// Flags that have made another load, or another server, of what the profile's goals are for, or that leave
/// it less time. `profile` is what the flags have made.
pub(super) fn overrides(args: &RunArgs, profile: &Profile) -> anyhow::Result<Vec<&'static str>> {
    let as_it_was = Profile::find(&args.profile)?;
    let (was, is) = (&as_it_was.shape, &profile.shape);
    let network = |profile: &Profile| profile.network.clone().filter(|network| network != "loopback");
    let changes = [
        ("--rate", was.rate_per_s.to_bits() != is.rate_per_s.to_bits()),
        ("--connections", args.connections.is_some() && was.connections != is.connections),
        ("--conversations", args.conversations.is_some() && was.conversations != is.conversations),
        ("--readers", args.readers.is_some() && was.members != is.members),
        ("--closed", as_it_was.kind != profile.kind),
        ("--window", was.window != is.window),
        ("--payload", as_it_was.payload != profile.payload),
        ("--replay", args.replay.is_some()),
        ("--duration", profile.duration_s < as_it_was.duration_s),
        ("--warm-up", profile.warm_up_s < as_it_was.warm_up_s),
        ("--network", network(&as_it_was) != network(profile)),
        ("--transport", was.transport != is.transport),
        ("--set", !args.settings.is_empty()),
    ];
    Ok(changes.into_iter().filter(|(_, changes)| *changes).map(|(flag, _)| flag).collect())
}

/// Flags that hang on the kind of load: each with the key that it is like.
fn check_load(args: &RunArgs, profile: &Profile) -> anyhow::Result<()> {
    let given = [
        ("--rate", args.rate.is_some(), "rate_per_s"),
        ("--readers", args.readers.is_some(), "members"),
        ("--window", args.window.is_some(), "window"),
        ("--payload", args.payload.is_some(), "payload"),
        ("--replay", args.replay.is_some(), "rate_per_s"),
        ("--duration", args.duration.is_some(), "duration_s"),
        ("--warm-up", args.warm_up.is_some(), "warm_up_s"),
        ("--patience", args.patience.is_some(), "duration_s"),
        ("--client-threads", args.client_threads.is_some(), "duration_s"),
    ];
    for (flag, _, key) in given.into_iter().filter(|(_, is_given, _)| *is_given) {
        refuse_unless(profile, flag, key, &args.profile)?;
    }
    for (flag, value, least, is_fine) in [
        (
            "--rate",
            args.rate,
            "0.001 to 10,000,000 messages per second",
            (|rate| RATES_PER_S.contains(&rate)) as fn(f64) -> bool,
        ),
        ("--speed", args.speed, "0.01 to 100,000", |speed| (0.01..=1e5).contains(&speed)),
        ("--duration", args.duration, "0.2 s to 1,000,000 s", |duration_s| (0.2..=1e6).contains(&duration_s)),
        ("--warm-up", args.warm_up, "0 s to 1,000,000 s", |warm_up_s| (0.0..=1e6).contains(&warm_up_s)),
        ("--patience", args.patience, "0 s to 1,000,000 s", |patience_s| (0.0..=1e6).contains(&patience_s)),
    ] {
        let Some(value) = value else { continue };
        anyhow::ensure!(is_fine(value), "{flag} must be {least}, and it is {value:e}");
    }
    for (flag, count) in [
        ("--connections", args.connections),
        ("--conversations", args.conversations),
        ("--readers", args.readers),
    ] {
        let count = count.unwrap_or_default();
        anyhow::ensure!(count <= COUNT_MAX, "{flag} must be {COUNT_MAX} at most, and it is {count}");
    }
    anyhow::ensure!(args.client_threads != Some(0), "--client-threads 0 has nobody to run the clients");
    Ok(())
}

fn refuse_unless(profile: &Profile, flag: &str, key: &str, name: &str) -> anyhow::Result<()> {
    let closed = if key == "window" { ", or open loops with --closed" } else { "" };
    anyhow::ensure!(
        profile.takes(key),
        "{flag} has no effect on `{name}`, which is of kind \"{}\"{}; it is for {}{closed}",
        profile.kind.name(),
        if key == "rate_per_s" && profile.kind == Kind::Closed {
            ": it sends as fast as messages go through"
        } else {
            ""
        },
        takers(key),
    );
    Ok(())
}

/// Settings that the bench gives its server itself, and would give it in place of what was asked for.
fn check_settings(args: &RunArgs, profile: &Profile) -> anyhow::Result<()> {
    for setting in &args.settings {
        let key = setting.split_once('=').map_or(&**setting, |(key, _)| key).trim();
        if let Some(why) = QuothOptions::why_its_own(key, profile.shape.transport) {
            anyhow::bail!(
                "--set {key} is what the bench sets itself: {why}; leave it out, or start a server with it and measure that one with \
                 --server"
            );
        }
    }
    Ok(())
}

/// Flags that hang on whose server is measured.
fn check_server(args: &RunArgs, profile: &Profile, connecting: &Connecting) -> anyhow::Result<()> {
    if connecting.running.is_none() {
        if let Some(flag) = connecting.of_running.first() {
            anyhow::bail!(
                "{flag} is for a server that runs already: name it with --server or --client-file, or leave {flag} out; the bench \
                 knows how to reach the one that it starts"
            );
        }
        anyhow::ensure!(
            args.server_pid.is_none(),
            "--server-pid is for a server that runs already (--server); the bench knows the one that it starts"
        );
        return Ok(());
    }
    let own = "the server that the bench starts, and this run measures one that runs already: leave it out, or leave --server \
               out (and QUOTH_SERVER and QUOTH_CLIENT_FILE)";
    anyhow::ensure!(args.server_binary.is_none(), "--server-binary is for {own}");
    anyhow::ensure!(args.settings.is_empty(), "--set is for {own}");
    let network = args.network.as_deref().or(profile.network.as_deref());
    anyhow::ensure!(
        network.is_none_or(|network| network == "loopback"),
        "a network lies between the clients and a server that the bench starts, and a server that runs already is on neither \
         side: leave --server out, or take --network loopback"
    );
    anyhow::ensure!(
        profile.kind != Kind::Storm,
        "a storm kills its server: leave --server out, so that the bench starts one of its own"
    );
    anyhow::ensure!(
        profile.kind != Kind::Idle || args.server_pid.is_some(),
        "memory needs the server's process: give --server-pid as well, or leave --server out"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::RunningServer;
    use super::*;
    use crate::profile::Transport;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parsed(line: &str) -> anyhow::Result<Profile> {
        let running = RunningServer {
            address: ([127, 0, 0, 1], 4433).into(),
            ca_file: "ca.pem".into(),
            name: "localhost".to_owned(),
            token: "token".to_owned(),
        };
        let connecting = Connecting {
            running: line.contains("--running").then_some(running),
            transport: line.contains("--websocket").then_some(Transport::Websocket),
            of_running: if line.contains("--ca") { vec!["--ca"] } else { Vec::new() },
        };
        let words = line.split(' ').filter(|word| !["--running", "--websocket", "--ca"].contains(word));
        let line = Line::try_parse_from(["bench"].into_iter().chain(words))?;
        profile(&line.run, &connecting)
    }

    fn refused(line: &str) -> String {
        format!("{:#}", parsed(line).expect_err(line))
    }

    #[test]
    fn a_flag_without_an_effect_is_refused_with_who_takes_it() {
        for (line, takers) in [
            ("throughput --rate 5", "it is for kind \"open\" (chat, rooms, lossy, latency, "),
            (
                "latency --window 5",
                "it is for kind \"closed\" (fanout, throughput, spread, websocket-fanout), or open loops with --closed",
            ),
            ("storm --duration 5", "it is for kind \"open\" or \"closed\" (chat, fanout, "),
            ("idle --payload 5", "it is for kind"),
            ("connect --warm-up 5", "it is for kind"),
            ("catchup --patience 5", "it is for kind"),
            ("idle --client-threads 5", "it is for kind"),
            ("fanout --replay logs", "it is for kind \"open\""),
            ("catchup --closed", "it is for kind \"open\" or \"closed\""),
            ("fanout --closed", "which is of kind \"closed\" already: leave it out"),
            ("fanout --closed --window 5", "which is of kind \"closed\" already: leave it out"),
            ("storm --readers 5", "it is for kind \"open\" or \"closed\" or \"catchup\" (chat, fanout, "),
            ("idle --readers 5", "--readers has no effect on `idle`"),
            ("latency --server-pid 5", "--server"),
            ("latency --running --set a=b", "--set is for the server that the bench starts"),
            ("latency --running --server-binary x", "--server-binary is for"),
            ("lossy --running", "--network loopback"),
            ("storm --running", "kills its server"),
            ("idle --running", "--server-pid"),
            ("storm --websocket", "--transport (or QUOTH_TRANSPORT) has no effect on `storm`"),
            ("latency --ca", "--ca is for a server that runs already"),
            (
                "latency --set server.listen=127.0.0.1:4433",
                "--set server.listen is what the bench sets itself: its server listens at a port that is free",
            ),
            (
                "latency --set limits.members_max=5 --set server.data_dir=/x",
                "--set server.data_dir is what the bench sets",
            ),
            ("latency --set log.format", "--set log.format is what the bench sets itself"),
        ] {
            let told = refused(line);
            assert!(told.contains(takers), "{line}: {told}");
        }
        assert!(refused("latency --replay logs --payload 5").contains("--payload"));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "latency --duration 0",
            "latency --rate 0",
            "latency --patience=-1",
            "latency --client-threads 0",
            "chat --replay logs --speed 0",
            "latency --closed --window 0",
            "latency --rounds 0",
            "latency --network nowhere",
            "latency --payload 65537",
            "latency --readers 0 --closed --window 0",
            "latency --connections 0",
            "latency --conversations 0",
            "fanout --readers 70000 --conversations 70000",
        ] {
            refused(line);
        }
    }

    #[test]
    fn a_number_that_cannot_be_is_told_with_what_can() {
        for (line, told) in [
            ("latency --duration -1", "--duration must be 0.2 s to 1,000,000 s, and it is -1"),
            ("latency --duration 1e300", "--duration must be 0.2 s to 1,000,000 s, and it is 1e300"),
            ("latency --warm-up -0.5", "--warm-up must be 0 s to 1,000,000 s, and it is -5e-1"),
            ("latency --rate -5", "--rate must be 0.001 to 10,000,000 messages per second, and it is -5"),
            ("latency --rate 1e9", "--rate must be 0.001 to 10,000,000 messages per second, and it is 1e9"),
            ("latency --rate 1e-300", "--rate must be 0.001 to"),
            ("latency --rate 1e7 --duration 60", "the most; take a lower rate or a shorter time"),
            ("throughput --window 4000000000", "10000 are the most"),
            ("chat --replay logs --speed 0.0001", "--speed must be 0.01 to 100,000, and it is 1e-4"),
            ("latency --conversations 4000000000", "--conversations must be 10000000 at most"),
            ("latency --patience -1", "--patience must be 0 s to 1,000,000 s, and it is -1"),
            ("latency --rounds -1", "invalid value '-1' for '--rounds <N>'"),
            ("latency --connections -1", "invalid value '-1' for '--connections <N>'"),
            ("latency --connections 1", "members (2) must not be more than connections (1)"),
        ] {
            assert!(refused(line).contains(told), "{line}: {}", refused(line));
        }
    }

    #[test]
    fn what_changes_the_load_is_known() {
        let overrides_of = overrides;
        let overrides = |line: &str| {
            let profile = parsed(line).expect(line);
            let words = ["bench"].into_iter().chain(line.split(' '));
            overrides_of(&Line::try_parse_from(words).expect(line).run, &profile).expect(line)
        };
        assert_eq!(overrides("latency"), Vec::<&str>::new());
        // What is as in the profile changes nothing.
        assert_eq!(overrides("latency --rate 1000 --rounds 9 --seed 5 --no-floors"), Vec::<&str>::new());
        assert_eq!(overrides("latency --network loopback --duration 5"), Vec::<&str>::new());
        assert_eq!(overrides("latency --rate 500 --duration 3"), ["--rate", "--duration"]);
        assert_eq!(
            overrides("latency --closed --window 3 --payload 5"),
            ["--closed", "--window", "--payload"]
        );
        assert_eq!(
            overrides("latency --readers 5 --conversations 3 --connections 20"),
            ["--connections", "--conversations", "--readers"]
        );
        assert_eq!(overrides("latency --readers 5"), ["--readers"]);
        assert_eq!(overrides("latency --readers 1 --conversations 1 --connections 2"), Vec::<&str>::new());
        assert_eq!(overrides("lossy --network bad --warm-up 0.5"), ["--warm-up", "--network"]);
        assert_eq!(overrides("chat --replay logs --set a=b"), ["--replay", "--set"]);
        // How it is measured is not the load; but in less time there are other figures.
        assert_eq!(overrides("latency --duration 30 --warm-up 9 --client-threads 2"), Vec::<&str>::new());
    }

    #[test]
    fn flags_win_over_the_profile() {
        let profile = parsed("latency --closed --window 5 --duration 2 --payload 50-60 --no-floors")
            .expect("it is fine");
        assert_eq!((profile.kind, profile.shape.window, profile.floors.len()), (Kind::Closed, 5, 0));
        let profile = parsed("lossy --running --network loopback").expect("it is fine");
        assert_eq!(profile.network.as_deref(), Some("loopback"));
        for line in ["latency --websocket", "latency --websocket --running --ca", "idle --websocket"] {
            assert_eq!(parsed(line).expect("it is fine").shape.transport, Transport::Websocket, "{line}");
        }
    }
}
