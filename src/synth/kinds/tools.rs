//! Things with a long handle, which lie along x: the handle to the left.

use super::super::{
    affordance::Affordance::{CutWith, Hit, Hold, Stir, Swing},
    geometry::{P, p},
    paint::{self, Material, Paint, hex},
    shape::{Shape, curve},
    sketch::Sketch,
};

/// A grip from `from` to `to` with the marks of the part at hand.
fn grip(s: &mut Sketch<'_>, from: P, to: P, radii: (f32, f32)) {
    let surface = paint::part(s.chance).bevel(radii.0);
    s.rod(from, to, radii, surface);
    s.marks(from, to, radii.0.min(radii.1));
}

pub(super) fn knife(s: &mut Sketch<'_>) {
    let (belly, back, tip) = (s.range(0.2, 0.3), s.range(0.12, 0.2), s.range(-0.12, 0.1));
    let steel = paint::metal(s.chance).bevel(0.05);
    s.part(CutWith);
    s.polygon(
        &[
            (-0.08, -back),
            (0.6, -back),
            (0.85, -back * 0.7),
            (1.02, tip),
            (0.8, belly * 0.6),
            (0.5, belly * 0.95),
            (-0.08, belly),
        ],
        0.0,
        steel,
    );
    s.rod(p(0.0, belly * 0.74), p(0.7, belly * 0.55), (0.012, 0.012), Paint::mark(hex(0xf8fafc)));
    s.marks(p(0.02, 0.0), p(0.85, 0.0), belly * 0.7);
    s.part(Hold);
    let (thick, droop) = (s.range(0.11, 0.16), s.range(0.0, 0.08));
    grip(s, p(-0.95, droop), p(-0.2, 0.0), (thick, thick * 0.85));
    s.rest();
    let collar = paint::metal(s.chance);
    s.rect(p(-0.09, 0.0), p(0.06, thick * 1.25), 0.03, collar);
}

pub(super) fn scissors(s: &mut Sketch<'_>) {
    let (open, length) = (s.range(0.05, 0.2), s.range(0.85, 1.05));
    let (steel, handles) = (paint::metal(s.chance).bevel(0.05), paint::part(s.chance).bevel(0.06));
    for side in [-1.0, 1.0] {
        s.part(CutWith);
        let tip = p(length, side * open);
        s.polygon(
            &[
                (-0.1, -0.07 * side),
                (tip.x, tip.y - 0.02 * side),
                (tip.x - 0.12, tip.y + 0.07 * side),
                (0.05, 0.13 * side),
            ],
            0.01,
            steel,
        );
        s.marks(p(0.1, 0.06 * side), p(tip.x * 0.85, tip.y * 0.8), 0.08);
        s.part(Hold);
        let bow = p(-0.72, -side * (0.27 + open * 0.5));
        s.rod(p(-0.05, side * 0.02), p(-0.45, -side * (0.1 + open * 0.4)), (0.08, 0.07), handles);
        s.ring(bow, p(0.26, 0.2), 0.07, handles);
        s.marks(bow + p(-0.2, -side * 0.2), bow + p(0.25, -side * 0.2), 0.06);
    }
    s.rest();
    s.ellipse(p(0.0, 0.0), p(0.055, 0.055), Paint::new(Material::Metal, hex(0x777c82), hex(0x4a4e53), 3));
}

pub(super) fn hammer(s: &mut Sketch<'_>) {
    let (thick, reach) = (s.range(0.075, 0.11), s.range(0.32, 0.42));
    s.rest();
    let shaft = paint::wood(s.chance).bevel(thick);
    s.rod(p(-0.3, 0.0), p(0.8, 0.0), (thick * 0.8, thick * 0.75), shaft);
    s.part(Hold);
    grip(s, p(-0.95, 0.0), p(-0.2, 0.0), (thick * 1.25, thick));
    let steel = paint::metal(s.chance).bevel(0.1);
    s.rest();
    s.add(Shape::Line { points: curve(p(0.8, 0.1), p(0.88, -0.3), p(0.6, -reach - 0.1)), radius: 0.06 }, steel);
    s.part(Hit);
    s.rect(p(0.8, reach * 0.25), p(0.13, reach * 0.65), 0.05, steel);
    s.rect(p(0.8, reach * 0.95), p(0.18, 0.12), 0.04, steel);
    s.marks(p(0.8, -0.1), p(0.8, reach + 0.08), 0.12);
}

