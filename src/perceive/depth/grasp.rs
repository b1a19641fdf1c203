//! A region, its depth and the camera to a grasp in metres.

use nalgebra::{Rotation3, UnitQuaternion, Vector3};

use super::{
    CameraModel, DEPTH_EDGE, DEPTH_SPARSE, DepthImage, DepthSettings, NORMAL_UNSTABLE, TOO_NARROW, TOO_WIDE,
    patch::RegionPatch,
    plane::{Plane, Sample},
    width::{Axes, Extent, Ruler},
};
use crate::perceive::grasp::GraspRegion;

/// A region with less valid depth than this share is sparse.
const SPARSE_SHARE: f64 = 0.3;
/// The surface around the contact point is fitted within this radius [m]: a finger's half width.
const FIT_RADIUS_M: f64 = 0.010;
/// But at least and at most within these radii [px].
const FIT_RADIUS_PX: [f64; 2] = [5.0, 60.0];
/// Pixels of a fit.
const FIT_SAMPLES: usize = 400;
/// Pixels nearest to the contact point that correct the fitted plane's depth there.
const CONTACT_RADIUS_PX: f64 = 2.0;
/// The two halves of the fitted surface may lean this far apart [rad].
const STABLE_BEND: f64 = 1.05;
/// The normal may be this unsure [rad].
const STABLE_TILT_SIGMA: f64 = 0.17;

/// What to measure in: the picture's depth image and camera. Both must be of the picture's size.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// Registered to the picture.
    pub depth: DepthImage<'a>,
    /// The picture's camera.
    pub camera: &'a CameraModel,
}

/// A grasp in the optical frame; metres, unit vectors and a unit quaternion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricGrasp {
    /// The contact point on the surface. Where the region's own point lies on the background behind a depth edge, the
    /// nearest place of the foreground.
    pub position_m: [f64; 3],
    /// Quaternion x, y, z, w: +x is the closing direction, +z the approach into the surface.
    pub orientation_xyzw: [f64; 4],
    /// Distance between the visible ends of the surface on both sides of the contact point. At least the extent along the
    /// closing direction; more where a side face is seen too.
    pub width_m: f64,
    /// Standard deviation of the width: border pixels, depth noise, how it differs within a finger's width, and by how
    /// much it exceeds the extent along the closing direction.
    pub width_stddev_m: f64,
    /// Extent of the whole foreground across the closing direction.
    pub length_m: f64,
    /// Towards the camera.
    pub surface_normal: [f64; 3],
}

/// What depth says of one region.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RegionDepth {
    /// None: not enough depth for one ([`DEPTH_SPARSE`]), or the surface can't be measured: no ray of the lens leads to it,
    /// or the region has no direction.
    pub grasp: Option<MetricGrasp>,
    /// Share of the region's pixels with depth within the range, in [0, 1].
    pub valid_ratio: f32,
    /// Bitwise or of the depth flags; the region's own are not repeated.
    pub flags: u16,
}

/// Measures regions; keeps its memory from region to region.
#[derive(Debug, Default)]
pub struct GraspMeasurer {
    patch: RegionPatch,
    samples: Vec<Sample>,
}

/// The surface around the contact point.
struct Contact {
    pixel: [f64; 2],
    ray: [f64; 3],
    depth: f64,
    plane: Plane,
    is_stable: bool,
}

