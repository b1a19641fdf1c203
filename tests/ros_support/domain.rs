//! ROS domains: one per test, also when several test programs, or `make demo`, run on one machine.

use std::{fs::File, process::Command};

use tempfile::TempDir;

/// A domain that nobody else on this machine uses, for as long as this lives. scripts/demo/processes.py locks the same files.
pub struct Domain {
    id: u32,
    /// Of rcl's log files.
    logs: TempDir,
    _lock: File,
}

impl Domain {
    /// Domains 1 to 101 keep clear of the ports that Linux hands out.
    pub fn claim() -> Self {
        let start = std::process::id();
        for offset in 0..101 {
            let id = (start + offset * 7) % 101 + 1;
            let path = std::env::temp_dir().join(format!("looptrans_ros_domain_{id}.lock"));
            // One that another user has made cannot be opened: it is theirs.
            let Ok(file) = File::options().create(true).append(true).open(path) else { continue };
            if file.try_lock().is_ok() {
                return Self { id, logs: tempfile::tempdir().unwrap(), _lock: file };
            }
        }
        panic!("all ROS domains are in use");
    }

    /// Puts a program into this domain.
    pub fn apply(&self, command: &mut Command) {
        command
            .env("ROS_DOMAIN_ID", self.id.to_string())
            .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
            .env("ROS_LOG_DIR", self.logs.path())
            .env_remove("ROS_LOCALHOST_ONLY")
            .env_remove("ROS_STATIC_PEERS")
            .env_remove("RUST_LOG");
    }

    /// Gives a program the shared memory of `config/PROFILE`: without room for whole messages, best-effort ones get lost on
    /// a busy machine.
    pub fn make_room(command: &mut Command, profile: &str) {
        let file = format!("{}/config/{profile}", env!("CARGO_MANIFEST_DIR"));
        command.env("FASTRTPS_DEFAULT_PROFILES_FILE", file);
    }
}