pub(super) fn racket(s: &mut Sketch<'_>) {
    let (long, wide) = (s.range(0.45, 0.52), s.range(0.34, 0.44));
    let frame = paint::plastic(s.chance).bevel(0.04);
    let middle = p(0.5, 0.0);
    s.part(Hit);
    let strings = paint::Paint::new(Material::Glass, hex(0xe8e6da), hex(0xd0d4c8), 5).bevel(0.0);
    s.ellipse(middle, p(long, wide), strings);
    for step in -4_i8..=4 {
        let share = f32::from(step) / 5.0;
        let reach = (1.0 - share * share).sqrt();
        let thin = Paint::mark(hex(0x8b8f86));
        s.rod(middle + p(long * share, -wide * reach), middle + p(long * share, wide * reach), (0.009, 0.009), thin);
        s.rod(middle + p(-long * reach, wide * share), middle + p(long * reach, wide * share), (0.009, 0.009), thin);
    }
    s.marks(middle - p(long * 0.7, 0.0), middle + p(long * 0.7, 0.0), wide * 0.5);
    s.rest();
    s.ring(middle, p(long, wide), 0.045, frame);
    for side in [-0.16, 0.16] {
        s.rod(p(-0.25, 0.0), p(0.08, side), (0.04, 0.04), frame);
    }
    s.part(Swing);
    let thick = s.range(0.07, 0.09);
    grip(s, p(-1.0, 0.0), p(-0.28, 0.0), (thick, thick * 0.85));
}

pub(super) fn bat(s: &mut Sketch<'_>) {
    let (thick, thin) = (s.range(0.14, 0.2), s.range(0.055, 0.075));
    let wood = if s.chance.happens(0.7) { paint::wood(s.chance) } else { paint::metal(s.chance) }.bevel(thick);
    s.rest();
    s.rod(p(-0.5, 0.0), p(0.4, 0.0), (thin, thick * 0.9), wood);
    s.part(Hit);
    s.rod(p(0.25, 0.0), p(0.9, 0.0), (thick * 0.85, thick), wood);
    s.marks(p(0.3, 0.0), p(0.95, 0.0), thick * 0.8);
    s.part(Swing);
    grip(s, p(-1.0, 0.0), p(-0.35, 0.0), (thin * 1.15, thin * 1.25));
    s.ellipse(p(-1.04, 0.0), p(0.055, thin * 1.9), wood);
}

pub(super) fn spoon(s: &mut Sketch<'_>) {
    let (wide, thick) = (s.range(0.2, 0.27), s.range(0.055, 0.085));
    let surface = if s.chance.happens(0.5) { paint::wood(s.chance) } else { paint::metal(s.chance) }.bevel(0.08);
    s.rest();
    s.rod(p(-0.2, 0.0), p(0.5, 0.0), (thick * 0.7, thick * 0.8), surface);
    s.part(Stir);
    s.ellipse(p(0.68, 0.0), p(0.34, wide), surface);
    let hollow =
        Paint { base: paint::times(surface.base, 0.84), second: paint::times(surface.second, 0.84), ..surface };
    s.ellipse(p(0.7, 0.0), p(0.25, wide * 0.72), hollow.bevel(0.02));
    s.marks(p(0.45, 0.0), p(0.93, 0.0), wide * 0.55);
    s.part(Hold);
    grip(s, p(-0.95, 0.0), p(-0.15, 0.0), (thick * 1.3, thick));
}

pub(super) fn whisk(s: &mut Sketch<'_>) {
    let (wide, thick) = (s.range(0.28, 0.36), s.range(0.07, 0.1));
    let wire = paint::metal(s.chance).bevel(0.02);
    s.part(Stir);
    let veil = Paint::new(Material::Glass, hex(0xd5d8dc), hex(0xb9bec4), 9).bevel(0.0);
    s.ellipse(p(0.48, 0.0), p(0.46, wide * 0.95), Paint { material: Material::Glass, ..veil });
    for share in [1.0, 0.66, 0.3] {
        s.ring(p(0.45, 0.0), p(0.5, wide * share), 0.018, wire);
    }
    s.marks(p(0.25, 0.0), p(0.9, 0.0), wide * 0.5);
    s.rest();
    let collar = paint::metal(s.chance);
    s.rod(p(-0.2, 0.0), p(0.02, 0.0), (thick * 0.9, thick * 0.9), collar);
    s.part(Hold);
    grip(s, p(-0.95, 0.0), p(-0.2, 0.0), (thick, thick * 1.1));
}

