//! The node's parameters, from the command line and YAML to typed settings.
//!
//! Covers: the committed `config/affordance_node.yaml` against the table, every way a parameter can be wrong
//! (docs/faults.md, 56 and 57), `--ros-args` as ros2 run and ros2 launch give it. Needs: nothing beyond the library.
//! What rcl itself makes of the same arguments: `tests/rcl_agreement.rs`.

#![allow(clippy::unwrap_used)]

use std::{fs, path::PathBuf, time::Duration};

use looptrans_ros::config::{
    self, DoubleDefault, Endpoint, HeatmapEncoding, History, Kind, NodeSettings, PARAMETERS, ProviderChoice,
    Reliability, RosArgs, StampPolicy,
};
use tempfile::TempDir;

const NODE: &str = "affordance_node";

/// A folder with one parameter file.
struct File {
    _folder: TempDir,
    path: PathBuf,
}

fn file(text: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("params.yaml");
    fs::write(&path, text).unwrap();
    File { _folder: folder, path }
}

fn parse(args: &[&str]) -> Result<RosArgs, config::ConfigError> {
    RosArgs::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>(), NODE)
}

fn settings(args: &[&str]) -> Result<NodeSettings, config::ConfigError> {
    NodeSettings::from_overrides(&parse(args)?.overrides)
}

/// Settings of one parameter as `-p` gives it.
fn with(rule: &str) -> Result<NodeSettings, String> {
    settings(&["--ros-args", "-p", rule]).map_err(|error| error.to_string())
}

/// Settings of a file's text.
fn with_file(text: impl AsRef<[u8]>) -> Result<NodeSettings, String> {
    let file = file(text);
    settings(&["--ros-args", "--params-file", file.path.to_str().unwrap()])
        .map_err(|error| error.to_string().replace(file.path.to_str().unwrap(), "FILE"))
}

fn defaults() -> NodeSettings {
    settings(&[]).unwrap()
}

#[test]
fn the_committed_file_is_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/affordance_node.yaml");
    let committed = fs::read_to_string(path).unwrap();
    assert!(
        committed == config::config_text(),
        "config/affordance_node.yaml differs from the table; write it anew: cargo run --example print_config > {path}"
    );
}

#[test]
fn the_committed_file_sets_every_parameter_to_its_default() {
    let text = config::config_text();
    assert_eq!(with_file(&text).unwrap(), defaults());
    for parameter in PARAMETERS {
        assert!(text.contains(&format!(" {}: ", parameter.name)), "{}", parameter.name);
    }
    // The one that is unset by default works once its # is removed.
    let uncommented = text.replace("# heat_threshold:", "heat_threshold:");
    assert_eq!(with_file(&uncommented).unwrap(), NodeSettings { heat_threshold: Some(0.5), ..defaults() });
}

#[test]
fn defaults_are_those_of_the_interface() {
    let settings = defaults();
    assert_eq!(settings.model, None);
    assert_eq!(settings.execution_provider, ProviderChoice::Auto);
    assert!(settings.allow_fallback);
    assert_eq!(settings.max_rate_hz, None);
    assert_eq!(settings.max_input_age, Some(Duration::from_millis(500)));
    assert_eq!(settings.input_timeout, Duration::from_secs(2));
    assert_eq!(settings.stamp_policy, StampPolicy::Reject);
    assert_eq!(
        (settings.input_reliability, settings.output_reliability),
        (Reliability::BestEffort, Reliability::Reliable)
    );
    assert_eq!(settings.heat_threshold, None);
    assert_eq!((settings.max_regions, settings.max_contour_points), (16, 64));
    assert_eq!(settings.heatmap_encoding, HeatmapEncoding::Mono8);
    assert_eq!(settings.max_image_pixels, 33_177_600);
}

