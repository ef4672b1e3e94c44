//! Profiles: what a load looks like, as files. The built-in ones are files in `bench/profiles/`; a user
//! writes own ones.

mod bounds;
mod file;
mod goals;
pub mod keys;
mod payload;
pub mod reference;
mod shape;
mod size;
mod told;

pub(crate) use bounds::{COUNT_MAX, RATES_PER_S};
use bounds::{MESSAGES_MAX, TIME_S_MAX, WINDOW_MAX};

use std::path::Path;

use anyhow::Context as _;
use quoth_protocol::limits::BODY_BYTES_MAX;
use serde::{Deserialize, Serialize};

use self::file::File;
pub use self::goals::Goals;
pub use self::payload::Payload;
pub use self::shape::{Arrival, Shape, Transport, Until, Variant, WindowOf};
pub use self::size::Size;

/// The built-in profiles, by name.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("chat", include_str!("../../profiles/chat.toml")),
    ("fanout", include_str!("../../profiles/fanout.toml")),
    ("rooms", include_str!("../../profiles/rooms.toml")),
    ("catchup", include_str!("../../profiles/catchup.toml")),
    ("storm", include_str!("../../profiles/storm.toml")),
    ("idle", include_str!("../../profiles/idle.toml")),
    ("connect", include_str!("../../profiles/connect.toml")),
    ("lossy", include_str!("../../profiles/lossy.toml")),
    ("latency", include_str!("../../profiles/latency.toml")),
    ("throughput", include_str!("../../profiles/throughput.toml")),
    ("spread", include_str!("../../profiles/spread.toml")),
    ("websocket-latency", include_str!("../../profiles/websocket-latency.toml")),
    ("websocket-fanout", include_str!("../../profiles/websocket-fanout.toml")),
    ("websocket-idle", include_str!("../../profiles/websocket-idle.toml")),
];

/// A load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What it is for, in one sentence.
    pub about: String,
    /// What is done.
    pub kind: Kind,
    /// Who talks where.
    #[serde(flatten)]
    pub shape: Shape,
    /// What a message is.
    #[serde(default)]
    pub payload: Payload,
    /// Before what counts, in seconds.
    #[serde(default = "default_warm_up_s")]
    pub warm_up_s: f64,
    /// What counts, in seconds.
    #[serde(default = "default_duration_s")]
    pub duration_s: f64,
    /// How often each system is measured, in turn with the others.
    #[serde(default = "default_rounds")]
    pub rounds: u32,
    /// The network between clients and servers, by name or file; loopback without it.
    #[serde(default)]
    pub network: Option<String>,
    /// What is measured beside the server; an empty list for nothing. Without the key: all of them for open
    /// and closed loops, the relay for others.
    #[serde(default)]
    pub floors: Vec<Floor>,
    /// What the ratios of the run should be.
    #[serde(default)]
    pub goals: Goals,
    /// The same server under the same load in another shape, measured beside it.
    #[serde(default, rename = "variant")]
    pub variants: Vec<Variant>,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Messages come at a rate, whatever has become of those before them.
    Open,
    /// Each publisher has so many messages on their way.
    Closed,
    /// Readers come back to a backlog.
    Catchup,
    /// All clients come back after a restart of the server.
    Storm,
    /// Connections that do nothing.
    Idle,
    /// A cold start: from nothing to the first message.
    Connect,
}

impl Kind {
    /// As it stands in a profile.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Catchup => "catchup",
            Self::Storm => "storm",
            Self::Idle => "idle",
            Self::Connect => "connect",
        }
    }

    /// What can be measured beside the server.
    #[must_use]
    pub fn floors(self) -> &'static [Floor] {
        match self {
            Self::Open | Self::Closed => &[Floor::Relay, Floor::Websocket, Floor::Append],
            Self::Catchup | Self::Storm | Self::Idle | Self::Connect => &[Floor::Relay],
        }
    }
}

/// What the least is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Floor {
    /// A relay over bare quinn that stores nothing.
    Relay,
    /// The same over bare WebSocket, without TLS.
    Websocket,
    /// A file that is appended to, with `fdatasync`.
    Append,
}

fn default_warm_up_s() -> f64 {
    1.0
}

fn default_duration_s() -> f64 {
    5.0
}

fn default_rounds() -> u32 {
    3
}

