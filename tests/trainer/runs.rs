//! Runs that go well.

use std::fs;

use looptrans_ros::{
    contract::PresenceSource,
    export::{
        bundle,
        weights::{Weights, describe},
    },
    train::run::{Event, Plan},
};

use super::support::{Fixture, SAMPLES, clusters, exists, flat, settings};

/// The total loss of each step of a run.
fn totals(fixture: &Fixture, out: &str, set: &[&str]) -> Vec<f64> {
    let mut totals = Vec::new();
    let outcome = fixture.watched(fixture.plan(out, set).unwrap(), usize::MAX, &mut |event| {
        if let Event::Step { total, .. } = event {
            totals.push(*total);
        }
    });
    assert!(outcome.unwrap().finished);
    totals
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn both_networks_learn() {
    let fixture = Fixture::new();
    for system in ["looptrans", "locate"] {
        let totals = totals(&fixture, system, &[&format!("system={system}"), "epochs=6"]);
        let steps = SAMPLES.div_ceil(4);
        assert_eq!(totals.len(), 6 * steps);
        let (first, last) = (mean(&totals[..steps]), mean(&totals[5 * steps..]));
        assert!(last < 0.8 * first, "{system}: {totals:?}");
    }
}

#[test]
fn a_resumed_run_is_the_run_that_was_not_interrupted() {
    let fixture = Fixture::new();
    for (name, set) in
        [("looptrans", vec!["accumulation=2", "save_every_steps=2"]), ("locate", vec!["system=locate", "epochs=3"])]
    {
        let [straight, resumed] = ["straight", "resumed"].map(|way| format!("{name}/{way}"));
        fixture.train(fixture.plan(&straight, &set).unwrap(), usize::MAX).unwrap();

        // In the second epoch, then at the end of its last step, before its test.
        let stopped = fixture.train(fixture.plan(&resumed, &set).unwrap(), 4).unwrap();
        assert!(!stopped.finished && (stopped.state.epoch, stopped.state.step) == (1, 1), "{:?}", stopped.state);
        let stopped = fixture.train(Plan::resume(&fixture.path(&resumed), None).unwrap(), 2).unwrap();
        assert!(!stopped.finished && (stopped.state.epoch, stopped.state.step) == (1, 3), "{:?}", stopped.state);
        // As if it had been killed: a line that no checkpoint knows of, cut off.
        let metrics = fixture.path(&format!("{resumed}/metrics.csv"));
        fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "9,1,0.001,1\n2,3,0.0").unwrap();
        let ended = fixture.train(Plan::resume(&fixture.path(&resumed), None).unwrap(), usize::MAX).unwrap();
        assert!(ended.finished);

        for file in ["weights.safetensors", "best.safetensors", "last.safetensors", "metrics.csv"] {
            let [a, b] = [&straight, &resumed].map(|way| fixture.bytes(&format!("{way}/{file}")));
            assert!(a == b, "{name}: {file} differs");
        }
    }
}

#[test]
fn trained_clusters_go_with_the_checkpoint() {
    let fixture = Fixture::new();
    let file = fixture.path("clusters.safetensors");
    clusters(&file);
    let key = format!("looptrans.clusters={}", file.display());
    let [straight, resumed] = ["straight", "resumed"].map(|out| fixture.plan(out, &[&key, "epochs=1"]).unwrap());
    fixture.train(straight, usize::MAX).unwrap();
    fixture.train(resumed, 2).unwrap();
    fs::remove_file(file).unwrap();
    let ended = fixture.train(Plan::resume(&fixture.path("resumed"), None).unwrap(), usize::MAX).unwrap();
    assert!(ended.finished);
    let [a, b] = ["straight", "resumed"].map(|out| fixture.bytes(&format!("{out}/weights.safetensors")));
    assert!(a == b, "the resumed run found other parts");
    fixture.train(fixture.plan("k-means", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    let [a, b] = ["straight", "k-means"].map(|out| fixture.bytes(&format!("{out}/metrics.csv")));
    assert_ne!(a, b, "the clusters make no difference");
}

#[test]
fn another_seed_is_another_run_and_the_same_seed_the_same() {
    let fixture = Fixture::new();
    let [a, b, c] =
        [("a", "seed=1"), ("b", "seed=1"), ("c", "seed=2")].map(|(out, seed)| totals(&fixture, out, &[seed]));
    assert_eq!(a, b);
    assert_ne!(a, c);
}

#[test]
fn a_finished_run_goes_on_where_more_epochs_are_asked_for() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &[]).unwrap(), usize::MAX).unwrap();
    let outcome = fixture.train(Plan::resume(&fixture.path("run"), Some(3)).unwrap(), usize::MAX).unwrap();
    assert!(outcome.finished && outcome.state.scores.len() == 3);
}

