//! What `docker save` wrote before 1.10: `repositories`, and one folder a layer with its own config and parent.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::gather::Archive;
use super::{Found, Job, LoadOptions, Source};
use crate::error::cut;
use crate::{Error, json as documents, reference};

/// The document that tells these archives.
pub(crate) const REPOSITORIES: &str = "repositories";

/// A layer's id and its document.
type V1 = (String, Map<String, Value>);

/// More than any stack of layers may have.
const MAX_LAYERS: usize = 1024;

impl Job {
    pub(super) fn load_legacy(
        &mut self,
        source: &Source,
        options: &LoadOptions,
    ) -> Result<Vec<Found>, Error> {
        let Source::Archive(archive) = source else {
            return Err(Error::archive(
                "a directory must be an OCI layout, and it has no index.json",
            ));
        };
        let bytes = source.document(REPOSITORIES)?.unwrap_or_default();
        let repositories: BTreeMap<String, BTreeMap<String, String>> =
            serde_json::from_slice(&bytes).map_err(Error::json(REPOSITORIES))?;
        // Several names may mean the same image.
        let mut images: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (repository, tags) in &repositories {
            for (tag, id) in tags {
                let name = reference::parse(&format!("{repository}:{tag}"))
                    .map_err(Error::in_entry(REPOSITORIES))?;
                images.entry(id).or_default().push(name);
            }
        }
        let mut found = Vec::new();
        for (id, names) in images {
            if options
                .only
                .as_ref()
                .is_some_and(|only| !names.contains(only))
            {
                continue;
            }
            let chain = self.chain(archive, id)?;
            let mut layers = Vec::new();
            let mut diff_ids = Vec::new();
            for (id, _) in &chain {
                let path = format!("{id}/layer.tar");
                let blob = archive.resolve(&path)?.0.clone();
                diff_ids.push(self.diff_id(&blob)?.to_string());
                layers.push(path);
            }
            let config = documents::canonical(&config(&chain, &diff_ids), "image config")?;
            let descriptor = self
                .assemble(archive, &config, &layers, options)
                .map_err(Error::in_entry(id))?;
            found.push(Found { names, descriptor });
        }
        Ok(found)
    }

    /// The documents of an image and its parents, lowest first.
    fn chain(&self, archive: &Archive, id: &str) -> Result<Vec<V1>, Error> {
        let mut chain = Vec::new();
        let mut seen = HashSet::new();
        let mut next = Some(id.to_owned());
        while let Some(id) = next {
            if id.len() != 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(Error::archive(format!("{:?} is no layer id", cut(&id))));
            }
            if !seen.insert(id.clone()) || chain.len() >= MAX_LAYERS {
                return Err(Error::archive(format!(
                    "the parents of layer {id} have no end"
                )));
            }
            let path = format!("{id}/json");
            let bytes = self.lease.read(&archive.resolve(&path)?.0)?;
            let Value::Object(document) = documents::parse(&bytes, &path)? else {
                return Err(Error::invalid(path, "it is not a JSON object"));
            };
            next = document
                .get("parent")
                .and_then(Value::as_str)
                .filter(|id| !id.is_empty())
                .map(str::to_owned);
            chain.push((id, document));
        }
        chain.reverse();
        Ok(chain)
    }
}

/// A config of today from those of the layers.
fn config(chain: &[V1], diff_ids: &[String]) -> Value {
    let history: Vec<Value> = chain
        .iter()
        .map(|(_, document)| {
            let mut entry = Map::new();
            for key in ["created", "author", "comment"] {
                if let Some(Value::String(text)) = document.get(key) {
                    entry.insert(key.to_owned(), text.as_str().into());
                }
            }
            let words: Vec<&str> = document
                .get("container_config")
                .and_then(|config| config.get("Cmd")?.as_array())
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            entry.insert("created_by".to_owned(), words.join(" ").into());
            Value::Object(entry)
        })
        .collect();
    let mut config = Map::new();
    if let Some((_, top)) = chain.last() {
        for key in [
            "created",
            "author",
            "architecture",
            "os",
            "variant",
            "config",
            "docker_version",
        ] {
            if let Some(value) = top.get(key).filter(|value| !value.is_null()) {
                config.insert(key.to_owned(), value.clone());
            }
        }
    }
    // Docker before 0.7 knew one platform and did not say it.
    config
        .entry("architecture")
        .or_insert_with(|| "amd64".into());
    config.entry("os").or_insert_with(|| "linux".into());
    config.insert(
        "rootfs".to_owned(),
        json!({"type": "layers", "diff_ids": diff_ids}),
    );
    config.insert("history".to_owned(), history.into());
    Value::Object(config)
}
