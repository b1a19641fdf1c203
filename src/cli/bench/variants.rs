//! What is measured: the variants of a weights file, and bundles as they are.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::{
    contract::{Bundle, PresenceSource, Size},
    export::{
        ExportError,
        bundle::{self, Settings},
        rewrites::Rewrites,
        weights::Weights,
    },
};

/// The row that the others are compared with.
pub(super) const REFERENCE: &str = "reference";
/// The row that other precisions are compared with.
pub(super) const FP32: &str = "fp32";

/// One way to build a model from weights.
struct Variant {
    name: &'static str,
    build: fn(&Weights, Settings) -> Result<Bundle, ExportError>,
}

/// All of them: a new one is a line here.
const VARIANTS: [Variant; 2] = [
    Variant { name: REFERENCE, build: |weights, settings| build(weights, Rewrites::none(), settings) },
    Variant { name: FP32, build: |weights, settings| build(weights, Rewrites::default(), settings) },
];

fn build(weights: &Weights, rewrites: Rewrites, settings: Settings) -> Result<Bundle, ExportError> {
    bundle::build(weights, Path::new(&settings.name), &Settings { rewrites, ..settings.clone() })
}

/// A model in memory.
pub(super) struct Built {
    pub name: String,
    pub bundle: Bundle,
}

/// Where models come from.
pub(super) enum Source {
    /// The file, what is in it, and where presence shall come from.
    Weights(PathBuf, Box<Weights>, PresenceSource),
    Bundle(Bundle),
}

impl Source {
    /// A folder is a bundle, a file has weights.
    pub fn open(path: &Path, presence: PresenceSource) -> anyhow::Result<Self> {
        if path.is_dir() {
            return Ok(Self::Bundle(Bundle::load(path)?));
        }
        Ok(Self::Weights(path.to_owned(), Box::new(Weights::read(path, presence)?), presence))
    }

    /// All models of this source at this size; None: at their own, for bundles.
    pub fn build(&self, size: Option<Size>) -> anyhow::Result<Vec<Built>> {
        match (self, size) {
            (Self::Weights(path, weights, presence), Some(size)) => VARIANTS
                .iter()
                .map(|variant| {
                    let settings = Settings { input: Some(size), ..Settings::new(variant.name, *presence) };
                    let bundle = (variant.build)(weights, settings)
                        .with_context(|| format!("{} of {}", variant.name, path.display()))?;
                    Ok(Built { name: variant.name.to_owned(), bundle })
                })
                .collect(),
            (Self::Bundle(bundle), None) => {
                let Bundle { folder, contract, onnx } = bundle;
                let bundle = Bundle { folder: folder.clone(), contract: contract.clone(), onnx: onnx.clone() };
                Ok(vec![Built { name: folder.display().to_string(), bundle }])
            }
            _ => Ok(Vec::new()),
        }
    }

    /// The same network on libtorch, for weights.
    #[cfg(feature = "train")]
    pub fn eager(&self, setup: super::Setup) -> anyhow::Result<Option<super::measure::Contestant>> {
        use super::measure::{Contestant, Engine};
        use crate::train::eager::{Eager, EagerSettings};

        let (Self::Weights(path, weights, _), Some(size)) = (self, setup.size) else { return Ok(None) };
        let Weights { network, sizes, .. } = weights.as_ref();
        let settings = EagerSettings {
            network: *network,
            sizes: *sizes,
            input: size,
            pictures: setup.batch,
            threads: setup.threads,
        };
        let eager = Eager::load(path, &settings)?;
        Ok(Some(Contestant::new("libtorch eager", size, Engine::Libtorch(Box::new(eager)))))
    }
}
