//! A registry on loopback that wants a login, for as long as the test runs.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arkwright::ports::Engine;
use bollard::Docker;
use bollard::auth::DockerCredentials;
use bollard::query_parameters::{PushImageOptionsBuilder, RemoveImageOptions, TagImageOptionsBuilder};
use futures_util::TryStreamExt;

use crate::common;

/// Debian's package `docker-registry`.
const PROGRAM: &str = "docker-registry";
pub const USER: &str = "ark";
/// Written in base64 it has letters that two alphabets write differently.
pub const PASSWORD: &str = "s3cret>~?>~?>~?";
/// [`USER`] and who pushes; bcrypt, as the registry wants it, and cheap.
const HTPASSWD: &str = "\
ark:$2y$04$VQ0OvqqZt6l6C/nB7VBnAuiJWtjgVow9farx5Qryks3pwgOMgihCi
pusher:$2y$04$HNpy9PpbMAFFDdQBz/SYGumHHnzpO5VMVnfAzgroRW0ljjjBvMJ1e
";

pub struct Registry {
    process: Child,
    /// `127.0.0.1:40123`
    pub address: String,
    /// What it stores, for as long as it is there.
    _folder: tempfile::TempDir,
}

impl Registry {
    /// `None` where the program is not installed, which is said.
    pub fn start() -> Option<Self> {
        if Command::new(PROGRAM).arg("--version").output().is_err() {
            common::not_run(
                "a registry: Debian's package docker-registry is not installed (./scripts/test installs it)",
            );
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let process = serve(folder.path(), port);
        let registry = Registry {
            process,
            address: format!("127.0.0.1:{port}"),
            _folder: folder,
        };
        registry.answers();
        Some(registry)
    }

    fn answers(&self) {
        let begun = Instant::now();
        while std::net::TcpStream::connect(&self.address).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the registry does not come up"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// `127.0.0.1:40123/ark/web:1`
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Gives an image of the engine a name of this registry, and takes the name from the engine again.
    pub async fn push(&self, host: &str, image: &str, rest: &str) {
        let docker = client(host);
        let (path, tag) = rest.rsplit_once(':').expect("a tag");
        let repository = self.name(path);
        let named = TagImageOptionsBuilder::new().repo(&repository).tag(tag).build();
        docker.tag_image(image, Some(named)).await.expect("named");
        let credentials = DockerCredentials {
            username: Some("pusher".into()),
            password: Some("plain".into()),
            serveraddress: Some(self.address.clone()),
            ..DockerCredentials::default()
        };
        let options = PushImageOptionsBuilder::new().tag(tag).build();
        let pushed: Result<Vec<_>, _> = docker
            .push_image(&repository, Some(options), Some(credentials))
            .try_collect()
            .await;
        let said = format!("{pushed:?}");
        assert!(
            !said.contains("HTTP response to HTTPS client"),
            "this Podman was not told that loopback speaks plain HTTP: end it, and ./scripts/test starts one that was"
        );
        for said in pushed.expect("pushed") {
            assert!(said.error_detail.is_none(), "{said:?}");
        }
        forget(host, &self.name(rest)).await;
    }

    pub fn stop(&mut self) {
        self.process.kill().expect("ended");
        self.process.wait().expect("waited for");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Ended before is as good.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

fn serve(folder: &Path, port: u16) -> Child {
    let users = folder.join("htpasswd");
    fs::write(&users, HTPASSWD).expect("written");
    let config = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:{port} }}\n\
         auth: {{ htpasswd: {{ realm: ark, path: {} }} }}\n",
        folder.join("blobs").display(),
        users.display()
    );
    let file = folder.join("config.yml");
    fs::write(&file, config).expect("written");
    let log = fs::File::create(folder.join("log")).expect("a log");
    Command::new(PROGRAM)
        .arg("serve")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("started")
}

pub fn client(host: &str) -> Docker {
    let path = host.strip_prefix("unix://").expect("a socket");
    Docker::connect_with_unix(path, 120, bollard::API_DEFAULT_VERSION).expect("a connection")
}

/// Takes a name from the engine; what is gone is gone.
pub async fn forget(host: &str, name: &str) {
    let removed = client(host).remove_image(name, None::<RemoveImageOptions>, None).await;
    if let Err(error) = removed {
        println!("    {name} stays: {error}");
    }
}

/// Takes every name that begins so from the engine. A digest is a name only of an image without others: with it Podman
/// removes the image whole.
pub async fn forget_below(host: &str, prefix: &str) {
    let engine = arkwright::engine::connect(Some(host), &[]).await.expect("an engine");
    let ours = |name: &&String| name.starts_with(prefix);
    for image in engine.images().await.expect("listed") {
        for name in image.repo_tags.iter().filter(ours) {
            forget(host, name).await;
        }
        if image.repo_tags.iter().all(|name| ours(&name)) && engine.image(&image.id).await.expect("asked").is_some() {
            for name in image.repo_digests.iter().filter(ours) {
                forget(host, name).await;
            }
        }
    }
}
