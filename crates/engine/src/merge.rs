//! What runs: the image's configuration under the caller's request, by Docker's rules.

use std::collections::BTreeMap;

use oci_spec::image::Config;

use crate::error::Error;
use crate::request::RunRequest;

/// Docker's PATH for an image that sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container runs with, decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Command, or the entry point's arguments.
    pub command: Vec<String>,
    /// `KEY=VALUE`, Docker's own variables first.
    pub env: Vec<String>,
    /// Absolute working directory.
    pub working_dir: String,
    /// `user[:group]`; empty is root.
    pub user: String,
    /// Paths the image declares as volumes, sorted.
    pub volumes: Vec<String>,
    /// Labels of both.
    pub labels: BTreeMap<String, String>,
    /// Name or number of the signal that asks it to stop.
    pub stop_signal: String,
}

impl Settings {
    /// Entry point and command as one argument vector; never empty after [`merge`].
    pub fn argv(&self) -> Vec<String> {
        self.entrypoint
            .iter()
            .chain(&self.command)
            .cloned()
            .collect()
    }
}

/// Lays `request` over the image's `config`.
///
/// # Errors
/// When there is nothing to run, the working directory is relative or something holds a NUL byte.
pub fn merge(
    config: Option<&Config>,
    request: &RunRequest,
    hostname: &str,
) -> Result<Settings, Error> {
    let empty = Config::default();
    let config = config.unwrap_or(&empty);
    let (entrypoint, command) = command_line(config, request);
    if entrypoint.is_empty() && command.is_empty() {
        return Err(Error::NoCommand {
            image: request.image.clone(),
        });
    }
    let working_dir = [
        request.working_dir.as_deref(),
        config.working_dir().as_deref(),
    ]
    .into_iter()
    .flatten()
    .find(|dir| !dir.is_empty())
    .unwrap_or("/");
    if !working_dir.starts_with('/') {
        return Err(Error::invalid(
            "working directory",
            working_dir,
            "it must be an absolute path",
        ));
    }
    let user = request
        .user
        .as_deref()
        .or(config.user().as_deref())
        .unwrap_or("");
    let mut volumes: Vec<String> = config.volumes().clone().unwrap_or_default();
    volumes.sort();
    volumes.dedup();
    let mut labels: BTreeMap<String, String> = config
        .labels()
        .clone()
        .unwrap_or_default()
        .into_iter()
        .collect();
    labels.extend(request.labels.clone());
    let stop_signal = request
        .stop_signal
        .as_deref()
        .or(config.stop_signal().as_deref())
        .unwrap_or("SIGTERM");
    let settings = Settings {
        entrypoint,
        command,
        env: environment(config, request, hostname),
        working_dir: working_dir.to_owned(),
        user: user.to_owned(),
        volumes,
        labels,
        stop_signal: stop_signal.to_owned(),
    };
    refuse_nul(&settings)?;
    Ok(settings)
}

fn command_line(config: &Config, request: &RunRequest) -> (Vec<String>, Vec<String>) {
    let image_command = || config.cmd().clone().unwrap_or_default();
    match &request.entrypoint {
        // An entry point of the caller's never gets the image's command as its arguments.
        Some(own) if own.len() == 1 && own.iter().all(String::is_empty) => {
            (Vec::new(), request.command.clone())
        }
        Some(own) if !own.is_empty() => (own.clone(), request.command.clone()),
        other => {
            let command = if request.command.is_empty() {
                image_command()
            } else {
                request.command.clone()
            };
            let entrypoint = match other {
                None => config.entrypoint().clone().unwrap_or_default(),
                Some(_) => Vec::new(),
            };
            (entrypoint, command)
        }
    }
}

fn environment(config: &Config, request: &RunRequest, hostname: &str) -> Vec<String> {
    let mut env = vec![
        format!("PATH={DEFAULT_PATH}"),
        format!("HOSTNAME={hostname}"),
    ];
    if request.terminal {
        env.push("TERM=xterm".to_owned());
    }
    for entry in config.env().iter().flatten().chain(&request.env) {
        let key = entry.split_once('=').map_or(entry.as_str(), |(key, _)| key);
        let at = env
            .iter()
            .position(|old| old.split_once('=').is_some_and(|(old, _)| old == key));
        match (entry.contains('='), at) {
            (true, Some(at)) => env[at] = entry.clone(),
            (true, None) => env.push(entry.clone()),
            (false, Some(at)) => {
                env.remove(at);
            }
            (false, None) => {}
        }
    }
    env
}

