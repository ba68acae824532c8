//! An ordinary user, without a single capability.

use super::Check;
use super::world::{World, same};
use crate::Failure;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "as a user: run hello",
        holds: hello,
    },
    Check {
        name: "as a user: pull and run busybox",
        holds: busybox,
    },
    Check {
        name: "as a user: Debian's apt-get and a shell pipeline",
        holds: debian,
    },
];

fn hello(world: &World) -> Result<(), Failure> {
    let said = world.orlop_as_user(&["run", "--rm", "hello"])?.ok()?;
    if said.contains("started in") {
        Ok(())
    } else {
        Err(format!("it said: {said}").into())
    }
}

fn busybox(world: &World) -> Result<(), Failure> {
    let name = world.name("busybox");
    world.orlop_as_user(&["pull", &name])?.ok()?;
    let said = world
        .orlop_as_user(&[
            "run",
            "--rm",
            &name,
            "sh",
            "-c",
            "id -u; echo x > /file && cat /file",
        ])?
        .ok()?;
    same(said.as_str(), "0\nx\n")?;
    same(
        world
            .orlop_as_user(&["run", "--rm", &name, "sh", "-c", "exit 9"])?
            .code,
        9,
    )
}

fn debian(world: &World) -> Result<(), Failure> {
    let name = world.name("debian");
    let said = world
        .orlop_as_user(&[
            "run",
            "--rm",
            &name,
            "sh",
            "-c",
            "apt-get --version | head -n 1",
        ])?
        .ok()?;
    if said.starts_with("apt ") {
        Ok(())
    } else {
        Err(format!("it said: {said}").into())
    }
}
