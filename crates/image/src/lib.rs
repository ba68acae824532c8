//! OCI and Docker image formats over a content-addressed store.
