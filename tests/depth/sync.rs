//! Which depth frame goes with a picture.

use looptrans_ros::perceive::depth::{DepthSync, Match};
use proptest::prelude::*;

const MS: i64 = 1_000_000;
const SLOP: i64 = 20 * MS;
const T: i64 = 1_000_000 * MS;

fn found(sync: &DepthSync<i64>) -> Option<i64> {
    match sync.look(SLOP, true) {
        Match::Found(frame) => Some(*frame),
        Match::NotYet | Match::Unsynced => None,
    }
}

fn with(offsets_ms: &[i64]) -> DepthSync<i64> {
    let mut sync = DepthSync::default();
    offsets_ms.iter().for_each(|offset| sync.push(T + offset * MS, *offset, 1));
    sync
}

#[test]
fn the_nearest_within_the_slop_is_taken() {
    let mut sync = with(&[-66, -33, 1, 34]);
    sync.aim(T);
    assert_eq!(found(&sync), Some(1));
    sync.push(T, 0, 1);
    assert_eq!(found(&sync), Some(0), "a nearer one");
    let mut sync = with(&[-21, -20]);
    sync.aim(T);
    assert_eq!(found(&sync), Some(-20), "the slop itself counts");
}

#[test]
fn older_depth_may_be_followed_by_the_right_one_and_newer_may_not() {
    let mut sync = with(&[]);
    sync.aim(T);
    assert!(matches!(sync.look(SLOP, true), Match::NotYet));
    sync.push(T - 50 * MS, -50, 1);
    assert!(matches!(sync.look(SLOP, true), Match::NotYet));
    sync.push(T + 21 * MS, 21, 1);
    assert!(matches!(sync.look(SLOP, true), Match::Unsynced));
}

#[test]
fn the_picture_s_depth_is_held_while_others_pass() {
    let mut sync = with(&[0]);
    sync.aim(T);
    (1..100).for_each(|n| sync.push(T + n * 33 * MS, n * 33, 1));
    assert_eq!(found(&sync), Some(0));
    sync.done();
    sync.aim(T + MS);
    assert!(matches!(sync.look(SLOP, true), Match::Unsynced), "let go with the picture");
}

#[test]
fn depth_that_is_faster_than_pictures_is_kept_as_long() {
    // 90 Hz; the picture's turn comes 80 ms after its moment.
    let mut sync = with(&(-9..8).map(|n| n * 11).collect::<Vec<_>>());
    sync.aim(T);
    assert_eq!(found(&sync), Some(0));
    // 1000 Hz: no more than sixteen.
    let mut sync = with(&(0..80).collect::<Vec<_>>());
    sync.aim(T + 40 * MS);
    assert_eq!(found(&sync), None);
    sync.aim(T + 50 * MS);
    assert_eq!(found(&sync), Some(64));
}

#[test]
fn depth_of_the_moment_before_counts_once_the_picture_s_own_does_not_come() {
    let not_yet = |sync: &DepthSync<i64>| matches!(sync.look(SLOP, false), Match::NotYet);
    // 60 Hz, and the picture's own is on its way.
    let mut sync = with(&[-17]);
    sync.aim(T);
    assert!(not_yet(&sync));
    assert_eq!(found(&sync), Some(-17), "on the last call");
    sync.push(T, 0, 1);
    assert!(!not_yet(&sync));
    assert_eq!(found(&sync), Some(0));
    // It may also come after the picture has ended, and is known to be usual by the next.
    sync.aim(T + 17 * MS);
    sync.done();
    sync.push(T + 17 * MS, 17, 1);
    sync.aim(T + 34 * MS);
    assert!(not_yet(&sync));
    // Where depth is always earlier, nothing is waited for.
    let mut sync = with(&[]);
    for n in 0..10 {
        sync.push(T + (n * 33 - 6) * MS, n, 1);
        sync.aim(T + n * 33 * MS);
        assert_eq!(not_yet(&sync), n == 0, "{n}");
        assert_eq!(found(&sync), Some(n));
        sync.done();
    }
}

