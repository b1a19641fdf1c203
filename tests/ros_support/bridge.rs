//! The rclpy peer: see tests/peers/bridge.py.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::{DEADLINE, domain::Domain, python, test_file};

/// A running peer.
pub struct Bridge {
    child: Child,
    commands: Option<ChildStdin>,
    events: Receiver<Value>,
    /// Events that came while another one was waited for.
    kept: VecDeque<Value>,
}

impl Bridge {
    /// Starts one and waits until it is ready.
    pub fn start(domain: &Domain) -> Self {
        let mut command = Command::new(python());
        command.arg(test_file("peers/bridge.py")).stdin(Stdio::piped()).stdout(Stdio::piped());
        domain.apply(&mut command);
        Domain::make_room(&mut command, "fastdds_camera.xml");
        let mut child = command.spawn().unwrap();
        let (sender, events) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let event =
                    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in the peer's {line:?}"));
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let commands = child.stdin.take();
        let mut bridge = Self { child, commands, events, kept: VecDeque::new() };
        bridge.wait("the peer to be ready", |event| event["event"] == "ready");
        bridge
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Subscribes as most tools do: reliable, volatile.
    pub fn subscribe(&mut self, topic: &str, message_type: &str) {
        self.command(json!({"op": "subscribe", "topic": topic, "type": message_type}));
        self.matched(topic, 1);
    }

    /// Subscribes with QoS of its own.
    pub fn subscribe_with(&mut self, topic: &str, message_type: &str, qos: Value) {
        let mut command = json!({"op": "subscribe", "topic": topic, "type": message_type});
        command.as_object_mut().unwrap().extend(qos.as_object().unwrap().clone());
        self.command(command);
    }

    /// Takes a subscription back, and forgets what came of it.
    pub fn unsubscribe(&mut self, topic: &str) {
        self.command(json!({"op": "unsubscribe", "topic": topic}));
        self.forget(topic);
    }

    /// Forgets what has come on a topic.
    pub fn forget(&mut self, topic: &str) {
        self.kept.extend(self.events.try_iter());
        self.kept.retain(|event| event["event"] != "message" || event["topic"] != topic);
    }

    /// Makes a publisher and waits until one subscription is there.
    pub fn advertise(&mut self, topic: &str, message_type: &str) {
        self.command(json!({"op": "advertise", "topic": topic, "type": message_type}));
        self.matched(topic, 1);
    }

    /// Makes a publisher with QoS of its own.
    pub fn advertise_with(&mut self, topic: &str, message_type: &str, reliability: &str) {
        self.command(json!({"op": "advertise", "topic": topic, "type": message_type, "reliability": reliability}));
    }

    /// Waits for so many partners on a topic.
    pub fn matched(&mut self, topic: &str, count: usize) {
        self.command(json!({"op": "matched", "topic": topic, "count": count}));
    }

    /// Publishes one message.
    pub fn publish(&mut self, topic: &str, message: &Value) {
        self.command(json!({"op": "publish", "topic": topic, "message": message}));
    }

    /// Publishes a message `count` times as fast as it goes.
    pub fn flood(&mut self, topic: &str, message: &Value, count: usize) {
        self.command(json!({"op": "flood", "topic": topic, "message": message, "count": count}));
    }

    /// What a node subscribes to and publishes, topic -> [type], once that fits: discovery tells of one after the other.
    pub fn topics(&mut self, node: &str, fits: impl Fn(&Value, &Value) -> bool) -> (Value, Value) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            self.command(json!({"op": "topics", "node": node}));
            let event = self.wait("topics", |event| event["event"] == "topics");
            let (subscribed, published) = (event["subscribed"].clone(), event["published"].clone());
            if fits(&subscribed, &published) {
                return (subscribed, published);
            }
            assert!(Instant::now() < deadline, "{node} subscribes to {subscribed} and publishes {published}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a node's only end of a topic asks or offers: its policies by name, times in nanoseconds.
    pub fn qos(&mut self, node: &str, topic: &str) -> Value {
        self.command(json!({"op": "qos", "node": node, "topic": topic}));
        let event = self.wait("qos", |event| event["event"] == "qos");
        let ends = |side: &str| event[side].as_array().unwrap().clone();
        let all = [ends("publishers"), ends("subscriptions")].concat();
        assert_eq!(all.len(), 1, "{topic}: {event}");
        all[0].clone()
    }

    /// What a node serves, by name. [`Self::topics`] has waited for the node.
    pub fn services(&mut self, node: &str) -> Vec<String> {
        self.command(json!({"op": "services", "node": node}));
        let event = self.wait("services", |event| event["event"] == "services");
        event["services"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
    }

    /// The next message on a topic.
    pub fn next(&mut self, topic: &str) -> Value {
        self.next_that(topic, |_| true)
    }

    /// The next message on a topic that fits; others on that topic before it are thrown away.
    pub fn next_that(&mut self, topic: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let mut last = Value::Null;
        loop {
            let what = format!("a message on {topic}; the last one was {last}");
            let event =
                self.wait_until(deadline, &what, |event| event["event"] == "message" && event["topic"] == topic);
            if fits(&event["message"]) {
                return event["message"].clone();
            }
            last = event["message"].clone();
        }
    }

    /// The next message on a topic, if one comes within this time.
    pub fn next_within(&mut self, topic: &str, patience: Duration, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let fits = |event: &Value| event["event"] == "message" && event["topic"] == topic && fits(&event["message"]);
        let event = self.try_wait(Instant::now() + patience, fits)?;
        Some(event["message"].clone())
    }

    /// Calls a service and returns its answer.
    pub fn call(&mut self, service: &str, service_type: &str, request: Value) -> Value {
        self.call_in_parallel(service, service_type, request, 1).remove(0)
    }

    /// Sends that many requests at once, without waiting for an answer between them; every one must be answered.
    pub fn call_in_parallel(&mut self, service: &str, kind: &str, request: Value, times: usize) -> Vec<Value> {
        self.command(json!({"op": "call", "service": service, "type": kind, "request": request, "times": times}));
        let event = self.wait("responses", |event| event["event"] == "responses");
        event["responses"].as_array().unwrap().clone()
    }

    /// Sends that many requests at once; [`Self::answers`] waits for their answers, and other commands may come between.
    pub fn ask(&mut self, service: &str, kind: &str, request: Value, times: usize) {
        self.command(json!({"op": "ask", "service": service, "type": kind, "request": request, "times": times}));
    }

    /// The answers to [`Self::ask`].
    pub fn answers(&mut self) -> Vec<Value> {
        let event = self.wait("answers", |event| event["event"] == "answers");
        event["answers"].as_array().unwrap().clone()
    }

    /// The same, if they come within this time.
    pub fn answers_within(&mut self, patience: Duration) -> Option<Vec<Value>> {
        let event = self.try_wait(Instant::now() + patience, |event| event["event"] == "answers")?;
        Some(event["answers"].as_array().unwrap().clone())
    }

    /// A client asks and is gone before the answer.
    pub fn vanish(&mut self, service: &str, service_type: &str, request: Value) {
        self.command(json!({"op": "vanish", "service": service, "type": service_type, "request": request}));
    }

    /// Messages on a topic that have come and were not asked for.
    pub fn pending(&mut self, topic: &str) -> usize {
        self.kept.extend(self.events.try_iter());
        self.kept.iter().filter(|event| event["event"] == "message" && event["topic"] == topic).count()
    }

    fn command(&mut self, command: Value) {
        let op = command["op"].clone();
        let mut stdin = self.commands.as_ref().unwrap();
        writeln!(stdin, "{command}").unwrap();
        stdin.flush().unwrap();
        self.wait(&format!("{command} to be done"), |event| event["event"] == "done" && event["op"] == op);
    }

    fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait_until(Instant::now() + DEADLINE, what, fits)
    }

    fn wait_until(&mut self, deadline: Instant, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.try_wait(deadline, fits).unwrap_or_else(|| panic!("timed out waiting for {what}"))
    }

    fn try_wait(&mut self, deadline: Instant, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(index) = self.kept.iter().position(&fits) {
            return self.kept.remove(index);
        }
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) if fits(&event) => return Some(event),
                Ok(event) => self.kept.push_back(event),
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => panic!("the peer ended"),
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // The peer ends when its commands do; a peer that hangs is killed.
        drop(self.commands.take());
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
