//! CLIP's text encoder (Radford et al. 2021, RN50's) behind learned prompts (CoOp), as WSMA has them.

use tch::{
    IndexOp, Kind, Tensor,
    nn::{self, Init, Module},
};

use super::super::{
    TrainError,
    norm::{linear, uniform},
    shape::{ANY, expect},
};

/// Width of the text transformer.
const WIDTH: i64 = 512;
/// Width of the space that text and picture share.
pub(super) const SHARED: i64 = 1024;
/// Tokens of a prompt.
pub const CONTEXT: i64 = 77;
/// Words that CLIP's tokenizer knows.
const VOCABULARY: i64 = 49_408;
/// Learned tokens before the action's name.
pub const LEARNED: i64 = 16;
const LAYERS: i64 = 12;
const HEADS: i64 = 8;

/// Parameters: `positional_embedding`, `text_projection`, `transformer.resblocks.N`, `token_embedding`, `ln_final`,
/// `prompt_learner`.
#[derive(Debug)]
pub(super) struct Text {
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
}

impl Text {
    /// For the prompts of so many actions, as token ids [C, 77].
    pub(super) fn new(path: &nn::Path<'_>, tokens: &Tensor) -> Result<Self, TrainError> {
        expect("prompt tokens", tokens, &[ANY, CONTEXT], "[C, 77]")?;
        let actions = tokens.size()[0];
        let (least, most) = (tokens.min().int64_value(&[]), tokens.max().int64_value(&[]));
        if tokens.kind() != Kind::Int64 || least < 0 || most >= VOCABULARY {
            let (expected, found) =
                (format!("int64, 0 to {}", VOCABULARY - 1), format!("{:?}, {least} to {most}", tokens.kind()));
            return Err(TrainError::Values { what: "prompt tokens", expected, found });
        }
        let normal = |stdev: f64| Init::Randn { mean: 0.0, stdev };
        let prompt = path / "prompt_learner";
        // The start and the end of every prompt, in place of CLIP's embedding of them: random, never trained, kept in files.
        let fixed =
            |name: &str, shape: &[i64]| prompt.add(name, Tensor::randn(shape, (Kind::Float, path.device())), false);
        Ok(Self {
            token_embedding: (path / "token_embedding").var("weight", &[VOCABULARY, WIDTH], normal(0.02)),
            positional_embedding: path.var("positional_embedding", &[CONTEXT, WIDTH], normal(0.01)),
            blocks: (0..LAYERS).map(|index| Block::new(&(path / "transformer" / "resblocks" / index))).collect(),
            ln_final: nn::layer_norm(path / "ln_final", vec![WIDTH], nn::LayerNormConfig::default()),
            text_projection: path.var("text_projection", &[WIDTH, SHARED], normal((WIDTH as f64).powf(-0.5))),
            context: prompt.var("ctx", &[LEARNED, WIDTH], normal(0.02)),
            prefix: fixed("token_prefix", &[actions, 1, WIDTH]),
            suffix: fixed("token_suffix", &[actions, CONTEXT - 1 - LEARNED, WIDTH]),
            tokens: tokens.to_device(path.device()),
        })
    }

    /// One feature for each action [C, 1024], not normalised.
    pub(super) fn forward(&self) -> Tensor {
        let actions = self.tokens.size()[0];
        let context = self.context.unsqueeze(0).expand([actions, -1, -1], false);
        let prompt = Tensor::cat(&[&self.prefix, &context, &self.suffix], 1);
        // Published files are trained with the embedding of the tokens added to the prompt made of them.
        let words = Tensor::embedding(&self.token_embedding, &self.tokens, -1, false, false);
        let mut x = prompt + words + &self.positional_embedding;
        for block in &self.blocks {
            x = block.forward(&x);
        }
        let x = self.ln_final.forward(&x);
        // The end token has the highest id.
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
    fn new(path: &nn::Path<'_>) -> Self {
        let (attn, mlp) = (path / "attn", path / "mlp");
        let norm = |name: &str| nn::layer_norm(path / name, vec![WIDTH], nn::LayerNormConfig::default());
        Self {
            ln_1: norm("ln_1"),
            in_weight: attn.var("in_proj_weight", &[3 * WIDTH, WIDTH], uniform(WIDTH)),
            in_bias: attn.zeros("in_proj_bias", &[3 * WIDTH]),
            out: linear(&attn / "out_proj", WIDTH, WIDTH),
            ln_2: norm("ln_2"),
            c_fc: linear(&mlp / "c_fc", WIDTH, 4 * WIDTH),
            c_proj: linear(&mlp / "c_proj", 4 * WIDTH, WIDTH),
        }
    }

    /// [C, 77, 512] -> [C, 77, 512]
    fn forward(&self, x: &Tensor) -> Tensor {
        let shape = x.size();
        let qkv = self.ln_1.forward(x).linear(&self.in_weight, Some(&self.in_bias));
        // [C, L, 3*512] -> [3, C, heads, L, 64]
        let qkv = qkv.reshape([shape[0], shape[1], 3, HEADS, WIDTH / HEADS]).permute([2, 0, 3, 1, 4]);
        let (query, key, value) = (qkv.i(0), qkv.i(1), qkv.i(2));
        let scores = query.matmul(&key.transpose(-2, -1)) * ((WIDTH / HEADS) as f64).powf(-0.5);
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
