package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	nydusManifest  = "application/vnd.nydus.image.manifest.v1+json"
	maxDocument    = 16 << 20
)

// store is where an image's documents and blobs are read from.
type store interface {
	// resolve returns the digest and bytes of the document that the tag names.
	resolve(tag string) (digest.Digest, []byte, error)
	// open streams a manifest or a blob. The caller checks its digest.
	open(kind string, want digest.Digest) (io.ReadCloser, error)
}

// image is a parsed reference together with the place it lives in.
type image struct {
	store
	name string // for messages
	repo string // HOST/REPOSITORY, empty in a layout
	tag  string
}

func parseImage(ref string, opts options) (*image, error) {
	if rest, isLayout := strings.CutPrefix(ref, "oci:"); isLayout {
		dir, tag, _ := strings.Cut(rest, ":")
		return &image{store: layout(dir), name: ref, tag: tag}, nil
	}
	host, path, found := strings.Cut(ref, "/")
	if !found {
		return nil, fmt.Errorf("%q is neither HOST/REPOSITORY:TAG nor oci:DIR:TAG", ref)
	}
	colon := strings.LastIndex(path, ":")
	if colon < 0 {
		return nil, fmt.Errorf("%q has no tag", ref)
	}
	scheme := "https"
	if opts.plainHTTP {
		scheme = "http"
	}
	repo, tag := path[:colon], path[colon+1:]
	return &image{
		store: registry{url: scheme + "://" + host + "/v2/" + repo}, name: ref, repo: host + "/" + repo, tag: tag,
	}, nil
}

// pair is an image and what was made of it, platform by platform.
type pair struct {
	from, to         *image
	sources, targets []platformImage
}

func parsePair(args []string, opts options) (pair, error) {
	var both pair
	var err error
	if both.from, err = parseImage(args[0], opts); err != nil {
		return both, err
	}
	if both.to, err = parseImage(args[1], opts); err != nil {
		return both, err
	}
	if both.sources, err = both.from.platforms(); err != nil {
		return both, err
	}
	if both.targets, err = both.to.platforms(); err != nil {
		return both, err
	}
	if both.targets, err = besidePlain(both.targets); err != nil {
		return both, err
	}
	if len(both.sources) != len(both.targets) {
		return both, fmt.Errorf("%d platforms in the source, %d in the target", len(both.sources), len(both.targets))
	}
	return both, nil
}

// registry reads over the distribution API, without credentials: the judges' registries are on loopback.
type registry struct{ url string }

func (r registry) get(path string) (*http.Response, error) {
	request, err := http.NewRequest(http.MethodGet, r.url+path, nil)
	if err != nil {
		return nil, err
	}
	for _, accepted := range []string{
		ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, dockerList, dockerManifest,
	} {
		request.Header.Add("Accept", accepted)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("GET %s%s: %s", r.url, path, response.Status)
	}
	return response, nil
}

func (r registry) resolve(tag string) (digest.Digest, []byte, error) {
	response, err := r.get("/manifests/" + tag)
	if err != nil {
		return "", nil, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxDocument))
	if err != nil {
		return "", nil, err
	}
	found := digest.FromBytes(raw)
	if told := response.Header.Get("Docker-Content-Digest"); told != "" && told != found.String() {
		return "", nil, fmt.Errorf("the registry says %s is %s, its bytes are %s", tag, told, found)
	}
	return found, raw, nil
}

func (r registry) open(kind string, want digest.Digest) (io.ReadCloser, error) {
	response, err := r.get("/" + kind + "/" + want.String())
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// layout is the directory of an OCI image layout.
type layout string

func (l layout) resolve(tag string) (digest.Digest, []byte, error) {
	index, err := l.index()
	if err != nil {
		return "", nil, err
	}
	for _, entry := range index.Manifests {
		if entry.Annotations[ocispec.AnnotationRefName] == tag {
			raw, err := os.ReadFile(l.path(entry.Digest))
			return entry.Digest, raw, err
		}
	}
	return "", nil, fmt.Errorf("no tag %q in %s", tag, string(l))
}

func (l layout) open(_ string, want digest.Digest) (io.ReadCloser, error) {
	return os.Open(l.path(want))
}

func (l layout) path(d digest.Digest) string {
	return filepath.Join(string(l), "blobs", d.Algorithm().String(), d.Encoded())
}

func (l layout) index() (ocispec.Index, error) {
	var index ocispec.Index
	raw, err := os.ReadFile(filepath.Join(string(l), ocispec.ImageIndexFile))
	if err != nil {
		return index, err
	}
	return index, json.Unmarshal(raw, &index)
}

// put stores a blob and returns its descriptor.
func (l layout) put(mediaType string, content []byte) (ocispec.Descriptor, error) {
	found := digest.FromBytes(content)
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: found, Size: int64(len(content))}
	if err := os.MkdirAll(filepath.Dir(l.path(found)), 0o755); err != nil {
		return desc, err
	}
	return desc, os.WriteFile(l.path(found), content, 0o644)
}

func (l layout) putJSON(mediaType string, document any) (ocispec.Descriptor, error) {
	raw, err := json.Marshal(document)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return l.put(mediaType, raw)
}

