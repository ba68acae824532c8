//! What can go wrong between here and a registry, and how it is said.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use reqwest::StatusCode;

use crate::operation::Operation;
use crate::words::ServerError;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What sort of failure an [`Error`] is, for a caller that decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry has no such manifest, blob or repository.
    NotFound,
    /// Credentials are missing or were not accepted.
    Unauthorized,
    /// The credentials are good, but do not allow this.
    Denied,
    /// Too many requests, still, after waiting and retrying.
    RateLimited,
    /// The bytes are not those of the digest asked for.
    Digest,
    /// More or fewer bytes than the descriptor says.
    Size,
    /// Nothing came within the time allowed.
    Timeout,
    /// No connection could be made, or it broke and retries did not help.
    Connection,
    /// The TLS handshake failed: usually an unknown or wrong certificate.
    Tls,
    /// The registry failed (HTTP 5xx), still, after retries.
    Server,
    /// The answer breaks the protocol, or would make this client do something unsafe.
    Protocol,
    /// The registry does not offer this operation, or the content is of a kind not supported.
    Unsupported,
    /// The registry refused what was sent (HTTP 4xx).
    Rejected,
    /// A reference, descriptor or option given by the caller cannot be used.
    Invalid,
    /// The caller's credentials provider failed.
    Credentials,
    /// The caller's data to be uploaded could not be read.
    Source,
}

/// A failed operation: where, what and why. [`kind`](Error::kind) sorts it.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    registry: String,
    repository: Option<String>,
    operation: Operation,
    cause: Cause,
}

/// Why. `Display` is the second half of an [`Error`]'s message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    #[error("{}", status_text(*.status, .errors, .host, *.retry_after, *.anonymous))]
    Status {
        status: StatusCode,
        errors: Vec<ServerError>,
        /// The host that answered, if a redirect led away from the registry.
        host: Option<String>,
        retry_after: Option<Duration>,
        /// No credentials were given for this registry.
        anonymous: bool,
    },
    #[error("digest mismatch: the bytes received have {actual}, not {expected}")]
    Digest { expected: String, actual: String },
    #[error("size mismatch: expected {expected} bytes, {got}")]
    Size { expected: u64, got: String },
    #[error("{what} took longer than {after:?}")]
    Timeout { what: &'static str, after: Duration },
    #[error("{what}")]
    Connection {
        what: String,
        #[source]
        source: BoxError,
    },
    #[error("the TLS handshake failed")]
    Tls {
        #[source]
        source: BoxError,
    },
    #[error("{0}")]
    Protocol(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Invalid(String),
    #[error("{what}")]
    InvalidSource {
        what: &'static str,
        #[source]
        source: BoxError,
    },
    #[error("the credentials provider failed")]
    Credentials(#[source] BoxError),
    #[error("reading the data to upload at offset {offset}")]
    Source {
        offset: u64,
        #[source]
        source: std::io::Error,
    },
}

fn status_text(
    status: StatusCode,
    errors: &[ServerError],
    host: &Option<String>,
    retry_after: Option<Duration>,
    anonymous: bool,
) -> String {
    let mut text = match host {
        Some(host) => format!("{host} answered {status}"),
        None => format!("the registry answered {status}"),
    };
    for (n, error) in errors.iter().enumerate() {
        text.push_str(if n == 0 { " (" } else { "; " });
        text.push_str(&error.to_string());
    }
    if !errors.is_empty() {
        text.push(')');
    }
    if status == StatusCode::UNAUTHORIZED {
        text.push_str(if anonymous {
            "; the repository may not exist or may need a login, and no credentials were given for this registry"
        } else {
            "; the credentials given for this registry were not accepted"
        });
    }
    if let Some(after) = retry_after {
        text.push_str(&format!("; it asks to wait {} s", after.as_secs()));
    }
    text
}

impl Cause {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Status { status, errors, .. } => status_kind(*status, errors),
            Self::Digest { .. } => ErrorKind::Digest,
            Self::Size { .. } => ErrorKind::Size,
            Self::Timeout { .. } => ErrorKind::Timeout,
            Self::Connection { .. } => ErrorKind::Connection,
            Self::Tls { .. } => ErrorKind::Tls,
            Self::Protocol(_) => ErrorKind::Protocol,
            Self::Unsupported(_) => ErrorKind::Unsupported,
            Self::Invalid(_) | Self::InvalidSource { .. } => ErrorKind::Invalid,
            Self::Credentials(_) => ErrorKind::Credentials,
            Self::Source { .. } => ErrorKind::Source,
        }
    }

    /// Whether trying the same again may help.
    pub(crate) fn transient(&self) -> bool {
        match self {
            Self::Status { status, .. } => {
                *status == StatusCode::TOO_MANY_REQUESTS
                    || *status == StatusCode::REQUEST_TIMEOUT
                    || (status.is_server_error()
                        && *status != StatusCode::NOT_IMPLEMENTED
                        && *status != StatusCode::HTTP_VERSION_NOT_SUPPORTED)
            }
            Self::Timeout { .. } | Self::Connection { .. } => true,
            _ => false,
        }
    }

    pub(crate) fn at(self, place: &Place, operation: &Operation) -> Error {
        Error(Box::new(Inner {
            registry: place.registry.clone(),
            repository: place.repository.clone(),
            operation: operation.clone(),
            cause: self,
        }))
    }
}

