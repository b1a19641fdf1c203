//! The node's settings, typed and in range.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use super::{
    ConfigError, ConvSearch, DoubleDefault, HeatmapEncoding, HeatmapSize, ImageRectification, ImageTransport, Kind,
    Misfit, Mode, Origin, Override, Overrides, PARAMETERS, Parameter, ParameterValue, ProviderChoice, QosOverrides,
    Reliability, StampPolicy, ValueError, find, qos_overrides, value::shorten,
};
use crate::error::one_line;

/// The longest text and list items, in bytes.
const MAX_TEXT_BYTES: usize = 4096;
const MAX_NAME_BYTES: usize = 256;
/// The most names in a list.
const MAX_NAMES: usize = 4096;
/// Of a name within a hint, in characters.
const LONGEST_HINT: usize = 100;

/// Every ROS parameter, checked. Names, defaults, ranges and units: [`super::PARAMETERS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NodeSettings {
    /// The bundle's folder; None = the default bundle installed with the package.
    pub model: Option<PathBuf>,
    /// The actions to look for; empty = all of the model's.
    pub affordances: Vec<String>,
    /// The hardware asked for.
    pub execution_provider: ProviderChoice,
    /// May the CPU serve when the hardware asked for can't be had?
    pub allow_fallback: bool,
    /// Which of several GPUs.
    pub device_id: u32,
    /// Threads for one operator; 0 = all cores.
    pub intra_op_threads: u32,
    /// May CPU threads spin while they wait?
    pub thread_spinning: bool,
    /// Is the CPU's working memory kept from run to run?
    pub cpu_memory_arena: bool,
    /// The most GPU memory of the arena; 0 = unlimited.
    pub gpu_memory_limit_mib: u32,
    /// How CUDA chooses the algorithm of a convolution.
    pub cuda_conv_search: ConvSearch,
    /// May CUDA compute in TensorFloat-32?
    pub cuda_tf32: bool,
    /// Record the GPU's work and replay it?
    pub cuda_graph: bool,
    /// May TensorRT compute in half precision?
    pub tensorrt_fp16: bool,
    /// The most GPU memory for TensorRT's builder; 0 = its own default.
    pub tensorrt_workspace_limit_mib: u32,
    /// How thoroughly TensorRT searches, 0 to 5.
    pub tensorrt_builder_level: u32,
    /// Where engines are kept; None = the user's cache folder.
    pub cache_dir: Option<PathBuf>,
    /// When frames are processed.
    pub mode: Mode,
    /// Frames per second at most; None = unlimited.
    pub max_rate_hz: Option<f64>,
    /// Older frames are dropped; None = never.
    pub max_input_age: Option<Duration>,
    /// From when on silence is reported.
    pub input_timeout: Duration,
    /// The most that the model may take for a frame; longer, and the process ends.
    pub inference_timeout: Duration,
    /// How often diagnostics are published.
    pub diagnostics_period: Duration,
    /// What to do with a zero, negative or future stamp.
    pub stamp_policy: StampPolicy,
    /// Raw or compressed images.
    pub image_transport: ImageTransport,
    /// Names of several cameras; empty = the only one, which has none.
    pub cameras: Vec<String>,
    /// Frames of different cameras that may go through the model in one run.
    pub max_batch: u32,
    /// What we ask of cameras.
    pub input_reliability: Reliability,
    /// What we offer to subscribers.
    pub output_reliability: Reliability,
    /// Heat in [0, 1] from which a pixel belongs to a region; None = the model's own.
    pub heat_threshold: Option<f32>,
    /// Regions below this score are not reported.
    pub min_region_score: f32,
    /// Regions smaller than this fraction of the image are not reported.
    pub min_region_area: f32,
    /// The most regions of one frame.
    pub max_regions: u32,
    /// The most points of one outline.
    pub max_contour_points: u32,
    /// How heat is written.
    pub heatmap_encoding: HeatmapEncoding,
    /// On which grid heat is given.
    pub heatmap_size: HeatmapSize,
    /// Are regions measured with depth images?
    pub use_depth: bool,
    /// What the pictures are taken for where they are.
    pub image_rectification: ImageRectification,
    /// The furthest that a depth image's stamp may lie from the picture's.
    pub sync_slop: Duration,
    /// The longest that depth is waited for, from the begin of work on the picture.
    pub depth_wait: Duration,
    /// Nearer depth is not used; less than [`Self::depth_max_m`].
    pub depth_min_m: f64,
    /// Further depth is not used.
    pub depth_max_m: f64,
    /// Narrower regions are flagged; less than [`Self::gripper_width_max_m`].
    pub gripper_width_min_m: f64,
    /// Wider regions are flagged.
    pub gripper_width_max_m: f64,
    /// How much of the overlay is heat, in [0, 1].
    pub overlay_alpha: f32,
    /// JPEG quality of `~/overlay/compressed`, 1 to 100.
    pub overlay_jpeg_quality: u8,
    /// Larger images are rejected before anything is allocated.
    pub max_image_pixels: u32,
    /// Does the node configure and activate itself?
    pub autostart: bool,
    /// Time comes from /clock.
    pub use_sim_time: bool,
    /// What is put over the topics' own quality of service.
    pub qos_overrides: QosOverrides,
}