impl GraspMeasurer {
    /// Measures one region of the picture.
    pub fn measure(&mut self, region: &GraspRegion, scene: &Scene<'_>, settings: &DepthSettings) -> RegionDepth {
        let range_m = [settings.depth_min_m, settings.depth_max_m];
        let coverage = self.patch.fill(&region.contour, &scene.depth, range_m);
        let ratio = coverage.valid as f64 / coverage.cells.max(1) as f64;
        let sparse = if ratio < SPARSE_SHARE { DEPTH_SPARSE } else { 0 };
        let nothing = RegionDepth { grasp: None, valid_ratio: ratio as f32, flags: sparse };
        let Some(foreground) = self.patch.choose_foreground(&coverage) else {
            return RegionDepth { flags: DEPTH_SPARSE, ..nothing };
        };
        let edge = if foreground.has_edge { DEPTH_EDGE } else { 0 };
        let measured = self.contact(region, scene).and_then(|contact| {
            let grasp = self.grasp(region, scene, &contact)?;
            Some((grasp, contact.is_stable))
        });
        let Some((grasp, is_stable)) = measured else {
            return RegionDepth { flags: sparse | edge, ..nothing };
        };
        let unstable = if is_stable { 0 } else { NORMAL_UNSTABLE };
        let flags = sparse | edge | unstable | gripper_flags(grasp.width_m, settings);
        RegionDepth { grasp: Some(grasp), flags, ..nothing }
    }

    /// Fits the surface around the contact point.
    fn contact(&mut self, region: &GraspRegion, scene: &Scene<'_>) -> Option<Contact> {
        let pixel = self.patch.nearest_surface(region.point.map(f64::from))?;
        let ray = scene.camera.ray(pixel)?;
        let (_, near_depth) = self.patch.surface(pixel, self.patch.stride(), usize::MAX).next()?;
        let [least, most] = FIT_RADIUS_PX.map(|radius| radius * self.patch.stride());
        let radius = (FIT_RADIUS_M * scene.camera.focal_px() / near_depth).clamp(least, most);
        self.collect(scene, pixel, radius);
        let plane = Plane::fit(&self.samples, ray);
        let is_bent = self.is_bent(ray, region.closing_angle_rad);
        // A sliver too thin for a plane still has a place; its normal is taken to point at the camera.
        let (plane, is_stable) = match plane {
            Some(plane) => {
                let is_stable = !is_bent && plane.tilt_sigma_rad <= STABLE_TILT_SIGMA;
                (plane, is_stable)
            }
            None => (self.facing(ray, near_depth), false),
        };
        let depth = self.depth_at(scene, pixel, ray, &plane)?;
        Some(Contact { pixel, ray, depth, plane, is_stable })
    }

    fn collect(&mut self, scene: &Scene<'_>, centre: [f64; 2], radius: f64) {
        self.samples.clear();
        let samples = self.patch.surface(centre, radius, FIT_SAMPLES);
        let samples = samples.filter_map(|(pixel, depth)| Some(Sample { ray: scene.camera.ray(pixel)?, depth }));
        self.samples.extend(samples);
    }

    /// Do the halves of the fitted surface, along or across the closing direction, lean apart?
    fn is_bent(&self, centre: [f64; 3], closing_angle_rad: f32) -> bool {
        let (sin, cos) = f64::from(closing_angle_rad).sin_cos();
        [[cos, sin], [-sin, cos]].into_iter().any(|[x, y]| {
            let side = |sample: &&Sample| (sample.ray[0] - centre[0]) * x + (sample.ray[1] - centre[1]) * y;
            let half = |keep: fn(f64) -> bool| {
                let samples: Vec<Sample> = self.samples.iter().filter(|s| keep(side(s))).copied().collect();
                Plane::fit(&samples, centre)
            };
            match (half(|side| side > 0.0), half(|side| side < 0.0)) {
                (Some(a), Some(b)) => a.normal.angle(&b.normal) > STABLE_BEND,
                _ => false,
            }
        })
    }

    fn facing(&self, ray: [f64; 3], depth: f64) -> Plane {
        let ray = Vector3::from(ray);
        let normal = -ray.normalize();
        Plane { normal, offset: normal.dot(&(ray * depth)), depth_sigma_m: 0.0, tilt_sigma_rad: f64::INFINITY }
    }

