//! `~/detect`: look once.

use std::time::{Duration, Instant};

use r2r::looptrans_ros::srv::Detect;
use tokio::sync::oneshot;

use super::{Desk, clean};
use crate::{
    robot::{self, Order},
    ros::publish::Answer,
};

/// The longest wait for a frame.
const LONGEST: Duration = Duration::from_secs(60);

pub(super) async fn answer(desk: Desk, request: Detect::Request) -> Detect::Response {
    let (wait, note) = match wait(request.timeout) {
        Ok(found) => found,
        Err(message) => return Detect::Response { message, ..Detect::Response::default() },
    };
    match look(&desk, request, wait).await {
        Ok(Answer { regions, heatmaps }) => {
            Detect::Response { success: true, message: note.to_owned(), regions, heatmaps }
        }
        Err(reason) => {
            let message = if note.is_empty() { clean(&reason) } else { clean(&format!("{reason} ({note})")) };
            Detect::Response { message, ..Detect::Response::default() }
        }
    }
}

/// How long to wait, and what to say of it.
fn wait(seconds: f32) -> Result<(Duration, &'static str), String> {
    if seconds.is_nan() || seconds < 0.0 {
        return Err(format!("timeout: expected 0 to {} s, found {seconds}", LONGEST.as_secs()));
    }
    match Duration::try_from_secs_f32(seconds) {
        Ok(wait) if wait <= LONGEST => Ok((wait, "")),
        _ => Ok((LONGEST, "a timeout is 60 s at most")),
    }
}

async fn look(desk: &Desk, request: Detect::Request, wait: Duration) -> Result<Answer, String> {
    let camera = desk.place.cameras.place(&request.camera)?;
    let intake = desk.intake()?;
    let (reply, answer) = oneshot::channel();
    let detect = robot::Detect {
        camera,
        affordances: request.affordances,
        want_heatmaps: request.want_heatmaps,
        deadline: Instant::now() + wait,
        reply,
    };
    desk.asked(&intake, Order::Detect(detect), answer).await?.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_a_time_and_no_longer_than_a_minute() {
        assert_eq!(wait(0.0), Ok((Duration::ZERO, "")));
        assert_eq!(wait(60.0), Ok((LONGEST, "")));
        for huge in [60.1, f32::MAX, f32::INFINITY] {
            assert_eq!(wait(huge), Ok((LONGEST, "a timeout is 60 s at most")), "{huge}");
        }
        for none in [-0.1, f32::NAN, f32::NEG_INFINITY] {
            assert!(wait(none).unwrap_err().contains("expected 0 to 60 s"), "{none}");
        }
    }
}
