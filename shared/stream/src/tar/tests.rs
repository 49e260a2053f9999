//! Tars written by the `tar` crate, tars made by hand, cut tars and noise.

mod faults;

use proptest::prelude::*;

use super::*;

/// A header block made by hand: what a test does not set is empty.
#[derive(Clone)]
struct Hand {
    bytes: [u8; 512],
    payload: Vec<u8>,
}

impl Hand {
    fn new(flag: u8, name: &str) -> Self {
        let mut hand = Self { bytes: [0; 512], payload: Vec::new() };
        hand.bytes[156] = flag;
        hand.set(0, name.as_bytes()).set(100, b"0000644\0").set(257, b"ustar\x0000")
    }

    fn gnu(flag: u8, name: &str) -> Self {
        Self::new(flag, name).set(257, b"ustar  \0")
    }

    fn set(mut self, at: usize, field: &[u8]) -> Self {
        self.bytes[at..at + field.len()].copy_from_slice(field);
        self
    }

    fn payload(self, payload: &[u8]) -> Self {
        let size = format!("{:011o}\0", payload.len());
        Self { payload: payload.to_vec(), ..self.set(124, size.as_bytes()) }
    }

    /// The block with its checksum, the payload and its padding.
    fn build(&self) -> Vec<u8> {
        let mut block = self.bytes;
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut built = [&block[..], &self.payload].concat();
        built.resize(built.len().next_multiple_of(512), 0);
        built
    }
}