impl NodeSettings {
    /// What every parameter is when nobody sets it.
    pub fn defaults() -> Self {
        let mut settings = Self::default();
        PARAMETERS.iter().for_each(|parameter| settings.set_default(parameter));
        settings
    }

    /// The defaults, with `overrides` put over them. Every override is checked before any counts.
    ///
    /// # Errors
    /// An unknown name, a wrong type (an int is no double, as everywhere in ROS 2), a value out of range; NaN is out of
    /// every range.
    pub fn from_overrides(overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut settings = Self::defaults();
        for (name, given) in overrides {
            if qos_overrides::is_one(name) {
                settings.qos_overrides.set(name, given)?;
                continue;
            }
            let Some(parameter) = find(name) else {
                return Err(unknown(name, &given.origin));
            };
            settings.set(parameter, given)?;
        }
        settings.check_together()?;
        Ok(settings)
    }

    /// Checks what no parameter's own range can say.
    ///
    /// # Errors
    /// [`ConfigError::Order`]: a least value that is not below the greatest.
    pub fn check_together(&self) -> Result<(), ConfigError> {
        for (least, greatest, low, high) in [
            ("depth_min", "depth_max", self.depth_min_m, self.depth_max_m),
            ("gripper_width_min", "gripper_width_max", self.gripper_width_min_m, self.gripper_width_max_m),
        ] {
            if low >= high {
                return Err(ConfigError::Order { least, greatest, low, high });
            }
        }
        Ok(())
    }

    fn set_default(&mut self, parameter: &Parameter) {
        match parameter.kind {
            Kind::Bool { default, set } => set(self, default),
            Kind::Integer { default, set, .. } => set(self, default),
            Kind::Double { default: DoubleDefault::Value(default), set, .. } => set(self, default),
            Kind::Double { default: DoubleDefault::Unset { .. }, .. } => {}
            Kind::Choice { default, set, .. } => set(self, default),
            Kind::Text { set, .. } => set(self, ""),
            Kind::Names { set, .. } => set(self, &[]),
        }
    }

