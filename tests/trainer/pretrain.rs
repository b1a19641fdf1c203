//! DINO: its parts by their definitions, and runs on drawn pictures.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use image::{Rgb, RgbImage};
use looptrans_ros::train::{
    TrainError,
    adamw::{AdamW, Rates},
    dino::{
        Architecture, Event, HeadSizes, Job, Outcome, Plan, Settings,
        crops::{crops, cut},
        gallery::Gallery,
        loss::{Monitors, loss, next_centre, teacher_softmax},
        neighbours::leave_one_out,
        network::Network,
        schedule::Schedule,
    },
    run::Device,
};
use tch::{Kind, Tensor};

use super::support::{Fixture, LIMITS, exists};

const ARCHITECTURE: Architecture = Architecture { dim: 48, depth: 2, heads: 3, patch: 8, side: 32, hidden: 96 };
const HEAD: HeadSizes = HeadSizes { hidden: 32, bottleneck: 16, prototypes: 24 };

/// Small and quick.
fn settings() -> Settings {
    Settings {
        architecture: ARCHITECTURE,
        head: HEAD,
        epochs: 3,
        batch: 4,
        local_crops: 2,
        local_side: 16,
        warmup_epochs: 1,
        threads: 1,
        save_every: 3,
        ..Settings::default()
    }
}

fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

/// Twelve pictures of two classes, ground truth beside them, and one without a class.
fn pictures(fixture: &Fixture) -> PathBuf {
    for (class, hue) in [("mug", 40_u8), ("pan", 220)] {
        for n in 0..6_u32 {
            let picture = RgbImage::from_fn(40, 36, |x, y| {
                let stripe = if class == "mug" { x } else { y };
                let ground = ((stripe * 29 + n * 13) % 120) as u8;
                Rgb([hue, ground, 255 - hue])
            });
            picture.save(fixture.path(&format!("pictures/seen/{class}/{n}.png"))).unwrap();
        }
    }
    let grey = RgbImage::from_pixel(8, 200, Rgb([90; 3]));
    grey.save(fixture.path("pictures/alone.JPG")).unwrap();
    grey.save(fixture.path("pictures/GT/mug/0.png")).unwrap();
    fs::write(fixture.path("pictures/notes.txt"), "no picture").unwrap();
    fixture.path("pictures")
}

/// Trains, and stops after so many steps of this call; gives the loss of each.
fn train(fixture: &Fixture, plan: Plan, steps: usize) -> Result<(Outcome, Vec<(f64, Monitors)>), TrainError> {
    let gallery = Gallery::open(&[pictures(fixture)])?;
    let (stop, mut found) = (AtomicBool::new(false), Vec::new());
    let job = Job { gallery: &gallery, device: Device::Cpu, limits: LIMITS, stop: &stop };
    let outcome = plan.train(&job, &mut |event| {
        if let Event::Step { loss, monitors, .. } = event {
            found.push((*loss, *monitors));
            stop.store(found.len() >= steps, Ordering::Relaxed);
        }
    });
    outcome.map(|outcome| (outcome, found))
}

fn random(shape: &[i64], offset: f64) -> Tensor {
    let count = shape.iter().product::<i64>();
    ((Tensor::arange(count, (Kind::Double, Device::Cpu)) * 1.7 + offset).sin() * 0.4).reshape(shape)
}

#[test]
fn the_loss_is_the_mean_cross_entropy_of_different_views_and_gives_the_teacher_no_gradient() {
    let (views, batch, prototypes) = (4_i64, 3_i64, 5_i64);
    let student = random(&[views, batch, prototypes], 0.3).set_requires_grad(true);
    let teacher = random(&[2, batch, prototypes], 1.1).set_requires_grad(true);
    let centre = random(&[prototypes], 2.0);
    let target = teacher_softmax(&teacher, &centre, 0.04);
    let found = loss(&student, &target).unwrap();

    let softmax = |row: Vec<f64>| {
        let sum: f64 = row.iter().map(|value| value.exp()).sum();
        row.iter().map(|value| value.exp() / sum).collect::<Vec<_>>()
    };
    let (mut expected, mut pairs, c) = (0.0, 0.0, values(&centre));
    for i in 0..2 {
        for j in (0..views).filter(|j| *j != i) {
            pairs += 1.0;
            for b in 0..batch {
                let t = values(&teacher.get(i).get(b));
                let p = softmax(t.iter().zip(&c).map(|(t, c)| (t - c) / 0.04).collect());
                let q = softmax(values(&student.get(j).get(b)).iter().map(|value| value / 0.1).collect());
                expected -= p.iter().zip(&q).map(|(p, q)| p * q.ln()).sum::<f64>() / batch as f64;
            }
        }
    }
    assert!((found.double_value(&[]) - expected / pairs).abs() < 1e-9);

    found.backward();
    assert!(!teacher.grad().defined());
    assert!(student.grad().abs().max().double_value(&[]) > 1e-3);
    assert!(loss(&student.narrow(0, 0, 1), &target).is_err() && loss(&student, &target.narrow(0, 0, 1)).is_err());
}

