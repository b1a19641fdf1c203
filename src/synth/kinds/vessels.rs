//! Things that hold liquids. They stand, but for the pan, which is seen from above.

use super::super::{
    affordance::Affordance::{DrinkWith, Hold, Open, Pour, Press},
    geometry::{P, p},
    paint::{self, Material, Paint, hex, times},
    shape::{Shape, curve},
    sketch::Sketch,
};

/// A handle along a curve at the side, with the marks of the part at hand.
fn loop_handle(s: &mut Sketch<'_>, (from, pull, to): (P, P, P), radius: f32) {
    let surface = paint::part(s.chance).bevel(radius);
    let points = curve(from, pull, to);
    let (start, end) = (points[2], points[6]);
    s.line(points, radius, surface);
    s.marks(start, end, radius * 0.9);
}

/// A lid's knob.
fn knob(s: &mut Sketch<'_>, at: P, half: P) {
    let surface = paint::part(s.chance).bevel(half.y);
    s.rect(at, half, half.x.min(half.y) * 0.8, surface);
    s.marks(at - p(half.x, 0.0), at + p(half.x, 0.0), half.y * 0.9);
}

pub(super) fn mug(s: &mut Sketch<'_>) {
    let (wide, taper, high) = (s.range(0.5, 0.62), s.range(0.0, 0.14), s.range(0.6, 0.78));
    let surface = paint::body(s.chance).bevel(0.34);
    s.part(Hold);
    let out = s.range(0.5, 0.68);
    loop_handle(s, (p(wide - 0.12, -high * 0.62), p(wide + out * 1.7, -0.1), p(wide - taper - 0.1, high * 0.6)), 0.085);
    s.rest();
    s.polygon(&[(-wide, -high), (wide, -high), (wide - taper, high), (taper - wide, high)], 0.05, surface);
    s.part(DrinkWith);
    let rim = paint::part(s.chance).bevel(0.05);
    s.ellipse(p(0.0, -high), p(wide + 0.06, 0.2), rim);
    s.marks(p(-wide * 0.9, -high + 0.14), p(wide * 0.9, -high + 0.14), 0.08);
    s.ellipse(p(0.0, -high - 0.02), p(wide - 0.06, 0.12), Paint::mark(times(rim.base, 0.35)));
}

pub(super) fn kettle(s: &mut Sketch<'_>) {
    let (wide, high) = (s.range(0.58, 0.7), s.range(0.5, 0.6));
    let surface = if s.chance.happens(0.4) { paint::metal(s.chance) } else { paint::body(s.chance) }.bevel(0.4);
    s.part(Pour);
    let spout = paint::part(s.chance).bevel(0.1);
    let tip = p(-wide - s.range(0.34, 0.44), -0.35);
    s.rod(p(-wide * 0.6, 0.2), tip, (0.2, 0.085), spout);
    s.marks(p(-wide * 0.95, 0.0), tip, 0.12);
    s.part(Hold);
    let top = s.range(0.75, 0.95);
    loop_handle(s, (p(wide * 0.6, -high * 0.6), p(wide + 0.75, -top * 0.8), p(wide * 0.85, high * 0.45)), 0.085);
    s.rest();
    s.ellipse(p(0.0, 0.1), p(wide, high), surface);
    s.rect(p(0.0, high + 0.06), p(wide * 0.6, 0.06), 0.03, surface);
    s.part(Open);
    let lid = paint::part(s.chance).bevel(0.08);
    s.ellipse(p(0.0, -high + 0.12), p(wide * 0.62, 0.14), lid);
    knob(s, p(0.0, -high - 0.1), p(0.16, 0.11));
}

pub(super) fn bottle(s: &mut Sketch<'_>) {
    let (wide, shoulder) = (s.range(0.26, 0.34), s.range(-0.3, -0.1));
    let neck = s.range(0.1, 0.13);
    let glass = Paint { material: Material::Glazed, ..paint::body(s.chance) }.bevel(0.2);
    s.rest();
    s.polygon(
        &[
            (-wide, 0.95),
            (-wide, shoulder),
            (-neck, shoulder - 0.32),
            (neck, shoulder - 0.32),
            (wide, shoulder),
            (wide, 0.95),
        ],
        0.04,
        glass,
    );
    let label = paint::body(s.chance);
    s.rect(p(0.0, 0.4), p(wide + 0.02, 0.3), 0.02, label.bevel(0.02));
    s.part(Pour);
    let collar = paint::part(s.chance).bevel(neck);
    s.rect(p(0.0, shoulder - 0.42), p(neck + 0.025, 0.28), 0.03, collar);
    s.marks(p(0.0, shoulder - 0.66), p(0.0, shoulder - 0.18), neck);
    s.part(Open);
    knob(s, p(0.0, shoulder - 0.78), p(neck + 0.06, 0.12));
}