// tag writes the layout's own files, replacing an entry of the same name.
func (l layout) tag(name string, desc ocispec.Descriptor) error {
	index, err := l.index()
	if os.IsNotExist(err) {
		index = ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	} else if err != nil {
		return err
	}
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: name}
	kept := []ocispec.Descriptor{desc}
	for _, entry := range index.Manifests {
		if entry.Annotations[ocispec.AnnotationRefName] != name {
			kept = append(kept, entry)
		}
	}
	index.Manifests = kept
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(string(l), ocispec.ImageIndexFile), raw, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(l), ocispec.ImageLayoutFile), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644)
}

// document reads a manifest or config, checks digest and size, and parses it into out.
func (i *image) document(kind string, desc ocispec.Descriptor, out any) error {
	body, err := i.open(kind, desc.Digest)
	if err != nil {
		return err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxDocument))
	if err != nil {
		return err
	}
	if found := digest.FromBytes(raw); found != desc.Digest || int64(len(raw)) != desc.Size {
		return fmt.Errorf("%s: %d bytes, digest %s, want %d bytes", desc.Digest, len(raw), found, desc.Size)
	}
	return json.Unmarshal(raw, out)
}

// fetch copies a blob to an unnamed temporary file and checks digest and size.
func (i *image) fetch(desc ocispec.Descriptor) (*os.File, error) {
	body, err := i.open("blobs", desc.Digest)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	file, err := os.CreateTemp("", "judge-blob-")
	if err != nil {
		return nil, err
	}
	os.Remove(file.Name())
	digester := digest.SHA256.Digester()
	size, err := io.Copy(io.MultiWriter(file, digester.Hash()), body)
	if err == nil && (size != desc.Size || digester.Digest() != desc.Digest) {
		err = fmt.Errorf("%d bytes, digest %s, want %d bytes, %s", size, digester.Digest(), desc.Size, desc.Digest)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// platformImage is one runnable manifest of an image.
type platformImage struct {
	platform string
	layers   []ocispec.Descriptor
	diffIDs  []digest.Digest
	artifact string // what the index says that it is
}

// platforms lists every runnable manifest: attestations are checked to be whole but hold no file system.
func (i *image) platforms() ([]platformImage, error) {
	found, raw, err := i.resolve(i.tag)
	if err != nil {
		return nil, err
	}
	var kind struct {
		MediaType string               `json:"mediaType"`
		Manifests []ocispec.Descriptor `json:"manifests"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return nil, err
	}
	if kind.Manifests == nil {
		one, err := i.platform(ocispec.Descriptor{Digest: found, Size: int64(len(raw))})
		return []platformImage{one}, err
	}
	var all []platformImage
	for _, desc := range kind.Manifests {
		if desc.Platform != nil && desc.Platform.OS == "unknown" {
			if err := i.checkAttestation(desc, kind.Manifests); err != nil {
				return nil, err
			}
			continue
		}
		one, err := i.platform(desc)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// besidePlain returns the Nydus images of an index that has a plain image for each of them, in the same order and before
// them; of any other index everything.
func besidePlain(all []platformImage) ([]platformImage, error) {
	first := slices.IndexFunc(all, func(one platformImage) bool { return one.artifact == nydusManifest })
	if first < 0 {
		return all, nil
	}
	plain, made := all[:first], all[first:]
	if len(plain) != len(made) {
		return nil, fmt.Errorf("%d plain images before %d of Nydus", len(plain), len(made))
	}
	for index, one := range made {
		if one.artifact != nydusManifest || one.platform != plain[index].platform {
			return nil, fmt.Errorf("image %d of Nydus: %q for %s beside %s",
				index+1, one.artifact, one.platform, plain[index].platform)
		}
	}
	return made, nil
}

func (i *image) platform(desc ocispec.Descriptor) (platformImage, error) {
	var manifest ocispec.Manifest
	if err := i.document("manifests", desc, &manifest); err != nil {
		return platformImage{}, err
	}
	var config ocispec.Image
	if err := i.document("blobs", manifest.Config, &config); err != nil {
		return platformImage{}, err
	}
	if len(config.RootFS.DiffIDs) != len(manifest.Layers) {
		return platformImage{}, fmt.Errorf("%s: %d layers but %d diff ids",
			desc.Digest, len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	one := platformImage{config.OS + "/" + config.Architecture, manifest.Layers, config.RootFS.DiffIDs, desc.ArtifactType}
	if desc.Platform != nil && one.platform != desc.Platform.OS+"/"+desc.Platform.Architecture {
		return one, fmt.Errorf("%s: the index says %v, the config says %s", desc.Digest, *desc.Platform, one.platform)
	}
	return one, nil
}

// checkAttestation holds an attestation to its promise: it names a manifest of the same index.
func (i *image) checkAttestation(desc ocispec.Descriptor, siblings []ocispec.Descriptor) error {
	var manifest ocispec.Manifest
	if err := i.document("manifests", desc, &manifest); err != nil {
		return err
	}
	about := desc.Annotations["vnd.docker.reference.digest"]
	for _, sibling := range siblings {
		if sibling.Digest.String() == about {
			return nil
		}
	}
	return fmt.Errorf("attestation %s is about %q, which is not in the index", desc.Digest, about)
}
