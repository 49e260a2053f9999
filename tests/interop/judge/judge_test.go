package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// A judge that accepts everything is worth nothing: each test here shows it good input, made by the reference
// library itself, and the same input with one fault.

// referenceLayer is what the reference library makes of a hand-made layer, and how the manifest describes it.
type referenceLayer struct {
	blob   []byte
	diffID digest.Digest
	toc    digest.Digest
	size   int64
}

func convertByReference(t *testing.T, layer oddLayer) referenceLayer {
	t.Helper()
	var builder tarBuilder
	layer.write(&builder)
	unpacked := builder.finish()
	built, err := estargz.Build(io.NewSectionReader(bytes.NewReader(unpacked), 0, int64(len(unpacked))))
	if err != nil {
		t.Fatal(err)
	}
	defer built.Close()
	blob, err := io.ReadAll(built)
	if err != nil {
		t.Fatal(err)
	}
	return referenceLayer{blob, built.DiffID(), built.TOCDigest(), inflatedSize(t, blob)}
}

func inflatedSize(t *testing.T, blob []byte) int64 {
	t.Helper()
	tar, err := decompress(bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	size, err := io.Copy(io.Discard, tar)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// layoutOf writes a one-platform image of the given layers under the tag `target`. Every digest above the layers
// is right, whatever the layers hold: so a fault is found where it is and not by an outer digest.
func layoutOf(t *testing.T, layers ...referenceLayer) layout {
	t.Helper()
	to := layout(t.TempDir())
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	for _, layer := range layers {
		desc, err := to.put(ocispec.MediaTypeImageLayerGzip, layer.blob)
		if err != nil {
			t.Fatal(err)
		}
		desc.Annotations = map[string]string{
			estargz.TOCJSONDigestAnnotation:         layer.toc.String(),
			estargz.StoreUncompressedSizeAnnotation: strconv.FormatInt(layer.size, 10),
		}
		manifest.Layers = append(manifest.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, layer.diffID)
	}
	var err error
	if manifest.Config, err = to.putJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		t.Fatal(err)
	}
	desc, err := to.putJSON(ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.tag("target", desc); err != nil {
		t.Fatal(err)
	}
	return to
}

func TestVerifyAcceptsWhatTheReferenceWrites(t *testing.T) {
	to := layoutOf(t,
		convertByReference(t, kinds), convertByReference(t, links), convertByReference(t, whiteouts),
		convertByReference(t, empty))
	if err := verifyImage(options{}, []string{"oci:" + string(to) + ":target"}); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyRefusesOneFault(t *testing.T) {
	good := convertByReference(t, kinds)
	at := func(r *referenceLayer) int64 {
		offset, _, err := estargz.OpenFooter(io.NewSectionReader(bytes.NewReader(r.blob), 0, int64(len(r.blob))))
		if err != nil {
			t.Fatal(err)
		}
		return offset
	}
	faults := map[string]func(r *referenceLayer){
		"a flipped bit in a payload":    func(r *referenceLayer) { r.blob[at(r)/2] ^= 1 },
		"a flipped bit in the TOC":      func(r *referenceLayer) { r.blob[at(r)+200] ^= 1 },
		"a flipped bit in the footer":   func(r *referenceLayer) { r.blob[len(r.blob)-20] ^= 1 },
		"a blob cut short":              func(r *referenceLayer) { r.blob = r.blob[:len(r.blob)-1] },
		"a byte behind the footer":      func(r *referenceLayer) { r.blob = append(r.blob, 0) },
		"another diff id":               func(r *referenceLayer) { r.diffID = digest.FromString("another") },
		"another TOC digest":            func(r *referenceLayer) { r.toc = digest.FromString("another") },
		"another uncompressed size":     func(r *referenceLayer) { r.size++ },
		"a TOC without its digest":      func(r *referenceLayer) { r.toc = "" },
		"a tail behind the TOC's JSON":  func(r *referenceLayer) { r.editTOC(t, func(j string) string { return j + "\n" }) },
		"a mode that the tar denies":    editOnce(t, `"mode": 3565`, `"mode": 3564`),
		"an owner that the tar denies":  editOnce(t, `"uid": 3000000`, `"uid": 3000001`),
		"a target that the tar denies":  editOnce(t, `such target"`, `such targey"`),
		"a device that the tar denies":  editOnce(t, `"devMajor": 259`, `"devMajor": 258`),
		"an xattr that the tar denies":  editOnce(t, `"user.text": "cGxhaW4="`, `"user.text": "cGxhaW8="`),
		"a time that the tar denies":    editOnce(t, `2023-11-14T22:13:21Z`, `2023-11-14T22:13:22Z`),
		"a name that the tar denies":    editOnce(t, `"name": "fifo"`, `"name": "fifa"`),
		"a chunk digest that is wrong":  editOnce(t, `"chunkDigest": "sha256:`, `"chunkDigest": "sha256:0`),
		"a chunk at a wrong offset":     editOnce(t, `"chunkOffset": 4194304`, `"chunkOffset": 4194303`),
		"a file twice in the TOC":       editOnce(t, `"name": "etc/empty"`, `"name": "etc/absolute"`),
		"a second landmark":             editOnce(t, `"name": "etc/empty"`, `"name": ".prefetch.landmark"`),
		"an offset that does not exist": editOnce(t, `"offset": `, `"offset": 9`),
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			bad := good
			bad.blob = bytes.Clone(good.blob)
			fault(&bad)
			to := layoutOf(t, bad)
			err := verifyImage(options{}, []string{"oci:" + string(to) + ":target"})
			if err == nil {
				t.Fatal("accepted")
			}
			t.Log(err)
		})
	}
}

// editOnce is a fault in the TOC's JSON with the annotation and the diff id made to agree with it.
func editOnce(t *testing.T, old, with string) func(r *referenceLayer) {
	return func(r *referenceLayer) {
		r.editTOC(t, func(toc string) string {
			if !strings.Contains(toc, old) {
				t.Fatalf("the TOC has no %s", old)
			}
			return strings.Replace(toc, old, with, 1)
		})
	}
}

// editTOC writes the TOC anew behind the blob's payload.
func (r *referenceLayer) editTOC(t *testing.T, edit func(string) string) {
	t.Helper()
	blob := io.NewSectionReader(bytes.NewReader(r.blob), 0, int64(len(r.blob)))
	offset, _, err := estargz.OpenFooter(blob)
	if err != nil {
		t.Fatal(err)
	}
	toc, err := readTOC(io.NewSectionReader(blob, offset, blob.Size()-offset))
	if err != nil {
		t.Fatal(err)
	}
	edited := edit(string(toc))
	var builder tarBuilder
	builder.raw(rawEntry{name: estargz.TOCTarName, typeflag: '0', size: int64(len(edited)), content: edited})
	_, member := encode("gzip", builder.finish())
	footer := r.blob[len(r.blob)-estargz.FooterSize:]
	r.blob = append(append(r.blob[:offset:offset], member...), footer...)
	r.toc = digest.FromString(edited)
	r.size = inflatedSize(t, r.blob)
	tar, err := decompress(bytes.NewReader(r.blob))
	if err != nil {
		t.Fatal(err)
	}
	if r.diffID, err = digest.FromReader(tar); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyCountsKeptLayersAndWantsThatMany(t *testing.T) {
	dir := t.TempDir()
	if err := writeOddImages(options{}, []string{dir}); err != nil {
		t.Fatal(err)
	}
	ref := []string{"oci:" + dir + ":stubborn"}
	if err := verifyImage(options{kept: 6}, ref); err != nil {
		t.Fatal(err)
	}
	if err := verifyImage(options{kept: 3}, ref); err == nil {
		t.Fatal("three more kept layers were accepted")
	}
}

func TestVerifyRefusesABlobThatIsNotItsDigest(t *testing.T) {
	to := layoutOf(t, convertByReference(t, links))
	img, err := parseImage("oci:"+string(to)+":target", options{})
	if err != nil {
		t.Fatal(err)
	}
	platforms, err := img.platforms()
	if err != nil {
		t.Fatal(err)
	}
	path := to.path(platforms[0].layers[0].Digest)
	blob, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	blob[4] ^= 1 // the gzip header's time: nothing but the digest notices
	if err := os.WriteFile(path, blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := verifyImage(options{}, []string{img.name}); err == nil {
		t.Fatal("accepted")
	}
}

func TestVerifyRefusesAnAttestationAboutAnotherIndex(t *testing.T) {
	dir := layout(t.TempDir())
	image, err := dir.image("amd64", links)
	if err != nil {
		t.Fatal(err)
	}
	stale, err := dir.attestation(ocispec.Descriptor{Digest: digest.FromString("the source's manifest")})
	if err != nil {
		t.Fatal(err)
	}
	index, err := dir.putJSON(ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{image, stale}})
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.tag("stale", index); err != nil {
		t.Fatal(err)
	}
	err = verifyImage(options{kept: 1}, []string{"oci:" + string(dir) + ":stale"})
	if err == nil || !strings.Contains(err.Error(), "attestation") {
		t.Fatalf("want a word about the attestation, got %v", err)
	}
}

// serve answers manifests, blobs and ranges of blobs from a layout, as much of a registry as the judges need.
func serve(t *testing.T, from layout) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
		if !strings.Contains(name, ":") {
			desc, raw, err := from.resolve(name)
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			w.Header().Set("Docker-Content-Digest", desc.String())
			w.Write(raw)
			return
		}
		file, err := os.Open(from.path(digest.Digest(name)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer file.Close()
		http.ServeContent(w, r, "", time.Time{}, file)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://") + "/test/image:"
}

// mountAndCompare gives the judge a source layer and what is claimed to be its eStargz form.
func mountAndCompare(t *testing.T, source oddLayer, target referenceLayer) error {
	t.Helper()
	to := layoutOf(t, target)
	desc, err := to.image("amd64", source)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.tag("source", desc); err != nil {
		t.Fatal(err)
	}
	repository := serve(t, to)
	err = fuseImage(options{plainHTTP: true}, []string{repository + "source", repository + "target"})
	if errors.Is(err, errSkipped) {
		t.Skip(err)
	}
	return err
}

func TestMountShowsTheSourceLayer(t *testing.T) {
	for _, layer := range []oddLayer{kinds, links, whiteouts, empty} {
		t.Run(layer.name, func(t *testing.T) {
			if err := mountAndCompare(t, layer, convertByReference(t, layer)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestMountComparisonRefuses(t *testing.T) {
	another := func(edit func(b *tarBuilder)) oddLayer {
		return oddLayer{"another", "gzip", func(b *tarBuilder) { writeLinks(b); edit(b) }}
	}
	wrong := convertByReference(t, links)
	wrong.toc = digest.FromString("another")
	flipped := convertByReference(t, kinds)
	flipped.blob[len(flipped.blob)/3] ^= 1
	cases := map[string]struct {
		source oddLayer
		target referenceLayer
	}{
		"another TOC digest":       {links, wrong},
		"a flipped bit":            {kinds, flipped},
		"a link to replaced data":  {replaced, convertByReference(t, replaced)}, // the reference's own defect
		"a time of zero lost":      {epoch, convertByReference(t, epoch)},       // another
		"a file too many":          {links, convertByReference(t, another(func(b *tarBuilder) { b.add(file("more"), "") }))},
		"a file too few":           {another(func(b *tarBuilder) { b.add(file("more"), "") }), convertByReference(t, links)},
		"a link count":             {links, convertByReference(t, another(func(b *tarBuilder) { b.add(hardlink("l/x", "twice"), "") }))},
		"a whiteout that is lost":  {another(func(b *tarBuilder) { b.add(file(".wh.x"), "") }), convertByReference(t, links)},
		"an opaque mark that lost": {another(func(b *tarBuilder) { b.add(file("l/.wh..wh..opq"), "") }), convertByReference(t, links)},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			err := mountAndCompare(t, one.source, one.target)
			if err == nil {
				t.Fatal("accepted")
			}
			t.Log(err)
		})
	}
}

func TestDirectoriesDifferInOneThing(t *testing.T) {
	cases := map[string]struct {
		needsRoot bool
		fault     func(dir string) error
	}{
		"nothing": {false, func(string) error { return nil }},
		"mode":    {false, func(d string) error { return os.Chmod(filepath.Join(d, "file"), 0o640) }},
		"suid":    {false, func(d string) error { return os.Chmod(filepath.Join(d, "file"), 0o644|os.ModeSetuid) }},
		"owner":   {true, func(d string) error { return os.Lchown(filepath.Join(d, "symlink"), 1, 0) }},
		"group":   {true, func(d string) error { return os.Lchown(filepath.Join(d, "file"), 0, 1) }},
		"content": {false, func(d string) error { return rewrite(filepath.Join(d, "file"), "contenT") }},
		"size":    {false, func(d string) error { return rewrite(filepath.Join(d, "file"), "content!") }},
		"mtime": {false, func(d string) error {
			return os.Chtimes(filepath.Join(d, "file"), someTime, someTime.Add(1))
		}},
		"mtime while unpacking": {false, func(d string) error {
			return os.Chtimes(filepath.Join(d, "file"), someTime, someTime.Add(time.Hour))
		}},
		"missing": {false, func(d string) error { return os.Remove(filepath.Join(d, "sub/inner")) }},
		"extra":   {false, func(d string) error { return os.WriteFile(filepath.Join(d, "more"), nil, 0o644) }},
		"target":  {false, func(d string) error { return relink(filepath.Join(d, "symlink"), "filf") }},
		"links":   {false, func(d string) error { return os.Link(filepath.Join(d, "file"), filepath.Join(d, "ignored")) }},
		"xattr":   {true, func(d string) error { return unix.Setxattr(filepath.Join(d, "file"), "trusted.x", []byte("y"), 0) }},
		"type":    {false, func(d string) error { return becomeFifo(filepath.Join(d, "sub/inner")) }},
	}
	for name, one := range cases {
		t.Run(name, func(t *testing.T) {
			if one.needsRoot && os.Geteuid() != 0 {
				t.Skip("needs root")
			}
			first, second := sampleDirectory(t), sampleDirectory(t)
			if err := one.fault(second); err != nil {
				t.Fatal(err)
			}
			settleTimes(t, second, name)
			err := diffDirectories(options{ignore: []string{"ignored"}, since: someTime.Unix() + 60}, []string{first, second})
			if (err == nil) != (name == "nothing") {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func sampleDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.Chmod(dir, 0o755),
		os.Mkdir(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "sub/inner"), nil, 0o644),
		os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644),
		os.Symlink("file", filepath.Join(dir, "symlink")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	settleTimes(t, dir, "")
	return dir
}

// settleTimes leaves the fault of a case as the only difference.
func settleTimes(t *testing.T, dir, fault string) {
	t.Helper()
	at := []unix.Timespec{unix.NsecToTimespec(someTime.UnixNano()), unix.NsecToTimespec(someTime.UnixNano())}
	for _, name := range []string{"sub/inner", "sub", "file", "symlink", "more", "."} {
		if strings.HasPrefix(fault, "mtime") && name == "file" {
			continue
		}
		err := unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, name), at, unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && !errors.Is(err, unix.ENOENT) {
			t.Fatal(err)
		}
	}
}

func rewrite(path, content string) error { return os.WriteFile(path, []byte(content), 0o644) }

func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

func becomeFifo(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return unix.Mkfifo(path, 0o644)
}