#[test]
fn depth_that_is_stamped_later_is_waited_for() {
    // 60 Hz, 6 ms after the pictures: the one before is 11 ms away.
    let mut sync = with(&[]);
    for n in 0..10 {
        let picture = T + n * 17 * MS;
        sync.push(picture - 11 * MS, 2 * n, 1);
        sync.aim(picture);
        assert!(matches!(sync.look(SLOP, false), Match::NotYet), "{n}");
        sync.push(picture + 6 * MS, 2 * n + 1, 1);
        assert_eq!(found(&sync), Some(2 * n + 1));
        sync.done();
    }
}

#[test]
fn of_large_depth_images_no_more_are_kept_than_memory_is_for() {
    let mut sync = DepthSync::default();
    (0..10).for_each(|n| sync.push(T + n * 25 * MS, n, 10 << 20));
    sync.aim(T + 75 * MS);
    assert_eq!(found(&sync), None, "the last six have 60 MiB");
    sync.aim(T + 100 * MS);
    assert_eq!(found(&sync), Some(4));
    let mut sync = DepthSync::default();
    (0..10).for_each(|n| sync.push(T + n * 25 * MS, n, 100 << 20));
    sync.aim(T + 150 * MS);
    assert_eq!(found(&sync), Some(6), "but always four");
}

#[test]
fn the_median_offset_says_how_far_depth_is() {
    let mut sync = DepthSync::default();
    assert_eq!(sync.median_offset_nanos(), None);
    for n in 0..50 {
        let picture = T + n * 1000 * MS;
        sync.aim(picture);
        sync.push(picture + if n % 10 == 9 { 900 } else { 200 } * MS, n, 1);
        sync.done();
    }
    assert_eq!(sync.median_offset_nanos(), Some(200 * MS));
}

#[test]
fn stamps_that_begin_anew_are_followed() {
    let mut sync = with(&[0, 33, 66]);
    let again = T - 5_000 * MS;
    sync.aim(again);
    assert!(matches!(sync.look(SLOP, true), Match::Unsynced));
    sync.push(again + MS, 7, 1);
    assert_eq!(found(&sync), Some(7));
    // A small step back is a frame out of order, not a new beginning.
    sync.push(again - 10 * MS, 8, 1);
    assert_eq!(found(&sync), Some(7));
}

#[test]
fn a_second_look_at_the_same_picture_finds_the_same_depth() {
    let mut sync = with(&[0, 33, 66]);
    sync.aim(T);
    let depth = found(&sync).unwrap();
    sync.done();
    // Meanwhile the frames that are kept have all been replaced.
    (1..9).for_each(|n| sync.push(T + 1_000 * MS + n, 100, 1));
    sync.aim(T);
    assert_eq!(found(&sync), Some(depth));
    sync.done();
    sync.aim(T + MS);
    assert_eq!(found(&sync), None, "another picture");
    sync.aim(T);
    assert_eq!(found(&sync), Some(depth), "until another picture had a depth");
    sync.clear();
    sync.aim(T);
    assert_eq!(found(&sync), None);
}

proptest! {
    #[test]
    fn a_match_is_never_further_than_the_slop(
        stamps in proptest::collection::vec(prop_oneof![-100..100_i64, any::<i64>()], 0..20),
        target in prop_oneof![-100..100_i64, any::<i64>()],
        slop in 0..50_i64,
    ) {
        let mut sync = DepthSync::default();
        sync.aim(target);
        for stamp in stamps {
            sync.push(stamp, stamp, 1);
            if let Match::Found(stamp) = sync.look(slop, true) {
                prop_assert!(stamp.abs_diff(target) <= slop.unsigned_abs());
            }
        }
        sync.done();
        let _ = sync.median_offset_nanos();
    }
}