fn refuse_nul(settings: &Settings) -> Result<(), Error> {
    let all = settings
        .entrypoint
        .iter()
        .chain(&settings.command)
        .chain(&settings.env)
        .chain([&settings.working_dir, &settings.user]);
    for text in all {
        if text.contains('\0') {
            return Err(Error::invalid(
                "argument",
                text.escape_debug().to_string(),
                "it contains a NUL byte",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oci_spec::image::ConfigBuilder;
    use proptest::prelude::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn entry_point_and_command_merge_as_docker_merges_them() {
        // (image entrypoint, image cmd, --entrypoint, command) -> argv
        type Case = (
            &'static [&'static str],
            &'static [&'static str],
            Option<&'static [&'static str]>,
            &'static [&'static str],
            Option<&'static [&'static str]>,
        );
        let cases: &[Case] = &[
            (&[], &["sh"], None, &[], Some(&["sh"])),
            (&[], &["sh"], None, &["ls"], Some(&["ls"])),
            (&["ep"], &["cmd"], None, &[], Some(&["ep", "cmd"])),
            (&["ep"], &["cmd"], None, &["arg"], Some(&["ep", "arg"])),
            (&["ep"], &["cmd"], Some(&["own"]), &[], Some(&["own"])),
            (
                &["ep"],
                &["cmd"],
                Some(&["own"]),
                &["arg"],
                Some(&["own", "arg"]),
            ),
            (&["ep"], &["cmd"], Some(&[""]), &[], None),
            (&["ep"], &["cmd"], Some(&[""]), &["ls"], Some(&["ls"])),
            (&["ep"], &["cmd"], Some(&[]), &[], Some(&["cmd"])),
            (&[], &[], None, &[], None),
        ];
        for (entrypoint, cmd, own, command, expected) in cases {
            let config = ConfigBuilder::default()
                .entrypoint(strings(entrypoint))
                .cmd(strings(cmd))
                .build()
                .unwrap();
            let mut request = RunRequest::new("x");
            request.entrypoint = own.map(strings);
            request.command = strings(command);
            match (merge(Some(&config), &request, "h"), expected) {
                (Ok(got), Some(expected)) => assert_eq!(got.argv(), strings(expected)),
                (Err(Error::NoCommand { image }), None) => assert_eq!(image, "x"),
                (got, expected) => panic!("{got:?} for {expected:?}"),
            }
        }
    }

    #[test]
    fn the_callers_environment_wins_and_a_bare_key_removes() {
        let config = ConfigBuilder::default()
            .env(strings(&["A=1", "B=2", "PATH=/x"]))
            .build()
            .unwrap();
        let mut request = RunRequest::new("x");
        request.command = strings(&["sh"]);
        request.env = strings(&["B=3", "C=", "A", "GONE"]);
        request.terminal = true;
        let got = merge(Some(&config), &request, "box").unwrap();
        assert_eq!(
            got.env,
            strings(&["PATH=/x", "HOSTNAME=box", "TERM=xterm", "B=3", "C="])
        );
    }

    #[test]
    fn the_rest_falls_back_to_the_image_and_then_to_docker() {
        let config = ConfigBuilder::default()
            .cmd(strings(&["sh"]))
            .user("app")
            .working_dir("/srv")
            .volumes(strings(&["/b", "/a", "/b"]))
            .stop_signal("SIGQUIT")
            .build()
            .unwrap();
        let got = merge(Some(&config), &RunRequest::new("x"), "h").unwrap();
        assert_eq!(
            (got.user.as_str(), got.working_dir.as_str()),
            ("app", "/srv")
        );
        assert_eq!(
            (got.volumes, got.stop_signal.as_str()),
            (strings(&["/a", "/b"]), "SIGQUIT")
        );
        let mut request = RunRequest::new("x");
        request.command = strings(&["sh"]);
        let got = merge(None, &request, "h").unwrap();
        assert_eq!(
            (
                got.user.as_str(),
                got.working_dir.as_str(),
                got.stop_signal.as_str()
            ),
            ("", "/", "SIGTERM")
        );
    }

    #[test]
    fn a_relative_working_directory_and_a_nul_are_refused() {
        let mut request = RunRequest::new("x");
        request.command = strings(&["sh"]);
        request.working_dir = Some("srv".into());
        let error = merge(None, &request, "h").unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid working directory \"srv\": it must be an absolute path"
        );
        request.working_dir = None;
        request.command = strings(&["a\0b"]);
        let error = merge(None, &request, "h").unwrap_err().to_string();
        assert!(error.contains("NUL"), "{error}");
    }

    proptest! {
        #[test]
        fn no_variable_appears_twice_and_none_lacks_a_value(
            image in proptest::collection::vec("[A-D]{1,2}(=[a-z]{0,2})?", 0..8),
            own in proptest::collection::vec("[A-D]{1,2}(=[a-z]{0,2})?", 0..8),
        ) {
            let config = ConfigBuilder::default().env(image).build().unwrap();
            let mut request = RunRequest::new("x");
            request.command = strings(&["sh"]);
            request.env = own;
            let got = merge(Some(&config), &request, "h").unwrap();
            let mut keys: Vec<&str> = got.env.iter().map(|e| e.split_once('=').unwrap().0).collect();
            keys.sort_unstable();
            let count = keys.len();
            keys.dedup();
            prop_assert_eq!(keys.len(), count);
        }
    }
}
