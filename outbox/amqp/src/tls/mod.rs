//! TLS to the broker.

mod error;
mod files;
mod problem;
mod validity;

use std::{io, path::PathBuf, sync::Arc};

use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::ServerName},
};

pub use error::TlsError;
pub use problem::explain;
pub(crate) use problem::explained;

/// Settings of TLS to a broker: the authority that is trusted, the client's certificate, the server's name.
///
/// Without settings the system's authorities are trusted (or those of the file `SSL_CERT_FILE`), the client shows no
/// certificate, and the server's certificate must be valid for the host of the URL. The files are read at the start,
/// and again for each connection, so renewed files are used without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    server_name: Option<String>,
}

impl Tls {
    /// Returns settings that trust the system's authorities.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a PEM file of authorities. Servers whose certificates other authorities have signed are refused, also
    /// authorities that the system knows.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// Sets a PEM file with the client's certificate, followed by the certificates of intermediate authorities.
    /// Needs [`key`](Self::key).
    #[must_use]
    pub fn certificate(mut self, file: impl Into<PathBuf>) -> Self {
        self.certificate = Some(file.into());
        self
    }

    /// Sets a PEM file with the private key of the client's certificate, without a passphrase.
    #[must_use]
    pub fn key(mut self, file: impl Into<PathBuf>) -> Self {
        self.key = Some(file.into());
        self
    }

    /// Sets the name that the server's certificate must be valid for. Defaults to the host of the URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Reads the files and checks them.
    ///
    /// # Errors
    /// Fails if a file cannot be read, holds no certificate or key, has expired, or does not match another.
    pub fn check(&self) -> Result<(), TlsError> {
        if let Some(name) = &self.server_name {
            server_name(name)?;
        }
        self.config().map(drop)
    }

    /// Returns `true` if nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns `true` if the client shows a certificate.
    pub(crate) const fn has_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Performs a TLS 1.2 or 1.3 handshake with a server whose certificate must be valid for `host`, or for the name
    /// that is set.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = server_name(self.server_name.as_deref().unwrap_or(host));
        let name = name.map_err(io::Error::other)?;
        let settings = self.clone();
        let reading = spawn_blocking(move || settings.config());
        let config = reading.await.map_err(io::Error::other)?;
        let config = config.map_err(io::Error::other)?;
        let shaking = TlsConnector::from(Arc::new(config)).connect(name, stream);
        shaking.await.map_err(explained)
    }

    /// Names the crypto provider, so that the process needs no default provider, and none is installed.
    fn config(&self) -> Result<ClientConfig, TlsError> {
        let provider = provider()?;
        let roots = match &self.ca {
            Some(file) => files::authorities(file)?,
            None => system_authorities()?,
        };
        let builder = builder(provider)?.with_root_certificates(roots);
        match (&self.certificate, &self.key) {
            (None, None) => Ok(builder.with_no_client_auth()),
            (Some(certificate), Some(key)) => {
                let (chain, private) = (files::chain(certificate)?, files::key(key)?);
                let config = builder.with_client_auth_cert(chain, private);
                config.map_err(|source| TlsError::Mismatch {
                    certificate: certificate.clone(),
                    key: key.clone(),
                    source: source.into(),
                })
            }
            (Some(file), None) => Err(TlsError::NoKey(file.clone())),
            (None, Some(file)) => Err(TlsError::NoCertificate(file.clone())),
        }
    }
}

/// Returns the crypto provider that the process has installed, or else the one of a feature.
///
/// # Errors
/// Without both.
#[cfg_attr(
    feature = "tls-ring",
    expect(clippy::unnecessary_wraps, reason = "fails without the feature")
)]
fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "tls-ring")]
    return Ok(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ));
    #[cfg(not(feature = "tls-ring"))]
    Err(TlsError::NoProvider)
}

fn builder(
    provider: Arc<CryptoProvider>,
) -> Result<
    tokio_rustls::rustls::ConfigBuilder<ClientConfig, tokio_rustls::rustls::WantsVerifier>,
    TlsError,
> {
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions();
    builder.map_err(|source| TlsError::Provider(source.into()))
}

/// Returns the system's authorities, or those of `SSL_CERT_FILE`.
fn system_authorities() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NoAuthorities);
    }
    Ok(roots)
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    let parsed = ServerName::try_from(name.to_owned());
    parsed.map_err(|_| TlsError::ServerName(name.to_owned()))
}

#[cfg(all(test, not(feature = "tls-ring")))]
mod tests {
    use super::{Tls, TlsError};

    #[test]
    fn a_program_without_a_crypto_provider_learns_how_to_get_one() {
        let error = Tls::new().config().unwrap_err();
        assert!(matches!(error, TlsError::NoProvider), "{error}");
        assert!(error.to_string().contains("tls-ring"));
    }
}
