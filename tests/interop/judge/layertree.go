package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/containerd/stargz-snapshotter/estargz"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
)

// layerTree applies a source layer's tar to nothing, in memory, the way an unpacking client does: what is shown is
// what an overlay's upper directory would hold, whiteouts as 0:0 devices and opaque directories marked.
func (i *image) layerTree(desc ocispec.Descriptor) (tree, error) {
	file, err := i.fetch(desc)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unpacked, err := decompress(file)
	if err != nil {
		return nil, err
	}
	defer unpacked.Close()
	applied := appliedLayer{paths: map[string]*node{}, whiteouts: map[string]*node{}, opaque: map[string]bool{}}
	applied.addImplied(".")
	archive := tar.NewReader(unpacked)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return applied.result(), nil
		}
		if err != nil {
			return nil, err
		}
		if err := applied.apply(header, archive); err != nil {
			return nil, fmt.Errorf("%q: %w", header.Name, err)
		}
	}
}

// appliedLayer maps paths to inodes: hard links are paths with the same pointer.
type appliedLayer struct {
	paths     map[string]*node
	whiteouts map[string]*node
	opaque    map[string]bool
}

func (l *appliedLayer) apply(h *tar.Header, content io.Reader) error {
	name := cleanPath(h.Name)
	if h.Typeflag == tar.TypeXGlobalHeader || name == estargz.TOCTarName || isLandmark(name) {
		return nil
	}
	parent, base := path.Split(name)
	if name != "." {
		l.addImplied(path.Clean(parent))
	}
	if base == opaqueMarker {
		l.opaque[path.Clean(parent)] = true
		return nil
	}
	if hidden, is := strings.CutPrefix(base, whiteoutPrefix); is {
		gone := node{Type: "char", Mode: "0000", Rdev: "0:0", MTime: h.ModTime.UnixNano()}
		l.whiteouts[path.Join(parent, hidden)] = &gone
		return nil
	}
	if h.Typeflag == tar.TypeLink {
		target, present := l.paths[cleanPath(h.Linkname)]
		if !present {
			return fmt.Errorf("a hard link to %q, which is not there", h.Linkname)
		}
		l.paths[name] = target
		return nil
	}
	made, err := newNode(h, content)
	l.paths[name] = made
	return err
}

func newNode(h *tar.Header, content io.Reader) (*node, error) {
	made := &node{
		Type: tocTypes[h.Typeflag], Mode: fmt.Sprintf("%04o", h.Mode&0o7777), UID: h.Uid, GID: h.Gid,
		MTime: h.ModTime.UnixNano(),
	}
	switch made.Type {
	case "reg":
		hash := sha256.New()
		size, err := io.Copy(hash, content)
		if err != nil {
			return nil, err
		}
		made.Size, made.SHA256 = size, hex.EncodeToString(hash.Sum(nil))
	case "symlink":
		made.Target, made.Mode = h.Linkname, "0777"
	case "char", "block":
		made.Rdev = fmt.Sprintf("%d:%d", h.Devmajor, h.Devminor)
	case "":
		return nil, fmt.Errorf("type %q", h.Typeflag)
	}
	for name, value := range headerXattrs(h) {
		made.addXattr(name, value)
	}
	return made, nil
}

func (n *node) addXattr(name, value string) {
	if n.Xattrs == nil {
		n.Xattrs = map[string]string{}
	}
	n.Xattrs[name] = hex.EncodeToString([]byte(value))
}

// addImplied makes the directories that a path needs and no entry has described yet.
func (l *appliedLayer) addImplied(dir string) {
	if _, present := l.paths[dir]; present {
		return
	}
	l.paths[dir] = &node{Type: "dir", Mode: "0755", MTime: anyTime}
	if dir != "." {
		l.addImplied(path.Dir(dir))
	}
}

func (l *appliedLayer) result() tree {
	for dir := range l.opaque {
		l.paths[dir].addXattr("trusted.overlay.opaque", "y")
		l.paths[dir].addXattr("user.overlay.opaque", "y")
	}
	for hidden, gone := range l.whiteouts {
		if _, replaced := l.paths[hidden]; !replaced {
			l.paths[hidden] = gone
		}
	}
	for _, inode := range l.paths {
		if inode.Type != "dir" {
			inode.Nlink++
		}
	}
	nodes := tree{}
	for name, inode := range l.paths {
		nodes[name] = *inode
	}
	return nodes
}

// cleanPath writes "./a/", "/a" and "a" alike; the root is ".".
func cleanPath(name string) string {
	clean := strings.TrimPrefix(path.Clean("/"+name), "/")
	if clean == "" {
		return "."
	}
	return clean
}
