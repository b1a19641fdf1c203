//! What kind of failure ONNX Runtime's words tell of: what to do next depends on the kind.
//!
//! Its error codes say little: out of memory comes as RUNTIME_EXCEPTION, FAIL or EP_FAIL (microsoft/onnxruntime#16307:
//! "there is no good way to catch the exception"). So the message is read as well.

use std::fmt;
#[cfg(feature = "onnx")]
use std::{
    mem,
    sync::atomic::{AtomicBool, Ordering},
};

#[cfg(feature = "onnx")]
use super::{InferError, ProviderChoice};
#[cfg(feature = "onnx")]
use crate::{
    error::{joined, one_line},
    perceive::FrameError,
};

/// What a failure of loading or running is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// No memory, on the GPU or the host.
    OutOfMemory {
        /// Bytes that were asked for, where that is told.
        asked_bytes: Option<u64>,
        /// Bytes that were left below the arena's limit (`gpu_memory_limit`), where that is told. ONNX Runtime never
        /// tells what is free on the GPU.
        available_bytes: Option<u64>,
    },
    /// The device can't be had at present. It may come back, to this process too.
    DeviceLost,
    /// CUDA's context of this process is spoiled: every call of CUDA in it fails from now on, those that free as well, so
    /// that nothing may be loaded or freed; only another process can use the GPU.
    ContextLost,
    /// A library that the provider needs is not installed, or not found.
    LibraryMissing,
    /// Anything else.
    Other,
}

/// CUDA's errors (enum cudaError of its runtime API) after which the process's context is of no use. Of 226, 700, 702, 710,
/// 714 to 719, 721 and 810 that text says: "To continue using CUDA, the process must be terminated and relaunched". Of the
/// others it does not, but a context whose memory (214) or links (220) are wrong, one that is destroyed (709), and an error
/// that CUDA itself does not know (999) leave nothing to rely on. In order: uncorrectable ECC and NVLink errors, contained,
/// illegal address, launch timeout, context destroyed, assert, hardware stack, illegal instruction, misaligned address,
/// invalid address space, invalid pc, launch failure, tensor memory leak, client of MPS terminated, unknown.
const SPOILING_CUDA_CODES: [u32; 16] = [214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 810, 999];
/// The same errors in words, as TensorRT passes on cudaGetErrorString; and the driver's end. Lower case.
const SPOILING_WORDS: [&str; 11] = [
    "an illegal memory access was encountered",
    "the launch timed out and was terminated",
    "context is destroyed",
    "device-side assert triggered",
    "an illegal instruction was encountered",
    "misaligned address",
    "invalid program counter",
    "unspecified launch failure",
    "uncorrectable ecc error",
    "uncorrectable nvlink error",
    "driver shutting down",
];
/// CUDA's errors when there is no device to be had: devices busy or unavailable, no device. They come before there is a
/// context, and are not among those that end the process.
const AWAY_CUDA_CODES: [u32; 2] = [46, 100];
/// The same in words. Lower case.
const AWAY_WORDS: [&str; 3] =
    ["devices are busy or unavailable", "device(s) is/are busy or unavailable", "no cuda-capable device is detected"];
/// Of ONNX Runtime, where it opens a provider's library, and of the C library's loader. Lower case.
const MISSING_WORDS: [&str; 3] =
    ["failed to load library", "failed to load shared library", "cannot open shared object file"];
/// cudaErrorMemoryAllocation.
const MEMORY_CUDA_CODE: u32 = 2;
/// Lower case: ONNX Runtime's arena twice, CUDA, cuBLAS, cuDNN, TensorRT, the C++ library.
const MEMORY_WORDS: [&str; 8] = [
    "failed to allocate memory for requested buffer",
    "is smaller than requested bytes",
    "out of memory",
    "cublas_status_alloc_failed",
    "cudnn_status_alloc_failed",
    "outofmemory",
    "bad_alloc",
    "bad allocation",
];

