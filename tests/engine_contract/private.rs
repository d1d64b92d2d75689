//! An engine of one's own, to be ended and started at will: in namespaces of its own for network, mounts and processes,
//! so that nothing of the host's engines is touched, and that all of it ends with this process.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arkwright::engine;
use arkwright::ports::Engine;
use rustix::process::{Pid, Signal, kill_process};

use crate::bench::Bench;
use crate::common;

pub struct Private {
    folder: tempfile::TempDir,
    podman: bool,
    image: String,
    /// `unshare`; the first process of the namespaces ends when this one's standard input does.
    holder: Child,
    /// The first process inside, as the host numbers it.
    init: Pid,
    /// `nsenter` with the daemon below it.
    daemon: Option<Child>,
}

/// Folders an engine keeps to itself however it is configured.
const HIDDEN: [&str; 4] = ["/run/containerd", "/run/containers", "/run/libpod", "/run/netns"];

impl Private {
    /// One of the same kind as the bench's, with the test image; `None`, and told, where this host cannot have it.
    pub async fn start(bench: &Bench) -> Option<Private> {
        let program = if bench.podman() { "podman" } else { "dockerd" };
        let found = |name: &str| {
            let folders = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
        };
        let missing = ["unshare", "nsenter", program].into_iter().find(|name| !found(name));
        if !rustix::process::geteuid().is_root() || missing.is_some() {
            common::not_run(&format!(
                "a private {program} needs root, and {}",
                missing.unwrap_or("nothing else")
            ));
            return None;
        }
        let folder = tempfile::Builder::new().prefix("arkc-").tempdir().expect("a folder");
        let log = File::create(folder.path().join("holder.log")).expect("a log");
        let hide = HIDDEN
            .map(|path| format!("mkdir -p {path} && mount -t tmpfs tmpfs {path}"))
            .join(" && ");
        let mut holder = Command::new("unshare")
            .args([
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-c",
            ])
            .arg(format!("{hide} && ip link set lo up && echo ready && cat >/dev/null"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("unshare");
        let ready = folder.path().join("holder.log");
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if fs::read_to_string(&ready).is_ok_and(|text| text.contains("ready")) {
                break;
            }
            if let Ok(Some(status)) = holder.try_wait() {
                panic!("{status}: {}", fs::read_to_string(&ready).unwrap_or_default());
            }
        }
        let init = child_of(&holder).expect("the first process of the namespaces");
        let mut private = Private {
            folder,
            podman: bench.podman(),
            image: bench.image.clone(),
            holder,
            init,
            daemon: None,
        };
        private.serve().await;
        let archive = bench.engine.export_image(&bench.image).await.expect("an archive");
        private
            .bench("load")
            .await
            .engine
            .import_image(archive)
            .await
            .expect("imported");
        Some(private)
    }

    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("engine.sock").display())
    }

    /// A connection of its own, with names of its own.
    pub async fn bench(&self, what: &str) -> Arc<Bench> {
        Arc::new(Bench {
            engine: engine::connect(Some(&self.host()), &[])
                .await
                .expect("the private engine"),
            project: format!("arkp-{}-{what}", std::process::id()).parse().expect("a name"),
            image: self.image.clone(),
        })
    }

    /// Starts the daemon and waits until it answers.
    pub async fn serve(&mut self) {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.as_raw_nonzero().to_string(), "-n", "-m", "-p"]);
        match self.podman {
            false => {
                // One that was ended hard leaves its number behind, and the next one refuses to start.
                remove(&self.folder.path().join("pid"));
                command
                    .arg("dockerd")
                    .args(["--data-root", &at("data"), "--exec-root", &at("exec")]);
                command.args(["--pidfile", &at("pid"), "--host", &self.host()]);
                command.args(["--cgroup-parent", &self.cgroup()]);
            }
            true => {
                fs::write(at("containers.conf"), settings(&at("networks"))).expect("written");
                command
                    .arg("env")
                    .arg(format!("CONTAINERS_CONF={}", at("containers.conf")))
                    .arg("podman");
                command.args([
                    "--root",
                    &at("root"),
                    "--runroot",
                    &at("runroot"),
                    "--tmpdir",
                    &at("tmp"),
                ]);
                command.args(["system", "service", "--time", "0", &self.host()]);
            }
        }
        let log = File::options()
            .create(true)
            .append(true)
            .open(at("engine.log"))
            .expect("a log");
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        self.daemon = Some(command.spawn().expect("nsenter"));
        for _ in 0..300 {
            if engine::connect(Some(&self.host()), &[]).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "it does not answer: {}",
            fs::read_to_string(at("engine.log")).unwrap_or_default()
        );
    }

    /// Ends the daemon, and waits until it is gone; its containers are not asked.
    pub async fn end(&mut self, signal: Signal) {
        let Some(mut daemon) = self.daemon.take() else { return };
        if let Some(pid) = child_of(&daemon) {
            kill_process(pid, signal).expect("it runs");
        }
        for _ in 0..600 {
            if daemon.try_wait().expect("a child").is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the engine did not end");
    }

    /// How many file descriptors the daemon has open.
    pub fn descriptors(&self) -> usize {
        let pid = self.daemon.as_ref().and_then(child_of).expect("a daemon");
        fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
            .expect("its descriptors")
            .count()
    }

    fn cgroup(&self) -> String {
        let name = self
            .folder
            .path()
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        format!("/arkwright-test{}", name.replace('.', "-"))
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        // All processes inside end with the first one, and the mounts and networks with the last.
        let ended = kill_process(self.init, Signal::KILL).is_ok() && self.holder.wait().is_ok();
        let waited = self.daemon.as_mut().is_none_or(|daemon| daemon.wait().is_ok());
        for controller in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            let left = controller.path().join(self.cgroup().trim_start_matches('/'));
            for inner in fs::read_dir(&left)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|e| e.path().is_dir())
            {
                remove_folder(&inner.path());
            }
            remove_folder(&left);
        }
        if !ended || !waited {
            eprintln!(
                "the private engine below {} may still be there",
                self.folder.path().display()
            );
        }
    }
}

/// The only child of a process that starts just one.
fn child_of(parent: &Child) -> Option<Pid> {
    let id = parent.id();
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", path.display());
    }
}

fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        eprintln!("{} is left: {error}", path.display());
    }
}

/// What Podman needs on a machine without systemd; locks in files of its own, since the usual ones are the host's.
fn settings(networks: &str) -> String {
    let version_one = !Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let runtime = if version_one { "runtime = \"runc\"\n" } else { "" };
    format!(
        "[containers]\ndefault_ulimits = [\"nofile=10000:20000\", \"nproc=10000:10000\"]\n\
         [engine]\n{runtime}cgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
         [network]\nnetwork_backend = \"netavark\"\nnetwork_config_dir = \"{networks}\"\n"
    )
}
