package docker

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// program writes the shortest ELF file with one program header of a type.
func program(t *testing.T, name string, machine elf.Machine, header elf.ProgType) string {
	t.Helper()
	var b bytes.Buffer
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, elf.Prog64{Type: uint32(header)})
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhichProgramServesInAContainer(t *testing.T) {
	script := filepath.Join(t.TempDir(), "soak")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		path, built, arch, why string // why "": it serves
	}{
		"static":             {program(t, "soak", elf.EM_X86_64, elf.PT_LOAD), "soak/cmd/soak", "amd64", ""},
		"static broker":      {program(t, "broker", elf.EM_AARCH64, elf.PT_LOAD), "soak/cmd/broker", "arm64", ""},
		"under another name": {program(t, "soak-0.1", elf.EM_X86_64, elf.PT_LOAD), "soak/cmd/soak", "amd64", ""},
		"dynamic":            {program(t, "soak", elf.EM_X86_64, elf.PT_INTERP), "soak/cmd/soak", "amd64", "dynamically"},
		"other architecture": {program(t, "soak", elf.EM_X86_64, elf.PT_LOAD), "soak/cmd/soak", "arm64", "built for EM_X86_64"},
		"somebody's test":    {program(t, "shop.test", elf.EM_X86_64, elf.PT_LOAD), "shop.test", "amd64", "not soak"},
		"no ELF (macOS)":     {script, "soak/cmd/soak", "amd64", "no linux program"},
		"not there":          {filepath.Join(t.TempDir(), "soak"), "soak/cmd/soak", "amd64", "reading it"},
	} {
		err := serves(test.path, test.built, test.arch)
		switch {
		case test.why == "" && err != nil:
			t.Errorf("%s: %v, want it to serve", name, err)
		case test.why != "" && (err == nil || !strings.Contains(err.Error(), test.why)):
			t.Errorf("%s: %v, want %q", name, err, test.why)
		}
	}
}

func TestAnUnknownArchitectureIsAnError(t *testing.T) {
	if _, err := nodeBinary(t.Context(), "riscv64", t.Logf); err == nil || !strings.Contains(err.Error(), "riscv64") {
		t.Errorf("got %v", err)
	}
}

func TestTheBuildContextHoldsWhatTheDockerfileNames(t *testing.T) {
	r, err := buildContext([]byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = string(content)
		if h.Name == "soak" && h.Mode != 0o755 {
			t.Errorf("the program has mode %o", h.Mode)
		}
	}
	if len(got) != 3 || got["soak"] != "program" || got["Dockerfile"] != dockerfile {
		t.Errorf("packed %q", got)
	}
	if _, ok := got["data/"]; !ok {
		t.Error("no data folder")
	}
}
