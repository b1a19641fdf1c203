//! Paired timing: all contestants take turns.

use std::time::{Duration, Instant};

use super::variants::Role;
use crate::{
    contract::Size,
    perceive::infer::{BatchModel, GraphShare},
};

/// The fewest rounds, however long they take: a median of less is none.
const MIN_ROUNDS: usize = 11;
/// Between two libraries' runs: longer than the threads of either spin after their work.
#[cfg(feature = "train")]
const PAUSE: Duration = Duration::from_millis(50);

/// What computes.
pub(super) enum Engine {
    OnnxRuntime {
        model: Box<BatchModel>,
        pixels: Vec<u8>,
    },
    #[cfg(feature = "train")]
    Libtorch(Box<crate::train::eager::Eager>),
}

impl Engine {
    fn run(&mut self) -> anyhow::Result<()> {
        match self {
            Self::OnnxRuntime { model, pixels } => model.run(pixels).map(drop)?,
            #[cfg(feature = "train")]
            Self::Libtorch(eager) => eager.run().map(drop)?,
        }
        Ok(())
    }

    /// Waits until the threads of another library are at rest, and wakes this one's.
    #[cfg(feature = "train")]
    fn follow(&mut self, previous: Option<std::mem::Discriminant<Self>>) -> anyhow::Result<()> {
        if previous.is_some_and(|previous| previous != std::mem::discriminant(self)) {
            std::thread::sleep(PAUSE);
            self.run()?;
        }
        Ok(())
    }
}

/// One row of a group.
pub(super) struct Contestant {
    pub name: String,
    pub role: Role,
    pub input: Size,
    pub provider: &'static str,
    pub graph: Option<GraphShare>,
    engine: Engine,
    /// Of each round [ms].
    pub times: Vec<f64>,
}

impl Contestant {
    pub fn new((name, role): (&str, Role), input: Size, engine: Engine) -> Self {
        Self { name: name.to_owned(), role, input, provider: "cpu", graph: None, engine, times: Vec::new() }
    }

    fn time(&mut self) -> anyhow::Result<()> {
        let start = Instant::now();
        self.engine.run()?;
        self.times.push(start.elapsed().as_secs_f64() * 1e3);
        Ok(())
    }
}

/// Rounds until `least` has passed. Every second round runs backwards, so that nobody always follows the same one.
pub(super) fn rounds(contestants: &mut [Contestant], least: Duration) -> anyhow::Result<()> {
    // Loading has left caches and clocks in a state of its own.
    for contestant in &mut *contestants {
        contestant.engine.run()?;
    }
    let start = Instant::now();
    for round in 0.. {
        if round >= MIN_ROUNDS && start.elapsed() >= least {
            break;
        }
        let mut order: Vec<&mut Contestant> = contestants.iter_mut().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        #[cfg(feature = "train")]
        let mut previous = None;
        for contestant in order {
            #[cfg(feature = "train")]
            {
                contestant.engine.follow(previous)?;
                previous = Some(std::mem::discriminant(&contestant.engine));
            }
            contestant.time()?;
        }
    }
    Ok(())
}
