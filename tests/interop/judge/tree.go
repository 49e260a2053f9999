package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// node is all that a file system tells about one path. Times are nanoseconds since 1970.
type node struct {
	Type   string            `json:"type"`
	Mode   string            `json:"mode"` // octal, with suid, sgid and sticky bits
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Size   int64             `json:"size"`  // regular files only
	MTime  int64             `json:"mtime"` // anyTime where nothing is promised
	SHA256 string            `json:"sha256,omitempty"`
	Target string            `json:"target,omitempty"`
	Rdev   string            `json:"rdev,omitempty"`
	Nlink  int               `json:"nlink"` // 0 for directories: file systems count differently
	Xattrs map[string]string `json:"xattrs,omitempty"`
}

// anyTime is the time of a directory that the tar implies but does not describe.
const anyTime = int64(-1 << 62)

// tree maps clean relative paths to what is there; the root is ".".
type tree map[string]node

// listDirectory reads a whole tree: contents are hashed, symlinks not followed.
func listDirectory(root string) (tree, error) {
	nodes := tree{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		nodes[relative], err = statNode(path)
		return err
	})
	return nodes, err
}

func statNode(path string) (node, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return node{}, fmt.Errorf("lstat %s: %w", path, err)
	}
	n := node{
		Mode: fmt.Sprintf("%04o", st.Mode&0o7777), UID: int(st.Uid), GID: int(st.Gid),
		MTime: time.Unix(st.Mtim.Unix()).UnixNano(), Nlink: int(st.Nlink),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		n.Type, n.Nlink = "dir", 0
	case unix.S_IFREG:
		n.Type, n.Size = "reg", st.Size
		n.SHA256, err = hashFile(path, st.Size)
	case unix.S_IFLNK:
		n.Type = "symlink"
		n.Target, err = os.Readlink(path)
	case unix.S_IFCHR:
		n.Type, n.Rdev = "char", rdev(st.Rdev)
	case unix.S_IFBLK:
		n.Type, n.Rdev = "block", rdev(st.Rdev)
	case unix.S_IFIFO:
		n.Type = "fifo"
	default:
		n.Type = fmt.Sprintf("mode %o", st.Mode)
	}
	if err != nil {
		return n, err
	}
	n.Xattrs, err = readXattrs(path)
	return n, err
}

func rdev(dev uint64) string { return fmt.Sprintf("%d:%d", unix.Major(dev), unix.Minor(dev)) }

func hashFile(path string, size int64) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	read, err := io.Copy(hash, file)
	if err == nil && read != size {
		err = fmt.Errorf("%s: stat says %d bytes, reading gives %d", path, size, read)
	}
	return hex.EncodeToString(hash.Sum(nil)), err
}

func readXattrs(path string) (map[string]string, error) {
	names := make([]byte, 64<<10)
	size, err := unix.Llistxattr(path, names)
	if errors.Is(err, unix.ENOTSUP) || (err == nil && size == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listxattr %s: %w", path, err)
	}
	found := map[string]string{}
	value := make([]byte, 64<<10)
	for _, name := range strings.Split(strings.TrimSuffix(string(names[:size]), "\x00"), "\x00") {
		length, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("getxattr %s %s: %w", path, name, err)
		}
		found[name] = hex.EncodeToString(value[:length])
	}
	return found, nil
}

// compare names every path on which two trees differ, sorted. sameTime decides whether two times count as equal.
func compare(first, second tree, sameTime func(a, b int64) bool) []string {
	var differences []string
	for path, want := range first {
		got, present := second[path]
		switch {
		case !present:
			differences = append(differences, fmt.Sprintf("%q: missing", path))
		default:
			if found := describe(want, got, sameTime); found != "" {
				differences = append(differences, fmt.Sprintf("%q: %s", path, found))
			}
		}
	}
	for path := range second {
		if _, present := first[path]; !present {
			differences = append(differences, fmt.Sprintf("%q: should not be there", path))
		}
	}
	sort.Strings(differences)
	return differences
}

func describe(want, got node, sameTime func(a, b int64) bool) string {
	var found []string
	differ := func(what string, a, b any) {
		if a != b {
			found = append(found, fmt.Sprintf("%s %v, want %v", what, b, a))
		}
	}
	differ("type", want.Type, got.Type)
	differ("mode", want.Mode, got.Mode)
	differ("uid", want.UID, got.UID)
	differ("gid", want.GID, got.GID)
	differ("size", want.Size, got.Size)
	differ("content", want.SHA256, got.SHA256)
	differ("link target", want.Target, got.Target)
	differ("device", want.Rdev, got.Rdev)
	differ("link count", want.Nlink, got.Nlink)
	differ("xattrs", fmt.Sprint(want.Xattrs), fmt.Sprint(got.Xattrs))
	if want.MTime != anyTime && !sameTime(want.MTime, got.MTime) {
		differ("mtime", time.Unix(0, want.MTime).UTC(), time.Unix(0, got.MTime).UTC())
	}
	return strings.Join(found, "; ")
}

// unpackedTime takes times equal to the nanosecond, or both made while unpacking: no entry of the tar gave them.
func unpackedTime(since int64) func(a, b int64) bool {
	return func(a, b int64) bool {
		return a == b || min(a, b) >= time.Unix(since, 0).UnixNano()
	}
}

// secondTime also takes a time rounded or cut to a second: the TOC's times are seconds in the specification.
func secondTime(want, got int64) bool {
	exact := time.Unix(0, want)
	return got == want || got == exact.Round(time.Second).UnixNano() || got == exact.Truncate(time.Second).UnixNano()
}

const shownDifferences = 20

// report turns differences into one error that shows the first of them.
func report(differences []string) error {
	if len(differences) == 0 {
		return nil
	}
	shown := differences[:min(len(differences), shownDifferences)]
	return fmt.Errorf("%d differences:\n  %s", len(differences), strings.Join(shown, "\n  "))
}

func diffDirectories(opts options, args []string) error {
	first, err := listDirectory(args[0])
	if err != nil {
		return err
	}
	second, err := listDirectory(args[1])
	if err != nil {
		return err
	}
	for _, path := range opts.ignore {
		delete(first, path)
		delete(second, path)
	}
	if err := report(compare(first, second, unpackedTime(opts.since))); err != nil {
		return err
	}
	fmt.Printf("%d paths are equal\n", len(first))
	return nil
}

func printTree(_ options, args []string) error {
	nodes, err := listDirectory(args[0])
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, path := range sortedPaths(nodes) {
		if err := encoder.Encode(struct {
			Path string `json:"path"`
			node
		}{path, nodes[path]}); err != nil {
			return err
		}
	}
	return nil
}

func sortedPaths(nodes tree) []string {
	paths := make([]string, 0, len(nodes))
	for path := range nodes {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}
