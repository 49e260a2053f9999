package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestLayersAreAppliedAsTheSpecificationSays(t *testing.T) {
	dir := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o711} }
	file := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644} }
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}
	}
	base := []tar.Header{dir("d"), file("d/a"), file("d/b"), file("f"), link("h", "f")}
	rows := []struct {
		layers [][]tar.Header
		want   string
	}{
		{[][]tar.Header{base}, ". d d/a d/b f h"},
		{[][]tar.Header{base, {file("d/.wh.a")}}, ". d d/b f h"},
		{[][]tar.Header{base, {file(".wh.d"), file("d/c")}}, ". d d/c f h"},
		{[][]tar.Header{base, {file("d/c"), file("d/.wh..wh..opq")}}, ". d d/c f h"},
		{[][]tar.Header{base, {file("d")}}, ". d f h"},
		{[][]tar.Header{base, {dir("f"), link("below", "h")}}, ". below d d/a d/b f h"},
		{[][]tar.Header{base, {file("f/g")}}, ". d d/a d/b f f/g h"},
		{[][]tar.Header{{file(".wh.x"), file("new/.wh.y")}}, ". new"},
	}
	for _, row := range rows {
		to := layout(t.TempDir())
		var layers []ocispec.Descriptor
		for _, headers := range row.layers {
			var builder tarBuilder
			for _, header := range headers {
				builder.add(header, "")
			}
			desc, err := to.put(ocispec.MediaTypeImageLayer, builder.finish())
			if err != nil {
				t.Fatal(err)
			}
			layers = append(layers, desc)
		}
		nodes, err := (&image{store: to}).imageTree(layers)
		if err != nil {
			t.Fatal(err)
		}
		if found := strings.Join(sortedPaths(nodes), " "); found != row.want {
			t.Errorf("%v: %s", row.layers, found)
		}
	}
}

func TestChunksAreFoundInTheirWords(t *testing.T) {
	// 0x3fffff and 0x300000 are lengths less one, in 20 and 4 bits.
	words := binary.LittleEndian.AppendUint64(nil, 0xfffff<<44|0x3<<8|0x7000)
	words = binary.LittleEndian.AppendUint64(words, 0x00000<<44|0x3<<40|0x123456789a)
	want := chunk{offset: 0x123456789a, stored: 0x300001, position: 0x7000, size: 0x400000, whole: 0x400000}
	if found := parseChunk(words); found != want {
		t.Errorf("%+v", found)
	}
}

func TestChunksAreFoundInBatches(t *testing.T) {
	var meta []byte
	for _, word := range []uint64{
		0x01<<56 | 0xffff<<32 | 3, 0x8000<<40 | 7, 0, // of 64 KiB, at block 3
		0x05<<56 | 99<<32 | 4, 0x8007, 1<<32 | 50, // 100 bytes behind 50 of batch 1
		0, 0, 0, 0, 0, // batch 0
		160<<32 | 80, 0, 0, 0, 0,
	} {
		meta = binary.LittleEndian.AppendUint64(meta, word)
	}
	header := make([]byte, metaHeader)
	header[4], header[12] = featureBatch, 2
	header[40], header[48], header[56] = 48, 80, 2
	want := []chunk{
		{offset: 7, stored: 0x8000, position: 0x3000, size: 0x10000, whole: 0x10000},
		{offset: 0x8007, stored: 80, position: 0x4000, size: 100, whole: 160, begin: 50},
	}
	found, err := parseChunks(meta, header)
	if err != nil || len(found) != 2 || found[0] != want[0] || found[1] != want[1] {
		t.Errorf("%+v, %v", found, err)
	}
	meta[len(meta)-36] = 149
	if _, err := parseChunks(meta, header); err == nil {
		t.Error("a chunk beyond its batch")
	}
}

func TestLZ4BlocksAreInflated(t *testing.T) {
	rows := []struct{ block, want string }{
		{"\x30abc", "abc"},
		{"\x31abc\x03\x00\x50abcde", "abcabcab" + "abcde"},
		{"\x1fa\x01\x00\x04\x00", strings.Repeat("a", 1+15+4+4)},
		{"\xf0\x01" + strings.Repeat("x", 16), strings.Repeat("x", 16)},
	}
	for _, row := range rows {
		found, err := inflateLZ4([]byte(row.block), len(row.want))
		if err != nil || string(found) != row.want {
			t.Errorf("%q: %q, %v", row.block, found, err)
		}
	}
	for _, broken := range []string{"\x40abc", "\x31abc\x04\x00", "\x31abc\x00\x00", "\x31abc\x01", "\x30abcd"} {
		if found, err := inflateLZ4([]byte(broken), 7); err == nil {
			t.Errorf("%q: %q", broken, found)
		}
	}
}

