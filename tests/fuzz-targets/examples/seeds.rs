//! Writes the seeds of every target below a directory, each target's in one of its name: `cargo run -q -p
//! accel-fuzz-targets --example seeds DIR`.

use std::path::PathBuf;

use accel_fuzz_targets::TARGETS;

fn main() -> std::io::Result<()> {
    let root = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("corpus"), PathBuf::from);
    for target in TARGETS {
        let directory = root.join(target.name);
        std::fs::create_dir_all(&directory)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number}")), seed)?;
        }
        // libFuzzer refuses an empty dictionary.
        let words: String = target.words.iter().chain([&"\0"]).map(|word| format!("\"{}\"\n", escaped(word))).collect();
        std::fs::write(root.join(format!("{}.dict", target.name)), words)?;
    }
    Ok(())
}

/// As libFuzzer's dictionaries write bytes.
fn escaped(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    word.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }).collect()
}
