//! Self-distillation: the student's view of a picture is to agree with the teacher's of another.

use tch::{Kind, Tensor};

use crate::train::{
    TrainError,
    shape::{ANY, expect},
    tensor::unit,
};

/// Views that the teacher sees: the global ones, the first of the student's.
pub const TEACHER_VIEWS: i64 = 2;
/// Of the student's softmax.
const STUDENT_TEMPERATURE: f64 = 0.1;
/// How much of the centre stays from step to step.
const CENTRE_MOMENTUM: f64 = 0.9;

/// The teacher's distributions over the prototypes: softmax((t - c) / T), without a gradient. Logits [2, B, K], centre
/// [K].
pub fn teacher_softmax(logits: &Tensor, centre: &Tensor, temperature: f64) -> Tensor {
    ((logits.detach() - centre) / temperature).softmax(-1, None::<Kind>)
}

/// The mean of -sum p log q over pictures and pairs of different views: student logits [V, B, K], of which the first two
/// views are the teacher's, and teacher distributions [2, B, K] (eq. 2-3 of arXiv 2104.14294).
///
/// # Errors
/// Shapes that do not belong together.
pub fn loss(student: &Tensor, teacher: &Tensor) -> Result<Tensor, TrainError> {
    expect("student's logits", student, &[ANY, ANY, ANY], "[V, B, K]")?;
    let (views, batch, prototypes) = (student.size()[0], student.size()[1], student.size()[2]);
    expect("teacher's distributions", teacher, &[TEACHER_VIEWS, batch, prototypes], "[2, B, K]")?;
    if views < TEACHER_VIEWS {
        let (expected, found) = ("at least 2, the teacher's".to_owned(), views.to_string());
        return Err(TrainError::Values { what: "views", expected, found });
    }
    let logs = (student / STUDENT_TEMPERATURE).log_softmax(-1, None::<Kind>);
    let sum_of = |x: &Tensor| x.sum_dim_intlist(0, false, None::<Kind>);
    // All pairs, less those of a view with itself.
    let all = (sum_of(teacher) * sum_of(&logs)).sum(None::<Kind>);
    let same = (teacher * logs.narrow(0, 0, TEACHER_VIEWS)).sum(None::<Kind>);
    Ok((same - all) / ((TEACHER_VIEWS * views - TEACHER_VIEWS) * batch) as f64)
}

/// The centre [K] after a step with these teacher logits [2, B, K]: 0.9 c + 0.1 mean.
pub fn next_centre(centre: &Tensor, logits: &Tensor) -> Tensor {
    let mean = logits.detach().mean_dim([0_i64, 1].as_slice(), false, None::<Kind>);
    centre * CENTRE_MOMENTUM + mean * (1.0 - CENTRE_MOMENTUM)
}

/// Signs of collapse, of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Monitors {
    /// Deviation of the teacher's normalised CLS over pictures, mean over channels: near 1 / sqrt(D) where pictures
    /// differ, 0 where all look alike.
    pub cls_std: f64,
    /// Mean entropy of the teacher's distributions, in nats: ln K is no opinion at all.
    pub entropy: f64,
    /// Entropy of their mean: 0 is the same prototype for all pictures.
    pub entropy_of_mean: f64,
}

impl Monitors {
    /// Of the teacher's CLS [2B, D] and distributions [2, B, K].
    pub fn new(cls: &Tensor, teacher: &Tensor) -> Self {
        let entropy = |p: &Tensor| {
            let terms = p * (p.clamp_min(1e-12)).log();
            -terms.sum_dim_intlist(-1, false, None::<Kind>).mean(None::<Kind>).double_value(&[])
        };
        Self {
            cls_std: unit(cls, -1).std_dim([0_i64].as_slice(), false, false).mean(None::<Kind>).double_value(&[]),
            entropy: entropy(teacher),
            entropy_of_mean: entropy(&teacher.mean_dim([0_i64, 1].as_slice(), false, None::<Kind>)),
        }
    }

    /// What looks collapsed for a width D and K prototypes, in words.
    pub fn collapse(&self, dim: usize, prototypes: i64) -> Option<&'static str> {
        let most = (prototypes as f64).ln();
        if self.cls_std < 0.1 / (dim as f64).sqrt() {
            Some("all pictures look alike to the teacher")
        } else if self.entropy_of_mean < 0.05 * most {
            Some("the teacher names the same prototype for all pictures")
        } else if self.entropy > 0.999 * most {
            Some("the teacher names all prototypes alike")
        } else {
            None
        }
    }
}
