//! Bags, seats and what else stands on the floor.

use super::super::{
    affordance::Affordance::{Carry, Open, Pour, Push, SitOn},
    geometry::{P, p},
    paint::{self, Material, Paint, hex, times},
    shape::{Shape, curve},
    sketch::Sketch,
};

/// An arched handle with the marks of the part at hand.
fn arch(s: &mut Sketch<'_>, (left, pull, right): (P, P, P), radius: f32) {
    let surface = paint::part(s.chance).bevel(radius);
    let points = curve(left, pull, right);
    let (from, middle, to) = (points[2], points[4], points[6]);
    s.line(points, radius, surface);
    s.marks(p(from.x, middle.y), p(to.x, middle.y), radius * 0.95);
}

fn legs(s: &mut Sketch<'_>, places: [f32; 4], (top, bottom): (f32, f32), paint: Paint) {
    for (index, x) in places.into_iter().enumerate() {
        // The two in the middle are the far ones.
        let far = index == 1 || index == 2;
        let shade = if far { 0.72 } else { 1.0 };
        let surface = Paint { base: times(paint.base, shade), second: times(paint.second, shade), ..paint };
        s.rod(p(x, top), p(x * 1.06, if far { bottom - 0.14 } else { bottom }), (0.055, 0.045), surface);
    }
}

pub(super) fn suitcase(s: &mut Sketch<'_>) {
    let (wide, high) = (s.range(0.58, 0.72), s.range(0.52, 0.66));
    let surface = if s.chance.happens(0.5) { paint::body(s.chance) } else { paint::leather(s.chance) }.bevel(0.14);
    let middle = p(0.0, 0.3);
    s.rest();
    let tube = paint::metal(s.chance).bevel(0.03);
    let rise = 0.3 - high - s.range(0.62, 0.72);
    for x in [-0.36, 0.36] {
        s.rod(p(x, 0.3 - high), p(x, rise), (0.035, 0.035), tube);
        s.ellipse(p(x * 1.3, 0.34 + high), p(0.09, 0.09), Paint::new(Material::Plain, hex(0x222326), hex(0x111111), 1));
    }
    s.part(Push);
    let bar = paint::part(s.chance).bevel(0.07);
    s.rod(p(-0.4, rise), p(0.4, rise), (0.085, 0.085), bar);
    s.marks(p(-0.4, rise), p(0.4, rise), 0.08);
    s.part(Carry);
    arch(s, (p(-0.26, 0.3 - high), p(0.0, -0.2 - high), p(0.26, 0.3 - high)), 0.075);
    s.rest();
    s.rect(middle, p(wide, high), 0.12, surface);
    for x in [-0.62, 0.62] {
        s.rod(p(x * wide, 0.36 - high), p(x * wide, 0.24 + high), (0.02, 0.02), Paint::mark(times(surface.base, 0.6)));
    }
    s.part(Open);
    let latch = paint::part(s.chance).bevel(0.05);
    let half = p(s.range(0.2, 0.27), 0.13);
    s.rect(middle + p(0.0, -0.1), half, 0.05, latch);
    s.marks(middle + p(-half.x, -0.1), middle + p(half.x, -0.1), 0.11);
}

pub(super) fn chair(s: &mut Sketch<'_>) {
    let (wide, seat, rise) = (s.range(0.42, 0.52), s.range(0.02, 0.16), s.range(0.8, 0.95));
    let frame = if s.chance.happens(0.6) { paint::wood(s.chance) } else { paint::metal(s.chance) }.bevel(0.06);
    s.rest();
    legs(s, [-wide, -wide * 0.55, wide * 0.7, wide], (seat, 0.95), frame);
    for x in [-wide * 0.8, wide * 0.8] {
        s.rod(p(x, seat), p(x, seat - rise), (0.055, 0.05), frame);
    }
    s.rod(p(-wide * 0.8, seat - 0.32), p(wide * 0.8, seat - 0.32), (0.04, 0.04), frame);
    s.part(Push);
    let back = paint::part(s.chance).bevel(0.08);
    let deep = s.range(0.15, 0.22);
    s.rect(p(0.0, seat - rise + deep * 0.5), p(wide, deep), 0.08, back);
    s.marks(p(-wide, seat - rise + deep * 0.5), p(wide, seat - rise + deep * 0.5), deep * 0.8);
    s.part(SitOn);
    let cushion = paint::part(s.chance).bevel(0.08);
    s.polygon(
        &[
            (-wide * 0.86, seat - 0.1),
            (wide * 0.86, seat - 0.1),
            (wide * 1.12, seat + 0.12),
            (-wide * 1.12, seat + 0.12),
        ],
        0.06,
        cushion,
    );
    s.marks(p(-wide, seat + 0.01), p(wide, seat + 0.01), 0.12);
}

