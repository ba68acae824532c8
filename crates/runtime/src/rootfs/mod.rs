//! What a start reads from a root file system before it runs anything of it.

pub mod users;
mod view;

pub use view::View;
