package scenario

import (
	"time"

	"soak/chaos"
)

var (
	ways        = []string{chaos.WayIn, chaos.WayOut}
	fileClasses = []string{chaos.FilesSegment, chaos.FilesRaft, chaos.FilesNode}
)

// parameters says which fields a kind of fault needs; those of other kinds are refused with it.
func parameters(kind string) []string {
	switch kind {
	case chaos.OneWay:
		return []string{"way"}
	case chaos.Flapping, chaos.Reset:
		return []string{"every"}
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

// checkParameters refuses a fault that lacks what its kind needs, or has what belongs to another.
func (r *reader) checkParameters(o object, f Fault, what string) {
	need := parameters(f.Kind)
	for _, name := range []string{"way", "every", "factor", "by", "ppm", "files"} {
		switch there := o.get(name) != nil; {
		case there && !contains(need, name):
			r.fail(o.at(name), "", "%s: %s does not belong to %s", what, name, f.Kind)
		case !there && contains(need, name):
			r.fail(o.at("kind"), "", "%s: %s needs %s", what, f.Kind, name)
		}
	}
	switch {
	case f.Kind == chaos.ClockJump && f.By == 0:
		r.fail(o.at("by"), "by: 2s, or -500ms", "%s: by: the clock would stay where it is", what)
	case f.Kind == chaos.ClockRate && f.PPM == 0:
		r.fail(o.at("ppm"), "ppm: 20000 is 2 % fast", "%s: ppm: the clock would run as before", what)
	case f.Brief && f.For.In(time.Second) == 0:
		r.fail(o.at("brief"), "for: 50ms", "%s: brief: for is missing: it would last no time at all", what)
	}
}

func (f Fault) parametersYAML(p func(string, ...any)) {
	for _, name := range parameters(f.Kind) {
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
		}
		p("    %s: %v\n", name, v)
	}
}
