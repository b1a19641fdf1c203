//! The options of each execution provider, as pairs of ONNX Runtime's own names and values.
//! <https://onnxruntime.ai/docs/execution-providers/>

use super::InferSettings;
use crate::{config::ConvSearch, contract::Precision};

/// Pairs of name and value.
pub(super) type Options = Vec<(&'static str, String)>;

const MIB: u64 = 1 << 20;

/// CUDA. Every choice that changes results or memory is stated, also where it is ONNX Runtime's default.
pub(super) fn cuda(settings: &InferSettings) -> Options {
    let gpu = &settings.gpu;
    let search = match gpu.conv_search {
        ConvSearch::Exhaustive => "EXHAUSTIVE",
        ConvSearch::Heuristic => "HEURISTIC",
        ConvSearch::Default => "DEFAULT",
    };
    let mut options = vec![
        ("device_id", settings.device_id.to_string()),
        // One model with fixed shapes: the powers of two of the other strategy would only be room for nothing.
        ("arena_extend_strategy", "kSameAsRequested".to_owned()),
        ("cudnn_conv_algo_search", search.to_owned()),
        ("use_tf32", flag(gpu.tf32)),
        ("enable_cuda_graph", flag(gpu.cuda_graph)),
    ];
    if gpu.memory_limit_mib > 0 {
        options.push(("gpu_mem_limit", bytes(gpu.memory_limit_mib)));
    }
    options
}

/// TensorRT for a graph of this precision, its engines and timings kept in `cache`.
pub(super) fn tensorrt(settings: &InferSettings, precision: Precision, cache: Option<&str>) -> Options {
    let mut options = tensorrt_build(settings, precision);
    options.push(("trt_cuda_graph_enable", flag(settings.gpu.cuda_graph)));
    if let Some(cache) = cache {
        options.extend([
            ("trt_engine_cache_enable", flag(true)),
            ("trt_engine_cache_path", cache.to_owned()),
            ("trt_timing_cache_enable", flag(true)),
            ("trt_timing_cache_path", cache.to_owned()),
        ]);
    }
    options
}

/// What an engine of TensorRT depends on.
pub(super) fn tensorrt_build(settings: &InferSettings, precision: Precision) -> Options {
    let gpu = &settings.gpu;
    // Without it the builder refuses a graph that is in half precision itself (NVIDIA/TensorRT#3277).
    let fp16 = gpu.tensorrt_fp16 || precision == Precision::Fp16;
    let mut options = vec![
        ("device_id", settings.device_id.to_string()),
        ("trt_fp16_enable", flag(fp16)),
        // Sums of squares over hundreds of channels leave half precision's range.
        ("trt_layer_norm_fp32_fallback", flag(fp16)),
        ("trt_builder_optimization_level", gpu.tensorrt_builder_level.to_string()),
    ];
    if gpu.tensorrt_workspace_limit_mib > 0 {
        options.push(("trt_max_workspace_size", bytes(gpu.tensorrt_workspace_limit_mib)));
    }
    options
}

/// OpenVINO picks the fastest Intel device itself.
pub(super) fn open_vino(settings: &InferSettings) -> Options {
    let mut options = vec![("device_type", "AUTO".to_owned())];
    if settings.intra_op_threads > 0 {
        options.push(("num_of_threads", settings.intra_op_threads.to_string()));
    }
    options
}

/// What the bytes are, so that ONNX Runtime does not look for itself: the graph that runs is the one that was checked.
pub(super) const FORMAT: (&str, &str) = ("session.load_model_format", "ONNX");

/// What the session itself is told, on every provider.
pub(super) fn session(settings: &InferSettings) -> Options {
    vec![(FORMAT.0, FORMAT.1.to_owned()), ("session.intra_op.allow_spinning", flag(settings.thread_spinning))]
}

fn flag(on: bool) -> String {
    u8::from(on).to_string()
}

fn bytes(mib: u32) -> String {
    (u64::from(mib) * MIB).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value<'a>(options: &'a Options, name: &str) -> Option<&'a str> {
        let mut found = options.iter().filter(|(known, _)| *known == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} twice");
        value
    }

    #[test]
    fn cuda_is_told_every_choice_and_a_limit_only_where_there_is_one() {
        let mut settings = InferSettings { device_id: 3, ..InferSettings::default() };
        let options = cuda(&settings);
        assert_eq!(value(&options, "device_id"), Some("3"));
        assert_eq!(value(&options, "arena_extend_strategy"), Some("kSameAsRequested"));
        assert_eq!(value(&options, "cudnn_conv_algo_search"), Some("EXHAUSTIVE"));
        assert_eq!((value(&options, "use_tf32"), value(&options, "enable_cuda_graph")), (Some("0"), Some("0")));
        assert_eq!(value(&options, "gpu_mem_limit"), None);

        settings.gpu.memory_limit_mib = 1_048_576;
        (settings.gpu.tf32, settings.gpu.cuda_graph) = (true, true);
        settings.gpu.conv_search = ConvSearch::Heuristic;
        let options = cuda(&settings);
        assert_eq!(value(&options, "gpu_mem_limit"), Some("1099511627776"), "a terabyte does not wrap");
        assert_eq!((value(&options, "use_tf32"), value(&options, "enable_cuda_graph")), (Some("1"), Some("1")));
        assert_eq!(value(&options, "cudnn_conv_algo_search"), Some("HEURISTIC"));
    }

    #[test]
    fn tensorrt_keeps_engines_and_timings_in_the_cache_and_norms_in_float() {
        let mut settings = InferSettings::default();
        let options = tensorrt(&settings, Precision::Fp32, Some("/cache/x"));
        for (enable, path) in
            [("trt_engine_cache_enable", "trt_engine_cache_path"), ("trt_timing_cache_enable", "trt_timing_cache_path")]
        {
            assert_eq!((value(&options, enable), value(&options, path)), (Some("1"), Some("/cache/x")));
        }
        assert_eq!(value(&options, "trt_fp16_enable"), Some("0"));
        assert_eq!(value(&options, "trt_builder_optimization_level"), Some("3"));
        assert_eq!(value(&options, "trt_max_workspace_size"), None);

        (settings.gpu.tensorrt_fp16, settings.gpu.tensorrt_workspace_limit_mib) = (true, 512);
        let options = tensorrt(&settings, Precision::Fp32, Some("/cache/x"));
        assert_eq!(value(&options, "trt_fp16_enable"), Some("1"));
        assert_eq!(value(&options, "trt_layer_norm_fp32_fallback"), Some("1"));
        assert_eq!(value(&options, "trt_max_workspace_size"), Some("536870912"));
    }

    #[test]
    fn a_graph_in_half_precision_is_built_in_it() {
        let options = tensorrt(&InferSettings::default(), Precision::Fp16, None);
        assert_eq!(value(&options, "trt_fp16_enable"), Some("1"));
        assert_eq!(value(&options, "trt_engine_cache_enable"), None);
    }

    #[test]
    fn a_recorded_graph_is_no_part_of_an_engine() {
        let mut settings = InferSettings::default();
        let before = tensorrt_build(&settings, Precision::Fp32);
        settings.gpu.cuda_graph = true;
        assert_eq!(tensorrt_build(&settings, Precision::Fp32), before);
        assert_eq!(value(&tensorrt(&settings, Precision::Fp32, None), "trt_cuda_graph_enable"), Some("1"));
    }

    #[test]
    fn openvino_gets_the_threads_unless_they_are_its_own_choice() {
        let mut settings = InferSettings { intra_op_threads: 0, ..InferSettings::default() };
        assert_eq!(value(&open_vino(&settings), "num_of_threads"), None);
        settings.intra_op_threads = 4;
        assert_eq!(value(&open_vino(&settings), "num_of_threads"), Some("4"));
    }

    #[test]
    fn threads_spin_only_where_asked_to() {
        let mut settings = InferSettings::default();
        assert_eq!(value(&session(&settings), "session.load_model_format"), Some("ONNX"));
        assert_eq!(value(&session(&settings), "session.intra_op.allow_spinning"), Some("0"));
        settings.thread_spinning = true;
        assert_eq!(value(&session(&settings), "session.intra_op.allow_spinning"), Some("1"));
    }
}
