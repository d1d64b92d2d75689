//! The part of the runner that a composite step meets: inputs, the shell line, signals, outputs, commands, the summary.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// What the runner gives a step to end in after each signal.
const AFTER_INTERRUPT: Duration = Duration::from_millis(7500);
const AFTER_TERMINATE: Duration = Duration::from_millis(2500);
const SUMMARY: usize = 1 << 20;
const COMMANDS: [&str; 6] = ["error", "warning", "notice", "debug", "add-mask", "stop-commands"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ActionFile {
    #[expect(dead_code, reason = "required in the file, not used here")]
    name: String,
    #[expect(dead_code, reason = "required in the file, not used here")]
    description: String,
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<String, Output>,
    runs: Runs,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[expect(dead_code, reason = "required in the file, not used here")]
    description: String,
    #[expect(dead_code, reason = "the runner does not look at it either")]
    required: bool,
    default: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    #[expect(dead_code, reason = "required in the file, not used here")]
    description: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Runs {
    using: String,
    steps: Vec<StepFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepFile {
    id: String,
    shell: String,
    env: BTreeMap<String, String>,
    run: String,
}

fn action_folder(action: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("actions").join(action)
}

fn read(action: &str) -> ActionFile {
    let text = fs::read_to_string(action_folder(action).join("action.yml")).expect("the action's file");
    serde_yaml::from_str(&text).expect("an action")
}

pub fn declared_inputs(action: &str) -> Vec<String> {
    read(action).inputs.into_keys().collect()
}

/// One use of an action in a workflow.
pub struct Use {
    action: &'static str,
    with: BTreeMap<String, String>,
    env: BTreeMap<String, String>,
}

impl Use {
    pub fn of(action: &'static str) -> Self {
        let mut env = BTreeMap::new();
        for (name, value) in [
            ("GITHUB_ACTIONS", "true"),
            ("GITHUB_REPOSITORY", "church/ark"),
            ("GITHUB_SERVER_URL", "https://github.example"),
            ("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567"),
            ("GITHUB_RUN_ID", "4711"),
            ("GITHUB_RUN_ATTEMPT", "1"),
            ("GITHUB_JOB", "release"),
            ("GITHUB_ACTOR", "noah"),
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
        ] {
            env.insert(name.to_owned(), value.to_owned());
        }
        let binary = env!("CARGO_BIN_EXE_arkwright").to_owned();
        Use {
            action,
            with: BTreeMap::from([("binary".to_owned(), binary)]),
            env,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.with.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn run(self) -> Finished {
        self.start().wait()
    }

    /// Starts the step as the runner does: nothing of `run` is a template, the shell line is split at blanks.
    pub fn start(self) -> Running {
        let file = read(self.action);
        assert_eq!(file.runs.using, "composite");
        let [step] = &file.runs.steps[..] else {
            panic!("one step");
        };
        let inputs: BTreeMap<&str, &str> = file
            .inputs
            .iter()
            .map(|(name, input)| {
                let said = self.with.get(name).map(String::as_str);
                (name.as_str(), said.or(input.default.as_deref()).unwrap_or_default())
            })
            .collect();
        for name in self.with.keys() {
            assert!(
                inputs.contains_key(name.as_str()),
                "the runner warns of the input {name}"
            );
        }
        assert!(!step.run.contains("${{"), "a template in `run` is an injection");
        let temp = tempfile::tempdir().expect("a folder");
        let place = |name: &str| temp.path().join(name);
        let script = place("step.sh");
        fs::write(&script, &step.run).expect("the script");
        // Whoever can set these for a job must not run anything inside the step.
        let poison = place("poison.sh");
        fs::write(&poison, "echo '::error::poisoned'\n").expect("written");
        let mut words = step.shell.split(' ');
        let mut command = Command::new(words.next().expect("a shell"));
        command.args(words.map(|word| word.replace("{0}", &script.display().to_string())));
        command.env_clear().envs(&self.env);
        for name in ["BASH_ENV", "ENV"] {
            command.env(name, &poison);
        }
        for name in ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH"] {
            fs::write(place(name), "").expect("written");
            command.env(name, place(name));
        }
        command.env("GITHUB_ACTION_PATH", action_folder(self.action));
        for (name, template) in &step.env {
            command.env(name, evaluate(template, &inputs));
        }
        command
            .current_dir(temp.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let (sender, lines) = channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        for stream in [Box::new(stdout) as Box<dyn std::io::Read + Send>, Box::new(stderr)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines() {
                    let line = line.expect("text");
                    if sender.send(line).is_err() {
                        break;
                    }
                }
            });
        }
        Running {
            child,
            lines,
            log: Log::default(),
            temp,
            outputs: file
                .outputs
                .into_iter()
                .map(|(name, output)| (name, output.value))
                .collect(),
            step: step.id.clone(),
            cancelled: false,
        }
    }
}

/// The only expressions our actions use.
fn evaluate(template: &str, inputs: &BTreeMap<&str, &str>) -> String {
    let inner = template
        .strip_prefix("${{ ")
        .and_then(|rest| rest.strip_suffix(" }}"))
        .expect("one expression");
    match inner {
        "toJSON(inputs)" => serde_json::to_string_pretty(inputs).expect("JSON"),
        _ => {
            let name = inner.strip_prefix("inputs.").expect("an input");
            inputs[name].to_owned()
        }
    }
}

pub struct Running {
    child: Child,
    lines: Receiver<String>,
    log: Log,
    temp: tempfile::TempDir,
    outputs: BTreeMap<String, String>,
    step: String,
    cancelled: bool,
}

impl Running {
    /// Reads the log until a line has `words`.
    pub fn until(&mut self, words: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left).unwrap_or_else(|_| {
                panic!("`{words}` does not come; so far: {:#?}", self.log.lines);
            });
            let found = line.contains(words);
            self.log.read(line);
            if found {
                return;
            }
        }
    }

    /// A cancelled workflow: signals to the top process alone, and what it left in the time.
    pub fn cancel(mut self) -> Finished {
        self.cancelled = true;
        self.signal(Signal::INT);
        if self.ends_within(AFTER_INTERRUPT) {
            return self.wait();
        }
        self.signal(Signal::TERM);
        if self.ends_within(AFTER_TERMINATE) {
            return self.wait();
        }
        self.signal(Signal::KILL);
        self.wait()
    }

    /// The runner or its host dies.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        let status = self.wait_alone();
        assert_eq!(status.signal(), Some(9));
    }

    fn wait_alone(mut self) -> ExitStatus {
        self.child.wait().expect("waited for")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("signalled");
    }

    fn ends_within(&mut self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        while Instant::now() < deadline {
            if self.child.try_wait().expect("asked").is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }

    pub fn wait(mut self) -> Finished {
        let status = self.child.wait().expect("waited for");
        // Whoever still holds the log keeps the job waiting: nobody may.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.log.read(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("a child holds the log"),
            }
        }
        let read = |name: &str| fs::read_to_string(self.temp.path().join(name)).expect("UTF-8");
        for name in ["GITHUB_ENV", "GITHUB_PATH"] {
            assert_eq!(read(name), "", "nothing leaks into later steps");
        }
        assert!(self.log.stop.is_none(), "commands stay switched off");
        let set = outputs(&read("GITHUB_OUTPUT"));
        let outputs = self.outputs.iter().map(|(name, template)| {
            let path = format!("${{{{ steps.{}.outputs.", self.step);
            let inner = template.strip_prefix(&path).and_then(|rest| rest.strip_suffix(" }}"));
            let value = set
                .get(inner.expect("an output of the step"))
                .cloned()
                .unwrap_or_default();
            let masked = self.log.masks.iter().any(|mask| value.contains(mask));
            (name.clone(), if masked { String::new() } else { value })
        });
        let outputs = outputs.collect();
        for name in set.keys() {
            assert!(
                self.outputs.contains_key(name),
                "the action does not declare the output {name}"
            );
        }
        let summary = read("GITHUB_STEP_SUMMARY");
        assert!(summary.len() <= SUMMARY, "the runner drops it");
        Finished {
            code: status.code(),
            cancelled: self.cancelled,
            outputs,
            summary,
            log: self.log,
        }
    }
}

