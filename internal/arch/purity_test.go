package arch

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"golang.org/x/tools/go/packages"
)

// purePackages run in virtual time as well as in real time, and must do the same in both.
var purePackages = []string{
	"soak/broker/core", "soak/broker/meta", "soak/broker/bugs", "soak/broker/api", "soak/broker/partlog/batch", "soak/broker/partlog/producers", "soak/chaos/runloop", "soak/workloads/gen",
	"soak/workloads/protocol", "soak/chaos/sim/simclient",
}

// noFloats are those whose results must be bit for bit the same on every machine.
var noFloats = []string{"soak/broker/core", "soak/broker/meta"}

// refusedImports reach a clock, other goroutines, the machine or randomness that no seed decides.
var refusedImports = []string{"sync", "sync/atomic", "os", "os/", "io/fs", "net", "net/", "math/rand", "math/rand/v2", "crypto/rand", "hash/maphash", "runtime", "context", "log", "log/slog", "unsafe"}

// clock names the functions of package time that read a clock or wait for one.
var clock = []string{"Now", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Since", "Until"}

// sources imports packages of the standard library from their source. A test that is built with -trimpath does not know where that is;
// the go command does.
func sources(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	if build.Default.GOROOT == "" {
		root, err := exec.Command("go", "env", "GOROOT").Output()
		if err != nil {
			t.Fatalf("asking the go command for its GOROOT: %v", err)
		}
		build.Default.GOROOT = strings.TrimSpace(string(root))
	}
	return importer.ForCompiler(fset, "source", nil)
}

// impure lists what a file of a pure package may not hold.
func impure(fset *token.FileSet, f *ast.File, info *types.Info, floats bool) []string {
	var found []string
	report := func(n ast.Node, what string) {
		found = append(found, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), what))
	}
	for _, im := range f.Imports {
		p := strings.Trim(im.Path.Value, `"`)
		if slices.ContainsFunc(refusedImports, func(r string) bool { return p == r || strings.HasSuffix(r, "/") && strings.HasPrefix(p, r) }) {
			report(im, "import of "+p)
		}
	}
	sorted := map[ast.Expr]bool{} // calls whose result goes straight into slices.Sorted
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			report(n, "go statement")
		case *ast.SelectStmt:
			report(n, "select")
		case *ast.ChanType:
			report(n, "channel")
		case *ast.SendStmt:
			report(n, "channel send")
		case *ast.UnaryExpr:
			if n.Op == token.ARROW {
				report(n, "channel receive")
			}
		case *ast.RangeStmt:
			if t := info.TypeOf(n.X); t != nil {
				if _, isMap := t.Underlying().(*types.Map); isMap {
					report(n, "range over a map, whose order differs from run to run")
				}
			}
		case *ast.CallExpr:
			if types.ExprString(n.Fun) == "slices.Sorted" && len(n.Args) == 1 {
				sorted[n.Args[0]] = true
			}
			if call := types.ExprString(n.Fun); !sorted[n] && (call == "maps.Keys" || call == "maps.Values" || call == "maps.All") {
				report(n, call+" gives a map's order away")
			}
		case *ast.SelectorExpr:
			if pkg, ok := n.X.(*ast.Ident); ok {
				if use, ok := info.Uses[pkg].(*types.PkgName); ok && use.Imported().Path() == "time" && slices.Contains(clock, n.Sel.Name) {
					report(n, "time."+n.Sel.Name)
				}
			}
		case ast.Expr:
			if floats {
				if b, ok := info.TypeOf(n).(*types.Basic); ok && b.Info()&(types.IsFloat|types.IsComplex) != 0 {
					report(n, "floating point")
				}
			}
		}
		return true
	})
	return found
}

func TestPurePackagesArePure(t *testing.T) {
	cfg := &packages.Config{Mode: packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedFiles, Dir: "../.."}
	pkgs, err := packages.Load(cfg, purePackages...)
	if err != nil {
		t.Fatal(err)
	}
	if len(pkgs) != len(purePackages) {
		t.Fatalf("loaded %d packages, want %d", len(pkgs), len(purePackages))
	}
	for _, p := range pkgs {
		for _, e := range p.Errors {
			t.Fatalf("%s: %v", p.PkgPath, e)
		}
		if len(p.Syntax) == 0 {
			t.Fatalf("%s: no files", p.PkgPath)
		}
		for _, f := range p.Syntax {
			for _, what := range impure(p.Fset, f, p.TypesInfo, slices.Contains(noFloats, p.PkgPath)) {
				t.Error(what)
			}
		}
	}
}

func TestImpureLinesAreRefused(t *testing.T) {
	for _, tc := range []struct{ name, src, want string }{
		{"clock", `import "time"; func f() int64 { return time.Now().UnixNano() }`, "time.Now"},
		{"clock under another name", `import clock "time"; func f() { clock.Sleep(1) }`, "time.Sleep"},
		{"goroutine", `func f() { go f() }`, "go statement"},
		{"channel", `func f(c chan int) int { return <-c }`, "channel receive"},
		{"select", `func f() { select {} }`, "select"},
		{"map order", `func f(m map[int]int) (s int) { for k := range m { s = k }; return }`, "range over a map"},
		{"map order of a named type", `type M map[int]int; func f(m M) (s int) { for k := range m { s = k }; return }`, "range over a map"},
		{"keys in a map's order", `import "maps"; func f(m map[int]int) (s int) { maps.Keys(m)(func(k int) bool { s = k; return true }); return }`, "maps.Keys"},
		{"lock", `import "sync"; var mu sync.Mutex`, "import of sync"},
		{"global randomness", `import "math/rand/v2"; func f() int { return rand.Int() }`, "import of math/rand/v2"},
		{"file", `import "os"; func f() { os.Remove("x") }`, "import of os"},
		{"float", `func f(a int) bool { return float64(a)*1.5 > 2 }`, "floating point"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "x.go", "package x\n"+tc.src, 0)
			if err != nil {
				t.Fatal(err)
			}
			info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
			if _, err := (&types.Config{Importer: sources(t, fset)}).Check("x", fset, []*ast.File{f}, info); err != nil {
				t.Fatal(err)
			}
			found := impure(fset, f, info, true)
			if !slices.ContainsFunc(found, func(s string) bool { return strings.Contains(s, tc.want) }) {
				t.Fatalf("found %v, want %q", found, tc.want)
			}
		})
	}
}

func TestSortedKeysAreLetThrough(t *testing.T) {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "x.go", `package x; import ("maps"; "slices"); func f(m map[int]int) []int { return slices.Sorted(maps.Keys(m)) }`, 0)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	if _, err := (&types.Config{Importer: sources(t, fset)}).Check("x", fset, []*ast.File{f}, info); err != nil {
		t.Fatal(err)
	}
	if found := impure(fset, f, info, true); len(found) > 0 {
		t.Error(found)
	}
}
