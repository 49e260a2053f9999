"""The images: which packages make which layer. A change here makes the images anew."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Layer:
    """A layer: an essential Debian, or what the packages hold, or a part of that."""

    packages: tuple[str, ...] = ()
    essential: bool = False
    # Of the regular files, only those of these sizes in bytes.
    smallest: int = 0
    largest: int = 1 << 62
    # Only this share of what is no directory, chosen by the digests of the paths: the mix stays the same.
    share: float = 1.0
    # The first so many regular files.
    files: int = 1 << 62
    # Instead of packages: files of this checkout.
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """An image: its tag and its layers, the lowest first."""

    tag: str
    about: str
    layers: tuple[Layer, ...] = field(default_factory=tuple)


def _layers(*groups: str) -> tuple[Layer, ...]:
    return tuple(Layer(packages=tuple(group.split())) for group in groups)


ESSENTIAL = Layer(essential=True)
PYTHON = "libpython3.11-stdlib libpython3.11-minimal python3.11-minimal"
MANY = ("papirus-icon-theme", "linux-doc-6.1", "libboost1.74-dev", "golang-1.19-src", "python3-django")
LARGE = (
    "gcc-12 cpp-12 libllvm14 libclang-cpp14",
    "golang-1.19-go golang-1.19-src",
    "openjdk-17-jdk-headless openjdk-17-jre-headless",
    "libreoffice-core firefox-esr",
)
MIX = tuple(" ".join(LARGE).split())
# What the mix holds in files of up to 8 MiB.
MIX_MB = 480
TWENTY = (
    "libc6 perl-base coreutils bash git perl-modules-5.36 libperl5.36 libpython3.11-stdlib python3.11-minimal "
    "python3-numpy python3-pandas python3-sympy python3-twisted python3-django libboost1.74-dev "
    "adwaita-icon-theme gcc-12 libicu72 libssl3 openssl"
)

# What both converters convert.
DUEL = (
    Recipe("debian-50", "a small runtime, 2 layers", _layers("libc6 libc-bin bash perl-base libssl3", PYTHON)),
    Recipe(
        "debian-150",
        "an essential Debian and a language, 2 layers",
        (ESSENTIAL, *_layers(f"{PYTHON} python3-pip python3-setuptools")),
    ),
    Recipe(
        "debian-500",
        "an application on a runtime, 4 layers",
        (
            ESSENTIAL,
            *_layers(
                "git perl-modules-5.36 libperl5.36",
                "python3-scipy python3-pandas python3-numpy",
                "openjdk-17-jre-headless",
            ),
        ),
    ),
    Recipe("debian-1500", "toolchains and a desktop, 5 layers", (ESSENTIAL, *_layers(*LARGE))),
    Recipe("small-files", "100,000 files of at most 64 KiB, 1 layer", (Layer(MANY, largest=64 << 10, files=100_000),)),
    Recipe(
        "huge-files",
        "a few files of 32 MiB and more, 1 layer",
        (Layer(("chromium", "firefox-esr", "libllvm14"), smallest=32 << 20),),
    ),
    Recipe("layers-20", "20 layers of one package each", _layers(*TWENTY.split())),
)


def _sized(size_mb: int) -> Recipe:
    layer = Layer(MIX, largest=8 << 20, share=size_mb / MIX_MB)
    return Recipe(f"layer-{size_mb}", f"1 layer of about {size_mb} MB", (layer,))


def _counted(files: int) -> Recipe:
    layer = Layer(MANY, largest=64 << 10, share=files / 102_000)
    return Recipe(f"files-{files}", f"1 layer of about {files:,} small files", (layer,))


# How cost grows with the size of a layer and with the number of its files, everything else being alike.
GROWTH = (*map(_sized, (30, 120, 480)), *map(_counted, (1_000, 10_000, 100_000)))

# What the smoke run converts: files of the checkout, so that it needs no package.
SMOKE = Recipe(
    "smoke", "two small layers", (Layer(own=("shared/**/*.rs",)), Layer(own=("docs/**/*.md", "tests/**/*.rs")))
)
