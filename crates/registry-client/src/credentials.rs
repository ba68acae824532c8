//! Credentials come from a provider the caller passes; this crate reads no file and no environment.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::BoxError;

/// What a caller knows about itself at one registry. `Debug` shows no secret.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// Nothing: public content only.
    #[default]
    Anonymous,
    /// A user name and a password (or an access token used as one).
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// A refresh token, which the registry's token service exchanges for access tokens (Docker calls it
    /// an identity token).
    IdentityToken(String),
    /// A bearer token to be sent as it is.
    RegistryToken(String),
}

impl Credentials {
    /// A user name and a password.
    pub fn basic(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self::Basic {
            username: username.into(),
            password: password.into(),
        }
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self, Self::Anonymous)
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("Anonymous"),
            Self::Basic { username, .. } => f
                .debug_struct("Basic")
                .field("username", username)
                .finish_non_exhaustive(),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
            Self::RegistryToken(_) => f.write_str("RegistryToken(…)"),
        }
    }
}

/// The future a [`CredentialProvider`] returns.
pub type CredentialFuture<'a> = Pin<
    Box<
        dyn Future<Output = Result<Credentials, Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + 'a,
    >,
>;

/// Where credentials come from: a configuration file, a helper program, a prompt, a map.
///
/// Asked at most once for each login to a registry, with the registry's name as it stands in the
/// reference (`docker.io`, `localhost:5000`), and never for another host that registry redirects to.
pub trait CredentialProvider: Send + Sync + 'static {
    /// The credentials for `registry`; [`Credentials::Anonymous`] if there are none.
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a>;
}

impl CredentialProvider for HashMap<String, Credentials> {
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a> {
        let found = self.get(registry).cloned().unwrap_or_default();
        Box::pin(std::future::ready(Ok(found)))
    }
}

impl<P: CredentialProvider + ?Sized> CredentialProvider for Arc<P> {
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a> {
        (**self).credentials(registry)
    }
}

/// A closure as a provider; it should not block for long.
impl<F> CredentialProvider for F
where
    F: Fn(&str) -> Result<Credentials, BoxError> + Send + Sync + 'static,
{
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a> {
        Box::pin(std::future::ready(self(registry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for credentials in [
            Credentials::basic("me", "s3cret"),
            Credentials::IdentityToken("s3cret".into()),
            Credentials::RegistryToken("s3cret".into()),
        ] {
            assert!(!format!("{credentials:?}").contains("s3cret"));
        }
    }
}
