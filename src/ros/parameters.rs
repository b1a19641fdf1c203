//! The six parameter services and /parameter_events over [`ParameterSet`].

use std::{
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use r2r::{
    Publisher, WrappedServiceTypeSupport,
    rcl_interfaces::{
        msg::{
            FloatingPointRange, IntegerRange, ListParametersResult, Parameter as ParameterMsg, ParameterDescriptor,
            ParameterEvent, ParameterType, ParameterValue as ValueMsg, SetParametersResult,
        },
        srv::{
            DescribeParameters, GetParameterTypes, GetParameters, ListParameters, SetParameters,
            SetParametersAtomically,
        },
    },
};
use tokio::sync::watch;

use super::{
    NodeError,
    clock::RosClock,
    lifecycle::respond_to,
    models::{Coming, ModelFacts, Models},
    publish, qos, regions,
    spin::Works,
};
use crate::{
    config::{Change, Changed, Kind, NodeSettings, ParameterSet, ParameterValue, QosPolicy, Range, find},
    message::text::{MAX_LOG_BYTES, clean_prefix},
    perceive::pipeline::PipelineSettings,
};

/// rcl_interfaces/ParameterType as messages carry it.
mod types {
    use super::ParameterType;

    pub const NOT_SET: u8 = ParameterType::PARAMETER_NOT_SET as u8;
    pub const BOOL: u8 = ParameterType::PARAMETER_BOOL as u8;
    pub const INTEGER: u8 = ParameterType::PARAMETER_INTEGER as u8;
    pub const DOUBLE: u8 = ParameterType::PARAMETER_DOUBLE as u8;
    pub const STRING: u8 = ParameterType::PARAMETER_STRING as u8;
    pub const BYTE_ARRAY: u8 = ParameterType::PARAMETER_BYTE_ARRAY as u8;
    pub const BOOL_ARRAY: u8 = ParameterType::PARAMETER_BOOL_ARRAY as u8;
    pub const INTEGER_ARRAY: u8 = ParameterType::PARAMETER_INTEGER_ARRAY as u8;
    pub const DOUBLE_ARRAY: u8 = ParameterType::PARAMETER_DOUBLE_ARRAY as u8;
    pub const STRING_ARRAY: u8 = ParameterType::PARAMETER_STRING_ARRAY as u8;
}

/// What the services work on.
pub struct Parameters {
    set: Mutex<ParameterSet>,
    /// Who works by the settings hears of every change.
    settings: watch::Sender<Arc<NodeSettings>>,
    models: Arc<Models>,
    events: Events,
}

/// Where changes are told.
pub struct Events {
    /// r2r's publishers are not Sync.
    publisher: Mutex<Publisher<ParameterEvent>>,
    clock: RosClock,
    /// The node's fully qualified name.
    node: String,
}

impl Events {
    /// Creates /parameter_events.
    ///
    /// # Errors
    /// rcl refuses the name or has no resources left.
    pub fn create(works: &mut Works, clock: RosClock, node: String) -> Result<Self, NodeError> {
        let publisher = Mutex::new(publish::create(works, "/parameter_events", qos::parameter_events())?);
        Ok(Self { publisher, clock, node })
    }

    fn tell(&self, changed: impl IntoIterator<Item = Changed>) {
        let mut event = ParameterEvent {
            stamp: regions::time(self.clock.now()),
            node: self.node.clone(),
            ..ParameterEvent::default()
        };
        for Changed { name, was, value } in changed {
            let list = match (&was, &value) {
                (None, _) => &mut event.new_parameters,
                (Some(_), Some(_)) => &mut event.changed_parameters,
                (Some(_), None) => &mut event.deleted_parameters,
            };
            list.push(ParameterMsg { name: name.into_owned(), value: value_message(value.as_ref()) });
        }
        let publisher = self.publisher.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = publish::publish(&publisher, "/parameter_events", &event) {
            tracing::warn!("{error}");
        }
    }
}

impl Parameters {
    /// Serves the parameters of `set`; changes go into the receiver. Needs a tokio runtime.
    ///
    /// # Errors
    /// rcl refuses a name or has no resources left.
    pub fn serve(
        works: &mut Works,
        set: ParameterSet,
        models: Arc<Models>,
        events: Events,
    ) -> Result<(Arc<Self>, watch::Receiver<Arc<NodeSettings>>), NodeError> {
        let new = |(name, value): (&str, &ParameterValue)| Changed {
            name: name.to_owned().into(),
            was: None,
            value: Some(value.clone()),
        };
        events.tell(set.values().map(new));
        let (settings, changes) = watch::channel(set.settings().clone());
        let parameters = Arc::new(Self { set: Mutex::new(set), settings, models, events });
        parameters.answer::<GetParameters::Service>(works, "~/get_parameters", |p, request| {
            let set = p.set();
            GetParameters::Response { values: request.names.iter().map(|n| value_message(set.get(n))).collect() }
        })?;
        parameters.answer::<GetParameterTypes::Service>(works, "~/get_parameter_types", |p, request| {
            let set = p.set();
            GetParameterTypes::Response {
                types: request.names.iter().map(|n| value_message(set.get(n)).type_).collect(),
            }
        })?;
        parameters.answer::<ListParameters::Service>(works, "~/list_parameters", |p, request| {
            let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
            let set = p.set();
            let (names, prefixes) = set.list(&request.prefixes, request.depth);
            ListParameters::Response { result: ListParametersResult { names: owned(names), prefixes: owned(prefixes) } }
        })?;
        parameters.answer::<DescribeParameters::Service>(works, "~/describe_parameters", |p, request| {
            let set = p.set();
            DescribeParameters::Response { descriptors: request.names.iter().map(|n| descriptor(&set, n)).collect() }
        })?;
        parameters.answer::<SetParameters::Service>(works, "~/set_parameters", |p, request| {
            // Each by itself, in order: some may be taken and others refused.
            SetParameters::Response {
                results: request.parameters.iter().map(|one| p.change(std::slice::from_ref(one))).collect(),
            }
        })?;
        parameters.answer::<SetParametersAtomically::Service>(works, "~/set_parameters_atomically", |p, request| {
            SetParametersAtomically::Response { result: p.change(&request.parameters) }
        })?;
        Ok((parameters, changes))
    }

    /// From now on settings must fit this model too, which is about to be put to work.
    ///
    /// # Errors
    /// Those in force do not.
    pub fn expect_model(&self, facts: &Arc<ModelFacts>) -> Result<Coming, String> {
        // Held to the end: no set comes between.
        let set = self.set();
        let settings = PipelineSettings::from(&**set.settings());
        settings.check(&facts.contract).map_err(|error| error.to_string())?;
        Ok(self.models.await_model(facts.clone()))
    }

    /// Another model was put to work: the parameter `model` says so.
    pub fn model_is(&self, folder: Option<&Path>) {
        let mut set = self.set();
        match set.set_model(folder) {
            Ok(changed) => self.changed(&set, changed),
            Err(error) => tracing::warn!("{error}"),
        }
    }

    /// Sets all or none of these.
    fn change(&self, parameters: &[ParameterMsg]) -> SetParametersResult {
        match self.try_change(parameters) {
            Ok(()) => SetParametersResult { successful: true, reason: String::new() },
            Err(reason) => {
                let reason = clean_prefix(reason.as_bytes(), MAX_LOG_BYTES).to_owned();
                SetParametersResult { successful: false, reason }
            }
        }
    }

    fn try_change(&self, parameters: &[ParameterMsg]) -> Result<(), String> {
        let changes: Vec<Change> = parameters
            .iter()
            .map(|parameter| Ok((parameter.name.clone(), value(&parameter.value)?)))
            .collect::<Result<_, String>>()?;
        // Held to the end: settings and events come in the order of the sets.
        let mut set = self.set();
        let changed = set.set(&changes, |settings| self.models.check(settings))?;
        self.changed(&set, changed);
        Ok(())
    }

    fn changed(&self, set: &ParameterSet, changed: Vec<Changed>) {
        if !changed.is_empty() {
            self.settings.send_replace(set.settings().clone());
            self.events.tell(changed);
        }
    }

    fn answer<T>(
        self: &Arc<Self>,
        works: &mut Works,
        name: &'static str,
        respond: impl Fn(&Self, &T::Request) -> T::Response + Send + 'static,
    ) -> Result<(), NodeError>
    where
        T: WrappedServiceTypeSupport + 'static,
        T::Request: Send,
    {
        let mut requests = works.serve::<T>(name)?;
        let parameters = self.clone();
        tokio::spawn(async move {
            while let Some(request) = requests.recv().await {
                let response = respond(&parameters, &request.message);
                respond_to(request, name, response);
            }
        });
        Ok(())
    }

    // A set is replaced as a whole: a panic elsewhere leaves no half of one.
    fn set(&self) -> MutexGuard<'_, ParameterSet> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name without a parameter has a descriptor of type NOT_SET.
fn descriptor(set: &ParameterSet, name: &str) -> ParameterDescriptor {
    let mut descriptor = ParameterDescriptor { name: name.to_owned(), ..ParameterDescriptor::default() };
    let range = if let Some(parameter) = find(name) {
        descriptor.type_ = type_number(&parameter.kind);
        descriptor.description = parameter.description.to_owned();
        descriptor.additional_constraints = parameter.kind.expected();
        descriptor.read_only = !parameter.live;
        parameter.kind.range()
    } else if let (Some(value), Some(policy)) = (set.get(name), QosPolicy::of_parameter(name)) {
        descriptor.type_ = value_message(Some(value)).type_;
        descriptor.description = policy.description.to_owned();
        descriptor.additional_constraints = policy.expected();
        descriptor.read_only = true;
        policy.range()
    } else {
        None
    };
    match range {
        Some(Range::Integer(least, most)) => {
            descriptor.integer_range.push(IntegerRange { from_value: least, to_value: most, step: 1 });
        }
        Some(Range::Double(least, most)) => {
            descriptor.floating_point_range.push(FloatingPointRange { from_value: least, to_value: most, step: 0.0 });
        }
        None => {}
    }
    descriptor
}

fn type_number(kind: &Kind) -> u8 {
    match kind {
        Kind::Bool { .. } => types::BOOL,
        Kind::Integer { .. } => types::INTEGER,
        Kind::Double { .. } => types::DOUBLE,
        Kind::Choice { .. } | Kind::Text { .. } => types::STRING,
        Kind::Names { .. } => types::STRING_ARRAY,
    }
}

fn value_message(value: Option<&ParameterValue>) -> ValueMsg {
    let empty = ValueMsg::default();
    match value.cloned() {
        None => empty,
        Some(ParameterValue::Bool(v)) => ValueMsg { type_: types::BOOL, bool_value: v, ..empty },
        Some(ParameterValue::Integer(v)) => ValueMsg { type_: types::INTEGER, integer_value: v, ..empty },
        Some(ParameterValue::Double(v)) => ValueMsg { type_: types::DOUBLE, double_value: v, ..empty },
        Some(ParameterValue::String(v)) => ValueMsg { type_: types::STRING, string_value: v, ..empty },
        Some(ParameterValue::BoolArray(v)) => ValueMsg { type_: types::BOOL_ARRAY, bool_array_value: v, ..empty },
        Some(ParameterValue::IntegerArray(v)) => {
            ValueMsg { type_: types::INTEGER_ARRAY, integer_array_value: v, ..empty }
        }
        Some(ParameterValue::DoubleArray(v)) => ValueMsg { type_: types::DOUBLE_ARRAY, double_array_value: v, ..empty },
        Some(ParameterValue::StringArray(v)) => ValueMsg { type_: types::STRING_ARRAY, string_array_value: v, ..empty },
    }
}

/// None: unset. The error is a reason: no parameter of ours has such a type.
fn value(message: &ValueMsg) -> Result<Option<ParameterValue>, String> {
    let message = message.clone();
    let is_empty = message.byte_array_value.is_empty()
        && message.bool_array_value.is_empty()
        && message.integer_array_value.is_empty()
        && message.double_array_value.is_empty();
    Ok(Some(match message.type_ {
        // An empty list has no type of its own, and `ros2 param set` and rclpy give it one: no parameter of ours is such a
        // list, but `affordances` and `cameras` may be empty.
        types::BYTE_ARRAY | types::BOOL_ARRAY | types::INTEGER_ARRAY | types::DOUBLE_ARRAY if is_empty => {
            ParameterValue::StringArray(Vec::new())
        }
        types::NOT_SET => return Ok(None),
        types::BOOL => ParameterValue::Bool(message.bool_value),
        types::INTEGER => ParameterValue::Integer(message.integer_value),
        types::DOUBLE => ParameterValue::Double(message.double_value),
        types::STRING => ParameterValue::String(message.string_value),
        types::BOOL_ARRAY => ParameterValue::BoolArray(message.bool_array_value),
        types::INTEGER_ARRAY => ParameterValue::IntegerArray(message.integer_array_value),
        types::DOUBLE_ARRAY => ParameterValue::DoubleArray(message.double_array_value),
        types::STRING_ARRAY => ParameterValue::StringArray(message.string_array_value),
        n => return Err(format!("expected a type of rcl_interfaces/ParameterType without byte arrays, found {n}")),
    }))
}
