//! Logging in: which scheme a registry wants, and the tokens got for it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use reqwest::header::HeaderValue;

use crate::challenge::Challenge;
use crate::client::Client;
use crate::credentials::{CredentialProvider, Credentials};
use crate::endpoint::Target;
use crate::error::{Cause, Error};
use crate::operation::Operation;
use crate::token::{MOST_LIFETIME, basic, header};

/// What a token has to allow, as `repository:name:actions`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Scopes(BTreeSet<String>);

impl Scopes {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    pub(crate) fn pull(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:pull")]))
    }

    pub(crate) fn push(repository: &str) -> Self {
        Self(BTreeSet::from([format!(
            "repository:{repository}:pull,push"
        )]))
    }

    pub(crate) fn delete(repository: &str) -> Self {
        Self(BTreeSet::from([format!("repository:{repository}:delete")]))
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Takes what a challenge asks for, as far as it concerns the repository in question.
    fn widen(&mut self, asked: &str, repository: &str) {
        let own = format!("repository:{repository}:");
        for scope in asked
            .split(' ')
            .take(8)
            .filter(|s| !repository.is_empty() && s.starts_with(&own))
        {
            self.0.insert(scope.to_owned());
        }
    }

    /// One after the other.
    pub(crate) fn each(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        self.0
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

pub(crate) struct Token {
    pub(crate) value: HeaderValue,
    pub(crate) anonymous: bool,
    pub(crate) expires: Instant,
}

type Cell = Arc<tokio::sync::Mutex<Option<Token>>>;

/// What is sent with a request.
pub(crate) struct Login {
    pub(crate) header: Option<HeaderValue>,
    pub(crate) anonymous: bool,
}

pub(crate) struct Auth {
    provider: Arc<dyn CredentialProvider>,
    /// By host.
    challenges: Mutex<HashMap<String, Challenge>>,
    /// By host and scopes. A cell is locked while its token is being got, so that many layers of one
    /// image ask once.
    tokens: Mutex<HashMap<(String, Scopes), Cell>>,
}

impl Auth {
    pub(crate) fn new(provider: Arc<dyn CredentialProvider>) -> Self {
        Self {
            provider,
            challenges: Mutex::default(),
            tokens: Mutex::default(),
        }
    }

    fn challenge(&self, host: &str) -> Option<Challenge> {
        self.challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(host)
            .cloned()
    }

    fn cell(&self, host: &str, scopes: &Scopes) -> Cell {
        const MANY: usize = 512;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        if tokens.len() >= MANY {
            tokens.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        Arc::clone(tokens.entry((host.to_owned(), scopes.clone())).or_default())
    }

    /// A 401 came with a challenge: remembers it, forgets the login that was refused, and says whether
    /// another attempt may fare better.
    pub(crate) async fn challenged(
        &self,
        target: &Target,
        scopes: &mut Scopes,
        challenge: Challenge,
        used: &Login,
    ) -> bool {
        let known = self.challenge(&target.host);
        if let Some(header) = &used.header {
            let cell = self.cell(&target.host, &key(known.as_ref(), scopes));
            let mut token = cell.lock().await;
            if token.as_ref().is_some_and(|t| t.value == *header) {
                *token = None;
            }
        }
        // A password that was refused once will be refused again.
        let stuck = challenge == Challenge::Basic && known.as_ref() == Some(&Challenge::Basic);
        if let Challenge::Bearer {
            scope: Some(asked), ..
        } = &challenge
        {
            scopes.widen(asked, &target.repository);
        }
        let mut challenges = self
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.insert(target.host.clone(), challenge);
        !stuck
    }
}

/// A password serves all scopes.
fn key(challenge: Option<&Challenge>, scopes: &Scopes) -> Scopes {
    match challenge {
        Some(Challenge::Basic) => Scopes::none(),
        _ => scopes.clone(),
    }
}

impl Client {
    /// The login for a request: none as long as the registry has not asked for one.
    pub(crate) async fn login(&self, target: &Target, scopes: &Scopes) -> Result<Login, Error> {
        let auth = &self.inner.auth;
        let Some(challenge) = auth.challenge(&target.host) else {
            return Ok(Login {
                header: None,
                anonymous: true,
            });
        };
        let cell = auth.cell(&target.host, &key(Some(&challenge), scopes));
        let mut token = cell.lock().await;
        if let Some(token) = token.as_ref().filter(|t| t.expires > Instant::now()) {
            return Ok(Login {
                header: Some(token.value.clone()),
                anonymous: token.anonymous,
            });
        }
        let operation = Operation::Token(scopes.text());
        let fail = |cause| target.error(cause, &operation);
        let credentials = auth
            .provider
            .credentials(&target.place.registry)
            .await
            .map_err(|e| fail(Cause::Credentials(e)))?;
        let anonymous = credentials.is_anonymous();
        let new = match (&challenge, credentials) {
            (_, Credentials::RegistryToken(text)) => Some(Token {
                value: header(&format!("Bearer {text}")).map_err(fail)?,
                anonymous,
                expires: Instant::now() + MOST_LIFETIME,
            }),
            (Challenge::Basic, Credentials::Basic { username, password }) => Some(Token {
                value: basic(&username, &password).map_err(fail)?,
                anonymous,
                expires: Instant::now() + MOST_LIFETIME,
            }),
            (Challenge::Basic, _) => None,
            (Challenge::Bearer { realm, service, .. }, credentials) => {
                let service = service.as_deref();
                Some(
                    self.get_token(target, &operation, realm, service, scopes, credentials)
                        .await?,
                )
            }
        };
        *token = new;
        Ok(Login {
            header: token.as_ref().map(|t| t.value.clone()),
            anonymous,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_cannot_widen_to_another_repository() {
        let mut scopes = Scopes::pull("a/b");
        scopes.widen(
            "repository:a/b:delete repository:a/private:pull registry:catalog:*",
            "a/b",
        );
        assert_eq!(scopes.text(), "repository:a/b:delete repository:a/b:pull");
    }
}
