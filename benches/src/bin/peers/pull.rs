//! From a registry on loopback to a local image.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use orlop_benches::{Options, Suite};

use crate::Failure;
use crate::tools::{find, succeed};

/// What the generated image is like.
#[derive(clap::Args)]
pub(crate) struct ImageShape {
    /// Layers of the image
    #[arg(long, default_value_t = 4)]
    layers: usize,
    /// Files of each layer
    #[arg(long, default_value_t = 1000)]
    files: usize,
    /// Size of a file, in KiB
    #[arg(long, default_value_t = 32)]
    file_kib: usize,
}

struct Registry {
    process: Child,
    address: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn compare(
    options: &Options,
    orlop: &Path,
    shape: &ImageShape,
) -> Result<ExitCode, Failure> {
    for needed in ["docker-registry", "umoci", "skopeo", "tar"] {
        if find(needed).is_none() {
            let mut suite = Suite::new("pull", options);
            suite.skip("all", &[], &format!("{needed} is not installed"));
            return Ok(suite.finish());
        }
    }
    let folder = tempfile::tempdir()?;
    let layout = folder.path().join("layout");
    make_image(folder.path(), &layout, shape)?;
    let registry = serve(folder.path())?;
    let name = format!("{}/image:latest", registry.address);
    let source = format!("oci:{}:latest", layout.display());
    let remote = format!("docker://{name}");
    succeed(Command::new("skopeo").args(["copy", "--dest-tls-verify=false", &source, &remote]))?;
    let parameters = [
        ("layers", shape.layers.into()),
        ("files", (shape.layers * shape.files).into()),
        ("file_kib", shape.file_kib.into()),
    ];

    // Each run has a folder of its own, removed outside the measurement.
    let fresh = || tempfile::tempdir_in(folder.path());
    let mut suite = Suite::new("pull", options);
    if orlop.exists() {
        suite.case("orlop pull", &parameters, |meter| {
            let root = fresh()?;
            let mut command = Command::new(orlop);
            command
                .arg("--root")
                .arg(root.path())
                .args(["pull", "--quiet", &name]);
            meter.measure(|| succeed(&mut command))
        });
    } else {
        suite.skip(
            "orlop pull",
            &parameters,
            "orlop is not built: cargo build --release --package orlop-cli",
        );
    }
    for driver in ["overlay", "vfs"] {
        let case = format!("podman pull, {driver}");
        let Some(podman) = find("podman") else {
            suite.skip(&case, &parameters, "podman is not installed");
            continue;
        };
        let name = name.clone();
        suite.case(&case, &parameters, move |meter| {
            let root = fresh()?;
            let storage = |action: &[&str]| {
                let mut command = Command::new(&podman);
                command
                    .args(["--storage-driver", driver, "--root"])
                    .arg(root.path().join("storage"));
                command
                    .arg("--runroot")
                    .arg(root.path().join("run"))
                    .args(action);
                command
            };
            let mut command = storage(&["pull", "--quiet", "--tls-verify=false", &name]);
            meter.measure(|| succeed(&mut command))?;
            // Its overlay storage is a mount.
            succeed(&mut storage(&["system", "reset", "--force"]))
        });
    }
    suite.case(
        "skopeo copy to a layout (no unpack)",
        &parameters,
        |meter| {
            let root = fresh()?;
            let target = format!("oci:{}:image", root.path().join("layout").display());
            let mut command = Command::new("skopeo");
            command.args(["copy", "--src-tls-verify=false", &remote, &target]);
            meter.measure(|| succeed(&mut command))
        },
    );
    suite.case("umoci unpack (no pull)", &parameters, |meter| {
        let root = fresh()?;
        let mut command = Command::new("umoci");
        command
            .args([
                "raw",
                "unpack",
                "--image",
                &format!("{}:latest", layout.display()),
            ])
            .arg(root.path().join("root"));
        meter.measure(|| succeed(&mut command))
    });
    suite.case(
        "gzip -dc | tar -x of the blobs (no digests)",
        &parameters,
        |meter| {
            let root = fresh()?;
            let script = "cd \"$1\" && for blob in \"$2\"/blobs/sha256/*; do \
            if [ \"$(head -c 2 \"$blob\" | od -An -tx1)\" = ' 1f 8b' ]; then \
            mkdir $((n=n+1)); { gzip -dc \"$blob\" | tar -x -C $n; } & fi; done; wait";
            let mut command = Command::new("sh");
            command
                .args(["-c", script, "sh"])
                .arg(root.path())
                .arg(&layout);
            meter.measure(|| succeed(&mut command))
        },
    );
    let code = suite.finish();
    drop(registry);
    Ok(code)
}

/// Half of each file is noise and half is text, so that it compresses as programs do.
fn make_image(work: &Path, layout: &Path, shape: &ImageShape) -> Result<(), Failure> {
    let image = format!("{}:latest", layout.display());
    succeed(
        Command::new("umoci")
            .arg("init")
            .arg("--layout")
            .arg(layout),
    )?;
    succeed(Command::new("umoci").args(["new", "--image", &image]))?;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for layer in 0..shape.layers {
        let tree = work.join("tree");
        for number in 0..shape.files {
            let file = tree.join(format!(
                "usr/lib/layer{layer}/folder{}/file{number}",
                number / 50
            ));
            fs::create_dir_all(file.parent().unwrap_or(&tree))?;
            fs::write(file, content(&mut noise, shape.file_kib * 1024))?;
        }
        let archive: PathBuf = work.join("layer.tar");
        succeed(
            Command::new("tar")
                .arg("-cf")
                .arg(&archive)
                .arg("-C")
                .arg(&tree)
                .arg("."),
        )?;
        succeed(
            Command::new("umoci")
                .args(["raw", "add-layer", "--image", &image])
                .arg(&archive),
        )?;
        fs::remove_dir_all(&tree)?;
        fs::remove_file(&archive)?;
    }
    succeed(Command::new("umoci").arg("gc").arg("--layout").arg(layout))
}

fn content(noise: &mut Noise, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size {
        bytes.extend(noise.next().to_le_bytes());
        bytes.extend(b"the sun ");
    }
    bytes.truncate(size);
    bytes
}

/// Marsaglia's xorshift: the same bytes on every machine.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

fn serve(folder: &Path) -> Result<Registry, Failure> {
    let address = format!(
        "127.0.0.1:{}",
        TcpListener::bind("127.0.0.1:0")?.local_addr()?.port()
    );
    let config = folder.join("registry.yml");
    let storage = folder.join("registry");
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: \"{address}\"}}\n",
        storage.display()
    );
    fs::write(&config, text)?;
    let mut command = Command::new("docker-registry");
    command
        .arg("serve")
        .arg(&config)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let registry = Registry {
        process: command.spawn()?,
        address,
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(&registry.address).is_err() {
        if Instant::now() > deadline {
            return Err("docker-registry does not listen".into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(registry)
}
