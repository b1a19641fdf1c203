//! Scenes whose truth is known: planes, boxes and cylinders, rendered to depth by casting a ray through each pixel.
//!
//! The camera here is written apart from the one under test, and undoes its lens by Newton's method on differences.

use looptrans_ros::{
    contract::Size,
    perceive::{
        Pixels,
        depth::{Calibration, CameraModel, DepthImage, GraspMeasurer, Rectification, RegionDepth, Scene},
        grasp::GraspRegion,
    },
};

use crate::SETTINGS;

pub type Vec3 = [f64; 3];

pub fn add(a: Vec3, b: Vec3) -> Vec3 {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

pub fn scale(a: Vec3, s: f64) -> Vec3 {
    a.map(|x| x * s)
}

pub fn dot(a: Vec3, b: Vec3) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub fn sub(a: Vec3, b: Vec3) -> Vec3 {
    add(a, scale(b, -1.0))
}

pub fn cross(a: Vec3, b: Vec3) -> Vec3 {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub fn unit(a: Vec3) -> Vec3 {
    scale(a, 1.0 / dot(a, a).sqrt())
}

/// Columns of an orientation, from a quaternion x, y, z, w.
pub fn axes([x, y, z, w]: [f64; 4]) -> [Vec3; 3] {
    [
        [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y + z * w), 2.0 * (x * z - y * w)],
        [2.0 * (x * y - z * w), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z + x * w)],
        [2.0 * (x * z + y * w), 2.0 * (y * z - x * w), 1.0 - 2.0 * (x * x + y * y)],
    ]
}

/// Something to look at. All in the optical frame [m].
#[derive(Clone, Copy)]
pub enum Shape {
    /// All points p with n . p = offset.
    Plane { normal: Vec3, offset: f64 },
    /// Without end caps.
    Cylinder { centre: Vec3, axis: Vec3, radius: f64, half_length: f64 },
    /// `axes` are orthonormal.
    Cuboid { centre: Vec3, axes: [Vec3; 3], half: Vec3 },
}

impl Shape {
    /// Depth at which the ray (z = 1) from the origin meets the shape.
    fn depth(&self, ray: Vec3) -> Option<f64> {
        match *self {
            Self::Plane { normal, offset } => Some(offset / dot(normal, ray)).filter(|t| *t > 0.0),
            Self::Cylinder { centre, axis, radius, half_length } => {
                let flat = |v: Vec3| sub(v, scale(axis, dot(v, axis)));
                let (d, o) = (flat(ray), flat(scale(centre, -1.0)));
                let (a, b, c) = (dot(d, d), dot(d, o), dot(o, o) - radius * radius);
                let root = b * b - a * c;
                if root < 0.0 {
                    return None;
                }
                let t = (-b - root.sqrt()) / a;
                let along = dot(sub(scale(ray, t), centre), axis);
                (t > 0.0 && along.abs() <= half_length).then_some(t)
            }
            Self::Cuboid { centre, axes, half } => {
                let (mut enter, mut leave) = (0.0_f64, f64::INFINITY);
                for (axis, half) in axes.into_iter().zip(half) {
                    let (speed, from) = (dot(ray, axis), -dot(centre, axis));
                    let (a, b) = ((-half - from) / speed, (half - from) / speed);
                    enter = enter.max(a.min(b));
                    leave = leave.min(a.max(b));
                }
                (enter <= leave && enter > 0.0).then_some(enter)
            }
        }
    }
}

/// Forward models, written from the documentation of OpenCV.
#[derive(Debug, Clone, Copy)]
pub enum Lens {
    Pinhole,
    Rational([f64; 8]),
    Equidistant([f64; 4]),
}

