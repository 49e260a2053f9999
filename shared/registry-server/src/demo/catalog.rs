//! The layer of many small files, as package managers leave them.

use std::fmt::Write as _;
use std::io;

use super::layer::{FinishedLayer, Layer};

/// Directories below the root, directories below each of them, files in each of those: 2,000 files.
const SHAPE: (u32, u32, u32) = (20, 10, 10);

const WORDS: [&str; 16] = [
    "anchor", "basin", "cedar", "delta", "ember", "fjord", "grove", "harbor", "inlet", "jetty", "kelp", "lagoon",
    "mole", "narrows", "oxbow", "pier",
];

pub(super) fn layer() -> io::Result<FinishedLayer> {
    let mut layer = Layer::new();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    layer.dir("srv/catalog", 0o755)?;
    for outer in 0..SHAPE.0 {
        layer.dir(&format!("srv/catalog/{outer:02}"), 0o755)?;
        for inner in 0..SHAPE.1 {
            let dir = format!("srv/catalog/{outer:02}/{inner:02}");
            layer.dir(&dir, 0o755)?;
            for number in 0..SHAPE.2 {
                let id = (outer * SHAPE.1 + inner) * SHAPE.2 + number;
                layer.file(&format!("{dir}/item-{id:04}.json"), 0o644, item(id, &mut random).as_bytes())?;
            }
        }
        let first = outer * SHAPE.1 * SHAPE.2;
        layer.hard_link(
            &format!("srv/catalog/{outer:02}/first.json"),
            &format!("srv/catalog/{outer:02}/00/item-{first:04}.json"),
        )?;
        layer.symlink(&format!("srv/catalog/{outer:02}/newest"), &format!("{:02}", SHAPE.1 - 1))?;
    }
    layer.finish()
}

/// A few hundred to a few thousand bytes that compress about as source code does.
fn item(id: u32, random: &mut Random) -> String {
    let mut text = format!("{{\"id\":{id},\"words\":[");
    for position in 0..20 + random.next() % 300 {
        let comma = if position == 0 { "" } else { "," };
        let (word, number) = (WORDS[random.next() as usize % WORDS.len()], random.next() % 1000);
        write!(text, "{comma}\"{word}-{number}\"").expect("a string takes what is written");
    }
    text.push_str("]}\n");
    text
}

/// Numbers that look random and are the same everywhere (xorshift64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }
}
