//! The table of ROS parameters: the only home of their names, types, defaults, ranges and descriptions. Settings, the
//! commented YAML file and every check are made from it.

use std::time::Duration;

use super::{
    ConvSearch, DoubleDefault, HeatmapEncoding, HeatmapSize, ImageRectification, ImageTransport, Kind, Mode, Parameter,
    ProviderChoice, Reliability, StampPolicy, cameras,
};

const fn value(number: f64) -> DoubleDefault {
    DoubleDefault::Value(number)
}

/// Puts a parsed choice into its setting. The name was checked against the same enum's names before.
fn choose<T>(setting: &mut T, chosen: Option<T>) {
    if let Some(chosen) = chosen {
        *setting = chosen;
    }
}

/// Every parameter the node has, in the order of the commented file.
pub static PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "model",
        live: false,
        description: "Folder of the model bundle (model.onnx and model.yaml).",
        kind: Kind::Text {
            empty: "the default bundle installed with the package",
            set: |s, text| s.model = (!text.is_empty()).then(|| text.into()),
        },
    },
    Parameter {
        name: "affordances",
        live: true,
        description: "The actions to look for, by the model's own names.",
        kind: Kind::Names {
            empty: "all of the model's",
            // The model knows.
            check: |_| Ok(()),
            set: |s, names| s.affordances = names.to_vec(),
        },
    },
    Parameter {
        name: "execution_provider",
        live: false,
        description: "The hardware that computes. auto takes the fastest that can be had.",
        kind: Kind::Choice {
            default: "auto",
            names: ProviderChoice::NAMES,
            set: |s, name| choose(&mut s.execution_provider, ProviderChoice::from_name(name)),
        },
    },
    Parameter {
        name: "allow_fallback",
        live: false,
        description: "May the CPU serve when execution_provider can't be had, or fails later? If false the node stays \
                      unconfigured instead, or deactivates itself; so it does with auto, where the library has a GPU \
                      provider and none works.",
        kind: Kind::Bool { default: true, set: |s, on| s.allow_fallback = on },
    },
    Parameter {
        name: "device_id",
        live: false,
        description: "Which of several GPUs.",
        kind: Kind::Integer { default: 0, range: (0, 15), set: |s, n| s.device_id = n },
    },
    Parameter {
        name: "intra_op_threads",
        live: false,
        description: "CPU threads for one operator of the model; 0 = all cores.",
        kind: Kind::Integer { default: 0, range: (0, 256), set: |s, n| s.intra_op_threads = n },
    },
    Parameter {
        name: "thread_spinning",
        live: false,
        description: "May the model's CPU threads spin while they wait for work? Somewhat faster, but the rest of the robot \
                      loses those cores.",
        kind: Kind::Bool { default: false, set: |s, on| s.thread_spinning = on },
    },
    Parameter {
        name: "cpu_memory_arena",
        live: false,
        description: "Keep the model's working memory from frame to frame. false: taken anew and given back each time.",
        kind: Kind::Bool { default: true, set: |s, on| s.cpu_memory_arena = on },
    },
    Parameter {
        name: "gpu_memory_limit",
        live: false,
        description: "GPU memory that the model's arena may take [MiB]; 0 = unlimited.",
        kind: Kind::Integer { default: 0, range: (0, 1_048_576), set: |s, n| s.gpu_memory_limit_mib = n },
    },
    Parameter {
        name: "cuda_conv_search",
        live: false,
        description: "How CUDA chooses the algorithm of a convolution: exhaustive tries them all at start, heuristic asks \
                      cuDNN, default takes one that needs little memory.",
        kind: Kind::Choice {
            default: "exhaustive",
            names: ConvSearch::NAMES,
            set: |s, name| choose(&mut s.cuda_conv_search, ConvSearch::from_name(name)),
        },
    },
    Parameter {
        name: "cuda_tf32",
        live: false,
        description: "Let CUDA round float32 factors to 10 bits (TensorFloat-32): faster, less exact. TensorRT decides for \
                      itself.",
        kind: Kind::Bool { default: false, set: |s, on| s.cuda_tf32 = on },
    },
    Parameter {
        name: "cuda_graph",
        live: false,
        description: "Record the GPU's work once and replay it for every frame. Needs a model that runs on the GPU wholly.",
        kind: Kind::Bool { default: false, set: |s, on| s.cuda_graph = on },
    },
    Parameter {
        name: "tensorrt_fp16",
        live: false,
        description: "Let TensorRT compute in half precision where it finds that faster. Normalisation stays in float32.",
        kind: Kind::Bool { default: false, set: |s, on| s.tensorrt_fp16 = on },
    },
    Parameter {
        name: "tensorrt_workspace_limit",
        live: false,
        description: "GPU memory that TensorRT may use while it builds its engine [MiB]; 0 = its own default.",
        kind: Kind::Integer { default: 0, range: (0, 1_048_576), set: |s, n| s.tensorrt_workspace_limit_mib = n },
    },
    Parameter {
        name: "tensorrt_builder_level",
        live: false,
        description: "How thoroughly TensorRT searches for a fast engine, from 0 to 5; 3 is its own default.",
        kind: Kind::Integer { default: 3, range: (0, 5), set: |s, n| s.tensorrt_builder_level = n },
    },
    Parameter {
        name: "cache_dir",
        live: false,
        description: "Folder for TensorRT engines, which take minutes to build. Never inside a bundle.",
        kind: Kind::Text {
            empty: "looptrans_ros in $XDG_CACHE_HOME or ~/.cache",
            set: |s, text| s.cache_dir = (!text.is_empty()).then(|| text.into()),
        },
    },
    Parameter {
        name: "mode",
        live: true,
        description: "continuous: every frame is processed as far as time allows. on_demand: one for each request of \
                      ~/detect, which is published as well; the other frames are dropped.",
        kind: Kind::Choice {
            default: "continuous",
            names: Mode::NAMES,
            set: |s, name| choose(&mut s.mode, Mode::from_name(name)),
        },
    },
    Parameter {
        name: "max_rate",
        live: true,
        description: "Frames per second at most, on average [Hz]; 0 = unlimited. Requests of ~/detect are not bound by it.",
        kind: Kind::Double {
            default: value(0.0),
            range: (0.0, 1000.0),
            set: |s, hz| s.max_rate_hz = (hz > 0.0).then_some(hz),
        },
    },
    Parameter {
        name: "max_input_age",
        live: true,
        description: "Frames whose stamp is older than this are dropped [s]; 0 = never.",
        kind: Kind::Double {
            default: value(0.5),
            range: (0.0, 60.0),
            set: |s, seconds| s.max_input_age = (seconds > 0.0).then(|| Duration::from_secs_f64(seconds)),
        },
    },
    Parameter {
        name: "input_timeout",
        live: true,
        description: "When no frame could be processed for this long, or for two periods of max_rate where these are longer, the node \
                      says why [s].",
        kind: Kind::Double {
            default: value(2.0),
            range: (0.1, 60.0),
            set: |s, seconds| s.input_timeout = Duration::from_secs_f64(seconds),
        },
    },
    Parameter {
        name: "inference_timeout",
        live: true,
        description: "When the model takes longer than this for one frame, the process ends with status 70, for launch to \
                      start it anew [s]; after a third of it the node says so. Loading a model may take sixty times as long.",
        kind: Kind::Double {
            default: value(30.0),
            range: (1.0, 600.0),
            set: |s, seconds| s.inference_timeout = Duration::from_secs_f64(seconds),
        },
    },
    Parameter {
        name: "diagnostic_updater.period",
        live: true,
        description: "Time from one message on /diagnostics to the next [s].",
        kind: Kind::Double {
            default: value(1.0),
            range: (0.1, 60.0),
            set: |s, seconds| s.diagnostics_period = Duration::from_secs_f64(seconds),
        },
    },
    Parameter {
        name: "stamp_policy",
        live: false,
        description: "Frames with a zero, negative or future stamp: reject them, accept them as they are, or restamp them \
                      with the time of reception.",
        kind: Kind::Choice {
            default: "reject",
            names: StampPolicy::NAMES,
            set: |s, name| choose(&mut s.stamp_policy, StampPolicy::from_name(name)),
        },
    },
    Parameter {
        name: "image_transport",
        live: false,
        description: "raw subscribes to image (sensor_msgs/Image), compressed to image/compressed \
                      (sensor_msgs/CompressedImage: JPEG, PNG).",
        kind: Kind::Choice {
            default: "raw",
            names: ImageTransport::NAMES,
            set: |s, name| choose(&mut s.image_transport, ImageTransport::from_name(name)),
        },
    },
    Parameter {
        name: "cameras",
        live: false,
        description: "Names of several cameras, served in turns: inputs are then NAME/image, NAME/camera_info, \
                      NAME/depth/image, and outputs ~/NAME/heatmap and so on.",
        kind: Kind::Names {
            empty: "one camera, on image",
            check: cameras::check,
            set: |s, names| s.cameras = names.to_vec(),
        },
    },
    Parameter {
        name: "max_batch",
        live: false,
        description: "Frames of different cameras that may go through the model in one run, where several wait. For GPUs with \
                      CUDA, where a run of four costs little more than one; on a CPU it gains next to nothing, and the \
                      first frame waits for the others. Not with cuda_graph or TensorRT.",
        kind: Kind::Integer { default: 1, range: (1, 16), set: |s, n| s.max_batch = n },
    },
    Parameter {
        name: "input_reliability",
        live: false,
        description: "Reliability asked of cameras. best_effort matches all of them.",
        kind: Kind::Choice {
            default: "best_effort",
            names: Reliability::NAMES,
            set: |s, name| choose(&mut s.input_reliability, Reliability::from_name(name)),
        },
    },
    Parameter {
        name: "output_reliability",
        live: false,
        description: "Reliability offered to subscribers. reliable matches all of them.",
        kind: Kind::Choice {
            default: "reliable",
            names: Reliability::NAMES,
            set: |s, name| choose(&mut s.output_reliability, Reliability::from_name(name)),
        },
    },
    Parameter {
        name: "heat_threshold",
        live: true,
        description: "Heat from which a pixel belongs to a region.",
        kind: Kind::Double {
            default: DoubleDefault::Unset { meaning: "the model's own", example: 0.5 },
            range: (0.0, 1.0),
            set: |s, heat| s.heat_threshold = Some(heat as f32),
        },
    },
    Parameter {
        name: "min_region_score",
        live: true,
        description: "Regions below this score are not reported. Score = mean heat in the region times presence of the \
                      action in the picture.",
        kind: Kind::Double {
            default: value(0.3),
            range: (0.0, 1.0),
            set: |s, score| s.min_region_score = score as f32,
        },
    },
    Parameter {
        name: "min_region_area",
        live: true,
        description: "Regions smaller than this fraction of the image are not reported.",
        kind: Kind::Double {
            default: value(0.0005),
            range: (0.0, 1.0),
            set: |s, fraction| s.min_region_area = fraction as f32,
        },
    },
    Parameter {
        name: "max_regions",
        live: true,
        description: "The most regions of one frame, the best by score.",
        kind: Kind::Integer { default: 16, range: (1, 256), set: |s, n| s.max_regions = n },
    },
    Parameter {
        name: "max_contour_points",
        live: true,
        description: "The most points of one region's contour.",
        kind: Kind::Integer { default: 64, range: (4, 1024), set: |s, n| s.max_contour_points = n },
    },
    Parameter {
        name: "heatmap_encoding",
        live: true,
        description: "Encoding of ~/heatmap and ~/heatmaps. mono8: 255 = 1.0; 32FC1: the number itself.",
        kind: Kind::Choice {
            default: "mono8",
            names: HeatmapEncoding::NAMES,
            set: |s, name| choose(&mut s.heatmap_encoding, HeatmapEncoding::from_name(name)),
        },
    },
    Parameter {
        name: "heatmap_size",
        live: true,
        description: "Size of ~/heatmap and ~/heatmaps: the source image's or the network's input.",
        kind: Kind::Choice {
            default: "source",
            names: HeatmapSize::NAMES,
            set: |s, name| choose(&mut s.heatmap_size, HeatmapSize::from_name(name)),
        },
    },
    Parameter {
        name: "use_depth",
        live: false,
        description: "Take registered depth images from depth/image and give regions a pose, a width and a length in metres. \
                      Needs camera_info.",
        kind: Kind::Bool { default: false, set: |s, on| s.use_depth = on },
    },
    Parameter {
        name: "image_rectification",
        live: false,
        description: "What the pictures are taken for with use_depth. raw: as the lens makes them (K and D of camera_info); \
                      rectified: without distortion (P); auto: rectified where a part of the topic's name is rect or \
                      begins with image_rect, raw elsewhere.",
        kind: Kind::Choice {
            default: "auto",
            names: ImageRectification::NAMES,
            set: |s, name| choose(&mut s.image_rectification, ImageRectification::from_name(name)),
        },
    },
    Parameter {
        name: "sync_slop",
        live: true,
        description: "A depth image belongs to a picture whose stamp is no further away than this [s].",
        kind: Kind::Double {
            default: value(0.02),
            range: (0.0, 0.5),
            set: |s, seconds| s.sync_slop = Duration::from_secs_f64(seconds),
        },
    },
    Parameter {
        name: "depth_wait",
        live: true,
        description: "How long the depth image is waited for, counted from the begin of work on the picture [s]: regions are \
                      published without 3D then. A model that takes longer never waits.",
        kind: Kind::Double {
            default: value(0.03),
            range: (0.0, 1.0),
            set: |s, seconds| s.depth_wait = Duration::from_secs_f64(seconds),
        },
    },
    Parameter {
        name: "depth_min",
        live: true,
        description: "Nearer depth is not used [m]. Less than depth_max.",
        kind: Kind::Double { default: value(0.1), range: (0.0, 100.0), set: |s, metres| s.depth_min_m = metres },
    },
    Parameter {
        name: "depth_max",
        live: true,
        description: "Further depth is not used [m].",
        kind: Kind::Double { default: value(5.0), range: (0.0, 100.0), set: |s, metres| s.depth_max_m = metres },
    },
    Parameter {
        name: "gripper_width_min",
        live: true,
        description: "Narrower regions are flagged TOO_NARROW [m]. Less than gripper_width_max.",
        kind: Kind::Double { default: value(0.0), range: (0.0, 2.0), set: |s, metres| s.gripper_width_min_m = metres },
    },
    Parameter {
        name: "gripper_width_max",
        live: true,
        description: "Wider regions are flagged TOO_WIDE [m].",
        kind: Kind::Double { default: value(0.12), range: (0.0, 2.0), set: |s, metres| s.gripper_width_max_m = metres },
    },
    Parameter {
        name: "overlay_alpha",
        live: true,
        description: "How much of ~/overlay is heat; the rest is the camera image.",
        kind: Kind::Double { default: value(0.5), range: (0.0, 1.0), set: |s, alpha| s.overlay_alpha = alpha as f32 },
    },
    Parameter {
        name: "overlay_jpeg_quality",
        live: true,
        description: "JPEG quality of ~/overlay/compressed.",
        kind: Kind::Integer { default: 80, range: (1, 100), set: |s, n| s.overlay_jpeg_quality = n as u8 },
    },
    Parameter {
        name: "max_image_pixels",
        live: false,
        description: "Larger images are rejected before any memory is taken for them [px]. The default is 8K (7680 x 4320).",
        kind: Kind::Integer { default: 33_177_600, range: (1, 268_435_456), set: |s, n| s.max_image_pixels = n },
    },
    Parameter {
        name: "autostart",
        live: false,
        description: "Configure and activate the node as it starts. false: a lifecycle manager does both.",
        kind: Kind::Bool { default: true, set: |s, on| s.autostart = on },
    },
    Parameter {
        name: "use_sim_time",
        live: false,
        description: "Take the time from /clock (simulation, bags).",
        kind: Kind::Bool { default: false, set: |s, on| s.use_sim_time = on },
    },
];

/// The parameter of that name, if there is one.
pub fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| parameter.name == name)
}
