//! Errors of the settings of TLS.

use std::{error::Error, io, path::PathBuf};

/// Error of the settings of TLS, or of their files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// A file holds no certificate.
    #[error(
        "{} holds no certificate in PEM (-----BEGIN CERTIFICATE-----); name the file of the certificate",
        .0.display()
    )]
    NotCertificate(PathBuf),
    /// A file holds no private key.
    #[error(
        "{} holds no private key in PEM without a passphrase (-----BEGIN PRIVATE KEY-----); name the file of the key",
        .0.display()
    )]
    NotKey(PathBuf),
    /// A certificate has expired.
    #[error("the certificate in {} has expired; renew it", .0.display())]
    Expired(PathBuf),
    /// A certificate is not valid yet.
    #[error("the certificate in {} is not valid yet; compare this machine's clock", .0.display())]
    NotYet(PathBuf),
    /// Certificate and key do not belong together, or cannot be used.
    #[error(
        "the key in {} is not the one of the certificate in {} ({source}); name the two files that were made together",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the key.
        key: PathBuf,
        /// The error.
        source: Box<dyn Error + Send + Sync>,
    },
    /// A certificate without its key.
    #[error("the client's certificate {} is set without its key; set both", .0.display())]
    NoKey(PathBuf),
    /// A key without its certificate.
    #[error("the client's key {} is set without its certificate; set both", .0.display())]
    NoCertificate(PathBuf),
    /// The name of the server is no name.
    #[error(
        "the server name {0:?} is neither a host name nor an IP address; write the name as the certificate has it"
    )]
    ServerName(String),
    /// Settings of TLS, and a URL without TLS.
    #[error("settings of TLS are given, but the URL begins with amqp://; write amqps://")]
    Unused,
    /// Authentication by certificate, and no certificate.
    #[error(
        "auth_mechanism=external logs in with a client certificate, and none is used; write amqps://, and set the certificate and its key"
    )]
    External,
    /// The system has no authorities.
    #[error(
        "the system has no certificate authorities; install ca-certificates, set SSL_CERT_FILE, or set the authority's file"
    )]
    NoAuthorities,
    /// The program has no crypto provider.
    #[error(
        "amqps:// needs a crypto provider, and this program has none; enable the feature tls-ring of postroom-inbox, or install a provider with rustls::crypto::CryptoProvider::install_default"
    )]
    NoProvider,
    /// The crypto provider cannot be used.
    #[error("cannot use the crypto provider: {0}")]
    Provider(Box<dyn Error + Send + Sync>),
}
