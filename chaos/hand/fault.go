package hand

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"soak/chaos"
	"soak/chaos/scenario"
	"soak/history"
)

// maxFaults bounds the faults that are in effect at one time.
const maxFaults = 64

// healTries is how often a fault whose time is over is asked to end, a second apart.
const healTries = 3

// Problem is an error of a request: what the person can do about it is in Hint.
type Problem struct {
	Msg  string
	Hint string
	// Refused says that nothing was done: the request itself is at fault. Otherwise it was tried.
	Refused bool
}

func (p *Problem) Error() string { return p.Msg }

func refused(hint, format string, args ...any) *Problem {
	return &Problem{Msg: fmt.Sprintf(format, args...), Hint: hint, Refused: true}
}

// FaultStatus is a fault as it stands.
type FaultStatus struct {
	history.Fault
	State string `json:"state"` // injecting, active, healing
	// Ends is when it will be healed by itself, Unix ns; 0: when somebody says so.
	Ends int64 `json:"ends,omitempty"`
	// Seen is when it was last seen in effect, Unix ns.
	Seen int64 `json:"seen,omitempty"`
	// Trouble is what the last look, or the last try to heal it, ran into.
	Trouble string `json:"trouble,omitempty"`
}

const (
	injecting = "injecting"
	active    = "active"
	healing   = "healing"
)

// fault is one that is in effect. Its status belongs to Hand.mu.
type fault struct {
	status FaultStatus
	looks  []history.Evidence // of the last look
	stop   chan struct{}      // closed when its healing is first asked for
	busy   sync.Mutex         // held while it is being injected or healed
}

// snapshot is the status with the evidence of the last look. The caller holds Hand.mu.
func (f *fault) snapshot() FaultStatus {
	s := f.status
	s.Nodes = slices.Clone(s.Nodes)
	s.Evidence = append(slices.Clone(s.Evidence), f.looks...)
	return s
}

// Fault injects the fault that the fields say, in the words of a scenario's YAML, and returns when its effect has been seen. It stays until it is
// healed, or for as long as the field "for" says. Errors are of type *Problem; a fault whose effect was not seen is healed again.
func (h *Hand) Fault(fields map[string]string) (FaultStatus, error) {
	plan, err := scenario.ParseFault(fields, h.info.Nodes)
	if err != nil {
		p := refused("", "%v", err)
		if e := (*scenario.Error)(nil); errors.As(err, &e) {
			p.Hint = e.Hint
		}
		return FaultStatus{}, p
	}
	for _, name := range []string{"at", "when", "brief", "overlap", "nodes", "role"} {
		if _, given := fields[name]; given {
			return FaultStatus{}, refused("leave it out", "%s belongs to the schedule of a run: by hand a fault comes at once", name)
		}
	}
	if why, known := h.cluster.Capabilities()[plan.Kind]; why != "" || !known {
		if !known {
			why = "it does not know this fault"
		}
		return FaultStatus{}, refused("soak faults shows what each driver can do", "the driver %s cannot do the fault %s: %s", h.info.Driver, plan.Kind, why)
	}
	if chaos.DiskKind(plan.Kind) && !h.config.DiskFaults {
		return FaultStatus{}, refused("bring it up without --image", "the nodes of this cluster were started without what disk faults need")
	}
	f, spec, err := h.register(plan)
	if err != nil {
		return FaultStatus{}, err
	}
	return h.inject(f, spec, plan.For.In(h.config.ElectionInterval))
}

