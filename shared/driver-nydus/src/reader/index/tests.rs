//! Indexes that lie.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;
use crate::bootstrap::{MetaPlace, feature};
use crate::compressor::Compressor;
use crate::zran::ChunkInfo;

const CONTENT: [u8; 5000] = [7; 5000];

/// Spans of a gzip of [`CONTENT`] and zeros, each with one chunk; what its index says can be changed.
struct Index {
    chunks: Vec<ChunkInfo>,
    spans: Vec<Span>,
    windows: Vec<u8>,
    header: Vec<u8>,
    original: Vec<u8>,
}

type Change = fn(&mut Index);

impl Index {
    fn of(spans: u32) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::new(6));
        gzip.write_all(&[CONTENT; 2].concat()).unwrap();
        gzip.write_all(&[0; 10_000]).unwrap();
        let original = gzip.finish().unwrap();
        let span = Span {
            input: 10,
            input_bytes: original.len() as u32 - 10,
            output: 0,
            output_bytes: CONTENT.len() as u32,
            window: 0,
            window_bytes: 0,
            bits: 0,
            byte: 0,
        };
        let chunk = |span| ChunkInfo { block: 2 * span, bytes: 5000, offset: 10, stored_bytes: 9, span, at: 0 };
        let arrays = Arrays { chunks: spans, spans, window_bytes: 0 };
        let mut header = vec![0; META_HEADER_BYTES];
        header[IN_HEADER..][..Arrays::HEADER_BYTES].copy_from_slice(&arrays.in_header());
        let (chunks, spans) = ((0..spans).map(chunk).collect(), vec![span; spans as usize]);
        Self { chunks, spans, windows: Vec::new(), header, original }
    }

    fn check(&self) -> Result<Vec<String>, FormatError> {
        let chunks = self.chunks.iter().flat_map(|chunk| chunk.to_bytes());
        let mut index: Vec<u8> = chunks.chain(self.spans.iter().flat_map(|span| span.to_bytes())).collect();
        index.extend(&self.windows);
        let bytes = index.len() as u64;
        index.extend(&self.header);
        let blob = Blob {
            id: Digest::of(&self.original),
            chunk_count: self.chunks.len() as u32,
            compressed_size: self.original.len() as u64,
            uncompressed_size: 8192,
            index: None,
            compressor: Compressor::Gzip,
            features: feature::ORIGINAL,
            meta: MetaPlace { compressor: 0, offset: 0, stored_bytes: bytes, bytes },
        };
        let told = |number| ChunkRef {
            blob: 0,
            index: number,
            digest: Digest::of(&CONTENT),
            compressed_offset: 10,
            compressed_size: 9,
            uncompressed_size: 5000,
            batch: None,
        };
        let chunks = (0..blob.chunk_count).map(|number| (number, told(number))).collect();
        let limits = Limits { layer_bytes: 12_000, ..Limits::default() };
        let mut wrong = Vec::new();
        let mut note = |what| wrong.push(what);
        check_index(&blob, &chunks, &mut &index[..], &mut &self.original[..], limits, &mut note)?;
        Ok(wrong)
    }
}

#[test]
fn what_an_index_says_is_held_to_its_layer() {
    assert_eq!(Index::of(2).check().unwrap(), Vec::<String>::new());
    let rows: [(&str, Change); 5] = [
        ("different things of chunk 1", |index| index.chunks[1].stored_bytes = 8),
        ("chunk 1 is not where", |index| index.chunks[1].at = 1),
        ("chunk 1 is not where", |index| (index.chunks[1].span, index.chunks[1].at) = (0, 5000)),
        ("of byte 11 on", |index| index.spans[1].input = 11),
        ("of byte 10 on", |index| index.spans[0].input_bytes = 3),
    ];
    for (expected, change) in rows {
        let mut index = Index::of(2);
        change(&mut index);
        let wrong = index.check().unwrap();
        assert!(wrong.iter().any(|what| what.contains(expected)), "{expected}: {wrong:?}");
    }
}

#[test]
fn an_index_that_contradicts_itself_is_refused() {
    let rows: [(&str, Change); 15] = [
        ("different orders", |index| (index.chunks[0].span, index.chunks[1].span) = (1, 0)),
        ("lie in each other", |index| index.chunks[1].span = 0),
        ("lie in each other", |index| (index.chunks[1].span, index.chunks[1].at) = (0, 4999)),
        ("a span that is not there", |index| index.chunks[1].span = 2),
        ("cannot be", |index| index.spans[0].window = u64::MAX),
        ("cannot be", |index| index.spans[1].window = 1),
        ("cannot be", |index| index.spans[1].input = 9),
        ("cannot be", |index| index.spans[1].bits = 8),
        ("cannot be", |index| index.spans[1].output_bytes = u32::MAX),
        ("cannot be", |index| index.spans[1].window_bytes = u32::MAX),
        ("ends too early", |index| index.header.truncate(4095)),
        ("about other chunks", |index| index.header[IN_HEADER] += 1),
        ("too many spans", |index| index.spans.push(index.spans[1])),
        ("another length", |index| index.windows.push(0)),
        ("another length", |index| index.spans[1].window_bytes = 1),
    ];
    for (expected, change) in rows {
        let mut index = Index::of(2);
        change(&mut index);
        let fault = index.check().unwrap_err().to_string();
        assert!(fault.contains(expected), "{expected}: {fault}");
    }
}

#[test]
fn a_span_may_have_no_chunk() {
    let two_in_the_last = || {
        let mut index = Index::of(3);
        index.chunks[1].span = 2;
        index.chunks[2].at = CONTENT.len() as u32;
        index.spans[2].output_bytes *= 2;
        index
    };
    assert_eq!(two_in_the_last().check().unwrap(), Vec::<String>::new());
    let mut index = two_in_the_last();
    index.spans[1].input_bytes = u32::MAX >> 7;
    assert!(index.check().unwrap_err().to_string().contains("lie in each other"), "it is bounded as all others");
    let mut index = two_in_the_last();
    index.spans[1].output_bytes = 7;
    assert_eq!(index.check().unwrap(), Vec::<String>::new(), "nobody reads it");
}

#[test]
fn what_spans_take_and_yield_is_bounded() {
    for (spans, is_refused) in [(3, false), (4, true)] {
        let mut index = Index::of(spans);
        index.spans.iter_mut().for_each(|span| span.output_bytes = 5);
        let refused = index.check().is_err_and(|fault| fault.to_string().contains("lie in each other"));
        assert_eq!(refused, is_refused, "{spans} spans take the same");
    }
    let mut index = Index::of(2);
    index.spans.iter_mut().for_each(|span| span.output_bytes = 12_000);
    assert!(index.check().unwrap().is_empty());
    index.spans[1].output_bytes += 1;
    assert!(index.check().unwrap_err().to_string().contains("lie in each other"));
}
