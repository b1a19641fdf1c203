//! Which depth frame belongs to a picture. Pure: stamps in, decisions out; waiting is the caller's.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc};

/// Depth frames kept are those of so long, by which depth may run ahead of the picture's turn [ns]: ten at 30 Hz...
const KEPT_NANOS: i64 = 300_000_000;
/// ... but no fewer of a slow camera, and no more of a fast one...
const KEPT: RangeInclusive<usize> = 4..=16;
/// ... or of one with large images.
const KEPT_BYTES: usize = 64 << 20;
/// Offsets the median is taken of.
const OFFSETS: usize = 31;
/// An older frame this much further away than usual is not the picture's own [ns], and worth waiting for the next.
const UNUSUAL_NANOS: u64 = 1_000_000;
/// Stamps that fall back by more than this are a bag or simulation that began anew [ns].
const BEGAN_ANEW_NANOS: i64 = 1_000_000_000;

/// Finds the depth frame nearest in time to a picture.
///
/// A picture may be looked at for longer than the [`KEPT`] depth frames last, so the nearest one to the picture at work is held
/// beside them.
#[derive(Debug)]
pub struct DepthSync<T> {
    kept: VecDeque<Kept<T>>,
    /// Of all that is kept.
    bytes: usize,
    /// Stamp of the picture at work, and the nearest depth frame to it so far.
    target: Option<i64>,
    nearest: Option<(i64, Arc<T>)>,
    /// The same of the picture before, which may be looked at again.
    last: Option<(i64, (i64, Arc<T>))>,
    /// Depth stamp minus picture stamp of the last pictures that had any [ns], of the nearest depth also where it came late.
    offsets: VecDeque<i64>,
}

#[derive(Debug)]
struct Kept<T> {
    stamp: i64,
    bytes: usize,
    frame: Arc<T>,
}

/// What there is for the picture at work.
#[derive(Debug)]
pub enum Match<T> {
    /// A depth frame within the slop.
    Found(Arc<T>),
    /// None yet, but it may still come: all depth frames so far are older than the picture.
    NotYet,
    /// None, and none will come: depth is past the picture's time already.
    Unsynced,
}

impl<T> Default for DepthSync<T> {
    fn default() -> Self {
        Self { kept: VecDeque::new(), bytes: 0, target: None, nearest: None, last: None, offsets: VecDeque::new() }
    }
}

impl<T> DepthSync<T> {
    /// A depth frame of so many bytes has come. All but the last few are let go.
    pub fn push(&mut self, stamp_nanos: i64, frame: T, bytes: usize) {
        let newest = self.kept.back().map(|newest| newest.stamp);
        if newest.is_some_and(|newest| stamp_nanos < newest.saturating_sub(BEGAN_ANEW_NANOS)) {
            self.clear();
        }
        let frame = Arc::new(frame);
        self.consider(stamp_nanos, &frame);
        if let (Some((target, _)), Some(offset)) = (&self.last, self.offsets.back_mut()) {
            let found = stamp_nanos.saturating_sub(*target);
            if found.unsigned_abs() < offset.unsigned_abs() {
                *offset = found;
            }
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.kept.push_back(Kept { stamp: stamp_nanos, bytes, frame });
        while self.kept.len() > *KEPT.start()
            && (self.kept.len() > *KEPT.end() || self.bytes > KEPT_BYTES || self.is_oldest_past(stamp_nanos))
        {
            let oldest = self.kept.pop_front();
            self.bytes = self.bytes.saturating_sub(oldest.map_or(0, |oldest| oldest.bytes));
        }
    }

    fn is_oldest_past(&self, newest_nanos: i64) -> bool {
        self.kept.front().is_some_and(|oldest| newest_nanos.saturating_sub(oldest.stamp) > KEPT_NANOS)
    }

    /// Work on a picture begins: its depth is held from now on. Begun again on the picture before, it has the same depth.
    pub fn aim(&mut self, stamp_nanos: i64) {
        self.target = Some(stamp_nanos);
        let again = self.last.as_ref().filter(|(target, _)| *target == stamp_nanos);
        self.nearest = again.map(|(_, nearest)| nearest.clone());
        let kept = std::mem::take(&mut self.kept);
        kept.iter().for_each(|one| self.consider(one.stamp, &one.frame));
        self.kept = kept;
    }

    /// What there is for the picture aimed at, no further than `slop_nanos` away from it. Where it is older than the
    /// picture and a nearer one may be about to come, it counts on the `last_call` only.
    pub fn look(&self, slop_nanos: i64, last_call: bool) -> Match<T> {
        let Some(target) = self.target else {
            return Match::NotYet;
        };
        let has = |least: i64| self.kept.iter().any(|one| one.stamp >= least);
        if let Some((stamp, frame)) = &self.nearest {
            let away = distance(*stamp, target);
            let is_final = last_call || *stamp >= target || has(target) || self.is_usual(away);
            if away <= slop_nanos.unsigned_abs() {
                return if is_final { Match::Found(Arc::clone(frame)) } else { Match::NotYet };
            }
        }
        if has(target.saturating_add(slop_nanos).saturating_add(1)) { Match::Unsynced } else { Match::NotYet }
    }

    /// Is the depth of these pictures as much earlier, in the median? It has a rhythm or a clock of its own then.
    fn is_usual(&self, earlier: u64) -> bool {
        let median = self.median_offset_nanos().map(|median| median.min(0).unsigned_abs());
        median.is_some_and(|median| earlier <= median.saturating_mul(2).saturating_add(UNUSUAL_NANOS))
    }

    /// Work on the picture ends: its offset is noted, its depth kept until that of the next.
    pub fn done(&mut self) {
        if let (Some(target), Some(nearest)) = (self.target.take(), self.nearest.take()) {
            let stamp = nearest.0;
            let before = self.last.replace((target, nearest));
            if before.is_some_and(|(before, _)| before == target) {
                // Noted already.
                return;
            }
            if self.offsets.len() == OFFSETS {
                self.offsets.pop_front();
            }
            self.offsets.push_back(stamp.saturating_sub(target));
        }
    }

    /// Median over the last pictures of the nearest depth frame's stamp minus the picture's [ns]: positive where depth
    /// is stamped later. None before the first.
    pub fn median_offset_nanos(&self) -> Option<i64> {
        let mut sorted: Vec<i64> = self.offsets.iter().copied().collect();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    /// Forgets all frames: stamps began anew, or the camera changed.
    pub fn clear(&mut self) {
        self.kept.clear();
        self.bytes = 0;
        self.nearest = None;
        self.last = None;
        self.offsets.clear();
    }

    fn consider(&mut self, stamp: i64, frame: &Arc<T>) {
        if let Some(target) = self.target
            && self.nearest.as_ref().is_none_or(|(best, _)| distance(stamp, target) < distance(*best, target))
        {
            self.nearest = Some((stamp, Arc::clone(frame)));
        }
    }
}

fn distance(a: i64, b: i64) -> u64 {
    a.abs_diff(b)
}
