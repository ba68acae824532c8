//! The TLS configuration: ring, the public roots, and what the caller adds.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::error::Cause;

/// What the builder collected.
#[derive(Default)]
pub(crate) struct TlsOptions {
    /// PEM bundles of further certification authorities.
    pub(crate) roots: Vec<Vec<u8>>,
    /// Trust nothing but `roots`.
    pub(crate) only_given_roots: bool,
    /// A client certificate chain and its key, both PEM.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

fn bad(what: &'static str) -> impl Fn(Box<dyn std::error::Error + Send + Sync>) -> Cause {
    move |source| Cause::InvalidSource { what, source }
}

pub(crate) fn configuration(options: &TlsOptions) -> Result<ClientConfig, Cause> {
    let mut roots = RootCertStore::empty();
    if !options.only_given_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in &options.roots {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate =
                certificate.map_err(|e| bad("reading a root certificate")(e.into()))?;
            // System bundles hold certificates webpki cannot use; one of them must not spoil the rest.
            let _ = roots.add(certificate);
        }
        if roots.len() == before {
            return Err(Cause::Invalid(
                "no usable root certificate in the PEM given".into(),
            ));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| bad("setting up TLS")(e.into()))?
        .with_root_certificates(roots);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => {
            let chain = CertificateDer::pem_slice_iter(chain)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| bad("reading the client certificate")(e.into()))?;
            let key = PrivateKeyDer::from_pem_slice(key)
                .map_err(|e| bad("reading the client certificate's key")(e.into()))?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|e| bad("using the client certificate")(e.into()))?
        }
    };
    // One connection a layer is faster than one connection's flow-control window for all of them.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The TLS error somewhere in a chain of causes, if that is what it was.
pub(crate) fn find_error<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        // io::Error::source skips the error it wraps.
        if let Some(inner) = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
        {
            let inner: &(dyn std::error::Error + 'static) = inner;
            if let Some(tls) = find_error(inner) {
                return Some(tls);
            }
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_without_a_certificate_is_refused() {
        let options = TlsOptions {
            roots: vec![b"hello".to_vec()],
            ..Default::default()
        };
        assert!(matches!(configuration(&options), Err(Cause::Invalid(_))));
    }

    #[test]
    fn default_roots_work_without_a_process_wide_provider() {
        assert!(configuration(&TlsOptions::default()).is_ok());
    }
}
