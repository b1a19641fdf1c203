//! One process at a time: a lock of the kernel's on a file, which ends with the process that holds it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Between two tries.
const POLL: Duration = Duration::from_millis(50);

/// Held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for at most `wait`. The error says why there is none.
    pub fn take(path: &Path, wait: Duration) -> Result<Self, String> {
        // Not through a link: the file is made where it is asked for, or not at all.
        let options = OpenOptions::new().write(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW).to_owned();
        let file = options.open(path).map_err(|error| error.to_string())?;
        let until = Instant::now() + wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(error)) => return Err(error.to_string()),
                Err(TryLockError::WouldBlock) if Instant::now() >= until => {
                    return Err(format!("another process has held it for {} s", wait.as_secs()));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(POLL),
            }
        }
    }
}
