//! Every target over its seeds and some thousand mutations of them, the same on every machine. `ACCEL_FUZZ_RUNS` asks for
//! more of them, `ACCEL_FUZZ_BEGIN` for others.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use accel_fuzz_targets::{Mutator, TARGETS};

/// How many mutations of each target: some seconds of each.
const RUNS: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// `accepted` of its seeds are, each other is there to be refused: mutations of what is refused at once get nowhere.
fn run(name: &str, accepted: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    assert_eq!((target.seeds)().iter().filter(|seed| (target.run)(seed)).count(), accepted, "{name}: seeds accepted");
    let mut mutator = Mutator::new(target, number("ACCEL_FUZZ_BEGIN").unwrap_or_default());
    for turn in 0..number("ACCEL_FUZZ_RUNS").unwrap_or(RUNS) {
        let input = mutator.next_input();
        if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
            let file = std::env::temp_dir().join(format!("accel-fuzz-{name}"));
            std::fs::write(&file, &input).unwrap();
            panic!("{name}: input {turn} does not hold; it is in {}", file.display());
        }
    }
}

macro_rules! smoke {
    ($($name:ident: $accepted:literal)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name), $accepted);
        })*

        #[test]
        fn every_target_is_run() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

smoke!(tar: 12 layer: 8 convert: 8 nydus: 12 estargz: 1 toc: 1 bootstrap: 9 nydus_blob: 10 nydus_index: 1 nydus_gzip: 6 manifest: 15 reference: 5 config: 3 secret: 4 webhook: 15);

#[test]
fn every_target_has_its_program() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut programs: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    programs.sort_unstable();
    let mut names = TARGETS.map(|target| format!("{}.rs", target.name)).to_vec();
    names.sort_unstable();
    assert_eq!(programs, names);
}