/// Reads the file as the runner does; what it would fail the step for panics.
fn outputs(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=').unwrap_or(usize::MAX);
        let heredoc = line.find("<<").unwrap_or(usize::MAX);
        assert!(equals.min(heredoc) != usize::MAX, "invalid format: {line}");
        if equals < heredoc {
            found.insert(line[..equals].to_owned(), line[equals + 1..].to_owned());
            continue;
        }
        let (name, delimiter) = (&line[..heredoc], &line[heredoc + 2..]);
        assert!(!name.is_empty() && !delimiter.is_empty(), "invalid format: {line}");
        let mut value = String::new();
        loop {
            let next = lines.next().expect("the delimiter is missing");
            if next.trim_end_matches(['\r', '\n']) == delimiter {
                break;
            }
            value.push_str(next);
        }
        found.insert(name.to_owned(), value.strip_suffix('\n').unwrap_or(&value).to_owned());
    }
    found
}

#[derive(Default, Debug)]
pub struct Log {
    pub lines: Vec<String>,
    pub annotations: Vec<Annotation>,
    pub masks: Vec<String>,
    stop: Option<String>,
}

#[derive(Debug, PartialEq)]
pub struct Annotation {
    pub level: String,
    pub title: String,
    pub message: String,
}

impl Log {
    fn read(&mut self, line: String) {
        if let Some((command, properties, message)) = parse(&line) {
            if let Some(token) = &self.stop {
                if command == *token {
                    self.stop = None;
                }
            } else {
                self.process(&command, &properties, message);
            }
        }
        self.lines.push(line);
    }