fn pax_record(key: &str, value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let length = (1..=8).map(|digits| body + digits).find(|length| body + length.to_string().len() == *length);
    [format!("{} {key}=", length.unwrap()).as_bytes(), value, b"\n"].concat()
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let records: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
    Hand::new(b'x', "PaxHeaders/x").payload(&records).build()
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

/// Reads a whole tar: each entry with its payload.
fn walk(tar: impl Read, limits: Limits) -> Result<Vec<(Entry, Vec<u8>)>, StreamError> {
    let mut reader = TarReader::new(tar, limits);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next_entry()?.cloned() {
        let mut payload = Vec::new();
        let mut buffer = [0; 700];
        loop {
            match reader.read_payload(&mut buffer)? {
                0 => break,
                count => payload.extend_from_slice(&buffer[..count]),
            }
        }
        assert_eq!(payload.len() as u64, entry.size);
        entries.push((entry, payload));
    }
    Ok(entries)
}

fn only(parts: &[Vec<u8>]) -> Entry {
    let tar = [parts.concat(), end()].concat();
    let mut entries = walk(&tar[..], Limits::default()).unwrap();
    assert_eq!(entries.len(), 1, "one entry was expected");
    entries.remove(0).0
}

fn failure(parts: &[Vec<u8>]) -> StreamError {
    failure_with(parts, Limits::default())
}

fn failure_with(parts: &[Vec<u8>], limits: Limits) -> StreamError {
    walk(&parts.concat()[..], limits).expect_err("this tar has to fail")
}

/// What a lossless writer puts out.
fn rebuilt(entries: &[(Entry, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (entry, payload) in entries {
        tar.extend_from_slice(&entry.raw);
        tar.extend_from_slice(payload);
        tar.resize(tar.len() + entry.padding() as usize, 0);
    }
    tar
}

#[test]
fn reads_all_fields_of_a_plain_header() {
    let entry = only(&[Hand::new(b'0', "etc/passwd")
        .set(100, b"0104755\0")
        .set(108, b"0001750\0")
        .set(116, b"0000144\0")
        .set(136, b"14712345670\0")
        .set(265, b"alice")
        .set(297, b"users")
        .payload(b"root")
        .build()]);
    let expected = Entry {
        raw: entry.raw.clone(),
        path: b"etc/passwd".to_vec(),
        kind: EntryKind::Regular,
        size: 4,
        mode: 0o104_755,
        uid: 1000,
        gid: 100,
        user: b"alice".to_vec(),
        group: b"users".to_vec(),
        mtime: Mtime { seconds: 0o14_712_345_670, nanos: 0 },
        ..Entry::default()
    };
    assert_eq!(entry, expected);
    assert_eq!((entry.raw.len(), entry.padding()), (512, 508));
}

#[test]
fn tells_kinds_by_type_flag_and_gives_header_only_kinds_no_payload() {
    let rows = [
        (b'0', "f", EntryKind::Regular, true),
        (0, "f", EntryKind::Regular, true),
        (b'7', "f", EntryKind::Regular, true),
        (0, "d/", EntryKind::Directory, false),
        (b'0', "d/", EntryKind::Regular, true),
        (b'1', "f", EntryKind::HardLink, false),
        (b'2', "f", EntryKind::Symlink, false),
        (b'3', "f", EntryKind::CharDevice, false),
        (b'4', "f", EntryKind::BlockDevice, false),
        (b'5', "f", EntryKind::Directory, false),
        (b'6', "f", EntryKind::Fifo, false),
        (b'S', "f", EntryKind::Sparse, true),
        (b'V', "f", EntryKind::Unsupported(b'V'), true),
        (b'X', "f", EntryKind::Unsupported(b'X'), true),
    ];
    for (flag, name, kind, has_payload) in rows {
        // Every one of them claims three bytes; only those with a payload have them.
        let claims = Hand::new(flag, name).set(124, b"00000000003\0");
        let first = if has_payload { claims.payload(b"abc") } else { claims };
        let tar = [first.build(), Hand::new(b'0', "next").build(), end()].concat();
        let entries = walk(&tar[..], Limits::default()).unwrap();
        assert_eq!((entries.len(), entries[0].0.kind), (2, kind), "{flag:?} {name}");
        assert_eq!(entries[0].0.size, if has_payload { 3 } else { 0 }, "{flag:?} {name}");
        assert_eq!(entries[1].0.header_offset, if has_payload { 1024 } else { 512 });
    }
}

#[test]
fn reads_devices_and_links() {
    let device = only(&[Hand::new(b'3', "dev/null").set(329, b"0000001\0").set(337, b"0000003\0").build()]);
    assert_eq!((device.dev_major, device.dev_minor), (1, 3));
    let large = only(&[
        pax(&[("SCHILY.devmajor", b"4095"), ("SCHILY.devminor", b"1048575")]),
        Hand::new(b'4', "dev/big").build(),
    ]);
    assert_eq!((large.dev_major, large.dev_minor), (4095, 1_048_575));
    let file = only(&[Hand::new(b'0', "f").set(329, b"garbage!").build()]);
    assert_eq!(file.dev_major, 0, "only a device has numbers");
    let link = only(&[Hand::new(b'2', "l").set(157, b"../there").build()]);
    assert_eq!(link.link, b"../there");
    let full = only(&[Hand::new(b'2', "l").set(157, &[b'x'; 100]).build()]);
    assert_eq!(full.link, vec![b'x'; 100]);
}

#[test]
fn joins_a_prefix_only_where_the_dialect_has_one() {
    let named = |hand: Hand| only(&[hand.set(345, b"some/dir").build()]).path;
    assert_eq!(named(Hand::new(b'0', "f")), b"some/dir/f");
    assert_eq!(named(Hand::new(b'0', "f").set(263, b" \0")), b"some/dir/f", "the version is not looked at");
    assert_eq!(named(Hand::new(b'0', "f").set(257, &[0; 8])), b"f", "V7");
    let times = Hand::gnu(b'0', "f").set(345, b"14712345670\x0014712345670\0");
    assert_eq!(only(&[times.build()]).path, b"f", "GNU keeps times there");
    assert_eq!(named(Hand::gnu(b'0', "f")), b"some/dir/f", "Go before 1.8 did not");
    assert_eq!(named(Hand::gnu(b'0', "f").set(400, b"\xff").set(353, &[b'x'; 47])), b"f", "nor was that ASCII");
    let star = Hand::new(b'0', "f").set(476, b"14712345670\x0014712345670\0").set(508, b"tar\0");
    assert_eq!(named(star), b"some/dir/f");
    let v7 = only(&[Hand::new(b'0', "f").set(257, &[0; 8]).set(265, b"alice").build()]);
    assert!(v7.user.is_empty());
}

#[test]
fn reads_gnu_long_names_and_prefers_them_to_pax() {
    let long = "d/".repeat(150) + "f";
    let name = Hand::gnu(b'L', "././@LongLink").payload(format!("{long}\0").as_bytes()).build();
    let link = Hand::gnu(b'K', "././@LongLink").payload(format!("{long}.l\0\0\0").as_bytes()).build();
    let parts = [link, name, pax(&[("path", b"pax"), ("linkpath", b"pax")]), Hand::gnu(b'2', "short").build()];
    let entry = only(&parts);
    assert_eq!(entry.path, long.as_bytes());
    assert_eq!(entry.link, format!("{long}.l").as_bytes());
    assert_eq!(entry.raw, parts.concat());
    assert_eq!(entry.header_offset, 0);
}

#[test]
fn pax_records_win_over_the_header() {
    let records: [(&str, &[u8]); 9] = [
        ("path", b"long/\xff/path"),
        ("size", b"5"),
        ("uid", b"3000000000"),
        ("gid", b"4000000000"),
        ("uname", b"alice"),
        ("gname", b""),
        ("mtime", b"-2.5"),
        ("SCHILY.xattr.security.capability", b"\x01\0\0\x02"),
        ("LIBARCHIVE.xattr.user.x", b"ignored"),
    ];
    let file = Hand::new(b'0', "short").set(297, b"users").payload(b"12345").set(124, b"77777777777\0");
    let entry = only(&[pax(&records), file.build()]);
    assert_eq!(entry.path, b"long/\xff/path");
    assert_eq!((entry.size, entry.uid, entry.gid), (5, 3_000_000_000, 4_000_000_000));
    assert_eq!((entry.user.as_slice(), entry.group.as_slice()), (&b"alice"[..], &b"users"[..]));
    assert_eq!(entry.mtime, Mtime { seconds: -3, nanos: 500_000_000 });
    assert_eq!(entry.xattrs, [(b"security.capability".to_vec(), b"\x01\0\0\x02".to_vec())]);
}

#[test]
fn pax_of_one_entry_does_not_reach_the_next() {
    let long = Hand::gnu(b'L', "l").payload(b"long\0").build();
    let first = [long, pax(&[("uid", b"7"), ("SCHILY.xattr.user.a", b"b")]), Hand::new(b'3', "a").build()].concat();
    let tar = [first, Hand::new(b'0', "b").build(), end()].concat();
    let entries = walk(&tar[..], Limits::default()).unwrap();
    let second = &entries[1].0;
    assert_eq!((second.path.as_slice(), second.uid, second.xattrs.len()), (&b"b"[..], 0, 0));
    let twice = only(&[pax(&[("uid", b"7")]), pax(&[("gid", b"8")]), Hand::new(b'0', "c").build()]);
    assert_eq!((twice.uid, twice.gid), (0, 8), "a second PAX header replaces the first");
}

#[test]
fn a_global_header_is_an_entry_and_changes_nothing() {
    let global = Hand::new(b'g', "pax_global_header").payload(&pax_record("uid", b"52")).build();
    let tar = [global.clone(), Hand::new(b'0', "f").build(), end()].concat();
    let entries = walk(&tar[..], Limits::default()).unwrap();
    let (first, second) = (&entries[0].0, &entries[1].0);
    assert_eq!((first.kind, first.size, &first.raw), (EntryKind::GlobalHeader, 0, &global));
    assert_eq!((second.uid, second.header_offset), (0, 1024));
}

#[test]
fn recognises_sparse_files() {
    let old = Hand::gnu(b'S', "old").payload(b"data");
    let first = old.clone().set(482, &[1]).build();
    let mut map = vec![0; 1024];
    map[504] = 1;
    let tar = [&first[..512], &map, &first[512..], &Hand::new(b'0', "next").build(), &end()].concat();
    let entries = walk(&tar[..], Limits::default()).unwrap();
    assert_eq!((entries[0].0.kind, entries[0].0.raw.len()), (EntryKind::Sparse, 1536));
    assert_eq!((entries[0].1.as_slice(), entries[1].0.path.as_slice()), (&b"data"[..], &b"next"[..]));

    let records: [(&str, &[u8]); 3] =
        [("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"real"), ("GNU.sparse.realsize", b"1000000")];
    let pax_sparse = only(&[pax(&records), Hand::new(b'0', "GNUSparseFile.1/real").payload(b"map").build()]);
    assert_eq!((pax_sparse.kind, pax_sparse.path.as_slice(), pax_sparse.size), (EntryKind::Sparse, &b"real"[..], 3));
}

#[test]
fn reads_large_and_negative_binary_numbers() {
    let entry = only(&[Hand::new(b'0', "f")
        .set(108, b"\x80\0\0\0\xff\xff\xff\xff")
        .set(136, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe")
        .build()]);
    assert_eq!((entry.uid, entry.mtime), (u64::from(u32::MAX), Mtime { seconds: -2, nanos: 0 }));
}

#[test]
fn skips_payloads_that_nobody_reads() {
    let large = Hand::new(b'0', "large").payload(&vec![1; 200_001]).build();
    let tar = [large, Hand::new(b'0', "next").payload(b"abc").build(), end(), vec![9; 3]].concat();
    let mut reader = TarReader::new(&tar[..], Limits::default());
    reader.next_entry().unwrap();
    assert_eq!(reader.read_payload(&mut [0; 10]).unwrap(), 10);
    assert_eq!(reader.payload_left(), 199_991);
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"next");
    assert_eq!(reader.entry().size, 3);
    assert!(reader.next_entry().unwrap().is_none());
    assert!(reader.next_entry().unwrap().is_none());
    assert_eq!(reader.into_inner(), [9; 3], "what comes after the end is left unread");
}

/// A source that gives one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let count = out.len().min(1);
        self.0.read(&mut out[..count])
    }
}

#[derive(Debug, Clone)]
struct Made {
    path: String,
    payload: Vec<u8>,
    mode: u32,
    id: u64,
    mtime: u64,
    xattr: Vec<u8>,
}

fn made() -> impl Strategy<Value = Made> {
    let path = prop_oneof!["[a-z]{1,8}", "[a-z]{1,60}/[a-zé]{90,120}", "([a-z]{30}/){8}[a-z]{1,80}"];
    let payload = prop::collection::vec(any::<u8>(), 0..1500);
    let id = prop_oneof![0..2_u64 << 20, Just(u64::from(u32::MAX))];
    let xattr = prop::collection::vec(any::<u8>(), 0..40);
    (path, payload, 0..0o7777_u32, id, 0..1_u64 << 34, xattr).prop_map(|(path, payload, mode, id, mtime, xattr)| Made {
        path,
        payload,
        mode,
        id,
        mtime,
        xattr,
    })
}

/// Has the `tar` crate write the entries; every other one as GNU, the rest as ustar.
fn written_by_the_tar_crate(entries: &[Made]) -> Vec<u8> {
    let mut builder = ::tar::Builder::new(Vec::new());
    for (index, made) in entries.iter().enumerate() {
        if !made.xattr.is_empty() {
            builder.append_pax_extensions([("SCHILY.xattr.user.test", made.xattr.as_slice())]).unwrap();
        }
        let gnu = index % 2 == 0 || made.path.len() > 100 || made.id > 0o7_777_777;
        let mut header = if gnu { ::tar::Header::new_gnu() } else { ::tar::Header::new_ustar() };
        header.set_size(made.payload.len() as u64);
        header.set_mode(made.mode);
        header.set_uid(made.id);
        header.set_gid(made.id);
        header.set_mtime(made.mtime);
        header.set_username("alice").unwrap();
        builder.append_data(&mut header, &made.path, &made.payload[..]).unwrap();
    }
    builder.into_inner().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_back_what_the_tar_crate_writes(entries in prop::collection::vec(made(), 0..6)) {
        let tar = written_by_the_tar_crate(&entries);
        let walked = walk(&tar[..], Limits::default()).unwrap();
        prop_assert_eq!(walked.len(), entries.len());
        for ((entry, payload), made) in walked.iter().zip(&entries) {
            prop_assert_eq!(&entry.path, made.path.as_bytes());
            prop_assert_eq!(payload, &made.payload);
            prop_assert_eq!((entry.mode, entry.uid, entry.gid), (made.mode, made.id, made.id));
            prop_assert_eq!(entry.mtime, Mtime { seconds: made.mtime as i64, nanos: 0 });
            prop_assert_eq!(&entry.user, b"alice");
            let xattr = entry.xattrs.first().map(|(_, value)| value.clone()).unwrap_or_default();
            prop_assert_eq!(&xattr, &made.xattr);
        }
        prop_assert!([rebuilt(&walked), end()].concat() == tar, "raw, payload and padding give the tar back");
        prop_assert!(walk(Drip(&tar), Limits::default()).unwrap() == walked, "reads of one byte change nothing");
    }

    #[test]
    fn no_bytes_make_it_panic(
        flag in any::<u8>(),
        fields in prop::collection::vec(any::<u8>(), 512),
        payload in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let noise = [fields.clone(), payload.clone()].concat();
        prop_assert!(walk(&noise[..], Limits::default()).is_err());

        // With a right checksum and a size in reach the noise gets further.
        let mut hand = Hand::new(flag, "");
        hand.bytes.copy_from_slice(&fields);
        hand.bytes[156] = flag;
        let tar = [hand.payload(&payload).build(), Hand::new(b'0', "f").build()].concat();
        if let Ok(walked) = walk(&tar[..], Limits::default()) {
            let kept: usize = walked.iter().map(|(entry, _)| entry.raw.len()).sum();
            prop_assert!(kept >= 512 * walked.len());
        }
    }
}
