use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers every connection with these bytes, and keeps what it was asked.
async fn serve(answer: impl Into<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), answer.into());
    let heard = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let second = head.contains("/second");
            heard.lock().expect("whole").push(head);
            let answer = if second {
                b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond".to_vec()
            } else {
                answer.clone()
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    (format!("127.0.0.1:{port}"), asked)
}

async fn get(url: &str) -> Result<Page, WebError> {
    get_within(&WebClient::default(), url, Duration::from_secs(5)).await
}

async fn get_within(client: &WebClient, url: &str, limit: Duration) -> Result<Page, WebError> {
    let request = PageRequest {
        url: url.into(),
        headers: vec![("x-preview".into(), "yes".into())],
        limit,
    };
    client.get(&request).await
}

#[tokio::test]
async fn a_page_comes_with_its_status_and_the_login_goes_as_a_header() {
    let (at, asked) = serve("HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nlate").await;
    let page = get(&format!("http://us%40er:p%3Ass@{at}/a?b=c#d"))
        .await
        .expect("a page");
    assert_eq!((page.status, &page.body[..]), (503, &b"late"[..]));
    let asked = asked.lock().expect("whole")[0].to_lowercase();
    assert!(asked.starts_with("get /a?b=c http/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("x-preview: yes\r\n") && asked.contains(&format!("host: {at}\r\n")),
        "{asked}"
    );
    let login = BASE64_STANDARD.encode("us@er:p:ss").to_lowercase();
    assert!(asked.contains(&format!("authorization: basic {login}\r\n")), "{asked}");
}

#[tokio::test]
async fn no_login_path_or_query_is_in_an_error() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = closed.local_addr().expect("an address").port();
    drop(closed);
    let (garbage, _) = serve("SSH-2.0-OpenSSH_9.2\r\n").await;
    let (endless, _) = serve([&b"HTTP/1.1 200 OK\r\n\r\n"[..], &vec![b'x'; LARGEST_PAGE + 1]].concat()).await;
    let (cut, _) = serve("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let secret = |at: &str| format!("http://user:hunter2@{at}/hook/hunter2?token=hunter2");
    for (url, kind) in [
        (secret(&format!("127.0.0.1:{port}")), "cannot be reached: "),
        (secret(&garbage), "broke"),
        (secret(&endless), "answered more than 1024 KiB"),
        (secret(&cut), "broke"),
        ("http://user:hunter2@[::".into(), "no web address"),
        ("ftp://user:hunter2@host/".into(), "no web address"),
        ("hunter2".into(), "no web address"),
    ] {
        let error = get(&url).await.expect_err(&url);
        let (said, debug) = (error.to_string(), format!("{error:?}"));
        assert!(said.contains(kind), "{url}: {said}");
        assert!(
            !said.contains("hunter2") && !debug.contains("hunter2"),
            "{said} {debug}"
        );
        assert!(!said.contains('\n'), "{said}");
    }
    let request = PageRequest {
        url: "http://u:hunter2@h/".into(),
        headers: vec![("a b".into(), "hunter2".into())],
        limit: Duration::from_secs(1),
    };
    assert!(!format!("{request:?}").contains("hunter2"));
    let error = WebClient::default().get(&request).await.expect_err("no header");
    assert_eq!(error, WebError::Header("a b".into()));
}

#[tokio::test]
async fn silence_and_drops_end_at_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (slow, _) = serve("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n").await;
    let silent_at = silent.local_addr().expect("an address").to_string();
    for at in [silent_at, slow] {
        let begun = Instant::now();
        let answer = get_within(
            &WebClient::default(),
            &format!("http://{at}/"),
            Duration::from_millis(300),
        )
        .await;
        assert!(begun.elapsed() < Duration::from_secs(2));
        // What closes after half a head broke; what keeps silent is late.
        assert!(
            matches!(answer, Err(WebError::Late { .. } | WebError::Broken { .. })),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn redirects_stay_with_the_server() {
    let redirect = |to: &str| format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
    let (at, asked) = serve(redirect("/second")).await;
    let page = get(&format!("http://u:p@{at}/first")).await.expect("a page");
    assert_eq!(&page.body[..], b"second");
    assert_eq!(asked.lock().expect("whole").len(), 2);

    let (stranger, asked) = serve("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    for to in [
        format!("http://{stranger}/second"),
        format!("https://{stranger}/"),
        format!("//{stranger}/"),
        "file:///etc/passwd".into(),
        "http://[".into(),
    ] {
        let (at, _) = serve(redirect(&to)).await;
        let page = get(&format!("http://u:p@{at}/first")).await.expect("a page");
        assert_eq!(page.status, 302, "{to}");
    }
    assert!(asked.lock().expect("whole").is_empty(), "the stranger was asked");

    let (at, asked) = serve(redirect("/again")).await;
    let page = get(&format!("http://{at}/again")).await.expect("a page");
    assert_eq!((page.status, asked.lock().expect("whole").len()), (302, REDIRECTS + 1));
}

/// `openssl s_server` with a certificate of its own for `localhost`; killed when dropped.
struct Tls {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Tls {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let made = Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args([
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
                "key.pem",
                "-out",
                "cert.pem",
            ])
            .current_dir(&folder)
            .output()
            .expect("openssl, which the tests of TLS need");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let holder = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = holder.local_addr().expect("an address").port();
        drop(holder);
        let child = Command::new("openssl")
            .args([
                "s_server", "-quiet", "-www", "-key", "key.pem", "-cert", "cert.pem", "-accept",
            ])
            .arg(format!("127.0.0.1:{port}"))
            .current_dir(&folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        Tls { child, port, folder }
    }

    /// A client that trusts this server's certificate alone.
    fn trusting(&self) -> WebClient {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        let cert = CertificateDer::from_pem_file(self.folder.path().join("cert.pem")).expect("a certificate");
        roots.add(cert).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let builder = HttpsConnectorBuilder::new().with_tls_config(config);
        WebClient {
            secure: OnceCell::new_with(Some(secure(builder.https_or_http().enable_http1().build()))),
            ..WebClient::default()
        }
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

#[tokio::test]
async fn a_certificate_is_believed_only_when_it_is_trusted_and_names_the_host() {
    let tls = Tls::start();
    let trusting = tls.trusting();
    let url = format!("https://localhost:{}/", tls.port);
    let begun = Instant::now();
    let page = loop {
        match get_within(&trusting, &url, Duration::from_secs(5)).await {
            Ok(page) => break page,
            // Until it listens.
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(20), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(page.status, 200);
    let by_number = format!("https://127.0.0.1:{}/", tls.port);
    let error = get_within(&trusting, &by_number, Duration::from_secs(5))
        .await
        .expect_err("another name");
    assert!(error.to_string().contains("certificate"), "{error}");
    let error = get(&url).await.expect_err("a stranger's certificate");
    assert!(error.to_string().contains("certificate"), "{error}");
}
