//! The way to the loop of the present activation, for those who serve requests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::camera::RosIntake;

/// Open while the node is active.
#[derive(Default)]
pub struct Door(Mutex<Option<Arc<RosIntake>>>);

impl Door {
    /// A loop runs behind this intake.
    pub fn open(&self, intake: Arc<RosIntake>) {
        *self.intake_slot() = Some(intake);
    }

    /// It is about to end.
    pub fn close(&self) {
        self.intake_slot().take();
    }

    /// The way, while there is one.
    pub fn intake(&self) -> Option<Arc<RosIntake>> {
        self.intake_slot().clone()
    }

    /// Is everything dropped, since somebody wanted so?
    pub fn is_disabled(&self) -> bool {
        self.intake_slot().as_ref().is_some_and(|intake| !intake.is_enabled())
    }

    // Changes are single assignments: a panic elsewhere leaves nothing half-done.
    fn intake_slot(&self) -> MutexGuard<'_, Option<Arc<RosIntake>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
