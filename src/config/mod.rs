//! The node's settings: typed, in range, unknown names refused with a spelling hint.
//!
//! ```text
//! argv -> ros_args: --ros-args as rcl reads it -> params_file: YAML as rcl reads it -> Overrides (name -> value, origin)
//!   -> NodeSettings, by the table PARAMETERS (which also writes config/affordance_node.yaml) and by qos_overrides
//! ```

mod cameras;
mod choices;
mod error;
mod kind;
mod live;
mod parameters;
mod params_file;
mod qos_overrides;
mod remap;
mod ros_args;
mod scalar;
mod settings;
mod text;
mod value;
mod yaml_tree;

pub use choices::{
    ConvSearch, Durability, Endpoint, HeatmapEncoding, HeatmapSize, History, ImageRectification, ImageTransport,
    Liveliness, Mode, ProviderChoice, Reliability, StampPolicy,
};
pub use error::{ConfigError, ValueError};
pub use kind::{DoubleDefault, Kind, Misfit, Parameter};
pub use live::{Change, Changed, ParameterSet, Range};
pub use parameters::{PARAMETERS, find};
pub use params_file::UnmatchedFile;
pub use qos_overrides::{QosOverrides, QosPolicies, QosPolicy};
pub use ros_args::RosArgs;
pub use settings::NodeSettings;
#[cfg(feature = "ros")]
pub(crate) use settings::did_you_mean;
pub(crate) use settings::similar;
pub use text::config_text;
pub use value::{Origin, Override, Overrides, ParameterValue};
