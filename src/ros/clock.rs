//! The ROS clock: the system's time, or /clock with `use_sim_time`.

use std::sync::{Arc, Mutex, PoisonError};

use crate::perceive::Stamp;

/// A clock that may be read from any thread.
#[derive(Clone)]
pub struct RosClock(Arc<Mutex<r2r::Clock>>);

impl RosClock {
    /// The node's own clock.
    pub fn of(node: &r2r::Node) -> Self {
        Self(node.get_ros_clock())
    }

    /// Nanoseconds since the clock's epoch; 0 while no /clock message has come.
    pub fn now_nanos(&self) -> i64 {
        let now = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_now();
        // A time before the epoch comes out of r2r as one past the end of i64.
        now.ok().and_then(|now| i64::try_from(now.as_nanos()).ok()).unwrap_or(0)
    }

    /// The same as a stamp.
    pub fn now(&self) -> Stamp {
        const SECOND: i64 = 1_000_000_000;
        let nanos = self.now_nanos();
        // The remainder is below 10^9; seconds past i32 are after the year 2038, where stamps end.
        Stamp { sec: i32::try_from(nanos / SECOND).unwrap_or(i32::MAX), nanosec: (nanos % SECOND) as u32 }
    }
}
