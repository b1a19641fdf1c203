//! What we make of a command line and of parameter files, against what rcl makes of them.
//!
//! Covers: whatever we take, rcl takes (r2r panics otherwise), and both read the same node name and the same values.
//! Needs: ROS 2 (feature `ros`) and the Python that can import rclpy (LOOPTRANS_PYTHON, set by scripts/env.sh).
//! Not asserted: that we take whatever rcl takes: what no sound command line has is refused on purpose.

#![cfg(feature = "ros")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use looptrans_ros::config::{ParameterValue, RosArgs};
use serde::Deserialize;

/// What the peer answers.
#[derive(Debug, Deserialize)]
struct Answer {
    ok: bool,
    #[serde(default)]
    error: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    parameters: BTreeMap<String, String>,
}

/// Gives each command line to rcl, all in one Python process.
fn ask_rcl(command_lines: &[Vec<String>]) -> Vec<Answer> {
    let python =
        std::env::var("LOOPTRANS_PYTHON").expect("LOOPTRANS_PYTHON: `make setup`, then `source scripts/env.sh`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/rcl_arguments.py");
    let logs = tempfile::tempdir().unwrap();
    let mut peer = Command::new(python)
        .arg(script)
        .env("ROS_LOG_DIR", logs.path())
        // The peers of tests that run at once must not find each other: a participant that is destroyed while it
        // discovers another can hang in Fast DDS (DomainParticipant::set_listener).
        .env("ROS_AUTOMATIC_DISCOVERY_RANGE", "OFF")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = peer.stdin.take().unwrap();
    let lines: String = command_lines.iter().map(|args| serde_json::to_string(args).unwrap() + "\n").collect();
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let output = peer.wait_with_output().unwrap();
    writer.join().unwrap();
    let answers: Vec<Answer> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), command_lines.len(), "the peer died: {}", String::from_utf8_lossy(&output.stderr));
    answers
}

/// A value as the peer writes it.
fn written(value: &ParameterValue) -> String {
    let double = |value: &f64| if value.is_nan() { "nan".to_owned() } else { format!("{:016x}", value.to_bits()) };
    let json = |value: serde_json::Value| value.to_string();
    let list = |items: Vec<String>| format!("[{}]", items.join(", "));
    let text = |text: &String| json(text.as_str().into());
    match value {
        ParameterValue::Bool(value) => format!("BOOL {value}"),
        ParameterValue::Integer(value) => format!("INTEGER {value}"),
        ParameterValue::Double(value) => format!("DOUBLE \"{}\"", double(value)),
        ParameterValue::String(value) => format!("STRING {}", text(value)),
        ParameterValue::BoolArray(items) => format!("BOOL_ARRAY {}", list(items.iter().map(bool::to_string).collect())),
        ParameterValue::IntegerArray(items) => {
            format!("INTEGER_ARRAY {}", list(items.iter().map(i64::to_string).collect()))
        }
        ParameterValue::DoubleArray(items) => {
            format!("DOUBLE_ARRAY {}", list(items.iter().map(|item| json(double(item).into())).collect()))
        }
        // An empty list has no type; rcl calls such a parameter not set.
        ParameterValue::StringArray(items) if items.is_empty() => "NOT_SET null".to_owned(),
        ParameterValue::StringArray(items) => format!("STRING_ARRAY {}", list(items.iter().map(text).collect())),
    }
}

/// Checks all command lines; returns how many of them we take.
fn compare(command_lines: &[Vec<String>]) -> usize {
    let mut taken = 0;
    for (args, rcl) in command_lines.iter().zip(ask_rcl(command_lines)) {
        let Ok(ours) = RosArgs::parse(args, "affordance_node") else { continue };
        taken += 1;
        assert!(rcl.ok, "we take {args:?}, rcl does not: {}", rcl.error);
        assert_eq!(ours.fully_qualified_name(), rcl.name, "{args:?}");
        let values: BTreeMap<String, String> =
            ours.overrides.iter().map(|(name, given)| (name.clone(), written(&given.value))).collect();
        assert_eq!(values, rcl.parameters, "{args:?}");
    }
    taken
}

fn ros_args(args: &[&str]) -> Vec<String> {
    std::iter::once("--ros-args").chain(args.iter().copied()).map(str::to_owned).collect()
}