/// Values at and beyond the ends of a parameter's range, as `-p` writes them, and whether they are in it.
fn edges(kind: &Kind) -> Vec<(String, bool)> {
    match kind {
        Kind::Integer { range: (least, most), .. } => vec![
            (least.to_string(), true),
            (most.to_string(), true),
            ((i64::from(*least) - 1).to_string(), false),
            ((i64::from(*most) + 1).to_string(), false),
            (i64::MAX.to_string(), false),
            (i64::MIN.to_string(), false),
        ],
        Kind::Double { range: (least, most), .. } => vec![
            (format!("{least:?}"), true),
            (format!("{most:?}"), true),
            (format!("{:?}", least - 1e-3), false),
            (format!("{:?}", most + 1e-3), false),
            (".nan".to_owned(), false),
            ("nan".to_owned(), false),
            (".inf".to_owned(), false),
            ("-.inf".to_owned(), false),
        ],
        Kind::Choice { names, .. } => {
            let mut edges: Vec<_> = names.iter().map(|name| ((*name).to_owned(), true)).collect();
            edges.extend([("''".to_owned(), false), (names[0].to_uppercase(), names[0].to_uppercase() == names[0])]);
            edges
        }
        Kind::Bool { .. } => ["true", "false", "yes", "off"].map(|word| (word.to_owned(), true)).to_vec(),
        Kind::Text { .. } | Kind::Names { .. } => Vec::new(),
    }
}

/// Settings with one parameter's value, and the widest of the one that it must go together with.
fn with_partner(name: &str, value: &str) -> Result<NodeSettings, String> {
    let partner = match name {
        "depth_min" => "depth_max:=100.0",
        "depth_max" => "depth_min:=0.0",
        "gripper_width_min" => "gripper_width_max:=2.0",
        "gripper_width_max" => "gripper_width_min:=0.0",
        _ => return with(&format!("{name}:={value}")),
    };
    settings(&["--ros-args", "-p", partner, "-p", &format!("{name}:={value}")]).map_err(|error| error.to_string())
}

/// Ends of ranges at which nothing is left between the two of a pair.
const EMPTY: [(&str, &str); 4] =
    [("depth_min", "100.0"), ("depth_max", "0.0"), ("gripper_width_min", "2.0"), ("gripper_width_max", "0.0")];

#[test]
fn least_and_greatest_are_checked_together() {
    for (name, value) in EMPTY {
        let message = with_partner(name, value).unwrap_err();
        assert!(message.contains(name) && message.contains('<'), "{message}");
    }
    let message = with("depth_min:=6.0").unwrap_err();
    assert!(message.contains("depth_min < depth_max, found 6.0 and 5.0"), "{message}");
    let both = settings(&["--ros-args", "-p", "depth_min:=6.0", "-p", "depth_max:=7.0"]).unwrap();
    assert_eq!((both.depth_min_m, both.depth_max_m), (6.0, 7.0), "in any order");
}

#[test]
fn every_range_ends_where_the_table_says() {
    for parameter in PARAMETERS {
        for (value, in_range) in edges(&parameter.kind) {
            if EMPTY.contains(&(parameter.name, value.as_str())) {
                continue;
            }
            let result = with_partner(parameter.name, &value);
            assert_eq!(result.is_ok(), in_range, "{}:={value}: {result:?}", parameter.name);
            if let Err(message) = result {
                assert!(message.contains(parameter.name) && message.contains(&parameter.kind.expected()), "{message}");
            }
        }
    }
}

#[test]
fn every_parameter_refuses_every_other_type() {
    for parameter in PARAMETERS {
        let own = parameter.kind.type_name();
        for (value, its_type) in [
            ("true", "bool"),
            ("1", "int"),
            ("1.0", "double"),
            ("word", "string"),
            ("[word]", "list of strings"),
            ("[1]", "list of ints"),
            ("[1.0]", "list of doubles"),
            ("[true]", "list of bools"),
        ] {
            if its_type == own {
                continue;
            }
            let message = with(&format!("{}:={value}", parameter.name)).unwrap_err();
            assert!(message.contains(&format!("({its_type})")), "{message}");
        }
    }
}

