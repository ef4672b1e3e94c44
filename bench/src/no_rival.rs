//! In place of rivals where none are built in.

/// Which rival: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {}

impl Kind {
    /// None.
    pub const ALL: &[Self] = &[];

    /// None has any name.
    #[must_use]
    pub fn named(_: &str) -> Option<Self> {
        None
    }

    /// Of none.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {}
    }

    /// Of none.
    #[must_use]
    pub fn acks(self) -> bool {
        match self {}
    }

    /// Of none.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {}
    }

    /// Of none.
    #[must_use]
    pub fn is_encrypted(self) -> bool {
        match self {}
    }

    /// Of none.
    #[must_use]
    pub fn durability(self) -> &'static str {
        match self {}
    }
}

/// None is missing.
///
/// # Errors
/// Never.
pub fn check_programs(_: &[Kind]) -> anyhow::Result<()> {
    Ok(())
}
