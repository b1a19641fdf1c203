//! The parameters while the node runs: read, described, listed, and set all or none.

use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc};

use super::{
    ConfigError, DoubleDefault, Kind, NodeSettings, Origin, Override, Overrides, PARAMETERS, Parameter, ParameterValue,
    find, qos_overrides, value::shorten,
};

/// The parameter that changes with the model, and not by a set.
const MODEL: &str = "model";

/// Every parameter's value, and the settings they come to.
#[derive(Debug, Clone)]
pub struct ParameterSet {
    /// A parameter without a value is one that is unset, which its description explains.
    values: Values,
    settings: Arc<NodeSettings>,
}

/// By name: the table's names, and those of the `qos_overrides` that were given.
type Values = BTreeMap<Cow<'static, str>, ParameterValue>;

/// One change that is asked for. None: unset it.
pub type Change = (String, Option<ParameterValue>);

/// One change that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// The parameter.
    pub name: Cow<'static, str>,
    /// Before.
    pub was: Option<ParameterValue>,
    /// Now.
    pub value: Option<ParameterValue>,
}

/// The least and greatest value, where a parameter has such.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// Of a whole number.
    Integer(i64, i64),
    /// Of a number with a fraction.
    Double(f64, f64),
}

impl Kind {
    /// The value where nobody sets one; None: unset.
    pub fn default_value(&self) -> Option<ParameterValue> {
        Some(match self {
            Self::Bool { default, .. } => ParameterValue::Bool(*default),
            Self::Integer { default, .. } => ParameterValue::Integer(i64::from(*default)),
            Self::Double { default: DoubleDefault::Value(default), .. } => ParameterValue::Double(*default),
            Self::Double { default: DoubleDefault::Unset { .. }, .. } => return None,
            Self::Choice { default, .. } => ParameterValue::String((*default).to_owned()),
            Self::Text { .. } => ParameterValue::String(String::new()),
            Self::Names { .. } => ParameterValue::StringArray(Vec::new()),
        })
    }

    /// The range of its numbers.
    pub fn range(&self) -> Option<Range> {
        match self {
            Self::Integer { range: (least, most), .. } => Some(Range::Integer((*least).into(), (*most).into())),
            Self::Double { range: (least, most), .. } => Some(Range::Double(*least, *most)),
            _ => None,
        }
    }
}

impl ParameterSet {
    /// The defaults with `overrides` over them.
    ///
    /// # Errors
    /// As [`NodeSettings::from_overrides`].
    pub fn from_overrides(overrides: &Overrides) -> Result<Self, ConfigError> {
        let settings = Arc::new(NodeSettings::from_overrides(overrides)?);
        let value = |parameter: &Parameter| {
            let given = overrides.get(parameter.name).map(|given| given.value.clone());
            Some((parameter.name.into(), given.or_else(|| parameter.kind.default_value())?))
        };
        let is_qos = |(name, _): &(&String, _)| qos_overrides::is_one(name);
        let qos = overrides.iter().filter(is_qos).map(|(name, given)| (name.clone().into(), given.value.clone()));
        Ok(Self { values: PARAMETERS.iter().filter_map(value).chain(qos).collect(), settings })
    }

    /// What the values come to.
    pub fn settings(&self) -> &Arc<NodeSettings> {
        &self.settings
    }

    /// Every parameter that has a value.
    pub fn values(&self) -> impl Iterator<Item = (&str, &ParameterValue)> {
        self.values.iter().map(|(name, value)| (&**name, value))
    }

    /// A parameter's value; None where it is unset or there is no such parameter.
    pub fn get(&self, name: &str) -> Option<&ParameterValue> {
        self.values.get(name)
    }

    /// Sets all or none. `fits` sees what the settings would be and may refuse them with a reason. Returns what really
    /// changed.
    ///
    /// # Errors
    /// The reason in one line: no such parameter, a read-only one, a wrong type (an int is no double), a value out of
    /// range (NaN is out of every range), or what `fits` says. Nothing has changed then.
    pub fn set(
        &mut self,
        changes: &[Change],
        fits: impl FnOnce(&NodeSettings) -> Result<(), String>,
    ) -> Result<Vec<Changed>, String> {
        let mut values = self.values.clone();
        let mut names = Vec::new();
        for (name, value) in changes {
            let parameter = changeable(name)?;
            match value {
                Some(value) => values.insert(parameter.name.into(), value.clone()),
                None if parameter.kind.default_value().is_none() => values.remove(parameter.name),
                None => return Err(format!("parameter {}: cannot be unset", parameter.name)),
            };
            if !names.contains(&parameter.name) {
                names.push(parameter.name);
            }
        }
        self.replace(values, &names, fits)
    }

