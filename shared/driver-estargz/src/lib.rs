//! eStargz layers: writer and reader.
