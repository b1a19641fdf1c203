//! A parameter's value as ROS 2 types it, and where it was set.

use std::{collections::BTreeMap, fmt, path::PathBuf};

/// rcl_interfaces/ParameterValue. [`fmt::Display`] writes the value as YAML would, cut to a length fit for one line.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum ParameterValue {
    Bool(bool),
    Integer(i64),
    Double(f64),
    String(String),
    BoolArray(Vec<bool>),
    IntegerArray(Vec<i64>),
    DoubleArray(Vec<f64>),
    /// Also what an empty list `[]` is read as: its type cannot be told.
    StringArray(Vec<String>),
}

/// Where a parameter was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `-p name:=value`.
    CommandLine,
    /// A request while the node runs.
    Request,
    /// A file given by `--params-file`, and the section in it.
    File {
        /// The file.
        path: PathBuf,
        /// "/**", a node's name, ...
        section: String,
    },
}

/// One value that replaces a default.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The value.
    pub value: ParameterValue,
    /// Where it was set.
    pub origin: Origin,
}

/// What was set, by parameter name (nested YAML maps are joined with dots).
pub type Overrides = BTreeMap<String, Override>;

impl ParameterValue {
    /// The type's name, for messages.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool(_) => "bool",
            Self::Integer(_) => "int",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::BoolArray(_) => "list of bools",
            Self::IntegerArray(_) => "list of ints",
            Self::DoubleArray(_) => "list of doubles",
            Self::StringArray(items) if items.is_empty() => "empty list",
            Self::StringArray(_) => "list of strings",
        }
    }
}

impl fmt::Display for ParameterValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Debug of f64 keeps ".0", so that a double reads as one.
        let text = match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Double(value) => format!("{value:?}"),
            Self::String(value) => format!("{:?}", shorten(value)),
            Self::BoolArray(items) => format!("{items:?}"),
            Self::IntegerArray(items) => format!("{items:?}"),
            Self::DoubleArray(items) => format!("{items:?}"),
            Self::StringArray(items) => format!("{items:?}"),
        };
        f.write_str(&shorten(&text))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::Request => f.write_str("refused"),
            Self::File { path, section } => write!(f, "{} ({})", path.display(), shorten(section)),
        }
    }
}

/// The first characters of a text that may be of any length.
pub(crate) fn shorten(text: &str) -> String {
    const LONGEST: usize = 100;
    match text.char_indices().nth(LONGEST) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}... ({} characters)", &text[..end], text.chars().count()),
    }
}
