//! The node's settings: typed, in range, unknown names refused with a spelling hint.
//!
//! ```text
//! argv -> ros_args: --ros-args as rcl reads it -> params_file: YAML as rcl reads it -> Overrides (name -> value, origin)
//!   -> NodeSettings, by the table PARAMETERS (which also writes config/affordance_node.yaml)
//! ```

mod choices;
mod error;
mod parameters;
mod ros_args;
mod settings;
mod value;

pub use choices::{HeatmapEncoding, HeatmapSize, ImageTransport, ProviderChoice, Reliability, StampPolicy};
pub use error::ConfigError;
pub use parameters::{DoubleDefault, Kind, PARAMETERS, Parameter, find};
pub use ros_args::RosArgs;
pub use settings::NodeSettings;
pub use value::{Origin, Override, Overrides, ParameterValue};