/// Command lines that give `text` to rcl as a parameter's value: by `-p`, in a file, and in a list.
fn scalar_lines(folder: &Path, texts: &[&str]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        lines.push(ros_args(&["-p", &format!("a:={text}")]));
        for (kind, value) in [("value", (*text).to_owned()), ("list", format!("[{text}, {text}]"))] {
            let path = folder.join(format!("{kind}{index}.yaml"));
            fs::write(&path, format!("/**:\n  ros__parameters:\n    a: {value}\n")).unwrap();
            lines.push(ros_args(&["--params-file", path.to_str().unwrap()]));
        }
    }
    lines
}

#[test]
fn scalars_have_the_type_and_value_that_rcl_gives_them() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "1",
        "+1",
        "-1",
        "1.0",
        "yes",
        "Y",
        "on",
        "OFF",
        "n",
        "true",
        "True",
        "tRUE",
        ".nan",
        ".NaN",
        ".Nan",
        "nan",
        "+nan",
        "nan()",
        "NAN(1)",
        "nan(",
        "inf",
        "-.inf",
        "+.inf",
        "-inf",
        "infinity",
        "0x10",
        "-0x1F",
        "0X1F",
        "0x",
        "0x+1",
        "0x.8",
        "0x1.8p3",
        "0x1p+3",
        "0x1p",
        "0x1pp3",
        "0x1.p1",
        "0x1p99999",
        "010",
        "089",
        "08",
        "00",
        "0o10",
        "0b11",
        "1e3",
        "1E5",
        "1.5e3",
        "1e",
        "1e+",
        "1e400",
        "1e-310",
        "4e-324",
        "1e99999999999",
        ".5",
        "+.5",
        "5.",
        "0.",
        ".",
        ".e1",
        "+-1",
        "--1",
        "1_000",
        "1 000",
        "1d",
        "1f",
        "99999999999999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "-9223372036854775809",
        "0xffffffffffffffff",
        "'1'",
        "\"1\"",
        "'yes'",
        "''",
        "\"a b\"",
        "~",
        "null",
        "Null",
        "hold",
        "a b",
        "a:b",
        "2020-01-01",
        "!!str 1",
        "!!float 1",
        "!foo x",
        "&x 1",
        "*x",
        "@x",
        "%x",
        "a: b",
        "- 1",
        "# x",
        "[1]",
        "{b: 1}",
        "[",
        "]",
        "\"open",
        "\"a\\tb\"",
        "ä",
        "|",
        "?",
        "!",
        "0.1",
        "-0.0",
        "123456789.123456789",
        "0.30000000000000004",
        "/a/b",
        "a,b",
        "=",
        "<<",
        "1 # c",
        "a#b",
    ];
    let taken = compare(&scalar_lines(folder.path(), &texts));
    assert!(taken > 250, "only {taken} of the command lines were compared");
}

