//! Quality of service: one place that says what each kind of topic asks and offers, and puts the user's `qos_overrides` over it.

use std::{collections::BTreeSet, time::Duration};

use r2r::qos::{DurabilityPolicy, HistoryPolicy, LivelinessPolicy, QosProfile, ReliabilityPolicy};

use crate::{
    config::{
        Durability, Endpoint, History, Liveliness, NodeSettings, QosOverrides, QosPolicies, Reliability, RosArgs,
        did_you_mean,
    },
    robot::MatchingQos,
};

/// How many requests may wait in the middleware.
const SERVICE_DEPTH: usize = 256;
/// rcl's own depth of /parameter_events.
const EVENTS_DEPTH: usize = 1000;
/// rmw's infinite time.
const FOREVER: Duration = Duration::from_nanos(i64::MAX as u64);

/// Camera topics: the newest message only, volatile. Best effort matches reliable and best-effort cameras alike.
pub fn input(reliability: Reliability) -> QosProfile {
    QosProfile::default().keep_last(1).volatile().reliability(reliability.into())
}

/// Depth and calibrations: the last few messages, as they may run ahead of the picture that they belong to.
pub fn beside_pictures() -> QosProfile {
    QosProfile::default().keep_last(4).volatile().best_effort()
}

/// Results: the newest message only, volatile. Reliable matches every subscriber; with a depth of 1 a reader that does
/// not keep up loses messages, the writer never waits for it.
pub fn output(reliability: Reliability) -> QosProfile {
    QosProfile::default().keep_last(1).volatile().reliability(reliability.into())
}

/// `~/label_info` and `~/status`: who comes late gets the last one.
pub fn latched() -> QosProfile {
    QosProfile::default().keep_last(1).reliable().transient_local()
}

/// `/diagnostics`: as diagnostic_updater offers it.
pub fn diagnostics() -> QosProfile {
    QosProfile::default().keep_last(1).reliable().volatile()
}

/// `/parameter_events`: as rcl offers it.
pub fn parameter_events() -> QosProfile {
    QosProfile::default().keep_last(EVENTS_DEPTH)
}

/// Services: as rmw_qos_profile_services_default, but a burst of requests fits in.
pub fn service() -> QosProfile {
    QosProfile::default().keep_last(SERVICE_DEPTH)
}

/// What every topic of the node really asks and offers.
#[derive(Debug)]
pub struct TopicQos {
    args: RosArgs,
    overrides: QosOverrides,
    /// Who came to ask, under the name after remapping.
    known: BTreeSet<(String, Endpoint)>,
    /// Were overrides without a topic told?
    strays_told: bool,
}

impl TopicQos {
    /// With the overrides of the settings.
    pub fn new(args: &RosArgs, settings: &NodeSettings) -> Self {
        let (args, overrides) = (args.clone(), settings.qos_overrides.clone());
        Self { args, overrides, known: BTreeSet::new(), strays_told: false }
    }

    /// What a publisher on `topic`, a name before remapping, offers: its `own`, with overrides over it.
    pub fn publisher(&mut self, topic: &str, own: QosProfile) -> QosProfile {
        self.topic(topic, Endpoint::Publisher, own)
    }

    /// What a subscription to `topic`, a name before remapping, asks for: its `own`, with overrides over it.
    pub fn subscription(&mut self, topic: &str, own: QosProfile) -> QosProfile {
        self.topic(topic, Endpoint::Subscription, own)
    }

    /// Warns once of overrides for topics that never asked. Call it when all of the node's topics have.
    pub fn tell_strays(&mut self) {
        if !std::mem::replace(&mut self.strays_told, true) {
            self.strays().iter().for_each(|stray| tracing::warn!("{stray}"));
        }
    }

    fn topic(&mut self, topic: &str, endpoint: Endpoint, own: QosProfile) -> QosProfile {
        let resolved = self.args.resolve_topic(topic);
        let policies = self.overrides.of(&resolved, endpoint);
        self.known.insert((resolved, endpoint));
        overridden(own, &policies)
    }

    fn strays(&self) -> Vec<String> {
        let strays = self.overrides.targets().filter(|(topic, end)| !self.known.contains(&((*topic).to_owned(), *end)));
        let stray = |(topic, endpoint): (&str, Endpoint)| {
            let end = endpoint.name();
            let known = self.known.iter().filter(|(_, known)| *known == endpoint).map(|(topic, _)| topic.as_str());
            let hint = did_you_mean(topic, known);
            format!(
                "qos_overrides.{topic}.{end}: this node has no such {end} (its topics count by their full names){hint}"
            )
        };
        strays.map(stray).collect()
    }
}

