//! Parameters that put other quality of service over a topic's own, named as rclcpp and rclpy name them:
//! `qos_overrides.TOPIC.publisher.POLICY` and `qos_overrides.TOPIC.subscription.POLICY`, where TOPIC is the full name after
//! remapping. The table of policies is here; what a topic's own are says `ros::qos`.

use std::{collections::BTreeMap, time::Duration};

use super::{
    ConfigError, Durability, Endpoint, History, Liveliness, Override, ParameterValue, Range, Reliability, ValueError,
    remap::is_topic_name, settings::did_you_mean, value::shorten,
};

const PREFIX: &str = "qos_overrides.";
/// The most messages that a history keeps: more than any topic needs, and no overflow in the middleware.
const MAX_DEPTH: u32 = 100_000;

/// What replaces a topic's own; None: its own stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QosPolicies {
    /// Are lost messages sent again?
    pub reliability: Option<Reliability>,
    /// Does who comes late get the last messages?
    pub durability: Option<Durability>,
    /// Which messages wait for who is slow.
    pub history: Option<History>,
    /// How many of them.
    pub depth: Option<u32>,
    /// The longest time between two messages; zero = none is promised.
    pub deadline: Option<Duration>,
    /// Older messages are not delivered; zero = they never expire.
    pub lifespan: Option<Duration>,
    /// What shows that a publisher is alive.
    pub liveliness: Option<Liveliness>,
    /// How often it has to; zero = the middleware's own.
    pub liveliness_lease_duration: Option<Duration>,
}

/// One policy that can be replaced.
pub struct QosPolicy {
    /// As the parameter's name ends.
    pub name: &'static str,
    /// What it does, with its unit.
    pub description: &'static str,
    kind: Kind,
}

/// How a parameter's value becomes a policy.
enum Kind {
    Choice { names: &'static [&'static str], set: fn(&mut QosPolicies, &str) },
    Integer { most: i64, least: i64, set: fn(&mut QosPolicies, u64) },
}

/// A time in nanoseconds, as rmw has it: zero = not given, the greatest = for ever.
const fn nanoseconds(set: fn(&mut QosPolicies, u64)) -> Kind {
    Kind::Integer { least: 0, most: i64::MAX, set }
}

static POLICIES: [QosPolicy; 8] = [
    QosPolicy {
        name: "reliability",
        description: "Whether lost messages are sent again. A reliable subscription hears reliable publishers only.",
        kind: Kind::Choice {
            names: Reliability::NAMES,
            set: |policies, name| policies.reliability = Reliability::from_name(name),
        },
    },
    QosPolicy {
        name: "durability",
        description: "Whether who comes late gets the last messages. A transient_local subscription hears transient_local \
                      publishers only.",
        kind: Kind::Choice {
            names: Durability::NAMES,
            set: |policies, name| policies.durability = Durability::from_name(name),
        },
    },
    QosPolicy {
        name: "history",
        description: "Which messages wait for who is slow: the newest (depth says how many) or all of them. With keep_all a \
                      reliable publisher waits for its slowest reader.",
        kind: Kind::Choice { names: History::NAMES, set: |policies, name| policies.history = History::from_name(name) },
    },
    QosPolicy {
        name: "depth",
        description: "How many messages wait with keep_last.",
        kind: Kind::Integer {
            least: 1,
            most: MAX_DEPTH as i64,
            set: |policies, count| policies.depth = u32::try_from(count).ok(),
        },
    },
    QosPolicy {
        name: "deadline",
        description: "The longest time between two messages [ns]; 0 = none. A subscription hears publishers that promise no \
                      longer one.",
        kind: nanoseconds(|policies, time| policies.deadline = Some(Duration::from_nanos(time))),
    },
    QosPolicy {
        name: "lifespan",
        description: "Messages older than this are not delivered [ns]; 0 = they never expire.",
        kind: nanoseconds(|policies, time| policies.lifespan = Some(Duration::from_nanos(time))),
    },
    QosPolicy {
        name: "liveliness",
        description: "What shows that a publisher is alive: its process, or its messages. A manual_by_topic subscription \
                      hears such publishers only.",
        kind: Kind::Choice {
            names: Liveliness::NAMES,
            set: |policies, name| policies.liveliness = Liveliness::from_name(name),
        },
    },
    QosPolicy {
        name: "liveliness_lease_duration",
        description: "How often a publisher shows that it is alive [ns]; 0 = no limit. A subscription hears publishers that \
                      promise no longer time.",
        kind: nanoseconds(|policies, time| policies.liveliness_lease_duration = Some(Duration::from_nanos(time))),
    },
];

