//! Talk to container registries: pull and push, authentication, resumption, progress.
