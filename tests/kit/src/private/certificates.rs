//! Certificates of a test's own.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use super::{folder, process::own};

/// A certificate and its key, in files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM file of the certificate.
    pub certificate: PathBuf,
    /// PEM file of the key.
    pub key: PathBuf,
}

impl Identity {
    /// Copies both over another identity's files.
    pub fn replace(&self, other: &Self) {
        for (from, to) in [
            (&self.certificate, &other.certificate),
            (&self.key, &other.key),
        ] {
            fs::copy(from, to).expect("copying a certificate");
        }
        own(other.certificate.parent().expect("a folder"));
    }
}

/// A certificate authority; its files are removed when dropped.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    /// PEM file of the authority's certificate.
    pub certificate: PathBuf,
}

impl Authority {
    /// Makes one.
    pub fn new(name: &str) -> Self {
        let folder = folder("tls");
        let key = KeyPair::generate().expect("a key");
        let mut params = named(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = params.self_signed(&key).expect("an authority");
        let certificate = folder.join("ca.pem");
        fs::write(&certificate, root.pem()).expect("writing a certificate");
        let this = Self {
            issuer: Issuer::new(params, key),
            folder,
            certificate,
        };
        own(&this.folder);
        this
    }

    /// Makes a certificate for these hosts, or for a user if there are none.
    pub fn identity(&self, name: &str, hosts: &[&str]) -> Identity {
        self.signed(name, &leaf(name, hosts))
    }

    /// As [`Authority::identity`], of last year.
    pub fn expired(&self, name: &str, hosts: &[&str]) -> Identity {
        let mut params = leaf(name, hosts);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.signed(name, &params)
    }

    /// Makes a certificate that no authority has signed.
    pub fn self_signed(&self, name: &str, hosts: &[&str]) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = leaf(name, hosts).self_signed(&key).expect("a certificate");
        self.write(name, &certificate.pem(), &key)
    }

    fn signed(&self, name: &str, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        self.write(name, &certificate.pem(), &key)
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) -> Identity {
        let identity = Identity {
            certificate: self.folder.join(format!("{name}.pem")),
            key: self.folder.join(format!("{name}.key")),
        };
        fs::write(&identity.certificate, certificate).expect("writing a certificate");
        fs::write(&identity.key, key.serialize_pem()).expect("writing a key");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&identity.key, private).expect("protecting a key");
        own(&self.folder);
        identity
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("host names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn leaf(name: &str, hosts: &[&str]) -> CertificateParams {
    let mut params = named(name, hosts);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}
