//! From a profile to a program: a binary search over ranges of numbers, with argument checks in its leaves.

use super::Error;
use super::arch::{Arch, X32_BIT};
use super::bpf::{self, Assembler, Instruction, Label};
use super::profile::{Action, Compare, Condition, Profile, Rule, Table};

/// Numbers from `first` to the next range's, that share a leaf.
struct Range<'a> {
    first: u32,
    leaf: Leaf<'a>,
}

#[derive(PartialEq, Clone)]
enum Leaf<'a> {
    Verdict(Action),
    Rules(Vec<&'a Rule>),
}

/// Compile `profile`. The depth of a lookup is the logarithm of the number of ranges, some seven instructions for Docker's 361 calls.
pub(super) fn compile(profile: &Profile) -> Result<Vec<Instruction>, Error> {
    let mut asm = Assembler::default();
    // Calls of an architecture that was not asked for end the thread, as libseccomp has it.
    let mut entry = asm.ret(Action::KillThread.verdict());
    let stranger = entry;
    let (x86_64, x32) = (
        profile.archs.contains(&Arch::X86_64),
        profile.archs.contains(&Arch::X32),
    );
    if x86_64 || x32 {
        let tables: Vec<Table<'_>> = [(x86_64, Arch::X86_64), (x32, Arch::X32)]
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, arch)| profile.table(arch))
            .collect();
        let ranges = x86_ranges(profile, &tables);
        entry = architecture(&mut asm, Arch::X86_64, &ranges, profile.default, entry);
    }
    for arch in [Arch::X86, Arch::Aarch64, Arch::Arm] {
        if profile.archs.contains(&arch) {
            let table = profile.table(arch);
            let mut ranges = Vec::new();
            append(&mut ranges, &table, profile.default, 0, u32::MAX);
            entry = architecture(&mut asm, arch, &ranges, profile.default, entry);
        }
    }
    if entry == stranger {
        return Err(Error::NoArchitecture);
    }
    let start = asm.load(bpf::ARCH, entry);
    let program = asm.finish(start);
    if program.len() > bpf::MAX_LENGTH {
        return Err(Error::TooLong {
            length: program.len(),
        });
    }
    Ok(program)
}

/// Both interfaces behind x86_64's audit number: below the x32 bit one, from it on the other. `-1`, which a tracer writes to skip
/// a call, is the native one's.
fn x86_ranges<'a>(profile: &Profile, tables: &[Table<'a>]) -> Vec<Range<'a>> {
    let mut ranges = Vec::new();
    let table = |arch| tables.iter().find(|t| t.arch == arch);
    match table(Arch::X86_64) {
        Some(native) => append(&mut ranges, native, profile.default, 0, X32_BIT - 1),
        None => push(&mut ranges, 0, Leaf::Verdict(Action::KillThread)),
    }
    match table(Arch::X32) {
        Some(x32) => append(&mut ranges, x32, profile.default, X32_BIT, u32::MAX - 1),
        None => push(&mut ranges, X32_BIT, Leaf::Verdict(Action::KillThread)),
    }
    let native = table(Arch::X86_64).map_or(Action::KillThread, |native| {
        native.fallback(profile.default, u32::MAX)
    });
    push(&mut ranges, u32::MAX, Leaf::Verdict(native));
    ranges
}

/// Add `table`'s ranges from `first` to `last`.
fn append<'a>(
    ranges: &mut Vec<Range<'a>>,
    table: &Table<'a>,
    default: Action,
    first: u32,
    last: u32,
) {
    // Every number at which the fallback may change, and the ends of every single call.
    let mut edges = vec![first];
    edges.extend(table.newest.map(|newest| newest.saturating_add(1)));
    // Arm's private calls: refused as ever, never unknown.
    edges.extend(
        [0x000f_0000]
            .into_iter()
            .filter(|_| table.arch == Arch::Arm),
    );
    for number in table.calls.keys() {
        edges.extend([*number, number.saturating_add(1)]);
    }
    edges.retain(|edge| (first..=last).contains(edge));
    edges.sort_unstable();
    edges.dedup();
    for edge in edges {
        let leaf = match table.calls.get(&edge) {
            Some(rules) => match rules.iter().find(|rule| rule.conditions.is_empty()) {
                Some(rule) => Leaf::Verdict(rule.action),
                None => Leaf::Rules(rules.clone()),
            },
            None => Leaf::Verdict(table.fallback(default, edge)),
        };
        push(ranges, edge, leaf);
    }
}

