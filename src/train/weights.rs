//! Weights files into models, by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use tch::{Device, Kind, Tensor, nn::VarStore};

use super::{
    TrainError,
    concepts::{ConceptSizes, Concepts},
};
use crate::{
    convert::{ClusterSizes, Expected, cluster_entries},
    export::{layout, weights::Problems},
};

/// Copies a weights file into the parameters of these names.
///
/// `prefix`: what the model's names have before the file's, such as `vit_model.` for a DINO file. Parameters without it
/// keep their values. Concept clusters in the file are passed over; a batch counter may be missing.
///
/// # Errors
/// Not readable; or keys that are missing, unexpected, mis-shaped or not finite, all of them in one error. The parameters are then
/// as they were.
pub fn load(parameters: &VarStore, path: &Path, prefix: &str) -> Result<(), TrainError> {
    assign(parameters, &read(path)?, path, prefix)
}

/// A concept generator with the values of a file: a converted cluster file, or a whole LoopTrans model that has its
/// clusters (`cluster.*`) with it.
///
/// # Errors
/// Not readable, no clusters in it, or clusters that do not fit together.
pub fn load_concepts(path: &Path) -> Result<(VarStore, Concepts), TrainError> {
    let mut file = read(path)?;
    file.retain(|key, _| layout::is_cluster(key));
    let sizes = concept_sizes(&file, path)?;
    let parameters = VarStore::new(Device::Cpu);
    let concepts = Concepts::new(&(parameters.root() / "cluster"), sizes)?;
    assign(&parameters, &file, path, "")?;
    Ok((parameters, concepts))
}

fn concept_sizes(file: &BTreeMap<String, Tensor>, path: &Path) -> Result<ConceptSizes, TrainError> {
    let sides = |key: &str| match file.get(key).map(Tensor::size).as_deref() {
        Some(&[rows, columns]) => Ok((rows, columns)),
        _ => {
            let problems = Problems { missing: vec![format!("{key} of two axes")], ..Problems::default() };
            Err(TrainError::Weights { path: path.to_owned(), problems: Box::new(problems) })
        }
    };
    let (parts, dim) = sides("cluster.tokens.weight")?;
    let (hidden, _) = sides("cluster.ffn_layers.0.net.0.weight")?;
    let index = |key: &'_ String| key.strip_prefix("cluster.norm_layers.")?.split('.').next().map(str::to_owned);
    // Counted, not the highest number: a key may name any.
    let layers = file.keys().filter_map(index).collect::<BTreeSet<_>>().len() as i64;
    // Before anything is allocated by these sizes.
    let mut problems = Problems::default();
    let side = |side: i64| side as u64;
    let sizes = ClusterSizes { dim: side(dim), parts: side(parts), layers: layers as usize, hidden: side(hidden) };
    for Expected { key, shape } in cluster_entries(&sizes) {
        let shape: Vec<i64> = shape.into_iter().map(|side| side as i64).collect();
        let found = file.get(&key).map(Tensor::size);
        problems.compare_shape(key, &shape, found.as_deref());
    }
    if problems != Problems::default() {
        return Err(TrainError::Weights { path: path.to_owned(), problems: Box::new(problems) });
    }
    Ok(ConceptSizes { dim, parts, layers, hidden, ..ConceptSizes::PUBLISHED })
}

pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Tensor>, TrainError> {
    let tensors = Tensor::read_safetensors(path);
    Ok(tensors.map_err(|source| TrainError::Read { path: path.to_owned(), source })?.into_iter().collect())
}

pub(super) fn assign(
    parameters: &VarStore,
    file: &BTreeMap<String, Tensor>,
    path: &Path,
    prefix: &str,
) -> Result<(), TrainError> {
    let mut model: BTreeMap<String, Tensor> = parameters.variables().into_iter().collect();
    model.retain(|name, _| name.starts_with(prefix));

    let problems = compare(&model, file, prefix);
    if problems != Problems::default() {
        return Err(TrainError::Weights { path: path.to_owned(), problems: Box::new(problems) });
    }
    tch::no_grad(|| {
        for (key, value) in file {
            if let Some(parameter) = model.get_mut(&format!("{prefix}{key}")) {
                parameter.copy_(value);
            }
        }
    });
    Ok(())
}

fn compare(model: &BTreeMap<String, Tensor>, file: &BTreeMap<String, Tensor>, prefix: &str) -> Problems {
    let mut problems = Problems::default();
    for (name, parameter) in model {
        let key = name.strip_prefix(prefix).unwrap_or(name);
        match file.get(key) {
            None if layout::is_counter(key) => {}
            None => problems.missing.push(key.to_owned()),
            Some(value) if value.size() != parameter.size() || value.kind() != parameter.kind() => {
                let (expected, found) = (describe(parameter), describe(value));
                problems.mis_shaped.push(format!("{key} (expected {expected}, found {found})"));
            }
            Some(value) if value.isfinite().all().int64_value(&[]) == 0 => problems.not_finite.push(key.to_owned()),
            Some(_) => {}
        }
    }
    let known = |key: &&String| layout::is_cluster(key) || model.contains_key(&format!("{prefix}{key}"));
    problems.unexpected = file.keys().filter(|key| !known(key)).cloned().collect();
    problems
}

fn describe(tensor: &Tensor) -> String {
    let kind = match tensor.kind() {
        Kind::Float => "F32".to_owned(),
        Kind::Int64 => "I64".to_owned(),
        other => format!("{other:?}"),
    };
    format!("{kind} {:?}", tensor.size())
}
