//! L_cls: does the class activation map know the action?

use tch::Tensor;

use super::super::tensor::cross_entropy;

/// Cross-entropy of one view's class scores [b, C+M] against labels [b]: the noise heads are further wrong answers.
pub fn ego(logits: &Tensor, labels: &Tensor) -> Tensor {
    cross_entropy(logits, labels)
}

/// Mean over the exocentric pictures of their cross-entropy: scores [b, n, C+M], labels [b].
pub fn exo(logits: &Tensor, labels: &Tensor) -> Tensor {
    let labels = labels.unsqueeze(1).expand([-1, logits.size()[1]], false);
    cross_entropy(&logits.flatten(0, 1), &labels.flatten(0, 1))
}
