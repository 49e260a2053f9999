package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/gzip"
	"github.com/opencontainers/go-digest"
)

// checkContents holds a blob to what the reference library's in-memory reader does not check, but other readers
// rely on: footer, JSON without a tail, order of the entries, members that stand alone, and a TOC that says the
// same as the tar around it.
func checkContents(blob *io.SectionReader, want digest.Digest) error {
	tocOffset, footerSize, err := estargz.OpenFooter(blob)
	if err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	if footerSize != estargz.FooterSize {
		return fmt.Errorf("footer of %d bytes, want %d", footerSize, estargz.FooterSize)
	}
	raw, err := readTOC(io.NewSectionReader(blob, tocOffset, blob.Size()-tocOffset))
	if err != nil {
		return fmt.Errorf("TOC: %w", err)
	}
	if found := digest.FromBytes(raw); found != want {
		return fmt.Errorf("TOC digest is %s, the annotation says %s", found, want)
	}
	var toc estargz.JTOC
	decoder := json.NewDecoder(bytes.NewReader(raw))
	if err := decoder.Decode(&toc); err != nil {
		return fmt.Errorf("TOC: %w", err)
	}
	if decoder.InputOffset() != int64(len(raw)) {
		return fmt.Errorf("TOC: %d bytes after the JSON", int64(len(raw))-decoder.InputOffset())
	}
	if err := checkOrder(toc.Entries); err != nil {
		return fmt.Errorf("TOC: %w", err)
	}
	if err := checkMembers(blob, toc.Entries, tocOffset); err != nil {
		return err
	}
	return checkAgainstTar(blob, toc.Entries)
}

// readTOC reads the one tar entry of the gzip member that holds the TOC.
func readTOC(member io.Reader) ([]byte, error) {
	unzipped, err := gzip.NewReader(member)
	if err != nil {
		return nil, err
	}
	unzipped.Multistream(false)
	archive := tar.NewReader(unzipped)
	header, err := archive.Next()
	if err != nil {
		return nil, err
	}
	if header.Name != estargz.TOCTarName {
		return nil, fmt.Errorf("the entry's name is %q", header.Name)
	}
	raw, err := io.ReadAll(archive)
	if err != nil {
		return nil, err
	}
	if _, err := archive.Next(); err != io.EOF {
		return nil, fmt.Errorf("something follows it in its member")
	}
	return raw, nil
}

// checkOrder: data moves forward, a chunk follows its file, a link's target comes before the link (the reference's
// database reader is one-pass), exactly one landmark stands where prefetching readers look for it.
func checkOrder(entries []*estargz.TOCEntry) error {
	seen := map[string]bool{}
	last, landmarks := int64(-1), 0
	for index, entry := range entries {
		if hasData(entry) {
			if entry.Offset <= last {
				return fmt.Errorf("%q: offset %d does not come after %d", entry.Name, entry.Offset, last)
			}
			last = entry.Offset
		}
		switch {
		case entry.Type == "chunk":
			if index == 0 || cleanPath(entries[index-1].Name) != cleanPath(entry.Name) {
				return fmt.Errorf("%q: a chunk away from its file", entry.Name)
			}
			continue
		case entry.Type == "hardlink" && !seen[cleanPath(entry.LinkName)]:
			return fmt.Errorf("%q: a hard link to %q, which comes later or never", entry.Name, entry.LinkName)
		case seen[cleanPath(entry.Name)]:
			return fmt.Errorf("%q: twice", entry.Name)
		}
		seen[cleanPath(entry.Name)] = true
		if isLandmark(entry.Name) {
			landmarks++
		}
	}
	if landmarks != 1 {
		return fmt.Errorf("%d landmarks", landmarks)
	}
	if seen[estargz.NoPrefetchLandmark] && entries[0].Name != estargz.NoPrefetchLandmark {
		return errors.New("the no-prefetch landmark is not the first entry")
	}
	return nil
}

func hasData(entry *estargz.TOCEntry) bool {
	return entry.Type == "chunk" || (entry.Type == "reg" && entry.Size > 0)
}

func isLandmark(name string) bool {
	clean := cleanPath(name)
	return clean == estargz.PrefetchLandmark || clean == estargz.NoPrefetchLandmark
}

