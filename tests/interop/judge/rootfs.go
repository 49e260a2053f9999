package main

import (
	"archive/tar"
	"fmt"
	"io"
	"path"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageTree applies the layers of an image onto each other, in memory, as the OCI image specification says: what a layer
// removes goes first, wherever the layer says so, then comes what it adds.
func (i *image) imageTree(layers []ocispec.Descriptor) (tree, error) {
	applied := appliedLayer{paths: map[string]*node{}}
	applied.addImplied(".")
	for index, desc := range layers {
		for _, pass := range []func(*tar.Header, io.Reader) error{applied.remove, applied.add} {
			if err := i.eachEntry(desc, pass); err != nil {
				return nil, fmt.Errorf("layer %d: %w", index, err)
			}
		}
	}
	return applied.result(), nil
}

func (i *image) eachEntry(desc ocispec.Descriptor, visit func(*tar.Header, io.Reader) error) error {
	file, err := i.fetch(desc)
	if err != nil {
		return err
	}
	defer file.Close()
	unpacked, err := decompress(file)
	if err != nil {
		return err
	}
	defer unpacked.Close()
	for archive := tar.NewReader(unpacked); ; {
		header, err := archive.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(header, archive); err != nil {
			return fmt.Errorf("%q: %w", header.Name, err)
		}
	}
}

// remove takes away what a whiteout names.
func (l *appliedLayer) remove(h *tar.Header, _ io.Reader) error {
	parent, base := path.Split(cleanPath(h.Name))
	if base == opaqueMarker {
		l.removeBelow(path.Clean(parent))
	} else if hidden, is := strings.CutPrefix(base, whiteoutPrefix); is && hidden != "" {
		l.removeBelow(path.Join(parent, hidden))
		delete(l.paths, path.Join(parent, hidden))
	}
	return nil
}

func (l *appliedLayer) removeBelow(dir string) {
	if found, present := l.paths[dir]; !present || found.Type != "dir" {
		return
	}
	for name := range l.paths {
		if name != "." && (dir == "." || strings.HasPrefix(name, dir+"/")) {
			delete(l.paths, name)
		}
	}
}

// add puts an entry in its place. Parents that have no entry are made, where there is no directory.
func (l *appliedLayer) add(h *tar.Header, content io.Reader) error {
	name := cleanPath(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	parent, base := path.Split(name)
	var made *node
	if h.Typeflag == tar.TypeLink {
		target, present := l.paths[cleanPath(h.Linkname)]
		if !present {
			return fmt.Errorf("a hard link to %q, which is not there", h.Linkname)
		}
		made = target
	}
	if name != "." {
		l.addDirectories(path.Clean(parent))
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return nil
	}
	if made == nil {
		var err error
		if made, err = newNode(h, content); err != nil {
			return err
		}
		made.keepLinuxXattrs()
	}
	if made.Type != "dir" {
		l.removeBelow(name)
	}
	l.paths[name] = made
	return nil
}

func (l *appliedLayer) addDirectories(dir string) {
	if found, present := l.paths[dir]; present && found.Type == "dir" {
		return
	}
	l.paths[dir] = &node{Type: "dir", Mode: "0755", MTime: anyTime}
	if dir != "." {
		l.addDirectories(path.Dir(dir))
	}
}

// keepLinuxXattrs drops attributes of name spaces that Linux refuses, as runtimes do.
func (n *node) keepLinuxXattrs() {
	for name := range n.Xattrs {
		known := strings.HasPrefix(name, "system.posix_acl_")
		for _, space := range []string{"user.", "trusted.", "security."} {
			known = known || strings.HasPrefix(name, space)
		}
		if !known {
			delete(n.Xattrs, name)
		}
	}
	if len(n.Xattrs) == 0 {
		n.Xattrs = nil
	}
}
