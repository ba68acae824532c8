//! The plan's form, its rules and its words; the program's file.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "all/form.rs"]
mod form;
#[path = "all/program.rs"]
mod program;
#[path = "all/rules.rs"]
mod rules;
#[path = "all/words.rs"]
mod words;
