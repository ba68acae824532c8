//! Names and passwords for registries, where `docker login` keeps them: config files and credential helpers.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use orlop_engine::{CredentialFuture, CredentialProvider, Credentials};
use serde::Deserialize;

/// Docker Hub's key in config files, older than its present name.
const HUB: &str = "https://index.docker.io/v1/";

/// `config.json` of Docker, as far as it concerns credentials; podman's `auth.json` has the same form.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: HashMap<String, Auth>,
    creds_store: Option<String>,
    cred_helpers: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Credentials of the user who runs this.
#[derive(Debug, Default)]
pub(crate) struct UserCredentials {
    files: Vec<PathBuf>,
}

impl UserCredentials {
    /// The files Docker and podman would read, in this order.
    pub(crate) fn from_environment() -> UserCredentials {
        let var = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let docker = var("DOCKER_CONFIG").or_else(|| var("HOME").map(|home| home.join(".docker")));
        let podman = var("REGISTRY_AUTH_FILE")
            .or_else(|| var("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")));
        UserCredentials {
            files: docker
                .map(|dir| dir.join("config.json"))
                .into_iter()
                .chain(podman)
                .collect(),
        }
    }

    fn find(&self, registry: &str) -> Result<Credentials, String> {
        for path in &self.files {
            let bytes = match std::fs::read(path) {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(format!("reading {}: {error}", path.display())),
            };
            let config: Config = serde_json::from_slice(&bytes)
                .map_err(|error| format!("parsing {}: {error}", path.display()))?;
            let found = config
                .credentials(registry)
                .map_err(|e| format!("in {}: {e}", path.display()))?;
            if found != Credentials::Anonymous {
                return Ok(found);
            }
        }
        Ok(Credentials::Anonymous)
    }
}

impl CredentialProvider for UserCredentials {
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a> {
        // A helper may ask a keychain that takes its time; nothing else is to be done meanwhile.
        Box::pin(std::future::ready(self.find(registry).map_err(Into::into)))
    }
}

impl Config {
    fn credentials(&self, registry: &str) -> Result<Credentials, String> {
        let helper = self
            .cred_helpers
            .iter()
            .find(|(key, _)| host_of(key) == host_of(registry))
            .map(|(_, helper)| helper)
            .or(self.creds_store.as_ref().filter(|name| !name.is_empty()));
        if let Some(helper) = helper {
            let found = ask_helper(helper, key_of(registry))?;
            if found != Credentials::Anonymous {
                return Ok(found);
            }
        }
        let auth = self
            .auths
            .iter()
            .find(|(key, _)| host_of(key) == host_of(registry));
        auth.map_or(Ok(Credentials::Anonymous), |(key, auth)| {
            auth.credentials().map_err(|e| format!("{key}: {e}"))
        })
    }
}

impl Auth {
    fn credentials(&self) -> Result<Credentials, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Credentials::IdentityToken(token));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Credentials::RegistryToken(token));
        }
        if let Some(auth) = given(&self.auth) {
            let bytes = STANDARD
                .decode(auth.trim())
                .map_err(|_| "auth is not base64")?;
            let text = String::from_utf8(bytes).map_err(|_| "auth is not UTF-8")?;
            let (user, password) = text.split_once(':').ok_or("auth is not USER:PASSWORD")?;
            // Docker ended it with NULs once.
            return Ok(Credentials::basic(user, password.trim_end_matches('\0')));
        }
        match (given(&self.username), given(&self.password)) {
            (Some(user), Some(password)) => Ok(Credentials::basic(user, password)),
            _ => Ok(Credentials::Anonymous),
        }
    }
}

/// The host of a key: these are hosts, URLs, and URLs with a path of the old API.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or(rest) {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        host => host,
    }
}

