//! LOCATE's part selection (section 3.2 of the paper): which of the things that people touch is the object's part.
//!
//! ```text
//! exocentric maps -> active patches' descriptors -> k-means -> one of its centres, the prototype
//!                                       salient egocentric patches choose which (PartIoU)
//! ```
//!
//! Whole batches at once, without gradients, on frozen descriptors.

use tch::{Kind, Tensor};

use super::{
    TrainError,
    backbone::above_mean,
    shape::{ANY, expect, expect_labels},
    tensor::{channel_of, min_max, unit},
};

/// Clusters of the active patches: person, object part, background.
pub const CENTRES: i64 = 3;
/// Share of an exocentric map's range above which a patch is active.
const ACTIVE: f64 = 0.6;
const MAP_EPSILON: f64 = 1e-10;
const SIMILARITY_EPSILON: f64 = 1e-12;
/// Least PartIoU of a prototype.
const LEAST_IOU: f64 = 0.6;
/// Most Lloyd steps of the k-means.
const MOST_STEPS: usize = 300;
/// It stops when the squared shifts of all centres together are at most this.
const SETTLED: f64 = 1e-4;

/// Descriptors of active exocentric patches, each sample's from the front.
#[derive(Debug)]
pub struct Active {
    /// [b, n*N, D]; beyond a sample's count lie its inactive patches.
    pub rows: Tensor,
    /// How many are active [b], int64.
    pub counts: Tensor,
}

/// What was found of the parts.
#[derive(Debug)]
pub struct Prototypes {
    /// The prototype of each sample [b, D], 0 where none was found.
    pub vectors: Tensor,
    /// Has the sample one? [b], as 0 and 1.
    pub found: Tensor,
    /// PartIoU of each centre [b, 3].
    pub part_iou: Tensor,
    /// Cosine between each centre and each egocentric patch [b, 3, N].
    pub similarity: Tensor,
}

/// Collects the descriptors [b*n, N, D] where the label's channel of G_exo [b, n, C, h, w] is above 0.6 of its range.
///
/// # Errors
/// Shapes that do not belong together, or a label that is no action.
pub fn active_patches(exo_maps: &Tensor, descriptors: &Tensor, labels: &Tensor) -> Result<Active, TrainError> {
    expect("exo maps", exo_maps, &[ANY; 5], "[b, n, C, h, w]")?;
    let sides = exo_maps.size();
    let (b, n, patches) = (sides[0], sides[1], sides[3] * sides[4]);
    expect_labels(labels, b, sides[2])?;
    expect("exo descriptors", descriptors, &[b * n, patches, ANY], "[b*n, N, D]")?;
    Ok(tch::no_grad(|| {
        let own = channel_of(&exo_maps.transpose(1, 2), labels).flatten(2, 3);
        let active = min_max(&own, MAP_EPSILON).gt(ACTIVE).flatten(1, 2).to_kind(Kind::Int64);
        // Stable: in the order of pictures and patches.
        let order = active.argsort_stable(true, -1, true);
        let width = descriptors.size()[2];
        let rows = descriptors.reshape([b, n * patches, width]);
        let rows = rows.gather(1, &order.unsqueeze(-1).expand([-1, -1, width], false), false);
        Active { rows, counts: active.sum_dim_intlist(-1, false, None::<Kind>) }
    }))
}

/// First centres for [`k_means`], as indices into each sample's active rows: drawn at random, each row once.
///
/// `draws`: any numbers [b, n*N] without an order of their own, such as uniform ones: the rows with the least are taken.
///
/// # Errors
/// Shapes that do not belong together.
pub fn random_starts(active: &Active, draws: &Tensor) -> Result<Tensor, TrainError> {
    let rows = active.rows.size();
    expect("draws", draws, &rows[..2], "[b, n*N]")?;
    let beyond = inactive(active);
    let order = draws.masked_fill(&beyond, f64::INFINITY).argsort_stable(true, -1, false);
    Ok(order.narrow(1, 0, CENTRES.min(rows[1])))
}

/// Euclidean k-means of each sample's active rows from given ones of them (indices [b, 3]). Gives the centres [b, 3, D],
/// divided by their lengths; a centre that lost all its rows is 0.
///
/// # Errors
/// Shapes that do not belong together.
pub fn k_means(active: &Active, starts: &Tensor) -> Result<Tensor, TrainError> {
    k_means_in(active, starts, MOST_STEPS)
}

