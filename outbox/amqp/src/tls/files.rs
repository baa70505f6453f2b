//! Certificates and keys in PEM files.

use std::{fs, io, path::Path};

use tokio_rustls::rustls::{
    RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
};

use super::{
    TlsError,
    validity::{Validity, validity},
};

/// Reads a file of authorities, of which at least one is valid now.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let certificates = certificates(path)?;
    if certificates.iter().all(|one| check(path, one).is_err()) {
        check(path, &certificates[0])?;
    }
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let added = roots.add(certificate);
        added.map_err(|_| TlsError::NotCertificate(path.to_owned()))?;
    }
    Ok(roots)
}

/// Reads the client's certificate, which must be valid now, and those of intermediate authorities.
pub(super) fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = certificates(path)?;
    check(path, &certificates[0])?;
    Ok(certificates)
}

/// Reads a private key.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|_| TlsError::NotKey(path.to_owned()))
}

/// Reads certificates, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NotCertificate(path.to_owned())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source: io::Error| TlsError::Read {
        path: path.to_owned(),
        source,
    })
}

fn check(path: &Path, certificate: &CertificateDer<'_>) -> Result<(), TlsError> {
    let path = path.to_owned();
    match validity(certificate, UnixTime::now().as_secs()) {
        Validity::Valid => Ok(()),
        Validity::Expired => Err(TlsError::Expired(path)),
        Validity::NotYet => Err(TlsError::NotYet(path)),
        Validity::Unreadable => Err(TlsError::NotCertificate(path)),
    }
}