    fn set(&mut self, parameter: &Parameter, given: &Override) -> Result<(), ConfigError> {
        let refuse = |problem: Problem| problem.at(parameter, given);
        match (&parameter.kind, &given.value) {
            (Kind::Bool { set, .. }, ParameterValue::Bool(on)) => set(self, *on),
            (Kind::Integer { range: (least, most), set, .. }, ParameterValue::Integer(number)) => {
                let in_range = u32::try_from(*number).ok().filter(|n| (least..=most).contains(&n));
                set(self, in_range.ok_or_else(|| refuse(Problem::default()))?);
            }
            (Kind::Double { range: (least, most), set, .. }, ParameterValue::Double(number)) => {
                // Asked this way round, NaN fails.
                if !(*least..=*most).contains(number) {
                    return Err(refuse(Problem::default()));
                }
                set(self, *number);
            }
            (Kind::Double { .. }, ParameterValue::Integer(number)) => {
                return Err(refuse(Problem::hint(format!("write {number}.0"))));
            }
            (Kind::Choice { names, set, .. }, ParameterValue::String(name)) => {
                if !names.contains(&name.as_str()) {
                    let hint = similar(name, names.iter().copied()).map(|near| format!("did you mean {near}?"));
                    return Err(refuse(Problem { hint, found: None }));
                }
                set(self, name);
            }
            (Kind::Text { set, .. }, ParameterValue::String(text)) => {
                check_text(text, MAX_TEXT_BYTES).map_err(|problem| refuse(Problem::found(problem)))?;
                set(self, text);
            }
            (Kind::Names { check, set, .. }, ParameterValue::StringArray(names)) => {
                check_names(names).map_err(|problem| refuse(Problem::found(problem)))?;
                check(names)
                    .map_err(|Misfit { found, hint }| refuse(Problem { hint: Some(hint), found: Some(found) }))?;
                set(self, names);
            }
            (Kind::Names { .. }, ParameterValue::String(name)) => {
                return Err(refuse(Problem::hint(format!("write [{}]", one_line(name, LONGEST_HINT)))));
            }
            _ => return Err(refuse(Problem::default())),
        }
        Ok(())
    }
}

/// What is wrong with a value, beyond its not being what the table expects.
#[derive(Default)]
struct Problem {
    hint: Option<String>,
    /// What was found, where the value itself does not show it.
    found: Option<String>,
}

impl Problem {
    fn hint(hint: String) -> Self {
        Self { hint: Some(hint), found: None }
    }

    fn found(found: String) -> Self {
        Self { hint: None, found: Some(found) }
    }

    fn at(self, parameter: &Parameter, given: &Override) -> ConfigError {
        ConfigError::Value(Box::new(ValueError {
            origin: given.origin.clone(),
            name: parameter.name.to_owned(),
            expected: parameter.kind.expected(),
            found: self.found.unwrap_or_else(|| format!("{} ({})", given.value, given.value.type_name())),
            hint: self.hint.map_or_else(String::new, |hint| format!("; {hint}")),
        }))
    }
}

/// Text that can travel in any message, path or log line. The error is what was found.
fn check_text(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.len() > max_bytes {
        return Err(format!("{} bytes (the most are {max_bytes})", text.len()));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(format!("the control character {control:?} in {:?}", shorten(text))),
        None => Ok(()),
    }
}

fn check_names(names: &[String]) -> Result<(), String> {
    if names.len() > MAX_NAMES {
        return Err(format!("{} names (the most are {MAX_NAMES})", names.len()));
    }
    let mut seen = BTreeSet::new();
    for name in names {
        check_text(name, MAX_NAME_BYTES)?;
        if name.is_empty() {
            return Err("an empty name".to_owned());
        }
        if !seen.insert(name) {
            return Err(format!("{name:?} twice"));
        }
    }
    Ok(())
}

fn unknown(name: &str, origin: &Origin) -> ConfigError {
    let hint = did_you_mean(name, PARAMETERS.iter().map(|parameter| parameter.name));
    ConfigError::Unknown { origin: origin.clone(), name: shorten(name), hint }
}

/// Empty, or "; did you mean ...?".
pub(crate) fn did_you_mean<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> String {
    similar(found, known).map_or_else(String::new, |near| format!("; did you mean {near}?"))
}

/// The known name that `found` is most likely a misspelling of.
pub(crate) fn similar<'a>(found: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const ENOUGH: f64 = 0.8;
    // Names of any length come in; the known ones are short.
    let found: String = found.chars().take(64).collect();
    known
        .map(|name| (strsim::jaro_winkler(name, &found), name))
        .filter(|(likeness, _)| *likeness >= ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
