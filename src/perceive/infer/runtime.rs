//! ONNX Runtime's library and environment: one of each per process.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
};

use ort::{LoadDynamicError, environment::Environment, logging::LogLevel};

use super::{InferError, LIBRARY_VARIABLE, failure};

/// The library's usual name, which the loader searches for along its own path.
const LIBRARY_NAME: &str = "libonnxruntime.so";

/// What was loaded, and from where. `ort` allows one environment per process and forgets it when its last user goes,
/// never to make another: so it is kept here.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// Loads the library unless that is done, and gives the process's environment.
///
/// Everything else in `ort` panics where the library is missing or too old. So this comes first, and only what it
/// returns leads to the rest.
pub(super) fn environment(setting: Option<&Path>) -> Result<Environment, InferError> {
    let path = library_path(setting, std::env::var_os(LIBRARY_VARIABLE).map(PathBuf::from));
    let mut loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((first, environment)) = &*loaded {
        return if *first == path {
            Ok(environment.clone())
        } else {
            Err(refuse(&path, format!("this process already uses {}", first.display())))
        };
    }
    let builder = ort::init_from(&path).map_err(|error| refuse(&path, explain(&error)))?;
    let environment =
        builder.with_name("looptrans").with_telemetry(false).build().map_err(|error| failed("environment", &error))?;
    // ort asks for every message and leaves the choice to the log's filter; formatting them costs time in every run.
    environment.set_log_level(LogLevel::Warning);
    tracing::info!("ONNX Runtime: {} ({})", path.display(), ort::info());
    *loaded = Some((path, environment.clone()));
    Ok(environment)
}

/// An error of ONNX Runtime in the course of `step`.
pub(super) fn failed(step: &'static str, error: &ort::Error) -> InferError {
    InferError::Runtime { step, kind: failure::kind(error), cause: failure::words(error) }
}

/// The library in use, where its folder is known.
pub(super) fn library() -> Option<PathBuf> {
    let loaded = LOADED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    loaded.as_ref().map(|(path, _)| path.clone())
}

/// The setting, else the variable, else the usual name. A path with folders is made absolute, because `ort` would look
/// for a relative one beside the program; a bare name is the system loader's to find.
fn library_path(setting: Option<&Path>, variable: Option<PathBuf>) -> PathBuf {
    let chosen = setting
        .map(Path::to_owned)
        .or(variable)
        .filter(|path| !path.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from(LIBRARY_NAME));
    if chosen.components().count() > 1 { std::path::absolute(&chosen).unwrap_or(chosen) } else { chosen }
}

fn refuse(path: &Path, cause: String) -> InferError {
    InferError::Library { path: path.to_owned(), cause, minimum: format!("1.{}", ort::MINOR_VERSION) }
}

/// The cause alone: the path is already in our message.
fn explain(error: &LoadDynamicError) -> String {
    match error {
        LoadDynamicError::Dlopen { error, .. } => error.to_string(),
        LoadDynamicError::MissingApi { .. } => "it is a library, but not ONNX Runtime".to_owned(),
        LoadDynamicError::BadVersion { version_str, .. } => format!("it is version {version_str}"),
        LoadDynamicError::InvalidVersionString => "its version can't be read".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_setting_comes_before_the_variable_before_the_usual_name() {
        let (setting, variable) = (Path::new("/a/lib.so"), PathBuf::from("/b/lib.so"));
        assert_eq!(library_path(Some(setting), Some(variable.clone())), setting);
        assert_eq!(library_path(None, Some(variable.clone())), variable);
        assert_eq!(library_path(None, Some(PathBuf::new())), Path::new(LIBRARY_NAME));
        assert_eq!(library_path(None, None), Path::new(LIBRARY_NAME));
        let relative = library_path(Some(Path::new("here/lib.so")), None);
        assert_eq!(relative, std::env::current_dir().unwrap().join("here/lib.so"));
    }
}
