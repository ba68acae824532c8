//! What can go wrong between here and a registry, and how it is said.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use oci_spec::image::Digest;
use reqwest::StatusCode;

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;

/// What was being attempted when an error happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Building the client, or checking a reference, before anything was sent.
    Prepare,
    /// Asking whether the host speaks the registry API at all.
    Ping,
    /// Getting a token, for the scopes named.
    Token(String),
    /// Getting a manifest by the tag or digest named.
    GetManifest(String),
    /// Asking for a manifest's descriptor.
    HeadManifest(String),
    /// Uploading a manifest.
    PutManifest(String),
    /// Deleting a manifest or a tag.
    DeleteManifest(String),
    /// Downloading a blob.
    GetBlob(Digest),
    /// Asking whether a blob exists.
    HeadBlob(Digest),
    /// Uploading a blob.
    PutBlob(Digest),
    /// Mounting a blob from another repository.
    MountBlob(Digest, String),
    /// Deleting a blob.
    DeleteBlob(Digest),
    /// Listing tags.
    ListTags,
    /// Listing what refers to a manifest.
    ListReferrers(Digest),
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prepare => f.write_str("preparing a request"),
            Self::Ping => f.write_str("asking for the registry API"),
            Self::Token(scope) if scope.is_empty() => f.write_str("logging in"),
            Self::Token(scope) => write!(f, "getting a token for {scope}"),
            Self::GetManifest(what) => write!(f, "getting manifest {what}"),
            Self::HeadManifest(what) => write!(f, "looking up manifest {what}"),
            Self::PutManifest(what) => write!(f, "uploading manifest {what}"),
            Self::DeleteManifest(what) => write!(f, "deleting manifest {what}"),
            Self::GetBlob(digest) => write!(f, "downloading blob {digest}"),
            Self::HeadBlob(digest) => write!(f, "looking up blob {digest}"),
            Self::PutBlob(digest) => write!(f, "uploading blob {digest}"),
            Self::MountBlob(digest, from) => write!(f, "mounting blob {digest} from {from}"),
            Self::DeleteBlob(digest) => write!(f, "deleting blob {digest}"),
            Self::ListTags => f.write_str("listing tags"),
            Self::ListReferrers(digest) => write!(f, "listing referrers of {digest}"),
        }
    }
}

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

/// One error in a registry's own words (the `errors` array of the distribution specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    /// A code such as `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The registry's message, control characters removed, at most 300 characters.
    pub message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.code.is_empty(), self.message.is_empty()) {
            (false, false) => write!(f, "{}: {}", self.code, self.message),
            (false, true) => f.write_str(&self.code),
            _ => f.write_str(&self.message),
        }
    }
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

/// Takes the registry's own words from an error body: the specification's JSON, or a token
/// service's `details`/`message`, or the first line of plain text.
pub(crate) fn server_errors(body: &[u8]) -> Vec<ServerError> {
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) {
        let text = |v: &serde_json::Value, key: &str| {
            v.get(key)
                .and_then(|s| s.as_str())
                .map(tidy)
                .unwrap_or_default()
        };
        if let Some(list) = value.get("errors").and_then(|e| e.as_array()) {
            return list
                .iter()
                .take(4)
                .map(|e| ServerError {
                    code: text(e, "code"),
                    message: text(e, "message"),
                })
                .filter(|e| !e.code.is_empty() || !e.message.is_empty())
                .collect();
        }
        let message = ["details", "message", "error_description", "error"]
            .iter()
            .map(|key| text(&value, key))
            .find(|m| !m.is_empty());
        return message
            .map(|message| {
                vec![ServerError {
                    code: String::new(),
                    message,
                }]
            })
            .unwrap_or_default();
    }
    let text = String::from_utf8_lossy(body);
    let line = text
        .lines()
        .map(str::trim)
        .find(|l| !l.is_empty())
        .unwrap_or_default();
    if line.is_empty() || line.starts_with('<') {
        return Vec::new();
    }
    vec![ServerError {
        code: String::new(),
        message: tidy(line),
    }]
}

fn tidy(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn server_words_are_found() {
        let spec = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#;
        assert_eq!(
            server_errors(spec)[0].to_string(),
            "MANIFEST_UNKNOWN: manifest unknown"
        );
        assert_eq!(
            server_errors(br#"{"details":"incorrect username or password"}"#)[0].message,
            "incorrect username or password"
        );
        assert_eq!(
            server_errors(b"bad \x1b[31mgateway\nmore")[0].message,
            "bad [31mgateway"
        );
        assert!(server_errors(b"<html>").is_empty());
        assert!(server_errors(b"").is_empty());
    }

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

    proptest! {
        #[test]
        fn any_body_is_survived(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            for error in server_errors(&body) {
                prop_assert!(error.to_string().chars().count() <= 602);
            }
        }
    }
}
