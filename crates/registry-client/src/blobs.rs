//! Blobs: opened for download, looked up, deleted.

use bytes::Bytes;
use oci_spec::distribution::Reference;
use oci_spec::image::{Descriptor, Digest};
use reqwest::{Method, StatusCode};

use crate::auth::Scopes;
use crate::blob::BlobStream;
use crate::client::Client;
use crate::digest::Hasher;
use crate::endpoint::Target;
use crate::error::{Cause, Error};
use crate::http::Request;
use crate::operation::Operation;

impl Client {
    /// Opens a blob for download, from `offset` on. The first request is made here, so that a missing blob is
    /// an error here.
    ///
    /// With an offset other than 0 the bytes before are unknown to the stream: it verifies the size but not
    /// the digest. To continue with both, see [`blob_continue`](Self::blob_continue).
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), [`ErrorKind::Size`](crate::ErrorKind::Size) if the
    /// registry announces another size, and any error of the connection or login.
    pub async fn blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        offset: u64,
    ) -> Result<BlobStream, Error> {
        let hasher = if offset == 0 {
            Some(self.hasher(reference, descriptor)?)
        } else {
            None
        };
        BlobStream::open(self, reference, descriptor, offset, hasher).await
    }

    /// Opens a blob for download where an earlier one ended; `so_far` has taken in all bytes before.
    ///
    /// # Errors
    /// As [`blob`](Self::blob).
    pub async fn blob_continue(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        so_far: Hasher,
    ) -> Result<BlobStream, Error> {
        BlobStream::open(self, reference, descriptor, so_far.bytes(), Some(so_far)).await
    }

    /// Downloads a whole small blob, such as an image's configuration, of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`blob`](Self::blob), and [`ErrorKind::Digest`](crate::ErrorKind::Digest).
    pub async fn small_blob(
        &self,
        reference: &Reference,
        descriptor: &Descriptor,
        limit: u64,
    ) -> Result<Bytes, Error> {
        if descriptor.size() > limit {
            let cause = Cause::Protocol(format!(
                "it is {} bytes long, more than the {limit} allowed",
                descriptor.size()
            ));
            return Err(Target::new(reference)?
                .error(cause, &Operation::GetBlob(descriptor.digest().clone())));
        }
        let mut stream = self.blob(reference, descriptor, 0).await?;
        let mut bytes = Vec::with_capacity(usize::try_from(descriptor.size()).unwrap_or_default());
        while let Some(chunk) = stream.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.into())
    }

    /// The size of a blob, if the repository has it.
    ///
    /// # Errors
    /// Any error of the connection or login.
    pub async fn blob_exists(
        &self,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<Option<u64>, Error> {
        let target = Target::new(reference)?;
        let operation = Operation::HeadBlob(digest.clone());
        let url = self
            .url(
                &target,
                &operation,
                &format!("v2/{}/blobs/{digest}", target.repository),
            )
            .await?;
        let request = Request::new(Method::HEAD, url);
        let not_found = [StatusCode::NOT_FOUND];
        let answer = self
            .call(
                &target,
                &operation,
                request,
                Scopes::pull(&target.repository),
                &not_found,
            )
            .await?;
        if !answer.status().is_success() {
            return Ok(None);
        }
        Ok(Some(
            answer
                .header("content-length")
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
        ))
    }

    /// Deletes a blob.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the registry does not allow deletion.
    pub async fn delete_blob(&self, reference: &Reference, digest: &Digest) -> Result<(), Error> {
        let target = Target::new(reference)?;
        let operation = Operation::DeleteBlob(digest.clone());
        let url = self
            .url(
                &target,
                &operation,
                &format!("v2/{}/blobs/{digest}", target.repository),
            )
            .await?;
        let request = Request::new(Method::DELETE, url);
        self.call(
            &target,
            &operation,
            request,
            Scopes::delete(&target.repository),
            &[],
        )
        .await?;
        Ok(())
    }

    fn hasher(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Hasher, Error> {
        let digest = descriptor.digest();
        Hasher::for_digest(digest).ok_or_else(|| {
            let cause = Cause::Unsupported(format!(
                "digests of algorithm {} are not supported",
                digest.algorithm()
            ));
            match Target::new(reference) {
                Ok(target) => target.error(cause, &Operation::GetBlob(digest.clone())),
                Err(error) => error,
            }
        })
    }
}