#[test]
fn files_are_read_as_rcl_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        "",
        "# nothing\n",
        "a: 1\n",
        "/**: 1\n",
        "/**:\n  a: 1\n",
        "/**:\n  ros__parameters:\n",
        "/**:\n  ros__parameters: {}\n",
        "/**:\n  ros__parameters: 1\n",
        "/**:\n  ros__parameters: [1]\n",
        "ros__parameters:\n  a: 1\n",
        "[1]\n",
        "x\n",
        "/**:\n  ros_parameters:\n    a: 1\n",
        "/**:\n  ros__parametersX:\n    a: 1\n",
        "---\n/**:\n  ros__parameters:\n    a: 1\n",
        "---\n/**:\n  ros__parameters:\n    a: 1\n---\n/**:\n  ros__parameters:\n    a: 2\n",
        "/**:\n  ros__parameters:\n    a: 1\n...\n",
        "%YAML 1.1\n---\n/**:\n  ros__parameters:\n    a: 1\n",
        "%YAML 1.2\n---\n/**:\n  ros__parameters:\n    a: 1\n",
        "/**:\n\tros__parameters:\n    a: 1\n",
        "\u{feff}/**:\n  ros__parameters:\n    a: 1\n",
        "/**:\r\n  ros__parameters:\r\n    a: 1\r\n",
        "/**: &x\n  ros__parameters:\n    a: 1\nb: *x\n",
        "/**: {ros__parameters: {a: 1, b: [1, 2]}}\n",
        "{\"/**\": {\"ros__parameters\": {\"a\": 1}}}\n",
        "/**:\n  ros__parameters:\n    a: 1\n    a: 2\n",
        "/**:\n  ros__parameters:\n    a.b: 1\n    c:\n      d: 2\n      e:\n        f: 3\n    g: 4\n",
        "/**:\n  ros__parameters:\n    c:\n      d: 2\n    c.d: 3\n",
        "/**:\n  ros__parameters:\n    qos_overrides: {/a/b: {publisher: {reliability: best_effort, depth: 5}}}\n",
        "/**:\n  ros__parameters:\n    qos_overrides:\n      /a:\n        subscription:\n          deadline: 1\n",
        "/**:\n  ros__parameters:\n    qos_overrides./a.publisher:\n      history: keep_all\n",
        "/**:\n  ros__parameters:\n    c: {}\n",
        "/**:\n  ros__parameters:\n    \"\": 1\n",
        "/**:\n  ros__parameters:\n    1: 1\n    yes: 2\n    \"a b\": 3\n",
        "/**:\n  ros__parameters:\n    ? [1]\n    : 2\n",
        "/**:\n  ros__parameters:\n    <<: 2\n",
        "/**:\n  ros__parameters:\n    a: [1, 2.0]\n",
        "/**:\n  ros__parameters:\n    a: [[1], [2]]\n",
        "/**:\n  ros__parameters:\n    a: [[1, 2], 3]\n",
        "/**:\n  ros__parameters:\n    a: [{b: 1}]\n",
        "/**:\n  ros__parameters:\n    a:\n    - 1\n    - 2\n    b: 3\n",
        "/**:\n  ros__parameters:\n    a: []\n",
        "/**:\n  ros__parameters:\n    a: |\n      text\n      two\n    b: >\n      fold\n      ed\n",
        "/**:\n  ros__parameters:\n    a: 'it''s'\n    b: \"\\u00e4\\n\"\n    c: plain\n      on two lines\n",
        "ns:\n  affordance_node:\n    ros__parameters:\n      a: 1\n  other:\n    ros__parameters:\n      a: 2\n",
        "affordance_node:\n  ros__parameters:\n    a: 1\nother:\n  ros__parameters:\n    b: 2\n",
        "affordance_node:\n  ros__parameters:\n    a: 1\n  sub:\n    ros__parameters:\n      b: 1\n",
        "/**:\n  ros__parameters:\n    a: 1\naffordance_node:\n  ros__parameters:\n    a: 2\n",
        "affordance_node:\n  ros__parameters:\n    a: 2\n/**:\n  ros__parameters:\n    a: 1\n",
    ];
    let mut lines = Vec::new();
    for (index, text) in files.iter().enumerate() {
        let path = folder.path().join(format!("{index}.yaml"));
        fs::write(&path, text).unwrap();
        lines.push(ros_args(&["--params-file", path.to_str().unwrap()]));
    }
    for section in [
        "/**",
        "**",
        "*",
        "/*",
        "affordance_node",
        "/affordance_node",
        "/ns/affordance_node",
        "ns/affordance_node",
        "/ns/*",
        "/*/affordance_node",
        "/ns/**",
        "/**/affordance_node",
        "/ns/**/affordance_node",
        "/**/*",
        "/*/*",
        "**/a",
        "a__b",
        "/**/aff*",
        "/x*/a",
        "a b",
        "a-b",
        "1a",
        "/",
        "",
        "//a",
        "/a/",
        "/ns//a",
        "/a.b",
        "/**/**/affordance_node",
    ] {
        let path = folder.path().join(format!("section{}.yaml", lines.len()));
        fs::write(&path, format!("\"{section}\":\n  ros__parameters:\n    a: 1\n")).unwrap();
        lines.push(ros_args(&["--params-file", path.to_str().unwrap()]));
        // A bare name is for every namespace here, as r2r has it; rclpy and rclcpp want /**/name.
        if section.contains(['/', '*']) {
            lines.push(ros_args(&["--params-file", path.to_str().unwrap(), "-r", "__ns:=/ns"]));
        }
    }
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/config/affordance_node.yaml");
    lines.push(ros_args(&["--params-file", committed]));
    let taken = compare(&lines);
    assert!(taken > 50, "only {taken} of the command lines were compared");
}

