package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	bootstrapName  = "image.boot"
	blobType       = "application/vnd.oci.image.layer.nydus.blob.v1"
	blobAnnotation = "containerd.io/snapshot/nydus-blob"
	bootAnnotation = "containerd.io/snapshot/nydus-bootstrap"
	// refAnnotation says of a blob that it is an index into the layer of the source with that digest.
	refAnnotation = "containerd.io/snapshot/nydus-ref"

	superblock  = 1024
	deviceTable = 1408
	tarHeader   = 512
	tocEntry    = 128
	metaHeader  = 4096

	featureBatch = 0x80
)

// writeDevices writes what the kernel needs to mount an image: its bootstrap, and for each blob of the bootstrap's
// table a device with every chunk uncompressed at its place, as nydusd shows it.
func (i *image) writeDevices(one platformImage, dir string) ([]string, error) {
	last := len(one.layers) - 1
	if last < 0 || one.layers[last].Annotations[bootAnnotation] != "true" {
		return nil, fmt.Errorf("the last layer is not a bootstrap")
	}
	files, err := i.bootstrapLayer(one.layers[last], one.diffIDs[last])
	if err != nil {
		return nil, fmt.Errorf("bootstrap layer: %w", err)
	}
	boot := files["image/"+bootstrapName]
	if len(boot) < deviceTable || len(boot)%4096 != 0 {
		return nil, fmt.Errorf("a bootstrap of %d bytes", len(boot))
	}
	if err := os.WriteFile(filepath.Join(dir, bootstrapName), boot, 0o600); err != nil {
		return nil, err
	}
	blobs := map[string]ocispec.Descriptor{}
	for index, desc := range one.layers[:last] {
		if desc.MediaType != blobType || desc.Annotations[blobAnnotation] != "true" || one.diffIDs[index] != desc.Digest {
			return nil, fmt.Errorf("layer %d is no Nydus blob: %v, diff id %s", index, desc, one.diffIDs[index])
		}
		blobs[desc.Digest.Encoded()] = desc
	}
	var devices []string
	for index := range int(binary.LittleEndian.Uint16(boot[superblock+86:])) {
		entry := boot[deviceTable+128*index:][:128]
		desc, present := blobs[string(entry[:64])]
		if !present {
			return nil, fmt.Errorf("device %d is %s, which is no layer", index, entry[:64])
		}
		device := filepath.Join(dir, fmt.Sprintf("device.%d", index))
		size, err := i.writeDevice(desc, device, files["image/"+desc.Digest.Encoded()+".blob.meta"])
		if err != nil {
			return nil, fmt.Errorf("blob %s: %w", desc.Digest, err)
		}
		if blocks := binary.LittleEndian.Uint32(entry[64:]); int64(blocks)*4096 != size {
			return nil, fmt.Errorf("device %d has %d blocks, its blob %d bytes", index, blocks, size)
		}
		devices = append(devices, device)
	}
	return devices, nil
}

// bootstrapLayer returns the files of the layer that ends an image.
func (i *image) bootstrapLayer(desc ocispec.Descriptor, diffID digest.Digest) (map[string][]byte, error) {
	blob, err := i.fetch(desc)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	unpacked, err := gzip.NewReader(blob)
	if err != nil {
		return nil, err
	}
	digester := digest.SHA256.Digester()
	archive := io.TeeReader(unpacked, digester.Hash())
	files := map[string][]byte{}
	for reader := tar.NewReader(archive); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if files[header.Name], err = io.ReadAll(reader); err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeReg && len(files[header.Name]) == 0 {
			return nil, fmt.Errorf("%s is empty, which snapshotters refuse", header.Name)
		}
	}
	if _, err := io.Copy(io.Discard, archive); err != nil {
		return nil, err
	}
	if digester.Digest() != diffID {
		return nil, fmt.Errorf("diff id is %s, the config says %s", digester.Digest(), diffID)
	}
	return files, nil
}

// section is an entry of a blob's table of contents.
type section struct {
	flags                uint32
	digest               []byte
	offset, stored, size int64
}

