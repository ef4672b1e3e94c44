//! How often something may happen.

/// Counts what happens within windows of the clock, of equal length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    window_ms: u64,
    max: u32,
    /// The window of the last one that was taken, by its number since 1970.
    window: u64,
    taken: u32,
}

impl Rate {
    /// At most `max` in each window of `window_ms` milliseconds.
    ///
    /// # Panics
    /// When the window has no length.
    #[must_use]
    pub const fn new(max: u32, window_ms: u64) -> Self {
        assert!(window_ms > 0, "a window has a length");
        Self { window_ms, max, window: 0, taken: 0 }
    }

    /// Takes one at `now_ms`, in milliseconds since 1970, if there is one left; says whether it did.
    pub fn take(&mut self, now_ms: u64) -> bool {
        if !self.has_left(now_ms) {
            return false;
        }
        let window = now_ms / self.window_ms;
        self.taken = if window == self.window { self.taken + 1 } else { 1 };
        self.window = window;
        true
    }

    /// Whether there is one left at `now_ms`.
    #[must_use]
    pub const fn has_left(&self, now_ms: u64) -> bool {
        self.max > 0 && (now_ms / self.window_ms != self.window || self.taken < self.max)
    }

    /// When the window of `now_ms` is over, in milliseconds since 1970.
    #[must_use]
    pub const fn window_end_ms(&self, now_ms: u64) -> u64 {
        (now_ms / self.window_ms).saturating_add(1).saturating_mul(self.window_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::Rate;

    #[test]
    fn each_window_has_its_maximum() {
        let mut rate = Rate::new(2, 1_000);
        assert_eq!([0, 10, 999].map(|now_ms| rate.take(now_ms)), [true, true, false]);
        assert!(!rate.has_left(999));
        assert_eq!(rate.window_end_ms(999), 1_000);
        assert_eq!([1_000, 1_001, 1_002].map(|now_ms| rate.take(now_ms)), [true, true, false]);
        assert_eq!([5_000, 4_999].map(|now_ms| rate.take(now_ms)), [true, true], "a clock may go back");
        assert!(!Rate::new(0, 1_000).take(7));
    }
}
