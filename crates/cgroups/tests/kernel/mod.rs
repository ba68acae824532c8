mod delegation;
mod devices;
mod events;
mod fixtures;
mod lifecycle;
mod limits;
mod stopping;
mod support;
