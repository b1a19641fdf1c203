//! What can be wrong with settings.

use std::path::PathBuf;

use super::Origin;

/// What is wrong with the settings. Each message is one line: where, what was expected, what was found, a hint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A parameter has a wrong type or lies out of its range.
    #[error(transparent)]
    Value(Box<ValueError>),
    /// Two parameters that each lie in their range do not go together.
    #[error("parameters {least} and {greatest}: expected {least} < {greatest}, found {low:?} and {high:?}")]
    Order {
        /// The name of the lesser one.
        least: &'static str,
        /// The name of the greater one.
        greatest: &'static str,
        /// Their values.
        low: f64,
        /// Their values.
        high: f64,
    },
    /// There is no such parameter.
    #[error("{origin}: unknown parameter {name:?}{hint}")]
    Unknown {
        /// Where it was set.
        origin: Origin,
        /// The name, shortened.
        name: String,
        /// Empty, or "; did you mean ...?".
        hint: String,
    },
    /// A name under `qos_overrides` that says no topic, end or policy.
    #[error("{origin}: parameter {name}: {problem}")]
    QosOverride {
        /// Where it was set.
        origin: Origin,
        /// The name, shortened.
        name: String,
        /// Expected, found, a hint.
        problem: String,
    },
    /// A `--ros-args` argument that rcl would refuse.
    #[error("command line: {argument}: {problem}")]
    Argument {
        /// The argument, with its flag.
        argument: String,
        /// Expected and found.
        problem: String,
    },
    /// A parameter file cannot be read.
    #[error("parameter file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A parameter file is not what rcl reads.
    #[error("parameter file {path}{place}: {problem}")]
    File {
        /// The file.
        path: PathBuf,
        /// Empty, or ", line 3".
        place: String,
        /// Expected and found.
        problem: String,
    },
}

/// A parameter with a wrong type or out of its range.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: parameter {name}: expected {expected}, found {found}{hint}")]
pub struct ValueError {
    /// Where it was set.
    pub origin: Origin,
    /// Its name, shortened.
    pub name: String,
    /// Type and range.
    pub expected: String,
    /// The value and its type.
    pub found: String,
    /// Empty, or "; " and a remedy.
    pub hint: String,
}
