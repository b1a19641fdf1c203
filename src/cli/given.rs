//! What the commands that train are given alike: settings, a dataset, hardware, and the wish to stop.

use std::{
    fs,
    path::Path,
    str::FromStr,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::Context;
use signal_hook::{consts::TERM_SIGNALS, flag};

use super::data::{LIMITS, look};
use crate::{
    convert::ActionList,
    data::{Dataset, index::Source, leave_out},
    train::{
        ranks::{Alone, Place, Ranks},
        run::{Device, gpus},
        settings::{Assignment, Settings},
    },
};

/// Settings from a file, or as published; over them --set, and over these the flags that stand for single keys (the values
/// are YAML).
pub(super) fn settings<'a>(
    file: Option<&Path>,
    set: &[Assignment],
    flags: impl IntoIterator<Item = (&'a str, Option<String>)>,
) -> anyhow::Result<Settings> {
    let (text, origin) = match file {
        None => ("{}".to_owned(), "settings".to_owned()),
        Some(file) => {
            let origin = file.display().to_string();
            (fs::read_to_string(file).with_context(|| format!("cannot read {origin}"))?, origin)
        }
    };
    let flags = flags.into_iter().filter_map(|(key, value)| Some(Assignment { key: key.to_owned(), value: value? }));
    let set: Vec<Assignment> = set.iter().cloned().chain(flags).collect();
    Ok(Settings::read(&text, &origin, &set)?)
}

/// A flag's text as YAML, whatever is in it.
pub(super) fn text(flag: Option<&str>) -> Option<String> {
    flag.map(|text| serde_json::Value::from(text).to_string())
}

/// A flag's number as YAML.
pub(super) fn number(flag: Option<impl ToString>) -> Option<String> {
    flag.map(|number| number.to_string())
}

/// [`checked_dataset`], what is left out of it said.
pub(super) fn open_dataset(
    root: &Path,
    named: (Option<&str>, Option<&str>),
    skip_check: bool,
) -> anyhow::Result<Dataset> {
    let dataset = checked_dataset(root, named, skip_check)?;
    say_left_out(&dataset);
    Ok(dataset)
}

/// The dataset of a split and an affordance list, without the pictures that can't be read, unless they are to be found out
/// later.
pub(super) fn checked_dataset(
    root: &Path,
    (split, affordances): (Option<&str>, Option<&str>),
    skip_check: bool,
) -> anyhow::Result<Dataset> {
    let actions = affordances.map(ActionList::read).transpose()?;
    let actions = actions.map_or_else(Vec::new, |list| list.actions);
    let mut dataset = Dataset::open(&Source { root, split, affordances: &actions })?;
    if !skip_check {
        let findings = look(&dataset, &LIMITS)?;
        leave_out(&mut dataset, &findings);
    }
    Ok(dataset)
}

/// On stderr.
pub(super) fn say_left_out(dataset: &Dataset) {
    const SHOWN: usize = 10;
    for left in dataset.left_out.iter().take(SHOWN) {
        eprintln!("left out: {}: {}", left.path.display(), left.reason);
    }
    if dataset.left_out.len() > SHOWN {
        eprintln!("left out: {} in all; `looptrans data check` names them", dataset.left_out.len());
    }
}

/// Set by Ctrl-C and the like. The second signal of its kind ends the program at once: what is on disk is whole at every
/// moment.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        flag::register_conditional_shutdown(*signal, 130, Arc::clone(&stop))?;
        flag::register(*signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

/// The value of --set.
pub(super) fn assignment(text: &str) -> Result<Assignment, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as optimizer.lr=0.0005")?;
    Ok(Assignment { key: key.to_owned(), value: value.to_owned() })
}

/// What --device asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Cpu,
    /// Any of CUDA's.
    Gpu,
    /// The one of this number.
    ThisGpu(usize),
}

/// The value of --device where several processes may be asked.
pub(super) fn asked(text: &str) -> Result<Asked, String> {
    let number = |text| usize::from_str(text).map_err(|_| "expected cpu, cuda or cuda:NUMBER".to_owned());
    match text.split_once(':') {
        None if text == "cpu" => Ok(Asked::Cpu),
        None if text == "cuda" => Ok(Asked::Gpu),
        Some(("cuda", index)) => number(index).map(Asked::ThisGpu),
        _ => Err("expected cpu, cuda or cuda:NUMBER".to_owned()),
    }
}

/// The value of --device of a single process.
pub(super) fn device(text: &str) -> Result<Device, String> {
    asked(text)?.on(Alone.place(), 1)
}

impl Asked {
    /// For the process of this place.
    pub(super) fn of(self, place: Place) -> anyhow::Result<Device> {
        self.on(place, gpus()).map_err(anyhow::Error::msg)
    }

    /// On a machine with so many GPUs. Whether the GPU is there is for others to say.
    fn on(self, Place { rank, size }: Place, gpus: usize) -> Result<Device, String> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Gpu => Ok(Device::Cuda(rank % gpus.max(1))),
            Self::ThisGpu(index) if size == 1 => Ok(Device::Cuda(index)),
            Self::ThisGpu(index) => Err(format!(
                "--device: expected cuda, which gives each process a GPU of its own, found cuda:{index} for {size} processes on this \
                 machine"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_of_a_machine_gets_a_gpu_of_its_own() {
        let on = |text: &str, (rank, size), gpus| asked(text).unwrap().on(Place { rank, size }, gpus);
        assert_eq!(device("cuda"), Ok(Device::Cuda(0)));
        assert_eq!(device("cuda:3"), Ok(Device::Cuda(3)));
        assert_eq!([0, 1, 2].map(|rank| on("cuda", (rank, 3), 2)), [0, 1, 0].map(|index| Ok(Device::Cuda(index))));
        assert_eq!(on("cuda", (1, 2), 0), Ok(Device::Cuda(0)), "which is refused later, by name");
        assert_eq!(on("cpu", (1, 2), 2), Ok(Device::Cpu));
        let refused = on("cuda:1", (0, 2), 2).unwrap_err();
        assert!(refused.contains("found cuda:1 for 2 processes"), "{refused}");
        for wrong in ["gpu", "cuda:", "cuda:one", "cuda:-1", ""] {
            assert!(asked(wrong).is_err(), "{wrong}");
        }
    }
}
