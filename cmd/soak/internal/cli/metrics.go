package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"soak/campaign"
	"soak/cmd/soak/internal/metrics"
	"soak/cmd/soak/internal/show"
)

func (f *runFlags) checkMetrics(fs *pflag.FlagSet) error {
	if !fs.Changed("metrics-addr") {
		return nil
	}
	if f.driver == "sim" {
		return usage("--metrics-addr is for runs that take their time, and a simulated one is over in seconds", "leave it out; soak campaign has one for many of them")
	}
	var err error
	f.metrics, err = metricsAddr(f.metrics)
	return err
}

func metricsAddr(asked string) (string, error) {
	addr, err := metrics.Addr(asked)
	if err != nil {
		return "", usage("--metrics-addr: "+err.Error(), "want HOST:PORT, as in 127.0.0.1:9100 or :9100 (this machine alone); 0.0.0.0:9100 is open to the network")
	}
	return addr, nil
}

func noEndpoint(err error) error {
	return usage(fmt.Sprintf("--metrics-addr: %v", err), "choose another address, or port 0 for any that is free")
}

// serveMetrics opens the endpoint, if there is to be one, for all runs of the command.
func (t *task) serveMetrics() (err error) {
	if t.flags.metrics == "" {
		return nil
	}
	if t.metrics, err = metrics.Listen(t.flags.metrics); err != nil {
		return noEndpoint(err)
	}
	t.say("metrics at %s", t.metrics.URL())
	return nil
}

// serveMetrics opens the campaign's endpoint; nil if there is to be none.
func (f *campaignFlags) serveMetrics(e *env, pool *campaign.Pool, version string) (*metrics.Campaign, error) {
	if f.metrics == "" {
		return nil, nil
	}
	info := metrics.CampaignInfo{Bugs: strings.Join(f.bugs, ","), From: f.from, Wanted: f.seeds, Version: version}
	if f.plan != nil {
		info.Scenario = f.plan.Name
	}
	c, err := metrics.ListenCampaign(f.metrics, info, pool.Memory)
	if err != nil {
		return nil, noEndpoint(err)
	}
	if !f.quiet && !f.json {
		st := show.StyleOf(e.stderr, e.getenv)
		fmt.Fprintln(e.stderr, st.Text("metrics at "+c.URL()))
	}
	return c, nil
}

// measured is how far a campaign has come, for its endpoint.
func measured(t *campaign.Tally, done uint64, took time.Duration) *metrics.CampaignProgress {
	p := &metrics.CampaignProgress{
		Seeds: t.Seeds, Failed: t.Failed, Rechecked: t.Rechecked, Faults: t.Faults, Holes: len(t.Holes()), Failures: map[string]int{},
		Virtual: t.Virtual, Events: t.Events, PerSecond: float64(done) / max(took, time.Millisecond).Seconds(),
	}
	for _, g := range t.Groups() {
		p.Kinds++
		p.Failures[g.Checker] += g.Count
	}
	return p
}