/// The library's words, in characters.
#[cfg(feature = "onnx")]
const LONGEST_CAUSE: usize = 600;

impl FailureKind {
    /// Reads a message of ONNX Runtime or one of its providers.
    pub fn of_message(message: &str) -> Self {
        let text = message.to_lowercase();
        let code = number_after(&text, &["cuda failure ", "cuda error "]).and_then(|code| u32::try_from(code).ok());
        let says = |words: &[&str]| words.iter().any(|words| text.contains(words));
        let is_one_of = |codes: &[u32]| code.is_some_and(|code| codes.contains(&code));
        // First what forbids most.
        if is_one_of(&SPOILING_CUDA_CODES) || says(&SPOILING_WORDS) {
            return Self::ContextLost;
        }
        if is_one_of(&AWAY_CUDA_CODES) || says(&AWAY_WORDS) {
            return Self::DeviceLost;
        }
        if code == Some(MEMORY_CUDA_CODE) || says(&MEMORY_WORDS) {
            return Self::OutOfMemory {
                asked_bytes: number_after(
                    &text,
                    &[
                        "requested buffer of size ",
                        "smaller than requested bytes of ",
                        "amount of gpu memory (",
                        "allocating ",
                    ],
                ),
                available_bytes: number_after(&text, &["available memory of "]),
            };
        }
        if says(&MISSING_WORDS) { Self::LibraryMissing } else { Self::Other }
    }
}

/// "out of memory (1024 bytes asked for, 0 left)", "device lost" and so on, or nothing.
impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => Ok(()),
            Self::DeviceLost => f.write_str("device lost"),
            Self::ContextLost => f.write_str("GPU lost to this process"),
            Self::LibraryMissing => f.write_str("library missing"),
            Self::OutOfMemory { asked_bytes, available_bytes } => {
                let told = [(asked_bytes, "asked for"), (available_bytes, "left")];
                let told: Vec<String> =
                    told.iter().filter_map(|(bytes, what)| Some(format!("{} bytes {what}", bytes.as_ref()?))).collect();
                f.write_str("out of memory")?;
                if told.is_empty() { Ok(()) } else { write!(f, " ({})", told.join(", ")) }
            }
        }
    }
}

impl FailureKind {
    /// Frees what computed until a failure of this kind. Kept until the end of the process where CUDA's context is lost: ONNX
    /// Runtime throws where cudaFreeHost fails in a destructor, which ends the process by std::terminate.
    #[cfg(feature = "onnx")]
    pub(crate) fn free<T>(self, what: T) {
        if self == Self::ContextLost {
            mem::forget(what);
        }
    }

    /// What to write before the cause: the kind and a colon, if there is one to tell.
    pub(crate) fn before_cause(self) -> String {
        if self == Self::Other { String::new() } else { format!("{self}: ") }
    }
}

/// The number that follows the first of `words` that is there.
fn number_after(text: &str, words: &[&str]) -> Option<u64> {
    words.iter().find_map(|words| {
        let (_, rest) = text.split_once(words)?;
        let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
        digits.parse().ok()
    })
}

/// CUDA's context of this process was lost. There is but one, and it never comes back.
#[cfg(feature = "onnx")]
static CONTEXT_LOST: AtomicBool = AtomicBool::new(false);

/// The kind of an error of ONNX Runtime.
#[cfg(feature = "onnx")]
pub(super) fn kind(error: &ort::Error) -> FailureKind {
    let kind = match (FailureKind::of_message(error.message()), error.code()) {
        (FailureKind::Other, ort::ErrorCode::DeviceReset) => FailureKind::DeviceLost,
        (kind, _) => kind,
    };
    if kind == FailureKind::ContextLost {
        CONTEXT_LOST.store(true, Ordering::Relaxed);
    }
    kind
}

