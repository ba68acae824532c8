//! Pulling through the real program, from a registry of a few lines that wants a password.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::world::{World, both};

/// `me:secret` in base64.
const AUTH: &str = "bWU6c2VjcmV0";

/// Serves the blobs of a store as `team/tool:1`, to who knows the password. Ends with the test's process.
fn serve(blobs: PathBuf, manifest: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let (blobs, manifest) = (blobs.clone(), manifest.clone());
            // A client that goes away is its own affair.
            std::thread::spawn(move || answer(connection, &blobs, &manifest).ok());
        }
    });
    address
}

fn answer(connection: TcpStream, blobs: &Path, manifest: &str) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection.try_clone()?);
    let mut writer = connection;
    loop {
        let (mut request, mut allowed) = (String::new(), false);
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let line = line.trim_end();
            allowed |= line.eq_ignore_ascii_case(&format!("authorization: basic {AUTH}"));
            if line.is_empty() {
                break;
            }
        }
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        let digest = match path.strip_prefix("/v2/team/tool/") {
            Some("manifests/1") => Some(manifest),
            Some(rest) => rest.rsplit_once('/').map(|(_, digest)| digest),
            None => None,
        };
        let file = digest.and_then(|digest| digest.strip_prefix("sha256:"));
        let body = file.and_then(|hex| fs::read(blobs.join(hex)).ok());
        let (status, kind, body) = match (allowed, body) {
            (false, _) => ("401 Unauthorized", "text/plain", Vec::new()),
            (true, None) if path == "/v2/" => ("200 OK", "text/plain", Vec::new()),
            (true, None) => ("404 Not Found", "text/plain", Vec::new()),
            (true, Some(body)) if path.contains("/manifests/") => {
                ("200 OK", "application/vnd.oci.image.manifest.v1+json", body)
            }
            (true, Some(body)) => ("200 OK", "application/octet-stream", body),
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
             WWW-Authenticate: Basic realm=\"test\"\r\n\r\n",
            body.len()
        )?;
        if !request.starts_with("HEAD") {
            writer.write_all(&body)?;
        }
    }
}

/// Moves the busybox image of the world's store into a registry. Gives its name there.
fn publish(world: &World) -> String {
    let inspected = world.orlop(&["inspect", "busybox"]).ok();
    let digest = inspected
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"digest\": \""))
        .and_then(|rest| rest.split('"').next())
        .unwrap()
        .to_owned();
    let blobs = world.path("registry");
    fs::create_dir(&blobs).unwrap();
    for blob in fs::read_dir(world.root().join("images/blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        fs::copy(blob.path(), blobs.join(blob.file_name())).unwrap();
    }
    world.orlop(&["rmi", "busybox"]).ok();
    format!("{}/team/tool:1", serve(blobs, digest))
}

#[test]
fn a_pull_with_dockers_login() {
    both(|world| {
        let name = publish(world.with_busybox());
        let host = name.split('/').next().unwrap();
        world.leaves_nothing(|| {
            let refused = world.orlop(&["pull", &name]);
            assert!(
                refused.stderr.contains("\nhint: `docker login"),
                "{refused:?}"
            );
            refused.fails(1, "401 Unauthorized");
        });
        let docker = world.path(".docker");
        fs::create_dir(&docker).unwrap();
        let config = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{AUTH}\"}}}}}}");
        fs::write(docker.join("config.json"), config).unwrap();

        let pulled = world.orlop(&["pull", &name]);
        assert!(pulled.stderr.contains(": unpacked\n"), "{pulled:?}");
        assert!(
            pulled.stdout.contains("Status: Downloaded newer image"),
            "{pulled:?}"
        );
        let again = world.orlop(&["pull", &name]);
        assert!(again.stderr.contains(": already exists\n"), "{again:?}");
        assert!(
            again.stdout.contains("Status: Image is up to date"),
            "{again:?}"
        );
        let quiet = world.orlop(&["pull", "-q", &name]);
        assert_eq!(
            (quiet.code, quiet.stdout, quiet.stderr),
            (0, format!("{name}\n"), String::new())
        );

        // run pulls what is missing, and asks again when told to.
        world.orlop(&["rmi", &name]).ok();
        let ran = world.orlop(&["run", "--rm", &name, "echo", "ran"]);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, "ran\n"), "{ran:?}");
        assert!(ran.stderr.starts_with("Unable to find image"), "{ran:?}");
        let ran = world.orlop(&[
            "run", "--rm", "--pull", "always", "-q", &name, "echo", "ran",
        ]);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("ran\n", ""));
        world.leaves_nothing(|| {
            let absent = name.replace(":1", ":2");
            world.orlop(&["pull", &absent]).fails(1, "404 Not Found");
        });
    });
}
