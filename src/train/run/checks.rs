//! What is asked before a run begins.

use std::{collections::BTreeMap, path::Path};

use sha2::{Digest, Sha256};
use tch::{Device, Tensor};

use super::Job;
use crate::{
    data::{DataError, Dataset},
    train::{TrainError, loss_report::System, settings::Settings},
};

/// GPUs that libtorch can use.
pub fn gpus() -> usize {
    if tch::Cuda::is_available() { usize::try_from(tch::Cuda::device_count()).unwrap_or(0) } else { 0 }
}

pub(in crate::train) fn check_device(device: Device) -> Result<(), TrainError> {
    let Device::Cuda(index) = device else { return Ok(()) };
    let count = gpus();
    if index < count {
        return Ok(());
    }
    let found = match tch::utils::has_cudart() {
        true => format!("{count} GPUs that this libtorch can use"),
        false => "a libtorch without CUDA".to_owned(),
    };
    Err(TrainError::Values { what: "device", expected: format!("cpu, or CUDA's GPU {index}"), found })
}

/// The first of these tensors that holds NaN or an infinity, and that number.
pub(in crate::train) fn first_not_finite(tensors: &BTreeMap<String, Tensor>) -> Option<(&str, f64)> {
    tensors.iter().find_map(|(name, tensor)| {
        let tensor = tensor.detach();
        let found = tensor.masked_select(&tensor.isfinite().logical_not());
        (found.numel() > 0).then(|| (name.as_str(), found.double_value(&[0])))
    })
}

pub(super) fn check_data(dataset: &Dataset, settings: &Settings) -> Result<(), TrainError> {
    if dataset.samples() == 0 {
        let folder = dataset.folder.clone();
        return Err(DataError::Nothing { folder, what: "exocentric pictures to train on" }.into());
    }
    if settings.epochs > u64::from(u32::MAX) {
        let (expected, found) = (format!("at most {}", u32::MAX), settings.epochs.to_string());
        return Err(TrainError::Values { what: "epochs", expected, found });
    }
    Ok(())
}

/// Are all ranks about to train the same, and is it something that several can train?
pub(super) fn check_ranks(job: &Job<'_>, run: (&Settings, bool)) -> Result<(), TrainError> {
    let text = format!("{run:?} {}", fingerprint(job.dataset));
    let hash = Sha256::digest(text.as_bytes());
    // As many bits as an f64 holds.
    let own = hash.iter().take(6).fold(0.0, |number, byte| number * 256.0 + f64::from(*byte));
    let all = job.ranks.gather(&[own]);
    match all.iter().position(|other| Some(other) != all.first()) {
        None if all.len() > 1 && run.0.system == System::Wsma => {
            let expected = "one process for WSMA, which normalises patches over the samples of a batch".to_owned();
            Err(TrainError::Values { what: "mpirun", expected, found: all.len().to_string() })
        }
        None => Ok(()),
        Some(other) => {
            let expected = "the same settings and pictures on all ranks".to_owned();
            Err(TrainError::Values {
                what: "mpirun",
                expected,
                found: format!("others on rank {other} than on rank 0"),
            })
        }
    }
}

/// SHA-256 of the dataset's lists, its own folder aside: the same pictures in the same order.
pub(in crate::train) fn fingerprint(dataset: &Dataset) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    };
    let relative = |path: &Path| path.strip_prefix(&dataset.folder).unwrap_or(path).to_string_lossy().into_owned();
    dataset.affordances.iter().for_each(|name| add(name));
    for folder in &dataset.train {
        add(&format!("{} {} {}", folder.label, folder.exo.len(), folder.ego.len()));
        folder.exo.iter().chain(&folder.ego).for_each(|path| add(&relative(path)));
    }
    for item in &dataset.test {
        add(&format!("{} {}", item.label, relative(&item.picture)));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
