package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"soak/cmd/soak/internal/metrics"
)

func (f *runFlags) checkMetrics(fs *pflag.FlagSet) error {
	if !fs.Changed("metrics-addr") {
		return nil
	}
	if f.driver == "sim" {
		return usage("--metrics-addr is for runs that take their time, and a simulated one is over in seconds", "leave it out")
	}
	addr, err := metrics.Addr(f.metrics)
	if err != nil {
		return usage("--metrics-addr: "+err.Error(), "want HOST:PORT, as in 127.0.0.1:9100 or :9100 (this machine alone); 0.0.0.0:9100 is open to the network")
	}
	f.metrics = addr
	return nil
}

// serveMetrics opens the endpoint, if there is to be one, for all runs of the command.
func (t *task) serveMetrics() (err error) {
	if t.flags.metrics == "" {
		return nil
	}
	if t.metrics, err = metrics.Listen(t.flags.metrics); err != nil {
		return usage(fmt.Sprintf("--metrics-addr: %v", err), "choose another address, or port 0 for any that is free")
	}
	t.say("metrics at %s", t.metrics.URL())
	return nil
}
