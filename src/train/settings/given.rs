//! What somebody gave, in a file or on the command line, as single values with their keys.

use serde_yaml::Value;

use super::{Assignment, SettingsError};
use crate::config::similar;

const COMMAND_LINE: &str = "command line";

/// One value that someone gave.
pub(super) struct Given<'a> {
    /// The file, or the command line.
    pub origin: &'a str,
    /// The key after those above it.
    pub path: Vec<String>,
    pub value: Value,
}

/// The values of YAML named `origin`, then those of the command line.
pub(super) fn read<'a>(
    text: &str,
    origin: &'a str,
    assignments: &[Assignment],
) -> Result<Vec<Given<'a>>, SettingsError> {
    let refuse = |cause: String| SettingsError::Text { origin: origin.to_owned(), cause };
    let file: Value = serde_yaml::from_str(text).map_err(|error| refuse(error.to_string()))?;
    if !file.is_mapping() {
        return Err(refuse("no keys".to_owned()));
    }
    let mut given = Vec::new();
    leaves(&file, &mut Vec::new(), &mut given);
    let mut given: Vec<Given<'_>> = given.into_iter().map(|(path, value)| Given { origin, path, value }).collect();
    for Assignment { key, value } in assignments {
        let mut path = key.split('.').map(str::to_owned).collect();
        let parsed = serde_yaml::from_str(value);
        let value: Value = parsed.map_err(|error| SettingsError::Value {
            origin: COMMAND_LINE.to_owned(),
            key: key.clone(),
            cause: error.to_string(),
        })?;
        let mut found = Vec::new();
        leaves(&value, &mut path, &mut found);
        given.extend(found.into_iter().map(|(path, value)| Given { origin: COMMAND_LINE, path, value }));
    }
    Ok(given)
}

impl Given<'_> {
    /// Joined by dots.
    pub fn key(&self) -> String {
        self.path.join(".")
    }

    pub fn refused(&self, error: &serde_yaml::Error) -> SettingsError {
        SettingsError::Value { origin: self.origin.to_owned(), key: self.key(), cause: error.to_string() }
    }

    /// The place of this key in a tree that has all of them.
    pub fn place_in<'a>(&self, tree: &'a mut Value) -> Result<&'a mut Value, SettingsError> {
        let mut place = tree;
        for name in &self.path {
            let known: Vec<String> = match place.as_mapping() {
                None => Vec::new(),
                Some(mapping) => mapping.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect(),
            };
            let Some(inner) = place.get_mut(name.as_str()) else {
                let near = similar(name, known.iter().map(String::as_str));
                let hint = match near {
                    Some(near) => format!("; did you mean {near}?"),
                    None if known.is_empty() => String::new(),
                    None => format!("; known here: {}", known.join(", ")),
                };
                return Err(SettingsError::Unknown { origin: self.origin.to_owned(), key: self.key(), hint });
            };
            place = inner;
        }
        Ok(place)
    }
}

/// All values of a tree with their paths; an empty mapping has none.
fn leaves(tree: &Value, path: &mut Vec<String>, found: &mut Vec<(Vec<String>, Value)>) {
    let Some(mapping) = tree.as_mapping() else {
        found.push((path.clone(), tree.clone()));
        return;
    };
    for (key, value) in mapping {
        path.push(key.as_str().map_or_else(|| format!("{key:?}"), str::to_owned));
        leaves(value, path, found);
        path.pop();
    }
}
