//! What is refused, and where a tar ends.

use super::*;

#[test]
fn names_the_field_that_is_no_number() {
    let rows: [(usize, &[u8], &str); 7] = [
        (100, b"rwxr-xr-", "mode"),
        (100, b"\x80\0\0\x01\0\0\0\0", "mode"),
        (108, b"\xff\xff\xff\xff\xff\xff\xff\xff", "uid"),
        (116, b"9999999\0", "gid"),
        (124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", "size"),
        (124, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "size"),
        (136, b"yesterday..\0", "mtime"),
    ];
    for (at, bytes, expected) in rows {
        let error = failure(&[Hand::new(b'0', "the\nfile").set(at, bytes).build()]);
        let StreamError::Number { path, offset: 0, field } = error else { panic!("{expected}: {error:?}") };
        assert_eq!((path.as_str(), field), ("the\\nfile", expected));
    }
    let device = failure(&[Hand::new(b'3', "f").set(337, b"x").build()]);
    assert!(matches!(device, StreamError::Number { field: "device minor number", .. }));
    let extension = failure(&[Hand::new(b'x', "f").set(124, b"x").build()]);
    assert!(matches!(extension, StreamError::Number { field: "size", .. }));
}

#[test]
fn refuses_sizes_beyond_any_layer() {
    let binary = Hand::new(b'0', "big").set(124, b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff").build();
    let error = failure(&[binary]);
    let StreamError::EntryTooLarge { path, bytes, .. } = error else { panic!("{error:?}") };
    assert_eq!((path.as_str(), bytes), ("big", i64::MAX as u64));
    let by_pax = failure(&[pax(&[("size", b"18446744073709551615")]), Hand::new(b'0', "big").build()]);
    assert!(matches!(by_pax, StreamError::EntryTooLarge { bytes: u64::MAX, .. }));
    let beyond = failure(&[pax(&[("size", b"18446744073709551616")]), Hand::new(b'0', "big").build()]);
    assert!(matches!(beyond, StreamError::Pax { offset: 0, fault: crate::PaxFault::Number { key: "size" } }));
}

#[test]
fn keeps_the_limits() {
    let limits = Limits { entries: 2, path_bytes: 20, pax_bytes: 2000, ..Limits::default() };
    let file = || Hand::new(b'0', "f").build();
    assert_eq!(walk(&[file(), file(), end()].concat()[..], limits).unwrap().len(), 2);
    let many = failure_with(&[file(), file(), file()], limits);
    assert!(matches!(many, StreamError::TooManyEntries { limit: 2 }));

    for key in ["path", "linkpath"] {
        let fits = [pax(&[(key, &[b'x'; 20])]), file(), end()].concat();
        assert!(walk(&fits[..], limits).is_ok(), "{key}");
        let error = failure_with(&[pax(&[(key, &[b'x'; 21])]), file()], limits);
        assert!(matches!(error, StreamError::PathTooLong { bytes: 21, limit: 20, .. }), "{key}: {error:?}");
    }

    let fits = [pax(&[("comment", &[b'x'; 1985])]), file(), end()].concat();
    assert!(walk(&fits[..], limits).is_ok());
    let error = failure_with(&[pax(&[("comment", &[b'x'; 1990])]), file()], limits);
    assert!(matches!(error, StreamError::ExtensionTooLarge { limit: 2000, .. }), "{error:?}");
    let claim = Hand::new(b'L', "l").set(124, b"77777777777\0").build();
    assert!(matches!(failure_with(&[claim], limits), StreamError::ExtensionTooLarge { .. }));
    let chain = vec![Hand::new(b'x', "empty").build(); 100];
    assert!(matches!(failure_with(&chain, limits), StreamError::ExtensionTooLarge { .. }));
    let endless_map = [Hand::gnu(b'S', "s").set(482, &[1]).build(), vec![1; 60_000]];
    assert!(matches!(failure_with(&endless_map, limits), StreamError::ExtensionTooLarge { .. }));
}

#[test]
fn ends_where_go_ends() {
    let file = || Hand::new(b'0', "f").payload(b"abc").build();
    let zero = || vec![0; 512];
    for clean in [vec![], zero(), end(), [end(), b"anything".to_vec()].concat()] {
        assert_eq!(walk(&[file(), clean].concat()[..], Limits::default()).unwrap().len(), 1);
    }
    let lone = failure(&[file(), zero(), file()]);
    assert!(matches!(lone, StreamError::LoneZeroBlock { offset: 1024 }), "{lone:?}");
    let cut = failure(&[file(), zero(), vec![0; 100]]);
    assert!(matches!(cut, StreamError::TarTruncated { offset: 1636, .. }), "{cut:?}");
    for after in [vec![], end(), Hand::new(b'g', "g").build()] {
        let error = failure(&[pax(&[("path", b"x")]), after]);
        assert!(matches!(error, StreamError::DanglingExtension { offset: 0 }), "{error:?}");
    }
}

#[test]
fn names_a_block_that_is_no_header_and_stays_failed() {
    let mut broken = Hand::new(b'0', "f").build();
    broken[0] ^= 1;
    let tar = [Hand::new(b'0', "ok").build(), broken].concat();
    let mut reader = TarReader::new(&tar[..], Limits::default());
    assert_eq!(reader.next_entry().unwrap().unwrap().path, b"ok");
    assert!(matches!(reader.next_entry(), Err(StreamError::HeaderChecksum { offset: 512 })));
    assert!(matches!(reader.next_entry(), Err(StreamError::AfterFailure)));
    assert!(matches!(reader.read_payload(&mut [0]), Err(StreamError::AfterFailure)));
}

#[test]
fn a_tar_cut_anywhere_is_an_error_or_whole_up_to_there() {
    let records = pax(&[("path", b"second")]);
    let entries = [Hand::new(b'0', "first").payload(&[7; 600]).build(), records, Hand::new(b'0', "s").build()];
    // As Go does, what has no padding after its payload is whole: some tools leave it out at a tar's end.
    let whole = |cut| match cut {
        0 => Some(0),
        1112..=1536 => Some(1),
        3072 | 3584 | 4096 => Some(2),
        _ => None,
    };
    let tar = [entries.concat(), end()].concat();
    assert_eq!(tar.len(), 4096);
    for cut in 0..=tar.len() {
        match walk(&tar[..cut], Limits::default()) {
            Ok(walked) => assert_eq!(Some(walked.len()), whole(cut), "cut at {cut}"),
            Err(_) if whole(cut).is_some() => panic!("cut at {cut}: an error"),
            Err(StreamError::TarTruncated { offset, .. }) => assert_eq!(offset, cut as u64),
            Err(StreamError::DanglingExtension { offset }) => assert_eq!((offset, cut), (1536, 2560)),
            Err(other) => panic!("cut at {cut}: {other:?}"),
        }
    }
    let error = failure(&[tar[..1000].to_vec()]);
    assert!(matches!(&error, StreamError::TarTruncated { path, offset: 1000 } if path == "first"), "{error:?}");
}