#[test]
fn the_backbone_stays_as_it_was_and_the_heads_do_not() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    let [before, after] = [fixture.backbone(), fixture.path("run/weights.safetensors")]
        .map(|path| Weights::read(&path, PresenceSource::Scam).unwrap());
    for key in ["vit_model.pos_embed", "vit_model.blocks.1.attn.qkv.weight", "vit_model.patch_embed.proj.bias"] {
        assert_eq!(before.get(key).unwrap(), after.get(key).unwrap(), "{key}");
    }
    for key in ["aff_fc.weight", "pixel_dec.0.weight", "scam.4.running_mean"] {
        assert_ne!(before.get(key).unwrap(), after.get(key).unwrap(), "{key}");
    }
}

#[test]
fn the_weights_export_as_they_are() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    for file in ["weights", "best"] {
        let weights = fixture.path(&format!("run/{file}.safetensors"));
        let (description, sizes) = describe(&weights).unwrap();
        assert_eq!((description.actions, description.trained), (vec!["cut".to_owned(), "hold".to_owned()], true));
        assert!(description.source.starts_with("LoopTrans trained on "), "{}", description.source);
        assert_eq!((sizes.channels, sizes.heads), (17, 3));
        let settings = bundle::Settings::new("toy", PresenceSource::Scam);
        let contract = bundle::write(&weights, &fixture.path(&format!("bundles/{file}")), &settings).unwrap();
        assert!(contract.provenance.trained);
    }
}

#[test]
fn weights_whose_exported_maps_no_loss_trained_on_an_action_are_not_called_trained() {
    let fixture = Fixture::new();
    let without = ["epochs=1", "looptrans.ablation.pixel=false", "looptrans.ablation.denoise=false"];
    for (shared_cam, trained) in
        [("looptrans.ablation.shared_cam=true", false), ("looptrans.ablation.shared_cam=false", true)]
    {
        let out = fixture.path(shared_cam);
        fixture.train(fixture.plan(shared_cam, &[&without[..], &[shared_cam]].concat()).unwrap(), usize::MAX).unwrap();
        let (description, _) = describe(&out.join("weights.safetensors")).unwrap();
        assert_eq!(description.trained, trained, "{shared_cam}");
        assert_eq!(description.source.contains("but P on no action"), !trained, "{}", description.source);
    }
}

#[test]
fn metrics_hold_a_line_for_every_step_and_every_test() {
    let fixture = Fixture::new();
    let outcome = fixture.train(fixture.plan("run", &[]).unwrap(), usize::MAX).unwrap();
    let text = String::from_utf8(fixture.bytes("run/metrics.csv")).unwrap();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 1 + 2 * (SAMPLES.div_ceil(4) + 1));
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let column = |name: &str| rows[0].iter().position(|cell| *cell == name).unwrap();
    let test = rows.last().unwrap();
    let kld: f64 = test[column("test_kld")].parse().unwrap();
    assert_eq!(kld, outcome.state.scores[1].unwrap().kld);
    assert_eq!((test[column("test_items")], test[column("total")]), ("4", ""));
    // The total is the terms' weighted sum.
    let value = |name: &str| rows[1][column(name)].parse::<f64>().unwrap();
    let expected = value("ego_cls")
        + value("exo_cls")
        + 10.0 * value("mse")
        + 2.0 * value("dice")
        + 1.5 * value("corr")
        + 0.05 * value("dill")
        + 0.07 * value("con");
    assert!((value("total") - expected).abs() < 1e-4, "{} {expected}", value("total"));
}

