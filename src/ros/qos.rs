//! Quality of service: one place that says what each kind of topic asks and offers.

use r2r::qos::{QosProfile, ReliabilityPolicy};

use crate::config::Reliability;

/// How many requests may wait in the middleware.
const SERVICE_DEPTH: usize = 256;

/// Camera topics: the newest message only, volatile. Best effort matches reliable and best-effort cameras alike.
pub fn input(reliability: Reliability) -> QosProfile {
    QosProfile::default().keep_last(1).volatile().reliability(policy(reliability))
}

/// Depth: the last few messages, as it may run ahead of the pictures.
pub fn depth() -> QosProfile {
    QosProfile::default().keep_last(4).volatile().best_effort()
}

/// Results: the newest message only, volatile. Reliable matches every subscriber; with a depth of 1 a reader that does
/// not keep up loses messages, the writer never waits for it.
pub fn output(reliability: Reliability) -> QosProfile {
    QosProfile::default().keep_last(1).volatile().reliability(policy(reliability))
}

/// `~/label_info` and `~/status`: who comes late gets the last one.
pub fn latched() -> QosProfile {
    QosProfile::default().keep_last(1).reliable().transient_local()
}

/// `/diagnostics`: as diagnostic_updater offers it.
pub fn diagnostics() -> QosProfile {
    QosProfile::default().keep_last(1).reliable().volatile()
}

/// Services: as rmw_qos_profile_services_default, but a burst of requests fits in.
pub fn service() -> QosProfile {
    QosProfile::default().keep_last(SERVICE_DEPTH)
}

/// What a publisher offers. A policy that is not known for sure counts as the weaker one.
pub fn offered(policy: ReliabilityPolicy) -> Reliability {
    match policy {
        ReliabilityPolicy::Reliable => Reliability::Reliable,
        _ => Reliability::BestEffort,
    }
}

fn policy(reliability: Reliability) -> ReliabilityPolicy {
    match reliability {
        Reliability::BestEffort => ReliabilityPolicy::BestEffort,
        Reliability::Reliable => ReliabilityPolicy::Reliable,
    }
}
