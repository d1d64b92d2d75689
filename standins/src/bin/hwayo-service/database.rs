//! As much of PostgreSQL's protocol as one statement at a time needs.

use std::env;
use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::scram::Scram;

/// Version 3.0 of the protocol.
const PROTOCOL: i32 = 3 << 16;
/// How long a statement may take, connecting included.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest message taken from the server, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// One connection, made when first used and again after it broke.
pub struct Database {
    host: String,
    port: u16,
    name: String,
    user: String,
    password: String,
    connection: Mutex<Option<TcpStream>>,
}

struct Message {
    kind: u8,
    body: Vec<u8>,
}

impl Database {
    /// From `DATABASE_HOST`, `_PORT`, `_NAME`, `_USER` and `_PASSWORD`.
    pub fn from_env() -> Result<Self, String> {
        let set = |name: &str, usual: &str| env::var(name).unwrap_or_else(|_| usual.to_owned());
        let port = set("DATABASE_PORT", "5432");
        let password = env::var("DATABASE_PASSWORD").ok();
        let password = password.filter(|password| !password.is_empty());
        Ok(Self {
            host: set("DATABASE_HOST", "postgres"),
            port: port
                .parse()
                .map_err(|_| format!("DATABASE_PORT: `{port}` is not a port number"))?,
            name: set("DATABASE_NAME", "hwayo"),
            user: set("DATABASE_USER", "hwayo_app"),
            password: password.ok_or("DATABASE_PASSWORD is not set")?,
            connection: Mutex::new(None),
        })
    }

    /// Runs one statement; the first column of its last row, where it has one.
    ///
    /// After an error it is unknown whether the server acted on it.
    pub async fn run(&self, statement: &'static str) -> Result<Option<String>, String> {
        let mut slot = self.connection.lock().await;
        let work = async {
            let mut connection = match slot.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = query(&mut connection, statement).await?;
            // Not reached after an error: what else is under way on that connection nobody knows.
            *slot = Some(connection);
            Ok(answer)
        };
        match timeout(PATIENCE, work).await {
            Ok(answer) => answer.map_err(|why: String| format!("PostgreSQL: {why}")),
            Err(_) => Err(format!("PostgreSQL: no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn connect(&self) -> Result<TcpStream, String> {
        let address = (self.host.as_str(), self.port);
        let mut stream = TcpStream::connect(address).await.map_err(broken)?;
        let mut hello = PROTOCOL.to_be_bytes().to_vec();
        for word in ["user", &self.user, "database", &self.name, ""] {
            hello.extend_from_slice(word.as_bytes());
            hello.push(0);
        }
        send(&mut stream, None, &hello).await?;

        let scram = Scram::new("", nonce()?);
        let mut proof = None;
        let mut proven = false;
        loop {
            let message = receive(&mut stream).await?;
            match (message.kind, message.authentication()) {
                (b'R', Some((10, _))) => {
                    let first = scram.first();
                    let mut body = b"SCRAM-SHA-256\0".to_vec();
                    body.extend_from_slice(&length(first.len())?.to_be_bytes());
                    body.extend_from_slice(first.as_bytes());
                    send(&mut stream, Some(b'p'), &body).await?;
                }
                (b'R', Some((11, said))) => {
                    let made = scram.prove(said, self.password.as_bytes())?;
                    send(&mut stream, Some(b'p'), made.message.as_bytes()).await?;
                    proof = Some(made);
                }
                (b'R', Some((12, said))) => proven = proof.as_ref().is_some_and(|proof| proof.answered_by(said)),
                (b'R', Some((0, _))) if proven => {}
                (b'R', Some((0, _))) => return Err("the server did not show that it knows the password".to_owned()),
                (b'R', _) => return Err("the server asks for another login than SCRAM-SHA-256".to_owned()),
                (b'Z', _) => return Ok(stream),
                (b'E', _) => return Err(message.complaint()),
                _ => {}
            }
        }
    }
}

async fn query(stream: &mut TcpStream, statement: &str) -> Result<Option<String>, String> {
    let mut body = statement.as_bytes().to_vec();
    body.push(0);
    send(stream, Some(b'Q'), &body).await?;
    let mut row = None;
    let mut complaint = None;
    loop {
        let message = receive(stream).await?;
        match message.kind {
            b'D' => row = message.first_column(),
            b'E' => complaint = Some(message.complaint()),
            b'Z' => return complaint.map_or(Ok(row), Err),
            _ => {}
        }
    }
}

impl Message {
    /// Code and text of an authentication message.
    fn authentication(&self) -> Option<(u32, &str)> {
        let (code, text) = self.body.split_first_chunk::<4>()?;
        // The list of mechanisms is not looked at: every server since version 10 has ours.
        Some((u32::from_be_bytes(*code), std::str::from_utf8(text).ok()?))
    }

    /// The server's words: the field `M` of an error.
    fn complaint(&self) -> String {
        let mut fields = self.body.split(|byte| *byte == 0);
        let said = fields.find_map(|field| field.strip_prefix(b"M"));
        String::from_utf8_lossy(said.unwrap_or(b"an error without words")).into_owned()
    }

    /// Text of the first column of a row, unless it is null.
    fn first_column(&self) -> Option<String> {
        let (size, rest) = self.body.get(2..)?.split_first_chunk::<4>()?;
        let size = usize::try_from(i32::from_be_bytes(*size)).ok()?;
        Some(String::from_utf8_lossy(rest.get(..size)?).into_owned())
    }
}

async fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> Result<(), String> {
    let mut bytes: Vec<u8> = kind.into_iter().collect();
    bytes.extend_from_slice(&length(body.len() + 4)?.to_be_bytes());
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).await.map_err(broken)
}

async fn receive(stream: &mut TcpStream) -> Result<Message, String> {
    let kind = stream.read_u8().await.map_err(broken)?;
    let size = stream.read_i32().await.map_err(broken)?;
    let size = usize::try_from(size).ok().and_then(|size| size.checked_sub(4));
    let size = size.filter(|size| *size <= MAX_MESSAGE);
    let mut body = vec![0; size.ok_or("a message of an impossible length")?];
    stream.read_exact(&mut body).await.map_err(broken)?;
    Ok(Message { kind, body })
}

fn length(bytes: usize) -> Result<i32, String> {
    i32::try_from(bytes).map_err(|_| "a message too long to send".to_owned())
}

fn nonce() -> Result<String, String> {
    let mut bytes = [0; 18];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| format!("no random bytes: {error}"))?;
    Ok(STANDARD.encode(bytes))
}

fn broken(error: std::io::Error) -> String {
    format!("the connection: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Message {
        Message {
            kind,
            body: body.to_vec(),
        }
    }

    #[test]
    fn what_is_read_from_messages() {
        let row = message(b'D', b"\0\x01\0\0\0\x0242");
        assert_eq!(row.first_column().as_deref(), Some("42"));
        for short in [
            &b""[..],
            b"\0\x01",
            b"\0\x01\0\0\0\x0242"[..7].as_ref(),
            b"\0\x01\xff\xff\xff\xff",
        ] {
            assert_eq!(message(b'D', short).first_column(), None, "{short:?}");
        }
        let error = message(b'E', b"SFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(error.complaint(), "the database system is starting up");
        assert_eq!(message(b'E', b"").complaint(), "an error without words");
        assert_eq!(message(b'R', b"\0\0\0\x0cv=x").authentication(), Some((12, "v=x")));
        assert_eq!(message(b'R', b"\0\0").authentication(), None);
    }
}
