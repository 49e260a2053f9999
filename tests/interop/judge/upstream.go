package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"
)

// rafsV5 is what a bootstrap of RAFS v5 begins with.
const rafsV5 = "SFAR"

// upstreamImage judges each platform of a Nydus image by the tools of the format's authors. nydus-image checks the
// bootstraps of the image and of each layer; nydusd mounts the image from its registry, once with nothing in its cache
// and once with the files that the bootstrap layer brings along; nydus-image merges the layers' bootstraps by itself.
// What nydusd shows is compared with what the layers of the source make when they are unpacked.
func upstreamImage(opts options, args []string) error {
	for _, tool := range []string{"nydus-image", "nydusd"} {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("%w: %w", errSkipped, err)
		}
	}
	both, err := parsePair(args, opts)
	if err != nil {
		return err
	}
	for index, target := range both.targets {
		if err := judgeUpstream(both, both.sources[index], target, opts); err != nil {
			return fmt.Errorf("%s: %w", target.platform, err)
		}
	}
	return nil
}

func judgeUpstream(both pair, want, got platformImage, opts options) error {
	work, err := os.MkdirTemp("", "judge-nydusd-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	expected, err := both.from.imageTree(want.layers)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	asNydusdShows(expected)
	whole, metas, err := both.to.writeBootstrap(got, work)
	if err != nil {
		return err
	}
	parts, err := both.to.writeLayerBootstraps(got, work)
	if err != nil {
		return err
	}
	for _, bootstrap := range append([]string{whole}, parts...) {
		if err := runTool("nydus-image", "check", "-B", bootstrap); err != nil {
			return err
		}
	}
	daemon := daemon{image: both.to, plainHTTP: opts.plainHTTP, work: work}
	originals, err := originalLayers(want, got)
	if err != nil {
		return err
	}
	rows := []struct{ what, bootstrap, metas string }{{"cold", whole, ""}}
	if originals == nil { // nydusd fetches an index when it mounts
		rows = append(rows, struct{ what, bootstrap, metas string }{"with its blob.meta files", whole, metas})
	}
	if opts.merge {
		merged := filepath.Join(work, "merged.boot")
		if err := mergeByUpstream(merged, parts, opts, work, got.layers, originals); err != nil {
			return err
		}
		rows = append(rows, struct{ what, bootstrap, metas string }{"merged by nydus-image", merged, ""})
	}
	for _, row := range rows {
		mounted, err := daemon.list(row.bootstrap, row.metas)
		if err != nil {
			return fmt.Errorf("%s: %w", row.what, err)
		}
		fmt.Printf("%s, %s: %d paths\n", got.platform, row.what, len(mounted))
		if err := report(compare(expected, mounted, func(a, b int64) bool { return a == b })); err != nil {
			return fmt.Errorf("%s: %w", row.what, err)
		}
	}
	return nil
}

// asNydusdShows changes what nydusd shows otherwise on purpose: the permissions of the root are 0755, and a time within
// the first second of 1970 is one that it takes as not known, and shows that of its start.
func asNydusdShows(expected tree) {
	for path, one := range expected {
		if path == "." && len(one.Mode) >= 3 {
			one.Mode = one.Mode[:len(one.Mode)-3] + "755"
		}
		if 0 <= one.MTime && one.MTime < int64(time.Second) {
			one.MTime = anyTime
		}
		expected[path] = one
	}
}

func runTool(name string, args ...string) error {
	output, err := exec.CommandContext(context.Background(), name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return nil
}

// writeBootstrap writes the bootstrap of an image, and into a directory of their own the blob.meta files beside it.
func (i *image) writeBootstrap(one platformImage, work string) (bootstrap, metas string, err error) {
	last := len(one.layers) - 1
	if last < 0 || one.layers[last].Annotations[bootAnnotation] != "true" {
		return "", "", fmt.Errorf("the last layer is not a bootstrap")
	}
	files, err := i.bootstrapLayer(one.layers[last], one.diffIDs[last])
	if err != nil {
		return "", "", fmt.Errorf("bootstrap layer: %w", err)
	}
	bootstrap, metas = filepath.Join(work, bootstrapName), filepath.Join(work, "metas")
	if err := os.Mkdir(metas, 0o755); err != nil {
		return "", "", err
	}
	for name, content := range files {
		if strings.HasSuffix(name, ".blob.meta") {
			if err := os.WriteFile(filepath.Join(metas, filepath.Base(name)), content, 0o600); err != nil {
				return "", "", err
			}
		}
	}
	return bootstrap, metas, os.WriteFile(bootstrap, files["image/"+bootstrapName], 0o600)
}

// writeLayerBootstraps writes the bootstrap of each layer under the name of its blob, bottom first.
func (i *image) writeLayerBootstraps(one platformImage, work string) ([]string, error) {
	dir := filepath.Join(work, "layers")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var paths []string
	for _, desc := range one.layers[:len(one.layers)-1] {
		blob, err := i.fetch(desc)
		if err != nil {
			return nil, err
		}
		content, err := layerBootstrap(blob, desc.Size)
		blob.Close()
		if err != nil {
			return nil, fmt.Errorf("bootstrap of %s: %w", desc.Digest, err)
		}
		path := filepath.Join(dir, desc.Digest.Encoded())
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// layerBootstrap reads the bootstrap of a layer: of RAFS v5 it is what the blob ends with, of RAFS v6 a section.
func layerBootstrap(blob io.ReaderAt, size int64) ([]byte, error) {
	end, err := lastHeader(blob, size)
	if err != nil {
		return nil, err
	}
	if end.Name == bootstrapName {
		content := make([]byte, end.Size)
		_, err := blob.ReadAt(content, size-tarHeader-end.Size)
		return content, err
	}
	sections, err := readSections(blob, size)
	if err != nil {
		return nil, err
	}
	return sections[bootstrapName].read(blob)
}

// originalLayers says which layer of the source each blob of an image is an index into; nothing if the blobs are none.
func originalLayers(want, got platformImage) ([]string, error) {
	var originals []string
	blobs := got.layers[:len(got.layers)-1]
	for index, desc := range blobs {
		named, found := desc.Annotations[refAnnotation]
		if !found {
			continue
		}
		if index >= len(want.layers) || named != want.layers[index].Digest.String() {
			return nil, fmt.Errorf("blob %s is an index into %s, which is not layer %d of the source", desc.Digest, named, index)
		}
		originals = append(originals, want.layers[index].Digest.Encoded())
	}
	if len(originals) != 0 && len(originals) != len(blobs) {
		return nil, fmt.Errorf("of %d blobs %d are indexes", len(blobs), len(originals))
	}
	return originals, nil
}

// mergeByUpstream merges the bootstraps of layers, with the dictionary if there is one: its blobs are no layers then. What those
// of indexes cannot say of themselves it is told.
func mergeByUpstream(output string, parts []string, opts options, work string, layers []ocispec.Descriptor, originals []string) error {
	args := []string{"merge", "--prefetch-policy", "fs", "--output-json", output + ".json", "--bootstrap", output}
	if opts.dictionary != "" {
		bootstrap, blobs, err := writeDictionary(opts, filepath.Join(work, "dictionary"))
		if err != nil {
			return fmt.Errorf("dictionary: %w", err)
		}
		args = append(args, "--chunk-dict", "bootstrap="+bootstrap)
		parts = slices.DeleteFunc(slices.Clone(parts), func(part string) bool {
			return slices.Contains(blobs, filepath.Base(part))
		})
	}
	if originals != nil {
		var digests, sizes []string
		for _, desc := range layers[:len(originals)] {
			digests = append(digests, desc.Digest.Encoded())
			sizes = append(sizes, strconv.FormatInt(desc.Size, 10))
		}
		args = append(args, "--original-blob-ids", strings.Join(originals, ","),
			"--blob-digests", strings.Join(digests, ","), "--blob-sizes", strings.Join(sizes, ","))
	}
	return runTool("nydus-image", append(args, parts...)...)
}

// writeDictionary writes the bootstrap of the dictionary, which is of one platform, and names its blobs.
func writeDictionary(opts options, dir string) (bootstrap string, blobs []string, err error) {
	image, err := parseImage(opts.dictionary, opts)
	if err != nil {
		return "", nil, err
	}
	platforms, err := image.platforms()
	if err != nil {
		return "", nil, err
	}
	if len(platforms) != 1 {
		return "", nil, fmt.Errorf("it has %d platforms, and nydus-image takes one bootstrap", len(platforms))
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", nil, err
	}
	for _, layer := range platforms[0].layers {
		blobs = append(blobs, layer.Digest.Encoded())
	}
	bootstrap, _, err = image.writeBootstrap(platforms[0], dir)
	return bootstrap, blobs, err
}

// daemon is nydusd, set up for one image of one registry.
type daemon struct {
	image     *image
	plainHTTP bool
	work      string
}

// list mounts a bootstrap with a cache of its own, which begins with the files of metas, reads all of it and unmounts.
func (d daemon) list(bootstrap, metas string) (_ tree, err error) {
	dir, err := os.MkdirTemp(d.work, "mount-")
	if err != nil {
		return nil, err
	}
	cache, mount := filepath.Join(dir, "cache"), filepath.Join(dir, "root")
	if err := errors.Join(os.Mkdir(cache, 0o755), os.Mkdir(mount, 0o755)); err != nil {
		return nil, err
	}
	if metas != "" {
		if err := os.CopyFS(cache, os.DirFS(metas)); err != nil {
			return nil, err
		}
	}
	configuration, err := d.configuration(bootstrap, cache, dir)
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	command := exec.CommandContext(context.Background(), "nydusd", "--config", configuration, "--mountpoint", mount,
		"--rlimit-nofile", "0", "--bootstrap", bootstrap, "--log-level", "warn")
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	defer func() {
		gone := unix.Unmount(mount, 0)
		if killed := command.Process.Signal(unix.SIGTERM); killed == nil {
			<-ended
		}
		if err == nil {
			err = gone
		}
		if err != nil {
			err = fmt.Errorf("%w; nydusd said: %s", err, bytes.TrimSpace(said.Bytes()))
		}
	}()
	if err := awaitMount(mount, ended); err != nil {
		return nil, err
	}
	return listDirectory(mount)
}

func (d daemon) configuration(bootstrap, cache, dir string) (string, error) {
	host, repository, found := strings.Cut(d.image.repo, "/")
	if !found {
		return "", fmt.Errorf("%s is not in a registry, where a daemon could fetch it", d.image.name)
	}
	scheme := "https"
	if d.plainHTTP {
		scheme = "http"
	}
	begin, err := os.ReadFile(bootstrap)
	if err != nil {
		return "", err
	}
	type object = map[string]any
	content, err := json.Marshal(object{
		"device": object{
			"backend": object{"type": "registry", "config": object{"scheme": scheme, "host": host, "repo": repository}},
			"cache":   object{"type": "blobcache", "config": object{"work_dir": cache}},
		},
		// Inodes have digests in RAFS v5 only.
		"mode": "direct", "digest_validate": bytes.HasPrefix(begin, []byte(rafsV5)), "enable_xattr": true,
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "nydusd.json")
	return path, os.WriteFile(path, content, 0o600)
}

// awaitMount waits until another file system is mounted at dir, or the daemon has ended.
func awaitMount(dir string, ended chan error) error {
	var parent, here unix.Stat_t
	if err := unix.Stat(filepath.Dir(dir), &parent); err != nil {
		return err
	}
	for range 600 {
		if err := unix.Stat(dir, &here); err == nil && here.Dev != parent.Dev {
			return nil
		}
		select {
		case err := <-ended:
			ended <- err
			return fmt.Errorf("nydusd has ended: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	return fmt.Errorf("nydusd has mounted nothing after half a minute")
}
