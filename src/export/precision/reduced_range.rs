//! Weights of 7 bits, for processors whose 8-bit products saturate.

/// Shall weights use only 7 of their 8 bits?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReduceRange {
    /// Where this machine's processor saturates ([`cpu_saturates`]).
    #[default]
    Auto,
    /// Yes: the bundle is for another machine, one that does.
    On,
    /// No: the bundle is for another machine, one that does not.
    Off,
}

impl ReduceRange {
    /// Bits of a weight: 7 or 8.
    pub fn weight_bits(self) -> u8 {
        let reduce = match self {
            Self::Auto => cpu_saturates(),
            Self::On => true,
            Self::Off => false,
        };
        if reduce { 7 } else { 8 }
    }
}

/// Does this machine's processor add pairs of u8 x s8 products in 16 bits, where they saturate? x86 without VNNI does
/// (VPMADDUBSW): 255 * 127 * 2 is beyond 32767, with 7 bits 255 * 63 * 2 is not.
#[cfg(any(target_arch = "x86_64", target_arch = "x86"))]
pub fn cpu_saturates() -> bool {
    !(std::is_x86_feature_detected!("avx512vnni") || std::is_x86_feature_detected!("avxvnni"))
}

/// Does this machine's processor add pairs of u8 x s8 products in 16 bits, where they saturate? Only x86 does.
#[cfg(not(any(target_arch = "x86_64", target_arch = "x86")))]
pub fn cpu_saturates() -> bool {
    false
}
