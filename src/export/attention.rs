//! Attention of a transformer block: softmax(q k^T / sqrt(d)) v in each head, then a projection.

use super::{
    ExportError,
    graph::{Attr, Graph, Value},
    layers::{Linear, linear, path_of},
    recipe::Recipe,
    rewrites::Rewrite,
};

/// Query, key and value of all heads.
pub(super) struct Parts {
    /// [B, heads, N, d]
    query: Value,
    /// [B, heads, d, N]
    key: Value,
    /// [B, heads, N, d]
    value: Value,
}

/// Shapes that all blocks share.
pub(super) struct Heads {
    /// [B, N, D] -> [B, N, heads, d]
    apart: Value,
    /// [B, N, heads, d] -> [B, N, D]
    together: Value,
}

impl Heads {
    pub fn new(g: &mut Graph, recipe: &Recipe<'_>) -> Self {
        let (dim, heads) = (recipe.weights.sizes.dim as i64, recipe.weights.sizes.heads as i64);
        let apart = g.ints("vit_model/heads_apart", &[0, 0, heads, dim / heads]);
        let together = g.ints("vit_model/heads_together", &[0, 0, dim]);
        Self { apart, together }
    }

    /// Of the block's attention `key`, for normed tokens [B, N, D].
    pub fn parts(&self, g: &mut Graph, recipe: &Recipe<'_>, key: &str, tokens: &Value) -> Result<Parts, ExportError> {
        let projection = projection(recipe, key)?;
        if recipe.rewrites.has(Rewrite::SplitProjection) {
            let thirds = projection.thirds(recipe.weights.sizes.dim);
            Ok(self.three_products(g, &path_of(key), thirds, tokens))
        } else {
            Ok(one_product(g, recipe, key, projection, tokens))
        }
    }

    fn three_products(&self, g: &mut Graph, path: &str, [query, key, value]: [Linear; 3], tokens: &Value) -> Parts {
        // [B, N, D] -> [B, N, heads, d] -> `perm` of it
        let mut by_head = |linear: Linear, name: &str, perm: &[i64]| {
            let name = format!("{path}/{name}");
            let value = linear.add(g, &name, tokens);
            let apart = g.node(&format!("{name}/heads"), "Reshape", &[&value, &self.apart], &[]);
            g.node(&format!("{name}/by_head"), "Transpose", &[&apart], &[("perm", Attr::Ints(perm))])
        };
        Parts {
            query: by_head(query, "query", &[0, 2, 1, 3]),
            key: by_head(key, "key", &[0, 2, 3, 1]),
            value: by_head(value, "value", &[0, 2, 1, 3]),
        }
    }

    /// The heads' answers, joined and projected: [B, N, D].
    pub fn attend(&self, g: &mut Graph, recipe: &Recipe<'_>, key: &str, parts: &Parts) -> Result<Value, ExportError> {
        let path = path_of(key);
        // [B, heads, N, d] x [B, heads, d, N] -> [B, heads, N, N]
        let mut scores = g.node(&format!("{path}/scores"), "MatMul", &[&parts.query, &parts.key], &[]);
        if !recipe.rewrites.has(Rewrite::FoldScale) {
            let scale = g.float(&format!("{path}/scale"), query_scale(recipe) as f32);
            scores = g.node(&format!("{path}/scaled"), "Mul", &[&scores, &scale], &[]);
        }
        let shares = g.node(&format!("{path}/softmax"), "Softmax", &[&scores], &[("axis", Attr::Int(-1))]);
        // [B, heads, N, d] -> [B, N, heads, d] -> [B, N, D]
        let mixed = g.node(&format!("{path}/mixed"), "MatMul", &[&shares, &parts.value], &[]);
        let mixed = g.node(&format!("{path}/by_token"), "Transpose", &[&mixed], &[("perm", Attr::Ints(&[0, 2, 1, 3]))]);
        let mixed = g.node(&format!("{path}/joined"), "Reshape", &[&mixed, &self.together], &[]);
        linear(g, recipe.weights, &format!("{key}.proj"), &mixed)
    }