// nydusImage is an image of one blob with two chunks, with every digest right.
type nydusImage struct {
	blob, boot, kept []byte
	annotations      map[string]string
}

func goodNydusImage() nydusImage {
	data := append([]byte("first chunk"), "second"...)
	meta := make([]byte, 32)
	for index, words := range [][2]uint64{{10 << 44, 10 << 44}, {5<<44 | 4096, 5<<44 | 11}} {
		binary.LittleEndian.PutUint64(meta[16*index:], words[0])
		binary.LittleEndian.PutUint64(meta[16*index+8:], words[1])
	}
	first, second := sha256.Sum256(data[:11]), sha256.Sum256(data[11:])
	header := make([]byte, metaHeader)
	header[12] = 2
	var blob, toc []byte
	section := func(name string, content []byte, size int64) {
		entry := make([]byte, tocEntry)
		entry[0] = 1
		copy(entry[8:], name)
		sum := sha256.Sum256(content)
		copy(entry[24:], sum[:])
		for at, number := range []int64{int64(len(blob)), int64(len(content)), size} {
			binary.LittleEndian.PutUint64(entry[56+8*at:], uint64(number))
		}
		toc, blob = append(toc, entry...), append(blob, content...)
	}
	section("image.blob", data, 8192)
	section("blob.meta", meta, 32)
	section("blob.meta.header", header, metaHeader)
	section("blob.digest", append(first[:], second[:]...), 64)
	var end tarBuilder
	end.raw(rawEntry{name: "rafs.blob.toc", typeflag: '0', size: int64(len(toc)), magic: "ustar  \x00"})
	blob = append(append(blob, toc...), end.buffer.Bytes()[:tarHeader]...)

	boot := make([]byte, 4096)
	binary.LittleEndian.PutUint16(boot[superblock+86:], 1)
	copy(boot[deviceTable:], digest.FromBytes(blob).Encoded())
	binary.LittleEndian.PutUint32(boot[deviceTable+64:], 2)
	kept := append(append(meta, make([]byte, 4096-32)...), header...)
	return nydusImage{blob, boot, kept, map[string]string{bootAnnotation: "true"}}
}

func (n nydusImage) write(t *testing.T) ([]string, error) {
	to := layout(t.TempDir())
	put := func(mediaType string, content []byte, annotations map[string]string) ocispec.Descriptor {
		desc, err := to.put(mediaType, content)
		if err != nil {
			t.Fatal(err)
		}
		desc.Annotations = annotations
		return desc
	}
	var builder tarBuilder
	builder.add(tar.Header{Name: "image/image.boot", Typeflag: tar.TypeReg}, string(n.boot))
	name := "image/" + digest.FromBytes(n.blob).Encoded() + ".blob.meta"
	builder.add(tar.Header{Name: name, Typeflag: tar.TypeReg}, string(n.kept))
	unpacked := builder.finish()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(unpacked); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	blob := put(blobType, n.blob, map[string]string{blobAnnotation: "true"})
	last := put(ocispec.MediaTypeImageLayerGzip, packed.Bytes(), n.annotations)
	one := platformImage{"linux/amd64", []ocispec.Descriptor{blob, last}, []digest.Digest{blob.Digest, digest.FromBytes(unpacked)}, ""}
	dir := filepath.Join(string(to), "work")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return (&image{store: to}).writeDevices(one, dir)
}

func TestDevicesHoldTheChunks(t *testing.T) {
	devices, err := goodNydusImage().write(t)
	if err != nil || len(devices) != 1 {
		t.Fatal(devices, err)
	}
	found, err := os.ReadFile(devices[0])
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 8192)
	copy(want, "first chunk")
	copy(want[4096:], "second")
	if !bytes.Equal(found, want) {
		t.Error("the device holds something else")
	}
}

