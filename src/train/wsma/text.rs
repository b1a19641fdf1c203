//! CLIP's text encoder (Radford et al. 2021) behind learned prompts (CoOp), as WSMA has them; or, where there is none, a
//! learned vector for each action.

use tch::{
    IndexOp, Kind, Tensor,
    nn::{self, Init, Module},
};

use super::super::{
    TrainError,
    norm::{linear, uniform},
    shape::{ANY, expect},
};
use crate::convert::clip::{self, TextSizes};

/// Tokens of a prompt.
pub const CONTEXT: i64 = clip::CONTEXT as i64;
/// Words that CLIP's tokenizer knows.
const VOCABULARY: i64 = clip::VOCABULARY as i64;
/// Channels of an attention head.
const HEAD_CHANNELS: i64 = clip::HEAD_CHANNELS as i64;
/// Learned tokens before the action's name.
pub const LEARNED: i64 = 16;

/// Where the features of the actions' names come from.
#[derive(Debug, Clone, Copy)]
pub enum TextSource<'a> {
    /// A text encoder of these sizes that reads the prompts of C actions, token ids [C, 77] (see
    /// [`super::prompt_tokens`]).
    Encoder(TextSizes, &'a Tensor),
    /// One learned vector for each of so many actions: nothing is known of what they are called.
    Table(i64),
}

/// Features of the actions' names.
#[derive(Debug)]
pub(super) enum Text {
    Encoder(Box<Encoder>),
    /// Parameter `class_embedding` [C, shared].
    Table(Tensor),
}

impl Text {
    pub(super) fn new(path: &nn::Path<'_>, source: &TextSource<'_>) -> Result<Self, TrainError> {
        match *source {
            TextSource::Encoder(sizes, tokens) => Ok(Self::Encoder(Box::new(Encoder::new(path, sizes, tokens)?))),
            TextSource::Table(actions) => {
                let shared = TextSizes::RN50.shared as i64;
                let init = Init::Randn { mean: 0.0, stdev: (shared as f64).powf(-0.5) };
                Ok(Self::Table(path.var("class_embedding", &[actions, shared], init)))
            }
        }
    }

    /// One feature for each action [C, shared], not normalised.
    pub(super) fn forward(&self) -> Tensor {
        match self {
            Self::Encoder(encoder) => encoder.forward(),
            Self::Table(features) => features.shallow_clone(),
        }
    }

    /// (actions, width of the space that text and picture share)
    pub(super) fn sizes(&self) -> (i64, i64) {
        match self {
            Self::Encoder(encoder) => (encoder.tokens.size()[0], encoder.text_projection.size()[1]),
            Self::Table(features) => (features.size()[0], features.size()[1]),
        }
    }
}

/// Parameters: `positional_embedding`, `text_projection`, `transformer.resblocks.N`, `token_embedding`, `ln_final`,
/// `prompt_learner`.
#[derive(Debug)]
pub(super) struct Encoder {
    token_embedding: Tensor,
    positional_embedding: Tensor,
    blocks: Vec<Block>,
    ln_final: nn::LayerNorm,
    text_projection: Tensor,
    context: Tensor,
    prefix: Tensor,
    suffix: Tensor,
    /// Token ids [C, 77].
    tokens: Tensor,
    /// Tokens up to the end of the longest prompt.
    used: i64,
}