    /// Sets `model`, which users may not: another model was put to work. None: the installed default. Returns what
    /// really changed.
    ///
    /// # Errors
    /// Such a folder is not allowed as a value. Nothing has changed then.
    pub fn set_model(&mut self, folder: Option<&Path>) -> Result<Vec<Changed>, String> {
        let text = folder.map_or_else(String::new, |folder| folder.to_string_lossy().into_owned());
        let mut values = self.values.clone();
        values.insert(MODEL.into(), ParameterValue::String(text));
        self.replace(values, &[MODEL], |_| Ok(()))
    }

    fn replace(
        &mut self,
        values: Values,
        names: &[&'static str],
        fits: impl FnOnce(&NodeSettings) -> Result<(), String>,
    ) -> Result<Vec<Changed>, String> {
        let given = |(name, value): (&Cow<'static, str>, &ParameterValue)| {
            (name.clone().into_owned(), Override { value: value.clone(), origin: Origin::Request })
        };
        let settings = NodeSettings::from_overrides(&values.iter().map(given).collect()).map_err(|e| e.to_string())?;
        fits(&settings)?;
        let before = std::mem::replace(&mut self.values, values);
        self.settings = Arc::new(settings);
        let changed = |&name: &&'static str| Changed {
            name: name.into(),
            was: before.get(name).cloned(),
            value: self.values.get(name).cloned(),
        };
        Ok(names.iter().map(changed).filter(|changed| changed.was != changed.value).collect())
    }

    /// The names that have one of these prefixes (all, if none is given), with at most `depth` parts behind it (0: any
    /// number), and the prefixes that occur in them: rcl_interfaces/srv/ListParameters.
    pub fn list(&self, prefixes: &[String], depth: u64) -> (Vec<&str>, Vec<&str>) {
        let near = |rest: &str| depth == 0 || (rest.matches('.').count() as u64) < depth;
        let under = |name: &str, prefix: &str| {
            name == prefix || name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.')).is_some_and(near)
        };
        let wanted = |name: &str| {
            if prefixes.is_empty() { near(name) } else { prefixes.iter().any(|prefix| under(name, prefix)) }
        };
        let names: Vec<&str> = self.values.keys().map(|name| &**name).filter(|name| wanted(name)).collect();
        let mut found: Vec<&str> =
            names.iter().filter_map(|name| name.rsplit_once('.').map(|(prefix, _)| prefix)).collect();
        found.dedup();
        (names, found)
    }
}

