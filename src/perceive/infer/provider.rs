//! Execution providers: which to try, in which order, with which options.

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider, ExecutionProviderDispatch};

use super::{
    InferError, InferSettings, ProviderChoice, ProviderInUse,
    engine_cache::Place,
    options::{self, Options},
    runtime,
};
use crate::contract::{Bundle, Precision};

/// The providers `auto` tries, fastest first. The CPU is always there.
const AUTO: [ProviderChoice; 4] =
    [ProviderChoice::TensorRt, ProviderChoice::Cuda, ProviderChoice::OpenVino, ProviderChoice::Cpu];

/// The providers to try, in order.
///
/// `auto` leaves out what the library was built without, and what can't serve this precision with these settings: that is no
/// failure, and where nothing but the CPU is left, the CPU is what was asked for. A provider asked for by name is tried in any
/// case, so that its failure is told. Behind another provider, the CPU follows only if that is allowed.
pub(super) fn candidates(
    settings: &InferSettings,
    precision: Precision,
    is_built_in: impl Fn(ProviderChoice) -> bool,
) -> Vec<ProviderChoice> {
    let can_serve = |choice: &ProviderChoice| is_built_in(*choice) && check(*choice, settings, precision).is_ok();
    match settings.provider {
        ProviderChoice::Auto => {
            let mut built_in: Vec<_> = AUTO.into_iter().filter(can_serve).collect();
            if !settings.allow_fallback && built_in.iter().any(|choice| *choice != ProviderChoice::Cpu) {
                built_in.retain(|choice| *choice != ProviderChoice::Cpu);
            }
            built_in
        }
        ProviderChoice::Cpu => vec![ProviderChoice::Cpu],
        named if settings.allow_fallback => vec![named, ProviderChoice::Cpu],
        named => vec![named],
    }
}

/// Can this provider serve a graph of this precision with these settings, as far as that is known without trying?
///
/// # Errors
/// [`InferError::Setting`]: which it can't.
pub(super) fn check(choice: ProviderChoice, settings: &InferSettings, precision: Precision) -> Result<(), InferError> {
    let refuse = |setting, expected: &str, found: String| {
        Err(InferError::Setting { setting, expected: expected.to_owned(), found })
    };
    let max_batch = settings.max_batch;
    match choice {
        // It wants zero points of zero (NVIDIA/TensorRT#2774), which u8 does not have.
        ProviderChoice::TensorRt if precision == Precision::Int8 => refuse(
            "execution_provider",
            "cuda or cpu with an int8 bundle, or tensorrt with one of fp16 or fp32",
            choice.name().to_owned(),
        ),
        ProviderChoice::TensorRt if max_batch > 1 => {
            refuse("max_batch", "1 with TensorRT, whose engines are made for one size of batch", max_batch.to_string())
        }
        ProviderChoice::Cuda if max_batch > 1 && settings.gpu.cuda_graph => {
            refuse("max_batch", "1 with cuda_graph, which records one size of batch", max_batch.to_string())
        }
        _ => Ok(()),
    }
}

/// What could be tried for a model, as far as that is known without trying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prospects {
    /// The providers to try, fastest first; the CPU only where it may serve.
    pub candidates: Vec<ProviderChoice>,
    /// Was the library built with TensorRT, and with CUDA?
    pub has_tensorrt: bool,
    /// See [`Self::has_tensorrt`].
    pub has_cuda: bool,
    /// Are there engines of TensorRT for this model, these settings and this machine?
    pub has_engines: bool,
}

impl Prospects {
    /// Looks at the library and at the cache of engines; loads no model.
    ///
    /// # Errors
    /// ONNX Runtime's library can't be used.
    pub fn of(bundle: &Bundle, settings: &InferSettings) -> Result<Self, InferError> {
        runtime::environment(settings.library.as_deref())?;
        let has_tensorrt = is_built_in(ProviderChoice::TensorRt);
        Ok(Self {
            candidates: candidates(settings, bundle.contract.provenance.precision, is_built_in),
            has_tensorrt,
            has_cuda: is_built_in(ProviderChoice::Cuda),
            has_engines: has_tensorrt && Place::of(bundle, settings).is_ok_and(|place| place.has_engines()),
        })
    }
}

