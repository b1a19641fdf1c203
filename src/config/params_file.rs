//! A parameter file as rcl reads it:
//!
//! ```yaml
//! /**:                   # any node; or a node's name, or /namespace/name, where * stands for one part, ** for any
//!   ros__parameters:
//!     max_rate: 10.0     # nested maps become dotted names
//! ```

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    ConfigError, ParameterValue, scalar,
    value::shorten,
    yaml_tree::{self, Entry, Node, NodeKind, YamlError},
};

/// Larger files are refused.
const MAX_BYTES: u64 = 1 << 20;
const PARAMETERS_KEY: &str = "ros__parameters";

/// The parameters of one node name or pattern.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Section {
    /// "/**", "affordance_node", "/ns/affordance_node", ...
    pub name: String,
    /// By dotted name.
    pub parameters: BTreeMap<String, ParameterValue>,
}

/// Reads and checks a whole file, also the sections of other nodes: rcl refuses the file if they are malformed.
pub(super) fn load(path: &Path) -> Result<Vec<Section>, ConfigError> {
    let text = read(path)?;
    sections(&text).map_err(|error| ConfigError::File {
        path: path.to_owned(),
        place: if error.line == 0 { String::new() } else { format!(", line {}", error.line) },
        problem: error.problem,
    })
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let io = |source| ConfigError::Io { path: path.to_owned(), source };
    let refuse = |problem: String| ConfigError::File { path: path.to_owned(), place: String::new(), problem };
    let metadata = std::fs::metadata(path).map_err(io)?;
    // Opening a pipe would block, and rcl could not read it a second time.
    if !metadata.is_file() {
        return Err(refuse("expected a regular file, found a folder, pipe or device".to_owned()));
    }
    if metadata.len() > MAX_BYTES {
        return Err(refuse(format!("expected at most {MAX_BYTES} bytes, found {}", metadata.len())));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes)).map_err(io)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        refuse(format!("expected UTF-8 text, found other bytes at {}", error.utf8_error().valid_up_to()))
    })?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The sections of a file's text.
fn sections(text: &str) -> Result<Vec<Section>, YamlError> {
    let Some(root) = yaml_tree::parse(text)? else {
        return Ok(Vec::new());
    };
    let NodeKind::Map(entries) = root.kind else {
        return Err(YamlError::new(root.line, format!("expected a node's name, and {PARAMETERS_KEY} below it")));
    };
    let mut sections = Vec::new();
    collect_sections("", &entries, &mut sections)?;
    Ok(sections)
}

/// Walks down node names, which may be nested (`ns:` over `node:` is "ns/node"), to the parameters.
fn collect_sections(prefix: &str, entries: &[Entry], sections: &mut Vec<Section>) -> Result<(), YamlError> {
    for Entry { key, line, value } in entries {
        if key == PARAMETERS_KEY {
            if prefix.is_empty() {
                return Err(YamlError::new(*line, format!("expected a node's name (or /**) above {PARAMETERS_KEY}")));
            }
            if entries.len() > 1 {
                return Err(YamlError::new(*line, format!("expected nothing beside {PARAMETERS_KEY}")));
            }
            check_section_name(prefix, *line)?;
            sections.push(Section { name: prefix.to_owned(), parameters: parameters(value)? });
            continue;
        }
        let NodeKind::Map(below) = &value.kind else {
            return Err(YamlError::new(*line, missing_parameters_key(key)));
        };
        if key.contains("parameters") {
            return Err(YamlError::new(*line, missing_parameters_key(key)));
        }
        let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}/{key}") };
        collect_sections(&name, below, sections)?;
    }
    Ok(())
}

fn missing_parameters_key(found: &str) -> String {
    format!("expected {PARAMETERS_KEY} (two underscores) between the node's name and its parameters, found {found:?}")
}