fn status_kind(status: StatusCode, errors: &[ServerError]) -> ErrorKind {
    let said = |code: &str| errors.iter().any(|e| e.code == code);
    match status {
        StatusCode::UNAUTHORIZED => ErrorKind::Unauthorized,
        StatusCode::FORBIDDEN => ErrorKind::Denied,
        StatusCode::NOT_FOUND | StatusCode::GONE => ErrorKind::NotFound,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => ErrorKind::Unsupported,
        _ if status.is_server_error() => ErrorKind::Server,
        _ if said("DIGEST_INVALID") => ErrorKind::Digest,
        _ if said("UNSUPPORTED") => ErrorKind::Unsupported,
        _ if said("DENIED") => ErrorKind::Denied,
        _ if status.is_client_error() => ErrorKind::Rejected,
        _ => ErrorKind::Protocol,
    }
}

/// Which registry and repository a request is for, as the caller named them.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) registry: String,
    pub(crate) repository: Option<String>,
}

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.cause.kind()
    }

    /// The registry, as the caller named it.
    pub fn registry(&self) -> &str {
        &self.0.registry
    }

    /// The repository, where one was involved.
    pub fn repository(&self) -> Option<&str> {
        self.0.repository.as_deref()
    }

    /// What was attempted.
    pub fn operation(&self) -> &Operation {
        &self.0.operation
    }

    /// The HTTP status of the final answer, if it was an answer that failed.
    pub fn status(&self) -> Option<u16> {
        match &self.0.cause {
            Cause::Status { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// The registry's own words, if it had any.
    pub fn server_errors(&self) -> &[ServerError] {
        match &self.0.cause {
            Cause::Status { errors, .. } => errors,
            _ => &[],
        }
    }

    /// How long the registry asks to wait before another attempt.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0.cause {
            Cause::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    pub(crate) fn cause(&self) -> &Cause {
        &self.0.cause
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        write!(f, "{}", inner.operation)?;
        if let Some(repository) = &inner.repository {
            write!(f, " of {repository}")?;
        }
        if !inner.registry.is_empty() {
            write!(f, " at {}", inner.registry)?;
        }
        write!(f, ": {}", inner.cause)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.source()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::server_errors;

    #[test]
    fn message_names_place_and_cause() {
        let place = Place {
            registry: "r.test".into(),
            repository: Some("a/b".into()),
        };
        let error = Cause::Status {
            status: StatusCode::NOT_FOUND,
            errors: server_errors(br#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
            host: None,
            retry_after: None,
            anonymous: true,
        }
        .at(&place, &Operation::GetManifest("latest".into()));
        assert_eq!(
            error.to_string(),
            "getting manifest latest of a/b at r.test: the registry answered 404 Not Found (MANIFEST_UNKNOWN)"
        );
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
