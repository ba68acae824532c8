//! How a command ends: its exit code, and what is said about it once, at the edge.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

/// Docker's exit code for a failure of the engine itself, and for a command line it does not understand.
pub(crate) const ORLOP_FAILED: u8 = 125;
/// The exit code of a command that was found and cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The exit code of a command that was not found.
pub(crate) const NOT_FOUND: u8 = 127;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code, where it is not the command's usual one.
    pub(crate) code: Option<u8>,
    message: Option<String>,
    hint: Option<String>,
}

impl Failure {
    /// A failure with a message of its own.
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure {
            code: None,
            message: Some(message.into()),
            hint: None,
        }
    }

    /// An exit code and nothing to say: the command has said it, or it was the user's wish.
    pub(crate) fn silent(code: u8) -> Failure {
        Failure {
            code: Some(code),
            message: None,
            hint: None,
        }
    }

    /// What the user may do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done before the message.
    pub(crate) fn context(mut self, what: impl fmt::Display) -> Failure {
        self.message = self.message.map(|message| format!("{what}: {message}"));
        self
    }

    /// With this exit code unless it has one.
    pub(crate) fn or_code(mut self, code: u8) -> Failure {
        self.code.get_or_insert(code);
        self
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.message.is_none()
    }

    /// Prints it and turns it into the process's exit code.
    pub(crate) fn report(self) -> ExitCode {
        let mut text = String::new();
        if let Some(message) = self.message {
            text.push_str(&format!("orlop: {message}\n"));
        }
        if let Some(hint) = self.hint {
            text.push_str(&format!("hint: {hint}\n"));
        }
        // With standard error gone there is nobody left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
        ExitCode::from(self.code.unwrap_or(1))
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // What a reader does not want is not worth a word: the code is that of SIGPIPE.
            return Failure::silent(128 + 13);
        }
        Failure::new(chain(&error))
    }
}

impl From<orlop_engine::Error> for Failure {
    fn from(error: orlop_engine::Error) -> Failure {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(level) = cause {
            if let Some(io) = level.downcast_ref::<io::Error>()
                && io.kind() == io::ErrorKind::BrokenPipe
            {
                return Failure::silent(128 + 13);
            }
            cause = level.source();
        }
        let code = match error.kind() {
            orlop_engine::ErrorKind::CommandNotFound => Some(NOT_FOUND),
            orlop_engine::ErrorKind::CommandNotExecutable => Some(NOT_EXECUTABLE),
            _ => None,
        };
        Failure {
            code,
            message: Some(chain(&error)),
            hint: crate::hints::hint(&error),
        }
    }
}

/// An error and its causes on one line, each once.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    // One error is one line, whatever an image or a registry puts into a name.
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Level(&'static str, Option<Box<Level>>);

    impl fmt::Display for Level {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Level {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|level| level as _)
        }
    }

    #[test]
    fn causes_stand_once_and_on_one_line() {
        let error = Level(
            "pulling x",
            Some(Box::new(Level(
                "GET y: gone\nfishing",
                Some(Box::new(Level("gone\nfishing", None))),
            ))),
        );
        assert_eq!(chain(&error), "pulling x: GET y: gone fishing");
    }
}