// checkMembers inflates every chunk from its own offset and no further than the next one's.
func checkMembers(blob *io.SectionReader, entries []*estargz.TOCEntry, tocOffset int64) error {
	end := tocOffset
	var member gzip.Reader
	var fileSize int64
	sizes := make([]int64, len(entries))
	for index, entry := range entries {
		if entry.Type == "reg" {
			fileSize = entry.Size
		}
		sizes[index] = entry.ChunkSize
		if entry.ChunkSize == 0 {
			sizes[index] = fileSize - entry.ChunkOffset
		}
	}
	for index := len(entries) - 1; index >= 0; index-- {
		entry := entries[index]
		if !hasData(entry) {
			continue
		}
		part := bufio.NewReader(io.NewSectionReader(blob, entry.Offset, end-entry.Offset))
		if err := member.Reset(part); err != nil {
			return fmt.Errorf("%q: no gzip member at %d: %w", entry.Name, entry.Offset, err)
		}
		if _, err := io.CopyN(io.Discard, &member, entry.InnerOffset); err != nil {
			return fmt.Errorf("%q: inner offset %d: %w", entry.Name, entry.InnerOffset, err)
		}
		digester := digest.SHA256.Digester()
		if _, err := io.CopyN(digester.Hash(), &member, sizes[index]); err != nil {
			return fmt.Errorf("%q: chunk at %d: %w", entry.Name, entry.Offset, err)
		}
		if digester.Digest().String() != entry.ChunkDigest {
			return fmt.Errorf("%q: chunk at %d is %s, want %q",
				entry.Name, entry.Offset, digester.Digest(), entry.ChunkDigest)
		}
		end = entry.Offset
	}
	return nil
}

// checkAgainstTar walks the blob as a plain tar: a client without lazy pulling must see what the TOC says.
func checkAgainstTar(blob *io.SectionReader, entries []*estargz.TOCEntry) error {
	unzipped, err := gzip.NewReader(io.NewSectionReader(blob, 0, blob.Size()))
	if err != nil {
		return err
	}
	archive := tar.NewReader(unzipped)
	for {
		header, err := archive.Next()
		if err != nil {
			return fmt.Errorf("the tar ends before its TOC: %w", err)
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue
		}
		for len(entries) > 0 && entries[0].Type == "chunk" {
			entries = entries[1:]
		}
		if header.Name == estargz.TOCTarName {
			break
		}
		if len(entries) == 0 {
			return fmt.Errorf("%q is in the tar but not in the TOC", header.Name)
		}
		if told, found := describeEntry(entries[0]), describeHeader(header); told != found {
			return fmt.Errorf("%q: the tar says\n  %s\nthe TOC says\n  %s", header.Name, found, told)
		}
		if told, found := entryTime(entries[0]), header.ModTime.UnixNano(); !secondTime(found, told) {
			return fmt.Errorf("%q: the tar's mtime is %v, the TOC's %q",
				header.Name, header.ModTime, entries[0].ModTime3339)
		}
		entries = entries[1:]
	}
	if len(entries) > 0 {
		return fmt.Errorf("%q is in the TOC but not in the tar", entries[0].Name)
	}
	if _, err := archive.Next(); err != io.EOF {
		return fmt.Errorf("something follows the TOC in the tar: %v", err)
	}
	return nil
}

var tocTypes = map[byte]string{
	tar.TypeReg: "reg", tar.TypeCont: "reg", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeLink: "hardlink",
	tar.TypeChar: "char", tar.TypeBlock: "block", tar.TypeFifo: "fifo",
}

func describeHeader(h *tar.Header) string {
	size := h.Size
	if tocTypes[h.Typeflag] != "reg" {
		size = 0
	}
	return fmt.Sprintf("%s %q -> %q mode %o uid %d gid %d size %d device %d:%d xattrs %x", tocTypes[h.Typeflag],
		cleanPath(h.Name), h.Linkname, h.Mode, h.Uid, h.Gid, size, h.Devmajor, h.Devminor, headerXattrs(h))
}

func describeEntry(e *estargz.TOCEntry) string {
	xattrs := map[string]string{}
	for name, value := range e.Xattrs {
		xattrs[name] = string(value)
	}
	return fmt.Sprintf("%s %q -> %q mode %o uid %d gid %d size %d device %d:%d xattrs %x", e.Type,
		cleanPath(e.Name), e.LinkName, e.Mode, e.UID, e.GID, e.Size, e.DevMajor, e.DevMinor, xattrs)
}

func headerXattrs(h *tar.Header) map[string]string {
	xattrs := map[string]string{}
	for key, value := range h.PAXRecords {
		if name, is := strings.CutPrefix(key, "SCHILY.xattr."); is {
			xattrs[name] = value
		}
	}
	return xattrs
}

// entryTime: a TOC leaves out a time that is zero in the reference's eyes.
func entryTime(e *estargz.TOCEntry) int64 {
	parsed, err := time.Parse(time.RFC3339Nano, e.ModTime3339)
	if err != nil {
		return 0
	}
	return parsed.UnixNano()
}
