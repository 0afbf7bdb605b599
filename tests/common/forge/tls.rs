//! TLS on loopback, with certificates that are right, or wrong in one way. `tests/data/tls/make.sh` made them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

const KEY: &[u8] = include_bytes!("../../data/tls/server.key.der");

/// What the server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// Signed by the authority in [`ca_file`], for `localhost` and the loopback addresses.
    Good,
    /// The same, but it ended in 2001.
    Expired,
    /// The same, but for another name.
    WrongName,
    /// For the right names, signed by nobody else.
    SelfSigned,
}

impl Certificate {
    fn der(self) -> &'static [u8] {
        match self {
            Self::Good => include_bytes!("../../data/tls/good.der"),
            Self::Expired => include_bytes!("../../data/tls/expired.der"),
            Self::WrongName => include_bytes!("../../data/tls/elsewhere.der"),
            Self::SelfSigned => include_bytes!("../../data/tls/selfsigned.der"),
        }
    }

    pub(super) fn server(self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(self.der())], key)
            .expect("the key fits the certificate");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }
}

/// The PEM file with the authority that signed [`Certificate::Good`].
pub fn ca_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tls/ca.pem")
}
