//! Reading two streams to their end at once, so that neither fills up while the other is waited for.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, poll};

use crate::terminal::end_of_file;

const CHUNK: usize = 64 << 10;

pub(crate) fn both(
    first: Option<OwnedFd>,
    second: Option<OwnedFd>,
) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let mut files = [first.map(File::from), second.map(File::from)];
    let mut out = [Vec::new(), Vec::new()];
    let mut chunk = vec![0u8; CHUNK];
    while files.iter().any(Option::is_some) {
        let ready = ready(&files)?;
        for ((file, out), ready) in files.iter_mut().zip(&mut out).zip(ready) {
            let Some(open) = file.as_mut().filter(|_| ready) else {
                continue;
            };
            match end_of_file(open.read(&mut chunk)) {
                Ok(0) => *file = None,
                Ok(length) => out.extend_from_slice(chunk.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    let [first, second] = out;
    Ok((first, second))
}

/// Which of the open ones can be read without waiting; one at least.
fn ready(files: &[Option<File>; 2]) -> io::Result<[bool; 2]> {
    let mut fds: Vec<PollFd<'_>> = files
        .iter()
        .flatten()
        .map(|file| PollFd::new(file, PollFlags::IN))
        .collect();
    match poll(&mut fds, None) {
        Ok(_) => {}
        Err(rustix::io::Errno::INTR) => return Ok([false, false]),
        Err(error) => return Err(error.into()),
    }
    let mut events = fds.iter().map(|fd| !fd.revents().is_empty());
    let mut next = |file: &Option<File>| file.is_some() && events.next().unwrap_or(false);
    let [first, second] = files;
    Ok([next(first), next(second)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn two_full_pipes() {
        let ((r1, mut w1), (r2, mut w2)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let writer = std::thread::spawn(move || {
            for _ in 0..40 {
                w2.write_all(&[2; 10_000]).unwrap();
            }
            for _ in 0..40 {
                w1.write_all(&[1; 10_000]).unwrap();
            }
        });
        let (first, second) = both(Some(r1.into()), Some(r2.into())).unwrap();
        writer.join().unwrap();
        assert_eq!((first.len(), second.len()), (400_000, 400_000));
        assert!(first.iter().all(|b| *b == 1) && second.iter().all(|b| *b == 2));
        assert_eq!(both(None, None).unwrap(), (Vec::new(), Vec::new()));
    }
}
