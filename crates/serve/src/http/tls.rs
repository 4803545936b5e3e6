//! The certificate that HTTP is served under, read again when its files change.
//!
//! A certificate that cannot be read takes nothing away: the last one goes on, and the log says so. Invariant: a
//! connection that has not agreed on TLS is closed; nothing is ever answered in the clear in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at, when connections come.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a certificate cannot be used. What the files hold is in no message.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds no such thing in PEM.
    #[error("{} holds no {what} in PEM", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("the certificate in {} cannot be used with its key", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// A certificate and its key, as files that others renew.
#[derive(Debug)]
pub struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    held: Mutex<Held>,
}

struct Held {
    config: Arc<ServerConfig>,
    changed: Option<(SystemTime, SystemTime)>,
    looked: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a chain of certificates, the server's own first, and its key.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let changed = changed(certificate, key);
        let config = read(certificate, key)?;
        let held = Mutex::new(Held { config, changed, looked: Instant::now() });
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), held })
    }

    /// What accepts a connection that speaks another protocol than HTTP 1, under the certificate as it is now.
    pub(crate) fn acceptor_for(&self, protocol: &[u8]) -> TlsAcceptor {
        let mut config = ServerConfig::clone(self.acceptor().config());
        config.alpn_protocols = vec![protocol.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// What accepts a connection under the certificate as it is now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let mut held = self.held.lock();
        if held.looked.elapsed() >= LOOK_EVERY {
            held.looked = Instant::now();
            self.look(&mut held);
        }
        TlsAcceptor::from(Arc::clone(&held.config))
    }

    fn look(&self, held: &mut Held) {
        let now = changed(&self.certificate, &self.key);
        if now == held.changed {
            return;
        }
        // Certificate and key are two files: between the writes of both they do not belong together.
        match read(&self.certificate, &self.key) {
            Ok(config) => {
                (held.config, held.changed) = (config, now);
                tracing::info!(path = %self.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used yet; connections go on under the last one");
            }
        }
    }
}

fn changed(certificate: &Path, key: &Path) -> Option<(SystemTime, SystemTime)> {
    let of = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    of(certificate).zip(of(key))
}

fn read(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bytes = |path: &Path| fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source });
    let empty = |path: &Path, what| TlsError::Empty { path: path.to_owned(), what };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes(certificate)?).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(empty(certificate, "certificate"));
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?).map_err(|_| empty(key, "private key"))?;
    let unusable = |source| TlsError::Unusable { path: certificate.to_owned(), source };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