/// rcl's rule: parts of letters, digits and underscores that begin with no digit, or the wildcards * and **.
fn check_section_name(name: &str, line: usize) -> Result<(), YamlError> {
    let is_part = |part: &str| {
        matches!(part, "*" | "**")
            || (part.len() <= 255
                && part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
    };
    if name.strip_prefix('/').unwrap_or(name).split('/').all(is_part) {
        return Ok(());
    }
    Err(YamlError::new(line, format!("expected a node's name such as /**, my_node or /ns/my_node, found {name:?}")))
}

fn parameters(node: &Node) -> Result<BTreeMap<String, ParameterValue>, YamlError> {
    let NodeKind::Map(entries) = &node.kind else {
        return Err(YamlError::new(
            node.line,
            format!("expected parameters below {PARAMETERS_KEY} (or {{}} for none)"),
        ));
    };
    let mut found = BTreeMap::new();
    collect_parameters("", entries, &mut found)?;
    Ok(found)
}

fn collect_parameters(
    prefix: &str,
    entries: &[Entry],
    found: &mut BTreeMap<String, ParameterValue>,
) -> Result<(), YamlError> {
    for Entry { key, line, value } in entries {
        let name = format!("{prefix}{key}");
        if let NodeKind::Map(below) = &value.kind {
            if below.is_empty() {
                return Err(YamlError::new(*line, format!("parameter {name}: expected a value, found an empty map")));
            }
            collect_parameters(&format!("{name}."), below, found)?;
            continue;
        }
        let value = self::value(value)
            .map_err(|error| YamlError::new(error.line, format!("parameter {name}: {}", error.problem)))?;
        if found.contains_key(&name) {
            return Err(YamlError::new(*line, format!("parameter {name} is set twice")));
        }
        found.insert(name, value);
    }
    Ok(())
}

/// The value of one parameter: a scalar, or a list of scalars of one type.
fn value(node: &Node) -> Result<ParameterValue, YamlError> {
    match &node.kind {
        NodeKind::Scalar { text, quoted: true } => Ok(ParameterValue::String(text.clone())),
        NodeKind::Scalar { text, quoted: false } if text.is_empty() => {
            Err(YamlError::new(node.line, "expected a value, found none (write \"\" for an empty text)"))
        }
        NodeKind::Scalar { text, quoted: false } => Ok(scalar::plain(text)),
        NodeKind::List(items) => list(items),
        NodeKind::Map(_) => Err(YamlError::new(node.line, "expected a value, found a map")),
    }
}

fn list(items: &[Node]) -> Result<ParameterValue, YamlError> {
    use ParameterValue::{Bool, BoolArray, Double, DoubleArray, Integer, IntegerArray, String as Text, StringArray};
    let mut list: Option<ParameterValue> = None;
    for item in items {
        if !matches!(item.kind, NodeKind::Scalar { .. }) {
            return Err(YamlError::new(item.line, "expected a list of plain values, found a list or map in it"));
        }
        match (&mut list, value(item)?) {
            (None, Bool(first)) => list = Some(BoolArray(vec![first])),
            (None, Integer(first)) => list = Some(IntegerArray(vec![first])),
            (None, Double(first)) => list = Some(DoubleArray(vec![first])),
            (None, Text(first)) => list = Some(StringArray(vec![first])),
            (Some(BoolArray(values)), Bool(next)) => values.push(next),
            (Some(IntegerArray(values)), Integer(next)) => values.push(next),
            (Some(DoubleArray(values)), Double(next)) => values.push(next),
            (Some(StringArray(values)), Text(next)) => values.push(next),
            (Some(values), other) => {
                let problem = format!(
                    "expected values of one type, found {other} ({}) in a {} (quote texts that look like something else)",
                    other.type_name(),
                    values.type_name()
                );
                return Err(YamlError::new(item.line, problem));
            }
            (None, other) => return Err(YamlError::new(item.line, format!("unexpected {}", other.type_name()))),
        }
    }
    Ok(list.unwrap_or(StringArray(Vec::new())))
}

/// The value of `-p name:=TEXT`.
pub(super) fn value_of_text(text: &str) -> Result<ParameterValue, String> {
    let node = yaml_tree::parse(text).map_err(|error| error.problem)?;
    let none = "expected a value, found none (write '\"\"' for an empty text)";
    value(&node.ok_or_else(|| none.to_owned())?).map_err(|error| error.problem)
}

/// Does a section speak of this node? `**` stands for any number of name parts, `*` for one. A bare name without
/// namespace matches in every namespace.
pub(super) fn matches(section: &str, node_name: &str, namespace: &str) -> bool {
    if section == node_name {
        return true;
    }
    let name: Vec<&str> = namespace.split('/').filter(|part| !part.is_empty()).chain([node_name]).collect();
    // reached[i]: the pattern so far matches exactly the first i parts.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for part in section.split('/').filter(|part| !part.is_empty()) {
        if part == "**" {
            let first = reached.iter().position(|is| *is).unwrap_or(reached.len());
            reached[first..].fill(true);
            continue;
        }
        for i in (0..name.len()).rev() {
            reached[i + 1] = reached[i] && (part == "*" || part == name[i]);
        }
        reached[0] = false;
    }
    reached.last() == Some(&true)
}

/// A parameter file in which nothing is meant for this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnmatchedFile {
    /// The file.
    pub path: PathBuf,
    /// The sections it has.
    pub sections: Vec<String>,
}

impl fmt::Display for UnmatchedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = if self.sections.is_empty() { "none".to_owned() } else { shorten(&self.sections.join(" ")) };
        write!(f, "parameter file {}: no section for this node, found: {sections}", self.path.display())
    }
}
