//! `/diagnostics`: what [`diagnose`] says, as robots' aggregators read it.

use std::{
    fs,
    time::{Duration, Instant},
};

use r2r::{
    Publisher,
    diagnostic_msgs::msg::{DiagnosticArray, DiagnosticStatus, KeyValue},
};

use super::{NodeError, publish, qos, regions, spin::Works};
use crate::{
    config::{NodeSettings, RosArgs},
    message::{
        image::Header,
        text::{MAX_LOG_BYTES, clean_prefix},
    },
    perceive::Stamp,
    robot::diagnosis::{Diagnosis, NodeFacts, diagnose},
};

/// Where aggregators listen, whatever the node's namespace.
const TOPIC: &str = "/diagnostics";

/// Publishes on `/diagnostics`.
#[derive(Debug)]
pub struct Diagnostics {
    publisher: Publisher<DiagnosticArray>,
    /// The node's name, which stands before a status' own, as diagnostic_updater writes it.
    node: String,
    /// The node's fully qualified name: it tells robots apart that share `/diagnostics`.
    hardware_id: String,
    period: Duration,
    published: Option<Instant>,
}

impl Diagnostics {
    /// Creates the topic.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn create(works: &mut Works, args: &RosArgs, settings: &NodeSettings) -> Result<Self, NodeError> {
        Ok(Self {
            publisher: publish::create(works, TOPIC, qos::diagnostics())?,
            node: args.node_name.clone(),
            hardware_id: args.fully_qualified_name(),
            period: settings.diagnostics_period,
            published: None,
        })
    }

    /// Another period.
    pub fn apply(&mut self, settings: &NodeSettings) {
        self.period = settings.diagnostics_period;
    }

    /// The next [`Self::look`] publishes in any case.
    pub fn hurry(&mut self) {
        self.published = None;
    }

    /// Publishes when it is time. Call it at least once a period.
    pub fn look(&mut self, now: Stamp, facts: &NodeFacts<'_>) {
        if self.published.is_some_and(|last| last.elapsed() < self.period) {
            return;
        }
        self.published = Some(Instant::now());
        let facts = NodeFacts { resident_bytes: resident_bytes(), ..*facts };
        let status = diagnose(&facts).into_iter().map(|diagnosis| self.status(diagnosis)).collect();
        let array = DiagnosticArray { header: regions::header(Header { stamp: now, frame_id: "" }), status };
        if let Err(error) = publish::publish(&self.publisher, TOPIC, &array) {
            tracing::warn!("{error}");
        }
    }

    fn status(&self, diagnosis: Diagnosis) -> DiagnosticStatus {
        let value = |(key, value): (String, String)| KeyValue { key: clean(&key), value: clean(&value) };
        DiagnosticStatus {
            level: diagnosis.level as u8,
            name: format!("{}: {}", self.node, clean(&diagnosis.part)),
            message: clean(&diagnosis.message),
            hardware_id: self.hardware_id.clone(),
            values: diagnosis.values.into_iter().map(value).collect(),
        }
    }
}

fn clean(text: &str) -> String {
    clean_prefix(text.as_bytes(), MAX_LOG_BYTES).to_owned()
}

/// The process's memory, as proc(5) has it in kB.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}