    /// The keys as descriptors of the patches, class token dropped: [B, heads, d, 1 + P] -> [B, P, D], head fastest.
    pub fn descriptor(&self, g: &mut Graph, recipe: &Recipe<'_>, parts: &Parts) -> Value {
        let starts = g.ints("vit_model/patches/starts", &[1]);
        let ends = g.ints("vit_model/patches/ends", &[1 + recipe.grid.patches() as i64]);
        let axes = g.ints("vit_model/patches/axes", &[3]);
        let patches = g.node("vit_model/patches", "Slice", &[&parts.key, &starts, &ends, &axes], &[]);
        // [B, heads, d, P] -> [B, P, d, heads] -> [B, P, D]
        let perm = [("perm", Attr::Ints(&[0, 3, 2, 1]))];
        let by_patch = g.node("vit_model/descriptor/by_patch", "Transpose", &[&patches], &perm);
        g.node("vit_model/descriptor", "Reshape", &[&by_patch, &self.together], &[])
    }
}

/// 1 / sqrt(d)
fn query_scale(recipe: &Recipe<'_>) -> f64 {
    let sizes = recipe.weights.sizes;
    ((sizes.dim / sizes.heads) as f64).sqrt().recip()
}

/// The layer `key.qkv`, scaled already if that is asked.
fn projection(recipe: &Recipe<'_>, key: &str) -> Result<Linear, ExportError> {
    let mut projection = Linear::of(recipe.weights, &format!("{key}.qkv"))?;
    if recipe.rewrites.has(Rewrite::FoldScale) {
        projection.scale_query(recipe.weights.sizes.dim, query_scale(recipe));
    }
    Ok(projection)
}

/// All three in one product, taken apart afterwards.
fn one_product(g: &mut Graph, recipe: &Recipe<'_>, key: &str, projection: Linear, tokens: &Value) -> Parts {
    let path = format!("{}/qkv", path_of(key));
    let (dim, heads) = (recipe.weights.sizes.dim as i64, recipe.weights.sizes.heads as i64);
    let joined = projection.add(g, &path, tokens);
    // [B, N, 3 * D] -> [B, N, 3, heads, d] -> [3, B, heads, N, d]
    let shape = g.ints(&format!("{path}/shape"), &[0, 0, 3, heads, dim / heads]);
    let apart = g.node(&format!("{path}/heads"), "Reshape", &[&joined, &shape], &[]);
    let perm = [("perm", Attr::Ints(&[2, 0, 3, 1, 4]))];
    let apart = g.node(&format!("{path}/by_head"), "Transpose", &[&apart], &perm);
    let mut part = |name: &str, index: i64| {
        let index = g.int(&format!("{path}/{name}/index"), index);
        g.node(&format!("{path}/{name}"), "Gather", &[&apart, &index], &[("axis", Attr::Int(0))])
    };
    let (query, key, value) = (part("query", 0), part("key", 1), part("value", 2));
    let key = g.node(&format!("{path}/key/transposed"), "Transpose", &[&key], &[("perm", Attr::Ints(&[0, 1, 3, 2]))]);
    Parts { query, key, value }
}

/// The whole attention but its projections as one operator of ONNX Runtime: [B, N, D] -> [B, N, D].
pub(super) fn fused(g: &mut Graph, recipe: &Recipe<'_>, key: &str, tokens: &Value) -> Result<Value, ExportError> {
    let path = path_of(key);
    let sizes = recipe.weights.sizes;
    let [query, keys, values] = projection(recipe, key)?.thirds(sizes.dim);
    let query = query.add(g, &format!("{path}/query"), tokens);
    let keys = keys.add(g, &format!("{path}/key"), tokens);
    let values = values.add(g, &format!("{path}/value"), tokens);
    let scale = if recipe.rewrites.has(Rewrite::FoldScale) { 1.0 } else { query_scale(recipe) as f32 };
    let attributes = [("num_heads", Attr::Int(sizes.heads as i64)), ("scale", Attr::Float(scale))];
    let mixed = g.contrib_node(&format!("{path}/fused"), "MultiHeadAttention", &[&query, &keys, &values], &attributes);
    linear(g, recipe.weights, &format!("{key}.proj"), &mixed)
}
