//! Whether users are there.

use serde::{Deserialize, Serialize};

/// Whether somebody is there. Of a user with several devices it is the best one's, which is the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Status {
    /// Connected, and somebody sits there.
    Online,
    /// Connected, but nobody sits there.
    Away,
    /// Not connected.
    Offline,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Away => "away",
            Self::Offline => "offline",
        })
    }
}