fn push<'a>(ranges: &mut Vec<Range<'a>>, first: u32, leaf: Leaf<'a>) {
    match ranges.last() {
        Some(last) if last.leaf == leaf => {}
        _ => ranges.push(Range { first, leaf }),
    }
}

fn architecture(
    asm: &mut Assembler,
    arch: Arch,
    ranges: &[Range<'_>],
    default: Action,
    other: Label,
) -> Label {
    let search = tree(asm, ranges, default);
    let load = asm.load(bpf::NUMBER, search);
    asm.branch(bpf::JUMP_EQ, arch.audit(), load, other)
}

fn tree(asm: &mut Assembler, ranges: &[Range<'_>], default: Action) -> Label {
    match ranges {
        [] => asm.ret(default.verdict()),
        [range] => leaf(asm, &range.leaf, default),
        _ => {
            let (low, high) = ranges.split_at(ranges.len() / 2);
            let first = high.first().map_or(0, |range| range.first);
            let yes = tree(asm, high, default);
            let no = tree(asm, low, default);
            asm.branch(bpf::JUMP_GE, first, yes, no)
        }
    }
}

fn leaf(asm: &mut Assembler, leaf: &Leaf<'_>, default: Action) -> Label {
    match leaf {
        Leaf::Verdict(action) => asm.ret(action.verdict()),
        Leaf::Rules(rules) => {
            let mut next = asm.ret(default.verdict());
            for rule in rules.iter().rev() {
                let mut yes = asm.ret(rule.action.verdict());
                for condition in rule.conditions.iter().rev() {
                    yes = check(asm, *condition, yes, next);
                }
                next = yes;
            }
            next
        }
    }
}

/// Compare a 64-bit argument in two halves.
fn check(asm: &mut Assembler, condition: Condition, yes: Label, no: Label) -> Label {
    let (low, high) = (
        bpf::arg_low(condition.index),
        bpf::arg_high(condition.index),
    );
    let halves = |value: u64| ((value & 0xffff_ffff) as u32, (value >> 32) as u32);
    match condition.compare {
        Compare::Equal(value) => equal(asm, (low, high), halves(value), yes, no),
        Compare::NotEqual(value) => equal(asm, (low, high), halves(value), no, yes),
        Compare::Greater(value) => above(asm, bpf::JUMP_GT, (low, high), halves(value), yes, no),
        Compare::GreaterOrEqual(value) => {
            above(asm, bpf::JUMP_GE, (low, high), halves(value), yes, no)
        }
        Compare::Less(value) => above(asm, bpf::JUMP_GE, (low, high), halves(value), no, yes),
        Compare::LessOrEqual(value) => {
            above(asm, bpf::JUMP_GT, (low, high), halves(value), no, yes)
        }
        Compare::Masked { mask, value } => {
            let ((mask_low, mask_high), (value_low, value_high)) = (halves(mask), halves(value));
            let test = asm.branch(bpf::JUMP_EQ, value_low, yes, no);
            let and = asm.and(mask_low, test);
            let second = asm.load(low, and);
            let test = asm.branch(bpf::JUMP_EQ, value_high, second, no);
            let and = asm.and(mask_high, test);
            asm.load(high, and)
        }
    }
}

fn equal(
    asm: &mut Assembler,
    (low, high): (u32, u32),
    (value_low, value_high): (u32, u32),
    yes: Label,
    no: Label,
) -> Label {
    let test = asm.branch(bpf::JUMP_EQ, value_low, yes, no);
    let second = asm.load(low, test);
    let test = asm.branch(bpf::JUMP_EQ, value_high, second, no);
    asm.load(high, test)
}

fn above(
    asm: &mut Assembler,
    code: u16,
    (low, high): (u32, u32),
    (value_low, value_high): (u32, u32),
    yes: Label,
    no: Label,
) -> Label {
    let test = asm.branch(code, value_low, yes, no);
    let second = asm.load(low, test);
    let same = asm.branch(bpf::JUMP_EQ, value_high, second, no);
    let test = asm.branch(bpf::JUMP_GT, value_high, yes, same);
    asm.load(high, test)
}
