//! Concept clusters, trained on drawn pictures.

use std::{
    fs,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use looptrans_ros::train::{
    TrainError,
    cluster::{Event, Outcome, Plan, Settings},
    concepts::Assignment,
    ranks::Alone,
    run::{Device, Job},
    weights::load_concepts,
};

use super::support::{Fixture, LIMITS, exists};

/// Small and quick.
fn settings() -> Settings {
    Settings { steps: 12, batch: 4, lr: 1e-3, parts: 3, layers: 2, threads: 1, ..Settings::default() }
}

fn new(fixture: &Fixture, out: &str, settings: Settings) -> Result<Plan, TrainError> {
    Plan::new(settings, &fixture.backbone(), &fixture.path(out))
}

/// Trains, and stops after so many steps of this call; gives the modularity of each.
fn train(fixture: &Fixture, plan: Plan, steps: usize) -> Result<(Outcome, Vec<f64>), TrainError> {
    let (dataset, stop, mut found) = (fixture.dataset(), AtomicBool::new(false), Vec::new());
    let job = Job { dataset: &dataset, device: Device::Cpu, limits: LIMITS, stop: &stop, ranks: &Alone };
    let outcome = plan.train(&job, &mut |event| {
        if let Event::Step { modularity, .. } = event {
            found.push(*modularity);
            stop.store(found.len() >= steps, Ordering::Relaxed);
        }
    });
    outcome.map(|outcome| (outcome, found))
}

#[test]
fn modularity_rises_and_the_report_is_of_the_parts_found() {
    let fixture = Fixture::new();
    for (name, exo, variants, assignment) in
        [("kept", false, 2, Assignment::CosinePlusOne), ("live", true, 0, Assignment::Clamped)]
    {
        let settings = Settings { steps: 40, exo, variants, assignment, ..settings() };
        let (outcome, found) = train(&fixture, new(&fixture, name, settings).unwrap(), usize::MAX).unwrap();
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        assert!(mean(&found[30..]) > mean(&found[..5]), "{name}: {found:?}");
        let quality = outcome.quality.unwrap();
        // Of two actions: four egocentric pictures each, five exocentric ones.
        assert_eq!(quality.pictures, if exo { 18 } else { 8 });
        assert_eq!(quality.pictures_by_parts.iter().sum::<usize>(), quality.pictures);
        let parts = quality.pictures_by_parts.iter().enumerate().map(|(index, count)| (index + 1) * count);
        let mean = parts.sum::<usize>() as f64 / quality.pictures as f64;
        assert!((mean - quality.parts_used).abs() < 1e-9 && (1.0..=3.0).contains(&mean), "{quality:?}");
        assert!(quality.modularity.abs() < 1.0 && quality.modularity_of_k_means > 0.0, "{quality:?}");
        let sheet = image::open(fixture.path(&format!("{name}/parts.png"))).unwrap();
        let rows = quality.pictures.div_ceil(4) as u32;
        assert_eq!((sheet.width(), sheet.height()), (4 * 2 * 56, rows * 56));
    }
}

#[test]
fn a_resumed_run_is_the_run_that_was_not_interrupted() {
    let fixture = Fixture::new();
    for (name, variants) in [("kept", 2), ("live", 0)] {
        let [straight, resumed] = ["straight", "resumed"].map(|way| format!("{name}/{way}"));
        let settings = Settings { variants, save_every: 5, ..settings() };
        train(&fixture, new(&fixture, &straight, settings.clone()).unwrap(), usize::MAX).unwrap();
        let (stopped, _) = train(&fixture, new(&fixture, &resumed, settings).unwrap(), 7).unwrap();
        assert!(stopped.quality.is_none() && stopped.state.step == 7);
        // As if it had been killed: a line that no checkpoint knows of, cut off.
        let metrics = fixture.path(&format!("{resumed}/metrics.csv"));
        fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "8,0.001,0.1,1\n9,0.0").unwrap();
        train(&fixture, Plan::resume(&fixture.path(&resumed), None).unwrap(), usize::MAX).unwrap();
        for file in ["clusters.safetensors", "last.safetensors", "metrics.csv", "parts.png"] {
            let [a, b] = [&straight, &resumed].map(|way| fixture.bytes(&format!("{way}/{file}")));
            assert!(a == b, "{name}: {file} differs");
        }
    }
}

#[test]
fn the_program_s_clusters_train_looptrans() {
    let fixture = Fixture::new();
    let output = Command::new(env!("CARGO_BIN_EXE_looptrans"))
        .arg("cluster")
        .arg(fixture.data())
        .arg("--backbone")
        .arg(fixture.backbone())
        .arg("--out")
        .arg(fixture.path("clusters"))
        .args(["--steps", "2", "--batch", "2", "--layers", "2", "--threads", "1"])
        .output()
        .unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("MiB") && text.contains("parts used"), "{text}");
    let file = fixture.path("clusters/clusters.safetensors");
    let (parameters, _) = load_concepts(&file).unwrap();
    assert!(parameters.variables().keys().all(|key| key.starts_with("cluster.")));
    let clusters = format!("looptrans.clusters={}", file.display());
    let outcome = fixture.train(fixture.plan("run", &["epochs=1", &clusters]).unwrap(), usize::MAX).unwrap();
    assert!(outcome.finished);
}

#[test]
fn what_can_not_be_trained_is_refused() {
    let fixture = Fixture::new();
    let error = |settings: Settings| {
        let plan = new(&fixture, "refused", settings);
        plan.and_then(|plan| train(&fixture, plan, usize::MAX)).unwrap_err().to_string()
    };
    for (settings, expected) in [
        (Settings { steps: 0, ..settings() }, "steps: expected at least 1"),
        (Settings { lr: f64::NAN, ..settings() }, "lr: expected above 0, found NaN"),
        (Settings { parts: 1_000_000, ..settings() }, "parts: expected 1 to 64"),
        (Settings { lr: 1e300, steps: 1, ..settings() }, "last.safetensors holds the last good state"),
    ] {
        let found = error(settings);
        assert!(found.contains(expected), "{found}");
    }
    assert!(!exists(&fixture.path("refused/clusters.safetensors")));
    assert!(error(settings()).contains("--resume"), "a run is overwritten");
    // Another command's checkpoint.
    fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), 1).unwrap();
    let found = Plan::resume(&fixture.path("run"), None).unwrap_err().to_string();
    assert!(found.contains("expected a checkpoint of looptrans cluster"), "{found}");
}

#[test]
fn a_folder_is_one_run_s_alone() {
    let fixture = Fixture::new();
    let first = new(&fixture, "run", settings()).unwrap();
    let found = new(&fixture, "run", settings()).unwrap_err().to_string();
    assert!(found.contains("nobody else is writing to"), "{found}");
    assert!(train(&fixture, first, 1).unwrap().0.quality.is_none());
    let resume = || Plan::resume(&fixture.path("run"), None);
    let first = resume().unwrap();
    let found = resume().unwrap_err().to_string();
    assert!(found.contains("nobody else is writing to"), "{found}");
    drop(first);
    resume().unwrap();
}
