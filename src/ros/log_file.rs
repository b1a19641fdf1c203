//! rcl's log file. Where rcl can write none it refuses to start; a robot must not stand still for want of a log, so that the
//! program finds out before, and starts without one.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::config::RosArgs;

/// Arguments that make rcl write no log file. The console and `/rosout` stay.
pub const WITHOUT_LOG_FILE: [&str; 2] = ["--ros-args", "--disable-external-lib-logs"];

/// What rcl takes for its folder when no variable names one.
const ROS_HOME: &str = "~/.ros";

/// Why rcl could not write the log file that it would write, in one sentence with a remedy; None: it can, or is told not to.
pub fn obstacle(args: &RosArgs) -> Option<String> {
    if !args.writes_log_file {
        return None;
    }
    let cause = match folder(|name| std::env::var_os(name)) {
        None => "no home".to_owned(),
        Some(folder) => format!("{}: {}", folder.display(), try_folder(&folder).err()?),
    };
    Some(format!("no log file can be written ({cause}): the node runs without one; set ROS_LOG_DIR to a folder for it"))
}

/// Where rcl puts its log: $ROS_LOG_DIR, else $ROS_HOME/log, else ~/.ros/log. None: a home is needed, and there is none.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let given = |name| variable(name).filter(|value| !value.is_empty());
    let folder = given("ROS_LOG_DIR")
        .map_or_else(|| Path::new(&given("ROS_HOME").unwrap_or_else(|| ROS_HOME.into())).join("log"), PathBuf::from);
    // As rcl: whatever follows ~ is put behind the home, also without a slash.
    let Some(below) = folder.to_str().and_then(|folder| folder.strip_prefix('~')) else { return Some(folder) };
    let mut home = given("HOME")?;
    home.push(below);
    Some(home.into())
}

/// Makes the folder and a file in it, as rcl will; the file is deleted.
fn try_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    tempfile::NamedTempFile::new_in(folder)?.write_all(b"\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_the_one_that_rcl_takes() {
        for (variables, expected) in [
            (&[("HOME", "/h")][..], Some("/h/.ros/log")),
            (&[("HOME", "/h"), ("ROS_HOME", "/r")], Some("/r/log")),
            (&[("HOME", "/h"), ("ROS_HOME", "/r"), ("ROS_LOG_DIR", "/l")], Some("/l")),
            (&[("HOME", "/h"), ("ROS_HOME", ""), ("ROS_LOG_DIR", "")], Some("/h/.ros/log")),
            (&[("HOME", "/h"), ("ROS_LOG_DIR", "~/l")], Some("/h/l")),
            (&[("HOME", "/h"), ("ROS_LOG_DIR", "~l")], Some("/hl")),
            (&[("HOME", "/h"), ("ROS_HOME", "~")], Some("/h/log")),
            (&[("ROS_LOG_DIR", "/l")], Some("/l")),
            (&[("ROS_LOG_DIR", "~/l")], None),
            (&[("HOME", "")], None),
            (&[], None),
        ] {
            let variable =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            assert_eq!(folder(variable).as_deref(), expected.map(Path::new), "{variables:?}");
        }
    }

    #[test]
    fn a_folder_is_tried_without_leaving_anything_in_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b");
        try_folder(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        fs::write(place.path().join("file"), "").unwrap();
        assert_eq!(try_folder(&place.path().join("file/log")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
