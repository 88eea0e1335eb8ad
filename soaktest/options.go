package soaktest

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"soak/broker/bugs"
	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/process"
	"soak/chaos/scenario"
)

// Options say what to start. The zero value is a sound choice.
type Options struct {
	// Driver is "process" (child processes on loopback, the default) or "docker" (containers; a test should skip itself where no engine is).
	Driver string
	// Nodes is the size of the cluster, 3 to 9; 0: 3 of Start, the scenario's of Run.
	Nodes int
	// ElectionInterval is the period of the leader-election service, 100 ms to 1 h; 0: 1 s of Start, the scenario's of Run.
	ElectionInterval time.Duration
	// SessionTimeout is that of a broker's session, 500 ms to 1 h; 0: half the election interval, but no less than 500 ms.
	SessionTimeout time.Duration
	// Intervals is how many election intervals the run must see; 0: 10 of Start, the scenario's of Run. Fewer than 10 prove nothing.
	Intervals int
	// Seed decides every random choice but the test's own; 0: a new one, which a failure names.
	Seed uint64
	// Bugs are historical bugs to switch on in the nodes (soak bugs lists them), for those who want to see a test fail.
	Bugs []string
	// Dir is where run folders go, and stay. "": $SOAKTEST_DIR, or the test's artifact directory (go test -artifacts); without any of them
	// a temporary folder that stays only where the test fails.
	Dir string

	// Topics are what records are written to and read back from, of Start alone; nil: one of 6 partitions, called records.
	Topics []Topic
	// Load is what Soak's own clients do meanwhile, of Start alone; nil: DefaultLoad; &Load{}: nothing.
	Load *Load
}

// Topic is a topic whose records are judged. It has a replica on every node, and acknowledges with all of its ISR, of at least two.
type Topic struct {
	Name       string // letters, digits, dots, dashes and underscores
	Partitions int    // 1 to 256
}

// Load is what Soak's own clients do from the start until Check.
type Load struct {
	Records     int // produced a second, over all topics
	Metadata    int // topics created, changed, looked at and deleted, operations a second
	AutoCreated int // topics a minute that come to be by being produced to
	Readers     int // consumers that read along
}

// DefaultLoad is enough for every checker, and little enough for a laptop that runs other tests too.
func DefaultLoad() *Load { return &Load{Records: 200, Metadata: 10, AutoCreated: 60, Readers: 1} }

// defaultInterval makes ten intervals, the fewest that prove anything, ten seconds.
const defaultInterval = time.Second

// plan is the scenario of a cluster that a test breaks. It passes through the parser: bounds and words are those of `soak run`.
func (o Options) plan(name string) (*scenario.Scenario, error) {
	load := o.Load
	if load == nil {
		load = DefaultLoad()
	}
	s := &scenario.Scenario{
		Name: name, Description: "a Go test", Nodes: cmp.Or(o.Nodes, 3), ElectionInterval: cmp.Or(o.ElectionInterval, defaultInterval),
		Intervals: cmp.Or(o.Intervals, 10),
	}
	s.SessionTimeout = cmp.Or(o.SessionTimeout, max(s.ElectionInterval/2, 500*time.Millisecond))
	s.Minimums.Intervals = s.Intervals
	topics := o.Topics
	if topics == nil {
		topics = []Topic{{Name: "records", Partitions: 6}}
	}
	for _, t := range topics {
		s.Topics = append(s.Topics, scenario.Topic{Name: t.Name, Partitions: int32(t.Partitions), Replication: int16(s.Nodes), MinInsyncReplicas: 2})
	}
	w := &s.Workloads
	if load.Records != 0 {
		w.Produce = scenario.Produce{Rate: load.Records, Producers: 4, Batch: 5, ValueBytes: 256}
	}
	if load.Metadata != 0 {
		w.Metadata = scenario.Metadata{Rate: load.Metadata, Clients: 4, Names: 4}
	}
	if load.AutoCreated != 0 {
		w.Autocreate.PerMinute = load.AutoCreated
	}
	if load.Readers != 0 {
		w.Consume.Readers = load.Readers
	}
	s, err := scenario.Parse("", s.YAML())
	if e := (*scenario.Error)(nil); errors.As(err, &e) {
		e.Line, e.Col = 0, 0 // of a text that nobody wrote
	}
	return s, err
}

// resolved is a written scenario, changed as the options say.
func (o Options) resolved(text string) (s *scenario.Scenario, err error) {
	if strings.Contains(text, "\n") {
		s, err = scenario.Parse("scenario.yaml", []byte(text))
	} else {
		s, err = scenario.Load(text)
	}
	if err != nil {
		return nil, err
	}
	return s.Resolve(scenario.Flags{Nodes: o.Nodes, ElectionInterval: o.ElectionInterval, SessionTimeout: o.SessionTimeout, Intervals: o.Intervals})
}

// check refuses what no scenario says.
func (o Options) check() error {
	if o.Driver != "" && o.Driver != "process" && o.Driver != "docker" {
		return fmt.Errorf("unknown driver %q: want process or docker", o.Driver)
	}
	if !hooked.Load() {
		return errors.New("what a cluster needs beside it, nodes above all, are other processes of this test binary, which does not know how to be one: " +
			"add `func TestMain(m *testing.M) { soaktest.Main(m) }` to the package's tests")
	}
	if _, err := bugs.Parse(o.Bugs); err != nil {
		return fmt.Errorf("%w; soak bugs lists them", err)
	}
	return nil
}

func (o Options) driver() string { return cmp.Or(o.Driver, "process") }

func (o Options) capabilities() chaos.Capabilities {
	if o.driver() == "docker" {
		return docker.Capabilities()
	}
	return process.Capabilities()
}

func (o Options) cluster(cfg chaos.Config) (chaos.Cluster, error) {
	if o.driver() == "docker" {
		return docker.New(cfg)
	}
	return process.New(cfg)
}

func (o Options) seed() uint64 {
	if o.Seed != 0 {
		return o.Seed
	}
	var b [8]byte
	rand.Read(b[:])                                 // never fails, as crypto/rand documents
	return binary.LittleEndian.Uint64(b[:])>>11 + 1 // below 2^53, which every reader of JSON gives back as it is
}
