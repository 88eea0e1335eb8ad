package metrics_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"soak/cmd/soak/internal/metrics"
)

func TestWhatTheCampaignKnows(t *testing.T) {
	c, err := metrics.ListenCampaign("127.0.0.1:0", metrics.CampaignInfo{Scenario: "quick", Bugs: "lost-wakeup", From: 7, Wanted: 100, Version: "1"},
		func() []int64 { return []int64{64 << 20, 0} })
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	info := `soak_campaign_info{bugs="lost-wakeup",from="7",scenario="quick",version="1"} 1`
	if got := ask(t, c.URL()); !strings.Contains(got, info) || !strings.Contains(got, "soak_campaign_seeds_wanted 100\n") || strings.Contains(got, "soak_campaign_seeds_total") {
		t.Errorf("before the first answer:\n%s", got)
	}
	c.Progress(&metrics.CampaignProgress{Seeds: 40, Failed: 3, Rechecked: 2, Faults: 90, Kinds: 2, Holes: 5, Failures: map[string]int{"recovery": 3, "acked-records": 1},
		Virtual: 90 * time.Minute, Events: 12345, PerSecond: 4.5})
	got := ask(t, c.URL())
	for _, want := range []string{
		info, "soak_campaign_seeds_total 40", "soak_campaign_seeds_failed_total 3", "soak_campaign_seeds_rechecked_total 2", "soak_campaign_failure_kinds 2",
		`soak_campaign_failures_total{checker="recovery"} 3`, `soak_campaign_failures_total{checker="acked-records"} 1`, "soak_campaign_simulated_seconds_total 5400",
		"soak_campaign_events_total 12345", "soak_campaign_faults_total 90", "soak_campaign_coverage_holes 5", "soak_campaign_seeds_per_second 4.5",
		`soak_campaign_worker_memory_bytes{worker="1"} 6.7108864e+07`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("nothing of %s in:\n%s", want, got)
		}
	}
	if strings.Contains(got, `worker="2"`) {
		t.Errorf("memory of a worker that has not told:\n%s", got)
	}
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("promtool would say: %v, %v", problems, err)
	}
}

func TestNoCampaign(t *testing.T) {
	var c *metrics.Campaign
	c.Progress(&metrics.CampaignProgress{})
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
