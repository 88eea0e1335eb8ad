package scenario

import (
	"time"

	"soak/chaos"
)

var (
	ways        = []string{chaos.WayIn, chaos.WayOut}
	fileClasses = []string{chaos.FilesSegment, chaos.FilesRaft, chaos.FilesSnapshot, chaos.FilesNode}
)

// maxDelay bounds a delay: clients and peers give a request up after three seconds.
const maxDelay = 3 * time.Second

// parameters says which fields a kind of fault needs; those of other kinds are refused with it.
func parameters(kind string) []string {
	switch kind {
	case chaos.OneWay:
		return []string{"way"}
	case chaos.Flapping, chaos.Reset, chaos.Rolling, chaos.CrashLoop:
		return []string{"every"}
	case chaos.Delay:
		return []string{"by"}
	case chaos.Bandwidth:
		return []string{"bytes_per_second"}
	case chaos.Loss:
		return []string{"ppm"}
	case chaos.SlowDisk, chaos.SlowNode:
		return []string{"factor"}
	case chaos.ClockJump:
		return []string{"by"}
	case chaos.ClockRate:
		return []string{"ppm"}
	case chaos.BitRot:
		return []string{"files"}
	}
	return nil
}

// allowed says which fields a kind of fault may have beside those that it needs.
func allowed(kind string) []string {
	if kind == chaos.Delay {
		return []string{"jitter"}
	}
	return nil
}

// parameterNames are all fields that belong to some kinds alone.
var parameterNames = []string{"way", "every", "factor", "by", "ppm", "files", "jitter", "bytes_per_second"}

// example is a field with a value that makes sense for the kind, to start from.
func example(kind, name string) string {
	value := map[string]string{"way": "in", "every": "500ms", "factor": "20", "by": "50ms", "ppm": "20000", "files": chaos.FilesSegment, "bytes_per_second": "20000"}[name]
	switch kind {
	case chaos.ClockJump:
		value = "-2s"
	case chaos.Loss:
		value = "100000"
	case chaos.Rolling:
		value = "2s"
	}
	return name + ": " + value
}

// checkParameters refuses a fault that lacks what its kind needs, or has what belongs to another.
func (r *reader) checkParameters(o object, f Fault, what string) {
	need := parameters(f.Kind)
	for _, name := range parameterNames {
		switch there := o.get(name) != nil; {
		case there && !contains(need, name) && !contains(allowed(f.Kind), name):
			r.fail(o.at(name), "", "%s: %s does not belong to %s", what, name, f.Kind)
		case !there && contains(need, name):
			r.fail(o.at("kind"), "as in "+example(f.Kind, name), "%s: %s needs %s", what, f.Kind, name)
		}
	}
	switch {
	case f.Kind == chaos.ClockJump && f.By == 0:
		r.fail(o.at("by"), "by: 2s, or -500ms", "%s: by: the clock would stay where it is", what)
	case f.Kind == chaos.ClockRate && f.PPM == 0:
		r.fail(o.at("ppm"), "ppm: 20000 is 2 % fast", "%s: ppm: the clock would run as before", what)
	case f.Kind == chaos.Delay && f.By <= 0:
		r.fail(o.at("by"), "by: 50ms", "%s: by: nothing would be delayed", what)
	case f.Kind == chaos.Delay && (f.By > maxDelay || f.Jitter > maxDelay):
		r.fail(o.at("by"), "by: 50ms", "%s: by and jitter: more than %s is no delay, but a partition", what, maxDelay)
	case f.Kind == chaos.Loss && f.PPM <= 0:
		r.fail(o.at("ppm"), "ppm: 100000 is 10 %", "%s: ppm: nothing would be lost", what)
	case f.Kind == chaos.CrashLoop && f.Brief && f.For.Fixed != 0 && f.For.Fixed <= f.Every:
		r.fail(o.at("every"), "every: 500ms", "%s: every: it would be over before it kills a second time", what)
	case f.Brief && f.For.In(time.Second) == 0:
		r.fail(o.at("brief"), "for: 50ms", "%s: brief: for is missing: it would last no time at all", what)
	}
}

func (f Fault) parametersYAML(p func(string, ...any)) {
	for _, name := range append(parameters(f.Kind), allowed(f.Kind)...) {
		var v any
		switch name {
		case "way":
			v = f.Way
		case "every":
			v = f.Every
		case "factor":
			v = f.Factor
		case "by":
			v = f.By
		case "ppm":
			v = f.PPM
		case "files":
			v = f.Files
		case "jitter":
			v = f.Jitter
		case "bytes_per_second":
			v = f.BytesPerSecond
		}
		p("    %s: %v\n", name, v)
	}
}