#[test]
fn every_value_reaches_its_setting() {
    for parameter in PARAMETERS {
        let value = match parameter.kind {
            Kind::Bool { default, .. } => (!default).to_string(),
            Kind::Integer { default, range: (_, most), .. } if default < most => (default + 1).to_string(),
            Kind::Integer { default, .. } => (default - 1).to_string(),
            Kind::Double { default: DoubleDefault::Value(default), range: (_, most), .. } => {
                format!("{:?}", (default + most) / 2.0)
            }
            Kind::Double { default: DoubleDefault::Unset { example, .. }, .. } => format!("{example:?}"),
            Kind::Choice { default, names, .. } => names.iter().find(|name| **name != default).unwrap().to_string(),
            Kind::Text { .. } => "/some/folder".to_owned(),
            Kind::Names { .. } => "[hold, cut_with]".to_owned(),
        };
        let changed = with_partner(parameter.name, &value).unwrap();
        assert_ne!(changed, defaults(), "{}:={value} changes nothing", parameter.name);
    }
}

#[test]
fn errors_are_one_line_with_place_expected_found_and_hint() {
    for (rule, message) in [
        ("max_regoins:=3", "command line: unknown parameter \"max_regoins\"; did you mean max_regions?"),
        ("zzz:=3", "command line: unknown parameter \"zzz\""),
        ("max_rate:=2", "command line: parameter max_rate: expected double, 0.0 to 1000.0, found 2 (int); write 2.0"),
        ("max_rate:=.nan", "command line: parameter max_rate: expected double, 0.0 to 1000.0, found NaN (double)"),
        (
            "stamp_policy:=restmap",
            "command line: parameter stamp_policy: expected one of reject accept restamp, found \"restmap\" (string); \
             did you mean restamp?",
        ),
        (
            "affordances:=hold",
            "command line: parameter affordances: expected list of different names, found \"hold\" (string); \
             write [hold]",
        ),
        (
            "affordances:=[hold, cut, hold]",
            "command line: parameter affordances: expected list of different names, found \"hold\" twice",
        ),
        (
            "affordances:=['']",
            "command line: parameter affordances: expected list of different names, found an empty name",
        ),
        (
            "cameras:=[left, status]",
            "command line: parameter cameras: expected list of different names, found \"status\"; the node has topics or \
             services of that name itself; call it camera_status",
        ),
        (
            "cameras:=[left, wrist-cam]",
            "command line: parameter cameras: expected list of different names, found \"wrist-cam\"; it becomes a part of \
             topic names: letters, digits and single underscores, a letter first",
        ),
        (
            "cameras:=[left, left]",
            "command line: parameter cameras: expected list of different names, found \"left\" twice",
        ),
        (
            "cameras:=[c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16, c17]",
            "command line: parameter cameras: expected list of different names, found 17 names; the most are 16",
        ),
        (
            "model:=\"a\\0b\"",
            "command line: parameter model: expected text on one line, found the control character '\\0' in \"a\\0b\"",
        ),
        ("use_sim_time:=1", "command line: parameter use_sim_time: expected true or false, found 1 (int)"),
    ] {
        assert_eq!(with(rule).unwrap_err(), message);
    }
}

#[test]
fn cameras_have_names_that_can_be_in_a_topic_s() {
    let sixteen = "[c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12, c13, c14, c15, c16]";
    assert_eq!(with(&format!("cameras:={sixteen}")).unwrap().cameras.len(), 16);
    assert_eq!(with("cameras:=[left, Wrist_2]").unwrap().cameras, ["left", "Wrist_2"]);
    let long = "x".repeat(65);
    for name in ["2nd", "a/b", "a b", "_hidden", "a__b", "~", "/left", "kamerä", "image", "overlay", long.as_str()] {
        let message = with(&format!("cameras:=['{name}']")).unwrap_err();
        assert!(message.contains("parameter cameras") && message.contains(name), "{message}");
    }
}

#[test]
fn texts_of_any_length_give_short_messages() {
    let long = "x".repeat(1_000_000);
    for rule in
        [format!("model:={long}"), format!("stamp_policy:={long}"), format!("{long}:=1"), format!("max_rate:={long}")]
    {
        let message = with(&rule).unwrap_err();
        assert!(message.len() < 500, "{} bytes", message.len());
    }
    for args in
        [&[&*format!("{long}:=1")][..], &["--ros-args", &long], &["--ros-args", "-p", &format!("a:={{{long}}}")]]
    {
        let message = parse(args).unwrap_err().to_string();
        assert!(message.len() < 700, "{} bytes", message.len());
    }
    for text in [format!("a:\n  ros__parameters:\n    {long}: {{}}\n"), format!("{long}:\n  ros__parameters: {{}}\n")] {
        let message = with_file(text).unwrap_err();
        assert!(message.len() < 700, "{} bytes", message.len());
    }
}

