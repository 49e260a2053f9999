// Command judge reads what Accel writes with code that Accel's authors did not write: the eStargz reference library, the
// reference filesystem, the kernel's EROFS, erofs-utils and Nydus' own tools. It shares no code with the converter.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// errSkipped is what a judge answers on a machine that lacks the kernel feature it needs.
var errSkipped = errors.New("SKIPPED")

// exitSkipped tells a script that nothing was judged; 77 is what automake's test runner uses.
const exitSkipped = 77

type command struct {
	args string
	does string
	run  func(opts options, args []string) error
	want int
}

type options struct {
	plainHTTP bool
	merge     bool
	// dictionary is the Nydus image to whose blobs the target refers.
	dictionary string
	kept       int
	ignore     []string
	since      int64
}

var commands = map[string]command{
	"verify": {"REF", "check every layer of every platform with the reference library", verifyImage, 1},
	"fuse":   {"SOURCE TARGET", "mount each accelerated layer and compare it with the source layer's tar", fuseImage, 2},
	"erofs":  {"SOURCE TARGET", "mount each platform of a Nydus image and compare it with the source's layers", erofsImage, 2},
	"nydusd": {"SOURCE TARGET", "the same by nydus-image and nydusd, if they are there", upstreamImage, 2},
	"diff":   {"DIR DIR", "compare two directory trees", diffDirectories, 2},
	"tree":   {"DIR", "list a directory tree as JSON lines", printTree, 1},
	"odd":    {"DIR", "write hand-made images into an OCI layout, tagged by name", writeOddImages, 1},
}

func main() {
	switch err := run(os.Args[1:]); {
	case err == nil:
	case errors.Is(err, errSkipped):
		fmt.Println(err)
		os.Exit(exitSkipped)
	default:
		fmt.Fprintln(os.Stderr, "judge:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return usage()
	}
	cmd, known := commands[args[0]]
	if !known {
		return usage()
	}
	var opts options
	var ignore string
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.BoolVar(&opts.plainHTTP, "plain-http", false, "speak plain HTTP to the registry")
	flags.BoolVar(&opts.merge, "merge", false, "let nydus-image merge the layers, too")
	flags.StringVar(&opts.dictionary, "dictionary", "", "the chunk dictionary that nydus-image is to merge with")
	flags.IntVar(&opts.kept, "kept", 0, "how many layers verify should find kept as they were in the source")
	flags.StringVar(&ignore, "ignore", "", "comma separated paths that diff leaves out")
	flags.Int64Var(&opts.since, "since", 9_000_000_000, "diff takes times from this second on as equal: unpacking made them")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	if ignore != "" {
		opts.ignore = strings.Split(ignore, ",")
	}
	if flags.NArg() != cmd.want {
		return usage()
	}
	return cmd.run(opts, flags.Args())
}

func usage() error {
	var text strings.Builder
	text.WriteString("usage: judge COMMAND [--plain-http] [--kept N] [--merge] [--dictionary REF] [--ignore PATH,...] [--since SECONDS] ARGUMENTS\n")
	for _, name := range []string{"verify", "fuse", "erofs", "nydusd", "diff", "tree", "odd"} {
		fmt.Fprintf(&text, "  %-7s %-14s %s\n", name, commands[name].args, commands[name].does)
	}
	text.WriteString("REF is HOST[:PORT]/REPOSITORY:TAG or oci:DIR:TAG")
	return errors.New(text.String())
}
