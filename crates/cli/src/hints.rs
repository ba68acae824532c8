//! What a user may do about an error.

use orlop_engine::{Error, ErrorKind};

use crate::failure::chain;

/// A hint for the errors where there is one.
pub(crate) fn hint(error: &Error) -> Option<String> {
    match error {
        Error::NoSuchImage { image } => Some(format!(
            "`orlop images` lists what is here; `orlop pull {image}` asks a registry"
        )),
        Error::NoSuchContainer { .. } => Some("`orlop ps -a` lists all containers".to_owned()),
        Error::NameTaken { name, .. } => Some(format!(
            "`orlop rm {name}` frees it, or choose another --name"
        )),
        Error::Ambiguous { .. } => Some("give more digits".to_owned()),
        Error::NoCommand { .. } => Some("write a command after the image".to_owned()),
        Error::InUse { reason, .. } if reason.contains("was made from it") => {
            Some("remove the container first, or use --force".to_owned())
        }
        Error::While { source, .. } => hint(source).or_else(|| by_words(error)),
        _ => by_words(error),
    }
}

/// Hints for what only the lowest cause tells.
fn by_words(error: &Error) -> Option<String> {
    let text = chain(error);
    let has = |words: &str| text.contains(words);
    if has("not delegated to this user") {
        return Some(
            "limits need root, or a control group that the system has given to this user"
                .to_owned(),
        );
    }
    if has("is not mapped in the user namespace") {
        return Some(
            "an ordinary user's containers have one user, root, which is that user outside"
                .to_owned(),
        );
    }
    match error.kind() {
        ErrorKind::Unauthorized => {
            return Some("`docker login REGISTRY` stores credentials that orlop uses".to_owned());
        }
        ErrorKind::Unreachable => {
            return Some(
                "check the registry's name and the network; `orlop run hello` needs neither"
                    .to_owned(),
            );
        }
        _ => {}
    }
    if has("No space left on device") {
        return Some(
            "`orlop system gc` frees what nothing uses; --root puts all state elsewhere".to_owned(),
        );
    }
    if has("Permission denied")
        && matches!(
            error,
            Error::Io { .. } | Error::Image { .. } | Error::Snapshot { .. }
        )
    {
        return Some(
            "the state belongs to another user; --root DIR keeps yours elsewhere".to_owned(),
        );
    }
    None
}
