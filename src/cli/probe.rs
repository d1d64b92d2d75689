//! What this binary does inside a sandbox, where it is mounted: it waits, asks services, and tries to get out.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Subcommand;
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use super::{Failure, Kind, OrFail};
use crate::drill::{Answer, Attempt, Reached, SealReport, WayOut};

/// The most of a body that is kept.
const BODY: usize = 64 << 10;

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Listens and does nothing else, until it is killed
    Rest {
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Asks with one GET and prints the answer as JSON
    Http {
        /// http://name:port/path
        #[arg(long)]
        url: Uri,
        /// Where the name is
        #[arg(long)]
        connect: SocketAddr,
        #[arg(long, default_value_t = 10_000)]
        timeout_ms: u64,
    },
    /// Tries every way out and prints what happened as JSON
    Seal {
        /// The listener of `rest`, which has to answer
        #[arg(long)]
        control: SocketAddr,
        #[arg(long)]
        tcp: Vec<SocketAddr>,
        #[arg(long)]
        name: Vec<String>,
        #[arg(long, default_value_t = 1500)]
        timeout_ms: u64,
    },
}

pub async fn run(args: Args) -> Result<(), Failure> {
    match args.what {
        What::Rest { listen } => {
            let listener = TcpListener::bind(listen).await.or_fail(Kind::Host)?;
            loop {
                // Whoever connects has what it wanted.
                if let Err(error) = listener.accept().await {
                    tracing::debug!(%error, "a caller was gone already");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        What::Http {
            url,
            connect,
            timeout_ms,
        } => {
            let limit = Duration::from_millis(timeout_ms);
            let answer = match tokio::time::timeout(limit, get(&url, connect)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(why)) => Answer::None { why },
                Err(_) => Answer::None {
                    why: format!("no answer within {timeout_ms} ms"),
                },
            };
            print(&answer)
        }
        What::Seal {
            control,
            tcp,
            name,
            timeout_ms,
        } => print(&seal(control, tcp, name, Duration::from_millis(timeout_ms)).await),
    }
}

fn print(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).or_fail(Kind::Failed)?;
    println!("{text}");
    Ok(())
}

async fn get(url: &Uri, connect: SocketAddr) -> Result<Answer, String> {
    let told = |error: &dyn std::error::Error| match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    let began = Instant::now();
    let stream = TcpStream::connect(connect).await.map_err(|e| told(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| told(&e))?;
    let driver = tokio::spawn(connection);
    let host = url.authority().map_or("localhost", |authority| authority.as_str());
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let request = Request::get(path)
        .header(header::HOST, host)
        .header(header::USER_AGENT, concat!("arkwright/", env!("CARGO_PKG_VERSION")))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| told(&e))?;
    let response = sender.send_request(request).await.map_err(|e| told(&e))?;
    let status = response.status().as_u16();
    let mut stream = response.into_body();
    let mut body = Vec::new();
    while body.len() < BODY
        && let Some(frame) = stream.frame().await
    {
        if let Ok(data) = frame.map_err(|e| told(&e))?.into_data() {
            body.extend_from_slice(&data);
        }
    }
    body.truncate(BODY);
    driver.abort();
    Ok(Answer::Status {
        status,
        body,
        ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    })
}

async fn seal(control: SocketAddr, tcp: Vec<SocketAddr>, names: Vec<String>, limit: Duration) -> SealReport {
    let control = reach(control, limit).await == Reached::Answered;
    let mut trying = tokio::task::JoinSet::new();
    for address in tcp {
        trying.spawn(async move {
            Attempt {
                way: WayOut::Tcp(address),
                reached: reach_any_scope(address, limit).await,
            }
        });
    }
    for name in names {
        trying.spawn_blocking(move || Attempt {
            reached: ask(&name, limit),
            way: WayOut::Name(name),
        });
    }
    let mut attempts = trying.join_all().await;
    attempts.sort_by_key(|attempt| attempt.way.to_string());
    SealReport { control, attempts }
}

/// A link-local address is somewhere else on every interface.
async fn reach_any_scope(address: SocketAddr, limit: Duration) -> Reached {
    let SocketAddr::V6(v6) = address else {
        return reach(address, limit).await;
    };
    if !v6.ip().is_unicast_link_local() {
        return reach(address, limit).await;
    }
    let mut worst = Reached::Unreachable("no interface".into());
    for scope in interfaces() {
        match reach(SocketAddrV6::new(*v6.ip(), v6.port(), 0, scope).into(), limit).await {
            reached @ (Reached::Answered | Reached::Refused) => return reached,
            reached => worst = reached,
        }
    }
    worst
}

fn interfaces() -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/sys/class/net") else {
        return (1..=4).collect();
    };
    let index = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("ifindex")).ok();
    folder
        .flatten()
        .filter_map(index)
        .filter_map(|text| text.trim().parse().ok())
        .collect()
}

