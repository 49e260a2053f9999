package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// erofsImage mounts each platform of a Nydus image by the kernel's own EROFS and compares the mount with what the
// layers of the source make when they are unpacked; before that, erofs-utils checks the same files.
func erofsImage(opts options, args []string) error {
	both, err := parsePair(args, opts)
	if err != nil {
		return err
	}
	var skipped error
	for index, target := range both.targets {
		err := judgeErofs(both.from, both.to, both.sources[index], target)
		if errors.Is(err, errSkipped) {
			skipped = err
		} else if err != nil {
			return fmt.Errorf("%s: %w", target.platform, err)
		}
	}
	return skipped
}

func judgeErofs(from, to *image, want, got platformImage) error {
	if want.platform != got.platform {
		return fmt.Errorf("the source has %s in its place", want.platform)
	}
	work, err := os.MkdirTemp("", "judge-erofs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	devices, err := to.writeDevices(got, work)
	if err != nil {
		return err
	}
	bootstrap := filepath.Join(work, bootstrapName)
	if err := fsck(bootstrap, devices); err != nil {
		return err
	}
	expected, err := from.imageTree(want.layers)
	if err != nil {
		return fmt.Errorf("source: %w", err)
	}
	mounted, err := listErofs(bootstrap, devices, filepath.Join(work, "mount"))
	if err != nil {
		return err
	}
	fmt.Printf("%s: %d paths, %d devices\n", got.platform, len(mounted), len(devices))
	return report(compare(expected, mounted, func(a, b int64) bool { return a == b }))
}

// fsck reads every file by erofs-utils.
func fsck(bootstrap string, devices []string) error {
	var args []string
	for _, device := range devices {
		args = append(args, "--device="+device)
	}
	output, err := exec.CommandContext(context.Background(), "fsck.erofs", append(args, "--extract", bootstrap)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("fsck.erofs: %w: %s", err, bytes.TrimSpace(output))
	}
	return nil
}

// listErofs mounts the bootstrap, reads all of it and unmounts it.
func listErofs(bootstrap string, devices []string, dir string) (_ tree, err error) {
	if known, err := os.ReadFile("/proc/filesystems"); err != nil || !bytes.Contains(known, []byte("\terofs\n")) {
		return nil, fmt.Errorf("%w: the kernel knows no EROFS", errSkipped)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	var data []string
	for _, device := range devices {
		data = append(data, "device="+device)
	}
	switch err := unix.Mount(bootstrap, dir, "erofs", unix.MS_RDONLY, strings.Join(data, ",")); {
	case errors.Is(err, unix.ENOTBLK):
		return nil, fmt.Errorf("%w: the kernel mounts no EROFS from files", errSkipped)
	case err != nil:
		return nil, fmt.Errorf("mount: %w", err)
	}
	defer func() {
		if gone := unix.Unmount(dir, 0); err == nil {
			err = gone
		}
	}()
	return listDirectory(dir)
}
