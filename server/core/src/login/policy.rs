//! Which devices of one user may be signed in together.

use quoth_protocol::DeviceId;

use super::{Entries, Entry};

/// Which devices of one user may be signed in together. Whoever signs in stays; others may have to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// All of them.
    All,
    /// One of each [`Class`].
    OnePerClass,
    /// One.
    OneDevice,
    /// So many that came last.
    Newest {
        /// How many.
        devices_max: usize,
    },
}

/// What kind of device it is, by what its Hello says of its platform, whatever the case:
///
/// | class | platform begins with |
/// |---|---|
/// | mobile | `android`, `ios`, `iphone`, `ipad`, `mobile` |
/// | desktop | `linux`, `windows`, `macos`, `darwin`, `freebsd`, `desktop` |
/// | web | `web`, `browser` |
/// | other | anything else |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// Telephones and tablets.
    Mobile,
    /// Computers.
    Desktop,
    /// Pages.
    Web,
    /// Everything else: bots, bridges, the command line of an unknown system.
    Other,
}

const CLASSES: &[(&str, Class)] = &[
    ("android", Class::Mobile),
    ("ios", Class::Mobile),
    ("iphone", Class::Mobile),
    ("ipad", Class::Mobile),
    ("mobile", Class::Mobile),
    ("linux", Class::Desktop),
    ("windows", Class::Desktop),
    ("macos", Class::Desktop),
    ("darwin", Class::Desktop),
    ("freebsd", Class::Desktop),
    ("desktop", Class::Desktop),
    ("web", Class::Web),
    ("browser", Class::Web),
];

impl Class {
    /// The class of a platform.
    #[must_use]
    pub fn of_platform(platform: &str) -> Self {
        let begins = |prefix: &str| {
            platform.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        CLASSES.iter().find(|(prefix, _)| begins(prefix)).map_or(Self::Other, |(_, class)| *class)
    }
}

impl Policy {
    /// How long a device without a connection is remembered, in milliseconds. Where all devices stay it is
    /// four times a client's longest pause between two tries (30 s), so that a late connection is known to be
    /// one. Where one device puts out another it is a day: a telephone that has slept must not put out the
    /// one that has won meanwhile.
    #[must_use]
    pub const fn memory_ms(self) -> u64 {
        match self {
            Self::All => 120_000,
            Self::OnePerClass | Self::OneDevice | Self::Newest { .. } => 86_400_000,
        }
    }

    /// Who has to go now that `winner` has signed in, which is one of the entries.
    pub(super) fn losers(self, entries: &Entries, winner: &DeviceId) -> Vec<DeviceId> {
        let others = || entries.values().filter(|entry| entry.is_here() && entry.device != *winner);
        let class = entries.get(winner).map(|entry| entry.class);
        let mut losers: Vec<&Entry> = match self {
            Self::All => Vec::new(),
            Self::OnePerClass => others().filter(|entry| Some(entry.class) == class).collect(),
            Self::OneDevice => others().collect(),
            Self::Newest { devices_max } => {
                let mut others: Vec<&Entry> = others().collect();
                others.sort_by_key(|entry| entry.place);
                let stay = devices_max.saturating_sub(1);
                others.truncate(others.len().saturating_sub(stay));
                others
            }
        };
        losers.sort_by_key(|entry| entry.place);
        losers.into_iter().map(|entry| entry.device.clone()).collect()
    }
}
