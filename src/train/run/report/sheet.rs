//! Test pictures with heat and ground truth laid over them, as data URIs.

use std::io::Cursor;

use base64ct::{Base64, Encoding};
use image::{ImageFormat, RgbImage};

use crate::{
    data::{DataError, TestItem, truth},
    perceive::{FrameError, picture},
    train::{
        TrainError,
        run::{
            evaluate::{Evaluation, Test, heat},
            pictures::{laid_over, small},
        },
    },
};

/// Pictures on the sheet.
const SHOWN: usize = 12;

/// A figure for some of the items that were scored, spread evenly over them.
pub(super) fn figures(evaluation: &Evaluation, test: &mut Test<'_>) -> Result<Vec<String>, TrainError> {
    let scored = &evaluation.items;
    let count = SHOWN.min(scored.len());
    let shown: Vec<_> = (0..count).map(|index| scored[index * scored.len() / count]).collect();
    let items: Vec<usize> = shown.iter().map(|(item, _)| *item).collect();
    let maps = heat(test, &items)?;
    let mut figures = Vec::new();
    for ((item, scores), map) in shown.iter().zip(maps) {
        let TestItem { label, object, picture: path, truth } = &test.dataset.test[*item];
        let failed = |cause: FrameError| DataError::Resize { path: path.clone(), cause: cause.to_string() };
        let picture = small(&picture::load(path, &test.limits)?).map_err(failed)?;
        let truth = truth::load(truth, &test.limits)?;
        let heat = laid_over(&picture, map.mapv(f64::from).view()).map_err(failed)?;
        let truth = laid_over(&picture, truth.view()).map_err(failed)?;
        let images: String = [&picture, &heat, &truth].map(tag).concat();
        let action = super::escaped(&test.dataset.affordances[*label]);
        let object = super::escaped(object);
        let kld = scores.kld;
        figures.push(format!("<figure>{images}<figcaption>{action}, {object}: KLD {kld:.3}</figcaption></figure>"));
    }
    Ok(figures)
}

fn tag(picture: &RgbImage) -> String {
    let mut png = Cursor::new(Vec::new());
    match picture.write_to(&mut png, ImageFormat::Png) {
        Ok(()) => format!("<img alt=\"\" src=\"data:image/png;base64,{}\">", Base64::encode_string(png.get_ref())),
        Err(_) => String::new(),
    }
}