fn changeable(name: &str) -> Result<&'static Parameter, String> {
    match find(name) {
        None if qos_overrides::is_one(name) => {
            Err(format!("parameter {:?}: read-only: it is set when the node starts", shorten(name)))
        }
        Some(parameter) if parameter.live => Ok(parameter),
        Some(parameter) if parameter.name == MODEL => Err(format!("parameter {MODEL}: read-only: use ~/set_model")),
        Some(parameter) => Err(format!("parameter {}: read-only: it is set when the node starts", parameter.name)),
        None => Err(format!("there is no parameter {:?}", shorten(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ParameterValue::{Double, Integer, String as Text, StringArray};

    fn set() -> ParameterSet {
        ParameterSet::from_overrides(&Overrides::new()).unwrap()
    }

    fn change(name: &str, value: ParameterValue) -> Change {
        (name.to_owned(), Some(value))
    }

    fn anything(_: &NodeSettings) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn a_set_changes_value_and_setting() {
        let mut set = set();
        let changed = set.set(&[change("max_rate", Double(5.0))], anything).unwrap();
        assert_eq!(changed, [Changed { name: "max_rate".into(), was: Some(Double(0.0)), value: Some(Double(5.0)) }]);
        assert_eq!((set.get("max_rate"), set.settings().max_rate_hz), (Some(&Double(5.0)), Some(5.0)));
        assert_eq!(set.set(&[change("max_rate", Double(5.0))], anything).unwrap(), [], "the same again");
    }

    #[test]
    fn a_refused_set_changes_nothing_and_says_why() {
        for (name, value, part) in [
            ("max_rate", Double(f64::NAN), "NaN"),
            ("max_rate", Double(f64::INFINITY), "0.0 to 1000.0"),
            ("max_rate", Integer(5), "write 5.0"),
            ("max_regions", Integer(0), "1 to 256"),
            ("max_regions", Integer(i64::MAX), "1 to 256"),
            ("heatmap_encoding", Text("mono16".to_owned()), "32FC1"),
            ("affordances", StringArray(vec!["a".to_owned(), "a".to_owned()]), "twice"),
            ("intra_op_threads", Integer(2), "read-only"),
            ("max_rtae", Double(5.0), "max_rtae"),
        ] {
            let mut set = set();
            let good = change("min_region_score", Double(0.5));
            let reason = set.set(&[good, change(name, value.clone())], anything).unwrap_err();
            assert!(reason.contains(name) && reason.contains(part) && !reason.contains('\n'), "{reason}");
            assert_eq!((set.values, &set.settings), (self::set().values, self::set().settings()), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let mut set = set();
        let reason = set.set(&[change("max_regions", Integer(3))], |settings| {
            if settings.max_regions == 3 { Err("not three".to_owned()) } else { Ok(()) }
        });
        assert_eq!(reason, Err("not three".to_owned()));
        assert_eq!(set.settings().max_regions, 16);
    }

    #[test]
    fn only_what_may_be_unset_can_be() {
        let mut set = set();
        assert_eq!(set.get("heat_threshold"), None);
        set.set(&[change("heat_threshold", Double(0.25))], anything).unwrap();
        assert_eq!(set.settings().heat_threshold, Some(0.25));
        set.set(&[("heat_threshold".to_owned(), None)], anything).unwrap();
        assert_eq!((set.get("heat_threshold"), set.settings().heat_threshold), (None, None));
        assert!(set.set(&[("max_rate".to_owned(), None)], anything).unwrap_err().contains("unset"));
    }

    #[test]
    fn the_last_change_of_a_name_counts() {
        let mut set = set();
        let changes = [change("max_regions", Integer(3)), change("max_regions", Integer(4))];
        assert_eq!(set.set(&changes, anything).unwrap().len(), 1);
        assert_eq!(set.settings().max_regions, 4);
    }

    #[test]
    fn every_default_is_a_value_the_table_takes() {
        let mut set = set();
        for parameter in PARAMETERS {
            let Some(default) = parameter.kind.default_value() else { continue };
            assert_eq!(set.get(parameter.name), Some(&default));
            let result = set.set(&[change(parameter.name, default)], anything);
            assert_eq!(result.is_ok(), parameter.live, "{}: {result:?}", parameter.name);
        }
    }

    #[test]
    fn names_are_listed_by_prefix() {
        let set = set();
        let (all, prefixes) = set.list(&[], 0);
        assert_eq!(all.len(), PARAMETERS.len() - 1, "all but the unset one");
        assert_eq!(prefixes, ["diagnostic_updater"]);
        assert_eq!(set.list(&["max_rate".to_owned()], 1).0, ["max_rate"]);
        assert_eq!(set.list(&["max".to_owned()], 0).0, [] as [&str; 0]);
    }

    #[test]
    fn overrides_of_qos_are_parameters_that_cannot_be_changed() {
        let name = "qos_overrides./cam/image.subscription.depth";
        let given = Override { value: Integer(3), origin: Origin::CommandLine };
        let mut set = ParameterSet::from_overrides(&[(name.to_owned(), given)].into()).unwrap();
        assert_eq!(set.list(&["qos_overrides".to_owned()], 0).0, [name]);
        assert!(set.list(&[], 0).1.contains(&"qos_overrides./cam/image.subscription"));
        assert_eq!(set.get(name), Some(&Integer(3)));
        assert!(set.set(&[change(name, Integer(4))], anything).unwrap_err().contains("read-only"));
        let before = set.settings().qos_overrides.clone();
        set.set(&[change("max_regions", Integer(4))], anything).unwrap();
        assert_eq!((&set.settings().qos_overrides, set.get(name)), (&before, Some(&Integer(3))), "another change");
        assert_eq!(before.targets().count(), 1);
    }
}