#[test]
fn arguments_are_read_as_rcl_reads_them() {
    let lines: Vec<Vec<String>> = [
        &["-r"][..],
        &["-r", "a"],
        &["-r", "a:=b"],
        &["-r", "__node:=x"],
        &["-r", "__name:=x"],
        &["-r", "__node:=x/y"],
        &["-r", "__ns:=/x"],
        &["-r", "__ns:=x"],
        &["-r", "__ns:=/x/"],
        &["-r", "__ns:=/a_/b"],
        &["-r", "__ns:=/"],
        &["-r", "n:__node:=b"],
        &["-r", "affordance_node:__node:=b"],
        &["-r", "__node:=a", "-r", "__node:=b"],
        &["-r", "__ns:=/a", "-r", "__ns:=/b"],
        &["-r", "x:__ns:=/a", "-r", "__node:=x"],
        &["-r", "affordance_node:__ns:=/a", "-r", "__node:=x"],
        &["--remap", "a:=b"],
        &["--remap=a:=b"],
        &["-ra:=b"],
        &["-r", "rostopic://~/a:=b"],
        &["-r", "a:=b:=c"],
        &["-r", "_a:=b_"],
        &["-r", "a:=b__c"],
        &["-r", "a-b:=c"],
        &["-p"],
        &["-p", "a"],
        &["-p", "a:=1"],
        &["--param", "a:=1"],
        &["-p", "a:="],
        &["-p", "a.b:=1"],
        &["-p", "a..b:=1"],
        &["-p", "a/b:=1"],
        &["-p", "/a:=1"],
        &["-p", "a__b.c:=1"],
        &["-p", "__a:=1"],
        &["-p", "a.1:=1"],
        &["-p", "n:a:=1"],
        &["-p", "affordance_node:a:=1"],
        &["-p", "/ns/n:a:=1"],
        &["-p", "a-b:=1"],
        &["-p", "qos_overrides./cam/image.subscription.reliability:=reliable"],
        &["-p", "affordance_node:qos_overrides./a.publisher.depth:=5"],
        &["-p", "a/.b:=1"],
        &["-p", "a//b:=1"],
        &["-p", "a./:=1"],
        &["-p", "a./1b:=1"],
        &["-p", "a.~/b:=1"],
        &["-p", "/:=1"],
        &["-p", "a:=1", "-p", "a:=2"],
        &["-p", "a:=[1, x]"],
        &["-p", "a:=[]"],
        &["-p", "a:=/x/y:=z"],
        &["-p", "a: =1"],
        &["-p", "a:=\n"],
        &["-p", "a:=--- 1\n--- 2"],
        &["-p", "a:=1 2"],
        &["--params-file"],
        &["--params-file", "/no/such/file"],
        &["--params-file", "/"],
        &["--params-file", "--"],
        &["--log-level", "info"],
        &["--log-level", "INFO"],
        &["--log-level", "loud"],
        &["--log-level", "a.b:=debug"],
        &["--log-level", "WARNING"],
        &["--log-level", ":=info"],
        &["--log-level", "a:=b:=info"],
        &["--log-level"],
        &["--log-level", "info", "--log-level", "a b:=info "],
        &["-e", "/x/y"],
        &["-e", "x"],
        &["-e", "/a//b"],
        &["-e"],
        &["-e", "/1a"],
        &["-e", ""],
        &["--enable-rosout-logs", "--disable-external-lib-logs"],
        &["--enable-foo-logs"],
        &["--log-file-name", "x"],
        &["--log-file-name"],
        &["--own"],
        &["own"],
        &["a:=b"],
        &[""],
        &["--", "own"],
        &["--", "--ros-args", "-r", "__node:=x"],
        &["--ros-args", "-p", "a:=1"],
        &["-r", "--", "a:=b"],
    ]
    .iter()
    .map(|args| ros_args(args))
    .collect();
    let taken = compare(&lines);
    assert!(taken >= 35, "only {taken} of the command lines were compared");
}

#[test]
fn random_yaml_is_read_as_rcl_reads_it() {
    const ATOMS: &str =
        "a 1 0 . - + : , [ ] { } \" ' # | > ! & * ? % @ ` ~ \\ / = < ( _ $ x e yes nan 0x --- ... ä \u{feff}";
    const SPACES: [&str; 8] = [" ", "  ", ": ", ", ", " #", "\n    ", "\t", "\u{2028}"];
    let atoms: Vec<&str> = ATOMS.split(' ').chain(SPACES).collect();
    let folder = tempfile::tempdir().unwrap();
    // A linear congruential generator (Knuth's MMIX): the same cases every time.
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let lines: Vec<Vec<String>> = (0..300)
        .map(|index| {
            let mut text: String = (0..=next(6)).map(|_| atoms[next(atoms.len())]).collect();
            if next(3) == 0 {
                text = format!("[{text}]");
            }
            if next(4) == 0 {
                return ros_args(&["-p", &format!("a:={text}")]);
            }
            let path = folder.path().join(format!("{index}.yaml"));
            fs::write(&path, format!("/**:\n  ros__parameters:\n    a: {text}\n    b: 1\n")).unwrap();
            ros_args(&["--params-file", path.to_str().unwrap()])
        })
        .collect();
    let taken = compare(&lines);
    assert!(taken > 60, "only {taken} of the command lines were compared");
}
