"""Makes the images of the recipes in one OCI layout. A layer is made once, and again when its recipe changes.

usage: images.py DIR [TAG...]   prints the layout's directory, which is below DIR
"""

import hashlib
import io
import json
import sys
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import layout
import packages
from entries import entries
from recipes import DUEL, GROWTH, SMOKE, Layer, Recipe

HERE = Path(__file__).parent


def prepare(directory: Path, tags: list[str]) -> tuple[Path, dict[str, dict]]:
    """The layout, and by tag what each image holds: its layers, bytes and files."""
    made = directory / _hash(*((HERE / name).read_text() for name in ("layout.py", "entries.py")))
    place = made / "layout"
    known = made / "layers.json"
    layers = json.loads(known.read_text()) if known.exists() else {}
    recipes = [recipe for recipe in (*DUEL, *GROWTH, SMOKE) if recipe.tag in tags]
    wanted = {_hash(repr(layer)): layer for recipe in recipes for layer in recipe.layers}
    missing = {name: layer for name, layer in wanted.items() if name not in layers}
    if missing:
        print(f"making {len(missing)} layers of images", file=sys.stderr)
        layout.blobs(place)
        layers |= _make(place, directory / "packages", missing)
        known.write_text(json.dumps(layers, indent=1))
    images = {recipe.tag: _image(place, recipe, layers) for recipe in recipes}
    layout.write_index(place, [image["descriptor"] for image in images.values()])
    return place, images


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _make(place: Path, debs: Path, missing: dict[str, Layer]) -> dict[str, dict]:
    files = packages.download(sorted({name for layer in missing.values() for name in layer.packages}), debs)
    base = debs / "essential.tar"
    if any(layer.essential for layer in missing.values()):
        packages.essential_debian(base)
    sources = [[base] if layer.essential else [files[name] for name in layer.packages] for layer in missing.values()]
    with ProcessPoolExecutor() as workers:
        made = workers.map(_layer, [place] * len(missing), missing, missing.values(), sources)
        return dict(zip(missing, made))


def _layer(place: Path, name: str, layer: Layer, sources: list[Path]) -> dict:
    return layout.write_layer(place, name, entries(layer, sources) if sources else _own_files(layer))


def _own_files(layer: Layer):
    """Files of this checkout, for an image that needs no package."""
    root = HERE.parent.parent
    for path in sorted(path for pattern in layer.own for path in root.glob(pattern)):
        data = path.read_bytes()
        info = tarfile.TarInfo(str(path.relative_to(root)))
        info.size = len(data)
        yield info, io.BytesIO(data)


def _image(place: Path, recipe: Recipe, layers: dict[str, dict]) -> dict:
    own = [layers[_hash(repr(layer))] for layer in recipe.layers]
    return {
        "about": recipe.about,
        "layers": len(own),
        "files": sum(layer["files"] for layer in own),
        "compressed": sum(layer["size"] for layer in own),
        "uncompressed": sum(layer["uncompressed"] for layer in own),
        "descriptor": layout.write_image(place, recipe.tag, own),
    }


if __name__ == "__main__":
    every = [recipe.tag for recipe in (*DUEL, *GROWTH)]
    print(prepare(Path(sys.argv[1]), sys.argv[2:] or every)[0])
