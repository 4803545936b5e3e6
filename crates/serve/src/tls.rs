//! The certificate that a surface is served under, read again when its files change, and whose certificates it takes.
//!
//! A certificate that cannot be read takes nothing away: the last one goes on, and the log says so. Invariant: a
//! connection that has not agreed on TLS is closed; nothing is ever answered in the clear in its place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;
use x509_certificate::{SignatureAlgorithm, X509Certificate};

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
    /// What certificates of clients are to be signed by cannot be used.
    #[error("the certificates in {} cannot be what those of clients are signed by", path.display())]
    Authority {
        /// Their file.
        path: PathBuf,
    },
}

/// The files of a certificate, which others renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate and those above it, its own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// What certificates of clients are signed by, where clients may have some.
    pub client_authority: Option<PathBuf>,
    /// Whether a client without one is refused.
    pub client_required: bool,
}

/// A certificate and its key, as files that others renew.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    /// The protocols that are offered inside TLS (ALPN); none where clients name none.
    speaks: &'static [&'static str],
    held: Mutex<Held>,
}

type Changed = (SystemTime, SystemTime, Option<SystemTime>);

struct Held {
    config: Arc<ServerConfig>,
    /// What clients bind a proof to (`tls-server-end-point`, RFC 5929); none where the certificate has no such hash.
    binding: Option<Vec<u8>>,
    changed: Option<Changed>,
    looked: Instant,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("changed", &self.changed).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads a chain of certificates and its key, for a surface that speaks these protocols by ALPN.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(files: TlsFiles, speaks: &'static [&'static str]) -> Result<Self, TlsError> {
        let changed = changed(&files);
        let (config, binding) = read(&files, speaks)?;
        Ok(Self { files, speaks, held: Mutex::new(Held { config, binding, changed, looked: Instant::now() }) })
    }

    /// What accepts a connection under the certificate as it is now.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now().0)
    }

    /// What accepts a connection that speaks another protocol, under the certificate as it is now, and what its client
    /// binds a proof to.
    pub(crate) fn acceptor_for(&self, protocol: &[u8]) -> (TlsAcceptor, Option<Vec<u8>>) {
        let (config, binding) = self.now();
        let mut config = ServerConfig::clone(&config);
        config.alpn_protocols = vec![protocol.to_vec()];
        (TlsAcceptor::from(Arc::new(config)), binding)
    }

    fn now(&self) -> (Arc<ServerConfig>, Option<Vec<u8>>) {
        let mut held = self.held.lock();
        if held.looked.elapsed() >= LOOK_EVERY {
            held.looked = Instant::now();
            self.look(&mut held);
        }
        (Arc::clone(&held.config), held.binding.clone())
    }

    fn look(&self, held: &mut Held) {
        let now = changed(&self.files);
        if now == held.changed {
            return;
        }
        // Certificate and key are two files: between the writes of both they do not belong together.
        match read(&self.files, self.speaks) {
            Ok((config, binding)) => {
                (held.config, held.binding, held.changed) = (config, binding, now);
                tracing::info!(path = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => {
                tracing::warn!(%error, "the new certificate cannot be used yet; connections go on under the last one");
            }
        }
    }
}

fn changed(files: &TlsFiles) -> Option<Changed> {
    let of = |path: &Path| fs::metadata(path).and_then(|data| data.modified()).ok();
    Some((of(&files.certificate)?, of(&files.key)?, files.client_authority.as_deref().and_then(of)))
}

fn read(files: &TlsFiles, speaks: &[&str]) -> Result<(Arc<ServerConfig>, Option<Vec<u8>>), TlsError> {
    let TlsFiles { certificate, key, client_authority, client_required } = files;
    let chain = certificates(certificate)?;
    let binding = chain.first().and_then(|own| end_point(own));
    let private = PrivateKeyDer::from_pem_slice(&bytes(key)?)
        .map_err(|_| TlsError::Empty { path: key.clone(), what: "private key" })?;
    let unusable = |source| TlsError::Unusable { path: certificate.clone(), source };
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?;
    let builder = match client_authority {
        Some(authority) => builder.with_client_cert_verifier(verifier(authority, *client_required)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, private).map_err(unusable)?;
    config.alpn_protocols = speaks.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    Ok((Arc::new(config), binding))
}

/// The hash of a server's certificate that proofs are bound to: by the hash that it is signed with, and by SHA-256 where
/// that is weaker (RFC 5929, 4.1).
fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let bytes = certificate.as_ref();
    Some(match X509Certificate::from_der(bytes).ok()?.signature_algorithm()? {
        SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::EcdsaSha256 => {
            Sha256::digest(bytes).to_vec()
        }
        SignatureAlgorithm::RsaSha384 | SignatureAlgorithm::EcdsaSha384 => Sha384::digest(bytes).to_vec(),
        SignatureAlgorithm::RsaSha512 => Sha512::digest(bytes).to_vec(),
        _ => return None,
    })
}

/// What looks at certificates of clients.
fn verifier(authority: &Path, required: bool) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let failed = || TlsError::Authority { path: authority.to_owned() };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).map_err(|_| failed())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()));
    let builder = if required { builder } else { builder.allow_unauthenticated() };
    builder.build().map_err(|_| failed())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&bytes(path)?).filter_map(Result::ok).collect();
    if chain.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned(), what: "certificate" });
    }
    Ok(chain)
}

fn bytes(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
