package main

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// tally counts what was judged, for the line that a person reads.
type tally struct{ platforms, layers, kept, files, chunks int }

// verifyImage opens every layer of every platform with the reference library and reads all of it.
func verifyImage(opts options, args []string) error {
	img, err := parseImage(args[0], opts)
	if err != nil {
		return err
	}
	platforms, err := img.platforms()
	if err != nil {
		return err
	}
	var total tally
	for _, one := range platforms {
		total.platforms++
		for index, desc := range one.layers {
			found, err := img.verifyLayer(desc, one.diffIDs[index])
			if err != nil {
				return fmt.Errorf("%s layer %d (%s): %w", one.platform, index, desc.Digest, err)
			}
			kind := fmt.Sprintf("%d files, %d chunks", found.files, found.chunks)
			if found.kept > 0 {
				kind = "kept"
			}
			fmt.Printf("%s layer %d %s: %s\n", one.platform, index, desc.Digest, kind)
			total.layers++
			total.kept += found.kept
			total.files += found.files
			total.chunks += found.chunks
		}
	}
	fmt.Printf("%d platforms, %d layers, %d of them kept, %d files, %d chunks\n",
		total.platforms, total.layers, total.kept, total.files, total.chunks)
	if total.kept != opts.kept {
		return fmt.Errorf("%d layers were kept as they were, want %d", total.kept, opts.kept)
	}
	return nil
}

// verifyLayer judges one blob: its digest, its diff id, and, unless it was kept, all that eStargz promises.
func (i *image) verifyLayer(desc ocispec.Descriptor, diffID digest.Digest) (tally, error) {
	file, err := i.fetch(desc)
	if err != nil {
		return tally{}, err
	}
	defer file.Close()
	unpacked, err := checkDiffID(file, diffID)
	if err != nil {
		return tally{}, err
	}
	tocDigest, accelerated := desc.Annotations[estargz.TOCJSONDigestAnnotation]
	if !accelerated {
		return tally{kept: 1}, nil
	}
	if desc.MediaType != ocispec.MediaTypeImageLayerGzip {
		return tally{}, fmt.Errorf("media type is %s", desc.MediaType)
	}
	if told := desc.Annotations[estargz.StoreUncompressedSizeAnnotation]; told != strconv.FormatInt(unpacked, 10) {
		return tally{}, fmt.Errorf("the annotation says %s bytes uncompressed, the tar has %d", told, unpacked)
	}
	blob := io.NewSectionReader(file, 0, desc.Size)
	if err := checkContents(blob, digest.Digest(tocDigest)); err != nil {
		return tally{}, err
	}
	return readWithLibrary(blob, digest.Digest(tocDigest))
}

// checkDiffID unpacks the whole blob and returns the size of the tar in it.
func checkDiffID(file *os.File, want digest.Digest) (int64, error) {
	tar, err := decompress(io.NewSectionReader(file, 0, 1<<62))
	if err != nil {
		return 0, err
	}
	defer tar.Close()
	digester := digest.SHA256.Digester()
	size, err := io.Copy(digester.Hash(), tar)
	if err != nil {
		return 0, fmt.Errorf("unpacking: %w", err)
	}
	if digester.Digest() != want {
		return 0, fmt.Errorf("diff id is %s, the config says %s", digester.Digest(), want)
	}
	return size, nil
}

// readWithLibrary reads every file through the reference library, as a lazily pulling client would.
func readWithLibrary(blob *io.SectionReader, tocDigest digest.Digest) (tally, error) {
	reader, err := estargz.Open(blob)
	if err != nil {
		return tally{}, fmt.Errorf("estargz.Open: %w", err)
	}
	verifier, err := reader.VerifyTOC(tocDigest)
	if err != nil {
		return tally{}, fmt.Errorf("VerifyTOC: %w", err)
	}
	root, present := reader.Lookup("")
	if !present {
		return tally{}, fmt.Errorf("the TOC has no root")
	}
	walk := libraryWalk{reader: reader, verifier: verifier, seen: map[*estargz.TOCEntry]bool{}}
	err = walk.visit(root)
	return walk.found, err
}

type libraryWalk struct {
	reader   *estargz.Reader
	verifier estargz.TOCEntryVerifier
	seen     map[*estargz.TOCEntry]bool
	found    tally
}

func (w *libraryWalk) visit(entry *estargz.TOCEntry) (err error) {
	if w.seen[entry] {
		return nil // another name of the same file
	}
	w.seen[entry] = true
	switch entry.Type {
	case "reg":
		w.found.files++
		if err := w.readFile(entry); err != nil {
			return fmt.Errorf("%q: %w", entry.Name, err)
		}
	case "dir":
		entry.ForeachChild(func(_ string, child *estargz.TOCEntry) bool {
			err = w.visit(child)
			return err == nil
		})
	}
	return err
}

func (w *libraryWalk) readFile(entry *estargz.TOCEntry) error {
	file, err := w.reader.OpenFile(entry.Name)
	if err != nil {
		return err
	}
	whole := digest.SHA256.Digester()
	for offset := int64(0); offset < entry.Size; {
		chunk, found := w.reader.ChunkEntryForOffset(entry.Name, offset)
		if !found || chunk.ChunkOffset != offset || chunk.ChunkSize <= 0 {
			return fmt.Errorf("no chunk begins at %d", offset)
		}
		verifier, err := w.verifier.Verifier(chunk)
		if err != nil {
			return err
		}
		// In one read: the library inflates a chunk from its start for each.
		content := make([]byte, chunk.ChunkSize)
		if size, err := file.ReadAt(content, offset); size != len(content) {
			return fmt.Errorf("the chunk at %d has %d bytes of %d: %w", offset, size, len(content), err)
		}
		verifier.Write(content)
		whole.Hash().Write(content)
		if !verifier.Verified() {
			return fmt.Errorf("the chunk at %d does not match its digest", offset)
		}
		offset += chunk.ChunkSize
		w.found.chunks++
	}
	if entry.Digest != whole.Digest().String() {
		return fmt.Errorf("content is %s, the TOC says %q", whole.Digest(), entry.Digest)
	}
	return nil
}
