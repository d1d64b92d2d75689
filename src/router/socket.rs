use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::ports::RouterError;

/// The longest answer that is read; `show stat` of one service takes some kilobytes.
const LARGEST: u64 = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends one line (commands joined with `;`) to a socket of the router and reads the whole answer.
pub async fn ask(folder: &Path, socket: &str, command: &str) -> Result<String, RouterError> {
    let unreachable = |source| RouterError::Unreachable {
        socket: folder.join(socket).display().to_string(),
        source,
    };
    let answer = timeout(PATIENCE, exchange(folder, socket, command))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 5 s")))
        .map_err(unreachable)?;
    String::from_utf8(answer).map_err(|error| RouterError::Garbled {
        command: command.to_owned(),
        answer: String::from_utf8_lossy(&error.as_bytes()[..error.as_bytes().len().min(200)]).into_owned(),
    })
}

async fn exchange(folder: &Path, socket: &str, command: &str) -> io::Result<Vec<u8>> {
    // A socket's address holds 107 bytes, which the path of a state folder may exceed; one through the open folder
    // does not.
    let opened = File::open(folder)?;
    let short = format!("/proc/self/fd/{}/{socket}", opened.as_raw_fd());
    let mut stream = UnixStream::connect(short).await?;
    drop(opened);
    stream.write_all(format!("{command}\n").as_bytes()).await?;
    stream.shutdown().await?;
    let mut answer = Vec::new();
    let read = stream.take(LARGEST + 1).read_to_end(&mut answer).await?;
    if read as u64 > LARGEST {
        return Err(io::Error::other("the answer has no end"));
    }
    // Every answer to a question has at least the line that ends it.
    if read == 0 && command.contains("show ") {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
