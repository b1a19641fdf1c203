//! Exported graphs in ONNX Runtime against the same weights on libtorch.

use std::path::Path;

use looptrans_ros::{
    contract::{Parity, PresenceSource, ReferenceKind, Size},
    export::{
        bundle::{self, Settings},
        layout::Network,
        rewrites::Rewrites,
        seeded::Architecture,
        weights::Weights,
    },
    parity::{
        self,
        pictures::Pictures,
        reference::{Origin, Reference},
    },
    perceive::infer::{InferSettings, Model, ProviderChoice},
};

use crate::export_support::{ACTIONS, Tensors, description, seeded_tensors, write_weights};

/// The bar of every fp32 export, as a part of the class maps' range.
const BAR: f64 = 1e-4;

fn on_cpu() -> InferSettings {
    InferSettings { provider: ProviderChoice::Cpu, intra_op_threads: 2, ..InferSettings::default() }
}

/// Exports the weights file and compares it with libtorch.
fn compare(file: &Path, settings: &Settings, pictures: usize) -> Parity {
    let weights = Weights::read(file, settings.presence).unwrap();
    let bundle = bundle::build(&weights, Path::new("bundle"), settings).unwrap();
    let origin = Origin { weights_file: file, weights: &weights, settings };
    let mut reference = Reference::best(origin, &on_cpu()).unwrap();
    assert_eq!(reference.kind(), ReferenceKind::Libtorch);
    let mut candidate = Model::load(&bundle, &on_cpu()).unwrap();
    let pictures = Pictures::drawn(pictures, bundle.contract.input);
    let parity = parity::compare(&mut reference, &mut candidate, &pictures, BAR).unwrap();
    println!("{}x{}: {parity:?}", bundle.contract.input.height, bundle.contract.input.width);
    parity
}

fn seeded(shape: Architecture) -> Tensors {
    seeded_tensors(&shape.sizes(ACTIONS.len()))
}

fn toy() -> Architecture {
    Architecture::named("toy").unwrap()
}

fn square(side: u32) -> Option<Size> {
    Some(Size { height: side, width: side })
}

/// The width of ViT-S/16, of whose twelve blocks two: all of them take minutes here. (`looptrans export --parity 50`
/// with all twelve, seeded: 1.5e-6 of the range at 224, 2.3e-6 at 448.)
#[test]
fn fifty_pictures_at_224_and_448_are_within_the_bar() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    let shape = Architecture { name: "two blocks", dim: 384, depth: 2, heads: 6, patch: 16, grid: 14 };
    write_weights(&file, &seeded(shape), &description(&ACTIONS, shape.heads));
    for side in [224, 448] {
        let settings = Settings { input: square(side), ..Settings::new("two", PresenceSource::Scam) };
        let parity = compare(&file, &settings, 50);
        assert!(parity.holds() && parity.pictures == 50, "{parity:?}");
        assert!(parity.heatmap.max_abs > 0.0, "two runtimes that never differ are one");
        let heat = parity.heat.unwrap();
        assert!(heat.min_sim > 0.999 && heat.max_kld < 1e-4, "{heat:?}");
    }
}

#[test]
fn any_size_has_the_position_table_of_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("w.safetensors");
    // A table that decides the answer.
    let mut tensors = seeded(toy());
    let (_, table) = tensors.iter_mut().find(|(entry, _)| entry.key == "vit_model.pos_embed").unwrap();
    table.iter_mut().for_each(|value| *value *= 50.0);
    write_weights(&file, &tensors, &description(&ACTIONS, toy().heads));
    let mut seen = Vec::new();
    for (height, width) in [(56, 56), (112, 112), (40, 72), (72, 40), (64, 56), (8, 8), (160, 24)] {
        for rewrites in [Rewrites::standard(), Rewrites::none()] {
            let input = Some(Size { height, width });
            let settings = Settings { input, rewrites, ..Settings::new("toy", PresenceSource::Pixel) };
            let parity = compare(&file, &settings, 3);
            assert!(parity.heatmap.of_range < 1e-5, "{height}x{width}: {parity:?}");
            seen.push(parity.heatmap.of_range);
        }
    }
    assert!(seen.iter().any(|off| *off > 0.0));
}

#[test]
fn locate_and_both_sources_of_presence_agree_with_libtorch() {
    let folder = tempfile::tempdir().unwrap();
    let (file, locate) = (folder.path().join("w.safetensors"), folder.path().join("locate.safetensors"));
    let mut tensors = seeded(toy());
    write_weights(&file, &tensors, &description(&ACTIONS, toy().heads));
    for (entry, _) in &mut tensors {
        let locate = Network::Locate;
        entry.key = entry.key.replace("pixel_dec.", &format!("{}.", locate.pixel_branch()));
        entry.key = entry.key.replace("scam.", &format!("{}.", locate.scam_branch()));
    }
    write_weights(&locate, &tensors, &description(&ACTIONS, toy().heads));
    for file in [&file, &locate] {
        for presence in [PresenceSource::Scam, PresenceSource::Pixel] {
            let affordances = vec!["open".to_owned(), "cut".to_owned()];
            let parity = compare(file, &Settings { affordances, ..Settings::new("toy", presence) }, 3);
            assert!(parity.heatmap.of_range < 1e-5 && parity.presence.of_range < 1e-6, "{parity:?}");
        }
    }
    let network = |file: &Path| Weights::read(file, PresenceSource::Scam).unwrap().network;
    assert_eq!((network(&file), network(&locate)), (Network::LoopTrans, Network::Locate));
}