async fn reach(address: SocketAddr, limit: Duration) -> Reached {
    match tokio::time::timeout(limit, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Reached::Answered,
        Ok(Err(error)) => match error.kind() {
            ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Reached::Refused,
            ErrorKind::TimedOut => Reached::Silent,
            _ => Reached::Unreachable(error.to_string()),
        },
        Err(_) => Reached::Silent,
    }
}

/// Asks the configured name server for an address of `name`.
fn ask(name: &str, limit: Duration) -> Reached {
    let servers = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = servers
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    let mut worst = Reached::Unreachable("no name server".into());
    for server in servers {
        match ask_server(server, name, limit) {
            Ok(true) => return Reached::Answered,
            Ok(false) => worst = Reached::Refused,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                worst = Reached::Silent
            }
            Err(error) => worst = Reached::Unreachable(error.to_string()),
        }
    }
    worst
}

/// Whether the answer holds an address.
fn ask_server(server: IpAddr, name: &str, limit: Duration) -> std::io::Result<bool> {
    let any: IpAddr = match server {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_read_timeout(Some(limit))?;
    socket.connect((server, 53))?;
    socket.send(&question(name))?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer)?;
    // The low bits of the fourth byte are the response code, bytes six and seven count the answers.
    Ok(length >= 12 && answer[3] & 0x0f == 0 && (answer[6], answer[7]) != (0, 0))
}

/// A DNS question for the A record of `name`.
fn question(name: &str) -> Vec<u8> {
    let mut packet = vec![0x61, 0x72, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let label = &label.as_bytes()[..label.len().min(63)];
        packet.push(label.len() as u8);
        packet.extend_from_slice(label);
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    packet
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Answers one request with these bytes.
    async fn server(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a caller");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(request[..read].starts_with(b"GET /api/health?x=1 HTTP/1.1\r\n"));
            stream.write_all(&answer).await.expect("written");
        });
        address
    }

    #[tokio::test]
    async fn an_answer_is_kept_whole_and_anything_else_is_none() {
        let url: Uri = "http://backend:8081/api/health?x=1".parse().expect("an address");
        let answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\n\xff\x00!".to_vec();
        match get(&url, server(answer).await).await {
            Ok(Answer::Status { status, body, .. }) => assert_eq!((status, body), (503, b"\xff\x00!".to_vec())),
            other => panic!("{other:?}"),
        }
        assert!(get(&url, server(b"SSH-2.0-x\r\n".to_vec()).await).await.is_err());
        let nobody = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = nobody.local_addr().expect("an address");
        drop(nobody);
        assert!(get(&url, address).await.is_err());
    }

    #[tokio::test]
    async fn a_seal_report_tells_open_from_closed() {
        let open = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let control = open.local_addr().expect("an address");
        let closed = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let gone = closed.local_addr().expect("an address");
        drop(closed);
        let report = seal(control, vec![control, gone], Vec::new(), Duration::from_secs(2)).await;
        assert!(report.control);
        let of = |address| {
            report
                .attempts
                .iter()
                .find(|a| a.way == WayOut::Tcp(address))
                .map(|a| a.reached.clone())
        };
        assert_eq!(
            (of(control), of(gone)),
            (Some(Reached::Answered), Some(Reached::Refused))
        );
        let read: SealReport = serde_json::from_str(&serde_json::to_string(&report).expect("text")).expect("reads");
        assert_eq!(read, report);
    }

    #[test]
    fn a_question_is_a_dns_packet() {
        let packet = question("a.example.");
        assert_eq!(&packet[12..], b"\x01a\x07example\x00\x00\x01\x00\x01");
    }
}
