//! Everything known about an image or a container, in the shape Docker's clients expect.

use orlop_image::reference;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::error::Error;
use crate::images::is_unnamed;
use crate::record::{Container, State};

impl Engine {
    /// An image as `docker image inspect` shows it.
    ///
    /// # Errors
    /// As [`Engine::find_image`].
    pub fn inspect_image(&self, text: &str) -> Result<Value, Error> {
        let found = self.find_image(text, None)?;
        let image = &found.image;
        let (mut tags, mut digests) = (Vec::new(), Vec::new());
        for tag in self.tags()? {
            if tag.descriptor.digest() != found.target.digest() || is_unnamed(&tag.name) {
                continue;
            }
            let repository = reference::familiar_repository(&tag.name);
            let digest = format!("{repository}@{}", tag.descriptor.digest());
            if !digests.contains(&digest) {
                digests.push(digest);
            }
            if tag.name.digest().is_none() {
                tags.push(reference::familiar(&tag.name));
            }
        }
        let raw: Value = serde_json::from_slice(image.config_bytes()).unwrap_or_default();
        let text = |key: &str| {
            raw.get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let mut shown = json!({
            "Id": image.id().to_string(),
            "RepoTags": tags,
            "RepoDigests": digests,
            "Comment": text("comment"),
            "Created": text("created"),
            "Author": text("author"),
            "Config": raw.get("config").cloned().unwrap_or(Value::Null),
            "Architecture": text("architecture"),
            "Os": text("os"),
            "Size": image.size(),
            "RootFS": {
                "Type": "layers",
                "Layers": image.diff_ids().map(ToString::to_string).collect::<Vec<_>>(),
            },
            "Descriptor": {
                "mediaType": found.target.media_type().to_string(),
                "digest": found.target.digest().to_string(),
                "size": found.target.size(),
            },
        });
        if let (Some(object), false) = (shown.as_object_mut(), text("variant").is_empty()) {
            object.insert("Variant".to_owned(), Value::from(text("variant")));
        }
        Ok(shown)
    }

    /// A container as `docker container inspect` shows it.
    ///
    /// # Errors
    /// As [`Engine::find_container`].
    pub fn inspect_container(&self, text: &str) -> Result<Value, Error> {
        let container = self.find_container(text)?;
        Ok(show(&container))
    }
}

const NEVER: &str = "0001-01-01T00:00:00Z";

fn show(c: &Container) -> Value {
    let running = c.state == State::Running;
    let mounts: Vec<Value> = c
        .mounts
        .iter()
        .map(|m| {
            json!({
                "Type": m.kind,
                "Name": m.name.clone().unwrap_or_default(),
                "Source": m.source,
                "Destination": m.target,
                "Mode": if m.read_only { "ro" } else { "" },
                "RW": !m.read_only,
                "Propagation": if m.kind == "bind" { "rprivate" } else { "" },
            })
        })
        .collect();
    json!({
        "Id": c.id,
        "Created": c.created,
        "Path": c.argv.first(),
        "Args": c.argv.get(1..).unwrap_or_default(),
        "State": {
            "Status": c.state.as_str(),
            "Running": running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": c.oom_killed,
            "Dead": false,
            "Pid": if running { c.pid.unwrap_or(0) } else { 0 },
            "ExitCode": c.exit_code.unwrap_or(0),
            "Error": c.error.clone().unwrap_or_default(),
            "StartedAt": c.started.as_deref().unwrap_or(NEVER),
            "FinishedAt": c.finished.as_deref().unwrap_or(NEVER),
        },
        "Image": c.image_id,
        "Name": format!("/{}", c.name),
        "Driver": "overlay",
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": c.network.as_str(),
            "AutoRemove": c.remove,
        },
        "Mounts": mounts,
        "Config": {
            "Hostname": c.hostname,
            "User": c.user,
            "Tty": c.terminal,
            "Env": c.env,
            "Image": c.image,
            "WorkingDir": c.working_dir,
            "Labels": c.labels,
        },
    })
}
