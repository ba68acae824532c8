//! Debian's docker-registry on a free loopback port, gone when dropped.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use oci_spec::distribution::Reference;

pub(crate) struct DockerRegistry {
    process: Child,
    pub(crate) port: u16,
    /// Its configuration and data, for tests that change what it serves.
    #[allow(dead_code)]
    pub(crate) directory: tempfile::TempDir,
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// More of the configuration: the `auth` section, and the `tls` part of `http`.
#[derive(Default)]
pub(crate) struct Config<'a> {
    pub(crate) htpasswd: Option<(&'a str, &'a str)>,
    /// Certificate and key, PEM.
    pub(crate) tls: Option<(&'a str, &'a str)>,
}

impl DockerRegistry {
    pub(crate) fn start(config: &Config<'_>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let mut text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {}}}\n  delete: {{enabled: true}}\n",
            root.join("data").display()
        );
        if let Some((user, password)) = config.htpasswd {
            let file = write(root, "htpasswd", &htpasswd(user, password));
            text.push_str(&format!(
                "auth:\n  htpasswd: {{realm: test, path: {file}}}\n"
            ));
        }
        text.push_str("http:\n  addr: 127.0.0.1:0\n");
        if let Some((certificate, key)) = config.tls {
            let certificate = write(root, "cert.pem", certificate);
            let key = write(root, "key.pem", key);
            text.push_str(&format!(
                "  tls: {{certificate: {certificate}, key: {key}}}\n"
            ));
        }
        let file = write(root, "config.yml", &text);
        let mut process = Command::new("docker-registry")
            .args(["serve", &file])
            .env_remove("REGISTRY_HTTP_ADDR")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry is needed for this test: apt install docker-registry");
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let mut line = String::new();
        let port = loop {
            line.clear();
            assert!(
                log.read_line(&mut line).unwrap() > 0,
                "docker-registry ended without listening"
            );
            let address = line
                .split("listening on ")
                .nth(1)
                .and_then(|rest| rest.split(['"', ',']).next());
            if let Some(port) = address
                .and_then(|a| a.rsplit(':').next())
                .and_then(|p| p.trim().parse().ok())
            {
                break port;
            }
        };
        // It must never block on a full pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self {
            process,
            port,
            directory,
        }
    }

    pub(crate) fn reference(&self, rest: &str) -> Reference {
        format!("localhost:{}/{rest}", self.port).parse().unwrap()
    }
}

fn write(root: &Path, name: &str, text: &str) -> String {
    let path = root.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn htpasswd(user: &str, password: &str) -> String {
    let output = Command::new("htpasswd")
        .args(["-Bbn", "-C", "5", user, password])
        .output()
        .expect("htpasswd is needed for this test: apt install apache2-utils");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
