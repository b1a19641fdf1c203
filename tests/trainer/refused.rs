//! What stops a run, and what is left then.

use std::{collections::BTreeMap, fs};

use looptrans_ros::{
    convert::ActionList,
    train::{
        TrainError,
        ranks::Alone,
        run::{Device, Job, Plan},
    },
};

use super::support::{Fixture, LIMITS, exists, flat, settings};

#[test]
fn a_loss_that_is_no_number_stops_the_run_at_its_last_good_checkpoint() {
    let fixture = Fixture::new();
    let plan = fixture.plan("run", &["optimizer.lr=1e30"]).unwrap();
    let error = fixture.train(plan, usize::MAX).unwrap_err();
    let TrainError::NotFinite { term, step, checkpoint, .. } = &error else { panic!("{error}") };
    assert!(*step > 1, "the first step is computed on sound parameters: {error}");
    assert!(error.to_string().contains(term.as_str()) && error.to_string().contains("last.safetensors"), "{error}");
    assert!(!exists(&fixture.path("run/weights.safetensors")));
    // It is the state before the first step, which the run can be taken up from.
    let outcome = fixture.train(Plan::resume(checkpoint.parent().unwrap(), None).unwrap(), 1).unwrap();
    assert_eq!((outcome.state.epoch, outcome.state.step), (0, 1));
}

#[test]
fn weights_that_are_no_numbers_are_not_written() {
    let fixture = Fixture::new();
    // One step: no later loss shows what it led to.
    let plan = fixture.plan("run", &["optimizer.lr=1e38", "batch=10", "epochs=1"]).unwrap();
    let error = fixture.train(plan, usize::MAX).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { epoch: 1, step: 1, .. }), "{error}");
    assert!(error.to_string().contains("in a new --out"), "{error}");
    assert!(!exists(&fixture.path("run/weights.safetensors")) && !exists(&fixture.path("run/best.safetensors")));
    let last = tch::Tensor::read_safetensors(fixture.path("run/last.safetensors")).unwrap();
    assert!(last.iter().all(|(_, tensor)| tensor.isfinite().all().int64_value(&[]) == 1));
}

#[test]
fn a_run_is_not_overwritten_by_a_new_one() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), 1).unwrap();
    let error = fixture.plan("run", &[]).unwrap_err().to_string();
    assert!(error.contains("--resume"), "{error}");
    // Nor is one's result, which may be the backbone of the next.
    fs::rename(fixture.path("run/last.safetensors"), fixture.path("run/weights.safetensors")).unwrap();
    let error = fixture.plan("run", &[]).unwrap_err().to_string();
    assert!(error.contains("run/weights.safetensors") && error.contains("another --out"), "{error}");
}

#[test]
fn a_run_that_another_process_is_at_is_left_alone() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &[]).unwrap(), 1).unwrap();
    let lock = fs::File::open(fixture.path("run/.lock")).unwrap();
    lock.try_lock().unwrap();
    let resume = || fixture.train(Plan::resume(&fixture.path("run"), None).unwrap(), 1);
    let error = resume().unwrap_err().to_string();
    assert!(error.contains("nobody else is writing to"), "{error}");
    lock.unlock().unwrap();
    resume().unwrap();
}

#[test]
fn a_run_goes_on_for_no_fewer_epochs_than_were_begun() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &["epochs=2"]).unwrap(), usize::MAX).unwrap();
    for (epochs, expected) in
        [(0, "epochs: expected at least 1"), (1, "epochs: expected at least 2, as many as were begun")]
    {
        let error = Plan::resume(&fixture.path("run"), Some(epochs)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    Plan::resume(&fixture.path("run"), Some(2)).unwrap();
}

#[test]
fn other_pictures_do_not_go_on_with_a_run() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &[]).unwrap(), 1).unwrap();
    fs::remove_file(fixture.path("data/trainset/exocentric/cut/knife/3.png")).unwrap();
    let plan = Plan::resume(&fixture.path("run"), None).unwrap();
    let error = fixture.train(plan, 1).unwrap_err().to_string();
    assert!(error.contains("expected the pictures that"), "{error}");
}

#[test]
fn a_place_that_cannot_be_written_to_is_named_before_training() {
    let fixture = Fixture::new();
    fs::write(fixture.path("file"), "").unwrap();
    let error = Plan::new(settings(&[]), &fixture.backbone(), &fixture.path("file").join("run")).unwrap_err();
    assert!(error.to_string().starts_with("train: cannot create"), "{error}");
}

#[test]
fn a_picture_that_cannot_be_read_is_named() {
    let fixture = Fixture::new();
    let picture = fixture.path("data/trainset/egocentric/cut/knife/0.png");
    for n in 0..4 {
        fs::write(picture.with_file_name(format!("{n}.png")), b"").unwrap();
    }
    let error = fixture.train(fixture.plan("run", &[]).unwrap(), usize::MAX).unwrap_err().to_string();
    assert!(error.contains("trainset/egocentric/cut/knife/"), "{error}");
}

