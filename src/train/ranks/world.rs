//! MPI's processes. The only file that names crate `mpi`.

use std::fmt;

use mpi::{
    Threading,
    collective::SystemOperation,
    environment::Universe,
    topology::SimpleCommunicator,
    traits::{Communicator, CommunicatorCollectives},
};

use super::{Place, Ranks};
use crate::train::TrainError;

/// All processes that `mpirun` started. An error of MPI's own ends them all.
pub(super) struct World {
    world: SimpleCommunicator,
    place: Place,
    /// Takes leave of the others when it is dropped, which waits for them.
    _universe: Universe,
}

impl World {
    /// `launched`: how many the launcher says there are.
    ///
    /// # Errors
    /// MPI sees another number of them.
    pub(super) fn join(launched: usize) -> Result<Self, TrainError> {
        let refuse = |found: String| TrainError::Values {
            what: "mpirun",
            expected: format!("{launched} processes that meet (the mpirun of the MPI that looptrans was built with)"),
            found,
        };
        // Libtorch's threads never call MPI.
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| refuse("MPI in use already".to_owned()))?;
        let world = universe.world();
        let here = world.split_shared(world.rank());
        let place = Place { rank: here.rank() as usize, size: here.size() as usize };
        drop(here);
        let joined = Self { world, place, _universe: universe };
        if joined.size() == launched {
            return Ok(joined);
        }
        Err(refuse(joined.size().to_string()))
    }
}

impl Ranks for World {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn place(&self) -> Place {
        self.place
    }

    fn sum(&self, values: &mut [f32]) {
        let own = values.to_vec();
        self.world.all_reduce_into(&own[..], values, SystemOperation::sum());
    }

    fn gather(&self, own: &[f64]) -> Vec<f64> {
        let mut all = vec![0.0; own.len() * self.size()];
        self.world.all_gather_into(own, &mut all[..]);
        all
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} of {}", self.rank(), self.size())
    }
}