#[test]
fn the_centre_follows_the_mean_of_the_teacher_s_logits() {
    let logits = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 9.0, 7.0, 1.0_f64]).reshape([2, 2, 2]);
    let centre = next_centre(&Tensor::from_slice(&[10.0, -10.0_f64]), &logits);
    // Means 4 and 4.
    assert!(values(&centre).iter().zip([9.4, -8.6]).all(|(a, b)| (a - b).abs() < 1e-12), "{centre}");
}

#[test]
fn schedules_begin_and_end_as_they_should() {
    let settings = Settings { epochs: 10, warmup_epochs: 2, lr: 1e-3, momentum: 0.99, ..settings() };
    let schedule = Schedule::new(&settings, 7);
    let (first, warm, last) = (schedule.at(0), schedule.at(13), schedule.at(69));
    let near = |a: f64, b: f64| (a - b).abs() < 1e-12;
    assert!(near(first.rates.lr, 1e-3 / 14.0) && near(warm.rates.lr, 1e-3) && near(schedule.at(14).rates.lr, 1e-3));
    assert!(near(first.rates.weight_decay, 0.04) && near(first.momentum, 0.99));
    assert!(near(last.rates.lr, 1e-6) && near(last.rates.weight_decay, 0.4) && near(last.momentum, 1.0));
    let moments: Vec<_> = (0..70).map(|step| schedule.at(step)).collect();
    assert!(moments.windows(2).all(|two| two[0].momentum <= two[1].momentum));
    assert!(moments[14..].windows(2).all(|two| two[0].rates.lr >= two[1].rates.lr));
    assert_eq!(moments.iter().filter(|moment| moment.last_layer_frozen).count(), 7);
}

#[test]
fn the_teacher_begins_as_the_student_and_follows_it() {
    let mut student = Network::new(&ARCHITECTURE, HEAD, Device::Cpu);
    let mut teacher = student.teacher(&ARCHITECTURE, HEAD).unwrap();
    let key = "head.mlp.2.weight";
    let of = |network: &Network| values(&network.parameters.variables()[key]);
    let before = of(&student);
    assert_eq!(before, of(&teacher));
    assert!(teacher.parameters.variables().values().all(|value| !value.requires_grad()));
    tch::no_grad(|| {
        let _ = student.parameters.variables().get_mut(key).unwrap().g_add_scalar_(1.0);
    });
    teacher.follow(&student, 0.75);
    assert!(of(&teacher).iter().zip(&before).all(|(now, before)| (now - before - 0.25).abs() < 1e-6));
    // Other sizes than the trained one: small views.
    let (cls, logits) = student.forward(&Tensor::rand([2, 3, 16, 16], (Kind::Float, Device::Cpu))).unwrap();
    assert_eq!((cls.size(), logits.size()), (vec![2, 48], vec![2, 24]));
    assert!(logits.abs().max().double_value(&[]) <= 1.0 + 1e-5, "cosines");
    student.parameters.freeze();
}

