//! The tensors of WSMA beside its backbone, by published key and shape.

use super::expected::Expected;

/// CLIP's text encoder, as RN50's checkpoints have it.
const TEXT: u64 = 512;
const SHARED: u64 = 1024;
const CONTEXT: u64 = 77;
const VOCABULARY: u64 = 49_408;
const BLOCKS: usize = 12;
/// Learned tokens of every prompt.
const LEARNED: u64 = 16;
/// Channels of the factorised maps.
const FACTORISED: u64 = 512;

/// Every tensor but the backbone's, for descriptors of `dim` channels, `patches` patches and so many actions.
pub(super) fn entries(dim: u64, patches: u64, actions: u64) -> Vec<Expected> {
    let mut list = List(Vec::new());
    list.add("logit_scale", &[]);
    list.add("positional_embedding", &[CONTEXT, TEXT]);
    list.add("text_projection", &[TEXT, SHARED]);
    list.add("token_embedding.weight", &[VOCABULARY, TEXT]);
    list.affine("ln_final", TEXT);
    for block in 0..BLOCKS {
        list.text_block(&format!("transformer.resblocks.{block}"));
    }
    list.add("prompt_learner.ctx", &[LEARNED, TEXT]);
    list.add("prompt_learner.token_prefix", &[actions, 1, TEXT]);
    list.add("prompt_learner.token_suffix", &[actions, CONTEXT - 1 - LEARNED, TEXT]);

    list.affine("aff_proj.norm", 2 * dim);
    list.layer("aff_proj.fc1", &[2 * dim, 2 * dim]);
    list.layer("aff_proj.fc2", &[dim, 2 * dim]);
    list.layer("Hamburger.lower_bread.0", &[FACTORISED, dim, 1, 1]);
    list.add("Hamburger.upper_bread.0.weight", &[dim, FACTORISED, 1, 1]);
    list.batch_norm("Hamburger.upper_bread.1", dim);
    for branch in ["aff_ego_proj", "aff_exo_proj"] {
        list.layer(&format!("{branch}.0"), &[dim, dim, 3, 3]);
        list.batch_norm(&format!("{branch}.1"), dim);
    }
    list.add("attnpool.positional_embedding", &[1 + patches, dim]);
    for projection in ["q_proj", "k_proj", "v_proj"] {
        list.layer(&format!("attnpool.{projection}"), &[dim, dim]);
    }
    list.layer("attnpool.c_proj", &[SHARED, dim]);
    list.layer("fc", &[actions, dim]);
    list.0
}

struct List(Vec<Expected>);

impl List {
    fn add(&mut self, key: &str, shape: &[u64]) {
        self.0.push(Expected { key: key.to_owned(), shape: shape.to_vec() });
    }

    fn affine(&mut self, path: &str, width: u64) {
        self.add(&format!("{path}.weight"), &[width]);
        self.add(&format!("{path}.bias"), &[width]);
    }

    /// Linear or convolution.
    fn layer(&mut self, path: &str, weight: &[u64]) {
        self.add(&format!("{path}.weight"), weight);
        self.add(&format!("{path}.bias"), &weight[..1]);
    }

    fn batch_norm(&mut self, path: &str, width: u64) {
        self.affine(path, width);
        self.add(&format!("{path}.running_mean"), &[width]);
        self.add(&format!("{path}.running_var"), &[width]);
        self.add(&format!("{path}.num_batches_tracked"), &[]);
    }

    fn text_block(&mut self, path: &str) {
        self.affine(&format!("{path}.ln_1"), TEXT);
        self.add(&format!("{path}.attn.in_proj_weight"), &[3 * TEXT, TEXT]);
        self.add(&format!("{path}.attn.in_proj_bias"), &[3 * TEXT]);
        self.layer(&format!("{path}.attn.out_proj"), &[TEXT, TEXT]);
        self.affine(&format!("{path}.ln_2"), TEXT);
        self.layer(&format!("{path}.mlp.c_fc"), &[4 * TEXT, TEXT]);
        self.layer(&format!("{path}.mlp.c_proj"), &[TEXT, 4 * TEXT]);
    }
}