/// What helpers know a registry by.
fn key_of(registry: &str) -> &str {
    if host_of(registry) == "docker.io" {
        HUB
    } else {
        registry
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

fn ask_helper(name: &str, server: &str) -> Result<Credentials, String> {
    if name.contains('/') {
        return Err(format!("credential helper {name:?} is not a plain name"));
    }
    let program = format!("docker-credential-{name}");
    run_helper(Path::new(&program), server)
}

fn run_helper(program: &Path, server: &str) -> Result<Credentials, String> {
    let failed =
        |error: std::io::Error| format!("credential helper {}: {error}", program.display());
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that answers without reading has closed its end; what it says counts.
        let _ = input.write_all(server.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("credentials not found") {
            return Ok(Credentials::Anonymous);
        }
        return Err(format!(
            "credential helper {} failed: {}",
            program.display(),
            said.trim()
        ));
    }
    let answer: Answer = serde_json::from_slice(&output.stdout).map_err(|_| {
        format!(
            "credential helper {} gave no credentials in JSON",
            program.display()
        )
    })?;
    match answer.username.as_str() {
        "<token>" => Ok(Credentials::IdentityToken(answer.secret)),
        _ => Ok(Credentials::basic(answer.username, answer.secret)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn from(json: &str, registry: &str) -> Result<Credentials, String> {
        serde_json::from_str::<Config>(json)
            .unwrap()
            .credentials(registry)
    }

    #[test]
    fn all_forms_of_a_config() {
        let json = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6c2VjcmV0OnRvbw=="},
            "localhost:5000": {"username": "u", "password": "p"},
            "https://ghcr.io": {"auth": "eDp5", "identitytoken": "refresh"},
            "r.example": {"registrytoken": "bearer"},
            "bad.example": {"auth": "%%%"},
            "bare.example": {"auth": "bWU="},
            "empty.example": {}
        }, "credHelpers": {}, "HttpHeaders": {"X": "y"}}"#;
        let cases = [
            ("docker.io", Ok(Credentials::basic("me", "secret:too"))),
            ("localhost:5000", Ok(Credentials::basic("u", "p"))),
            ("localhost", Ok(Credentials::Anonymous)),
            ("ghcr.io", Ok(Credentials::IdentityToken("refresh".into()))),
            ("r.example", Ok(Credentials::RegistryToken("bearer".into()))),
            ("empty.example", Ok(Credentials::Anonymous)),
            ("unknown.example", Ok(Credentials::Anonymous)),
            (
                "bad.example",
                Err("bad.example: auth is not base64".to_owned()),
            ),
            (
                "bare.example",
                Err("bare.example: auth is not USER:PASSWORD".to_owned()),
            ),
        ];
        for (registry, expected) in cases {
            assert_eq!(from(json, registry), expected, "{registry}");
        }
    }

    #[test]
    fn helpers_are_asked_and_their_silence_is_anonymous() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let helper = |name: &str, script: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let echo = helper(
            "echo",
            "read server || true; echo \"{\\\"Username\\\":\\\"$1\\\",\\\"Secret\\\":\\\"$server\\\"}\"",
        );
        assert_eq!(
            run_helper(&echo, "r.example"),
            Ok(Credentials::basic("get", "r.example"))
        );
        let token = helper(
            "token",
            "echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'",
        );
        assert_eq!(
            run_helper(&token, "r"),
            Ok(Credentials::IdentityToken("t".into()))
        );
        let none = helper(
            "none",
            "echo 'credentials not found in native keychain'; exit 1",
        );
        assert_eq!(run_helper(&none, "r"), Ok(Credentials::Anonymous));
        let broken = helper("broken", "echo locked; exit 1");
        assert!(
            run_helper(&broken, "r")
                .unwrap_err()
                .ends_with("failed: locked")
        );
        let noise = helper("noise", "echo hello");
        assert!(
            run_helper(&noise, "r")
                .unwrap_err()
                .contains("no credentials in JSON")
        );
        assert!(run_helper(&dir.path().join("absent"), "r").is_err());
        assert!(ask_helper("../x", "r").is_err());
    }

    #[test]
    fn docker_hub_has_many_names() {
        for name in [
            "docker.io",
            "index.docker.io",
            HUB,
            "https://registry-1.docker.io",
        ] {
            assert_eq!((host_of(name), key_of(name)), ("docker.io", HUB));
        }
        assert_eq!(key_of("r.example:5000"), "r.example:5000");
    }

    proptest! {
        #[test]
        fn no_auth_panics(auth in "\\PC{0,40}", registry in "\\PC{0,20}") {
            let entry = Auth { auth: Some(auth), ..Auth::default() };
            let _ = entry.credentials();
            let _ = key_of(&registry);
        }
    }
}
