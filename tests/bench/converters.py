"""The two that convert: how each is run on `HOST/REPOSITORY:src`, with the options it has when nobody sets any."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import process
from registry import Registry

# The incumbent, and the version that is built.
MODULE = "github.com/goharbor/acceleration-service"
VERSION = "v0.2.26"
# What is put behind the source's tag, for each format.
SUFFIXES = {"estargz": "-esgz", "nydus": "-nydus"}


class Ours:
    """Accel's `accelctl convert`, without the records of earlier runs."""

    name = "Accel"

    def __init__(self, program: Path, work: Path):
        self.program, self.work = program, work

    def convert(self, registry: Registry, repository: str, *options: str) -> process.Run:
        """Converts, and measures."""
        return self.convert_tag(registry, repository, "src", "--no-cache", *options)

    def convert_to(self, form: str, registry: Registry, repository: str) -> process.Run:
        """Converts to a format, and measures."""
        return self.convert(registry, repository, "--format", form)

    def convert_tag(self, registry: Registry, repository: str, tag: str, *options: str) -> process.Run:
        """Converts with the records of earlier runs of this kind, which are in a cache of the benchmark's own."""
        command = [str(self.program), "convert", f"{registry.host}/{repository}:{tag}", "--plain-http", registry.host]
        return process.run([*command, "--output", "json", *options], self.work / "ours.log", self.environment())

    def environment(self) -> dict[str, str]:
        """An environment with nobody's logins and caches."""
        return {**os.environ, "XDG_CACHE_HOME": str(self.work / "cache"), "DOCKER_CONFIG": str(self.work / "docker")}

    def verify(self, registry: Registry, repository: str, form: str) -> None:
        """Proves that what was made, by whomever, is of the format and holds the source's files."""
        names = [f"{registry.host}/{repository}:{tag}" for tag in ("src", f"src{SUFFIXES[form]}")]
        command = [str(self.program), "verify", *names, "--plain-http", registry.host]
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment())
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")


class Incumbent:
    """acceld's `accelctl convert`: its sample configuration for a format, with room enough that nothing is collected
    while it converts. Its working directory is new in every run, as for an image that was just pushed."""

    name = "acceld"

    def __init__(self, program: Path, work: Path):
        self.program, self.work = program, work / "incumbent"

    def convert_to(self, form: str, registry: Registry, repository: str) -> process.Run:
        """Converts to a format, and measures: for Nydus, nydus-image in PATH does the work."""
        shutil.rmtree(self.work, ignore_errors=True)
        (self.work / "docker").mkdir(parents=True)
        config = self.work / "config.json"  # JSON is YAML
        config.write_text(json.dumps(self._config(form, registry.host)))
        command = [str(self.program), "convert", "--config", str(config), f"{registry.host}/{repository}:src"]
        env = {**os.environ, "DOCKER_CONFIG": str(self.work / "docker"), "TMPDIR": str(self.work)}
        run = process.run(command, self.work.parent / "incumbent.log", env)
        shutil.rmtree(self.work)
        return run

    def _config(self, form: str, host: str) -> dict:
        return {
            "server": {"name": "API", "host": "127.0.0.1", "port": "2077"},
            "metric": {"enabled": False},
            "provider": {
                "source": {host: {"insecure": False}},
                "work_dir": str(self.work),
                "gcpolicy": {"threshold": "100GB"},
            },
            "converter": {
                "worker": 5,
                "harbor_annotation": True,
                "driver": {"type": form, "config": self._driver(form)},
                "rules": [{"tag_suffix": SUFFIXES[form]}],
            },
        }

    def _driver(self, form: str) -> dict:
        if form == "estargz":
            return {"docker2oci": True}
        return {"work_dir": str(self.work), "builder": "nydus-image", "docker2oci": True, "with_referrer": True}


def build_incumbent(directory: Path) -> Path:
    """The incumbent's program, built by the Go toolchain unless it is there. A module that requires nothing but this
    version is what `go install` makes, too; it does not ask which other versions there are."""
    program = directory / f"incumbent-{VERSION}" / "accelctl"
    if not program.exists():
        module = directory / f"incumbent-{VERSION}"
        module.mkdir(parents=True, exist_ok=True)
        (module / "go.mod").write_text(f"module bench.test/incumbent\n\ngo 1.24.2\n\nrequire {MODULE} {VERSION}\n")
        command = ["go", "build", "-mod=mod", "-o", str(program), f"{MODULE}/cmd/accelctl"]
        subprocess.run(command, cwd=module, check=True)
    return program