/// Nothing is loaded through CUDA once its context was lost: it could not work, and ONNX Runtime would free what it began.
#[cfg(feature = "onnx")]
pub(super) fn check_context(choice: ProviderChoice) -> Result<(), InferError> {
    let needs_cuda = matches!(choice, ProviderChoice::TensorRt | ProviderChoice::Cuda);
    if !needs_cuda || !CONTEXT_LOST.load(Ordering::Relaxed) {
        return Ok(());
    }
    let cause = "it failed before, and only a process that is started anew can use it".to_owned();
    Err(InferError::Runtime { step: "load", kind: FailureKind::ContextLost, cause })
}

/// A run that failed.
#[cfg(feature = "onnx")]
pub(super) fn of_run(error: &ort::Error) -> FrameError {
    match kind(error) {
        FailureKind::Other => FrameError::Inference(words(error)),
        kind => FrameError::Device { kind, cause: words(error) },
    }
}

/// The library's words, in one line. They quote names of the model's graph.
#[cfg(feature = "onnx")]
pub(super) fn words(error: &ort::Error) -> String {
    one_line(&joined(&error.to_string()), LONGEST_CAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(asked_bytes: Option<u64>, available_bytes: Option<u64>) -> FailureKind {
        FailureKind::OutOfMemory { asked_bytes, available_bytes }
    }

    /// Messages as public issues show them; onnxruntime = microsoft/onnxruntime.
    #[test]
    fn out_of_memory_is_known_from_the_words_of_every_part_with_the_bytes_told() {
        let cases = [
            // onnxruntime#22702
            (
                "Non-zero status code returned while running Conv node. Name:'/patch_embed/Conv' Status Message: \
                 /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:376 void* \
                 onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, \
                 onnxruntime::WaitNotificationFn) Failed to allocate memory for requested buffer of size 285081600",
                memory(Some(285_081_600), None),
            ),
            // infiniflow/ragflow#10295: the arena's limit
            (
                "onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*, bool, \
                 onnxruntime::WaitNotificationFn) Available memory of 0 is smaller than requested bytes of 135383040",
                memory(Some(135_383_040), Some(0)),
            ),
            // hacksider/Deep-Live-Cam#584, at load
            (
                "cuda_call.cc:114 onnxruntime::CudaCall CUDA failure 2: out of memory ; GPU=0 ; hostname=h ; \
                 file=cuda_stream_handle.cc ; line=175 ; expr=cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);",
                memory(None, None),
            ),
            // hacksider/Deep-Live-Cam#645, at load
            (
                "onnxruntime::CudaCall CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 ; hostname=h ; \
                 file=cuda_execution_provider.cc ; line=168 ; expr=cublasCreate(&cublas_handle_);",
                memory(None, None),
            ),
            // onnxruntime#10770, from TensorRT
            ("../rtSafe/safeRuntime.cpp (25) - Cuda Error in allocate: 2 (out of memory)", memory(None, None)),
            // NVIDIA/TensorRT#3882 and #4258
            (
                "[virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory (no further information)",
                memory(None, None),
            ),
            (
                "Error Code 1: Cuda Runtime (out of memory) Requested amount of GPU memory (15485030400 bytes) could not \
                 be allocated.",
                memory(Some(15_485_030_400), None),
            ),
            // onnxruntime#21001
            (
                "autotuning: CUDA error 2 allocating 6370102777-byte buffer: out of memory",
                memory(Some(6_370_102_777), None),
            ),
            // onnxruntime#4325
            ("Exception during initialization: bad allocation", memory(None, None)),
            ("std::bad_alloc", memory(None, None)),
        ];
        for (message, expected) in cases {
            assert_eq!(FailureKind::of_message(message), expected, "{message}");
        }
    }

    #[test]
    fn a_lost_device_is_known_from_cuda_s_codes_and_words() {
        let cases = [
            // leggedrobotics/darknet_ros#429
            "onnxruntime::CudaCall CUDA failure 100: no CUDA-capable device is detected ; GPU=32635 ; hostname=h",
            // wenet-e2e/wenet#1235
            "all CUDA-capable devices are busy or unavailable ; GPU=0",
            // AILab-CVC/YOLO-World#385
            "CUDA error: CUDA-capable device(s) is/are busy or unavailable",
            "CUDA failure 46: x ; GPU=0",
        ];
        for message in cases {
            assert_eq!(FailureKind::of_message(message), FailureKind::DeviceLost, "{message}");
        }
    }

    #[test]
    fn a_context_that_is_spoiled_is_told_from_a_device_that_is_away() {
        let cases = [
            // onnxruntime#26312, onnxruntime#5295
            "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; hostname=h ; \
             file=gpu_data_transfer.cc ; line=63 ; expr=cudaMemcpyAsync(dst_data, src_data, bytes);",
            "CUDA failure 719: unspecified launch failure ; GPU=0",
            "IExecutionContext::enqueueV3: Error Code 1: Cuda Runtime (unspecified launch failure)",
            "CUDA failure 214: uncorrectable ECC error encountered ; GPU=0",
            "CUDA failure 999: unknown error ; GPU=0",
            "Error Code 1: Cuda Runtime (misaligned address)",
            // Both at once: what was there is spoiled, whatever else is away.
            "CUDA failure 100: no CUDA-capable device is detected ; then CUDA error: device-side assert triggered",
        ];
        for message in cases {
            assert_eq!(FailureKind::of_message(message), FailureKind::ContextLost, "{message}");
        }
        for code in SPOILING_CUDA_CODES {
            assert_eq!(FailureKind::of_message(&format!("CUDA failure {code}: x")), FailureKind::ContextLost, "{code}");
        }
        assert!(AWAY_CUDA_CODES.iter().all(|code| !SPOILING_CUDA_CODES.contains(code)));
    }

    #[test]
    fn a_library_that_is_not_installed_is_a_kind_of_its_own() {
        let cases = [
            // onnxruntime#18597
            "[ONNXRuntimeError] : 1 : FAIL : Failed to load library libonnxruntime_providers_tensorrt.so with error: \
             libnvinfer.so.10: cannot open shared object file: No such file or directory",
            "SessionOptionsAppendExecutionProvider_TensorRT_V2: Failed to load shared library",
        ];
        for message in cases {
            assert_eq!(FailureKind::of_message(message), FailureKind::LibraryMissing, "{message}");
        }
        let not_built = "TensorRT execution provider is not enabled in this build.";
        assert_eq!(FailureKind::of_message(not_built), FailureKind::Other);
    }

    #[test]
    fn everything_else_is_other() {
        let cases = [
            "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version ; GPU=0",
            "CUDA failure 1: invalid argument ; GPU=1",
            "CUDA failure 70: x",
            // onnxruntime#26170, onnxruntime#21567: they do not tell why.
            "TensorRT EP execution context enqueue failed.",
            "TensorRT EP failed to create engine from network.",
            "CUDNN failure 5000: CUDNN_STATUS_EXECUTION_FAILED ; GPU=0",
            "heatmap holds NaN",
            "",
        ];
        for message in cases {
            assert_eq!(FailureKind::of_message(message), FailureKind::Other, "{message}");
        }
    }

    #[test]
    fn absurd_numbers_are_left_out() {
        let text = "Failed to allocate memory for requested buffer of size 99999999999999999999999";
        assert_eq!(FailureKind::of_message(text), memory(None, None));
        assert_eq!(
            FailureKind::of_message("Available memory of  is smaller than requested bytes of x"),
            memory(None, None)
        );
    }

    #[test]
    fn a_kind_is_told_in_words() {
        assert_eq!(memory(Some(7), Some(0)).to_string(), "out of memory (7 bytes asked for, 0 bytes left)");
        assert_eq!(memory(None, None).before_cause(), "out of memory: ");
        assert_eq!(FailureKind::Other.before_cause(), "");
        assert_eq!(FailureKind::ContextLost.to_string(), "GPU lost to this process");
        assert_eq!(FailureKind::LibraryMissing.before_cause(), "library missing: ");
    }
}