#[test]
fn what_a_message_quotes_cannot_break_its_line() {
    for args in
        [&["--ros-args", "-p\tx:=1"][..], &["--ros-args", "-r", "a\nb"], &["--ros-args", "-p", "a:=\"\u{1b}[2J\n"]]
    {
        let message = parse(args).unwrap_err().to_string();
        assert!(!message.contains(char::is_control), "{message:?}");
    }
    let message = with("affordances:='cut\tit'").unwrap_err();
    assert!(message.contains(r"; write [cut\tit]"), "{message:?}");
    let message = with_file("a:\n  ros__parameters:\n    \"x\\ny\\e[2J\": {}\n").unwrap_err();
    assert!(message.contains(r"parameter x\ny\u{1b}[2J: expected a value"), "{message:?}");
}

#[test]
fn files_are_refused_with_file_line_key_and_hint() {
    for (text, message) in [
        (
            "/**:\n  ros__parameters:\n    max_regoins: 3\n",
            "FILE (/**): unknown parameter \"max_regoins\"; did you mean max_regions?",
        ),
        (
            "affordance_node:\n  ros__parameters:\n    max_rate: 2\n",
            "FILE (affordance_node): parameter max_rate: expected double, 0.0 to 1000.0, found 2 (int); write 2.0",
        ),
        (
            "/**:\n  ros__parameters:\n    overlay:\n      alpha: 0.5\n",
            "FILE (/**): unknown parameter \"overlay.alpha\"; did you mean overlay_alpha?",
        ),
        (
            "/**:\n  ros__parameters:\n    max_rate: 2.0\n    max_rate: 3.0\n",
            "parameter file FILE, line 4: \"max_rate\" is set twice, first in line 3",
        ),
        (
            "/**:\n  ros__parameters:\n    max_rate:\n",
            "parameter file FILE, line 3: parameter max_rate: expected a value, found none (write \"\" for an empty text)",
        ),
        (
            "/**:\n  ros__parameters:\n    affordances: [hold, 1]\n",
            "parameter file FILE, line 3: parameter affordances: expected values of one type, found 1 (int) in a list of \
             strings (quote texts that look like something else)",
        ),
        (
            "/**:\n  ros_parameters:\n    max_rate: 2.0\n",
            "parameter file FILE, line 2: expected ros__parameters (two underscores) between the node's name and its \
             parameters, found \"ros_parameters\"",
        ),
        (
            "max_rate: 2.0\n",
            "parameter file FILE, line 1: expected ros__parameters (two underscores) between the node's name and its \
             parameters, found \"max_rate\"",
        ),
        (
            "ros__parameters:\n  max_rate: 2.0\n",
            "parameter file FILE, line 1: expected a node's name (or /**) above ros__parameters",
        ),
        (
            "/**:\n  ros__parameters:\n",
            "parameter file FILE, line 2: expected parameters below ros__parameters (or {} for none)",
        ),
        (
            "my node:\n  ros__parameters: {}\n",
            "parameter file FILE, line 2: expected a node's name such as /**, my_node or /ns/my_node, found \"my node\"",
        ),
    ] {
        assert_eq!(with_file(text).unwrap_err(), message, "{text}");
    }
}

#[test]
fn what_is_no_parameter_file_is_refused() {
    for (bytes, part) in [
        (b"/**: [".to_vec(), "not YAML"),
        (b"\x89PNG\r\n\x1a\n\0\0".to_vec(), "expected UTF-8 text"),
        (b"- a\n- b\n".to_vec(), "expected a node's name"),
        (vec![b' '; (1 << 20) + 1], "expected at most 1048576 bytes"),
        (b"/**: &a\n  ros__parameters: {}\nb: *a\n".to_vec(), "aliases"),
    ] {
        let message = with_file(&bytes).unwrap_err();
        assert!(message.contains("FILE") && message.contains(part), "{message}");
    }
    let missing = settings(&["--ros-args", "--params-file", "/no/such/file.yaml"]).unwrap_err().to_string();
    assert!(missing.starts_with("parameter file /no/such/file.yaml: No such file"), "{missing}");
    let folder = settings(&["--ros-args", "--params-file", "/"]).unwrap_err().to_string();
    assert!(folder.contains("expected a regular file"), "{folder}");
}

