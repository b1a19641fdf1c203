//! What is to be told of the hardware.

use super::Failure;
use crate::config::ProviderChoice;

/// Where the machine stands, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// What runs frames; None while nothing does.
    pub on: Option<ProviderChoice>,
    /// What is being done about it; None = nothing, all is settled.
    pub doing: Option<String>,
    /// Why this is less than was asked for, a line for each provider; empty = it is not.
    pub degraded: Vec<String>,
    /// Nothing runs and nothing more is tried.
    pub gave_up: bool,
    /// Why this process must end, without anything being freed first: see [`super::Action::End`].
    pub ends: Option<String>,
}

impl Standing {
    /// Where CUDA's context of this process was lost, while `on` ran.
    pub(super) fn ending(on: Option<ProviderChoice>, failure: &Failure) -> Self {
        let on = on.map_or("the GPU", ProviderChoice::name);
        let ends = format!("{on} failed: {}: the process must be started anew", failure.text);
        Self { ends: Some(ends), ..Self::default() }
    }

    /// One sentence for `~/status`, `/diagnostics` and the log; None where all is as it should be.
    pub fn sentence(&self) -> Option<String> {
        if self.ends.is_some() {
            return self.ends.clone();
        }
        let degraded = (!self.degraded.is_empty()).then(|| {
            let on = match self.on {
                _ if self.gave_up => "no execution provider is left".to_owned(),
                Some(on) => format!("execution provider {} stands in", on.name()),
                None => "no execution provider runs".to_owned(),
            };
            format!("{on}: {}", self.degraded.join("; "))
        });
        let parts: Vec<String> = self.doing.iter().cloned().chain(degraded).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}
