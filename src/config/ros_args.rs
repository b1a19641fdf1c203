//! The process's arguments as ROS 2 gives them: `NODE --ros-args -r image:=/cam/image --params-file F -p name:=value --`.
//!
//! Everything rcl would refuse is refused here with a clear message, because r2r panics where rcl refuses. What rcl takes
//! and no sound command line has (unknown ROS arguments, rules outside of `--ros-args`) is refused too.

use std::{ffi::OsString, path::PathBuf};

use super::{
    ConfigError, Origin, Override, Overrides, params_file,
    params_file::UnmatchedFile,
    remap::{self, Rule},
    value::shorten,
};
use crate::error::one_line;

const LOG_LEVELS: [&str; 6] = ["debug", "info", "warn", "error", "fatal", "unset"];
/// Of an argument in a message, in characters.
const LONGEST_SHOWN: usize = 120;
const LONGEST_PROBLEM: usize = 400;
/// The switch of rcl's log file.
const LOG_FILE: &str = "external-lib-logs";
const OTHER_SWITCHES: [&str; 2] = ["rosout-logs", "stdout-logs"];

/// What the arguments say. Made by [`RosArgs::from_process`].
#[derive(Debug, Clone, PartialEq)]
pub struct RosArgs {
    /// The node's name after remapping (`-r __node:=NAME`).
    pub node_name: String,
    /// The node's namespace after remapping (`-r __ns:=/NS`), "/" at the root.
    pub namespace: String,
    /// Parameters set by files and by `-p`, in order, the last one wins.
    pub overrides: Overrides,
    /// Parameter files without a section for this node: worth a warning each.
    pub unmatched_files: Vec<UnmatchedFile>,
    /// Arguments that are not ROS's, in order, without the program's name.
    pub user_args: Vec<String>,
    /// May rcl write a log file? Not after `--disable-external-lib-logs`.
    pub writes_log_file: bool,
    rules: Vec<Rule>,
}

/// Where parameters come from, in the order of the arguments.
enum Source {
    File(PathBuf),
    /// `-p [node:]name:=value`, split.
    Rule {
        node: Option<String>,
        name: String,
        value: String,
    },
}

#[derive(Default)]
struct Collected {
    rules: Vec<Rule>,
    sources: Vec<Source>,
    user_args: Vec<String>,
    no_log_file: bool,
}

impl RosArgs {
    /// Reads this process's arguments for a node that is called `default_name` unless remapped, and loads the parameter
    /// files they name.
    ///
    /// # Errors
    /// See [`Self::parse`]; and an argument that is not UTF-8.
    pub fn from_process(default_name: &str) -> Result<Self, ConfigError> {
        let text = |argument: OsString| {
            argument.into_string().map_err(|argument| ConfigError::Argument {
                argument: shorten(&argument.to_string_lossy()),
                problem: "expected UTF-8 text".to_owned(),
            })
        };
        let args: Vec<String> = std::env::args_os().skip(1).map(text).collect::<Result<_, _>>()?;
        Self::parse(&args, default_name)
    }

    /// Reads `args` (without the program's name).
    ///
    /// # Errors
    /// An argument that rcl refuses or does not know, a rule outside of `--ros-args`, or a parameter file that cannot be
    /// read, is larger than 1 MiB, or is not what rcl reads.
    pub fn parse(args: &[String], default_name: &str) -> Result<Self, ConfigError> {
        let Collected { rules, sources, user_args, no_log_file } = collect(args)?;
        let node_name = remap::node_name(&rules, default_name);
        let namespace = remap::namespace(&rules, &node_name);
        let mut ros_args = Self {
            node_name,
            namespace,
            overrides: Overrides::new(),
            unmatched_files: Vec::new(),
            user_args,
            writes_log_file: !no_log_file,
            rules,
        };
        for source in sources {
            ros_args.apply(source)?;
        }
        Ok(ros_args)
    }

    /// "/NS/NAME".
    pub fn fully_qualified_name(&self) -> String {
        format!("{}/{}", self.namespace.trim_end_matches('/'), self.node_name)
    }

    /// The name under which a topic is really found: `name` made absolute, then remapped by the first rule that
    /// matches, as rcl does. `name` is relative ("image"), private ("~/heatmap") or absolute ("/clock").
    pub fn resolve_topic(&self, name: &str) -> String {
        remap::topic(&self.rules, name, &self.node_name, &self.namespace)
    }

    fn apply(&mut self, source: Source) -> Result<(), ConfigError> {
        match source {
            Source::File(path) => self.apply_file(path),
            Source::Rule { node, name, value } => {
                let value = params_file::value_of_text(&value)
                    .map_err(|problem| argument("-p", &format!("{name}:={value}"), problem))?;
                if node.is_none_or(|node| node == self.node_name) {
                    self.overrides.insert(name, Override { value, origin: Origin::CommandLine });
                }
                Ok(())
            }
        }
    }

