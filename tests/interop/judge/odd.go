package main

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"
)

// oddLayer is one hand-made layer: a name for messages, a codec of oddimages.go, its entries.
type oddLayer struct {
	name, codec string
	write       func(*tarBuilder)
}

var (
	kinds     = oddLayer{"kinds", "gzip", writeKinds}
	epoch     = oddLayer{"epoch", "gzip", writeEpoch}
	links     = oddLayer{"links", "gzip", writeLinks}
	whiteouts = oddLayer{"whiteouts", "gzip", writeWhiteouts}
	empty     = oddLayer{"empty", "gzip", func(*tarBuilder) {}}
	landmarks = oddLayer{"landmarks", "gzip", writeLandmarks}
	blocks    = oddLayer{"blocks", "gzip", writeBlocks}
	replaced  = oddLayer{"replaced", "gzip", writeReplaced}
	sparseGNU = oddLayer{"sparse GNU", "gzip", writeSparseGNU}
	sparsePAX = oddLayer{"sparse PAX", "gzip", writeSparsePAX}
	notUTF8   = oddLayer{"not UTF-8", "gzip", writeNotUTF8}
)

func (l oddLayer) as(codec string) oddLayer {
	l.codec = codec
	return l
}

// chunkSize is the reference's default: a payload longer than it has several chunks.
const chunkSize = 4 << 20

var someTime = time.Unix(1700000000, 0)

func dir(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755, ModTime: someTime}
}

func file(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: someTime}
}

func hardlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target, Mode: 0o644, ModTime: someTime}
}

// writeKinds has each type of entry, each kind of attribute and the names that break careless writers.
func writeKinds(b *tarBuilder) {
	root := dir("./")
	root.Mode = 0o711
	b.add(root, "")
	b.add(dir("./etc/"), "")
	b.add(file("etc/empty"), "")
	b.add(file("/etc/absolute"), "absolute\n")
	b.add(file("no/parent/has/an/entry"), "lonely\n")
	b.add(file("exact"), strings.Repeat("0123456789abcdef", chunkSize/16))
	b.add(file("zeros"), strings.Repeat("\x00", 2*chunkSize+1))
	b.add(file("chunks"), strings.Repeat("chunk after chunk\n", 600000))

	suid := file("suid")
	suid.Mode, suid.Uid, suid.Gid, suid.Uname, suid.Gname = 0o6755, 0, 42, "root", "shadow"
	b.add(suid, "suid\n")
	sticky := dir("sticky")
	sticky.Mode = 0o1777
	b.add(sticky, "")
	foreign := file("foreign")
	foreign.Uid, foreign.Gid, foreign.Format = 3000000, 3000001, tar.FormatGNU
	b.add(foreign, "base-256\n")
	capable := file("capable")
	capable.PAXRecords = map[string]string{
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
		"SCHILY.xattr.user.text":           "plain",
		"SCHILY.xattr.user.bytes":          "\xff\xfe=\n",
	}
	b.add(capable, "capable\n")
	fine := file("fine")
	fine.ModTime, fine.Format = time.Unix(1700000000, 623456789), tar.FormatPAX
	b.add(fine, "sub-second\n")

	b.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "symlink", Linkname: "../no/../such target", Mode: 0o777, ModTime: someTime}, "")
	b.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "long", Linkname: strings.Repeat("../long", 40), Mode: 0o777, ModTime: someTime}, "")
	b.add(tar.Header{Typeflag: tar.TypeChar, Name: "dev/null", Mode: 0o666, Devmajor: 1, Devminor: 3, ModTime: someTime}, "")
	b.add(tar.Header{Typeflag: tar.TypeBlock, Name: "dev/block", Mode: 0o660, Gid: 6, Devmajor: 259, Devminor: 70, ModTime: someTime}, "")
	b.add(tar.Header{Typeflag: tar.TypeFifo, Name: "fifo", Mode: 0o600, ModTime: someTime}, "")

	for index, name := range []string{
		"<&>", "quote\"'", "back\\slash", "new\nline", "tab\tbell\x07", "ünïcödé/ファイル", "\u2028\u2029", " blanks ", "-dash", "*?[x]",
		strings.Repeat("n", 255), strings.Repeat("deep/", 60) + "file",
	} {
		named := file("names/" + name)
		if index%2 == 1 {
			named.Format = tar.FormatGNU
		}
		b.add(named, name)
	}
}

// writeEpoch has the times that a zero-means-absent writer gets wrong. Reproducible builds are full of them.
func writeEpoch(b *tarBuilder) {
	for _, at := range []int64{0, 1} {
		old := dir(fmt.Sprintf("epoch/%d", at))
		old.ModTime = time.Unix(at, 0)
		b.add(old, "")
		inside := file(fmt.Sprintf("epoch/%d/file", at))
		inside.ModTime = time.Unix(at, 0)
		b.add(inside, "old\n")
	}
}

