//! Image configs: OCI's fields through `oci-spec`, and those only Docker knows.

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, json};

/// Fields of a config that Docker writes and the OCI specification lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DockerConfig {
    /// How to see whether a container is healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Instructions for builds that start from this image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    /// The shell of `RUN`, `CMD` and `ENTRYPOINT` in shell form.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    /// Seconds between the stop signal and the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// Whether the command is already escaped (Windows).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub args_escaped: bool,
}

/// Docker's health check: durations in nanoseconds, 0 meaning "inherit".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Healthcheck {
    /// `[]` inherits, `["NONE"]` disables, `["CMD", …]` runs, `["CMD-SHELL", …]` runs in the shell.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub test: Vec<String>,
    /// Time between two checks, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub interval: i64,
    /// Time one check may take, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub timeout: i64,
    /// Time in which failures do not count, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_period: i64,
    /// Time between two checks in the start period, in nanoseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub start_interval: i64,
    /// Failures in a row that make a container unhealthy.
    #[serde(skip_serializing_if = "is_zero")]
    pub retries: i64,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Parses an image config as OCI's fields and Docker's.
///
/// Liberal where real images are: `null` for "nothing", a string for a list of commands, no architecture.
///
/// # Errors
///
/// [`Error::TooLarge`], [`Error::Json`], [`Error::Invalid`].
pub fn parse(bytes: &[u8]) -> Result<(ImageConfiguration, DockerConfig), Error> {
    let what = "image config";
    let Value::Object(top) = json::parse(bytes, what)? else {
        return Err(Error::invalid(what, "it is not a JSON object"));
    };
    let mut top = without_nulls(top);
    // An absent architecture must stay visibly unknown, not become the host's.
    top.entry("architecture").or_insert_with(|| Value::from(""));
    top.entry("os").or_insert_with(|| Value::from(""));
    let docker = match top.get_mut("config") {
        Some(Value::Object(config)) => {
            *config = without_nulls(std::mem::take(config));
            for key in ["Entrypoint", "Cmd", "Shell", "OnBuild"] {
                if let Some(value @ Value::String(_)) = config.get_mut(key) {
                    *value = Value::Array(vec![value.take()]);
                }
            }
            for key in ["ExposedPorts", "Volumes"] {
                for value in config
                    .get_mut(key)
                    .and_then(Value::as_object_mut)
                    .into_iter()
                    .flatten()
                {
                    // Go's empty struct reads a null as well.
                    *value.1 = Value::Object(Map::new());
                }
            }
            if let Some(Value::Object(check)) = config.get_mut("Healthcheck") {
                *check = without_nulls(std::mem::take(check));
            }
            serde_json::from_value(Value::Object(config.clone())).map_err(Error::json(what))?
        }
        _ => DockerConfig::default(),
    };
    if let Some(Value::Object(rootfs)) = top.get_mut("rootfs") {
        *rootfs = without_nulls(std::mem::take(rootfs));
        rootfs
            .entry("diff_ids")
            .or_insert_with(|| Value::Array(Vec::new()));
    }
    let config: ImageConfiguration =
        serde_json::from_value(Value::Object(top)).map_err(Error::json(what))?;
    if config.rootfs().typ() != "layers" {
        return Err(Error::invalid(what, "its rootfs type is not \"layers\""));
    }
    Ok((config, docker))
}

fn without_nulls(object: Map<String, Value>) -> Map<String, Value> {
    object
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect()
}

/// Serialises a config with Docker's fields, with sorted keys: the same content gives the same bytes.
///
/// # Errors
///
/// [`Error::Json`].
pub fn to_bytes(config: &ImageConfiguration, docker: &DockerConfig) -> Result<Vec<u8>, Error> {
    let what = "image config";
    let mut value = serde_json::to_value(config).map_err(Error::json(what))?;
    if *docker != DockerConfig::default()
        && let Value::Object(extra) = serde_json::to_value(docker).map_err(Error::json(what))?
        && let Some(top) = value.as_object_mut()
        && let Value::Object(inner) = top
            .entry("config")
            .or_insert_with(|| Value::Object(Map::new()))
    {
        inner.extend(extra);
    }
    json::canonical(&value, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn docker_fields_survive_a_round_trip() {
        let value = json!({
            "architecture": "amd64", "os": "linux", "created": null, "history": null,
            "config": {
                "Cmd": "sh", "Entrypoint": null, "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Volumes": {"/data": null},
                "Labels": {"z": "1", "a": "2", "m": "3"},
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000_i64, "Retries": null},
                "OnBuild": ["RUN x"], "Shell": ["/bin/bash", "-c"], "StopTimeout": 7, "Image": "sha256:x",
            },
            "rootfs": {"type": "layers", "diff_ids": null},
        });
        let (config, docker) = parse(&serde_json::to_vec(&value).unwrap()).unwrap();
        let inner = config.config().as_ref().unwrap();
        assert_eq!(inner.cmd().as_deref(), Some(&["sh".to_owned()][..]));
        assert_eq!(
            inner.exposed_ports().as_deref(),
            Some(&["80/tcp".to_owned()][..])
        );
        assert_eq!(docker.on_build, ["RUN x"]);
        assert_eq!(docker.stop_timeout, Some(7));
        assert_eq!(docker.healthcheck.as_ref().unwrap().interval, 5_000_000_000);
        let bytes = to_bytes(&config, &docker).unwrap();
        assert_eq!(parse(&bytes).unwrap(), (config.clone(), docker.clone()));
        for _ in 0..20 {
            let (config, docker) = parse(&bytes).unwrap();
            assert_eq!(to_bytes(&config, &docker).unwrap(), bytes);
        }
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"rootfs":{"type":"windows","diff_ids":[]}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":"x"}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":[]},"config":{"Env":"x"}}"#,
            r#"{"rootfs":{"type":"layers","diff_ids":[]},"config":[]}"#,
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text} was accepted");
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn never_panics_on_almost_configs(key in "[A-Za-z]{0,12}", text in "[a-z{}\\[\\]\":0-9,]{0,12}") {
            let _ = parse(format!("{{\"rootfs\":{{\"type\":\"layers\"}},\"config\":{{\"{key}\":{text}}}}}").as_bytes());
        }
    }
}
