//! Opening connections, with TLS where the URL asks for it.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::Uri;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub struct Connector {
    tls: Option<TlsConnector>,
    instead: Option<SocketAddr>,
}

/// A connection, plain or not.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connector {
    /// Trusts exactly the certificates in `ca`; connects to `instead` whatever a URL says.
    pub fn new(ca: Option<&Path>, instead: Option<SocketAddr>) -> Result<Self, String> {
        let tls = match ca {
            None => None,
            Some(file) => {
                let unreadable = |error: &dyn std::fmt::Display| format!("--ca {}: {error}", file.display());
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_file_iter(file).map_err(|error| unreadable(&error))? {
                    let certificate = certificate.map_err(|error| unreadable(&error))?;
                    roots.add(certificate).map_err(|error| unreadable(&error))?;
                }
                if roots.is_empty() {
                    return Err(unreadable(&"holds no certificate"));
                }
                let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
                    .with_safe_default_protocol_versions()
                    .map_err(|error| error.to_string())?
                    .with_root_certificates(roots)
                    .with_no_client_auth();
                Some(TlsConnector::from(Arc::new(config)))
            }
        };
        Ok(Self { tls, instead })
    }

    /// Whether `url` is one this connector can open, before any load is sent.
    pub fn check(&self, url: &Uri) -> Result<(), String> {
        if url.host().is_none() {
            return Err(format!("`{url}` has no host"));
        }
        match url.scheme_str() {
            Some("http" | "ws") => Ok(()),
            Some("https" | "wss") if self.tls.is_some() => Ok(()),
            Some("https" | "wss") => Err(format!(
                "`{url}` needs --ca FILE: only certificates named there are trusted"
            )),
            _ => Err(format!("`{url}` should begin with http://, https://, ws:// or wss://")),
        }
    }

    pub async fn open(&self, url: &Uri) -> Result<Stream, String> {
        let host = url.host().ok_or("no host")?.trim_matches(['[', ']']);
        let secure = matches!(url.scheme_str(), Some("https" | "wss"));
        let stream = match self.instead {
            Some(address) => TcpStream::connect(address).await,
            None => TcpStream::connect((host, url.port_u16().unwrap_or(if secure { 443 } else { 80 }))).await,
        };
        let stream = stream.map_err(|error| format!("connect: {}", error.kind()))?;
        stream
            .set_nodelay(true)
            .map_err(|error| format!("connect: {}", error.kind()))?;
        match &self.tls {
            Some(tls) if secure => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("TLS: {error}"))?;
                let stream = tls
                    .connect(name, stream)
                    .await
                    .map_err(|error| format!("TLS: {error}"))?;
                Ok(Stream::Tls(Box::new(stream)))
            }
            None if secure => Err("TLS: no certificates to trust".to_owned()),
            _ => Ok(Stream::Plain(stream)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