// writeLinks has hard links of each sort, and paths that appear twice.
func writeLinks(b *tarBuilder) {
	b.add(dir("l/"), "")
	b.add(file("l/original"), "many names\n")
	b.add(hardlink("l/second", "l/original"), "")
	b.add(hardlink("l/third", "./l/second"), "")
	b.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "l/symlink", Linkname: "original", Mode: 0o777, ModTime: someTime}, "")
	b.add(hardlink("l/symlink-too", "/l/symlink"), "")
	b.add(tar.Header{Typeflag: tar.TypeFifo, Name: "l/fifo", Mode: 0o640, ModTime: someTime}, "")
	b.add(hardlink("l/fifo-too", "l/fifo"), "")

	b.add(file("twice"), "first\n")
	b.add(file("./twice"), "second and longer\n")
	b.add(file("l/file-then-symlink"), "gone\n")
	b.add(tar.Header{Typeflag: tar.TypeSymlink, Name: "l/file-then-symlink", Linkname: "original", Mode: 0o777, ModTime: someTime}, "")
	again := dir("l")
	again.Mode = 0o750
	b.add(again, "")
}

// writeWhiteouts removes and replaces what the layers of writeKinds and writeLinks brought.
func writeWhiteouts(b *tarBuilder) {
	b.add(file(".wh.exact"), "")
	b.add(file("l/.wh.second"), "")
	b.add(file("l/.wh.not-there"), "")
	b.add(dir("names/"), "")
	b.add(file("names/.wh..wh..opq"), "")
	b.add(file("names/fresh"), "after the opaque marker\n")
	b.add(file(".wh.zeros"), "")
	b.add(file("zeros"), "in the layer that hides it\n")
	b.add(file("no/parent/.wh..wh..opq"), "")
}

// writeLandmarks is what an image that was eStargz before and got unpacked and packed again holds.
func writeLandmarks(b *tarBuilder) {
	b.add(file(".prefetch.landmark"), "\x0f")
	b.add(file("stargz.index.json"), `{"version":1,"entries":[]}`)
	b.add(file("below/.no.prefetch.landmark"), "an ordinary file here\n")
	b.add(file("after"), "after\n")
}

// writeReplaced has a hard link to a path that a later entry replaces: the link keeps the first content, which a TOC
// of paths cannot say. The layer must be kept.
func writeReplaced(b *tarBuilder) {
	b.add(file("r/path"), "first\n")
	b.add(hardlink("r/link", "r/path"), "")
	b.add(file("r/path"), "second\n")
}

// writeBlocks has what readers must accept although few writers make it.
func writeBlocks(b *tarBuilder) {
	const ustar = "ustar\x0000"
	b.pax('g', "comment=a global header, as git archive writes it")
	b.raw(rawEntry{name: "oldest", mode: 0o644, mtime: 1, size: 4, content: "old\n"})
	b.raw(rawEntry{name: "oldest-dir/", mode: 0o755, mtime: 1})
	b.raw(rawEntry{name: "contiguous", typeflag: '7', magic: ustar, mode: 0o644, mtime: 2, size: 11, content: "contiguous\n"})
	b.raw(rawEntry{name: "linked", typeflag: '1', link: "contiguous", magic: ustar, mode: 0o644, mtime: 3, size: 11})
	b.raw(rawEntry{name: "sized-dir", typeflag: '5', magic: ustar, mode: 0o755, mtime: 3, size: 4096})
	b.raw(rawEntry{name: "file", prefix: "pre/fix", typeflag: '0', magic: ustar, mode: 0o644, mtime: 4, size: 7, content: "prefix\n"})
	b.raw(rawEntry{name: "type-bits", typeflag: '0', magic: ustar, mode: 0o100640, mtime: 5, size: 5, content: "bits\n"})
	b.pax('x', "size=9", "mtime=7.5", "uid=77", "comment=size only here")
	b.raw(rawEntry{name: "pax-size", typeflag: '0', magic: ustar, mode: 0o644, content: "pax size\n"})
	b.raw(rawEntry{name: "spaces", typeflag: '0', magic: ustar, mode: 0o644, content: "spaces\n", edit: func(block []byte) {
		copy(block[100:108], "   644 \x00")
		copy(block[124:136], "         7 \x00")
	}})
	b.bare = true
}

// writeSparseGNU has a file with a hole in GNU's old form, which eStargz cannot hold: the layer must be kept.
func writeSparseGNU(b *tarBuilder) {
	b.add(file("before"), "before\n")
	b.raw(rawEntry{name: "sparse", typeflag: 'S', magic: "ustar  \x00", mode: 0o644, mtime: 1, size: 512,
		content: strings.Repeat("s", 512), edit: func(block []byte) {
			octal(block[386:398], 4096) // data at 4096
			octal(block[398:410], 512)
			octal(block[483:495], 4608) // real size
		}})
	b.add(file("behind"), "behind\n")
}

// writeSparsePAX has the same in PAX's form 1.0: the map stands before the data.
func writeSparsePAX(b *tarBuilder) {
	content := fmt.Sprintf("%-512s", "")
	content = "1\n4096\n512\n" + strings.Repeat("\x00", 512-len("1\n4096\n512\n")) + strings.Repeat("s", len(content))
	b.pax('x', "GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=pax-sparse", "GNU.sparse.realsize=4608")
	b.raw(rawEntry{name: "GNUSparseFile.0/pax-sparse", typeflag: '0', magic: "ustar\x0000", mode: 0o644, mtime: 1, size: 1024,
		content: content})
}

// writeNotUTF8 has a name that JSON cannot hold: the layer must be kept.
func writeNotUTF8(b *tarBuilder) {
	b.raw(rawEntry{name: "latin-1-\xe9", typeflag: '0', magic: "ustar\x0000", mode: 0o644, mtime: 1, size: 8, content: "latin 1\n"})
}
