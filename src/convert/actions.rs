//! Which actions a classifier's channels stand for.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use super::{ConvertError, expected::Kind};
use crate::{affordance::VOCABULARIES, contract::is_plain_name};

const MAX_LIST_BYTES: u64 = 1 << 20;

/// An action list that the user named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionList {
    /// The vocabulary's name, if it is one of [`VOCABULARIES`].
    pub split: Option<&'static str>,
    /// The actions in class order.
    pub actions: Vec<String>,
}

impl ActionList {
    /// A vocabulary's name, a list like "cut,hold", or else a file, see [`Self::parse`].
    ///
    /// # Errors
    /// None of them; or the file cannot be read, is empty, or names an action twice.
    pub fn read(given: &str) -> Result<Self, ConvertError> {
        if let Some((split, actions)) = VOCABULARIES.iter().find(|(name, _)| *name == given) {
            return Ok(Self { split: Some(split), actions: owned(actions) });
        }
        let refuse = |message: String| ConvertError::ActionList { given: given.to_owned(), message };
        let names = VOCABULARIES.map(|(name, _)| name).join(", ");
        let text = if given.contains(',') { Ok(given.replace(',', "\n")) } else { read_text(Path::new(given)) };
        let text = text.map_err(|e| {
            refuse(format!("expected one of {names}, a list like cut,hold, or a file with one action per line: {e}"))
        })?;
        Ok(Self { split: None, actions: Self::parse(&text).map_err(refuse)? })
    }

    /// The text of a file with one action per line (blank lines and `#` comments aside), or a YAML list: lines `- cut`, or
    /// `[cut, hold]`.
    ///
    /// # Errors
    /// What was expected and what was found: no actions, names that are none, an action twice.
    pub fn parse(text: &str) -> Result<Vec<String>, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let is_yaml = |line: &str| line == "---" || line.starts_with("- ") || line.starts_with('[');
        if lines.clone().next().is_some_and(is_yaml) {
            let listed: Vec<String> = serde_yaml::from_str(text)
                .map_err(|error| format!("expected a YAML list of actions like `- cut`, found {error}"))?;
            return Self::each_once(listed.iter().map(String::as_str));
        }
        Self::each_once(&mut lines)
    }

    fn each_once<'a>(names: impl Iterator<Item = &'a str>) -> Result<Vec<String>, String> {
        let mut actions: Vec<String> = Vec::new();
        for line in names {
            if !is_plain_name(line) {
                return Err(format!("expected actions of 1 to 128 printable characters, found {line:?}"));
            }
            if actions.iter().any(|action| action == line) {
                return Err(format!("expected each action once, found {line:?} again"));
            }
            actions.push(line.to_owned());
        }
        if actions.is_empty() {
            return Err("expected at least one action, found none".to_owned());
        }
        Ok(actions)
    }
}

/// The text of a list's file, for [`ActionList::parse`].
///
/// # Errors
/// The file can't be read; [`io::ErrorKind::InvalidData`]: it is absurdly long, or not UTF-8.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(MAX_LIST_BYTES + 1).read_to_end(&mut text)?;
    let invalid = |cause: String| io::Error::new(io::ErrorKind::InvalidData, cause);
    if text.len() as u64 > MAX_LIST_BYTES {
        return Err(invalid(format!("expected at most {MAX_LIST_BYTES} bytes, found more")));
    }
    String::from_utf8(text).map_err(|error| invalid(error.to_string()))
}

/// What the channels stand for; those beyond the actions are noise heads.
pub(super) struct Classes {
    pub split: Option<&'static str>,
    pub actions: Vec<String>,
}

/// From the user's list, or else from the number of channels: 36, 25 or 10 actions, and LoopTrans' 15 noise heads.
pub(super) fn classes(
    path: &Path,
    kind: Kind,
    channels: usize,
    given: Option<&ActionList>,
) -> Result<Classes, ConvertError> {
    let refuse = |message: String| ConvertError::Actions { path: path.to_owned(), channels: channels as u64, message };
    let noise = kind.noise_heads();
    if let Some(ActionList { split, actions }) = given {
        let fits = match kind {
            Kind::LoopTrans => actions.len() <= channels,
            Kind::Dino | Kind::Locate | Kind::Wsma | Kind::Concepts | Kind::Clip => actions.len() == channels,
        };
        if !fits {
            let most = if kind == Kind::LoopTrans { "at most as many" } else { "as many" };
            return Err(refuse(format!("expected {most} actions, found {} in --actions", actions.len())));
        }
        return Ok(Classes { split: *split, actions: actions.clone() });
    }
    let fitting = VOCABULARIES.iter().find(|(_, actions)| actions.len() + noise == channels);
    match fitting {
        Some((split, actions)) => Ok(Classes { split: Some(split), actions: owned(actions) }),
        None => {
            let known: Vec<String> =
                VOCABULARIES.iter().map(|(name, actions)| format!("{} ({name})", actions.len() + noise)).collect();
            let known = known.join(", ");
            Err(refuse(format!("for {} expected {known}; name the actions with --actions", kind.name())))
        }
    }
}

fn owned(actions: &[&str]) -> Vec<String> {
    actions.iter().map(|&action| action.to_owned()).collect()
}
