//! Bringing an image in from a registry, by name.

use std::sync::Arc;

use orlop_image::{Reference, platform, reference};
use orlop_registry_client::{Client, CredentialFuture, CredentialProvider};
use orlop_runtime::images::{ImagesError, PullEvent};

use crate::engine::Engine;
use crate::error::Error;
use crate::images::is_unnamed;
use crate::name;

/// How to pull.
#[derive(Clone)]
#[non_exhaustive]
pub struct PullOptions {
    /// `os/arch[/variant]`; the host's own when absent.
    pub platform: Option<String>,
    /// Who knows names and passwords; nobody when absent.
    pub credentials: Option<Arc<dyn CredentialProvider>>,
    /// Certificates to trust beside the public ones, in PEM.
    pub certificates: Vec<Vec<u8>>,
    /// A proxy for all registries, as a URL, and the hosts that are reached without it, separated by commas.
    pub proxy: Option<(String, String)>,
    /// Told what happens, from several threads.
    pub progress: Arc<dyn Fn(PullEvent) + Send + Sync>,
}

impl Default for PullOptions {
    fn default() -> PullOptions {
        PullOptions {
            platform: None,
            credentials: None,
            certificates: Vec::new(),
            proxy: None,
            progress: Arc::new(|_| ()),
        }
    }
}

impl std::fmt::Debug for PullOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullOptions")
            .field("platform", &self.platform)
            .finish_non_exhaustive()
    }
}

/// What a pull brought.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Pulled {
    /// The name, as people write it.
    pub name: String,
    /// The digest of the manifest or index the registry gave.
    pub digest: String,
    /// The image's id.
    pub id: String,
    /// Whether the name led elsewhere before.
    pub changed: bool,
}

impl Engine {
    /// Pulls an image by name, and names it so.
    ///
    /// Nothing is named before every byte is verified, unpacked and durable. Dropping the future stops the pull;
    /// [`Engine::tidy`] then removes what had arrived. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Pull`], and those of the stores.
    pub async fn pull(&self, text: &str, options: &PullOptions) -> Result<Pulled, Error> {
        let pulled = self.pull_named(text, options).await;
        if pulled.is_err() {
            // The pull's own error is what matters; what is left is found by the next collection.
            let _ = self.tidy();
        }
        pulled
    }

    /// Removes what a failed or dropped pull, load or import brought in, unless another is under way.
    ///
    /// # Errors
    /// Those of the stores.
    pub fn tidy(&self) -> Result<(), Error> {
        self.collect_if_idle()
    }

    async fn pull_named(&self, text: &str, options: &PullOptions) -> Result<Pulled, Error> {
        let name = name::name(text)?;
        if is_unnamed(&name) {
            return Err(Error::invalid(
                "image name",
                text,
                "it is one of the engine's own",
            ));
        }
        let wanted = match &options.platform {
            Some(text) => platform::parse(text)
                .map_err(|e| Error::invalid("platform", text, e.to_string()))?,
            None => platform::host(),
        };
        let client = client(options)?;
        let using = self.using()?;
        let progress = Arc::clone(&options.progress);
        let pulled = self
            .images
            .fetch(&client, &name, &wanted, move |event| progress(event))
            .await
            .map_err(|source| failed(&name, source))?;
        let before = self
            .store()
            .resolve(&name)
            .map_err(Error::image("looking up the image's name"))?;
        drop(using);
        self.give_name(&name, &pulled.descriptor)?;
        let digest = pulled.descriptor.digest();
        Ok(Pulled {
            name: reference::familiar(&name),
            digest: digest.to_string(),
            id: pulled.image.id().to_string(),
            changed: before.is_none_or(|before| before.digest() != digest),
        })
    }
}

fn failed(name: &Reference, source: ImagesError) -> Error {
    let name = reference::familiar(name);
    match source {
        // Both would say the same.
        ImagesError::Registry { source, .. } => Error::registry(format!("pulling {name}"))(source),
        source => Error::Pull {
            name,
            source: Box::new(source),
        },
    }
}

fn client(options: &PullOptions) -> Result<Client, Error> {
    let mut builder = Client::builder();
    if let Some(provider) = options.credentials.clone() {
        builder = builder.credentials(Shared(provider));
    }
    for pem in &options.certificates {
        builder = builder.root_certificates(pem.clone());
    }
    if let Some((url, except)) = &options.proxy {
        builder = builder.proxy(url, except);
    }
    builder
        .build()
        .map_err(Error::registry("preparing to ask a registry"))
}

struct Shared(Arc<dyn CredentialProvider>);

impl CredentialProvider for Shared {
    fn credentials<'a>(&'a self, registry: &'a str) -> CredentialFuture<'a> {
        self.0.credentials(registry)
    }
}