// register resolves the target and takes the nodes for the fault.
func (h *Hand) register(plan scenario.Fault) (*fault, chaos.Spec, error) {
	target, err := scenario.ParseTarget(plan.Target)
	if err != nil {
		return nil, chaos.Spec{}, refused("", "%v", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.faults) >= maxFaults {
		return nil, chaos.Spec{}, refused("heal some", "%d faults are in effect, and more are not taken", len(h.faults))
	}
	named := target.Nodes
	if target.Role == "node" {
		named = []int32{target.Node}
	}
	var hit []int32
	var by []string
	for _, other := range h.sorted() {
		if k := other.status.Kind; chaos.Clash(k, plan.Kind) {
			hit = append(hit, other.status.Nodes...)
			if len(named) > 0 && !slices.ContainsFunc(other.status.Nodes, func(id int32) bool { return slices.Contains(named, id) }) {
				continue // it is on another node
			}
			by = append(by, fmt.Sprintf("fault %d (%s)", other.status.ID, other.status.Words()))
		}
	}
	nodes := h.roles.Resolve(target, plan.Kind, hit)
	if len(nodes) == 0 || target.Role == "nodes" && len(nodes) < len(target.Nodes) {
		hint := "soak cluster status shows who is what"
		if len(named) == 0 && target.Role != scenario.TargetAll && len(h.roles.Resolve(target, plan.Kind, nil)) == 0 {
			return nil, chaos.Spec{}, refused(hint, "target %s: no node that is up is that now", plan.Target)
		}
		if len(by) > 0 {
			hint = "two such faults on one node would heal each other, or keep each other from it; in effect: " + strings.Join(by, ", ") + "; soak cluster heal ends them"
		}
		return nil, chaos.Spec{}, refused(hint, "target %s: not up, or not free of other faults now", plan.Target)
	}
	h.lastID++
	leader, _ := h.roles.Leader()
	f := &fault{stop: make(chan struct{}), status: FaultStatus{State: injecting, Fault: history.Fault{
		ID: h.lastID, Kind: plan.Kind, Target: plan.Target, Nodes: nodes, Role: h.roles.RoleOf(nodes[0]), Clients: plan.Clients, Trigger: "by hand",
		Asked: time.Now().UnixNano(), OnRaftLeader: slices.Contains(nodes, leader),
	}}}
	if target.Role == scenario.TargetAll {
		f.status.Role = scenario.TargetAll
	}
	f.busy.Lock() // until it has been injected
	h.faults[h.lastID] = f
	return f, chaos.Spec{ID: h.lastID, Kind: plan.Kind, Nodes: slices.Clone(nodes), Clients: plan.Clients, Parameters: plan.Parameters}, nil
}

func (h *Hand) inject(f *fault, spec chaos.Spec, lasts time.Duration) (FaultStatus, error) {
	ctx, cancel := context.WithTimeout(h.work, faultTime)
	defer cancel()
	evidence, err := h.cluster.Inject(ctx, spec)
	if err == nil && !slices.ContainsFunc(evidence, func(e history.Evidence) bool { return e.Phase == "during" }) {
		err = errors.New("the driver gave no evidence of its effect")
	}
	h.mu.Lock()
	f.status.Evidence = evidence
	if err == nil {
		now := time.Now()
		f.status.State, f.status.Effective, f.status.Seen = active, now.UnixNano(), now.UnixNano()
		if lasts > 0 {
			f.status.Ends = now.Add(lasts).UnixNano()
		}
	}
	s, words := f.snapshot(), f.status.Words()
	h.mu.Unlock()
	f.busy.Unlock()
	if err != nil {
		p := &Problem{Msg: fmt.Sprintf("%s: %v", words, err), Hint: "it was healed again"}
		if _, herr := h.healOne(f); herr != nil {
			p.Hint = "it could not be healed either: " + herr.Error()
		}
		return s, p
	}
	h.logf("fault %d: %s", s.ID, words)
	h.serving.Go(func() { h.keep(f, lasts) })
	return s, nil
}

// keep looks at a fault each second, until its healing is asked for, and asks for that itself when its time is over.
func (h *Hand) keep(f *fault, lasts time.Duration) {
	look := time.NewTicker(probeEvery)
	defer look.Stop()
	var over <-chan time.Time
	if lasts > 0 {
		t := time.NewTimer(lasts)
		defer t.Stop()
		over = t.C
	}
	for {
		select {
		case <-h.work.Done():
			return
		case <-f.stop:
			return
		case <-over:
			h.expire(f)
			return
		case <-look.C:
			h.look(f)
		}
	}
}

func (h *Hand) expire(f *fault) {
	again := time.NewTicker(probeEvery)
	defer again.Stop()
	for range healTries {
		if _, err := h.healOne(f); err == nil {
			return
		}
		select {
		case <-again.C:
		case <-h.work.Done():
			return
		}
	}
}

func (h *Hand) look(f *fault) {
	ctx, cancel := context.WithTimeout(h.work, probeTime)
	defer cancel()
	asked := time.Now().UnixNano()
	h.mu.Lock()
	id := f.status.ID
	h.mu.Unlock()
	evidence, err := h.cluster.Probe(ctx, id)
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.status.State != active || h.work.Err() != nil {
		return // what it saw is neither during nor after
	}
	f.status.Trouble = ""
	switch {
	case errors.Is(err, chaos.ErrLapsed):
		if f.status.Lapsed == 0 {
			f.status.Lapsed = f.status.Seen
			h.logf("fault %d (%s) did not last: %v", id, f.status.Words(), err)
		}
		f.status.Trouble = err.Error()
	case err != nil:
		f.status.Trouble = err.Error()
	case len(evidence) > 0:
		f.looks, f.status.Seen = evidence, asked
	}
}

// healOne ends a fault and returns when its end has been seen. One that has ended already is given as it ended.
func (h *Hand) healOne(f *fault) (FaultStatus, error) {
	f.busy.Lock()
	defer f.busy.Unlock()
	h.mu.Lock()
	id := f.status.ID
	if f.status.Healed != 0 {
		defer h.mu.Unlock()
		return f.snapshot(), nil
	}
	if f.status.HealAsked == 0 {
		f.status.HealAsked = time.Now().UnixNano()
		close(f.stop)
	}
	f.status.State = healing
	h.mu.Unlock()
	// Not of h.work: an end of the cluster closes what this waits for.
	ctx, cancel := context.WithTimeout(context.Background(), faultTime)
	defer cancel()
	evidence, err := h.cluster.Heal(ctx, id)
	h.mu.Lock()
	defer h.mu.Unlock()
	f.status.Evidence = append(f.status.Evidence, evidence...)
	if err != nil {
		f.status.Trouble = "healing it: " + err.Error()
		h.logf("fault %d: healing it: %v", id, err)
		return f.snapshot(), &Problem{Msg: fmt.Sprintf("healing fault %d (%s): %v", id, f.status.Words(), err), Hint: "ask again, or soak cluster down"}
	}
	f.status.Healed, f.status.Trouble = time.Now().UnixNano(), ""
	delete(h.faults, id)
	h.logf("fault %d: %s: healed", id, f.status.Words())
	return f.snapshot(), nil
}

// Heal ends the fault with this id, or all of them if id is 0: what is paused goes on first, then links, then nodes start. It returns
// what has ended. Errors are of type *Problem.
func (h *Hand) Heal(id int) ([]FaultStatus, error) {
	h.mu.Lock()
	all := h.sorted()
	h.mu.Unlock()
	if id != 0 {
		all = slices.DeleteFunc(all, func(f *fault) bool { return f.status.ID != id })
		if len(all) == 0 {
			return nil, refused("soak cluster status shows those that are", "fault %d is not in effect", id)
		}
	}
	// A node that is to start needs its links, and those of the others.
	slices.SortStableFunc(all, func(a, b *fault) int { return order(a.status.Kind) - order(b.status.Kind) })
	var healed []FaultStatus
	var problems []string
	for _, f := range all {
		s, err := h.healOne(f)
		if err != nil {
			problems = append(problems, err.Error())
			continue
		}
		healed = append(healed, s)
	}
	if problems != nil {
		return healed, &Problem{Msg: strings.Join(problems, "; "), Hint: "ask again, or soak cluster down"}
	}
	return healed, nil
}

// order is the place of a kind among those that are healed together.
func order(kind string) int {
	switch kind {
	case chaos.Pause:
		return 0
	case chaos.Kill, chaos.Stop, chaos.RestartAll, chaos.Rolling, chaos.CrashLoop,
		chaos.PowerLoss, chaos.DiskFull, chaos.WriteError, chaos.SyncError: // nodes that have stopped, and start again
		return 2
	}
	return 1
}

// sorted is the faults in effect by their ids. The caller holds h.mu.
func (h *Hand) sorted() []*fault {
	var all []*fault
	for _, f := range h.faults {
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b *fault) int { return a.status.ID - b.status.ID })
	return all
}