/// Was the loaded library built with this provider? Whether it works here is seen only by trying.
pub(super) fn is_built_in(choice: ProviderChoice) -> bool {
    match choice {
        ProviderChoice::TensorRt => ep::TensorRT::is_available().unwrap_or(false),
        ProviderChoice::Cuda => ep::CUDA::is_available().unwrap_or(false),
        ProviderChoice::OpenVino => ep::OpenVINO::is_available().unwrap_or(false),
        ProviderChoice::Cpu | ProviderChoice::Auto => true,
    }
}

/// What to register for a provider. Without `error_on_failure`, ONNX Runtime would go on with the CPU and say nothing.
/// `engines`: where TensorRT keeps its own.
pub(super) fn registrations(
    choice: ProviderChoice,
    (settings, precision): (&InferSettings, Precision),
    engines: Option<&str>,
) -> Vec<ExecutionProviderDispatch> {
    let cuda = || with(ep::CUDA::default(), options::cuda(settings)).build().error_on_failure();
    let cpu = ep::CPU::default().with_arena_allocator(settings.cpu_memory_arena).build().error_on_failure();
    let mut registrations = match choice {
        // What TensorRT can't take goes to CUDA rather than to the CPU; TensorRT needs CUDA in any case.
        ProviderChoice::TensorRt => {
            let options = options::tensorrt(settings, precision, engines);
            vec![with(ep::TensorRT::default(), options).build().error_on_failure(), cuda()]
        }
        ProviderChoice::Cuda => vec![cuda()],
        ProviderChoice::OpenVino => {
            vec![with(ep::OpenVINO::default(), options::open_vino(settings)).build().error_on_failure()]
        }
        ProviderChoice::Cpu | ProviderChoice::Auto => Vec::new(),
    };
    // There in any case; this only says how it keeps memory.
    registrations.push(cpu);
    registrations
}

fn with<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, options: Options) -> P {
    options.into_iter().fold(provider, |provider, (name, value)| provider.with_arbitrary_config(name, value))
}

/// Tries one provider after the other until one works.
///
/// # Errors
/// [`InferError::Provider`] with every failure, when one asked for by name can't be had and none may stand in. When the
/// CPU fails, the model itself is to blame: its own error.
pub(super) fn first_that_works<T>(
    settings: &InferSettings,
    candidates: &[ProviderChoice],
    mut load: impl FnMut(ProviderChoice) -> Result<T, InferError>,
) -> Result<(T, ProviderInUse), InferError> {
    let requested = settings.provider;
    let mut failed = Vec::new();
    for &used in candidates {
        match load(used) {
            Ok(loaded) => return Ok((loaded, ProviderInUse { requested, used, failed, graph: None })),
            Err(error) if used == ProviderChoice::Cpu => return Err(error),
            Err(error) => {
                let line = format!("{}: {error}", used.name());
                tracing::warn!("execution provider can't be had: {line}");
                failed.push(line);
            }
        }
    }
    Err(InferError::Provider { requested: requested.name(), failed })
}

#[cfg(test)]
mod tests {
    use super::super::FailureKind;
    use ProviderChoice::{Auto, Cpu, Cuda, OpenVino, TensorRt};

    use super::*;

    fn asking(provider: ProviderChoice, allow_fallback: bool) -> InferSettings {
        InferSettings { provider, allow_fallback, ..InferSettings::default() }
    }

    fn broken(choice: ProviderChoice) -> Result<ProviderChoice, InferError> {
        if choice == Cpu {
            Ok(choice)
        } else {
            Err(InferError::Runtime { step: "test", kind: FailureKind::Other, cause: "no driver".into() })
        }
    }

    fn candidates_of(settings: &InferSettings, is_built_in: impl Fn(ProviderChoice) -> bool) -> Vec<ProviderChoice> {
        candidates(settings, Precision::Fp32, is_built_in)
    }

