//! Colours and blur of small pictures, levels in [0, 1].

/// Row by row, [red, green, blue].
pub(super) type Pixels = Vec<[f32; 3]>;

/// ITU-R 601's, as Pillow's grey.
pub(super) fn luma([red, green, blue]: &[f32; 3]) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Turns hues by so much of a circle; value and saturation (HSV) stay.
pub(super) fn hue(pixels: &mut Pixels, turn: f32) {
    for pixel in pixels {
        let [red, green, blue] = *pixel;
        let most = red.max(green).max(blue);
        let range = most - red.min(green).min(blue);
        if range <= 0.0 {
            continue;
        }
        let sixth = if most == red {
            (green - blue) / range
        } else if most == green {
            (blue - red) / range + 2.0
        } else {
            (red - green) / range + 4.0
        };
        let turned = sixth + 6.0 * turn;
        // Each channel falls off with its distance from its own hue.
        *pixel = [5.0, 3.0, 1.0].map(|offset: f32| {
            let place = (offset + turned).rem_euclid(6.0);
            most - range * place.min(4.0 - place).clamp(0.0, 1.0)
        });
    }
}

/// Gaussian blur of a square picture; beyond its edge lies more of the edge.
pub(super) fn blur(pixels: &mut Pixels, side: usize, sigma: f32) {
    let radius = (3.0 * sigma).ceil() as isize;
    let weights: Vec<f32> = (-radius..=radius).map(|d| (-(d * d) as f32 / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let last = side as isize - 1;
    // Rows, turned by a quarter so that the second round does the columns and turns them back.
    for _ in 0..2 {
        let mut turned = vec![[0.0; 3]; pixels.len()];
        for y in 0..side {
            let row = &pixels[y * side..][..side];
            for x in 0..side {
                let mut mixed = [0.0; 3];
                for (weight, d) in weights.iter().zip(-radius..) {
                    let pixel = row[(x as isize + d).clamp(0, last) as usize];
                    mixed.iter_mut().zip(pixel).for_each(|(mixed, level)| *mixed += weight / sum * level);
                }
                turned[x * side + y] = mixed.map(|level: f32| level.clamp(0.0, 1.0));
            }
        }
        *pixels = turned;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hues_turn_from_red_over_green_to_blue() {
        let mut pixels = vec![[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.2, 0.8, 0.4]];
        hue(&mut pixels, 1.0 / 3.0);
        let expected = [[0.0, 1.0, 0.0], [0.5, 0.5, 0.5], [0.4, 0.2, 0.8]];
        for (found, expected) in pixels.iter().flatten().zip(expected.iter().flatten()) {
            assert!((found - expected).abs() < 1e-6, "{pixels:?}");
        }
    }

    #[test]
    fn blur_spreads_a_point_evenly_and_keeps_its_sum() {
        let mut pixels = vec![[0.0; 3]; 81];
        pixels[40] = [1.0; 3];
        blur(&mut pixels, 9, 1.0);
        let sum: f32 = pixels.iter().map(|pixel| pixel[0]).sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert!((pixels[41][0] / pixels[40][0] - (-0.5_f32).exp()).abs() < 1e-5);
        assert!((pixels[31][1] - pixels[49][1]).abs() < 1e-7 && (pixels[39][2] - pixels[31][2]).abs() < 1e-7);
    }
}