impl QosPolicy {
    /// The policy of a parameter of such a name, if it is one.
    pub fn of_parameter(name: &str) -> Option<&'static Self> {
        parse(name).ok().map(|(_, _, policy)| policy)
    }

    /// Type and range in words.
    pub fn expected(&self) -> String {
        match self.kind {
            Kind::Choice { names, .. } => format!("one of {}", names.join(" ")),
            Kind::Integer { least, most, .. } => format!("int, {least} to {most}"),
        }
    }

    /// The range of its numbers.
    pub fn range(&self) -> Option<Range> {
        match self.kind {
            Kind::Choice { .. } => None,
            Kind::Integer { least, most, .. } => Some(Range::Integer(least, most)),
        }
    }

    /// The error is a hint, or empty.
    fn set(&self, policies: &mut QosPolicies, value: &ParameterValue) -> Result<(), String> {
        match (&self.kind, value) {
            (Kind::Choice { names, set }, ParameterValue::String(name)) => {
                if !names.contains(&name.as_str()) {
                    return Err(did_you_mean(name, names.iter().copied()));
                }
                set(policies, name);
                Ok(())
            }
            (Kind::Integer { least, most, set }, ParameterValue::Integer(number)) => {
                let in_range = u64::try_from(*number).ok().filter(|_| (least..=most).contains(&number));
                set(policies, in_range.ok_or_else(String::new)?);
                Ok(())
            }
            (Kind::Integer { .. }, ParameterValue::Double(_)) => Err("; write a whole number".to_owned()),
            _ => Err(String::new()),
        }
    }
}

/// What the parameters ask for, by topic and end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QosOverrides(BTreeMap<(String, Endpoint), QosPolicies>);

impl QosOverrides {
    /// Takes one parameter in.
    ///
    /// # Errors
    /// Its name says no topic, end or policy, or its value is none of the policy's.
    pub(super) fn set(&mut self, name: &str, given: &Override) -> Result<(), ConfigError> {
        let (topic, endpoint, policy) = parse(name).map_err(|problem| ConfigError::QosOverride {
            origin: given.origin.clone(),
            name: format!("{:?}", shorten(name)),
            problem,
        })?;
        let policies = self.0.entry((topic.to_owned(), endpoint)).or_default();
        policy.set(policies, &given.value).map_err(|hint| {
            ConfigError::Value(Box::new(ValueError {
                origin: given.origin.clone(),
                name: shorten(name),
                expected: policy.expected(),
                found: format!("{} ({})", given.value, given.value.type_name()),
                hint,
            }))
        })
    }

    /// What replaces the own policies of a topic's end.
    pub fn of(&self, topic: &str, endpoint: Endpoint) -> QosPolicies {
        self.0.get(&(topic.to_owned(), endpoint)).copied().unwrap_or_default()
    }

    /// The topics and ends that something is asked for.
    pub fn targets(&self) -> impl Iterator<Item = (&str, Endpoint)> {
        self.0.keys().map(|(topic, endpoint)| (topic.as_str(), *endpoint))
    }
}

