//! Typed settings with ranges; unknown keys refused with a spelling hint.

/// What is wrong with the settings.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {}
