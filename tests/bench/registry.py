"""A registry on this machine, by docker-registry, and images in it."""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

from process import cpu_seconds_so_far

ACCEPT = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json"


class Registry:
    """A docker-registry on a port of its own, with its blobs in a directory; use it with `with`."""

    def __init__(self, program: str, directory: Path):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: { accesslog: { disabled: true }, level: info }\n"
            f"storage: {{ filesystem: {{ rootdirectory: '{directory}/data' }} }}\n"
            'http: { addr: "127.0.0.1:0" }\n'
        )
        self.log = directory / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([program, "serve", str(config)], stdout=log, stderr=log)
        self.host = self._host()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_) -> None:
        self.process.terminate()
        self.process.wait()

    def _host(self) -> str:
        for _ in range(300):
            found = re.search(r"127\.0\.0\.1:[1-9]\d*", self.log.read_text())
            if found:
                return found[0]
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise SystemExit(f"docker-registry did not start:\n{self.log.read_text()}")

    def cpu_seconds(self) -> float:
        """Processor time of the registry so far."""
        return cpu_seconds_so_far(self.process.pid)

    def push(self, layout: Path, tag: str) -> None:
        """Pushes an image of a layout as `source:TAG`."""
        where = f"docker://{self.host}/source:{tag}"
        command = ["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{layout}:{tag}", where]
        subprocess.run(command, check=True)

    def copy(self, tag: str, repository: str, new_tag: str = "src") -> str:
        """Gives `source:TAG` to another repository without moving bytes, so that a run finds there what a push has
        left and nothing else. Returns its reference."""
        manifest = self.manifest("source", tag)
        for blob in [manifest["config"], *manifest["layers"]]:
            self._ask("POST", f"{repository}/blobs/uploads/?mount={blob['digest']}&from=source", b"")
        return self.put(repository, new_tag, manifest)

    def put(self, repository: str, tag: str, manifest: dict) -> str:
        """Pushes a manifest whose blobs are there."""
        data, headers = json.dumps(manifest).encode(), {"Content-Type": manifest["mediaType"]}
        self._ask("PUT", f"{repository}/manifests/{tag}", data, headers)
        return f"{self.host}/{repository}:{tag}"

    def put_blob(self, repository: str, digest: str, data: bytes) -> None:
        """Pushes a small blob."""
        upload = self._ask("POST", f"{repository}/blobs/uploads/", b"").headers["Location"]
        self._ask("PUT", f"{upload}&digest={digest}", data, {"Content-Type": "application/octet-stream"})

    def manifest(self, repository: str, tag: str) -> dict:
        """The manifest behind a tag."""
        return json.load(self._ask("GET", f"{repository}/manifests/{tag}"))

    def blob(self, repository: str, digest: str) -> bytes:
        """A small blob."""
        return self._ask("GET", f"{repository}/blobs/{digest}").read()

    def layer_bytes(self, repository: str, tag: str) -> int:
        """The size of all layers of an image."""
        return sum(layer["size"] for layer in self.manifest(repository, tag)["layers"])

    def _ask(self, method: str, path: str, data: bytes | None = None, headers: dict[str, str] | None = None):
        url = path if path.startswith("http:") else f"http://{self.host}/v2/{path}"
        request = urllib.request.Request(url, data, {"Accept": ACCEPT, **(headers or {})}, method=method)
        try:
            return urllib.request.urlopen(request)
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {url}: {error.code} {error.read().decode()}") from error
