//! The meaning of TLS errors, in words.

use std::{error::Error, fmt, io};

use postroom_message::errors::sources;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as Rustls};

/// A TLS error with its meaning.
#[derive(Debug)]
struct Explained {
    meaning: &'static str,
    source: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.meaning, self.source)
    }
}

impl Error for Explained {}

/// Adds the meaning to an error of TLS; leaves other errors alone.
pub(crate) fn explained(source: io::Error) -> io::Error {
    match explain(&source) {
        Some(meaning) => io::Error::new(source.kind(), Explained { meaning, source }),
        None => source,
    }
}

/// Returns the meaning of the TLS error that an error comes from; `None` if there is none.
pub fn explain(error: &(dyn Error + 'static)) -> Option<&'static str> {
    sources(error).find_map(|error| {
        // The source of an `io::Error` is that of the error within.
        let inner = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let error = inner.map_or(error, |inner| inner as &(dyn Error + 'static));
        error.downcast_ref::<Rustls>().map(meaning)
    })
}

fn meaning(error: &Rustls) -> &'static str {
    match error {
        Rustls::InvalidCertificate(problem) => certificate(problem),
        Rustls::AlertReceived(alert) => refused(*alert),
        Rustls::InvalidMessage(_) | Rustls::InappropriateMessage { .. } => {
            "the server does not speak TLS at this port; compare the port, and the server's settings"
        }
        Rustls::PeerIncompatible(_) => {
            "the server speaks TLS 1.2 and 1.3 with none of the methods that this client knows; renew its settings"
        }
        _ => "the encrypted connection cannot be made",
    }
}

/// Returns the meaning of a problem with the server's certificate.
fn certificate(problem: &CertificateError) -> &'static str {
    match problem {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired; renew it, and compare this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; compare this machine's clock"
        }
        CertificateError::UnknownIssuer => {
            "the server's certificate is of an authority that is not trusted here, or is signed by itself; name the file of the server's authority"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the server's certificate is for another host; connect by the name in it, or find out who answers"
        }
        CertificateError::Revoked => "the server's certificate is revoked; renew it",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the server's certificate is not made for servers; renew it with the purpose serverAuth"
        }
        CertificateError::Other(_) => {
            "the server's certificate cannot be used, perhaps since it is an authority's own or signed by itself; renew it as a server's certificate of an authority"
        }
        _ => "the server's certificate is not accepted; renew it",
    }
}

/// Returns the meaning of a server's refusal.
fn refused(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired | AlertDescription::NoCertificate => {
            "the server wants a client certificate; set the certificate and its key"
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => {
            "the server does not accept the client's certificate; use one of an authority that the server trusts"
        }
        AlertDescription::HandshakeFailure => {
            "the server refuses the handshake; perhaps it wants a client certificate: set the certificate and its key"
        }
        AlertDescription::UnrecognisedName => {
            "the server does not know the name that it is asked for; set the name in its certificate"
        }
        AlertDescription::ProtocolVersion => {
            "the server speaks neither TLS 1.2 nor 1.3; renew its settings"
        }
        _ => "the server refuses the encrypted connection",
    }
}
