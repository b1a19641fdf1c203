//! WSMA: numbers of the published code, its prompts, and what is refused.

use looptrans_ros::{
    affordance::AGD20K_SEEN,
    convert::clip::TextSizes,
    train::{
        backbone::Grid,
        losses::wsma::{Weights, terms},
        wsma::{CONTEXT, DeepFeatures, Heat, PatchNorm, TextSource, Wsma, prompt_tokens},
    },
};
use tch::{Device, IndexOp, Kind, Tensor, nn::VarStore};

use crate::support::{LABELS, assert_close, assert_relative, seeded, small_16, uniform, values, view};

const GOLDEN: f64 = 1e-4;

fn seen() -> Vec<String> {
    AGD20K_SEEN.iter().map(|&action| action.to_owned()).collect()
}

fn published(patch_norm: PatchNorm) -> (VarStore, Wsma) {
    let prompts = prompt_tokens(&seen()).unwrap();
    let text = TextSource::Encoder(TextSizes::RN50, &prompts);
    let (parameters, model) = seeded(|root| Wsma::new(root, &small_16(0), &text, patch_norm).unwrap());
    let _ = tch::no_grad(|| parameters.variables()["logit_scale"].shallow_clone().fill_(2.6593));
    model.set_bases(&((uniform("ham.bases", &[1, 512, 64]) + 1.0) / 2.0)).unwrap();
    (parameters, model)
}

fn deep(tag: &str, images: i64) -> DeepFeatures {
    let [before, last] =
        ["l10", "l11"].map(|layer| view(&format!("{tag}.{layer}"), images, |b| 2 * b + 1).descriptors());
    DeepFeatures { grid: Grid { rows: 14, columns: 14 }, descriptors: Tensor::cat(&[before, last], -1) }
}

#[test]
fn parameters_are_the_published_keys() {
    let (parameters, _) = published(PatchNorm::Batch);
    let variables = parameters.variables();
    assert_eq!(variables.len(), 342);
    let parts = variables.iter().filter(|(key, _)| !key.starts_with("prompt_learner.token_"));
    let numbers: usize = parts.map(|(_, tensor)| tensor.numel()).sum();
    assert_eq!(numbers / 100_000, 902, "90.2 M as published, without the fixed parts of prompts");
    for (key, shape) in [
        ("Hamburger.lower_bread.0.weight", vec![512, 384, 1, 1]),
        ("Hamburger.upper_bread.0.weight", vec![384, 512, 1, 1]),
        ("Hamburger.upper_bread.1.running_mean", vec![384]),
        ("aff_proj.fc1.weight", vec![768, 768]),
        ("aff_exo_proj.1.running_var", vec![384]),
        ("attnpool.positional_embedding", vec![197, 384]),
        ("attnpool.c_proj.weight", vec![1024, 384]),
        ("transformer.resblocks.11.attn.in_proj_bias", vec![1536]),
        ("transformer.resblocks.11.mlp.c_fc.weight", vec![2048, 512]),
        ("prompt_learner.token_suffix", vec![36, 60, 512]),
        ("text_projection", vec![512, 1024]),
        ("logit_scale", vec![]),
    ] {
        assert_eq!(variables[key].size(), shape, "{key}");
    }
}

#[test]
fn a_token_is_the_same_vector_in_every_prompt_of_a_new_network() {
    let prompts = prompt_tokens(&seen()).unwrap();
    let text = TextSource::Encoder(TextSizes { width: 64, shared: 32, layers: 1 }, &prompts);
    let parameters = VarStore::new(Device::Cpu);
    Wsma::new(&parameters.root(), &small_16(0), &text, PatchNorm::Batch).unwrap();
    let variables = parameters.variables();
    for (key, place) in [("prompt_learner.token_prefix", 0), ("prompt_learner.token_suffix", 59)] {
        // The start, and what stands behind the end.
        let token = variables[key].i((.., place));
        assert!(token.i(..1).expand_as(&token).equal(&token), "{key}");
        assert!(token.std(false).double_value(&[]) > 0.5, "{key}");
    }
}

#[test]
fn every_term_of_wsma_and_its_heat_are_the_published_codes() {
    let (_, model) = published(PatchNorm::Batch);
    let (ego, exo) = (deep("ego", 2), deep("exo", 6));
    let labels = Tensor::from_slice(&LABELS);
    let step = tch::no_grad(|| model.step(&ego, &exo, &labels)).unwrap();
    let expected = [-0.240507, 0.034271, -0.463067, -0.351892, -0.032221];
    assert_relative("text logits[0, :5]", &step.text_logits.i((0, ..5)), &expected, GOLDEN);
    let expected = [-0.407590, 0.368121, -0.272758, -0.058603, 0.167244];
    assert_relative("ego logits[0, :5]", &step.ego_logits.i((0, ..5)), &expected, GOLDEN);
    let terms = terms(&step, &labels).unwrap();
    assert_relative("cls", &(&terms.ego_cls + &terms.exo_cls), &[7.332660], GOLDEN);
    assert_relative("d", &terms.d, &[0.0129501], GOLDEN);
    assert_relative("lrela", &terms.lrela, &[0.1085247], GOLDEN);
    assert_relative("clip", &terms.clip, &[3.703022], GOLDEN);
    let total = 7.332660 + 0.0129501 + 0.1085247 + 3.703022;
    assert_relative("total", &terms.total(&Weights::default()), &[total], GOLDEN);

    let heat = |images: i64| {
        let ego = DeepFeatures { grid: ego.grid, descriptors: ego.descriptors.narrow(0, 0, images) };
        tch::no_grad(|| model.heat(&ego, &labels.narrow(0, 0, images))).unwrap()
    };
    let alone = heat(1);
    let expected = [-0.000408709, -0.000641865, 0.001016366, 0.001663735];
    assert_relative("map[0, 0, :4]", &alone.map.i((0, 0, ..4)), &expected, GOLDEN);
    let expected = [0.000120249, 0.000120283, 0.000120162, 0.000120154];
    assert_relative("spread[0, 0, :4]", &alone.spread.i((0, 0, ..4)), &expected, GOLDEN);
    // As published, a picture's heat depends on the others of its batch.
    let change = (heat(2).map.i(0) - alone.map.i(0)).abs().max();
    assert_close("change by a second picture", &change, &[2.8e-5], 0.05e-5);
}

