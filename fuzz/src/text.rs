//! `params_yaml` and `contract`: text that people write.

use std::{fs, path::Path};

use looptrans_ros::{
    config::{ConfigError, ParameterSet, RosArgs},
    contract::ModelContract,
};

const NODE: &str = "affordance_node";
const FILE_FLAG: &str = "--params-file";

/// A parameter file; or, after `--ros-args`, one argument a line, then an empty line and the file that they name.
pub fn params_yaml(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("params.yaml");
    let text = String::from_utf8_lossy(bytes);
    let (args, file) = match text.starts_with("--ros-args\n") {
        true => text.split_once("\n\n").map_or((&*text, &b""[..]), |(args, file)| (args, file.as_bytes())),
        // As it came: a file need not be UTF-8.
        false => ("--ros-args\n--params-file\n", bytes),
    };
    fs::write(&path, file).unwrap();
    let _ = settings(args, &path).map_err(|error| super::assert_readable(&error));
}

/// The start of the node, up to its settings.
fn settings(args: &str, file: &Path) -> Result<(), ConfigError> {
    let mut after_flag = false;
    let argument = |line: &str| {
        // Whatever is named, this file is read: an input says the same on every machine.
        let is_file = std::mem::replace(&mut after_flag, line == FILE_FLAG);
        if is_file { file.to_string_lossy().into_owned() } else { line.to_owned() }
    };
    let args: Vec<String> = args.lines().map(argument).collect();
    let args = RosArgs::parse(&args, NODE)?;
    args.unmatched_files.iter().for_each(super::assert_readable);
    assert!(args.fully_qualified_name().starts_with('/'));
    for name in ["image", "~/heatmap", "/clock"] {
        assert!(args.resolve_topic(name).starts_with('/'));
    }
    let parameters = ParameterSet::from_overrides(&args.overrides)?;
    assert!(parameters.values().count() > 0);
    Ok(())
}

/// A bundle's `model.yaml`.
pub fn contract(bytes: &[u8]) {
    match ModelContract::from_yaml(bytes) {
        Ok(contract) => {
            assert!(!contract.model_id().chars().any(char::is_control));
            // By its text: NaN, which figures of a report may be, is not equal to itself.
            let text = serde_yaml::to_string(&contract).unwrap();
            let again = ModelContract::from_yaml(text.as_bytes()).unwrap();
            assert_eq!(serde_yaml::to_string(&again).unwrap(), text);
        }
        Err(problem) => super::assert_readable(&problem),
    }
}