// writeDevice uncompresses a blob's chunks and returns the size of the device. kept is the metadata of chunks that the
// bootstrap layer brings along, which must be the blob's.
func (i *image) writeDevice(desc ocispec.Descriptor, path string, kept []byte) (int64, error) {
	blob, err := i.fetch(desc)
	if err != nil {
		return 0, err
	}
	defer blob.Close()
	sections, err := readSections(blob, desc.Size)
	if err != nil {
		return 0, err
	}
	meta, err := sections["blob.meta"].read(blob)
	if err != nil {
		return 0, fmt.Errorf("blob.meta: %w", err)
	}
	header, err := sections["blob.meta.header"].read(blob)
	if err != nil {
		return 0, fmt.Errorf("blob.meta.header: %w", err)
	}
	padded := append(append([]byte{}, meta...), make([]byte, (4096-len(meta)%4096)%4096)...)
	if !bytes.Equal(kept, append(padded, header...)) {
		return 0, fmt.Errorf("the bootstrap layer has other metadata of its chunks, %d bytes", len(kept))
	}
	digests, err := sections["blob.digest"].read(blob)
	if err != nil {
		return 0, fmt.Errorf("blob.digest: %w", err)
	}
	device, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer device.Close()
	decoder, err := zstd.NewReader(nil)
	if err != nil {
		return 0, err
	}
	defer decoder.Close()
	chunks, err := parseChunks(meta, header)
	if err != nil {
		return 0, err
	}
	if len(digests) != len(chunks)*32 {
		return 0, fmt.Errorf("%d chunks, %d bytes of digests", len(chunks), len(digests))
	}
	var stored []byte
	for number, chunk := range chunks {
		if number == 0 || !chunk.sharesBatch(chunks[number-1]) {
			if stored, err = chunk.read(blob, decoder); err != nil {
				return 0, fmt.Errorf("chunk %d: %w", number, err)
			}
		}
		content := stored[chunk.begin:][:chunk.size]
		if sum := sha256.Sum256(content); !bytes.Equal(sum[:], digests[32*number:][:32]) {
			return 0, fmt.Errorf("chunk %d has another digest than blob.digest says", number)
		}
		if _, err := device.WriteAt(content, chunk.position); err != nil {
			return 0, err
		}
	}
	size := sections["image.blob"].size
	return size, device.Truncate(size)
}

// readSections finds a blob's table of contents at its end.
func readSections(blob io.ReaderAt, size int64) (map[string]section, error) {
	header, err := lastHeader(blob, size)
	if err != nil {
		return nil, err
	}
	if header.Name != "rafs.blob.toc" || header.Size%tocEntry != 0 {
		return nil, fmt.Errorf("it does not end with a table of contents: %v", header)
	}
	toc := make([]byte, header.Size)
	if _, err := blob.ReadAt(toc, size-tarHeader-header.Size); err != nil {
		return nil, err
	}
	sections := map[string]section{}
	for ; len(toc) > 0; toc = toc[tocEntry:] {
		number := func(at int) int64 { return int64(binary.LittleEndian.Uint64(toc[at:])) }
		name := string(bytes.TrimRight(toc[8:24], "\x00"))
		sections[name] = section{binary.LittleEndian.Uint32(toc), toc[24:56], number(56), number(64), number(72)}
	}
	return sections, nil
}

// lastHeader reads the tar header that ends a blob.
func lastHeader(blob io.ReaderAt, size int64) (*tar.Header, error) {
	end := make([]byte, tarHeader)
	if _, err := blob.ReadAt(end, size-tarHeader); err != nil {
		return nil, err
	}
	return tar.NewReader(bytes.NewReader(end)).Next()
}

// read gives a section uncompressed, and checks its digest.
func (s section) read(blob io.ReaderAt) ([]byte, error) {
	var source io.Reader = io.NewSectionReader(blob, s.offset, s.stored)
	switch s.flags {
	case 1:
	case 2:
		decoder, err := zstd.NewReader(source)
		if err != nil {
			return nil, err
		}
		defer decoder.Close()
		source = decoder
	default:
		return nil, fmt.Errorf("flags %#x", s.flags)
	}
	content, err := io.ReadAll(source)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(content); !bytes.Equal(sum[:], s.digest) || int64(len(content)) != s.size {
		return nil, fmt.Errorf("%d bytes, digest %s", len(content), hex.EncodeToString(sum[:]))
	}
	return content, nil
}

// chunk is where a chunk lies, in the blob and on the device. What is stored is whole bytes when uncompressed: more than
// the chunk where it is in a batch, and there the chunk begins at begin.
type chunk struct {
	offset, stored int64
	position, size int64
	whole, begin   int64
}

