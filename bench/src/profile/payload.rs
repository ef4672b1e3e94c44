//! What a message is: its size.

use serde::{Deserialize, Serialize};

/// What a message is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// So many bytes.
    Bytes(usize),
    /// From the first to the second, all equally often.
    Range([usize; 2]),
}

impl Default for Payload {
    /// What chats have with some markup, and what the rivals' benchmarks use.
    fn default() -> Self {
        Self::Bytes(200)
    }
}

impl Payload {
    /// The size of a message, made from a random number.
    #[must_use]
    pub fn bytes(&self, random: u64) -> usize {
        match self {
            Self::Bytes(bytes) => *bytes,
            Self::Range([from, to]) => {
                let sizes = (to - from) as u64 + 1;
                from + usize::try_from(random % sizes).unwrap_or_default()
            }
        }
    }

    /// Bytes of a message on average.
    #[must_use]
    pub fn mean_bytes(&self) -> usize {
        match self {
            Self::Bytes(bytes) => *bytes,
            Self::Range([from, to]) => usize::midpoint(*from, *to),
        }
    }
}

impl std::str::FromStr for Payload {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let explain = |_| format!("`{text}` is no size: give bytes as in 200, or a range as in 50-1000");
        match text.split_once('-') {
            None => Ok(Self::Bytes(text.parse().map_err(explain)?)),
            Some((from, to)) => {
                let (from, to) = (from.parse().map_err(explain)?, to.parse().map_err(explain)?);
                if from > to { Err(format!("{from} is more than {to}")) } else { Ok(Self::Range([from, to])) }
            }
        }
    }
}
