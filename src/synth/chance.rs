//! Random draws that are the same on every machine: integers from ChaCha, turned into numbers by exact arithmetic alone.

use rand::{Rng, SeedableRng, rngs::ChaCha8Rng};

/// A stream of draws.
pub(super) struct Chance(ChaCha8Rng);

impl Chance {
    /// The stream of a key; other keys, other streams.
    pub(super) fn new(key: [u64; 4]) -> Self {
        let mut bytes = [0; 32];
        for (part, number) in bytes.chunks_exact_mut(8).zip(key) {
            part.copy_from_slice(&number.to_le_bytes());
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    /// Uniform in [0, 1), in steps of 2^-24.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u32() >> 8) as f32 / 16_777_216.0
    }

    /// Uniform in [low, high).
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// A whole number below `count`, which is small: the bias is one in 2^32 / count.
    pub(super) fn below(&mut self, count: usize) -> usize {
        ((u64::from(self.0.next_u32()) * count as u64) >> 32) as usize
    }

    /// True with this probability.
    pub(super) fn happens(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// One of a fixed list.
    pub(super) fn pick<T: Copy, const N: usize>(&mut self, list: [T; N]) -> T {
        list[self.below(N)]
    }

    /// For textures.
    pub(super) fn seed(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// 1 or -1.
    pub(super) fn sign(&mut self) -> f32 {
        if self.happens(0.5) { 1.0 } else { -1.0 }
    }
}
