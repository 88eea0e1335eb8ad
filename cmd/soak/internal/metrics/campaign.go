package metrics

import (
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func campaignDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("soak_campaign_"+name, help, labels, nil)
}

var (
	campaignInfoDesc = campaignDesc("info", "1, with what the campaign is: its scenario (empty: each seed draws its own), the planted bugs, the first seed.", "scenario", "bugs", "from", "version")
	seedsWantedDesc  = campaignDesc("seeds_wanted", "Seeds that the campaign is to do. Absent where it ends by time.")
	seedsDesc        = campaignDesc("seeds_total", "Seeds done, with those that an earlier call had done.")
	failedDesc       = campaignDesc("seeds_failed_total", "Seeds whose run violated something.")
	againDesc        = campaignDesc("seeds_rechecked_total", "Seeds that were simulated twice, and had to come out the same.")
	kindsDesc        = campaignDesc("failure_kinds", "Different signatures among the failures.")
	failuresDesc     = campaignDesc("failures_total", "Failures by the checker that saw them. A seed may have several.", "checker")
	simulatedDesc    = campaignDesc("simulated_seconds_total", "Virtual time of all runs.")
	eventsDesc       = campaignDesc("events_total", "Events of all runs.")
	injectedDesc     = campaignDesc("faults_total", "Faults injected in all runs.")
	holesDesc        = campaignDesc("coverage_holes", "Pairs of a fault's kind and a cluster's state that no run has met yet.")
	rateDesc         = campaignDesc("seeds_per_second", "Seeds done a second, since this process began.")
	workerMemoryDesc = campaignDesc("worker_memory_bytes", "Resident memory of a worker process, as it told with its last answer. Absent before that.", "worker")
)

// CampaignInfo is what a campaign is.
type CampaignInfo struct {
	Scenario string // "": each seed draws its own
	Bugs     string
	From     uint64
	Wanted   uint64 // seeds; 0: it ends by time
	Version  string
}

// CampaignProgress is how far a campaign has come.
type CampaignProgress struct {
	Seeds, Failed, Rechecked, Faults, Kinds, Holes int
	Failures                                       map[string]int // by checker
	Virtual                                        time.Duration
	Events                                         int64
	PerSecond                                      float64 // seeds, of this process
}

// Campaign is the endpoint of a campaign. Its methods may be called from any goroutine; those of a nil Campaign do nothing.
type Campaign struct {
	*endpoint
	info   CampaignInfo
	memory func() []int64 // of each worker, 0 where none has told

	mu       sync.Mutex
	progress *CampaignProgress // nil before the first answer
}

// ListenCampaign opens the endpoint of a campaign at an address that Addr gave. memory is asked whenever somebody looks.
func ListenCampaign(addr string, info CampaignInfo, memory func() []int64) (*Campaign, error) {
	c := &Campaign{info: info, memory: memory}
	var err error
	c.endpoint, err = listen(addr, c)
	return c, err
}

// Close ends the endpoint.
func (c *Campaign) Close() error {
	if c == nil {
		return nil
	}
	return c.close()
}

// Progress takes how far the campaign has come. The caller leaves p alone from then on.
func (c *Campaign) Progress(p *CampaignProgress) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = p
}

// Describe is of prometheus.Collector. It names nothing: what there is depends on how far the campaign has come.
func (c *Campaign) Describe(chan<- *prometheus.Desc) {}

// Collect is of prometheus.Collector.
func (c *Campaign) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	counter := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(campaignInfoDesc, 1, c.info.Scenario, c.info.Bugs, strconv.FormatUint(c.info.From, 10), c.info.Version)
	if c.info.Wanted > 0 {
		gauge(seedsWantedDesc, float64(c.info.Wanted))
	}
	for i, bytes := range c.memory() {
		if bytes > 0 {
			gauge(workerMemoryDesc, float64(bytes), strconv.Itoa(i+1))
		}
	}
	c.mu.Lock()
	p := c.progress
	c.mu.Unlock()
	if p == nil { // counters that began at 0 and jumped to what the journal holds would look like a rate
		return
	}
	counter(seedsDesc, float64(p.Seeds))
	counter(failedDesc, float64(p.Failed))
	counter(againDesc, float64(p.Rechecked))
	gauge(kindsDesc, float64(p.Kinds))
	for checker, n := range p.Failures {
		counter(failuresDesc, float64(n), checker)
	}
	counter(simulatedDesc, p.Virtual.Seconds())
	counter(eventsDesc, float64(p.Events))
	counter(injectedDesc, float64(p.Faults))
	gauge(holesDesc, float64(p.Holes))
	gauge(rateDesc, p.PerSecond)
}
