//! What the TOC takes while a layer passes.

use super::*;

impl Toc {
    /// Bytes that are held for the entries so far, but for what a compressor always takes.
    fn held(&self) -> usize {
        self.gathered.capacity() + self.json.blocks.iter().map(Vec::capacity).sum::<usize>()
    }
}

#[test]
fn entries_are_held_deflated() {
    const ENTRIES: usize = 100_000;
    let mut toc = Toc::new();
    let mut json = 0;
    for at in 0..ENTRIES {
        let digest = Digest::of(&at.to_le_bytes());
        let entry = format!(
            "{{\"name\":\"usr/lib/python3/site-packages/module_{at}.py\",\"type\":\"reg\",\"size\":{at},\
             \"modtime\":\"2023-11-14T22:13:20Z\",\"mode\":33188,\"digest\":\"{digest}\",\"offset\":{},\
             \"chunkDigest\":\"{digest}\"}}",
            at * 4711
        );
        json += entry.len() + 1;
        toc.push(&entry).unwrap();
    }
    let held = toc.held();
    assert!(json > ENTRIES * 250, "honest entries: {json}");
    // The digest alone, which no compressor shortens below 32 bytes, is a third of the 96 bytes that a file may take.
    assert!(held < ENTRIES * 72, "{} bytes an entry", held / ENTRIES);
}
