package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/log"
	"github.com/containerd/stargz-snapshotter/estargz"
	stargzfs "github.com/containerd/stargz-snapshotter/fs"
	"github.com/containerd/stargz-snapshotter/fs/config"
	"github.com/containerd/stargz-snapshotter/fs/source"
	"github.com/containerd/stargz-snapshotter/snapshot"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// fuseImage mounts each accelerated layer of the target by the reference filesystem, which fetches it lazily from
// the registry and verifies each chunk, and compares the mount with the same layer of the source.
func fuseImage(opts options, args []string) error {
	if device, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		return fmt.Errorf("%w: %w", errSkipped, err)
	} else {
		device.Close()
	}
	both, err := parsePair(args, opts)
	if err != nil {
		return err
	}
	mounter, err := newMounter(both.to, opts)
	if err != nil {
		return err
	}
	defer os.RemoveAll(mounter.work)
	for index, target := range both.targets {
		if err := mounter.judgePlatform(both.from, both.sources[index], target); err != nil {
			return fmt.Errorf("%s: %w", target.platform, err)
		}
	}
	return nil
}

// mounter is the reference filesystem, set up for one image of one registry.
type mounter struct {
	image *image
	fs    snapshot.FileSystem
	work  string
}

func newMounter(img *image, opts options) (*mounter, error) {
	if img.repo == "" {
		return nil, fmt.Errorf("%s is not in a registry, where a filesystem could fetch it", img.name)
	}
	if err := log.SetLevel("fatal"); err != nil {
		return nil, err
	}
	work, err := os.MkdirTemp("", "judge-fuse-")
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if opts.plainHTTP {
		scheme = "http"
	}
	hosts := func(ref reference.Spec) ([]docker.RegistryHost, error) {
		return []docker.RegistryHost{{
			Client: &http.Client{Transport: http.DefaultTransport}, Host: ref.Hostname(), Scheme: scheme, Path: "/v2",
			Capabilities: docker.HostCapabilityPull | docker.HostCapabilityResolve,
		}}, nil
	}
	filesystem, err := stargzfs.NewFilesystem(
		filepath.Join(work, "cache"),
		config.Config{
			NoPrometheus: true, NoBackgroundFetch: true,
			DirectoryCacheConfig: config.DirectoryCacheConfig{SyncAdd: true},
		},
		stargzfs.WithGetSources(source.FromDefaultLabels(hosts)),
	)
	return &mounter{img, filesystem, work}, err
}

func (m *mounter) judgePlatform(from *image, want, got platformImage) error {
	if want.platform != got.platform || len(want.layers) != len(got.layers) {
		return fmt.Errorf("%d layers, the source is %s with %d", len(got.layers), want.platform, len(want.layers))
	}
	for index, desc := range got.layers {
		paths, err := m.judgeLayer(from, want.layers[index], desc)
		if err != nil {
			return fmt.Errorf("layer %d (%s): %w", index, desc.Digest, err)
		}
		fmt.Printf("%s layer %d %s: %s\n", got.platform, index, desc.Digest, paths)
	}
	return nil
}

// judgeLayer says in words what was found. A kept layer must be the source's, to the byte.
func (m *mounter) judgeLayer(from *image, want, got ocispec.Descriptor) (string, error) {
	if _, accelerated := got.Annotations[estargz.TOCJSONDigestAnnotation]; !accelerated {
		if got.Digest != want.Digest {
			return "", fmt.Errorf("has no TOC, yet is not the source's %s", want.Digest)
		}
		return "kept", nil
	}
	expected, err := from.layerTree(want)
	if err != nil {
		return "", fmt.Errorf("source layer: %w", err)
	}
	mounted, err := m.list(got)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d paths", len(mounted)), report(compare(expected, mounted, secondTime))
}

// list mounts one layer, reads all of it and unmounts it.
func (m *mounter) list(desc ocispec.Descriptor) (_ tree, err error) {
	dir, err := os.MkdirTemp(m.work, "mount-")
	if err != nil {
		return nil, err
	}
	labels := map[string]string{
		"containerd.io/snapshot/remote/stargz.reference": m.image.repo + ":" + m.image.tag,
		"containerd.io/snapshot/remote/stargz.digest":    desc.Digest.String(),
	}
	for key, value := range desc.Annotations {
		labels[key] = value
	}
	if err := m.fs.Mount(context.Background(), dir, labels); err != nil {
		return nil, fmt.Errorf("mount: %w", err)
	}
	defer func() {
		if gone := m.fs.Unmount(context.Background(), dir); err == nil {
			err = gone
		}
	}()
	return listDirectory(dir)
}
