package main

import (
	"bytes"
	"compress/gzip"
	"fmt"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// writeOddImages writes `odd` (two platforms and an attestation), which every tool can unpack; `codecs`, whose layers
// are a plain tar, zstd and several gzip members, and the same in `only-gzip`; `stubborn`, which only a careful
// reader takes and of which four layers cannot be represented.
func writeOddImages(_ options, args []string) error {
	to := layout(args[0])
	amd64, err := to.image("amd64", kinds, links, epoch, whiteouts, empty, landmarks)
	if err != nil {
		return err
	}
	arm64, err := to.image("arm64", kinds, links)
	if err != nil {
		return err
	}
	attestation, err := to.attestation(amd64)
	if err != nil {
		return err
	}
	index, err := to.putJSON(ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex,
		Manifests:   []ocispec.Descriptor{amd64, arm64, attestation},
		Annotations: map[string]string{"org.example.kept": "yes"},
	})
	if err != nil {
		return err
	}
	if err := to.tag("odd", index); err != nil {
		return err
	}
	codecs, err := to.image("amd64", kinds.as("tar"), links.as("zstd"), whiteouts.as("members"), epoch.as("frames"))
	if err != nil {
		return err
	}
	if err := to.tag("codecs", codecs); err != nil {
		return err
	}
	onlyGzip, err := to.image("amd64", kinds, links, whiteouts, epoch)
	if err != nil {
		return err
	}
	if err := to.tag("only-gzip", onlyGzip); err != nil {
		return err
	}
	stubborn, err := to.image("amd64", blocks, replaced, sparseGNU, sparsePAX, notUTF8, links)
	if err != nil {
		return err
	}
	return to.tag("stubborn", stubborn)
}

// image writes one platform's manifest and returns its descriptor.
func (l layout) image(architecture string, layers ...oddLayer) (ocispec.Descriptor, error) {
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: architecture}}
	config.Config.Entrypoint = []string{"/fifo", "<&>"}
	config.RootFS.Type = "layers"
	manifest := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
	}
	for _, layer := range layers {
		var builder tarBuilder
		layer.write(&builder)
		unpacked := builder.finish()
		mediaType, packed := encode(layer.codec, unpacked)
		desc, err := l.put(mediaType, packed)
		if err != nil {
			return desc, err
		}
		desc.Annotations = map[string]string{"org.example.layer": layer.name}
		manifest.Layers = append(manifest.Layers, desc)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(unpacked))
		config.History = append(config.History, ocispec.History{CreatedBy: layer.name})
	}
	var err error
	if manifest.Config, err = l.putJSON(ocispec.MediaTypeImageConfig, config); err != nil {
		return ocispec.Descriptor{}, err
	}
	desc, err := l.putJSON(ocispec.MediaTypeImageManifest, manifest)
	desc.Platform = &config.Platform
	return desc, err
}

// attestation writes what buildkit puts beside an image: a manifest about another one, not for any platform.
func (l layout) attestation(about ocispec.Descriptor) (ocispec.Descriptor, error) {
	statement, err := l.put("application/vnd.in-toto+json", []byte(`{"_type":"https://in-toto.io/Statement/v0.1"}`))
	if err != nil {
		return statement, err
	}
	config, err := l.putJSON(ocispec.MediaTypeImageConfig, ocispec.Image{
		Platform: ocispec.Platform{OS: "unknown", Architecture: "unknown"},
		RootFS:   ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{statement.Digest}},
	})
	if err != nil {
		return config, err
	}
	desc, err := l.putJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: config, Layers: []ocispec.Descriptor{statement},
	})
	desc.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	desc.Annotations = map[string]string{
		"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": about.Digest.String(),
	}
	return desc, err
}

// encode compresses a layer; `members` and `frames` are the same codecs in many pieces.
func encode(codec string, unpacked []byte) (mediaType string, packed []byte) {
	pieces := [][]byte{unpacked}
	if codec == "members" || codec == "frames" {
		pieces = [][]byte{unpacked[:700], unpacked[700:1024], {}, unpacked[1024:]}
	}
	var out bytes.Buffer
	for _, piece := range pieces {
		switch codec {
		case "gzip", "members":
			writer := gzip.NewWriter(&out)
			writer.Write(piece) // a buffer takes all
			writer.Close()
			mediaType = ocispec.MediaTypeImageLayerGzip
		case "zstd", "frames":
			encoder, err := zstd.NewWriter(nil)
			if err != nil {
				panic(err)
			}
			out.Write(encoder.EncodeAll(piece, nil))
			mediaType = ocispec.MediaTypeImageLayerZstd
		case "tar":
			out.Write(piece)
			mediaType = ocispec.MediaTypeImageLayer
		default:
			panic(fmt.Sprintf("no codec %q", codec))
		}
	}
	return mediaType, out.Bytes()
}