fn overridden(own: QosProfile, policies: &QosPolicies) -> QosProfile {
    QosProfile {
        history: policies.history.map_or(own.history, Into::into),
        depth: policies.depth.map_or(own.depth, |depth| depth as usize),
        reliability: policies.reliability.map_or(own.reliability, Into::into),
        durability: policies.durability.map_or(own.durability, Into::into),
        deadline: policies.deadline.unwrap_or(own.deadline),
        lifespan: policies.lifespan.unwrap_or(own.lifespan),
        liveliness: policies.liveliness.map_or(own.liveliness, Into::into),
        liveliness_lease_duration: policies.liveliness_lease_duration.unwrap_or(own.liveliness_lease_duration),
        avoid_ros_namespace_conventions: own.avoid_ros_namespace_conventions,
    }
}

/// What decides whether two ends match. A policy that is not known for sure counts as the weaker one.
pub fn matching(qos: &QosProfile) -> MatchingQos {
    // Unset and infinite are the same: no time is kept.
    let time = |time: Duration| (!time.is_zero() && time < FOREVER).then_some(time);
    MatchingQos {
        reliability: match qos.reliability {
            ReliabilityPolicy::Reliable => Reliability::Reliable,
            _ => Reliability::BestEffort,
        },
        durability: match qos.durability {
            DurabilityPolicy::TransientLocal => Durability::TransientLocal,
            _ => Durability::Volatile,
        },
        deadline: time(qos.deadline),
        liveliness: match qos.liveliness {
            LivelinessPolicy::ManualByTopic => Liveliness::ManualByTopic,
            _ => Liveliness::Automatic,
        },
        liveliness_lease_duration: time(qos.liveliness_lease_duration),
    }
}

impl From<Reliability> for ReliabilityPolicy {
    fn from(reliability: Reliability) -> Self {
        match reliability {
            Reliability::BestEffort => Self::BestEffort,
            Reliability::Reliable => Self::Reliable,
        }
    }
}

impl From<Durability> for DurabilityPolicy {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Volatile => Self::Volatile,
            Durability::TransientLocal => Self::TransientLocal,
        }
    }
}

impl From<History> for HistoryPolicy {
    fn from(history: History) -> Self {
        match history {
            History::KeepLast => Self::KeepLast,
            History::KeepAll => Self::KeepAll,
        }
    }
}

impl From<Liveliness> for LivelinessPolicy {
    fn from(liveliness: Liveliness) -> Self {
        match liveliness {
            Liveliness::Automatic => Self::Automatic,
            Liveliness::ManualByTopic => Self::ManualByTopic,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::ParameterSet;

    /// The node's arguments, with the overrides in them.
    fn qos(args: &[&str]) -> TopicQos {
        let args: Vec<String> = ["--ros-args"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
        let args = RosArgs::parse(&args, "node").unwrap();
        TopicQos::new(&args, ParameterSet::from_overrides(&args.overrides).unwrap().settings())
    }

    #[test]
    fn an_override_counts_for_the_remapped_name_and_its_end_only() {
        let mut qos = qos(&[
            "-r",
            "image:=/cam/image",
            "-r",
            "__ns:=/ns",
            "-p",
            "qos_overrides./cam/image.subscription.reliability:=reliable",
            "-p",
            "qos_overrides./ns/node/heatmap.publisher.history:=keep_all",
        ]);
        let own = || input(Reliability::BestEffort);
        assert_eq!(qos.subscription("image", own()), own().reliable());
        assert_eq!(qos.publisher("image", own()), own());
        assert_eq!(qos.subscription("depth/image", own()), own());
        assert_eq!(qos.publisher("~/heatmap", own()), own().history(HistoryPolicy::KeepAll));
        assert_eq!(qos.strays(), [] as [String; 0]);
    }

    #[test]
    fn overrides_without_a_topic_are_told_with_a_hint() {
        let mut qos = qos(&[
            "-p",
            "qos_overrides./node/heatmaq.publisher.depth:=2",
            "-p",
            "qos_overrides./clock.subscription.depth:=2",
        ]);
        qos.publisher("~/heatmap", latched());
        let strays = qos.strays();
        assert!(strays[0].starts_with("qos_overrides./clock.subscription: ") && !strays[0].contains("did you mean"));
        assert!(strays[1].ends_with("did you mean /node/heatmap?"), "{strays:?}");
    }

    #[test]
    fn no_time_and_infinite_time_are_the_same() {
        let none = matching(&QosProfile::default());
        assert_eq!((none.deadline, none.liveliness_lease_duration), (None, None));
        assert_eq!(matching(&QosProfile::default().deadline(FOREVER)).deadline, None);
        let second = Duration::from_secs(1);
        assert_eq!(matching(&QosProfile::default().deadline(second)).deadline, Some(second));
    }
}