#[test]
fn views_have_their_sizes_and_follow_from_their_seeds() {
    let picture = RgbImage::from_fn(90, 50, |x, y| Rgb([x as u8 * 2, y as u8 * 5, 100]));
    let views = crops(32, 16, 3);
    assert_eq!(views.iter().map(|view| view.side).collect::<Vec<_>>(), [32, 32, 16, 16, 16]);
    for view in &views {
        let [a, b, c] = [1, 1, 2].map(|seed| cut(&picture, view, seed).unwrap());
        assert_eq!(a.len(), 3 * (view.side * view.side) as usize);
        assert!(a == b && a != c);
    }
    for (width, height) in [(1, 1), (1, 500), (500, 1), (3, 2)] {
        for seed in 0..20 {
            cut(&RgbImage::new(width, height), &views[4], seed).unwrap();
        }
    }
    assert!(cut(&RgbImage::new(0, 0), &views[0], 1).is_err());
}

#[test]
fn neighbours_name_classes_that_lie_apart_and_not_those_that_do_not() {
    let classes: Vec<i64> = (0..60).map(|index| index % 3).collect();
    let apart = Tensor::from_slice(&classes).one_hot(3).to_kind(Kind::Double) + random(&[60, 3], 0.2) * 0.3;
    let score = leave_one_out(&apart, &classes).unwrap();
    assert_eq!((score.accuracy, score.chance, score.pictures), (1.0, 20.0 / 60.0, 60));
    // All in one place but for what has nothing to do with the class.
    let mixed = leave_one_out(&random(&[60, 3], 0.2), &classes).unwrap();
    assert!(mixed.accuracy < 0.8, "{mixed:?}");
    assert!(leave_one_out(&apart, &classes[..1]).is_err());
}

#[test]
fn collapse_is_seen_in_each_of_its_forms() {
    let spread = Tensor::eye(24, (Kind::Double, Device::Cpu)).reshape([2, 12, 24]);
    let cls = random(&[24, 48], 0.7);
    let collapse = |cls: &Tensor, p: &Tensor| Monitors::new(cls, p).collapse(48, 24);
    assert_eq!(collapse(&cls, &spread), None);
    assert!(collapse(&cls.narrow(0, 0, 1).expand([24, 48], false), &spread).is_some());
    assert!(collapse(&cls, &spread.narrow(1, 0, 1).narrow(0, 0, 1).expand([2, 12, 24], false)).is_some());
    assert!(collapse(&cls, &Tensor::full([2, 12, 24], 1.0 / 24.0, (Kind::Double, Device::Cpu))).is_some());
}

#[test]
fn the_gallery_is_the_pictures_in_order_with_the_classes_that_folders_name() {
    let fixture = Fixture::new();
    let gallery = Gallery::open(&[pictures(&fixture)]).unwrap();
    assert_eq!(gallery.pictures.len(), 13);
    assert!(gallery.pictures[0].ends_with("alone.JPG") && gallery.pictures[12].ends_with("seen/pan/5.png"));
    let expected: Vec<(usize, i64)> = (1..13).map(|index| (index, i64::from(index > 6))).collect();
    assert_eq!(gallery.labelled(100), expected);
    assert_eq!(gallery.labelled(4), [(1, 0), (4, 0), (7, 1), (10, 1)]);
    let error = Gallery::open(&[fixture.path("pictures/GT/mug")]).map(|gallery| gallery.labelled(9));
    assert_eq!(error.unwrap(), []);
    fs::create_dir_all(fixture.path("empty/below")).unwrap();
    let error = Gallery::open(&[fixture.path("empty")]).unwrap_err().to_string();
    assert!(error.contains("no pictures"), "{error}");
}

#[test]
fn the_loss_falls_towards_what_the_teacher_says_of_the_same_views() {
    tch::manual_seed(5);
    let student = Network::new(&ARCHITECTURE, HEAD, Device::Cpu);
    let image = Tensor::from_slice(&values(&random(&[8, 3, 32, 32], 0.4))).to_kind(Kind::Float).reshape([8, 3, 32, 32]);
    let teacher = random(&[2, 4, 24], 0.9).to_kind(Kind::Float);
    let target =
        teacher_softmax(&teacher, &next_centre(&Tensor::zeros([24], (Kind::Float, Device::Cpu)), &teacher), 0.2);
    let mut optimizer = AdamW::new(&student.parameters, |value| value.dim() > 1);
    let losses: Vec<f64> = (0..60)
        .map(|_| {
            let logits = student.forward(&image).unwrap().1.reshape([2, 4, 24]);
            let found = loss(&logits, &target).unwrap();
            let gradients = optimizer.gradients(&found);
            optimizer.step(&gradients, Rates { lr: 1e-3, weight_decay: 0.04 });
            found.double_value(&[])
        })
        .collect();
    assert!(losses[59] < 0.95 * losses[0], "{losses:?}");
}

