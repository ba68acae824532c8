//! The floor of a container start: raw system calls and nothing around them. What `start` takes is to be seen against it.

use std::process::{Command, ExitCode};

use clap::Parser;
use orlop_benches::floor::{Extras, Floor};
use orlop_benches::{Options, Suite, rootfs};

fn main() -> ExitCode {
    let options = Options::parse();
    let mut suite = Suite::new("floor", &options);
    if !rustix::process::geteuid().is_root() {
        suite.skip(
            "start and wait",
            &[],
            "mounting and cloning into new namespaces needs root",
        );
        return suite.finish();
    }
    let made = tempfile::tempdir().and_then(|root| rootfs::busybox(root.path()).map(|()| root));
    let root = match &made {
        Ok(root) => root.path().to_owned(),
        Err(error) => {
            suite.fail("root", &error.to_string());
            return suite.finish();
        }
    };
    for (network, overlay) in [(false, false), (true, false), (false, true), (true, true)] {
        let parameters = [("network", network.into()), ("overlay", overlay.into())];
        match Floor::new(&root, "/bin/true", Extras { network, overlay }) {
            Ok(floor) => suite.case("start and wait", &parameters, move |meter| {
                Ok(meter.measure(|| floor.run())?)
            }),
            Err(error) => suite.fail("start and wait", &error.to_string()),
        }
    }
    let program = root.join("bin/true");
    suite.case(
        "no container at all: posix_spawn and wait",
        &[],
        move |meter| {
            let status = meter.measure(|| Command::new(&program).status())?;
            if status.success() {
                Ok(())
            } else {
                Err(status.to_string().into())
            }
        },
    );
    suite.finish()
}
