//! What a ROS parameter is: its type, default and range, and the setting that a value becomes.

use super::NodeSettings;

/// One ROS parameter.
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// May it be changed while the node runs?
    pub live: bool,
    /// What it does, with its unit. One or more sentences.
    pub description: &'static str,
    /// Its type, default and range, and the setting it becomes.
    pub kind: Kind,
}

/// Type, default and range of a parameter, and how a value *within that range* becomes a setting.
pub enum Kind {
    /// true or false.
    Bool {
        /// Its default.
        default: bool,
        /// Where it goes.
        set: fn(&mut NodeSettings, bool),
    },
    /// A whole number.
    Integer {
        /// Its default.
        default: u32,
        /// Least and greatest value.
        range: (u32, u32),
        /// Where it goes.
        set: fn(&mut NodeSettings, u32),
    },
    /// A number with a fraction; never NaN.
    Double {
        /// Its default.
        default: DoubleDefault,
        /// Least and greatest value.
        range: (f64, f64),
        /// Where it goes.
        set: fn(&mut NodeSettings, f64),
    },
    /// One of a few names.
    Choice {
        /// Its default.
        default: &'static str,
        /// The names.
        names: &'static [&'static str],
        /// Where it goes.
        set: fn(&mut NodeSettings, &str),
    },
    /// Free text on one line, empty by default.
    Text {
        /// What empty means.
        empty: &'static str,
        /// Where it goes.
        set: fn(&mut NodeSettings, &str),
    },
    /// A list of different names, empty by default.
    Names {
        /// What empty means.
        empty: &'static str,
        /// What the names must be beyond different.
        check: fn(&[String]) -> Result<(), Misfit>,
        /// Where it goes.
        set: fn(&mut NodeSettings, &[String]),
    },
}

/// Why a list of names can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// What was found, where the whole list would not show it.
    pub found: String,
    /// What would be right.
    pub hint: String,
}

/// What a double is when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum DoubleDefault {
    /// This number.
    Value(f64),
    /// Unset, which means what the text says; the number is only an example.
    Unset {
        /// What unset means.
        meaning: &'static str,
        /// A sensible value, for the commented file.
        example: f64,
    },
}

impl Kind {
    /// The type's name as ROS 2 tools write it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Bool { .. } => "bool",
            Self::Integer { .. } => "int",
            Self::Double { .. } => "double",
            Self::Choice { .. } | Self::Text { .. } => "string",
            Self::Names { .. } => "list of strings",
        }
    }

    /// Type and range in words.
    pub fn expected(&self) -> String {
        match self {
            Self::Bool { .. } => "true or false".to_owned(),
            Self::Integer { range: (least, most), .. } => format!("int, {least} to {most}"),
            Self::Double { range: (least, most), .. } => format!("double, {least:?} to {most:?}"),
            Self::Choice { names, .. } => format!("one of {}", names.join(" ")),
            Self::Text { .. } => "text on one line".to_owned(),
            Self::Names { .. } => "list of different names".to_owned(),
        }
    }
}
