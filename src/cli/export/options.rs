//! What the options of `export` mean.

use clap::builder::PossibleValuesParser;

use crate::{
    contract::Size,
    export::rewrites::{Rewrite, Rewrites},
};

/// Every rewrite at once.
const ALL: &str = "all";

/// `288x512` (height x width) or `448`.
pub(super) fn size(text: &str) -> Result<Size, String> {
    let side = |text: &str| text.parse::<u32>().ok().filter(|side| *side > 0);
    let sides = match text.split_once('x') {
        Some((height, width)) => side(height).zip(side(width)),
        None => side(text).map(|side| (side, side)),
    };
    let (height, width) = sides.ok_or("expected height x width in pixels, like 288x512, or one side, like 448")?;
    Ok(Size { height, width })
}

/// The names of rewrites, `all` among them or not.
pub(super) fn rewrite_names(with_all: bool) -> PossibleValuesParser {
    PossibleValuesParser::new(Rewrite::ALL.map(Rewrite::name).into_iter().chain(with_all.then_some(ALL)))
}

/// The standard ones, less those of `without`, and those of `with`.
pub(super) fn rewrites(without: &[String], with: &[String]) -> Rewrites {
    let start = if without.iter().any(|name| name == ALL) { Rewrites::none() } else { Rewrites::standard() };
    let named = |names: &[String]| names.iter().filter_map(|name| Rewrite::named(name)).collect::<Vec<_>>();
    let less = named(without).into_iter().fold(start, Rewrites::without);
    named(with).into_iter().fold(less, Rewrites::with)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_height_by_width_or_a_side() {
        assert_eq!(size("288x512"), Ok(Size { height: 288, width: 512 }));
        assert_eq!(size("448"), Ok(Size { height: 448, width: 448 }));
        for wrong in ["", "x", "0", "224x", "224x0", "-224", "224x224x3", "224 x 224", "4294967296"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rewrites_are_left_out_first_and_added_then() {
        let set = |without: &str, with: &str| {
            let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
            rewrites(&list(without), &list(with))
        };
        assert_eq!(set("", ""), Rewrites::standard());
        assert_eq!(set("trim,fold-scale", ""), Rewrites::standard().without(Rewrite::Trim).without(Rewrite::FoldScale));
        assert_eq!(set("all", "trim"), Rewrites::none().with(Rewrite::Trim));
        assert_eq!(set("", "fused-attention"), Rewrites::standard().with(Rewrite::FusedAttention));
    }
}
