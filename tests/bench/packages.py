"""Debian packages of this machine's own release, as files on disk: downloaded once, kept by name."""

import os
import subprocess
from pathlib import Path


def as_root(*command: str) -> list[str]:
    """The command, behind sudo where this is not root."""
    return list(command) if os.getuid() == 0 else ["sudo", *command]


def download(names: list[str], directory: Path) -> dict[str, Path]:
    """The packages' files by name. Those that are in the directory already are not asked for again."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [name for name in names if not _found(name, directory)]
    if missing and not _apt_download(missing, directory):
        # Package lists that are missing or old.
        subprocess.run(as_root("apt-get", "update", "-qq"), check=True, stdin=subprocess.DEVNULL)
        if not _apt_download(missing, directory):
            raise SystemExit(f"could not download {' '.join(missing)}")
    return {name: _found(name, directory)[0] for name in names}


def _found(name: str, directory: Path) -> list[Path]:
    return sorted(directory.glob(f"{name}_*.deb"))


def _apt_download(names: list[str], directory: Path) -> bool:
    command = ["apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", *names]
    return subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL).returncode == 0


def essential_debian(tar: Path) -> None:
    """Writes the tar of an essential Debian, unless it is there."""
    if tar.exists():
        return
    suite = _release()["VERSION_CODENAME"]
    lists = [Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")]
    sources = next((str(path) for path in lists if path.exists()), "/etc/apt/sources.list")
    unfinished = tar.with_suffix(".unfinished.tar")
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=essential", suite, str(unfinished), sources]
    subprocess.run(as_root(*command), check=True, stdin=subprocess.DEVNULL)
    if os.getuid() != 0:
        subprocess.run(as_root("chown", f"{os.getuid()}:{os.getgid()}", str(unfinished)), check=True)
    unfinished.rename(tar)


def _release() -> dict[str, str]:
    lines = Path("/etc/os-release").read_text().splitlines()
    return {key: value.strip('"') for key, value in (line.split("=", 1) for line in lines if "=" in line)}