#[test]
fn a_folder_without_anything_to_train_on_is_named() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.path("data/trainset")).unwrap();
    let error = fixture.train(fixture.plan("run", &[]).unwrap(), 1).unwrap_err().to_string();
    assert!(error.contains("no exocentric pictures to train on"), "{error}");
}

#[test]
fn a_gpu_that_is_not_there_is_refused() {
    let fixture = Fixture::new();
    let (dataset, stop) = (fixture.dataset(), false.into());
    let job = Job { dataset: &dataset, device: Device::Cuda(63), limits: LIMITS, stop: &stop, ranks: &Alone };
    let error = fixture.plan("run", &[]).unwrap().train(&job, &mut |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("train: device: expected cpu, or CUDA's GPU 63, found"), "{error}");
}

#[test]
fn a_backbone_of_something_else_is_refused() {
    let fixture = Fixture::new();
    let backbone = fixture.path("other.safetensors");
    for (bytes, expected) in [(&b"no tensors"[..], "expected safetensors"), (&b""[..], "expected safetensors")] {
        fs::write(&backbone, bytes).unwrap();
        let plan = Plan::new(settings(&[]), &backbone, &fixture.path("run")).unwrap();
        let error = fixture.train(plan, 1).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let plan = Plan::new(settings(&[]), &fixture.path("none"), &fixture.path("run")).unwrap();
    assert!(fixture.train(plan, 1).unwrap_err().to_string().starts_with("train: cannot read"));
    let clusters = format!("looptrans.clusters={}", fixture.backbone().display());
    let error = fixture.train(fixture.plan("run", &[&clusters]).unwrap(), 1).unwrap_err().to_string();
    assert!(error.contains("cluster.tokens.weight"), "{error}");
}

#[test]
fn a_backbone_whose_tensors_do_not_fit_together_is_refused_by_name() {
    let fixture = Fixture::new();
    let file = fixture.path("dino.safetensors");
    let zeros = |shape: &[i64]| tch::Tensor::zeros(shape, (tch::Kind::Float, tch::Device::Cpu));
    let error = |change: &dyn Fn(&mut BTreeMap<String, tch::Tensor>)| {
        flat(&fixture.backbone(), &file, |tensors| change(tensors));
        let plan = Plan::new(settings(&[]), &file, &fixture.path("run")).unwrap();
        fixture.train(plan, 1).unwrap_err().to_string()
    };
    let found = error(&|tensors| drop(tensors.remove("cls_token")));
    assert!(found.contains("1 missing: cls_token") && found.contains("dino.safetensors"), "{found}");
    // Enough to take all memory, were it believed.
    let found =
        error(&|tensors| drop(tensors.insert("patch_embed.proj.weight".to_owned(), zeros(&[1, 1, 1, 400_000]))));
    assert!(found.contains("patch_embed.proj.weight (expected [48, 3, 400000, 400000]"), "{found}");
    let found = error(&|tensors| drop(tensors.insert("pos_embed".to_owned(), zeros(&[1, 48, 48]))));
    assert!(found.contains("1 + a square number"), "{found}");
    let found = error(&|tensors| drop(tensors.insert("blocks.0.norm1.bias".to_owned(), zeros(&[48]) * f64::NAN)));
    assert!(found.contains("1 not finite: blocks.0.norm1.bias"), "{found}");
}

#[test]
fn weights_are_no_checkpoint() {
    let fixture = Fixture::new();
    fs::copy(fixture.backbone(), fixture.path("run/last.safetensors")).unwrap();
    let error = Plan::resume(&fixture.path("run"), None).unwrap_err().to_string();
    assert!(error.contains("expected a checkpoint of looptrans train"), "{error}");
}

#[test]
fn the_settings_of_the_project_name_lists_that_exist() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/config/train");
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let settings = looptrans_ros::train::settings::Settings::read(&text, "file", &[]).unwrap();
        assert!(ActionList::read(&settings.data.affordances.unwrap()).unwrap().split.is_some());
    }
}

#[cfg(not(feature = "distributed"))]
#[test]
fn one_of_several_processes_is_refused_in_a_build_that_knows_no_others() {
    let fixture = Fixture::new();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_looptrans"));
    command.arg("train").arg(fixture.data()).arg("--backbone").arg(fixture.backbone());
    command.arg("--out").arg(fixture.path("run")).env("OMPI_COMM_WORLD_SIZE", "2");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("--features distributed"), "{text}");
    assert!(!exists(&fixture.path("run/last.safetensors")));
}