#[test]
fn the_rows_of_the_ablation_train() {
    let fixture = Fixture::new();
    let key = "looptrans.ablation";
    for (row, off) in [("baseline", vec!["shared_cam", "pixel", "denoise"]), ("cam", vec!["pixel", "denoise"])] {
        let set: Vec<String> = off.iter().map(|name| format!("{key}.{name}=false")).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).chain(["epochs=1"]).collect();
        fixture.train(fixture.plan(row, &set).unwrap(), usize::MAX).unwrap();
        // Without denoising there are no noise heads.
        let (_, sizes) = describe(&fixture.path(&format!("{row}/weights.safetensors"))).unwrap();
        assert_eq!(sizes.channels, 2);
    }
}

#[test]
fn the_maps_that_are_asked_for_are_tested() {
    let fixture = Fixture::new();
    let scores = ["pixel", "scam"].map(|maps| {
        let tested = format!("looptrans.ablation.tested={maps}");
        let plan = fixture.plan(maps, &["epochs=1", &tested]).unwrap();
        fixture.train(plan, usize::MAX).unwrap().state.scores[0].unwrap()
    });
    assert_ne!(scores[0], scores[1]);
    let [a, b] = ["pixel", "scam"].map(|maps| fixture.bytes(&format!("{maps}/weights.safetensors")));
    assert!(a == b, "what is tested changes training");
}

#[test]
fn data_without_tests_trains_and_has_no_best_weights() {
    let fixture = Fixture::new();
    fs::remove_dir_all(fixture.path("data/testset")).unwrap();
    let outcome = fixture.train(fixture.plan("run", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    assert!(outcome.finished && outcome.state.best().is_none());
    assert!(exists(&fixture.path("run/weights.safetensors")) && !exists(&fixture.path("run/best.safetensors")));
}

#[test]
fn the_report_shows_curves_scores_and_pictures_and_needs_no_other_file() {
    let fixture = Fixture::new();
    fixture.train(fixture.plan("run", &[]).unwrap(), usize::MAX).unwrap();
    let html = String::from_utf8(fixture.bytes("run/report.html")).unwrap();
    // Seven terms, their total and three scores; picture, heat and truth of four items.
    assert_eq!(html.matches("<svg").count(), 11);
    assert_eq!(html.matches("<img").count(), 12);
    assert_eq!(html.matches("src=").count(), html.matches("src=\"data:image/png;base64,").count());
    assert!(!html.contains("http") && !html.contains("<script") && !html.contains("href"), "something else is loaded");
    for expected in ["<td>cut<td>", "<td>hold<td>", "<tr class=best>", "knife", "noise_heads: 15"] {
        assert!(html.contains(expected), "{expected}");
    }
}

#[test]
fn a_backbone_alone_serves_as_one_within_a_model() {
    let fixture = Fixture::new();
    let alone = fixture.path("dino.safetensors");
    flat(&fixture.backbone(), &alone, |_| {});
    fixture.train(fixture.plan("whole", &["epochs=1"]).unwrap(), usize::MAX).unwrap();
    let plan = Plan::new(settings(&["epochs=1"]), &alone, &fixture.path("alone")).unwrap();
    fixture.train(plan, usize::MAX).unwrap();
    assert!(fixture.bytes("whole/weights.safetensors") == fixture.bytes("alone/weights.safetensors"));
}