/// Is this parameter for a topic's quality of service?
pub(super) fn is_one(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The parts of a name. The error says what was expected and found.
fn parse(name: &str) -> Result<(&str, Endpoint, &'static QosPolicy), String> {
    let mut parts = name.strip_prefix(PREFIX).unwrap_or(name).rsplitn(3, '.');
    let (Some(policy), Some(endpoint), Some(topic)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("expected {PREFIX}/TOPIC.publisher.POLICY or {PREFIX}/TOPIC.subscription.POLICY"));
    };
    if !topic.starts_with('/') || !is_topic_name(topic) {
        return Err(format!("expected a topic's full name such as /camera/image, found {:?}", shorten(topic)));
    }
    let endpoint = Endpoint::from_name(endpoint).ok_or_else(|| unknown("end", endpoint, Endpoint::NAMES))?;
    let found = POLICIES.iter().find(|known| known.name == policy);
    let names = || POLICIES.iter().map(|policy| policy.name).collect::<Vec<_>>();
    Ok((topic, endpoint, found.ok_or_else(|| unknown("policy", policy, &names()))?))
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let hint = did_you_mean(found, known.iter().copied());
    format!("expected as {what} one of {}, found {:?}{hint}", known.join(" "), shorten(found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use ParameterValue::{Double, Integer, String as Text};

    const IMAGE: &str = "/cam/image";

    fn set(overrides: &mut QosOverrides, name: &str, value: ParameterValue) -> Result<(), String> {
        let given = Override { value, origin: Origin::CommandLine };
        overrides.set(&format!("{PREFIX}{name}"), &given).map_err(|error| error.to_string())
    }

    fn text(text: &str) -> ParameterValue {
        Text(text.to_owned())
    }

    #[test]
    fn every_policy_reaches_its_place() {
        let mut overrides = QosOverrides::default();
        for (policy, value) in [
            ("reliability", text("reliable")),
            ("durability", text("transient_local")),
            ("history", text("keep_all")),
            ("depth", Integer(7)),
            ("deadline", Integer(1)),
            ("lifespan", Integer(2_000_000_000)),
            ("liveliness", text("manual_by_topic")),
            ("liveliness_lease_duration", Integer(i64::MAX)),
        ] {
            set(&mut overrides, &format!("{IMAGE}.subscription.{policy}"), value).unwrap();
        }
        let expected = QosPolicies {
            reliability: Some(Reliability::Reliable),
            durability: Some(Durability::TransientLocal),
            history: Some(History::KeepAll),
            depth: Some(7),
            deadline: Some(Duration::from_nanos(1)),
            lifespan: Some(Duration::from_secs(2)),
            liveliness: Some(Liveliness::ManualByTopic),
            liveliness_lease_duration: Some(Duration::from_nanos(i64::MAX as u64)),
        };
        assert_eq!(overrides.of(IMAGE, Endpoint::Subscription), expected);
        assert_eq!(overrides.of(IMAGE, Endpoint::Publisher), QosPolicies::default(), "the other end");
        assert_eq!(overrides.of("/image", Endpoint::Subscription), QosPolicies::default(), "another topic");
        assert_eq!(overrides.targets().collect::<Vec<_>>(), [(IMAGE, Endpoint::Subscription)]);
    }

    #[test]
    fn what_is_no_override_is_refused_with_expected_found_and_a_hint() {
        for (name, value, parts) in [
            ("/a.publisher.reliabilty", text("reliable"), &["one of reliability", "did you mean reliability?"][..]),
            ("/a.publishr.depth", Integer(1), &["publisher subscription", "did you mean publisher?"]),
            ("/a.publisher_left.depth", Integer(1), &["publisher subscription", "\"publisher_left\""]),
            ("a.publisher.depth", Integer(1), &["a topic's full name", "\"a\""]),
            ("/a b.publisher.depth", Integer(1), &["a topic's full name", "\"/a b\""]),
            ("/a.depth", Integer(1), &["/TOPIC.publisher.POLICY"]),
            ("", Integer(1), &["/TOPIC.publisher.POLICY"]),
            ("/a.publisher.reliability", text("best-effort"), &["best_effort reliable", "did you mean best_effort?"]),
            ("/a.publisher.reliability", Integer(1), &["best_effort reliable", "1 (int)"]),
            ("/a.publisher.history", text("system_default"), &["keep_last keep_all"]),
            ("/a.publisher.depth", Integer(0), &["int, 1 to 100000", "0 (int)"]),
            ("/a.publisher.depth", Integer(100_001), &["int, 1 to 100000"]),
            ("/a.publisher.depth", Integer(i64::MIN), &["int, 1 to 100000"]),
            ("/a.publisher.deadline", Integer(-1), &["int, 0 to 9223372036854775807", "-1 (int)"]),
            ("/a.publisher.deadline", Double(0.5), &["0.5 (double)", "a whole number"]),
            ("/a.publisher.deadline", Double(f64::NAN), &["NaN (double)"]),
        ] {
            let mut overrides = QosOverrides::default();
            let line = set(&mut overrides, name, value).unwrap_err();
            assert!(line.starts_with("command line: parameter ") && !line.contains('\n'), "{line}");
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
        }
    }

    #[test]
    fn the_range_that_is_told_is_the_one_that_is_taken() {
        for policy in &POLICIES {
            let Some(Range::Integer(least, most)) = policy.range() else { continue };
            for (number, is_taken) in [(least, true), (most, true), (least - 1, false), (most.wrapping_add(1), false)] {
                let result = policy.set(&mut QosPolicies::default(), &Integer(number));
                assert_eq!(result.is_ok(), is_taken, "{}: {number}", policy.name);
            }
        }
    }
}