#[test]
fn sections_are_for_the_nodes_they_name() {
    let matching = |section: &str, remaps: &[&str]| {
        let file = file(format!("\"{section}\":\n  ros__parameters:\n    max_regions: 3\n"));
        let mut args = vec!["--ros-args", "--params-file", file.path.to_str().unwrap()];
        args.extend(remaps.iter().flat_map(|rule| ["-r", rule]));
        let parsed = parse(&args).unwrap();
        assert_eq!(parsed.unmatched_files.is_empty(), parsed.overrides.contains_key("max_regions"));
        parsed.unmatched_files.is_empty()
    };
    let in_ns = ["__ns:=/ns"];
    for (section, at_root, in_namespace) in [
        ("/**", true, true),
        ("**", true, true),
        ("affordance_node", true, true),
        ("/affordance_node", true, false),
        ("/ns/affordance_node", false, true),
        ("ns/affordance_node", false, true),
        ("/*", true, false),
        ("/*/affordance_node", false, true),
        ("/**/affordance_node", true, true),
        ("/ns/*", false, true),
        ("/ns/**", false, true),
        ("/ns/**/affordance_node", false, true),
        ("/*/*", false, true),
        ("/**/*", true, true),
        ("/**/**/**", true, true),
        ("other", false, false),
        ("/ns", false, false),
        ("/affordance_node/ns", false, false),
    ] {
        assert_eq!(matching(section, &[]), at_root, "{section}");
        assert_eq!(matching(section, &in_ns), in_namespace, "{section} in /ns");
    }
    assert!(!matching("affordance_node", &["__node:=kitchen"]));
    assert!(matching("kitchen", &["__node:=kitchen"]));
}

#[test]
fn a_file_for_other_nodes_only_is_named_with_its_sections() {
    let file = file("camera:\n  ros__parameters:\n    fps: 30\nns:\n  arm:\n    ros__parameters: {}\n");
    let path = file.path.to_str().unwrap();
    let parsed = parse(&["--ros-args", "--params-file", path]).unwrap();
    assert_eq!(
        parsed.unmatched_files[0].to_string(),
        format!("parameter file {path}: no section for this node, found: camera ns/arm")
    );
}

#[test]
fn the_last_setting_wins() {
    let file =
        file("affordance_node:\n  ros__parameters:\n    max_regions: 2\n/**:\n  ros__parameters:\n    device_id: 3\n");
    let path = file.path.to_str().unwrap();
    let both = |args: &[&str]| settings(args).unwrap().max_regions;
    assert_eq!(both(&["--ros-args", "--params-file", path, "-p", "max_regions:=5"]), 5);
    assert_eq!(both(&["--ros-args", "-p", "max_regions:=5", "--params-file", path]), 2);
    assert_eq!(both(&["--ros-args", "-p", "max_regions:=5", "-p", "max_regions:=6"]), 6);
    assert_eq!(both(&["--ros-args", "-p", "affordance_node:max_regions:=5", "-p", "other:max_regions:=6"]), 5);
}

#[test]
fn arguments_are_read_as_ros2_launch_gives_them() {
    let file = file("/**:\n  ros__parameters:\n    max_regions: 3\n");
    let parsed = parse(&[
        "--ros-args",
        "-r",
        "__node:=kitchen",
        "-r",
        "__ns:=/robot1",
        "--params-file",
        file.path.to_str().unwrap(),
        "-r",
        "image:=/cam/image_raw",
        "--log-level",
        "info",
        "--ros-args",
        "-p",
        "device_id:=1",
        "--",
        "--own",
        "x",
    ])
    .unwrap();
    assert_eq!(parsed.fully_qualified_name(), "/robot1/kitchen");
    assert_eq!(parsed.resolve_topic("image"), "/cam/image_raw");
    assert_eq!(parsed.resolve_topic("~/heatmap"), "/robot1/kitchen/heatmap");
    assert_eq!(parsed.resolve_topic("camera_info"), "/robot1/camera_info");
    assert_eq!(parsed.user_args, ["--own", "x"]);
    let settings = NodeSettings::from_overrides(&parsed.overrides).unwrap();
    assert_eq!((settings.max_regions, settings.device_id), (3, 1));
}