#[test]
fn normalised_over_channels_a_pictures_heat_is_its_own() {
    let (_, model) = published(PatchNorm::Channel);
    let ego = deep("ego", 2);
    let labels = Tensor::from_slice(&LABELS);
    let both = tch::no_grad(|| model.heat(&ego, &labels)).unwrap();
    let first = DeepFeatures { grid: ego.grid, descriptors: ego.descriptors.narrow(0, 0, 1) };
    let alone = tch::no_grad(|| model.heat(&first, &labels.narrow(0, 0, 1))).unwrap();
    let change = (both.map.i(0) - alone.map.i(0)).abs().max().double_value(&[]);
    assert!(change < 1e-7, "{change}");
}

#[test]
fn every_trained_parameter_gets_a_gradient_and_the_rest_none() {
    let (parameters, model) = published(PatchNorm::Batch);
    let labels = Tensor::from_slice(&LABELS);
    let step = model.step(&deep("ego", 2), &deep("exo", 6), &labels).unwrap();
    terms(&step, &labels).unwrap().total(&Weights::default()).backward();
    for (name, parameter) in parameters.variables() {
        let frozen = name.starts_with("vit_model.")
            || name.contains("running_")
            || name.ends_with("num_batches_tracked")
            || name.starts_with("prompt_learner.token_");
        assert_eq!(parameter.grad().defined(), !frozen, "{name}");
    }
}

#[test]
fn the_test_programs_heat_is_the_sum_of_both_maps_where_the_first_is_warm() {
    let map = Tensor::from_slice(&[0.0, 1.0, 5.0, 10.0_f64]).reshape([1, 2, 2]);
    let spread = Tensor::from_slice(&[4.0, 2.0, 3.0, 0.0_f64]).reshape([1, 2, 2]);
    // 0, .1, .5, 1 and 1, .5, .75, 0, of which the first two are cold: 0, .1, 1.25, 1.
    let found = Heat { map, spread }.combined();
    assert_eq!(found.size(), [1, 2, 2]);
    assert_close("combined", &found, &[0.0, 0.08, 1.0, 0.8], 1e-9);
}

#[test]
fn prompts_are_clips_tokens() {
    let tokens = prompt_tokens(&seen()).unwrap();
    assert_eq!(tokens.size(), [36, CONTEXT]);
    let row = |index: i64| values(&tokens.i(index)).into_iter().map(|id| id as i64).collect::<Vec<_>>();
    for (index, words) in [(0, vec![3018]), (1, vec![5554]), (2, vec![8594, 593])] {
        let mut expected = vec![49406];
        expected.extend([343; 16]);
        expected.extend(words);
        expected.extend([269, 49407]);
        expected.resize(77, 0);
        assert_eq!(row(index), expected);
    }
    let long = "cut ".repeat(60);
    let error = prompt_tokens(&[long]).unwrap_err().to_string();
    assert!(error.contains("a prompt of at most 77 tokens"), "{error}");
    assert!(prompt_tokens(&[]).is_err());
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let parameters = VarStore::new(Device::Cpu);
    let root = parameters.root();
    for tokens in [
        Tensor::zeros([2, 76], (Kind::Int64, Device::Cpu)),
        Tensor::zeros([0, 77], (Kind::Int64, Device::Cpu)),
        Tensor::full([1, 77], 49_408, (Kind::Int64, Device::Cpu)),
        Tensor::full([1, 77], -1, (Kind::Int64, Device::Cpu)),
        Tensor::zeros([1, 77], (Kind::Float, Device::Cpu)),
    ] {
        let text = TextSource::Encoder(TextSizes::RN50, &tokens);
        assert!(Wsma::new(&root, &small_16(0), &text, PatchNorm::Batch).is_err(), "{tokens:?}");
    }
    let prompts = prompt_tokens(&seen()).unwrap();
    let narrow = looptrans_ros::export::layout::Sizes { dim: 48, ..small_16(0) };
    let text = TextSource::Encoder(TextSizes::RN50, &prompts);
    let error = Wsma::new(&root, &narrow, &text, PatchNorm::Batch).unwrap_err().to_string();
    assert!(error.contains("channels: expected a multiple of the attention pool's 64 heads, found 48"), "{error}");
    let (_, model) = published(PatchNorm::Batch);
    let (ego, exo) = (deep("ego", 2), deep("exo", 3));
    let labels = Tensor::from_slice(&LABELS);
    assert!(model.step(&ego, &exo, &labels).unwrap_err().to_string().contains("a multiple of the 2 egocentric"));
    assert!(model.heat(&ego, &Tensor::from_slice(&[0_i64, 36])).unwrap_err().to_string().contains("0 to 35"));
    let narrow = DeepFeatures { grid: ego.grid, descriptors: ego.descriptors.narrow(2, 0, 384) };
    assert!(model.heat(&narrow, &labels).is_err());
    let wide = DeepFeatures { grid: Grid { rows: 14, columns: 20 }, descriptors: uniform("wide", &[2, 280, 768]) };
    assert!(model.heat(&wide, &labels).unwrap_err().to_string().contains("196 patches"));
    assert!(model.set_bases(&uniform("bases", &[1, 512, 63])).is_err());
}
