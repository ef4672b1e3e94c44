//! Random numbers for tests.

/// xorshift64*: core has no source of randomness.
pub(crate) struct Dice(u64);

impl Dice {
    /// The same rolls for the same seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below the bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let rolled = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(rolled).unwrap() % bound
    }
}
