//! How a model is loaded and run.

use std::path::PathBuf;

use super::ProviderChoice;
use crate::config::{ConvSearch, NodeSettings};

/// How to load and run a model. The defaults are those of the node's parameters.
#[derive(Debug, Clone)]
pub struct InferSettings {
    /// ONNX Runtime's library file. None: [`super::LIBRARY_VARIABLE`], and without that the system's own by its usual
    /// name. One process uses one library: the first model loaded decides.
    pub library: Option<PathBuf>,
    /// The hardware asked for.
    pub provider: ProviderChoice,
    /// May the CPU serve when the hardware asked for can't be had?
    pub allow_fallback: bool,
    /// Which of several GPUs, from 0.
    pub device_id: u32,
    /// Threads for one operator; 0 = one per core.
    pub intra_op_threads: usize,
    /// May threads that wait for work spin? They would take the cores that the rest of a robot needs.
    pub thread_spinning: bool,
    /// Is the CPU's working memory kept from run to run?
    pub cpu_memory_arena: bool,
    /// The most pictures of one run; 1 = the model takes one at a time.
    pub max_batch: usize,
    /// Carry pictures and answers through buffers of the device's own, also where the device is the CPU. A GPU is always
    /// served so; on the CPU it only costs a copy, and shows that the way is right.
    pub device_buffers: bool,
    /// What only NVIDIA's GPUs have.
    pub gpu: GpuSettings,
}

/// Settings of the providers CUDA and TensorRT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSettings {
    /// The most memory of CUDA's arena [MiB]; 0 = unlimited.
    pub memory_limit_mib: u32,
    /// How CUDA chooses the algorithm of a convolution.
    pub conv_search: ConvSearch,
    /// May CUDA round factors to TensorFloat-32?
    pub tf32: bool,
    /// Record a run's work once and replay it?
    pub cuda_graph: bool,
    /// May TensorRT compute in half precision?
    pub tensorrt_fp16: bool,
    /// The most memory for TensorRT's builder [MiB]; 0 = its own default.
    pub tensorrt_workspace_limit_mib: u32,
    /// How thoroughly TensorRT searches, 0 to 5.
    pub tensorrt_builder_level: u32,
    /// Where engines are kept; None = the user's cache folder.
    pub cache_dir: Option<PathBuf>,
}

impl From<&NodeSettings> for InferSettings {
    fn from(settings: &NodeSettings) -> Self {
        Self {
            library: None,
            provider: settings.execution_provider,
            allow_fallback: settings.allow_fallback,
            device_id: settings.device_id,
            intra_op_threads: settings.intra_op_threads as usize,
            thread_spinning: settings.thread_spinning,
            cpu_memory_arena: settings.cpu_memory_arena,
            max_batch: settings.max_batch as usize,
            device_buffers: false,
            gpu: GpuSettings {
                memory_limit_mib: settings.gpu_memory_limit_mib,
                conv_search: settings.cuda_conv_search,
                tf32: settings.cuda_tf32,
                cuda_graph: settings.cuda_graph,
                tensorrt_fp16: settings.tensorrt_fp16,
                tensorrt_workspace_limit_mib: settings.tensorrt_workspace_limit_mib,
                tensorrt_builder_level: settings.tensorrt_builder_level,
                cache_dir: settings.cache_dir.clone(),
            },
        }
    }
}

impl Default for InferSettings {
    fn default() -> Self {
        Self::from(&NodeSettings::defaults())
    }
}