impl Encoder {
    /// For the prompts of so many actions, as token ids [C, 77].
    fn new(path: &nn::Path<'_>, sizes: TextSizes, tokens: &Tensor) -> Result<Self, TrainError> {
        expect("prompt tokens", tokens, &[ANY, CONTEXT], "[C, 77]")?;
        let (least, most) = (tokens.min().int64_value(&[]), tokens.max().int64_value(&[]));
        if tokens.kind() != Kind::Int64 || least < 0 || most >= VOCABULARY {
            let (expected, found) =
                (format!("int64, 0 to {}", VOCABULARY - 1), format!("{:?}, {least} to {most}", tokens.kind()));
            return Err(TrainError::Values { what: "prompt tokens", expected, found });
        }
        let (width, shared) = (sizes.width as i64, sizes.shared as i64);
        let normal = |stdev: f64| Init::Randn { mean: 0.0, stdev };
        let prompt = path / "prompt_learner";
        // The start and the end of every prompt, in place of CLIP's embedding of them: of one random table, so that a token
        // is the same in every prompt; never trained, kept in files.
        let tokens = tokens.to_device(path.device());
        let table = Tensor::randn([VOCABULARY, width], (Kind::Float, path.device()));
        let embedded = Tensor::embedding(&table, &tokens, -1, false, false);
        let fixed =
            |name: &str, start: i64, length: i64| prompt.add(name, embedded.narrow(1, start, length).copy(), false);
        Ok(Self {
            token_embedding: (path / "token_embedding").var("weight", &[VOCABULARY, width], normal(0.02)),
            positional_embedding: path.var("positional_embedding", &[CONTEXT, width], normal(0.01)),
            blocks: (0..sizes.layers)
                .map(|index| Block::new(&(path / "transformer" / "resblocks" / index), width))
                .collect(),
            ln_final: nn::layer_norm(path / "ln_final", vec![width], nn::LayerNormConfig::default()),
            text_projection: path.var("text_projection", &[width, shared], normal((width as f64).powf(-0.5))),
            context: prompt.var("ctx", &[LEARNED, width], normal(0.02)),
            prefix: fixed("token_prefix", 0, 1),
            suffix: fixed("token_suffix", 1 + LEARNED, CONTEXT - 1 - LEARNED),
            // The end token has the highest id.
            used: tokens.argmax(-1, false).max().int64_value(&[]) + 1,
            tokens,
        })
    }

    fn forward(&self) -> Tensor {
        let actions = self.tokens.size()[0];
        let context = self.context.unsqueeze(0).expand([actions, -1, -1], false);
        let prompt = Tensor::cat(&[&self.prefix, &context, &self.suffix], 1);
        // Published files are trained with the embedding of the tokens added to the prompt made of them.
        let words = Tensor::embedding(&self.token_embedding, &self.tokens, -1, false, false);
        let x = prompt + words + &self.positional_embedding;
        // No token sees those behind it: what follows the last end changes nothing.
        let mut x = x.narrow(1, 0, self.used);
        for block in &self.blocks {
            x = block.forward(&x);
        }
        let x = self.ln_final.forward(&x);
        let samples = Tensor::arange(actions, (Kind::Int64, x.device()));
        x.index(&[Some(samples), Some(self.tokens.argmax(-1, false))]).matmul(&self.text_projection)
    }
}

/// One pre-norm transformer block that sees what stands before only.
#[derive(Debug)]
struct Block {
    ln_1: nn::LayerNorm,
    in_weight: Tensor,
    in_bias: Tensor,
    out: nn::Linear,
    ln_2: nn::LayerNorm,
    c_fc: nn::Linear,
    c_proj: nn::Linear,
}

impl Block {
    fn new(path: &nn::Path<'_>, width: i64) -> Self {
        let (attn, mlp) = (path / "attn", path / "mlp");
        let norm = |name: &str| nn::layer_norm(path / name, vec![width], nn::LayerNormConfig::default());
        Self {
            ln_1: norm("ln_1"),
            in_weight: attn.var("in_proj_weight", &[3 * width, width], uniform(width)),
            in_bias: attn.zeros("in_proj_bias", &[3 * width]),
            out: linear(&attn / "out_proj", width, width),
            ln_2: norm("ln_2"),
            c_fc: linear(&mlp / "c_fc", width, 4 * width),
            c_proj: linear(&mlp / "c_proj", 4 * width, width),
        }
    }

    /// [C, L, W] -> [C, L, W]
    fn forward(&self, x: &Tensor) -> Tensor {
        let shape = x.size();
        let qkv = self.ln_1.forward(x).linear(&self.in_weight, Some(&self.in_bias));
        // [C, L, 3W] -> [3, C, heads, L, 64]
        let qkv =
            qkv.reshape([shape[0], shape[1], 3, shape[2] / HEAD_CHANNELS, HEAD_CHANNELS]).permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (qkv.i(0), qkv.i(1), qkv.i(2));
        let scores = query.matmul(&key.transpose(-2, -1)) * (HEAD_CHANNELS as f64).powf(-0.5);
        let later = Tensor::ones([shape[1], shape[1]], (Kind::Bool, x.device())).triu(1);
        let attention = scores.masked_fill(&later, f64::NEG_INFINITY).softmax(-1, None::<Kind>);
        let mixed = attention.matmul(&value).transpose(1, 2).reshape(&shape[..]);
        let x = x + self.out.forward(&mixed);
        let hidden = self.c_fc.forward(&self.ln_2.forward(&x));
        // CLIP's own approximation of GELU.
        let hidden = &hidden * (&hidden * 1.702).sigmoid();
        x + self.c_proj.forward(&hidden)
    }
}
