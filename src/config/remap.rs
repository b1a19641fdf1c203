//! Remap rules (`-r`), as rcl reads and applies them.

use super::value::shorten;

/// A name's part in rcl's rules: letters, digits and underscores, no digit first, no two underscores in a row.
pub(super) fn is_token(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.contains("__")
}

/// "a", "a/b", "/a/b" or "~/a/b".
pub(super) fn is_topic_name(text: &str) -> bool {
    let tokens = text.strip_prefix("~/").or_else(|| text.strip_prefix('/')).unwrap_or(text);
    tokens.split('/').all(is_token)
}

/// What a rule renames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    NodeName,
    Namespace,
    Topics,
    Services,
    TopicsAndServices,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// The rule is for the node of this name only.
    node: Option<String>,
    target: Target,
    /// The topic's name; empty for the node's own name and namespace.
    from: String,
    to: String,
}

impl Rule {
    /// Reads `[NODE:]FROM:=TO`. The error says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = || shorten(text);
        let (left, to) = text.split_once(":=").ok_or_else(|| format!("expected FROM:=TO, found {:?}", found()))?;
        let (target, left) = match left.rsplit_once("rostopic://") {
            Some((node, from)) => (Target::Topics, format!("{node}{from}")),
            None => match left.rsplit_once("rosservice://") {
                Some((node, from)) => (Target::Services, format!("{node}{from}")),
                None => (Target::TopicsAndServices, left.to_owned()),
            },
        };
        let (node, from) = match left.split_once(':') {
            Some((node, from)) if is_token(node) => (Some(node.to_owned()), from),
            Some((node, _)) => return Err(format!("expected a node's name before ':', found {:?}", shorten(node))),
            None => (None, left.as_str()),
        };
        let to_owned = to.to_owned();
        match from {
            "__node" | "__name" if is_token(to) => {
                Ok(Self { node, target: Target::NodeName, from: String::new(), to: to_owned })
            }
            "__node" | "__name" => {
                Err(format!("expected a node's name (letters, digits, single underscores), found {:?}", shorten(to)))
            }
            "__ns" if to == "/" || (to.starts_with('/') && is_topic_name(to)) => {
                Ok(Self { node, target: Target::Namespace, from: String::new(), to: to_owned })
            }
            "__ns" => Err(format!("expected a namespace such as /robot1, found {:?}", shorten(to))),
            _ if is_topic_name(from) && is_topic_name(to) => {
                Ok(Self { node, target, from: from.to_owned(), to: to_owned })
            }
            _ => Err(format!(
                "expected names of letters, digits and single underscores, with / between, found {:?}",
                found()
            )),
        }
    }

    fn concerns(&self, target: Target, node_name: &str) -> bool {
        self.target == target && self.node.as_deref().is_none_or(|node| node == node_name)
    }
}

/// The node's name after remapping.
pub(super) fn node_name(rules: &[Rule], default: &str) -> String {
    rules.iter().find(|rule| rule.concerns(Target::NodeName, default)).map_or(default, |rule| &rule.to).to_owned()
}

/// The node's namespace after remapping; `node_name` is the remapped one.
pub(super) fn namespace(rules: &[Rule], node_name: &str) -> String {
    rules.iter().find(|rule| rule.concerns(Target::Namespace, node_name)).map_or("/", |rule| &rule.to).to_owned()
}

/// A topic's absolute name after remapping by the first rule that matches.
pub(super) fn topic(rules: &[Rule], name: &str, node_name: &str, namespace: &str) -> String {
    let absolute = |name: &str| expand(name, node_name, namespace);
    let wanted = absolute(name);
    rules
        .iter()
        .filter(|rule| rule.concerns(Target::Topics, node_name) || rule.concerns(Target::TopicsAndServices, node_name))
        .find(|rule| absolute(&rule.from) == wanted)
        .map_or(wanted.clone(), |rule| absolute(&rule.to))
}