#[test]
fn qos_overrides_are_read_from_nested_and_dotted_keys_and_from_arguments() {
    let file = file(
        "/**:\n  ros__parameters:\n    qos_overrides:\n      /cam/image: {subscription: {depth: 2, deadline: 5}}\n\
         \x20   qos_overrides./node/heat.publisher:\n      history: keep_all\n",
    );
    let rule = "qos_overrides./cam/image.subscription.depth:=3";
    let args = ["--ros-args", "--params-file", file.path.to_str().unwrap(), "-p", rule];
    let overrides = settings(&args).unwrap().qos_overrides;
    let image = overrides.of("/cam/image", Endpoint::Subscription);
    assert_eq!((image.depth, image.deadline), (Some(3), Some(Duration::from_nanos(5))), "the last one wins");
    assert_eq!(overrides.of("/node/heat", Endpoint::Publisher).history, Some(History::KeepAll));
    assert_eq!(overrides.targets().count(), 2);
}

#[test]
fn the_last_switch_says_whether_there_is_a_log_file() {
    for (switches, expected) in [
        (&[][..], true),
        (&["--disable-external-lib-logs"], false),
        (&["--disable-stdout-logs"], true),
        (&["--enable-external-lib-logs"], true),
        (&["--disable-external-lib-logs", "--enable-external-lib-logs"], true),
        (&["--enable-external-lib-logs", "--", "own", "--ros-args", "--disable-external-lib-logs"], false),
    ] {
        let args = parse(&[&["--ros-args"], switches].concat()).unwrap();
        assert_eq!(args.writes_log_file, expected, "{switches:?}");
    }
}

#[test]
fn arguments_that_ros_refuses_are_refused_with_what_was_expected() {
    for (args, message) in [
        (&["--ros-args", "-r"][..], "command line: -r: expected FROM:=TO after it"),
        (&["--ros-args", "-r", "a"], "command line: -r a: expected FROM:=TO, found \"a\""),
        (&["--ros-args", "-p"], "command line: -p: expected NAME:=VALUE after it"),
        (&["--ros-args", "-p", "a"], "command line: -p a: expected NAME:=VALUE"),
        (
            &["--ros-args", "-p", "a:="],
            "command line: -p a:=: expected a value, found none (write '\"\"' for an empty text)",
        ),
        (&["--ros-args", "-p", "a:={b: 1}"], "command line: -p a:={b: 1}: expected a value, found a map"),
        (&["--ros-args", "--params-file"], "command line: --params-file: expected a file after it"),
        (
            &["--ros-args", "--log-level", "loud"],
            "command line: --log-level loud: expected one of debug info warn error fatal unset, or LOGGER:=LEVEL",
        ),
        (&["--ros-args", "-e", "x"], "command line: -e x: expected an absolute name such as /robot/camera"),
        (
            &["--ros-args", "--own"],
            "command line: --own: ROS 2 knows no such argument after --ros-args (end them with -- before your own)",
        ),
        (
            &["__node:=x"],
            "command line: outside of --ros-args __node:=x: expected \"__node:=x\" after --ros-args -r (remapping) or \
             --ros-args -p (parameter)",
        ),
    ] {
        assert_eq!(parse(args).unwrap_err().to_string(), message);
    }
}

#[test]
fn descriptions_are_sentences_without_a_run_of_blanks() {
    for parameter in PARAMETERS {
        let text = parameter.description;
        assert!(text.ends_with('.') && !text.contains("  ") && !text.contains('\n'), "{}: {text:?}", parameter.name);
    }
}
