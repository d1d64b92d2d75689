use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// The command line on one project of one engine, with nothing of this process's environment but the search path.
pub struct Cli<'a> {
    pub folder: &'a Path,
    pub host: &'a str,
    pub project: String,
}

impl Cli<'_> {
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the binary runs")
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arkwright"));
        command
            .args(["--host", self.host, "-p", &self.project])
            .args(args)
            .current_dir(self.folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", self.folder)
            .env("ARKWRIGHT_STATE", self.folder.join("state"));
        command
    }

    /// Standard output of a run that must end with this exit code.
    pub fn ends(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {errors}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ends(0, args)).expect("JSON")
    }
}

/// Removes what a failed run leaves.
impl Drop for Cli<'_> {
    fn drop(&mut self) {
        let output = self.run(&["down", "--volumes", "--remove-orphans", "--yes"]);
        if !output.status.success() {
            eprintln!("not cleaned up: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