    #[test]
    fn auto_leaves_out_what_can_not_serve_and_by_name_it_is_refused_before_anything_is_built() {
        let with_tensorrt = |settings: &InferSettings, precision| candidates(settings, precision, |_| true);
        assert_eq!(with_tensorrt(&asking(Auto, true), Precision::Int8), [Cuda, OpenVino, Cpu]);
        assert_eq!(with_tensorrt(&asking(Auto, true), Precision::Fp16), [TensorRt, Cuda, OpenVino, Cpu]);
        let mut batches = InferSettings { max_batch: 4, ..asking(Auto, true) };
        assert_eq!(with_tensorrt(&batches, Precision::Fp32), [Cuda, OpenVino, Cpu]);
        batches.gpu.cuda_graph = true;
        assert_eq!(with_tensorrt(&batches, Precision::Fp32), [OpenVino, Cpu]);
        let said =
            |choice, settings: &InferSettings, precision| check(choice, settings, precision).unwrap_err().to_string();
        assert!(said(TensorRt, &batches, Precision::Fp32).contains("1 with TensorRT"));
        assert!(said(Cuda, &batches, Precision::Fp32).contains("1 with cuda_graph"));
        assert!(said(TensorRt, &asking(TensorRt, true), Precision::Int8).contains("int8 bundle"));
        assert_eq!(
            with_tensorrt(&asking(TensorRt, true), Precision::Int8),
            [TensorRt, Cpu],
            "refused when its turn comes"
        );
    }

    #[test]
    fn auto_tries_what_the_library_was_built_with() {
        assert_eq!(candidates_of(&asking(Auto, true), |_| true), [TensorRt, Cuda, OpenVino, Cpu]);
        assert_eq!(candidates_of(&asking(Auto, true), |choice| matches!(choice, Cuda | Cpu)), [Cuda, Cpu]);
        assert_eq!(candidates_of(&asking(Auto, true), |choice| choice == Cpu), [Cpu]);
    }

    #[test]
    fn without_fallback_auto_takes_the_cpu_only_where_the_library_has_nothing_else() {
        assert_eq!(candidates_of(&asking(Auto, false), |choice| choice == Cpu), [Cpu]);
        let gpu_library = candidates_of(&asking(Auto, false), |_| true);
        assert_eq!(gpu_library, [TensorRt, Cuda, OpenVino]);
        let error = first_that_works(&asking(Auto, false), &gpu_library, broken).unwrap_err().to_string();
        assert!(error.starts_with("execution provider auto can't be had: tensorrt: "), "{error}");
        assert!(error.contains("; cuda: ") && error.contains("; openvino: "), "{error}");
    }

    #[test]
    fn the_cpu_stands_in_only_where_allowed() {
        for named in [TensorRt, Cuda, OpenVino] {
            assert_eq!(candidates_of(&asking(named, true), |_| false), [named, Cpu]);
            assert_eq!(candidates_of(&asking(named, false), |_| false), [named]);
        }
        assert_eq!(candidates_of(&asking(Cpu, true), |_| false), [Cpu]);
    }

    #[test]
    fn gpus_are_registered_explicitly_with_cuda_behind_tensorrt() {
        let names = |choice| {
            registrations(choice, (&asking(choice, false), Precision::Fp32), None)
                .iter()
                .map(ExecutionProviderDispatch::name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(TensorRt), ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]);
        assert_eq!(names(Cuda), ["CUDAExecutionProvider", "CPUExecutionProvider"]);
        assert_eq!(names(OpenVino), ["OpenVINOExecutionProvider", "CPUExecutionProvider"]);
        assert_eq!(names(Cpu), ["CPUExecutionProvider"]);
    }

    #[test]
    fn a_fallback_is_reported_with_its_reason() {
        let settings = asking(Cuda, true);
        let (used, provider) = first_that_works(&settings, &candidates_of(&settings, |_| true), broken).unwrap();
        assert_eq!((used, provider.used, provider.is_degraded()), (Cpu, Cpu, true));
        assert_eq!(provider.failed, ["cuda: ONNX Runtime: test: no driver"]);
    }

    #[test]
    fn without_fallback_the_error_names_the_provider_and_the_reason() {
        let settings = asking(Cuda, false);
        let error = first_that_works(&settings, &candidates_of(&settings, |_| true), broken).unwrap_err();
        let expected = "execution provider cuda can't be had: cuda: ONNX Runtime: test: no driver. \
                        allow_fallback is off, so the CPU may not stand in";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn auto_on_a_plain_machine_is_not_degraded_but_a_broken_gpu_is_told() {
        let settings = asking(Auto, true);
        let plain = first_that_works(&settings, &candidates_of(&settings, |choice| choice == Cpu), broken).unwrap().1;
        assert!(!plain.is_degraded());
        let broken_gpu = first_that_works(&settings, &candidates_of(&settings, |_| true), broken).unwrap().1;
        assert!(broken_gpu.is_degraded());
        assert_eq!(broken_gpu.failed.len(), 3);
    }
}
