//! The program's file: static, small, for this architecture.

use orlop_init::PROGRAM;

#[test]
fn a_static_executable_of_this_architecture() {
    assert_eq!(&PROGRAM[..6], b"\x7fELF\x02\x01");
    let half = |at: usize| u16::from_le_bytes([PROGRAM[at], PROGRAM[at + 1]]);
    let word = |at: usize| u32::from_le_bytes(PROGRAM[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(PROGRAM[at..at + 8].try_into().unwrap());
    const ET_EXEC: u16 = 2;
    assert_eq!(half(16), ET_EXEC);
    assert_eq!(
        half(18),
        if cfg!(target_arch = "x86_64") {
            62
        } else {
            183
        }
    );
    const PT_LOAD: u32 = 1;
    const PT_DYNAMIC: u32 = 2;
    const PT_INTERP: u32 = 3;
    let start = usize::try_from(long(32)).unwrap();
    for header in (0..usize::from(half(56))).map(|n| start + n * usize::from(half(54))) {
        assert!(![PT_DYNAMIC, PT_INTERP].contains(&word(header)));
        let (write, execute) = (word(header + 4) & 2 != 0, word(header + 4) & 1 != 0);
        assert!(
            !(write && execute && word(header) == PT_LOAD),
            "writable and executable"
        );
    }
}

#[test]
fn a_few_kilobytes_without_a_library() {
    assert!(PROGRAM.len() < 48 * 1024, "{} bytes", PROGRAM.len());
    // The panic messages of the core library would come with its formatting.
    for text in ["panicked", "index out of bounds", "/rustc/"] {
        assert!(
            !PROGRAM
                .windows(text.len())
                .any(|window| window == text.as_bytes()),
            "{text}"
        );
    }
}
