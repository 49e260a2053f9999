package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
)

// tarBuilder writes tars that a well-behaved writer would not: entries of any dialect one after the other, and raw
// blocks between them.
type tarBuilder struct {
	buffer bytes.Buffer
	bare   bool // it ends with its last payload, without padding and the blocks that end a tar
}

// add writes one entry by the standard library. The program cannot go on without its input, hence the panic.
func (b *tarBuilder) add(header tar.Header, content string) {
	header.Size = int64(len(content))
	writer := tar.NewWriter(&b.buffer)
	if err := writer.WriteHeader(&header); err != nil {
		panic(fmt.Sprintf("%q: %v", header.Name, err))
	}
	if _, err := writer.Write([]byte(content)); err != nil {
		panic(fmt.Sprintf("%q: %v", header.Name, err))
	}
	if err := writer.Flush(); err != nil {
		panic(fmt.Sprintf("%q: %v", header.Name, err))
	}
}

// rawEntry is a header block as written, with no regard for what a tar allows.
type rawEntry struct {
	name, link, prefix string
	typeflag           byte
	mode, size, mtime  int64
	magic              string // "ustar\x0000", or empty for the oldest tars
	content            string
	edit               func(block []byte) // before the checksum
}

func (b *tarBuilder) raw(entry rawEntry) {
	block := make([]byte, 512)
	copy(block[0:100], entry.name)
	octal(block[100:108], entry.mode)
	octal(block[108:116], 0)
	octal(block[116:124], 0)
	octal(block[124:136], entry.size)
	octal(block[136:148], entry.mtime)
	block[156] = entry.typeflag
	copy(block[157:257], entry.link)
	copy(block[257:265], entry.magic)
	copy(block[345:500], entry.prefix)
	if entry.edit != nil {
		entry.edit(block)
	}
	copy(block[148:156], "        ")
	var sum int64
	for _, value := range block {
		sum += int64(value)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
	b.buffer.Write(block)
	b.buffer.WriteString(entry.content)
	b.buffer.Write(make([]byte, -len(entry.content)&511))
}

func octal(field []byte, value int64) {
	copy(field, fmt.Sprintf("%0*o\x00", len(field)-1, value))
}

// pax writes an extended header with records as they are, also those that the standard library refuses to write.
func (b *tarBuilder) pax(typeflag byte, records ...string) {
	var content strings.Builder
	for _, record := range records {
		length := len(record) + 2
		for length != len(fmt.Sprintf("%d %s\n", length, record)) {
			length++
		}
		fmt.Fprintf(&content, "%d %s\n", length, record)
	}
	b.raw(rawEntry{
		name: "PaxHeaders/records", typeflag: typeflag, mode: 0o644, size: int64(content.Len()), magic: "ustar\x0000",
		content: content.String(),
	})
}

// finish ends the archive and returns it.
func (b *tarBuilder) finish() []byte {
	if b.bare {
		return bytes.TrimRight(b.buffer.Bytes(), "\x00")
	}
	b.buffer.Write(make([]byte, 1024))
	return b.buffer.Bytes()
}
