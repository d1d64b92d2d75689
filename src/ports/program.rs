use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

/// Programs of this host that an operator named.
#[async_trait]
pub trait Programs: Send + Sync {
    /// Runs one to its end, without a shell, or an environment beyond `PATH`, `HOME` and what is given.
    /// Whoever stops waiting ends it, with everything it started in its process group.
    async fn run(&self, program: &Program) -> io::Result<Ran>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The program, which is searched on the `PATH` unless it holds a `/`, and its arguments.
    pub words: Vec<String>,
    /// Where it runs; a relative program starts here.
    pub folder: PathBuf,
    pub environment: Vec<(String, String)>,
    /// What it reads from its standard input.
    pub input: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// `None` for one that a signal ended.
    pub code: Option<i32>,
    /// The last 64 KiB.
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}