// parseChunks reads blob.meta: 16 bytes a chunk, or, in a blob with batches, 24, and behind them 40 bytes a batch.
func parseChunks(meta, header []byte) ([]chunk, error) {
	if len(header) != metaHeader {
		return nil, fmt.Errorf("a header of %d bytes", len(header))
	}
	number := func(at int) int { return int(binary.LittleEndian.Uint64(header[at:])) }
	count, batches := int(binary.LittleEndian.Uint32(header[12:])), number(56)
	record, parse := 16, parseChunk
	if binary.LittleEndian.Uint32(header[4:])&featureBatch != 0 {
		if number(40) != 24*count || number(48) != 40*batches || len(meta) != 24*count+40*batches {
			return nil, fmt.Errorf("%d chunks and %d batches in %d bytes", count, batches, len(meta))
		}
		record, parse = 24, func(entry []byte) chunk { return parseChunkV2(entry, meta[24*count:]) }
	} else if batches != 0 || len(meta) != 16*count {
		return nil, fmt.Errorf("%d chunks in %d bytes", count, len(meta))
	}
	chunks := make([]chunk, count)
	for at := range chunks {
		chunks[at] = parse(meta[record*at:])
		if chunks[at].begin+chunks[at].size > chunks[at].whole {
			return nil, fmt.Errorf("chunk %d ends beyond its batch", at)
		}
	}
	return chunks, nil
}

func parseChunk(entry []byte) chunk {
	first, second := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
	size := int64(first>>44|first<<12&0xf00000) + 1
	return chunk{
		offset:   int64(second & (1<<40 - 1)),
		stored:   int64(second>>44|second>>20&0xf00000) + 1,
		position: int64(first & 0xffffffff000),
		size:     size,
		whole:    size,
	}
}

// parseChunkV2 reads a chunk of a blob with batches.
func parseChunkV2(entry, batches []byte) chunk {
	first, second := binary.LittleEndian.Uint64(entry), binary.LittleEndian.Uint64(entry[8:])
	size := int64(first>>32&0xffffff) + 1
	found := chunk{
		offset:   int64(second & (1<<40 - 1)),
		stored:   int64(second >> 40),
		position: int64(first&0xffffffff) << 12,
		size:     size,
		whole:    size,
	}
	if first>>56&4 != 0 {
		batch := batches[40*binary.LittleEndian.Uint32(entry[20:]):]
		found.stored = int64(binary.LittleEndian.Uint32(batch))
		found.whole = int64(binary.LittleEndian.Uint32(batch[4:]))
		found.begin = int64(binary.LittleEndian.Uint32(entry[16:]))
	}
	return found
}

func (c chunk) sharesBatch(other chunk) bool {
	return c.offset == other.offset
}

// read gives what is stored, uncompressed: the chunk, or its batch.
func (c chunk) read(blob io.ReaderAt, decoder *zstd.Decoder) ([]byte, error) {
	stored := make([]byte, c.stored)
	if _, err := blob.ReadAt(stored, c.offset); err != nil {
		return nil, err
	}
	if c.stored == c.whole {
		return stored, nil
	}
	if bytes.HasPrefix(stored, []byte("\x28\xb5\x2f\xfd")) {
		content, err := decoder.DecodeAll(stored, nil)
		if err == nil && int64(len(content)) != c.whole {
			err = fmt.Errorf("%d bytes, want %d", len(content), c.whole)
		}
		return content, err
	}
	return inflateLZ4(stored, int(c.whole))
}

// inflateLZ4 uncompresses one LZ4 block: tokens of literals and of copies of what came before.
func inflateLZ4(block []byte, size int) ([]byte, error) {
	broken := fmt.Errorf("a broken LZ4 block")
	out := make([]byte, 0, size)
	length := func(short byte) (int, bool) {
		total := int(short)
		for next := short; next == 15 || next == 255; {
			if len(block) == 0 {
				return 0, false
			}
			next, block = block[0], block[1:]
			total += int(next)
			if next != 255 {
				break
			}
		}
		return total, true
	}
	for len(block) > 0 {
		token := block[0]
		block = block[1:]
		literals, whole := length(token >> 4)
		if !whole || literals > len(block) {
			return nil, broken
		}
		out, block = append(out, block[:literals]...), block[literals:]
		if len(block) == 0 {
			break
		}
		if len(block) < 2 {
			return nil, broken
		}
		back := int(binary.LittleEndian.Uint16(block))
		block = block[2:]
		count, whole := length(token & 15)
		if !whole || back == 0 || back > len(out) {
			return nil, broken
		}
		for range count + 4 {
			out = append(out, out[len(out)-back])
		}
	}
	if len(out) != size {
		return nil, fmt.Errorf("%d bytes, want %d", len(out), size)
	}
	return out, nil
}
