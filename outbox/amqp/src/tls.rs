//! TLS to the broker, against the system's certificate authorities.

use std::{io, sync::Arc};

use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

/// Performs a TLS 1.2 or 1.3 handshake with a server whose certificate must be valid for `host`.
pub(crate) async fn handshake(stream: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let config = spawn_blocking(config).await.map_err(io::Error::other)??;
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

/// Reads the system's authorities, or those of `SSL_CERT_FILE`.
///
/// Names the crypto provider, so that the process needs no default provider.
fn config() -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let error = found.errors.into_iter().next().map(io::Error::other);
        return Err(error.unwrap_or_else(|| {
            io::Error::other(
                "the system has no certificate authorities; install ca-certificates, or set SSL_CERT_FILE",
            )
        }));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
