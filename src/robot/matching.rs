//! Whether a subscription hears a publisher: DDS's rules of request and offer.

use std::time::Duration;

use crate::config::{Durability, Liveliness, Reliability};

/// The policies by which a publisher and a subscription match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatchingQos {
    /// Are lost messages sent again?
    pub reliability: Reliability,
    /// Does who comes late get the last messages?
    pub durability: Durability,
    /// The longest time between two messages; None = any.
    pub deadline: Option<Duration>,
    /// What shows that the publisher is alive.
    pub liveliness: Liveliness,
    /// How often it shows it; None = at some time.
    pub liveliness_lease_duration: Option<Duration>,
}

/// A policy by which an offer is less than a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its name, as `qos_overrides` has it.
    pub policy: &'static str,
    /// What the publisher offers, in words.
    pub offered: String,
    /// What the subscription asks for, in words.
    pub requested: String,
}

impl MatchingQos {
    /// The first policy by which `offered` is less than this request; None: they match.
    pub fn mismatch(&self, offered: &Self) -> Option<Mismatch> {
        let (ours, theirs) = (self, offered);
        let lease = "liveliness_lease_duration";
        chosen("reliability", theirs.reliability, ours.reliability, Reliability::name)
            .or_else(|| chosen("durability", theirs.durability, ours.durability, Durability::name))
            .or_else(|| timed("deadline", theirs.deadline, ours.deadline))
            .or_else(|| chosen("liveliness", theirs.liveliness, ours.liveliness, Liveliness::name))
            .or_else(|| timed(lease, theirs.liveliness_lease_duration, ours.liveliness_lease_duration))
    }
}

/// Values are in the order of their strength.
fn chosen<T: Ord + Copy>(
    policy: &'static str,
    offered: T,
    requested: T,
    name: fn(T) -> &'static str,
) -> Option<Mismatch> {
    let named = |value| name(value).to_owned();
    (offered < requested).then(|| Mismatch { policy, offered: named(offered), requested: named(requested) })
}

/// A shorter time promises more.
fn timed(policy: &'static str, offered: Option<Duration>, requested: Option<Duration>) -> Option<Mismatch> {
    let requested = requested.filter(|most| offered.is_none_or(|time| time > *most))?;
    let offered = offered.map_or_else(|| format!("no {policy}"), |time| format!("a {policy} of {time:?}"));
    Some(Mismatch { policy, offered, requested: format!("{requested:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Option<Duration> = Some(Duration::from_secs(1));
    const MINUTE: Option<Duration> = Some(Duration::from_secs(60));

    #[test]
    fn an_offer_must_be_no_less_than_the_request() {
        let weakest = MatchingQos::default();
        let strongest = MatchingQos {
            reliability: Reliability::Reliable,
            durability: Durability::TransientLocal,
            deadline: SECOND,
            liveliness: Liveliness::ManualByTopic,
            liveliness_lease_duration: SECOND,
        };
        for (asked, offered) in [(weakest, weakest), (weakest, strongest), (strongest, strongest)] {
            assert_eq!(asked.mismatch(&offered), None);
        }
        for (policy, offered) in [
            ("reliability", MatchingQos { reliability: Reliability::BestEffort, ..strongest }),
            ("durability", MatchingQos { durability: Durability::Volatile, ..strongest }),
            ("deadline", MatchingQos { deadline: None, ..strongest }),
            ("deadline", MatchingQos { deadline: MINUTE, ..strongest }),
            ("liveliness", MatchingQos { liveliness: Liveliness::Automatic, ..strongest }),
            ("liveliness_lease_duration", MatchingQos { liveliness_lease_duration: MINUTE, ..strongest }),
        ] {
            assert_eq!(strongest.mismatch(&offered).unwrap().policy, policy);
            assert_eq!(offered.mismatch(&strongest), None, "more than asked");
        }
    }

    #[test]
    fn a_mismatch_says_both_sides() {
        let asked = MatchingQos { deadline: SECOND, ..MatchingQos::default() };
        let told = |deadline| {
            let mismatch = asked.mismatch(&MatchingQos { deadline, ..asked }).unwrap();
            (mismatch.offered, mismatch.requested)
        };
        assert_eq!(told(None), ("no deadline".to_owned(), "1s".to_owned()));
        assert_eq!(told(MINUTE), ("a deadline of 60s".to_owned(), "1s".to_owned()));
    }
}