pub(super) fn wine_glass(s: &mut Sketch<'_>) {
    let (wide, thin) = (s.range(0.36, 0.46), s.range(0.05, 0.07));
    let glass = Paint::new(Material::Glass, hex(0xdfeaf0), hex(0xb8cdd8), s.chance.seed()).bevel(0.16);
    s.rest();
    s.ellipse(p(0.0, 0.92), p(wide * 0.85, 0.09), glass);
    s.polygon(
        &[
            (-wide, -0.9),
            (wide, -0.9),
            (wide * 0.98, -0.4),
            (wide * 0.55, -0.05),
            (0.0, 0.08),
            (-wide * 0.55, -0.05),
            (-wide * 0.98, -0.4),
        ],
        0.03,
        glass,
    );
    let drink = s.chance.pick([0x7a1730, 0xe3c66a, 0xd98a8f]);
    let wine = Paint::new(Material::Glazed, hex(drink), hex(drink), 1).bevel(0.2);
    s.polygon(
        &[
            (-wide * 0.95, -0.5),
            (wide * 0.95, -0.5),
            (wide * 0.9, -0.38),
            (wide * 0.5, -0.08),
            (0.0, 0.04),
            (-wide * 0.5, -0.08),
            (-wide * 0.9, -0.38),
        ],
        0.01,
        wine,
    );
    s.part(Hold);
    let stem = paint::part(s.chance).bevel(thin);
    s.rod(p(0.0, 0.1), p(0.0, 0.86), (thin, thin), stem);
    s.rod(p(0.0, 0.3), p(0.0, 0.62), (thin * 1.6, thin * 1.6), stem);
    s.marks(p(0.0, 0.2), p(0.0, 0.72), thin * 1.4);
    s.part(DrinkWith);
    let rim = paint::part(s.chance).bevel(0.04);
    s.rect(p(0.0, -0.9), p(wide + 0.05, 0.09), 0.06, rim);
    s.marks(p(-wide, -0.9), p(wide, -0.9), 0.075);
}

pub(super) fn spray_bottle(s: &mut Sketch<'_>) {
    let (wide, head) = (s.range(0.36, 0.46), s.range(0.4, 0.5));
    let surface = paint::body(s.chance).bevel(0.25);
    s.part(Press);
    let trigger = paint::part(s.chance).bevel(0.06);
    s.line(curve(p(-0.14, -0.72), p(-0.3, -0.52), p(-0.42, -0.3)), 0.085, trigger);
    s.marks(p(-0.16, -0.66), p(-0.4, -0.32), 0.09);
    s.rest();
    let nozzle = paint::plastic(s.chance);
    s.polygon(
        &[(-head - 0.15, -0.95), (0.22, -1.0), (0.3, -0.72), (0.1, -0.6), (-0.12, -0.6), (-head - 0.15, -0.8)],
        0.04,
        nozzle,
    );
    s.polygon(&[(-0.12, -0.62), (0.12, -0.62), (0.14, -0.4), (-0.14, -0.4)], 0.03, nozzle);
    s.polygon(&[(-wide, 0.95), (-wide, 0.1), (-0.18, -0.35), (0.18, -0.35), (wide, 0.1), (wide, 0.95)], 0.05, surface);
    s.part(Hold);
    let band = paint::part(s.chance).bevel(0.08);
    s.rect(p(0.0, 0.28), p(wide + 0.06, 0.2), 0.08, band);
    s.marks(p(-wide, 0.28), p(wide, 0.28), 0.17);
}

pub(super) fn dispenser(s: &mut Sketch<'_>) {
    let (wide, high) = (s.range(0.42, 0.54), s.range(0.55, 0.7));
    let surface = paint::body(s.chance).bevel(0.25);
    s.rest();
    s.rod(p(0.0, -0.65), p(0.0, -0.2), (0.06, 0.06), Paint::new(Material::Metal, hex(0xc9cdd2), hex(0x8a9097), 2));
    s.rod(p(-0.1, -0.72), p(-0.52, -0.66), (0.07, 0.045), Paint::new(Material::Plain, hex(0xe8e6e0), hex(0xc8c4bc), 2));
    s.rect(p(0.0, 0.95 - high), p(wide, high), 0.12, surface);
    s.part(Open);
    let collar = paint::part(s.chance).bevel(0.06);
    s.rect(p(0.0, 0.92 - 2.0 * high), p(0.25, 0.13), 0.05, collar);
    s.marks(p(-0.24, 0.92 - 2.0 * high), p(0.24, 0.92 - 2.0 * high), 0.12);
    s.part(Press);
    let head = paint::part(s.chance).bevel(0.08);
    let half = s.range(0.2, 0.27);
    s.rect(p(0.02, -0.8), p(half, 0.13), 0.08, head);
    s.marks(p(-0.17, -0.8), p(0.2, -0.8), 0.12);
}

