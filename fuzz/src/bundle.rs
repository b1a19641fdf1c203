//! `onnx` and `bundle_load`: the ONNX file of a bundle, before ONNX Runtime sees it and after.

use std::{path::Path, sync::LazyLock};

use looptrans_ros::{
    contract::{Bundle, MODEL_FILE},
    onnx,
    perceive::infer::Model,
};

use super::{edit, models};

/// The contract that any bytes are held against, with the sound file of it.
static COLOURS: LazyLock<Bundle> = LazyLock::new(models::colours);
/// A network with everything that export writes.
static TOY: LazyLock<Bundle> = LazyLock::new(|| models::seeded("toy"));

/// Any bytes as the file that COLOURS describes.
pub fn onnx(bytes: &[u8]) {
    if let Err(error) = onnx::check(bytes, &COLOURS.contract, Path::new(MODEL_FILE)) {
        super::assert_readable(&error);
    }
}

/// Loads and runs what passes the checks: the bytes themselves (first byte 0), or a sound model with edits.
pub fn bundle_load(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let (sound, onnx) = match kind % 3 {
        0 => (&*COLOURS, rest.to_vec()),
        1 => (&*COLOURS, edit::edited(&COLOURS.onnx, rest)),
        _ => (&*TOY, edit::edited(&TOY.onnx, rest)),
    };
    if onnx::check(&onnx, &sound.contract, Path::new(MODEL_FILE)).is_err() {
        return;
    }
    let bundle = Bundle { folder: sound.folder.clone(), contract: sound.contract.clone(), onnx };
    let mut model = match Model::load(&bundle, &models::on_cpu()) {
        Ok(model) => model,
        Err(error) => return super::assert_readable(&error),
    };
    let input = sound.contract.input;
    let picture: Vec<u8> = (0..input.height * input.width * 3).map(|k| (k * 7 % 251) as u8).collect();
    match model.run(&picture) {
        Ok(answer) => {
            let (actions, size) = (sound.contract.actions.len(), sound.contract.heatmap);
            assert_eq!(answer.presence.len(), actions);
            assert_eq!(answer.maps.len(), actions * size.height as usize * size.width as usize);
            assert!(answer.presence.iter().all(|presence| (0.0..=1.0).contains(presence)));
            assert!(answer.maps.iter().all(|value| value.is_finite()));
        }
        Err(error) => super::assert_readable(&error),
    }
}
