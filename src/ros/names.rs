//! Topic names: expansion and remapping, read from the command line as rcl reads it.
//!
//! rcl resolves the names that it is given, but two of ours it never sees: `<image>/compressed`, where the suffix goes
//! behind the *remapped* base name (as image_transport does it), and the names that are looked up in the graph.
//! Source: design.ros2.org, "Topic and Service name mapping" and "Remapping Names".

/// The node's name and the remap rules that its topics obey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Without the namespace.
    node: String,
    /// "/" or "/a/b".
    namespace: String,
    rules: Vec<Rule>,
}

/// `[node:]match:=replacement`, for topics.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    node: Option<String>,
    pattern: String,
    replacement: String,
}

impl Names {
    /// `node` and `namespace` as the running node has them, after its own remapping; `arguments` as the program got them.
    pub fn new<S: AsRef<str>>(node: &str, namespace: &str, arguments: &[S]) -> Self {
        let rules = remap_arguments(arguments).filter_map(Rule::parse).collect();
        Self { node: node.to_owned(), namespace: namespace.to_owned(), rules }
    }

    /// The full name behind a relative, private (`~/...`) or absolute one. The first rule that matches decides.
    pub fn resolve(&self, name: &str) -> String {
        let expanded = self.expand(name);
        self.rules
            .iter()
            .filter(|rule| rule.node.as_ref().is_none_or(|node| *node == self.node))
            .find(|rule| self.expand(&rule.pattern) == expanded)
            .map_or(expanded, |rule| self.expand(&rule.replacement))
    }

    fn expand(&self, name: &str) -> String {
        let namespace = self.namespace.trim_end_matches('/');
        let name =
            name.replace("{node}", &self.node).replace("{ns}", &self.namespace).replace("{namespace}", &self.namespace);
        match name.strip_prefix('~') {
            Some(rest) => format!("{namespace}/{}{rest}", self.node),
            None if name.starts_with('/') => name,
            None => format!("{namespace}/{name}"),
        }
    }
}

impl Rule {
    /// None for a rule that is not about topics (`__node:=`, `__ns:=`, `rosservice://...`).
    fn parse(text: &str) -> Option<Self> {
        let (left, replacement) = text.split_once(":=")?;
        let (node, pattern) = match left.split_once(':') {
            Some((node, pattern)) if !pattern.starts_with("//") => (Some(node.to_owned()), pattern),
            _ => (None, left),
        };
        let pattern = pattern.strip_prefix("rostopic://").unwrap_or(pattern);
        let of_topics = !pattern.starts_with("__") && !pattern.contains("://");
        of_topics.then(|| Self { node, pattern: pattern.to_owned(), replacement: replacement.to_owned() })
    }
}

/// The values of `-r` and `--remap` between `--ros-args` and `--`.
fn remap_arguments<S: AsRef<str>>(arguments: &[S]) -> impl Iterator<Item = &str> {
    let mut in_ros_args = false;
    let mut arguments = arguments.iter().map(AsRef::as_ref);
    std::iter::from_fn(move || {
        loop {
            match arguments.next()? {
                "--ros-args" => in_ros_args = true,
                "--" => in_ros_args = false,
                "-r" | "--remap" if in_ros_args => return arguments.next(),
                _ => {}
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &str) -> Names {
        Names::new("affordance_node", "/robot", &arguments.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn names_are_expanded_without_rules() {
        let names = names("");
        assert_eq!(names.resolve("image"), "/robot/image");
        assert_eq!(names.resolve("~/heatmap"), "/robot/affordance_node/heatmap");
        assert_eq!(names.resolve("/cam/image"), "/cam/image");
        assert_eq!(Names::new("n", "/", &[""; 0]).resolve("image"), "/image");
        assert_eq!(Names::new("n", "/", &[""; 0]).resolve("~/x"), "/n/x");
    }

    #[test]
    fn a_rule_applies_between_ros_args_and_its_end() {
        assert_eq!(names("prog --ros-args -r image:=/cam/image").resolve("image"), "/cam/image");
        assert_eq!(names("prog --ros-args --remap image:=rgb --").resolve("image"), "/robot/rgb");
        assert_eq!(names("prog -r image:=/no").resolve("image"), "/robot/image");
        assert_eq!(names("prog --ros-args -- -r image:=/no").resolve("image"), "/robot/image");
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_is_applied_once() {
        let names = names("prog --ros-args -r image:=a -r image:=b -r a:=c");
        assert_eq!(names.resolve("image"), "/robot/a");
    }

    #[test]
    fn a_rule_may_name_another_form_of_the_same_name() {
        assert_eq!(names("--ros-args -r /robot/image:=/x").resolve("image"), "/x");
        assert_eq!(names("--ros-args -r ~/heatmap:=/heat").resolve("~/heatmap"), "/heat");
        assert_eq!(names("--ros-args -r image:=~/in").resolve("image"), "/robot/affordance_node/in");
        assert_eq!(names("--ros-args -r rostopic://image:=/x").resolve("image"), "/x");
        assert_eq!(names("--ros-args -r image:={ns}/{node}/x").resolve("image"), "/robot/affordance_node/x");
    }

    #[test]
    fn rules_of_other_nodes_and_of_other_things_are_passed_over() {
        let arguments = "--ros-args -r other:image:=/no -r rosservice://image:=/no -r __node:=n -r __ns:=/n";
        assert_eq!(names(arguments).resolve("image"), "/robot/image");
        assert_eq!(names("--ros-args -r affordance_node:image:=/yes").resolve("image"), "/yes");
        assert_eq!(names("--ros-args -r affordance_node:rostopic://image:=/yes").resolve("image"), "/yes");
    }
}