impl Lens {
    pub fn distort(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        match *self {
            Self::Pinhole => [x, y],
            Self::Rational([k1, k2, p1, p2, k3, k4, k5, k6]) => {
                let r2 = x * x + y * y;
                let radial = (1.0 + k1 * r2 + k2 * r2.powi(2) + k3 * r2.powi(3))
                    / (1.0 + k4 * r2 + k5 * r2.powi(2) + k6 * r2.powi(3));
                [
                    x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
                    y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
                ]
            }
            Self::Equidistant([k1, k2, k3, k4]) => {
                let r = x.hypot(y);
                if r == 0.0 {
                    return [x, y];
                }
                let t = r.atan();
                let d = t + k1 * t.powi(3) + k2 * t.powi(5) + k3 * t.powi(7) + k4 * t.powi(9);
                [x * d / r, y * d / r]
            }
        }
    }

    pub fn undistort(&self, seen: [f64; 2]) -> [f64; 2] {
        const H: f64 = 1e-7;
        let mut p = seen;
        for _ in 0..50 {
            let at = self.distort(p);
            let e = [seen[0] - at[0], seen[1] - at[1]];
            if e[0].hypot(e[1]) < 1e-12 {
                break;
            }
            let [dx, dy] = [self.distort([p[0] + H, p[1]]), self.distort([p[0], p[1] + H])];
            let (a, c) = ((dx[0] - at[0]) / H, (dx[1] - at[1]) / H);
            let (b, d) = ((dy[0] - at[0]) / H, (dy[1] - at[1]) / H);
            let det = a * d - b * c;
            p = [p[0] + (d * e[0] - b * e[1]) / det, p[1] + (a * e[1] - c * e[0]) / det];
        }
        p
    }
}

#[derive(Clone, Copy)]
pub struct Camera {
    pub size: Size,
    pub focal: [f64; 2],
    pub centre: [f64; 2],
    pub lens: Lens,
}

/// A usual colour camera.
pub fn vga() -> Camera {
    Camera {
        size: Size { height: 480, width: 640 },
        focal: [600.0, 602.0],
        centre: [321.3, 238.1],
        lens: Lens::Pinhole,
    }
}

impl Camera {
    pub fn ray(&self, [u, v]: [f64; 2]) -> Vec3 {
        let [x, y] = self.lens.undistort([(u - self.centre[0]) / self.focal[0], (v - self.centre[1]) / self.focal[1]]);
        [x, y, 1.0]
    }

    pub fn pixel(&self, p: Vec3) -> [f64; 2] {
        let [x, y] = self.lens.distort([p[0] / p[2], p[1] / p[2]]);
        [self.focal[0] * x + self.centre[0], self.focal[1] * y + self.centre[1]]
    }

    pub fn calibration(&self) -> Calibration {
        let (distortion_model, d) = match self.lens {
            Lens::Pinhole => ("plumb_bob", vec![0.0; 5]),
            Lens::Rational(d) => ("rational_polynomial", d.to_vec()),
            Lens::Equidistant(d) => ("equidistant", d.to_vec()),
        };
        let ([fx, fy], [cx, cy]) = (self.focal, self.centre);
        Calibration {
            size: self.size,
            distortion_model: distortion_model.to_owned(),
            d,
            k: vec![fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0],
            p: vec![fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
            ..Calibration::default()
        }
    }

    pub fn model(&self) -> CameraModel {
        CameraModel::new(&self.calibration(), Rectification::Raw, self.size).unwrap()
    }

    /// Depth of the nearest shape at each pixel, row by row; 0 where there is none.
    pub fn render(&self, shapes: &[Shape]) -> Depth {
        self.render_around(shapes, &[[0.0; 2], [f64::from(self.size.width), f64::from(self.size.height)]])
    }

    /// The same for the pixels around `contour`; 0 for all others, which saves most of the work.
    pub fn render_around(&self, shapes: &[Shape], contour: &[[f64; 2]]) -> Depth {
        let Size { width, height } = self.size;
        let side = |axis: usize| {
            let coordinates = || contour.iter().map(|p| p[axis]);
            coordinates().fold(f64::INFINITY, f64::min) - 3.0..coordinates().fold(0.0, f64::max) + 3.0
        };
        let (columns, rows) = (side(0), side(1));
        let pixels = (0..height).flat_map(|v| (0..width).map(move |u| [f64::from(u), f64::from(v)]));
        let nearest = |pixel: [f64; 2]| {
            if !columns.contains(&pixel[0]) || !rows.contains(&pixel[1]) {
                return 0.0;
            }
            let ray = self.ray(pixel);
            let nearest = shapes.iter().filter_map(|shape| shape.depth(ray)).fold(f64::INFINITY, f64::min);
            if nearest.is_finite() { nearest as f32 } else { 0.0 }
        };
        Depth { size: self.size, metres: pixels.map(nearest).collect() }
    }
}

/// A rendered depth image.
#[derive(Clone)]
pub struct Depth {
    pub size: Size,
    pub metres: Vec<f32>,
}

impl Depth {
    pub fn floats(&self) -> Vec<u8> {
        self.metres.iter().flat_map(|m| m.to_le_bytes()).collect()
    }

