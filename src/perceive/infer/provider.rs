//! Execution providers: which to try, in which order, with which options.

use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

use super::{InferError, InferSettings, ProviderChoice, ProviderInUse};

/// The providers `auto` tries, fastest first. The CPU is always there.
const AUTO: [ProviderChoice; 4] =
    [ProviderChoice::TensorRt, ProviderChoice::Cuda, ProviderChoice::OpenVino, ProviderChoice::Cpu];

/// The providers to try, in order.
///
/// `auto` leaves out what the library was built without: that is no failure. A provider asked for by name is tried in
/// any case, so that its failure is told, and the CPU follows only if that is allowed.
pub(super) fn candidates(
    settings: &InferSettings,
    is_built_in: impl Fn(ProviderChoice) -> bool,
) -> Vec<ProviderChoice> {
    match settings.provider {
        ProviderChoice::Auto => AUTO.into_iter().filter(|choice| is_built_in(*choice)).collect(),
        ProviderChoice::Cpu => vec![ProviderChoice::Cpu],
        named if settings.allow_fallback => vec![named, ProviderChoice::Cpu],
        named => vec![named],
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
pub(super) fn registrations(choice: ProviderChoice, settings: &InferSettings) -> Vec<ExecutionProviderDispatch> {
    // 0..15 by the parameter's range; anything larger names no device.
    let device_id = i32::try_from(settings.device_id).unwrap_or(i32::MAX);
    let cuda = || ep::CUDA::default().with_device_id(device_id).build().error_on_failure();
    match choice {
        // What TensorRT can't take goes to CUDA rather than to the CPU; TensorRT needs CUDA in any case.
        ProviderChoice::TensorRt => {
            vec![ep::TensorRT::default().with_device_id(device_id).build().error_on_failure(), cuda()]
        }
        ProviderChoice::Cuda => vec![cuda()],
        ProviderChoice::OpenVino => vec![open_vino(settings).build().error_on_failure()],
        ProviderChoice::Cpu | ProviderChoice::Auto => Vec::new(),
    }
}

/// OpenVINO picks the fastest Intel device itself.
fn open_vino(settings: &InferSettings) -> ep::OpenVINO {
    let provider = ep::OpenVINO::default().with_device_type("AUTO");
    match settings.intra_op_threads {
        0 => provider,
        threads => provider.with_num_threads(threads),
    }
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
            Ok(loaded) => return Ok((loaded, ProviderInUse { requested, used, failed })),
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
    use ProviderChoice::{Auto, Cpu, Cuda, OpenVino, TensorRt};

    use super::*;

    fn asking(provider: ProviderChoice, allow_fallback: bool) -> InferSettings {
        InferSettings { provider, allow_fallback, ..InferSettings::default() }
    }

    fn broken(choice: ProviderChoice) -> Result<ProviderChoice, InferError> {
        if choice == Cpu { Ok(choice) } else { Err(InferError::Runtime { step: "test", cause: "no driver".into() }) }
    }

    #[test]
    fn auto_tries_what_the_library_was_built_with() {
        assert_eq!(candidates(&asking(Auto, false), |_| true), [TensorRt, Cuda, OpenVino, Cpu]);
        assert_eq!(candidates(&asking(Auto, false), |choice| choice == Cpu), [Cpu]);
    }

    #[test]
    fn the_cpu_stands_in_only_where_allowed() {
        for named in [TensorRt, Cuda, OpenVino] {
            assert_eq!(candidates(&asking(named, true), |_| false), [named, Cpu]);
            assert_eq!(candidates(&asking(named, false), |_| false), [named]);
        }
        assert_eq!(candidates(&asking(Cpu, true), |_| false), [Cpu]);
    }

    #[test]
    fn gpus_are_registered_explicitly_with_cuda_behind_tensorrt() {
        let names = |choice| {
            registrations(choice, &asking(choice, false))
                .iter()
                .map(ExecutionProviderDispatch::name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(TensorRt), ["TensorrtExecutionProvider", "CUDAExecutionProvider"]);
        assert_eq!(names(Cuda), ["CUDAExecutionProvider"]);
        assert_eq!(names(OpenVino), ["OpenVINOExecutionProvider"]);
        assert!(names(Cpu).is_empty());
    }

    #[test]
    fn a_fallback_is_reported_with_its_reason() {
        let settings = asking(Cuda, true);
        let (used, provider) = first_that_works(&settings, &candidates(&settings, |_| true), broken).unwrap();
        assert_eq!((used, provider.used, provider.is_degraded()), (Cpu, Cpu, true));
        assert_eq!(provider.failed, ["cuda: ONNX Runtime: test: no driver"]);
    }

    #[test]
    fn without_fallback_the_error_names_the_provider_and_the_reason() {
        let settings = asking(Cuda, false);
        let error = first_that_works(&settings, &candidates(&settings, |_| true), broken).unwrap_err();
        let expected = "execution provider cuda can't be had: cuda: ONNX Runtime: test: no driver. \
                        allow_fallback is off, so the CPU may not stand in";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn auto_on_a_plain_machine_is_not_degraded_but_a_broken_gpu_is_told() {
        let settings = asking(Auto, true);
        let plain = first_that_works(&settings, &candidates(&settings, |choice| choice == Cpu), broken).unwrap().1;
        assert!(!plain.is_degraded());
        let broken_gpu = first_that_works(&settings, &candidates(&settings, |_| true), broken).unwrap().1;
        assert!(broken_gpu.is_degraded());
        assert_eq!(broken_gpu.failed.len(), 3);
    }
}
