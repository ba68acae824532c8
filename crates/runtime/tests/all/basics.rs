use super::support::*;

#[test]
fn hello() {
    let bench = Bench::new();
    assert_eq!(
        run(bench.sh("echo hello from $(hostname)").hostname("box")),
        "hello from box\n"
    );
}
