//! TLS: certificate files in, what rustls needs out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde::Deserialize;

/// `tls = { certificate, key, client_ca }`: files of a server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Our certificate and those between it and its root, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Roots of the certificates that routers must show, PEM. Without it a router shows none.
    pub client_ca: Option<PathBuf>,
}

/// Why there is no TLS. One variant per remedy.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that is none, or holds no PEM of its kind.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: pem::Error,
    },
    /// Certificate and key do not fit, or a root is none.
    #[error("{path}: {error}", path = path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        error: rustls::Error,
    },
    /// Roots that nothing can be verified with.
    #[error("{path}: {error}", path = path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What rustls says.
        error: VerifierBuilderError,
    },
    /// The system knows no roots.
    #[error("no root certificate on this system{}; install ca-certificates or set ca", because(.0))]
    NoRoots(Option<rustls_native_certs::Error>),
}

fn because(error: &Option<rustls_native_certs::Error>) -> String {
    error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default()
}

impl TlsFiles {
    /// What a listener needs.
    ///
    /// # Errors
    /// [`TlsError`] with the file.
    pub fn server(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Refused { path: self.certificate.clone(), error })?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots_of(path)?);
                let provider = Arc::new(ring::default_provider());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .build()
                    .map_err(|error| TlsError::ClientCa { path: path.clone(), error })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::File { path: self.key.clone(), error })?;
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Refused { path: self.certificate.clone(), error })?;
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
impl TlsFiles {
    /// The same files as the identity of a client.
    pub(super) fn client_identity(&self) -> Arc<dyn rustls::client::ResolvesClientCert> {
        let key = PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let key = ring::default_provider().key_provider.load_private_key(key).unwrap();
        let chain = certificates(&self.certificate).unwrap();
        let certified = rustls::sign::CertifiedKey::new(chain, key);
        Arc::new(rustls::sign::SingleCertAndKey::from(certified))
    }
}

/// What a client needs: the roots of a file, else those of the system.
///
/// # Errors
/// [`TlsError`] with the file, or if there are no roots.
pub fn client(ca: Option<&Path>) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match ca {
        Some(path) => roots_of(path)?,
        None => {
            let found = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(TlsError::NoRoots(found.errors.into_iter().next()));
            }
            roots
        }
    };
    client_of(roots)
}

/// What a client needs that never speaks TLS: no server is trusted.
///
/// # Errors
/// None in practice; what rustls says.
pub(super) fn client_of_nobody() -> Result<Arc<ClientConfig>, TlsError> {
    client_of(RootCertStore::empty())
}

fn client_of(roots: RootCertStore) -> Result<Arc<ClientConfig>, TlsError> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Refused { path: PathBuf::new(), error })?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Refused { path: path.to_owned(), error })?;
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |error| TlsError::File { path: path.to_owned(), error };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(wrong)?;
    if found.is_empty() {
        return Err(wrong(pem::Error::NoItemsFound));
    }
    Ok(found)
}

/// What the system says of a handshake that failed, or that it took too long.
pub(super) fn too_slow() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake took too long")
}