    /// Depth at the contact point: the plane's, moved by what the nearest pixels differ from it, so that the bulge of a
    /// rounded thing does not count as noise.
    fn depth_at(&self, scene: &Scene<'_>, pixel: [f64; 2], ray: [f64; 3], plane: &Plane) -> Option<f64> {
        let radius = CONTACT_RADIUS_PX * self.patch.stride();
        let mut differences: Vec<f64> = self
            .patch
            .surface(pixel, radius, usize::MAX)
            .filter_map(|(pixel, depth)| Some(1.0 / depth - 1.0 / plane.depth(scene.camera.ray(pixel)?)?))
            .collect();
        differences.sort_unstable_by(f64::total_cmp);
        let shift = differences.get(differences.len() / 2)?;
        let depth = 1.0 / (1.0 / plane.depth(ray)? + shift);
        (depth.is_finite() && depth > 0.0).then_some(depth)
    }

    fn grasp(&self, region: &GraspRegion, scene: &Scene<'_>, contact: &Contact) -> Option<MetricGrasp> {
        let origin = Vector3::from(contact.ray) * contact.depth;
        let normal = contact.plane.normal;
        let x = closing_direction(region, scene.camera, contact)?;
        let z = -normal;
        let y = z.cross(&x);
        let ruler = Ruler { patch: &self.patch, camera: scene.camera, depth_sigma_m: contact.plane.depth_sigma_m };
        let Extent { width, width_sigma, length } = ruler.measure(&Axes { origin, x, y })?;
        let rotation = UnitQuaternion::from_rotation_matrix(&Rotation3::from_basis_unchecked(&[x, y, z]));
        let grasp = MetricGrasp {
            position_m: origin.into(),
            orientation_xyzw: [rotation.i, rotation.j, rotation.k, rotation.w],
            width_m: width,
            width_stddev_m: width_sigma,
            length_m: length,
            surface_normal: normal.into(),
        };
        grasp.is_finite().then_some(grasp)
    }
}

impl MetricGrasp {
    fn is_finite(&self) -> bool {
        let scalars = [self.width_m, self.width_stddev_m, self.length_m];
        let all = self.position_m.iter().chain(&self.orientation_xyzw).chain(&self.surface_normal).chain(&scalars);
        all.into_iter().all(|number| number.is_finite())
    }
}

/// The unit vector on the surface across the region's long side, on the side of `closing_angle_rad`.
///
/// The long side is a line of the thing itself; the closing direction of the picture is not, and stands askew on it
/// where the surface leans. So the long side is laid onto the surface, and the jaws close at a right angle to it there.
fn closing_direction(region: &GraspRegion, camera: &CameraModel, contact: &Contact) -> Option<Vector3<f64>> {
    let normal = contact.plane.normal;
    let (sin, cos) = f64::from(region.closing_angle_rad).sin_cos();
    // Two places half a pixel away, on the plane.
    let on_plane = |[du, dv]: [f64; 2]| {
        let place = |sign: f64| {
            let ray = camera.ray([contact.pixel[0] + sign * du / 2.0, contact.pixel[1] + sign * dv / 2.0])?;
            // Along rays that graze the plane or miss it there is no such place.
            Some(Vector3::from(ray) * contact.plane.depth(ray).unwrap_or(contact.depth))
        };
        Some(place(1.0)? - place(-1.0)?)
    };
    let long_side = on_plane([-sin, cos])?;
    let across = long_side.cross(&normal);
    let closing = on_plane([cos, sin])?;
    let x = if across.dot(&closing) < 0.0 { -across } else { across };
    // Once more at a right angle to the normal: the plane's places may have been none.
    let x = x - normal * x.dot(&normal);
    x.try_normalize(f64::MIN_POSITIVE)
}

fn gripper_flags(width_m: f64, settings: &DepthSettings) -> u16 {
    let wide = if width_m > settings.gripper_width_max_m { TOO_WIDE } else { 0 };
    let narrow = if width_m < settings.gripper_width_min_m { TOO_NARROW } else { 0 };
    wide | narrow
}
