//! What is measured: the variants of a weights file, and bundles as they are.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    contract::{Bundle, Precision, PresenceSource, Size},
    export::{
        bundle::{self, Settings},
        precision::{Change, Int8Settings, Pictures, ReduceRange, change},
        rewrites::Rewrites,
        weights::Weights,
    },
    parity,
    perceive::infer::InferSettings,
};

/// What a row is for the others. Its name does not tell: a bundle may be called anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// All are compared with it.
    Reference,
    /// Other precisions are compared with it.
    Fp32,
    /// No model: what the machine can do.
    Yardstick,
    /// It is compared only.
    Other,
}

/// One way to build a model from weights.
struct Variant {
    name: &'static str,
    role: Role,
    rewrites: fn() -> Rewrites,
    precision: Precision,
}

/// Pictures that int8's ranges are taken from: how long a model takes hardly depends on them.
const CALIBRATION_PICTURES: usize = 2;

/// All of them: a new one is a line here. Int8 is the fastest that can be, no layer left in float for its drift: for one
/// calibrated on pictures of the user's own, a bundle is measured beside them.
const VARIANTS: [Variant; 4] = [
    Variant { name: "reference", role: Role::Reference, rewrites: Rewrites::none, precision: Precision::Fp32 },
    Variant { name: "fp32", role: Role::Fp32, rewrites: Rewrites::standard, precision: Precision::Fp32 },
    Variant { name: "fp16", role: Role::Other, rewrites: Rewrites::standard, precision: Precision::Fp16 },
    Variant { name: "int8", role: Role::Other, rewrites: Rewrites::standard, precision: Precision::Int8 },
];

impl Variant {
    fn build(&self, weights: &Weights, presence: PresenceSource, size: Size) -> anyhow::Result<Built> {
        let settings =
            Settings { input: Some(size), rewrites: (self.rewrites)(), ..Settings::new(self.name, presence) };
        let bundle = bundle::build(weights, Path::new(self.name), &settings)?;
        let int8 = Int8Settings {
            weight_bits: ReduceRange::Auto.weight_bits(),
            least_sim: 0.0,
            infer: InferSettings::default(),
        };
        let mut pictures = Pictures::default();
        if self.precision == Precision::Int8 {
            pictures.pixels =
                parity::pictures::Pictures::drawn(CALIBRATION_PICTURES, size).iter().collect::<Result<_, _>>()?;
        }
        let asked = Change { precision: self.precision, pictures: &pictures, settings: &int8 };
        Ok(Built { name: self.name.to_owned(), role: self.role, bundle: change(bundle, &asked)?.bundle })
    }
}

/// A model in memory.
pub(super) struct Built {
    pub name: String,
    pub role: Role,
    pub bundle: Bundle,
}

/// Where models come from.
pub(super) enum Source {
    /// The file, what is in it, and where presence shall come from.
    Weights(PathBuf, Box<Weights>, PresenceSource),
    Bundle(Box<Bundle>),
}

impl Source {
    /// A folder is a bundle, a file has weights.
    pub fn open(path: &Path, presence: PresenceSource) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Bundle(Box::new(Bundle::load(path)?)));
        }
        Ok(Self::Weights(path.to_owned(), Box::new(Weights::read(path, presence)?), presence))
    }

    /// The sizes it comes in; `asked` are those for weights.
    pub fn sizes(&self, asked: &[Size]) -> Vec<Size> {
        match self {
            Self::Weights(..) => asked.to_vec(),
            Self::Bundle(bundle) => vec![bundle.contract.input],
        }
    }

    /// All models of this source at this size.
    pub fn build(&self, size: Size) -> anyhow::Result<Vec<Built>> {
        match self {
            Self::Weights(path, weights, presence) => {
                let build = |variant: &Variant| {
                    let built = variant.build(weights, *presence, size);
                    built.with_context(|| format!("{} of {}", variant.name, path.display()))
                };
                VARIANTS.iter().map(build).collect()
            }
            Self::Bundle(bundle) if bundle.contract.input == size => {
                let Bundle { folder, contract, onnx } = bundle.as_ref();
                let bundle = Bundle { folder: folder.clone(), contract: contract.clone(), onnx: onnx.clone() };
                Ok(vec![Built { name: folder.display().to_string(), role: Role::Other, bundle }])
            }
            Self::Bundle(_) => Ok(Vec::new()),
        }
    }

    /// The same network on libtorch, for weights.
    #[cfg(feature = "train")]
    pub fn eager(&self, setup: super::Setup) -> anyhow::Result<Option<super::measure::Contestant>> {
        use super::measure::{Contestant, Engine};
        use crate::train::eager::{Eager, EagerSettings};

        let Self::Weights(path, weights, _) = self else { return Ok(None) };
        let Weights { network, sizes, .. } = weights.as_ref();
        let settings = EagerSettings {
            network: *network,
            sizes: *sizes,
            input: setup.size,
            pictures: setup.batch,
            threads: setup.threads,
        };
        let eager = Eager::load(path, &settings)?;
        Ok(Some(Contestant::new(("libtorch eager", Role::Other), setup.size, Engine::Libtorch(Box::new(eager)))))
    }
}
