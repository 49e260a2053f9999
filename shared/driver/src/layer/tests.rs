//! Layers of bytes, by a driver that cuts where it is told: what comes out, in which order, and what failures leave.

use std::io::Read as _;
use std::time::Duration;

use accel_test_support::noise;
use flate2::read::{GzDecoder, MultiGzDecoder};

use super::*;
use crate::conformance::Kept;
use crate::{Cut, UNIT_BYTES};

/// What the toy's front writes.
#[derive(Clone, Copy)]
enum Put<'b> {
    /// Bytes that belong to no chunk.
    Bytes(&'b [u8]),
    /// A chunk in its own member.
    Own(&'b [u8]),
    /// A chunk in the open member.
    Shared(&'b [u8]),
}

/// Where the toy's back found a chunk: member's offset in the blob, chunk's offset in the member, length, digest.
type Found = (u64, usize, usize, Digest);

/// Notes where chunks are; ends the blob with nothing, or fails there.
#[derive(Default)]
struct Toy {
    found: Vec<Found>,
    fails: bool,
}

impl Assemble for Toy {
    type Record = usize;
    type Summary = Vec<Found>;

    fn absorb(&mut self, records: Vec<usize>, unit: &Unit, blob: &mut BlobWriter<'_>) -> Result<(), DriverError> {
        let offset = blob.offset();
        for index in records {
            let chunk = unit.chunks()[index];
            let member = unit.member_of(&chunk);
            self.found.push((offset + member.output as u64, chunk.input - member.input, chunk.len, chunk.digest));
        }
        blob.write_unit(unit)
    }

    fn finish(self, _: &mut BlobWriter<'_>) -> Result<Vec<Found>, DriverError> {
        if self.fails { Err(DriverError::Changed) } else { Ok(self.found) }
    }
}

const CODEC: Codec = Codec::Gzip { level: 1 };
type Flow = ControlFlow<&'static str, ((), Finished<Vec<Found>>)>;

fn put(sink: &mut Sink<usize>, put: Put<'_>) -> Result<(), DriverError> {
    let (bytes, cut) = match put {
        Put::Bytes(bytes) => return sink.write(bytes),
        Put::Own(bytes) => (bytes, Cut::NewMember),
        Put::Shared(bytes) => (bytes, Cut::SameMember),
    };
    let index = sink.chunk(bytes.len(), cut, |buffer| {
        buffer.copy_from_slice(bytes);
        Ok(())
    })?;
    assert_eq!(sink.last_chunk(), bytes);
    sink.record(index);
    Ok(())
}

fn write(pool: &Pool, toy: Toy, output: &mut Kept, puts: &[Put<'_>]) -> Result<Flow, DriverError> {
    write_layer(pool, CODEC, toy, output, |sink| {
        puts.iter().try_for_each(|bytes| put(sink, *bytes))?;
        Ok(ControlFlow::Continue(()))
    })
}

fn finished(flow: Flow) -> Finished<Vec<Found>> {
    match flow {
        ControlFlow::Continue(((), finished)) => finished,
        ControlFlow::Break(reason) => panic!("broke off: {reason}"),
    }
}

fn is_whole(pool: &Pool) -> bool {
    pool.is_whole_within(Duration::from_secs(60))
}

#[test]
fn chunks_are_where_the_back_is_told() {
    let large = noise(UNIT_BYTES - 100, 7);
    let puts = [
        Put::Bytes(b"head"),
        Put::Own(b"one"),
        Put::Bytes(b"padding and head"),
        Put::Shared(b"two"),
        Put::Shared(b"three"),
        Put::Own(&large),
        Put::Bytes(&[0; 512]), // does not fit into the unit any more: the rest begins a member
        Put::Shared(b"four"),
        Put::Own(&large[..UNIT_BYTES / 2]),
        Put::Own(&large[..UNIT_BYTES / 2]),
        Put::Own(&large[..UNIT_BYTES / 2]),
    ];
    let mut whole = Vec::new();
    let chunks: Vec<&[u8]> = puts
        .iter()
        .filter_map(|put| match put {
            Put::Bytes(bytes) => {
                whole.extend_from_slice(bytes);
                None
            }
            Put::Own(bytes) | Put::Shared(bytes) => {
                whole.extend_from_slice(bytes);
                Some(*bytes)
            }
        })
        .collect();
    for threads in [1, 2, 8] {
        let pool = Pool::new(threads);
        let mut output = Kept::default();
        let done = finished(write(&pool, Toy::default(), &mut output, &puts).unwrap());
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&output.blob[..]).read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == whole);
        assert_eq!((done.digest, done.size), (Digest::of(&output.blob), output.blob.len() as u64));
        assert_eq!((done.diff_id, done.uncompressed_size), (Digest::of(&whole), whole.len() as u64));
        assert_eq!(done.summary.len(), chunks.len());
        for ((offset, inner, len, digest), chunk) in done.summary.iter().zip(&chunks) {
            let mut member = Vec::new();
            GzDecoder::new(&output.blob[*offset as usize..]).read_to_end(&mut member).unwrap();
            assert!(member[*inner..*inner + *len] == **chunk, "{threads} threads, chunk at {offset}");
            assert_eq!(*digest, Digest::of(chunk));
        }
        let own: Vec<usize> = done.summary.iter().map(|(_, inner, ..)| *inner).collect();
        assert_eq!(own[0], 0, "a chunk in a member of its own begins it");
        assert_eq!((own[1], own[2]), (19, 22), "what shares a member lies behind what was written before");
        assert!(is_whole(&pool));
    }
}

#[test]
fn nothing_at_all_is_an_empty_blob() {
    let mut output = Kept::default();
    let done = finished(write(&Pool::new(1), Toy::default(), &mut output, &[]).unwrap());
    assert_eq!((done.size, done.uncompressed_size, output.blob.len()), (0, 0, 0));
    assert_eq!((done.digest, done.diff_id), (Digest::of(b""), Digest::of(b"")));
}

#[test]
fn tells_each_failure_as_what_it_was_and_stays_usable() {
    let data = noise(UNIT_BYTES / 2 + 1, 7);
    let many: Vec<Put<'_>> = (0..8).map(|_| Put::Own(&data)).collect();
    let pool = Pool::new(1);
    for round in 0..2 {
        let broken = write(&pool, Toy::default(), &mut Kept::failing_after(3 << 20), &many);
        assert!(matches!(broken, Err(DriverError::Output(ref e)) if e.kind() == std::io::ErrorKind::ConnectionReset));
        assert!(is_whole(&pool), "after the output, round {round}");

        let toy = Toy { fails: true, ..Toy::default() };
        assert!(matches!(write(&pool, toy, &mut Kept::default(), &many), Err(DriverError::Changed)));
        assert!(is_whole(&pool), "after the back, round {round}");

        let front: Result<Flow, _> = write_layer(&pool, CODEC, Toy::default(), &mut Kept::default(), |sink| {
            many.iter().try_for_each(|bytes| put(sink, *bytes))?;
            Err(DriverError::Codec)
        });
        assert!(matches!(front, Err(DriverError::Codec)));
        assert!(is_whole(&pool), "after the front, round {round}");

        let broke = write_layer(&pool, CODEC, Toy::default(), &mut Kept::default(), |sink| {
            many.iter().try_for_each(|bytes| put(sink, *bytes))?;
            Ok(ControlFlow::<_, ()>::Break("enough"))
        });
        assert!(matches!(broke, Ok(ControlFlow::Break("enough"))));
        assert!(is_whole(&pool), "after breaking off, round {round}");
    }
    let done = finished(write(&pool, Toy::default(), &mut Kept::default(), &many).unwrap());
    assert_eq!(done.summary.len(), many.len());
}

#[test]
fn a_failed_fill_fails_the_layer() {
    let pool = Pool::new(2);
    let failed: Result<Flow, _> = write_layer(&pool, CODEC, Toy::default(), &mut Kept::default(), |sink| {
        sink.chunk(10, Cut::NewMember, |_| Err(DriverError::Changed))?;
        Ok(ControlFlow::Continue(()))
    });
    assert!(matches!(failed, Err(DriverError::Changed)));
    assert!(is_whole(&pool));
}

#[test]
fn layers_share_a_pool_of_one_thread_without_waiting_for_each_other() {
    let data = noise(UNIT_BYTES - 1, 7);
    let many: Vec<Put<'_>> = (0..6).map(|_| Put::Own(&data)).collect();
    let pool = Pool::new(1);
    let alone = finished(write(&pool, Toy::default(), &mut Kept::default(), &many).unwrap());
    thread::scope(|scope| {
        let layer = || finished(write(&pool, Toy::default(), &mut Kept::default(), &many).unwrap());
        let both = [scope.spawn(layer), scope.spawn(layer)];
        for one in both {
            assert_eq!(one.join().unwrap(), alone);
        }
    });
    assert!(is_whole(&pool));
}

#[test]
fn the_level_is_the_codecs() {
    let text: Vec<u8> = noise(200_000, 7).iter().map(|byte| b'a' + byte % 8).collect();
    let pool = Pool::new(1); // one thread: its encoder has to change
    let sizes: Vec<u64> = [1, 9, 1]
        .map(|level| {
            let codec = Codec::Gzip { level };
            let flow: Flow = write_layer(&pool, codec, Toy::default(), &mut Kept::default(), |sink| {
                put(sink, Put::Own(&text))?;
                Ok(ControlFlow::Continue(()))
            })
            .unwrap();
            finished(flow).size
        })
        .to_vec();
    assert!(sizes[1] < sizes[0] && sizes[0] == sizes[2], "{sizes:?}");
}