    pub fn millimetres(&self) -> Vec<u8> {
        self.metres.iter().flat_map(|m| ((m * 1e3).round() as u16).to_le_bytes()).collect()
    }

    /// Measures a region in this image.
    pub fn measure(&self, model: &CameraModel, region: &GraspRegion) -> RegionDepth {
        let data = self.floats();
        let depth = image("32FC1", self.size, &data);
        GraspMeasurer::default().measure(region, &Scene { depth, camera: model }, &SETTINGS)
    }

    /// Normal noise, `share` of the depth.
    pub fn with_noise(mut self, share: f64, seed: u64) -> Self {
        let mut random = Random(seed);
        for metres in &mut self.metres {
            *metres *= (1.0 + share * random.normal()) as f32;
        }
        self
    }

    /// Pixels without depth, `share` of all.
    pub fn with_holes(mut self, share: f64, seed: u64) -> Self {
        let mut random = Random(seed);
        for metres in &mut self.metres {
            if random.uniform() < share {
                *metres = f32::NAN;
            }
        }
        self
    }
}

pub fn image<'a>(encoding: &'a str, size: Size, data: &'a [u8]) -> DepthImage<'a> {
    let stride_bytes = (data.len() / size.height as usize) as u32;
    let Size { width, height } = size;
    let pixels = Pixels::Raw { width, height, encoding, is_bigendian: false, stride_bytes, data };
    DepthImage::new(&pixels, 1 << 24).unwrap()
}

/// A region with this outline, its jaws closing at `closing_angle` [rad].
pub fn region(contour: Vec<[f64; 2]>, point: [f64; 2], closing_angle: f64) -> GraspRegion {
    let closing_angle_rad = closing_angle as f32;
    GraspRegion {
        class_id: 0,
        affordance: "hold".into(),
        score: 0.9,
        score_peak: 1.0,
        contour: contour.into_iter().map(|p| p.map(|c| c as f32)).collect(),
        center: point.map(|c| c as f32),
        size: [2.0, 1.0],
        theta_rad: closing_angle_rad - std::f32::consts::FRAC_PI_2,
        point: point.map(|c| c as f32),
        closing_angle_rad,
        flags: 0,
    }
}

/// The outline of a rectangle on the scene, its corners at centre +- a +- b [m], around the pixel of `point`.
pub fn outline(camera: &Camera, centre: Vec3, a: Vec3, b: Vec3) -> Vec<[f64; 2]> {
    // Edges are curves under a lens.
    const PER_SIDE: usize = 16;
    let corners = [(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0)];
    corners
        .windows(2)
        .flat_map(|ends| {
            let ((a0, b0), (a1, b1)) = (ends[0], ends[1]);
            (0..PER_SIDE).map(move |i| {
                let t = i as f64 / PER_SIDE as f64;
                (a0 + t * (a1 - a0), b0 + t * (b1 - b0))
            })
        })
        .map(|(s, t)| camera.pixel(add(centre, add(scale(a, s), scale(b, t)))))
        .collect()
}

/// SplitMix64 (Steele, Lea & Flood 2014).
pub struct Random(pub u64);

impl Random {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}
