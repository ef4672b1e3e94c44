//! Numbers for tests that draw what they do.

/// Numbers that a seed other than 0 makes, the same each time (xorshift, Marsaglia 2003).
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// One below a bound.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }

    /// Whether it is the one in so many.
    pub fn one_in(&mut self, parts: u64) -> bool {
        self.below(parts) == 0
    }

    /// 0 as often as not, else 1 to a bound.
    pub fn maybe(&mut self, bound: u64) -> u64 {
        self.below(2) * (1 + self.below(bound))
    }
}
