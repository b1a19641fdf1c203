//! CLIP's text encoder (Radford et al. 2021), by published key and shape: of the ResNets and of the ViTs alike.

use super::expected::Expected;

/// Tokens of a text.
pub const CONTEXT: u64 = 77;
/// Words that CLIP's tokenizer knows.
pub const VOCABULARY: u64 = 49_408;
/// Channels of an attention head.
pub const HEAD_CHANNELS: u64 = 64;
/// Of CLIP's whole state dict, what is not the text encoder's.
const BESIDE: [&str; 4] = ["visual.", "input_resolution", "context_length", "vocab_size"];

/// Sizes of a text encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextSizes {
    /// Width of the transformer: a multiple of [`HEAD_CHANNELS`].
    pub width: u64,
    /// Width of the space that text and picture share.
    pub shared: u64,
    /// Blocks.
    pub layers: usize,
}

impl TextSizes {
    /// RN50's, which WSMA was published with.
    pub const RN50: Self = Self { width: 512, shared: 1024, layers: 12 };

    /// From the shapes of the tensors that lead the others. `shape`: of a key; `layers`: how many different numbers follow
    /// `transformer.resblocks.`.
    ///
    /// # Errors
    /// All that is missing or can't be right, each a key with what was expected and found.
    pub fn of(shape: impl Fn(&str) -> Option<Vec<u64>>, layers: usize) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut sides = |key: &str, words: &str| match shape(key).as_deref() {
            Some(&[rows, columns]) => (rows, columns),
            Some(found) => {
                problems.push(format!("{key} (expected {words}, found {found:?})"));
                (VOCABULARY, HEAD_CHANNELS)
            }
            None => {
                problems.push(format!("{key} (expected {words}, found none)"));
                (VOCABULARY, HEAD_CHANNELS)
            }
        };
        let (words, width) = sides("token_embedding.weight", "[words, width]");
        let (_, shared) = sides("text_projection", "[width, shared]");
        if words != VOCABULARY {
            problems.push(format!("token_embedding.weight (expected {VOCABULARY} words, found {words})"));
        }
        if width == 0 || width % HEAD_CHANNELS != 0 || width > 1 << 16 || !(1..=1 << 16).contains(&shared) {
            let expected = format!("a multiple of {HEAD_CHANNELS} channels, and a shared width of at least 1");
            problems.push(format!("token_embedding.weight (expected {expected}, found {width} and {shared})"));
        }
        if layers == 0 {
            problems.push("transformer.resblocks (expected at least one, found none)".to_owned());
        }
        if problems.is_empty() { Ok(Self { width, shared, layers }) } else { Err(problems) }
    }
}

/// Does a key of CLIP's state dict, or of a network with its text encoder within, belong to the text encoder? The scale of
/// logits counts as its own.
pub fn is_text(key: &str) -> bool {
    const WHOLE: [&str; 4] = ["logit_scale", "positional_embedding", "text_projection", "token_embedding.weight"];
    WHOLE.contains(&key) || key.starts_with("transformer.resblocks.") || key.starts_with("ln_final.")
}

/// Is it a key of CLIP's state dict beside the text encoder?
pub fn is_beside_text(key: &str) -> bool {
    BESIDE.iter().any(|beside| key.starts_with(beside))
}

/// Every tensor of a text encoder, and the scale of logits.
pub fn text_entries(sizes: &TextSizes) -> Vec<Expected> {
    let TextSizes { width, shared, layers } = *sizes;
    let mut list = List::default();
    list.add("logit_scale", &[]);
    list.add("positional_embedding", &[CONTEXT, width]);
    list.add("text_projection", &[width, shared]);
    list.add("token_embedding.weight", &[VOCABULARY, width]);
    list.affine("ln_final", width);
    for block in 0..layers {
        let path = format!("transformer.resblocks.{block}");
        list.affine(&format!("{path}.ln_1"), width);
        list.add(&format!("{path}.attn.in_proj_weight"), &[3 * width, width]);
        list.add(&format!("{path}.attn.in_proj_bias"), &[3 * width]);
        list.layer(&format!("{path}.attn.out_proj"), &[width, width]);
        list.affine(&format!("{path}.ln_2"), width);
        list.layer(&format!("{path}.mlp.c_fc"), &[4 * width, width]);
        list.layer(&format!("{path}.mlp.c_proj"), &[width, 4 * width]);
    }
    list.0
}

/// A list in the making.
#[derive(Default)]
pub(super) struct List(pub Vec<Expected>);

impl List {
    pub fn add(&mut self, key: &str, shape: &[u64]) {
        self.0.push(Expected { key: key.to_owned(), shape: shape.to_vec() });
    }

    pub fn affine(&mut self, path: &str, width: u64) {
        self.add(&format!("{path}.weight"), &[width]);
        self.add(&format!("{path}.bias"), &[width]);
    }

    /// Linear or convolution.
    pub fn layer(&mut self, path: &str, weight: &[u64]) {
        self.add(&format!("{path}.weight"), weight);
        self.add(&format!("{path}.bias"), &weight[..1]);
    }

    pub fn batch_norm(&mut self, path: &str, width: u64) {
        self.affine(path, width);
        self.add(&format!("{path}.running_mean"), &[width]);
        self.add(&format!("{path}.running_var"), &[width]);
        self.add(&format!("{path}.num_batches_tracked"), &[]);
    }
}