    fn apply_file(&mut self, path: PathBuf) -> Result<(), ConfigError> {
        let sections = params_file::load(&path)?;
        let names: Vec<String> = sections.iter().map(|section| section.name.clone()).collect();
        let mut matched = false;
        for section in sections {
            if !params_file::matches(&section.name, &self.node_name, &self.namespace) {
                continue;
            }
            matched = true;
            for (name, value) in section.parameters {
                let origin = Origin::File { path: path.clone(), section: section.name.clone() };
                self.overrides.insert(name, Override { value, origin });
            }
        }
        if !matched {
            self.unmatched_files.push(UnmatchedFile { path, sections: names });
        }
        Ok(())
    }
}

/// Sorts arguments into ROS's and the user's, and checks ROS's.
fn collect(args: &[String]) -> Result<Collected, ConfigError> {
    let mut collected = Collected::default();
    let mut args = args.iter();
    let mut in_ros_args = false;
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--ros-args" => in_ros_args = true,
            "--" if in_ros_args => in_ros_args = false,
            flag if in_ros_args => ros_argument(flag, &mut args, &mut collected)?,
            old if old.contains(":=") => {
                let problem = format!("expected {old:?} after --ros-args -r (remapping) or --ros-args -p (parameter)");
                return Err(argument("outside of --ros-args", old, problem));
            }
            user => collected.user_args.push(user.to_owned()),
        }
    }
    Ok(collected)
}

fn ros_argument<'a>(
    flag: &str,
    args: &mut impl Iterator<Item = &'a String>,
    collected: &mut Collected,
) -> Result<(), ConfigError> {
    let mut value = |what: &str| {
        args.next().map(String::as_str).ok_or_else(|| argument(flag, "", format!("expected {what} after it")))
    };
    match flag {
        "-r" | "--remap" => {
            let text = value("FROM:=TO")?;
            collected.rules.push(Rule::parse(text).map_err(|problem| argument(flag, text, problem))?);
        }
        "-p" | "--param" => {
            let text = value("NAME:=VALUE")?;
            collected.sources.push(parameter_rule(text).map_err(|problem| argument(flag, text, problem))?);
        }
        "--params-file" => collected.sources.push(Source::File(value("a file")?.into())),
        "--log-level" => {
            let text = value("a level")?;
            check_log_level(text).map_err(|problem| argument(flag, text, problem))?;
        }
        "-e" | "--enclave" => {
            let text = value("a security enclave")?;
            check_enclave(text).map_err(|problem| argument(flag, text, problem))?;
        }
        "--log-config-file" | "--log-file-name" => {
            value("a file")?;
        }
        _ => {
            let disabled = flag.strip_prefix("--disable-");
            let switch = disabled.or_else(|| flag.strip_prefix("--enable-"));
            if switch == Some(LOG_FILE) {
                collected.no_log_file = disabled.is_some();
            } else if !switch.is_some_and(|switch| OTHER_SWITCHES.contains(&switch)) {
                let problem = "ROS 2 knows no such argument after --ros-args (end them with -- before your own)";
                return Err(argument(flag, "", problem.to_owned()));
            }
        }
    }
    Ok(())
}

/// Reads `[NODE:]NAME:=VALUE`; the value stays text.
fn parameter_rule(text: &str) -> Result<Source, String> {
    let is_token = |token: &str| {
        token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && !token.starts_with("__")
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    let (left, value) = text.split_once(":=").ok_or_else(|| "expected NAME:=VALUE".to_owned())?;
    let (node, name) = match left.split_once(':') {
        Some((node, name)) if is_token(node) && !node.contains("__") => (Some(node.to_owned()), name),
        Some(_) => return Err("expected a node's name before ':'".to_owned()),
        None => (None, left),
    };
    // A slash leads a topic's name, as in qos_overrides./cam/image.subscription.depth.
    let is_part = |part: &str| part.strip_prefix('/').unwrap_or(part).split('/').all(is_token);
    if !name.split('.').all(is_part) {
        return Err("expected a name of letters, digits and underscores, with dots between".to_owned());
    }
    Ok(Source::Rule { node, name: name.to_owned(), value: value.to_owned() })
}

/// `LEVEL` or `LOGGER:=LEVEL`.
fn check_log_level(text: &str) -> Result<(), String> {
    let (logger, level) = text.split_once(":=").unwrap_or(("all", text));
    if !logger.is_empty() && LOG_LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
        return Ok(());
    }
    Err(format!("expected one of {}, or LOGGER:=LEVEL", LOG_LEVELS.join(" ")))
}

fn check_enclave(text: &str) -> Result<(), String> {
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if text == "/" || text.strip_prefix('/').is_some_and(|parts| parts.split('/').all(is_part)) {
        return Ok(());
    }
    Err("expected an absolute name such as /robot/camera".to_owned())
}

/// The argument and what is wrong with it, neither of them longer than a line of a log should be.
fn argument(flag: &str, value: &str, problem: String) -> ConfigError {
    let argument = one_line(format!("{flag} {value}").trim_end(), LONGEST_SHOWN);
    ConfigError::Argument { argument, problem: one_line(&problem, LONGEST_PROBLEM) }
}
