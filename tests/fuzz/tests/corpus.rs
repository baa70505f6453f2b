//! Runs each target over its corpus, and over mutations of it for `POSTROOM_FUZZ_SECONDS` (by default 30).
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use fuzz::{TARGETS, Target};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};

/// Bytes that mean something to a parser: lengths, types of AMQP, quotes and brackets.
const TELLING: &[u8] = b"\x00\x01\x7F\x80\xFE\xFF\xCEAFSTVltx{}[]\"\\e-.0";

#[test]
fn deliveries_are_read_or_refused() {
    run("delivery");
}

#[test]
fn rows_are_encoded_or_refused() {
    run("row");
}

fn run(name: &str) {
    let (_, target) = TARGETS
        .into_iter()
        .find(|(target, _)| *target == name)
        .unwrap();
    let corpus = corpus(name);
    for input in &corpus {
        target(input);
    }
    let seed = std::env::var("POSTROOM_SEED").ok();
    let seed = seed.map_or_else(|| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("POSTROOM_SEED={seed}");
    let seconds = std::env::var("POSTROOM_FUZZ_SECONDS").ok();
    let seconds = seconds.map_or(30, |seconds| seconds.parse().unwrap());
    mutate(target, &corpus, seed, Duration::from_secs(seconds));
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let files = fs::read_dir(folder).unwrap();
    let corpus: Vec<_> = files
        .map(|file| fs::read(file.unwrap().path()).unwrap())
        .collect();
    assert!(!corpus.is_empty());
    corpus
}

fn mutate(target: Target, corpus: &[Vec<u8>], seed: u64, time: Duration) {
    let mut random = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut runs = 0_u64;
    while began.elapsed() < time {
        let mut input = corpus.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..8) {
            change(&mut input, corpus, &mut random);
        }
        if let Err(panic) = std::panic::catch_unwind(|| target(&input)) {
            let found = Path::new(env!("CARGO_TARGET_TMPDIR")).join("found");
            fs::write(&found, &input).unwrap();
            eprintln!("after {runs} runs, with this input: {}", found.display());
            std::panic::resume_unwind(panic);
        }
        runs += 1;
    }
    println!("{runs} runs");
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    match random.random_range(0..6) {
        0 => input.insert(at, *TELLING.choose(random).unwrap()),
        1 => input.truncate(at),
        2 if at < input.len() => drop(input.remove(at)),
        3 if at < input.len() => input[at] = *TELLING.choose(random).unwrap(),
        4 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
        _ => {
            let other = corpus.choose(random).unwrap();
            let from = random.random_range(0..=other.len());
            let to = random.random_range(from..=other.len());
            input.splice(at..at, other[from..to].iter().copied());
        }
    }
}
