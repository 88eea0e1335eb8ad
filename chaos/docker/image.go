package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// ErrImage is wrapped by errors that say that no node image could be made: naming one with --image helps.
var ErrImage = errors.New("no node image (name one with --image)")

// nodePackage is the program of a node image: the broker and the sidecar.
const nodePackage = "soak/cmd/broker"

// dockerfile makes an image of one static binary. The data folder belongs to a user without rights.
const dockerfile = `FROM scratch
COPY soak /soak
COPY --chown=65532:65532 data /data
USER 65532:65532
ENTRYPOINT ["/soak"]
`

// machines maps GOARCH to what an ELF header says.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// ownImage makes sure that the engine has the image of the reference broker for its architecture, and names it. The
// name says the content, so an image is built once and kept.
func (e *engine) ownImage(ctx context.Context, domain string, logf func(string, ...any)) (string, error) {
	binary, err := nodeBinary(ctx, e.arch, logf)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrImage, err)
	}
	sum := sha256.New()
	sum.Write([]byte(dockerfile))
	sum.Write(binary)
	content := hex.EncodeToString(sum.Sum(nil))[:16]
	name := "soak-node:" + content

	call, cancel := bounded(ctx)
	defer cancel()
	_, err = e.ImageInspect(call, name)
	if err == nil {
		return name, nil
	}
	if !cerrdefs.IsNotFound(err) {
		return "", fmt.Errorf("looking for image %s: %w", name, explain(call, err))
	}
	logf("building the node image %s (%d MB)", name, len(binary)>>20)
	if err := e.build(ctx, name, binary, map[string]string{labelImage: "1", labelOwner: domain}); err != nil {
		return "", fmt.Errorf("%w: building %s: %w", ErrImage, name, err)
	}
	return name, nil
}

// build has the engine's classic builder make an image from a tar in memory.
func (e *engine) build(ctx context.Context, name string, binary []byte, labels map[string]string) error {
	context, err := buildContext(binary)
	if err != nil {
		return fmt.Errorf("packing the binary: %w", err)
	}
	r, err := e.ImageBuild(ctx, context, client.ImageBuildOptions{
		Tags: []string{name}, Labels: labels, Remove: true, ForceRemove: true, Dockerfile: "Dockerfile",
	})
	if err != nil {
		return explain(ctx, err)
	}
	defer r.Body.Close()
	// The answer is a stream of JSON messages; an error comes as one of them.
	for d := json.NewDecoder(r.Body); ; {
		var m struct {
			Error string `json:"error"`
		}
		switch err := d.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the builder's answer: %w", explain(ctx, err))
		case m.Error != "":
			return errors.New(m.Error)
		}
	}
}

// buildContext packs what the Dockerfile names.
func buildContext(binary []byte) (io.Reader, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		tar.Header
		content []byte
	}{
		{tar.Header{Name: "Dockerfile", Mode: 0o644}, []byte(dockerfile)},
		{tar.Header{Name: "soak", Mode: 0o755}, binary},
		{tar.Header{Name: "data/", Mode: 0o755, Typeflag: tar.TypeDir}, nil},
	} {
		f.Size = int64(len(f.content))
		if err := w.WriteHeader(&f.Header); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return &b, w.Close()
}

// nodeBinary gives the program for a node image of an architecture: this very program if it can serve, else the
// broker's, compiled for it.
func nodeBinary(ctx context.Context, arch string, logf func(string, ...any)) ([]byte, error) {
	if _, known := machines[arch]; !known {
		return nil, fmt.Errorf("the engine's architecture is %q, want amd64 or arm64", arch)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	why := serves(self, mainPackage(), arch)
	if why == nil {
		return os.ReadFile(self)
	}
	logf("compiling %s for linux/%s (this program cannot serve in a container: %v)", nodePackage, arch, why)
	b, err := compile(ctx, arch)
	if err != nil {
		return nil, fmt.Errorf("this program cannot serve in a container (%w), and compiling %s failed: %w", why, nodePackage, err)
	}
	return b, nil
}

// mainPackage is the package that this program was built from, whatever its file is called; "" where the build does not say.
func mainPackage() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Path
	}
	return ""
}

// serves says why the program at path, built from a package, cannot be the one in a node image: it must be soak or the broker, for
// linux, static and of the architecture.
func serves(path, built, arch string) error {
	if built != "soak/cmd/soak" && built != nodePackage {
		return fmt.Errorf("%s is not soak", filepath.Base(path))
	}
	return static(path, arch)
}

// static says why a file is not a static linux program of an architecture.
func static(path, arch string) error {
	f, err := elf.Open(path)
	var format *elf.FormatError
	if errors.As(err, &format) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it is no linux program")
	}
	if err != nil {
		return fmt.Errorf("reading it: %w", err)
	}
	defer f.Close()
	if f.Machine != machines[arch] {
		return fmt.Errorf("it is built for %v, not for %s", f.Machine, arch)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it is linked dynamically")
		}
	}
	return nil
}

// compile builds the broker's program for linux with the go command, which finds it from the current folder: in this
// module, or as a dependency of somebody else's. The go command's own cache keeps all but the linking.
func compile(ctx context.Context, arch string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "soak-node-")
	if err != nil {
		return nil, fmt.Errorf("making a folder to compile in: %w", err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "soak")
	// No version control data: a commit that changes no source gives the same image. (-trimpath would do more for that, but
	// makes the go command compile everything a second time.)
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", out, nodePackage)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	said, err := cmd.CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(string(said)))
	}
	if err := static(out, arch); err != nil {
		return nil, fmt.Errorf("looking at what was compiled: %w", err)
	}
	return os.ReadFile(out)
}
