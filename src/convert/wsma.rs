//! The tensors of WSMA beside its backbone, by published key and shape.

use super::{
    clip::{CONTEXT, List, TextSizes, text_entries},
    expected::Expected,
};

/// Learned tokens of every prompt.
const LEARNED: u64 = 16;
/// Channels of the factorised maps.
const FACTORISED: u64 = 512;

/// Every tensor but the backbone's, for descriptors of `dim` channels, `patches` patches and so many actions.
pub(super) fn entries(dim: u64, patches: u64, actions: u64) -> Vec<Expected> {
    let TextSizes { width, shared, .. } = TextSizes::RN50;
    let mut list = List(text_entries(&TextSizes::RN50));
    list.add("prompt_learner.ctx", &[LEARNED, width]);
    list.add("prompt_learner.token_prefix", &[actions, 1, width]);
    list.add("prompt_learner.token_suffix", &[actions, CONTEXT - 1 - LEARNED, width]);

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
    list.layer("attnpool.c_proj", &[shared, dim]);
    list.layer("fc", &[actions, dim]);
    list.0
}