    fn process(&mut self, command: &str, properties: &BTreeMap<String, String>, message: String) {
        assert!(COMMANDS.contains(&command), "not a command of ours: {command}");
        match command {
            "stop-commands" => self.stop = Some(message),
            "add-mask" => {
                assert!(!message.is_empty(), "the runner warns of an empty mask");
                self.masks.push(message);
            }
            level => self.annotations.push(Annotation {
                level: level.to_owned(),
                title: properties.get("title").cloned().unwrap_or_default(),
                message,
            }),
        }
    }
}

/// `::name key=value,…::message` at a line's start, else `##[name key=value;…]message` anywhere in it.
fn parse(line: &str) -> Option<(String, BTreeMap<String, String>, String)> {
    let unescape = |text: &str| text.replace("%0D", "\r").replace("%0A", "\n");
    let data = |text: &str| unescape(text).replace("%25", "%");
    let property = |text: &str| {
        unescape(text)
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    let (head, message, separator) = match line.trim_start().strip_prefix("::") {
        Some(rest) => {
            let (head, message) = rest.split_once("::")?;
            (head, message, ',')
        }
        None => {
            let (_, rest) = line.split_once("##[")?;
            let (head, message) = rest.split_once(']')?;
            (head, message, ';')
        }
    };
    let (name, properties) = head.split_once(' ').unwrap_or((head, ""));
    let pairs = properties.split(separator).filter_map(|pair| pair.split_once('='));
    let properties = pairs.map(|(key, value)| (key.trim().to_owned(), property(value)));
    Some((name.to_owned(), properties.collect(), data(message)))
}

pub struct Finished {
    pub code: Option<i32>,
    pub cancelled: bool,
    pub outputs: BTreeMap<String, String>,
    pub summary: String,
    pub log: Log,
}

impl Finished {
    pub fn output(&self, name: &str) -> &str {
        &self.outputs[name]
    }

    pub fn annotations(&self, level: &str) -> Vec<&Annotation> {
        self.log.annotations.iter().filter(|a| a.level == level).collect()
    }
}