func TestDevicesRefuseOneFault(t *testing.T) {
	faults := map[string]func(n *nydusImage){
		"no bootstrap":                 func(n *nydusImage) { n.annotations = nil },
		"a bootstrap cut off":          func(n *nydusImage) { n.boot = n.boot[:4000] },
		"a device that is no layer":    func(n *nydusImage) { n.boot[deviceTable] ^= 1 },
		"a device of another size":     func(n *nydusImage) { n.boot[deviceTable+64]++ },
		"an empty file":                func(n *nydusImage) { n.kept = nil },
		"other metadata of the chunks": func(n *nydusImage) { n.kept[3] ^= 1 },
		"another chunk":                func(n *nydusImage) { n.edit(0) },
		"other metadata":               func(n *nydusImage) { n.edit(17) },
		"another digest of a chunk":    func(n *nydusImage) { n.edit(17 + 32 + metaHeader) },
		"no table of contents":         func(n *nydusImage) { n.edit(len(n.blob) - tarHeader) },
		"a section of unknown flags":   func(n *nydusImage) { n.edit(len(n.blob) - tarHeader - 3*tocEntry) },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			bad := goodNydusImage()
			fault(&bad)
			if devices, err := bad.write(t); err == nil {
				t.Errorf("%v", devices)
			}
		})
	}
}

// edit changes a byte of the blob, and the bootstrap with it: its digest is right again.
func (n *nydusImage) edit(at int) {
	n.blob[at] ^= 4
	copy(n.boot[deviceTable:], digest.FromBytes(n.blob).Encoded())
}

func TestWhatNydusdShowsOnPurposeIsExpected(t *testing.T) {
	const second = int64(1_000_000_000)
	expected := tree{
		".":       {Mode: "0711", MTime: second},
		"sticky":  {Mode: "1711", MTime: 0},
		"later":   {Mode: "0640", MTime: second},
		"earlier": {Mode: "0640", MTime: -1},
		"implied": {Mode: "0755", MTime: anyTime},
	}
	asNydusdShows(expected)
	want := tree{
		".":       {Mode: "0755", MTime: second},
		"sticky":  {Mode: "1711", MTime: anyTime},
		"later":   {Mode: "0640", MTime: second},
		"earlier": {Mode: "0640", MTime: -1},
		"implied": {Mode: "0755", MTime: anyTime},
	}
	exact := func(a, b int64) bool { return a == b }
	if err := report(compare(want, expected, exact)); err != nil {
		t.Error(err)
	}
	for path, one := range want {
		if expected[path].MTime != one.MTime {
			t.Errorf("%s: time %d, want %d", path, expected[path].MTime, one.MTime)
		}
	}
}

func TestNydusImagesStandBesidePlainOnes(t *testing.T) {
	image := func(platform, artifact string) platformImage {
		return platformImage{platform: platform, artifact: artifact}
	}
	plain, made := image("linux/amd64", ""), image("linux/amd64", nydusManifest)
	other := image("linux/arm64", nydusManifest)
	rows := []struct {
		all  []platformImage
		want int // -1: refused
	}{
		{[]platformImage{plain, plain}, 2},
		{[]platformImage{plain, made}, 1},
		{[]platformImage{made}, -1},
		{[]platformImage{made, plain}, -1},
		{[]platformImage{plain, other}, -1},
		{[]platformImage{plain, plain, made}, -1},
		{[]platformImage{plain, plain, made, plain}, -1},
	}
	for index, row := range rows {
		found, err := besidePlain(row.all)
		if (err != nil) != (row.want < 0) || err == nil && len(found) != row.want {
			t.Errorf("row %d: %d images, %v", index, len(found), err)
		}
	}
}

func TestABootstrapOfRAFSv5IsWhatABlobEndsWith(t *testing.T) {
	header := func(name string, size int64) []byte {
		var archive bytes.Buffer
		if err := tar.NewWriter(&archive).WriteHeader(&tar.Header{Name: name, Size: size}); err != nil {
			t.Fatal(err)
		}
		return archive.Bytes()
	}
	blob := append([]byte("dataSFAR1234"), header(bootstrapName, 8)...)
	content, err := layerBootstrap(bytes.NewReader(blob), int64(len(blob)))
	if err != nil || string(content) != "SFAR1234" {
		t.Errorf("%q, %v", content, err)
	}
	for _, wrong := range [][]byte{append([]byte("SFAR"), header(bootstrapName, 8)...), header("another", 0)} {
		if content, err := layerBootstrap(bytes.NewReader(wrong), int64(len(wrong))); err == nil {
			t.Errorf("%q", content)
		}
	}
}