#[test]
fn nothing_collapses_in_a_run_and_metrics_hold_a_line_for_every_step_and_score() {
    let fixture = Fixture::new();
    let settings = Settings { epochs: 14, lr: 2e-3, momentum: 0.9, ..settings() };
    let plan = Plan::new(settings, None, &fixture.path("run")).unwrap();
    let (outcome, found) = train(&fixture, plan, usize::MAX).unwrap();
    assert!(outcome.finished && found.len() == 14 * 3);
    assert_eq!(found.last().unwrap().1.collapse(48, 24), None, "{found:?}");
    assert_eq!(outcome.state.scores.len(), 15);
    let score = outcome.state.scores[14].unwrap();
    assert_eq!((score.pictures, score.chance), (12, 0.5));
    let metrics = String::from_utf8(fixture.bytes("run/metrics.csv")).unwrap();
    assert_eq!(metrics.lines().count(), 1 + 42 + 15);
    let columns = |line: &str| line.split(',').count();
    assert!(metrics.lines().all(|line| columns(line) == 10), "{metrics}");
}

#[test]
fn a_resumed_run_is_the_run_that_was_not_interrupted() {
    let fixture = Fixture::new();
    let plan = |out: &str| Plan::new(settings(), None, &fixture.path(out)).unwrap();
    train(&fixture, plan("straight"), usize::MAX).unwrap();
    // In the second epoch, then at the end of it.
    let (stopped, _) = train(&fixture, plan("resumed"), 4).unwrap();
    assert!(!stopped.finished && stopped.state.step == 4);
    // As if it had been killed: a line that no checkpoint knows of, cut off.
    let metrics = fixture.path("resumed/metrics.csv");
    fs::write(&metrics, fs::read_to_string(&metrics).unwrap() + "5,2,0.1,,,,,,,\n6,2,0.0").unwrap();
    let resume = || Plan::resume(&fixture.path("resumed")).unwrap();
    let (stopped, _) = train(&fixture, resume(), 2).unwrap();
    assert!(!stopped.finished && stopped.state.step == 6 && stopped.state.scores.len() == 3);
    assert!(train(&fixture, resume(), usize::MAX).unwrap().0.finished);
    for file in ["backbone.safetensors", "last.safetensors", "metrics.csv"] {
        let [a, b] = ["straight", "resumed"].map(|way| fixture.bytes(&format!("{way}/{file}")));
        assert!(a == b, "{file} differs");
    }
}

#[test]
fn a_folder_is_one_run_s_alone() {
    let fixture = Fixture::new();
    let new = || Plan::new(settings(), None, &fixture.path("run"));
    let first = new().unwrap();
    let found = new().unwrap_err().to_string();
    assert!(found.contains("nobody else is writing to"), "{found}");
    train(&fixture, first, 1).unwrap();
    let resume = || Plan::resume(&fixture.path("run"));
    let first = resume().unwrap();
    let found = resume().unwrap_err().to_string();
    assert!(found.contains("nobody else is writing to"), "{found}");
    drop(first);
    resume().unwrap();
}

