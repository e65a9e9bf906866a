//! A CA of a test's own: servers and clients with certificates that nobody else trusts.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use crate::run_dir::RunDir;

/// A CA with its certificate in a file.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    dir: RunDir,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    pub fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("rig CA {}", fastrand::u64(..)));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = RunDir::new("authority");
        dir.write("ca.crt", &pem);
        Authority { issuer: Issuer::new(params, key), pem, dir }
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The file of its certificate.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// Signs a certificate for a server of these names (addresses too) or a client of the first one.
    pub fn sign(&self, names: &[&str]) -> Identity {
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, names[0]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { cert, key: key.serialize_pem() }
    }

    /// The same in two files, certificate and key, named for it.
    pub fn sign_to_files(&self, names: &[&str]) -> (PathBuf, PathBuf) {
        let identity = self.sign(names);
        let (cert, key) = (format!("{}.crt", names[0]), format!("{}.key", names[0]));
        self.dir.write(&cert, &identity.cert);
        self.dir.write(&key, &identity.key);
        (self.dir.path().join(cert), self.dir.path().join(key))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