impl Profile {
    /// A built-in profile by its name, or a file.
    ///
    /// # Errors
    /// What is wrong, and which names there are.
    pub fn find(name: &str) -> anyhow::Result<Self> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
            return Self::parse(text).with_context(|| format!("built-in profile {name}"));
        }
        let path = Path::new(name);
        if !path.exists() {
            let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
            anyhow::bail!(
                "there is no profile and no file `{name}`; the built-in ones are {}",
                names.join(", ")
            );
        }
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no profile that can be played", path.display()))
    }

    /// Reads a profile and checks it.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let file = File::parse(text)?;
        file.check()?;
        let mut profile = file.profile()?;
        if !file.gives("floors") {
            profile.floors = profile.kind.floors().to_vec();
        }
        profile.fill_members();
        profile.check().and_then(|()| goals::check(&profile)).map_err(|error| file.place(&error))?;
        Ok(profile)
    }

    /// Whether it can be played.
    ///
    /// # Errors
    /// What cannot be, with the reason.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.rounds > 0, "rounds = 0 measures nothing");
        anyhow::ensure!(
            (0.2..=TIME_S_MAX).contains(&self.duration_s),
            "duration_s must be 0.2 to {TIME_S_MAX}, and it is {}",
            self.duration_s
        );
        anyhow::ensure!(
            (0.0..=TIME_S_MAX).contains(&self.warm_up_s),
            "warm_up_s must be 0 to {TIME_S_MAX}, and it is {}",
            self.warm_up_s
        );
        for floor in &self.floors {
            anyhow::ensure!(
                self.kind.floors().contains(floor),
                "floors: kind \"{}\" has only \"relay\"",
                self.kind.name()
            );
        }
        if let Payload::Range([from, to]) = self.payload {
            anyhow::ensure!(from <= to, "payload: {from} is more than {to}");
        }
        let (Payload::Bytes(most) | Payload::Range([_, most])) = self.payload;
        anyhow::ensure!(
            most <= BODY_BYTES_MAX,
            "payload: {most} bytes are more than a message can have, which is {BODY_BYTES_MAX}"
        );
        self.check_shape(&self.shape)?;
        for (at, variant) in self.variants.iter().enumerate() {
            let name = &variant.name;
            anyhow::ensure!(
                self.variants[..at].iter().all(|before| before.name != *name),
                "two variants are called `{name}`: nobody could tell their figures apart"
            );
            self.check_shape(&variant.apply(&self.shape)).with_context(|| format!("variant {name}"))?;
        }
        Ok(())
    }

    fn check_shape(&self, shape: &Shape) -> anyhow::Result<()> {
        let Shape { conversations, members, connections, publishers, .. } = *shape;
        for (name, count) in
            [("conversations", conversations), ("members", members), ("connections", connections)]
        {
            anyhow::ensure!(count > 0, "`{name}` is missing or 0, which measures nothing");
            anyhow::ensure!(count <= COUNT_MAX, "`{name}` = {count} is more than {COUNT_MAX}");
        }
        anyhow::ensure!(
            members <= connections,
            "members ({members}) must not be more than connections ({connections}): a conversation is opened only once on \
             each connection"
        );
        anyhow::ensure!(
            publishers <= members,
            "publishers ({publishers}) are members, of whom there are {members} in a conversation"
        );
        anyhow::ensure!(
            shape.stalled < conversations,
            "stalled ({}) must leave a conversation of {conversations} to measure",
            shape.stalled
        );
        anyhow::ensure!(
            publishers > 0,
            "publishers = 0 measures nothing; for connections that do nothing there is kind \"idle\""
        );
        anyhow::ensure!(
            shape.stalled == 0 || shape.window_until == Until::Acked,
            "stalled readers never take what window_until = \"delivered\" waits for"
        );
        match self.kind {
            Kind::Open => {
                anyhow::ensure!(
                    RATES_PER_S.contains(&shape.rate_per_s),
                    "an open loop needs a rate_per_s from {} to {}, and it is {}",
                    RATES_PER_S.start(),
                    RATES_PER_S.end(),
                    shape.rate_per_s
                );
                let messages = shape.rate_per_s * (self.warm_up_s + self.duration_s);
                anyhow::ensure!(
                    messages <= MESSAGES_MAX,
                    "{messages:.0} messages are due in a round, and each is kept in memory until it is checked: {MESSAGES_MAX} are \
                     the most; take a lower rate or a shorter time"
                );
            }
            Kind::Closed => {
                anyhow::ensure!(shape.window > 0, "a closed loop needs a window above 0");
                anyhow::ensure!(
                    shape.window <= WINDOW_MAX,
                    "a window of {} keeps so many messages in memory for each publisher: {WINDOW_MAX} are the most",
                    shape.window
                );
                let delivered = shape.window_until == Until::Delivered;
                anyhow::ensure!(
                    !delivered || shape.readers() > 0,
                    "window_until = \"delivered\" needs readers"
                );
            }
            Kind::Catchup => anyhow::ensure!(shape.backlog > 0, "a catch-up needs a backlog above 0"),
            Kind::Storm | Kind::Idle | Kind::Connect => {}
        }
        if self.takes("at_once") {
            anyhow::ensure!(shape.at_once > 0, "at_once = 0 connects nobody");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_can_be_played() {
        for (name, _) in BUILT_IN {
            Profile::find(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    fn refused(change: &str) -> String {
        let text = format!("about = \"\"\nkind = \"open\"\nrate_per_s = 1\nconversations = 2\n{change}");
        format!("{:#}", Profile::parse(&text).expect_err("it is refused"))
    }

    #[test]
    fn what_cannot_be_played_is_refused_with_the_reason() {
        assert!(refused("members = 3\nconnections = 2").contains("opened only once"));
        let two = "members = 2\nconnections = 2\n";
        let alike = "[[variant]]\nname = \"v\"\nrate_per_s = 5\n";
        assert!(refused(&format!("{two}{alike}{alike}")).contains("two variants are called `v`"));
        assert!(
            refused(&format!("{two}duration_s = 900_000\n[[variant]]\nname = \"v\"\nrate_per_s = 1000"))
                .contains("kept in memory")
        );
        assert!(refused("members = 1\nconnections = 1\npublishers = 2").contains("are members"));
        assert!(refused("members = 1\nconnections = 1\nstalled = 2").contains("to measure"));
        assert!(refused("connections = 1").contains("`members` is missing"));
        assert!(refused("members = 1\nconnections = ").contains("line 6: "));
        assert!(
            refused("members = 1\nconnections = \"x\"")
                .contains("line 6: `connections` is \"x\", and it takes 1 or more")
        );
        for payload in ["65537", "[1, 65537]"] {
            let told = refused(&format!("members = 1\nconnections = 1\npayload = {payload}"));
            assert!(told.contains("65537 bytes are more than a message can have, which is 65536"), "{told}");
        }
        assert!(Profile::find("chats").expect_err("no such").to_string().contains("chat, fanout"));
    }

    #[test]
    fn a_size_is_a_number_or_a_range() {
        assert_eq!("200".parse(), Ok(Payload::Bytes(200)));
        assert_eq!("50-60".parse(), Ok(Payload::Range([50, 60])));
        assert!("60-50".parse::<Payload>().is_err() && "big".parse::<Payload>().is_err());
        let sizes: std::collections::BTreeSet<_> =
            (0..100).map(|i| Payload::Range([50, 60]).bytes(i)).collect();
        assert_eq!((sizes.first(), sizes.last(), sizes.len()), (Some(&50), Some(&60), 11));
    }

    #[test]
    fn what_is_measured_beside_hangs_on_the_kind() {
        let of = |kind, more| {
            Profile::parse(&format!(
                "about = \"\"\nkind = \"{kind}\"\nconversations = 3\nconnections = 7\n{more}"
            ))
        };
        let idle = of("idle", "").expect("a profile");
        assert_eq!((idle.floors, idle.shape.members), (vec![Floor::Relay], 3));
        assert_eq!(of("idle", "floors = []").expect("a profile").floors, []);
        assert_eq!(of("closed", "members = 2").expect("a profile").floors.len(), 3);
        let told = of("storm", "floors = [\"append\"]").expect_err("it is refused").to_string();
        assert!(told.contains("only \"relay\""), "{told}");
    }

    #[test]
    fn a_variant_changes_what_it_names() {
        let text = "about = \"\"\nkind = \"closed\"\nconversations = 64\nmembers = 1\nconnections = 2\n[[variant]]\n\
                    name = \"many\"\nconversations = 1000";
        let profile = Profile::parse(text).expect("a profile");
        let shape = profile.variants[0].apply(&profile.shape);
        assert_eq!((shape.conversations, shape.connections, shape.window), (1_000, 2, 64));
    }
}
