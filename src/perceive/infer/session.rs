//! Opening a session, and holding it against its contract.

use std::path::Path;

use ort::{
    environment::Environment,
    logging::LogLevel,
    session::{Session, builder::GraphOptimizationLevel},
    value::{Outlet, TensorElementType, ValueType},
};

use super::{InferError, InferSettings, ProviderChoice, options, provider};
use crate::contract::{
    BATCH, Bundle, BundleError, INPUT_IMAGE, MODEL_FILE, ModelContract, OUTPUT_HEATMAP, OUTPUT_PRESENCE,
};

/// One way to open a session.
pub(super) struct Opening<'a> {
    pub bundle: &'a Bundle,
    pub settings: &'a InferSettings,
    pub environment: &'a Environment,
    pub choice: ProviderChoice,
    /// How many pictures a run takes.
    pub pictures: usize,
    /// Where TensorRT keeps its engines.
    pub engines: Option<&'a str>,
    /// What the name of its profile begins with; None = there is none.
    pub profile: Option<&'a Path>,
}

impl Opening<'_> {
    pub fn open(&self) -> ort::Result<Session> {
        let settings = self.settings;
        let precision = self.bundle.contract.provenance.precision;
        let mut builder = Session::builder(self.environment)?
            .with_log_level(LogLevel::Warning)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(if self.profile.is_some() { 1 } else { settings.intra_op_threads })?
            .with_execution_providers(provider::registrations(self.choice, (settings, precision), self.engines))?;
        if self.choice == ProviderChoice::Cpu {
            // One block for all of a run's values, laid out for each shape, costs memory and saves no time.
            builder = builder.with_memory_pattern(false)?;
        }
        for (name, value) in options::session(settings) {
            builder = builder.with_config_entry(name, value)?;
        }
        // Engines and recorded graphs are made for one shape. One thread of a CPU is no faster for knowing it.
        if settings.max_batch <= 1 && matches!(self.choice, ProviderChoice::TensorRt | ProviderChoice::Cuda) {
            builder = builder.with_dimension_override(BATCH, self.pictures as i64)?;
        }
        if let Some(prefix) = self.profile {
            builder = builder.with_profiling(prefix)?;
        }
        // From the bytes that were verified, not from the file, which may have changed since.
        builder.commit_from_memory(&self.bundle.onnx)
    }
}

/// What ONNX Runtime made of the graph must be what the contract promises.
pub(super) fn check(session: &Session, bundle: &Bundle, pictures: usize) -> Result<(), BundleError> {
    let ModelContract { input, heatmap, actions, .. } = &bundle.contract;
    let actions = actions.len() as i64;
    let image: (_, _, &[i64]) =
        (INPUT_IMAGE, TensorElementType::Uint8, &[i64::from(input.height), i64::from(input.width), 3]);
    let maps: (_, _, &[i64]) =
        (OUTPUT_HEATMAP, TensorElementType::Float32, &[actions, i64::from(heatmap.height), i64::from(heatmap.width)]);
    let presence: (_, _, &[i64]) = (OUTPUT_PRESENCE, TensorElementType::Float32, &[actions]);
    for (what, promised, found) in
        [("inputs", &[image][..], session.inputs()), ("outputs", &[maps, presence][..], session.outputs())]
    {
        let keeps = |promise: &&(&str, TensorElementType, &[i64])| {
            found.iter().any(|outlet| is_kept(promise, outlet, pictures))
        };
        if promised.len() != found.len() || !promised.iter().all(|promise| keeps(&promise)) {
            let describe = |(name, kind, sides): &(&str, TensorElementType, &[i64])| {
                let sides: String = sides.iter().map(|side| format!(", {side}")).collect();
                format!("{name} Tensor<{kind}>(batch or {pictures}{sides})")
            };
            return Err(BundleError::Mismatch {
                path: bundle.folder.join(MODEL_FILE),
                what: format!("{what}, as ONNX Runtime reads them"),
                expected: promised.iter().map(describe).collect::<Vec<_>>().join(", "),
                found: found.iter().map(|o| format!("{} {}", o.name(), o.dtype())).collect::<Vec<_>>().join(", "),
            });
        }
    }
    Ok(())
}

/// May a run take up to `max_batch` pictures?
pub(super) fn check_batch(session: &Session, max_batch: usize) -> Result<(), InferError> {
    if max_batch <= 1 {
        return Ok(());
    }
    let refuse =
        |expected: String| Err(InferError::Setting { setting: "max_batch", expected, found: max_batch.to_string() });
    let fixed = session.inputs().iter().chain(session.outputs()).find_map(|outlet| match outlet.dtype() {
        ValueType::Tensor { shape, .. } => shape.first().copied().filter(|&batch| batch != -1),
        _ => None,
    });
    fixed.map_or(Ok(()), |batch| refuse(format!("{batch}, since the model's graph has a fixed batch of {batch}")))
}

/// Same name, type and sides; the batch may vary, or be what is run at a time.
fn is_kept((name, kind, sides): &(&str, TensorElementType, &[i64]), outlet: &Outlet, pictures: usize) -> bool {
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else { return false };
    outlet.name() == *name
        && *ty == *kind
        && shape.first().is_some_and(|&side| side == -1 || side == pictures as i64)
        && shape.get(1..).is_some_and(|found| found == *sides)
}
