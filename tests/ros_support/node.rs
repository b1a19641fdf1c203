//! The built `affordance_node`, started exactly as `ros2 launch` starts it.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{DEADLINE, domain::Domain};

/// A running node.
pub struct Node {
    child: Child,
    /// Everything it wrote to stderr so far.
    log: Arc<Mutex<String>>,
    logging: Option<thread::JoinHandle<()>>,
    stdout: Option<thread::JoinHandle<String>>,
    /// Deleted when the node has ended.
    params: Option<tempfile::NamedTempFile>,
}

/// How a node ended.
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    /// From the signal, or from the start.
    pub took: Duration,
}

impl Ended {
    /// The summary that it wrote to stdout, beside what Fast DDS may write there.
    pub fn summary(&self) -> Option<Value> {
        let mut parsed = self.stdout.lines().filter_map(|line| serde_json::from_str(line).ok());
        parsed.rfind(|value: &Value| value["frames_in"].is_u64())
    }
}

/// The parameters every test sets, with `more` over them: the toy model on one thread, and no limit on age, since a
/// busy machine may be slow.
pub fn parameters(more: Value) -> Value {
    let mut all = json!({
        "model": super::model(),
        "execution_provider": "cpu",
        "intra_op_threads": 1,
        "max_input_age": 0.0,
        "min_region_score": 0.0,
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    all
}

/// A temporary parameter file, as launch_ros writes them (JSON is YAML).
pub fn params_file(parameters: &Value) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().prefix("launch_params_").suffix(".yaml").tempfile().unwrap();
    let text = serde_yaml::to_string(&json!({"/**": {"ros__parameters": parameters}})).unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

/// `affordance_node --ros-args -r __node:=affordance_node --params-file FILE ARGS...`, in the domain.
pub fn command(domain: &Domain, params: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_affordance_node"));
    command.args(["--ros-args", "-r", "__node:=affordance_node", "--params-file"]).arg(params).args(args);
    domain.apply(&mut command);
    Domain::make_room(&mut command, "fastdds_node.xml");
    command
}

impl Node {
    /// Starts the node on /cam/image with `more` parameters.
    pub fn start(domain: &Domain, more: Value) -> Self {
        Self::start_with(domain, more, &["-r", "image:=/cam/image", "-r", "camera_info:=/cam/camera_info"])
    }

    /// Starts the node with `more` parameters and arguments.
    pub fn start_with(domain: &Domain, more: Value, args: &[&str]) -> Self {
        let params = params_file(&parameters(more));
        let mut node = Self::spawn(command(domain, params.path(), args));
        node.params = Some(params);
        node
    }

    /// Starts a command of [`command`].
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, written) = (child.stderr.take().unwrap(), log.clone());
        let logging = Some(thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        }));
        let mut stdout = child.stdout.take().unwrap();
        let stdout = Some(thread::spawn(move || {
            let mut text = String::new();
            let _ = stdout.read_to_string(&mut text);
            text
        }));
        Self { child, log, logging, stdout, params: None }
    }

    /// Waits until the log holds this text.
    pub fn logged(&mut self, text: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log.lock().unwrap().clone();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the node ended; its log:\n{log}");
            assert!(Instant::now() < deadline, "timed out waiting for {text:?} in the log:\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Everything it wrote to stderr so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Sends a signal ("TERM", "INT") and waits for the end.
    pub fn stop(mut self, signal: &str) -> Ended {
        let started = Instant::now();
        send(signal, self.child.id());
        self.wait_from(started)
    }

    /// Waits for an end that comes by itself.
    pub fn ended(mut self) -> Ended {
        self.wait_from(Instant::now())
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_from(&mut self, started: Instant) -> Ended {
        let deadline = started + DEADLINE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "the node did not end; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        };
        let took = started.elapsed();
        let stdout = self.stdout.take().unwrap().join().unwrap();
        // The last lines may still be on their way.
        self.logging.take().unwrap().join().unwrap();
        Ended { status, stdout, stderr: self.log(), took }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Asked first: one that is killed leaves its shared memory behind.
        let deadline = Instant::now() + Duration::from_secs(5);
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of the node:\n{}", self.log());
        }
    }
}

/// Sends a signal by name.
pub fn send(signal: &str, process: u32) {
    let status = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Runs the node to its end, which must come by itself, and returns it.
pub fn run_to_end(command: Command) -> Ended {
    Node::spawn(command).ended()
}

/// What a process holds.
#[derive(Debug)]
pub struct Resources {
    pub threads: usize,
    pub files: usize,
    /// Of its own: pages of files and shared memory come and go with other things.
    pub anonymous_kib: u64,
}

/// What it holds once it holds no more threads and files than `before`: one that is just ending goes within [`DEADLINE`]. One
/// may have been ending before, too.
pub fn as_before(process: u32, before: &Resources) -> Resources {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let now = resources(process);
        if now.threads <= before.threads && now.files <= before.files {
            return now;
        }
        assert!(Instant::now() < deadline, "{now:?}, {before:?} before");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What it holds now.
pub fn resources(process: u32) -> Resources {
    let entries = |what: &str| std::fs::read_dir(format!("/proc/{process}/{what}")).unwrap().count();
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    let anonymous_kib = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    Resources { threads: entries("task"), files: entries("fd"), anonymous_kib }
}