/// [`k_means`] with another limit of steps; 0 gives the starting rows.
///
/// # Errors
/// As [`k_means`].
pub fn k_means_in(active: &Active, starts: &Tensor, most_steps: usize) -> Result<Tensor, TrainError> {
    let Active { rows, .. } = active;
    let sides = rows.size();
    expect("starts", starts, &[sides[0], CENTRES], "[b, 3]")?;
    let (least, most) = (starts.min().int64_value(&[]), starts.max().int64_value(&[]));
    if least < 0 || most >= sides[1] {
        let expected = format!("rows 0 to {}", sides[1] - 1);
        return Err(TrainError::Values { what: "starts", expected, found: format!("{least} to {most}") });
    }
    Ok(tch::no_grad(|| {
        let present = inactive(active).logical_not().to_kind(rows.kind()).unsqueeze(-1);
        let mut centres = rows.gather(1, &starts.unsqueeze(-1).expand([-1, -1, sides[2]], false), false);
        let mut settled = Tensor::zeros([sides[0], 1, 1], (Kind::Bool, rows.device()));
        for _ in 0..most_steps {
            // The nearest centre by ||c||^2 - 2 r.c, the row's own length being the same for all.
            let lengths = centres.square().sum_dim_intlist(-1, false, None::<Kind>).unsqueeze(1);
            let distance = lengths - rows.matmul(&centres.transpose(1, 2)) * 2.0;
            let members = distance.argmin(-1, false).one_hot(CENTRES).to_kind(rows.kind()) * &present;
            let counts = members.sum_dim_intlist(1, false, None::<Kind>).unsqueeze(-1);
            let moved = members.transpose(1, 2).matmul(rows) / counts.clamp_min(1.0);
            let shift = (&moved - &centres).square().sum_dim_intlist([1_i64, 2].as_slice(), true, None::<Kind>);
            centres = centres.where_self(&settled, &moved);
            // Each sample stops for itself: its centres must not depend on what else is in the batch.
            settled = settled.logical_or(&shift.le(SETTLED));
            if settled == settled.ones_like() {
                break;
            }
        }
        unit(&centres, -1)
    }))
}

/// Chooses each sample's prototype among its centres [b, 3, D].
///
/// PartIoU of centre k, with H_k the egocentric patches (descriptors [b, N, D]) that are more similar to it than the
/// average, S the salient patches ([b, N], 0 and 1): 1/2 (|H_k and S| / |H_k| + |S| / |H_k or S|). The highest decides, if
/// at least 0.6; a sample with fewer than three active patches has none.
///
/// # Errors
/// Shapes that do not belong together.
pub fn prototypes(
    active: &Active,
    centres: &Tensor,
    ego_descriptors: &Tensor,
    salient: &Tensor,
) -> Result<Prototypes, TrainError> {
    let sides = active.rows.size();
    expect("ego descriptors", ego_descriptors, &[sides[0], ANY, sides[2]], "[b, N, D]")?;
    let patches = ego_descriptors.size()[1];
    expect("centres", centres, &[sides[0], CENTRES, sides[2]], "[b, 3, D]")?;
    expect("salient patches", salient, &[sides[0], patches], "[b, N]")?;
    Ok(tch::no_grad(|| {
        let kind = salient.kind();
        let similarity = unit(centres, -1).matmul(&unit(ego_descriptors, -1).transpose(1, 2));
        let like = above_mean(&min_max(&similarity, SIMILARITY_EPSILON)).to_kind(kind);
        let sum = |x: &Tensor| x.sum_dim_intlist(-1, false, None::<Kind>);
        let salient = salient.unsqueeze(1);
        let (sizes, salient_size) = (sum(&like), sum(&salient));
        let both = sum(&(&like * &salient));
        let either = &sizes + &salient_size - &both;
        // A centre of zeros is like nothing: 0/0.
        let part_iou = ((both / sizes) + (salient_size / either)).nan_to_num(0.0, 0.0, 0.0) * 0.5;

        let chosen = part_iou.argmax(-1, true);
        let enough = active.counts.ge(CENTRES).logical_and(&part_iou.amax(-1, false).ge(LEAST_IOU));
        let found = enough.to_kind(kind);
        let index = chosen.unsqueeze(-1).expand([-1, 1, sides[2]], false);
        let vectors = centres.gather(1, &index, false).squeeze_dim(1) * found.unsqueeze(-1);
        Prototypes { vectors, found, part_iou, similarity }
    }))
}

/// Which rows [b, n*N] lie beyond their sample's count.
fn inactive(active: &Active) -> Tensor {
    let places = Tensor::arange(active.rows.size()[1], (Kind::Int64, active.rows.device()));
    places.unsqueeze(0).ge_tensor(&active.counts.unsqueeze(-1))
}