pub(super) fn wheelchair(s: &mut Sketch<'_>) {
    let (seat, wheel) = (s.range(0.1, 0.2), s.range(0.44, 0.52));
    let frame = paint::metal(s.chance).bevel(0.04);
    let hub = p(0.22, 0.95 - wheel);
    s.rest();
    s.rod(p(0.4, -0.75), p(0.34, 0.4), (0.05, 0.05), frame);
    s.line(vec![p(0.35, seat + 0.1), p(-0.5, seat + 0.1), p(-0.62, 0.72), p(-0.9, 0.74)], 0.045, frame);
    s.ring(p(-0.5, 0.83), p(0.1, 0.1), 0.04, Paint::new(Material::Plain, hex(0x2a2b2e), hex(0x111111), 1));
    let back = paint::cloth(s.chance);
    s.polygon(&[(0.26, -0.6), (0.4, -0.6), (0.38, seat), (0.22, seat)], 0.05, back);
    let tyre = Paint::new(Material::Plain, hex(0x2a2b2e), hex(0x151515), 1).bevel(0.04);
    for spoke in 0..6_u8 {
        let way = super::super::geometry::direction(f32::from(spoke) / 12.0) * (wheel - 0.05);
        s.rod(hub - way, hub + way, (0.012, 0.012), frame);
    }
    s.ring(hub, p(wheel - 0.05, wheel - 0.05), 0.05, tyre);
    s.ellipse(hub, p(0.07, 0.07), frame);
    s.part(SitOn);
    let cushion = paint::part(s.chance).bevel(0.08);
    s.rect(p(-0.1, seat), p(0.44, 0.12), 0.07, cushion);
    s.marks(p(-0.5, seat), p(0.3, seat), 0.1);
    s.part(Push);
    let bar = paint::part(s.chance).bevel(0.08);
    s.rod(p(0.36, -0.76), p(0.86, -0.84), (0.085, 0.095), bar);
    s.marks(p(0.36, -0.76), p(0.86, -0.84), 0.085);
}

pub(super) fn handbag(s: &mut Sketch<'_>) {
    let (wide, high, slant) = (s.range(0.58, 0.75), s.range(0.42, 0.55), s.range(0.02, 0.16));
    let surface = if s.chance.happens(0.6) { paint::leather(s.chance) } else { paint::body(s.chance) }.bevel(0.14);
    s.part(Carry);
    let (x, top) = (wide * 0.55, 0.4 - high);
    let rise = s.range(1.1, 1.4);
    arch(s, (p(-x, top + 0.05), p(0.0, top - rise), p(x, top + 0.05)), 0.075);
    s.rest();
    s.polygon(&[(slant - wide, top), (wide - slant, top), (wide, 0.4 + high), (-wide, 0.4 + high)], 0.07, surface);
    s.polygon(
        &[
            (slant - wide, top - 0.02),
            (wide - slant, top - 0.02),
            (wide * 0.7, top + high * 0.75),
            (-wide * 0.7, top + high * 0.75),
        ],
        0.05,
        surface.bevel(0.05),
    );
    s.part(Open);
    let clasp = paint::part(s.chance).bevel(0.06);
    let half = p(s.range(0.17, 0.23), 0.14);
    let at = p(0.0, top + high * 0.75);
    s.rect(at, half, 0.07, clasp);
    s.marks(at - p(half.x, 0.0), at + p(half.x, 0.0), 0.12);
}

