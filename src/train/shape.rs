//! Shapes, checked before libtorch sees them: it would stop the program.

use tch::{Kind, Tensor};

use super::TrainError;

/// Any number of at least 1 on this axis.
pub(super) const ANY: i64 = -1;

/// Is the tensor of this shape? `words` names the axes for people.
pub(super) fn expect(what: &'static str, tensor: &Tensor, shape: &[i64], words: &str) -> Result<(), TrainError> {
    let found = tensor.size();
    let fits = |(&wanted, &found): (&i64, &i64)| found == wanted || (wanted == ANY && found > 0);
    if found.len() == shape.len() && shape.iter().zip(&found).all(fits) {
        return Ok(());
    }
    let sides: Vec<String> =
        shape.iter().map(|side| if *side == ANY { "any".to_owned() } else { side.to_string() }).collect();
    Err(TrainError::Input { what, expected: format!("{words} = [{}]", sides.join(", ")), found })
}

/// Are these class labels [b] of one of so many actions each?
pub(super) fn expect_labels(labels: &Tensor, images: i64, actions: i64) -> Result<(), TrainError> {
    expect("labels", labels, &[images], "[b]")?;
    if labels.kind() != Kind::Int64 {
        let expected = "int64".to_owned();
        return Err(TrainError::Values { what: "labels", expected, found: format!("{:?}", labels.kind()) });
    }
    let (least, most) = (labels.min().int64_value(&[]), labels.max().int64_value(&[]));
    if least < 0 || most >= actions {
        let expected = format!("0 to {}, one of the {actions} actions", actions - 1);
        return Err(TrainError::Values { what: "labels", expected, found: format!("{least} to {most}") });
    }
    Ok(())
}