#[test]
fn the_program_s_backbone_trains_looptrans_and_can_be_trained_on() {
    let fixture = Fixture::new();
    let run = |out: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_looptrans"));
        command.arg("pretrain").arg(pictures(&fixture)).arg("--out").arg(fixture.path(out));
        command.args(["--epochs", "1", "--batch", "4", "--local-side", "16", "--local-crops", "1", "--threads", "1"]);
        command.args(["--prototypes", "16"]).args(more).output().unwrap()
    };
    let shape = ["--dim", "48", "--depth", "2", "--heads", "3", "--side", "56"];
    let output = run("dino", &shape);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("of 12 pictures named rightly"), "{text}");
    let backbone = fixture.path("dino/backbone.safetensors");
    let plan = looptrans_ros::train::run::Plan::new(
        super::support::settings(&["epochs=1"]),
        &backbone,
        &fixture.path("looptrans"),
    );
    assert!(fixture.train(plan.unwrap(), usize::MAX).unwrap().finished);

    let output = run("adapted", &["--init", backbone.to_str().unwrap(), "--lr", "0.0000001"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |file: &str| {
        let path = fixture.path(file);
        let tensors: std::collections::BTreeMap<String, Tensor> =
            Tensor::read_safetensors(path).unwrap().into_iter().collect();
        values(&tensors["blocks.1.attn.qkv.weight"])
    };
    let (a, b) = (read("dino/backbone.safetensors"), read("adapted/backbone.safetensors"));
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4) && a.len() == 3 * 48 * 48);

    // The same backbone for larger pictures: more positions, between the old ones.
    let output = run("larger", &["--init", backbone.to_str().unwrap(), "--side", "64", "--lr", "0.0000001"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let positions = |file: &str| {
        let tensors = Tensor::read_safetensors(fixture.path(file)).unwrap().into_iter();
        tensors.filter(|(key, _)| key == "pos_embed").map(|(_, table)| table).next().unwrap()
    };
    let (small, large) = (positions("dino/backbone.safetensors"), positions("larger/backbone.safetensors"));
    assert_eq!((small.size(), large.size()), (vec![1, 1 + 49, 48], vec![1, 1 + 64, 48]));
    let change = (small.narrow(1, 1, 1) - large.narrow(1, 1, 1)).abs().mean(None::<Kind>).double_value(&[]);
    assert!(change < 0.01, "the corner's position went elsewhere: {change}");

    if !tch::Cuda::is_available() {
        let output = run("gpu", &["--device", "cuda"]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains("CUDA") && !text.contains("panicked"), "{text}");
    }
}

#[test]
fn what_can_not_be_trained_is_refused() {
    let fixture = Fixture::new();
    let architecture = |change: fn(&mut Architecture)| {
        let mut settings = settings();
        change(&mut settings.architecture);
        settings
    };
    for (settings, expected) in [
        (architecture(|sizes| sizes.heads = 5), "dim: expected a multiple of 5, found 48"),
        (architecture(|sizes| sizes.side = 36), "side: expected a multiple of 8, found 36"),
        (architecture(|sizes| sizes.dim = usize::MAX), "dim: expected 1 to 4096"),
        (architecture(|sizes| sizes.patch = 0), "patch: expected 1 to 64, found 0"),
        (Settings { local_side: 15, ..settings() }, "local side: expected a multiple of 8"),
        (Settings { momentum: f64::NAN, ..settings() }, "momentum: expected 0 to 1, found NaN"),
        (Settings { head: HeadSizes { prototypes: -1, ..HEAD }, ..settings() }, "prototypes: expected 2 to"),
    ] {
        let found = Plan::new(settings, None, &fixture.path("refused")).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    assert!(!exists(&fixture.path("refused").join("last.safetensors")));
    let plan = Plan::new(Settings { lr: 1e30, ..settings() }, None, &fixture.path("run")).unwrap();
    let found = train(&fixture, plan, usize::MAX).unwrap_err().to_string();
    assert!(found.contains("last.safetensors holds the last good state"), "{found}");
    // One step: no later loss shows what it led to.
    let one = Settings { lr: 1e300, epochs: 1, batch: 1000, ..settings() };
    let found = train(&fixture, Plan::new(one, None, &fixture.path("one")).unwrap(), usize::MAX).unwrap_err();
    assert!(matches!(found, TrainError::NotFinite { epoch: 1, step: 1, .. }), "{found}");
    assert!(!exists(&fixture.path("one/backbone.safetensors")));
    // Other pictures do not go on with a run.
    let gallery = Gallery::open(&[fixture.data()]).unwrap();
    let job = Job { gallery: &gallery, device: Device::Cpu, limits: LIMITS, stop: &AtomicBool::new(false) };
    let found = Plan::resume(&fixture.path("run")).unwrap().train(&job, &mut |_| {}).unwrap_err().to_string();
    assert!(found.contains("found other pictures"), "{found}");
    fs::write(fixture.path("pictures/broken.png"), "no png").unwrap();
    let plan = Plan::new(settings(), None, &fixture.path("broken")).unwrap();
    let found = train(&fixture, plan, usize::MAX).unwrap_err().to_string();
    assert!(found.contains("broken.png"), "{found}");
}
