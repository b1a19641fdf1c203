//! Files with a text encoder in them: CLIP's alone, or a whole WSMA model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use tch::{Kind, Tensor, nn::VarStore};

use super::{PatchNorm, TextSource, Wsma, prompt_tokens};
use crate::{
    convert::{
        Expected,
        clip::{TextSizes, is_text, text_entries},
    },
    export::{layout::Sizes, weights::Problems},
    train::{TrainError, run::io_error, weights},
};

/// What `--clip` takes.
const EXPECTED: &str = "safetensors with CLIP's text encoder (`looptrans convert RN50.pt --out clip.safetensors` makes them of \
                        OpenAI's archive without running it)";
/// The parameter that only a model without text encoder has.
const TABLE: &str = "class_embedding";

/// CLIP's text encoder.
#[derive(Debug)]
pub struct ClipFile {
    tensors: BTreeMap<String, Tensor>,
    sizes: TextSizes,
}

impl ClipFile {
    /// Reads the text encoder of a safetensors file, whatever else is in it.
    ///
    /// # Errors
    /// Another format; tensors that are missing, of other shapes or not finite, all of them in one error.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        check_format(path)?;
        let mut tensors = weights::read(path)?;
        tensors.retain(|key, _| is_text(key));
        for tensor in tensors.values_mut() {
            *tensor = tensor.to_kind(Kind::Float);
        }
        let sizes = sizes_of(&tensors, path)?;
        check(&tensors, &sizes, path)?;
        Ok(Self { tensors, sizes })
    }

    /// Of the encoder.
    pub fn sizes(&self) -> TextSizes {
        self.sizes
    }

    /// Copies it into a network that was made for its sizes.
    pub fn load_into(&self, parameters: &VarStore) {
        let mut model = parameters.variables();
        tch::no_grad(|| {
            for (key, value) in &self.tensors {
                if let Some(parameter) = model.get_mut(key) {
                    parameter.copy_(value);
                }
            }
        });
    }
}

/// A whole WSMA model from its weights file.
///
/// `parameters`: an empty store, where its tensors will lie. `sizes`: of the backbone in the file.
///
/// # Errors
/// As [`weights::load`]; or a text encoder that does not fit together.
pub fn open(path: &Path, (sizes, actions): (&Sizes, &[String]), parameters: &VarStore) -> Result<Wsma, TrainError> {
    let file = weights::read(path)?;
    let prompts = prompt_tokens(actions)?;
    let text = source_of(&file, path, &prompts)?;
    let model = Wsma::new(&parameters.root(), sizes, &text, PatchNorm::Batch)?;
    weights::assign(parameters, &file, path, "")?;
    Ok(model)
}

/// Does a model of these tensors know its actions by a text encoder? Then of which sizes.
fn source_of<'a>(
    tensors: &BTreeMap<String, Tensor>,
    path: &Path,
    prompts: &'a Tensor,
) -> Result<TextSource<'a>, TrainError> {
    if tensors.contains_key(TABLE) {
        return Ok(TextSource::Table(prompts.size()[0]));
    }
    let sizes = sizes_of(tensors, path)?;
    check(tensors, &sizes, path)?;
    Ok(TextSource::Encoder(sizes, prompts))
}

fn check_format(path: &Path) -> Result<(), TrainError> {
    let mut head = Vec::new();
    let file = File::open(path).map_err(io_error("read", path))?;
    file.take(9).read_to_end(&mut head).map_err(io_error("read", path))?;
    let found = match head[..] {
        [b'P', b'K', 3, 4, ..] | [0x80, ..] => "an archive of PyTorch",
        [_, _, _, _, _, _, _, _, b'{'] => return Ok(()),
        _ => "something else",
    };
    Err(TrainError::File { path: path.to_owned(), expected: EXPECTED.to_owned(), found: found.to_owned() })
}

fn sizes_of(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<TextSizes, TrainError> {
    let shape = |key: &str| tensors.get(key).map(sides);
    let block = |key: &'_ String| key.strip_prefix("transformer.resblocks.")?.split('.').next().map(str::to_owned);
    // Counted, not the highest number: a key may name any.
    let layers = tensors.keys().filter_map(block).collect::<BTreeSet<_>>().len();
    TextSizes::of(shape, layers)
        .map_err(|problems| refuse(path.to_owned(), Problems { mis_shaped: problems, ..Problems::default() }))
}

/// Before anything is allocated by the sizes: all of the encoder is there.
fn check(tensors: &BTreeMap<String, Tensor>, sizes: &TextSizes, path: &Path) -> Result<(), TrainError> {
    let mut problems = Problems::default();
    for Expected { key, shape } in text_entries(sizes) {
        match tensors.get(&key) {
            None => problems.missing.push(key),
            Some(tensor) if sides(tensor) != shape => {
                problems.mis_shaped.push(format!("{key} (expected {shape:?}, found {:?})", sides(tensor)));
            }
            Some(tensor) if tensor.isfinite().all().int64_value(&[]) == 0 => problems.not_finite.push(key),
            Some(_) => {}
        }
    }
    if problems == Problems::default() { Ok(()) } else { Err(refuse(path.to_owned(), problems)) }
}

fn sides(tensor: &Tensor) -> Vec<u64> {
    tensor.size().into_iter().map(|side| side as u64).collect()
}

fn refuse(path: PathBuf, problems: Problems) -> TrainError {
    TrainError::Weights { path, problems: Box::new(problems) }
}