pub(super) fn pan(s: &mut Sketch<'_>) {
    let (wide, thick) = (s.range(0.5, 0.58), s.range(0.075, 0.1));
    let surface = paint::metal(s.chance).bevel(0.1);
    let middle = p(0.45, 0.0);
    s.rest();
    s.rod(p(-0.3, 0.0), p(0.0, 0.0), (thick * 0.6, thick * 0.8), surface);
    s.ellipse(middle, p(wide, wide), surface);
    s.part(Hold);
    let handle = paint::part(s.chance).bevel(thick);
    s.rod(p(-1.0, 0.0), p(-0.22, 0.0), (thick * 1.15, thick * 0.85), handle);
    s.marks(p(-1.0, 0.0), p(-0.25, 0.0), thick);
    s.rest();
    let glass = paint::body(s.chance);
    s.ellipse(middle, p(wide - 0.06, wide - 0.06), Paint { material: Material::Glazed, ..glass }.bevel(0.3));
    s.part(Open);
    let lid = paint::part(s.chance).bevel(0.12);
    let half = s.range(0.17, 0.22);
    s.ellipse(middle, p(half, half), lid);
    s.marks(middle - p(half, 0.0), middle + p(half, 0.0), half * 0.6);
}

pub(super) fn jug(s: &mut Sketch<'_>) {
    let (wide, neck) = (s.range(0.46, 0.56), s.range(0.28, 0.36));
    let surface = paint::body(s.chance).bevel(0.3);
    s.part(Hold);
    loop_handle(s, (p(neck * 0.8, -0.72), p(wide + 0.75, -0.55), p(wide * 0.8, 0.45)), 0.085);
    s.rest();
    s.polygon(
        &[
            (-neck, -0.85),
            (neck, -0.85),
            (neck, -0.5),
            (wide, 0.1),
            (wide, 0.5),
            (wide * 0.7, 0.9),
            (-wide * 0.7, 0.9),
            (-wide, 0.5),
            (-wide, 0.1),
            (-neck, -0.5),
        ],
        0.05,
        surface,
    );
    s.part(Pour);
    let lip = paint::part(s.chance).bevel(0.08);
    let out = s.range(0.3, 0.4);
    s.polygon(
        &[
            (neck * 0.6, -0.95),
            (-neck, -0.98),
            (-neck - out, -1.05),
            (-neck - out * 0.6, -0.85),
            (-neck * 0.9, -0.55),
            (neck * 0.2, -0.78),
        ],
        0.04,
        lip,
    );
    s.marks(p(-neck - out * 0.6, -0.95), p(neck * 0.2, -0.86), 0.12);
}

pub(super) fn travel_cup(s: &mut Sketch<'_>) {
    let (wide, taper) = (s.range(0.44, 0.52), s.range(0.08, 0.16));
    let surface = paint::body(s.chance).bevel(0.3);
    s.rest();
    s.polygon(&[(-wide, -0.5), (wide, -0.5), (wide - taper, 0.95), (taper - wide, 0.95)], 0.04, surface);
    let sleeve = paint::cloth(s.chance);
    s.polygon(
        &[(-wide + 0.02, -0.05), (wide - 0.02, -0.05), (wide - taper * 0.6, 0.55), (taper * 0.6 - wide, 0.55)],
        0.03,
        sleeve.bevel(0.05),
    );
    s.part(DrinkWith);
    let rim = paint::part(s.chance).bevel(0.07);
    s.rect(p(0.0, -0.52), p(wide + 0.07, 0.12), 0.07, rim);
    s.marks(p(-wide, -0.52), p(wide, -0.52), 0.1);
    s.part(Open);
    let lid = paint::part(s.chance).bevel(0.08);
    s.polygon(&[(-wide * 0.78, -0.66), (-wide * 0.6, -0.9), (wide * 0.6, -0.9), (wide * 0.78, -0.66)], 0.05, lid);
    s.marks(p(-wide * 0.6, -0.78), p(wide * 0.6, -0.78), 0.1);
}

pub(super) fn airpot(s: &mut Sketch<'_>) {
    let wide = s.range(0.4, 0.48);
    let surface = if s.chance.happens(0.5) { paint::metal(s.chance) } else { paint::body(s.chance) }.bevel(0.28);
    s.rest();
    s.rect(p(0.05, 0.35), p(wide, 0.62), 0.08, surface);
    let top = paint::plastic(s.chance);
    s.polygon(
        &[(0.05 - wide, -0.25), (0.05 - wide * 0.8, -0.6), (0.05 + wide * 0.8, -0.6), (0.05 + wide, -0.25)],
        0.05,
        top,
    );
    s.part(Pour);
    let spout = paint::part(s.chance).bevel(0.08);
    s.add(
        Shape::Line { points: curve(p(-wide * 0.6, -0.48), p(-wide - 0.4, -0.55), p(-wide - 0.4, -0.05)), radius: 0.1 },
        spout,
    );
    s.marks(p(-wide - 0.15, -0.45), p(-wide - 0.36, -0.05), 0.1);
    s.part(Press);
    let button = paint::part(s.chance).bevel(0.08);
    let half = s.range(0.26, 0.34);
    s.rect(p(0.05, -0.72), p(half, 0.13), 0.09, button);
    s.marks(p(-0.2, -0.72), p(0.3, -0.72), 0.12);
}