pub(super) fn watering_can(s: &mut Sketch<'_>) {
    let (wide, high) = (s.range(0.4, 0.5), s.range(0.42, 0.52));
    let surface = if s.chance.happens(0.5) { paint::metal(s.chance) } else { paint::body(s.chance) }.bevel(0.2);
    s.part(Carry);
    let rise = s.range(0.95, 1.15);
    arch(s, (p(0.3 - wide * 0.8, 0.42 - high), p(0.35, 0.3 - high - rise), p(0.3 + wide * 0.9, 0.5 - high)), 0.08);
    s.rest();
    s.rod(p(0.0, 0.6), p(-0.62, -0.2), (0.11, 0.07), surface);
    s.part(Pour);
    let spout = paint::part(s.chance).bevel(0.08);
    let tip = p(-0.92, -0.52);
    s.polygon(&[(-0.5, -0.18), (-0.66, -0.02), (tip.x - 0.16, tip.y + 0.1), (tip.x + 0.16, tip.y - 0.14)], 0.05, spout);
    s.marks(p(-0.55, -0.08), tip, 0.13);
    s.rest();
    s.polygon(
        &[
            (0.3 - wide * 0.85, 0.4 - high),
            (0.3 + wide * 0.85, 0.4 - high),
            (0.3 + wide, 0.4 + high),
            (0.3 - wide, 0.4 + high),
        ],
        0.05,
        surface,
    );
    s.ellipse(p(0.3, 0.4 - high), p(wide * 0.88, 0.1), Paint::mark(times(surface.base, 0.4)));
}

pub(super) fn basket(s: &mut Sketch<'_>) {
    let (wide, high) = (s.range(0.62, 0.76), s.range(0.34, 0.44));
    let (light, dark) = s.chance.pick([(0xd0a566, 0x8b5f30), (0xb98a52, 0x6f4a26), (0xe0c48e, 0xa9844c)]);
    let wicker = Paint::new(Material::Checks, hex(light), hex(dark), s.chance.seed()).bevel(0.14);
    s.part(Carry);
    let rise = s.range(1.5, 1.8);
    arch(s, (p(-wide * 0.85, 0.4 - high), p(0.0, 0.4 - high - rise), p(wide * 0.85, 0.4 - high)), 0.075);
    s.rest();
    s.polygon(
        &[(-wide, 0.42 - high), (wide, 0.42 - high), (wide * 0.8, 0.45 + high), (-wide * 0.8, 0.45 + high)],
        0.06,
        wicker,
    );
    for row in 0..3_u8 {
        let y = 0.45 - high * 0.4 + f32::from(row) * high * 0.45;
        s.rod(p(-wide * 0.85, y), p(wide * 0.85, y), (0.02, 0.02), Paint::mark(times(hex(dark), 0.8)));
    }
    s.part(Open);
    let lid = paint::part(s.chance).bevel(0.08);
    s.polygon(
        &[
            (-wide * 0.98, 0.36 - high),
            (wide * 0.98, 0.36 - high),
            (wide * 0.8, 0.16 - high),
            (-wide * 0.8, 0.16 - high),
        ],
        0.06,
        lid,
    );
    s.marks(p(-wide * 0.8, 0.26 - high), p(wide * 0.8, 0.26 - high), 0.12);
}

pub(super) fn bench(s: &mut Sketch<'_>) {
    let (wide, seat, rise) = (s.range(0.85, 1.0), s.range(0.2, 0.3), s.range(0.6, 0.75));
    let frame = if s.chance.happens(0.5) { paint::wood(s.chance) } else { paint::metal(s.chance) }.bevel(0.06);
    s.rest();
    legs(s, [-wide * 0.9, -wide * 0.72, wide * 0.72, wide * 0.9], (seat, 0.85), frame);
    for x in [-wide * 0.75, wide * 0.75] {
        s.rod(p(x, seat), p(x, seat - rise), (0.05, 0.045), frame);
    }
    s.part(Push);
    let back = paint::part(s.chance).bevel(0.06);
    s.add(Shape::Box { centre: p(0.0, seat - rise + 0.08), half: p(wide * 0.95, 0.16), rounding: 0.05 }, back);
    s.marks(p(-wide * 0.8, seat - rise + 0.08), p(wide * 0.8, seat - rise + 0.08), 0.13);
    s.part(SitOn);
    let plank = paint::part(s.chance).bevel(0.06);
    s.polygon(
        &[(-wide * 0.9, seat - 0.08), (wide * 0.9, seat - 0.08), (wide, seat + 0.12), (-wide, seat + 0.12)],
        0.04,
        plank,
    );
    s.marks(p(-wide * 0.85, seat + 0.02), p(wide * 0.85, seat + 0.02), 0.11);
}
