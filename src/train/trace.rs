//! Named intermediate tensors, recorded when asked for: the first layer that disagrees with a reference names itself.

use tch::Tensor;

/// What a traced forward pass recorded, in the order of computation.
#[derive(Debug, Default)]
pub struct Trace {
    entries: Vec<(String, Tensor)>,
}

impl Trace {
    /// The recorded tensors by name.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.entries.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

/// Records, or costs nothing.
pub(super) struct Tracer<'a> {
    trace: Option<&'a mut Trace>,
    scope: String,
}

impl<'a> Tracer<'a> {
    pub(super) fn off() -> Self {
        Self { trace: None, scope: String::new() }
    }

    pub(super) fn on(trace: &'a mut Trace) -> Self {
        Self { trace: Some(trace), scope: String::new() }
    }

    /// A tracer whose names start with `name.`
    pub(super) fn within(&mut self, name: &str) -> Tracer<'_> {
        let scope = if self.trace.is_some() { format!("{}{name}.", self.scope) } else { String::new() };
        Tracer { trace: self.trace.as_deref_mut(), scope }
    }

    pub(super) fn record(&mut self, name: &str, tensor: &Tensor) {
        if let Some(trace) = &mut self.trace {
            // Detached and copied: later in-place work must not change what was seen.
            trace.entries.push((format!("{}{name}", self.scope), tensor.detach().copy()));
        }
    }
}
