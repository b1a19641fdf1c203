//! Weights files into models, by name.

use std::{collections::BTreeMap, path::Path};

use tch::{Kind, Tensor, nn::VarStore};

use super::TrainError;
use crate::export::{layout, weights::Problems};

/// Copies a weights file into the parameters of these names.
///
/// `prefix`: what the model's names have before the file's, such as `vit_model.` for a DINO file. Parameters without it
/// keep their values. Concept clusters in the file are passed over; a batch counter may be missing.
///
/// # Errors
/// Not readable; or keys that are missing, unexpected or mis-shaped, all of them in one error. The parameters are then
/// as they were.
pub fn load(parameters: &VarStore, path: &Path, prefix: &str) -> Result<(), TrainError> {
    let read = |source| TrainError::Read { path: path.to_owned(), source };
    let file: BTreeMap<String, Tensor> = Tensor::read_safetensors(path).map_err(read)?.into_iter().collect();
    let mut model: BTreeMap<String, Tensor> = parameters.variables().into_iter().collect();
    model.retain(|name, _| name.starts_with(prefix));

    let problems = compare(&model, &file, prefix);
    if problems != Problems::default() {
        return Err(TrainError::Weights { path: path.to_owned(), problems: Box::new(problems) });
    }
    tch::no_grad(|| {
        for (key, value) in &file {
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