/// Makes a name absolute: "~/x" is the node's own, "x" is in the node's namespace.
fn expand(name: &str, node_name: &str, namespace: &str) -> String {
    let namespace = namespace.trim_end_matches('/');
    match name.strip_prefix("~/") {
        Some(private) => format!("{namespace}/{node_name}/{private}"),
        None if name.starts_with('/') => name.to_owned(),
        None => format!("{namespace}/{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Vec<Rule> {
        texts.iter().map(|text| Rule::parse(text).unwrap()).collect()
    }

    /// rcl (Jazzy) was given each of these; it refuses what we refuse, and nothing that we take.
    #[test]
    fn rules_are_those_rcl_takes() {
        for good in [
            "a:=b",
            "_a:=b_",
            "a_/b:=/c/_d",
            "~/a:=b",
            "a:=~/b",
            "n:a:=b",
            "_n:x:=y",
            "rostopic://a:=b",
            "_:=_",
            "rosservice:///a:=b",
            "rostopic://~/a:=b",
            "n:rostopic://a:=b",
            "rostopic:a:=b",
            "rostopic:=b",
            "A:=B",
            "__node:=x",
            "__name:=x",
            "__node:=_a",
            "n:__node:=b",
            "__ns:=/x",
            "__ns:=/",
            "__ns:=/_a/b_",
            "n:__ns:=/x",
        ] {
            Rule::parse(good).unwrap();
        }
        for bad in [
            "",
            "a",
            ":=",
            "a:=",
            ":=b",
            "a:=1b",
            "a:=/b/",
            "a:=~",
            "~:=a",
            "~/:=a",
            "/:=a",
            "a:=/",
            "a:=~/",
            "a/:=b",
            "a//b:=c",
            "a:=rostopic://b",
            "/**/a:=b",
            "*:=b",
            "a:=\\1",
            "a:=b c",
            "a-b:=c",
            "a__b:=c",
            "a:=b__c",
            "a:=/__b",
            "{node}:=c",
            "a:=b:=c",
            " a:=b",
            "__x:=b",
            "___a:=b",
            "__node:=x/y",
            "__node:=",
            "__node:=1x",
            "__node:=a-b",
            "__node:=a__b",
            "__ns:=x",
            "__ns:=",
            "__ns:=//",
            "__ns:=/x//y",
            "__ns:=/1x",
            "__ns:=/a__b",
            "a__b:x:=y",
            "__node:a:=b",
            "a:=__node",
            "a:=b:",
            "ä:=b",
            "a/1:=c",
            "a:=b/1c",
            "--",
            "--ros-args",
            // Taken by rcl, but no node can have this namespace.
            "__ns:=/x/",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_first_rule_for_this_node_names_it() {
        assert_eq!(node_name(&rules(&["__node:=a", "__node:=b"]), "n"), "a");
        assert_eq!(node_name(&rules(&["other:__node:=a"]), "n"), "n");
        assert_eq!(node_name(&rules(&["n:__node:=a"]), "n"), "a");
        assert_eq!(namespace(&rules(&["__ns:=/a", "__ns:=/b"]), "n"), "/a");
        assert_eq!(namespace(&rules(&["n:__ns:=/a"]), "renamed"), "/", "a prefix is the new name");
    }

    #[test]
    fn topics_are_made_absolute_and_remapped_by_the_first_rule() {
        let resolve = |texts: &[&str], name: &str| topic(&rules(texts), name, "node", "/ns");
        assert_eq!(resolve(&[], "image"), "/ns/image");
        assert_eq!(resolve(&[], "~/heatmap"), "/ns/node/heatmap");
        assert_eq!(resolve(&[], "/clock"), "/clock");
        assert_eq!(resolve(&["image:=/cam/image"], "image"), "/cam/image");
        assert_eq!(resolve(&["/ns/image:=other"], "image"), "/ns/other");
        assert_eq!(resolve(&["~/heatmap:=heat"], "~/heatmap"), "/ns/heat");
        assert_eq!(resolve(&["image:=a", "image:=b"], "image"), "/ns/a");
        assert_eq!(resolve(&["rosservice://image:=a", "rostopic://image:=b"], "image"), "/ns/b");
        assert_eq!(resolve(&["other:image:=a"], "image"), "/ns/image");
        assert_eq!(topic(&[], "image", "node", "/"), "/image");
    }
}