pub(super) fn saw(s: &mut Sketch<'_>) {
    let (high, low) = (s.range(0.2, 0.28), s.range(0.1, 0.16));
    let steel = paint::metal(s.chance).bevel(0.04);
    let mut outline = vec![(-0.35, -high), (1.0, -low), (1.0, low * 0.6)];
    outline.extend((0..22_u8).map(|tooth| {
        let share = f32::from(tooth) / 21.0;
        let edge = low * 0.6 + (high - low * 0.6) * share;
        (0.98 - 1.33 * share, edge + if tooth % 2 == 0 { 0.0 } else { 0.06 })
    }));
    s.part(CutWith);
    s.polygon(&outline, 0.0, steel);
    s.marks(p(-0.2, 0.0), p(0.9, 0.0), low);
    s.part(Hold);
    let handle = paint::part(s.chance).bevel(0.08);
    let middle = p(-0.66, 0.02);
    s.ring(middle, p(0.26, 0.24), 0.09, handle);
    s.rod(p(-0.42, -0.22), p(-0.3, 0.2), (0.08, 0.08), handle);
    s.marks(p(-0.92, -0.2), p(-0.92, 0.24), 0.08);
}

pub(super) fn axe(s: &mut Sketch<'_>) {
    let (wide, thick) = (s.range(0.42, 0.55), s.range(0.065, 0.085));
    let shaft = paint::wood(s.chance).bevel(thick);
    s.rest();
    s.rod(p(-0.5, 0.0), p(0.95, 0.0), (thick, thick), shaft);
    s.part(Swing);
    grip(s, p(-1.0, 0.02), p(-0.3, 0.0), (thick * 1.25, thick));
    let head = paint::metal(s.chance).bevel(0.06);
    s.part(CutWith);
    s.polygon(
        &[(0.6, -0.14), (0.95, -0.14), (0.98, 0.12), (1.12, wide), (0.78, wide + 0.08), (0.42, wide), (0.58, 0.12)],
        0.02,
        head,
    );
    s.line(curve(p(1.1, wide), p(0.78, wide + 0.12), p(0.44, wide)), 0.025, Paint::mark(hex(0xf2f5f8)));
    s.marks(p(0.55, wide * 0.6), p(1.0, wide * 0.6), 0.14);
}

pub(super) fn ladle(s: &mut Sketch<'_>) {
    let (deep, thick) = (s.range(0.26, 0.33), s.range(0.04, 0.06));
    let surface = paint::metal(s.chance).bevel(0.12);
    s.rest();
    s.line(curve(p(-0.3, -0.2), p(0.35, -0.25), p(0.5, -0.02)), thick, surface);
    s.part(Stir);
    s.ellipse(p(0.66, 0.12), p(0.32, deep), surface);
    let hollow =
        Paint { base: paint::times(surface.base, 0.75), second: paint::times(surface.second, 0.75), ..surface };
    s.ellipse(p(0.66, 0.05), p(0.26, deep * 0.66), hollow.bevel(0.02));
    s.marks(p(0.42, 0.1), p(0.9, 0.1), deep * 0.5);
    s.part(Hold);
    grip(s, p(-1.0, -0.2), p(-0.2, -0.2), (thick * 1.5, thick * 1.3));
}

pub(super) fn golf_club(s: &mut Sketch<'_>) {
    let (thin, head) = (s.range(0.03, 0.04), s.range(0.26, 0.34));
    let steel = paint::metal(s.chance).bevel(thin);
    s.rest();
    s.rod(p(-0.4, 0.0), p(0.92, 0.0), (thin, thin), steel);
    s.part(Swing);
    grip(s, p(-1.1, 0.0), p(-0.35, 0.0), (thin * 2.1, thin * 1.6));
    s.part(Hit);
    let surface = paint::part(s.chance).bevel(0.1);
    s.polygon(
        &[(0.86, -0.06), (1.02, -0.04), (1.12, head), (1.0, head + 0.16), (0.76, head + 0.1), (0.84, 0.1)],
        0.04,
        surface,
    );
    s.marks(p(0.93, 0.06), p(0.97, head + 0.1), 0.11);
}
