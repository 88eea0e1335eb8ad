package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"soak/chaos"
	"soak/chaos/docker"
	"soak/chaos/process"
)

// engineTime is how long an engine that is asked for by name may take to answer.
const engineTime = 15 * time.Second

// chooseDriver settles on a driver and says why. available answers nil if an engine can be used.
func chooseDriver(ctx context.Context, asked, image string, getenv func(string) string, available func(context.Context) error) (driver, why string, err error) {
	if asked == "process" || asked == "sim" {
		return asked, "as asked", nil
	}
	if asked == "docker" || image != "" || ciSet(getenv) {
		// Nothing else will do, so a slow engine is waited for.
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, engineTime)
		defer cancel()
	}
	err = available(ctx)
	switch {
	case asked == "docker" && err == nil:
		return asked, "as asked", nil
	case err == nil:
		return "docker", "an engine answers", nil
	case asked == "docker":
		return "", "", &failure{code: exitUsage, msg: "--driver docker", err: err, hint: "start the engine, or use --driver process, which needs none"}
	case image != "":
		return "", "", &failure{code: exitUsage, msg: "--image needs a Docker engine", err: err, hint: "start the engine, or leave out --image"}
	case ciSet(getenv):
		// A build that lost its engine must not go on testing less than it did before.
		return "", "", &failure{code: exitUsage, msg: "CI is set, and --driver auto then wants containers", err: err, hint: "start the engine, or say --driver process"}
	}
	return "process", err.Error(), nil
}

func ciSet(getenv func(string) string) bool {
	switch strings.ToLower(getenv("CI")) {
	case "", "0", "false", "no":
		return false
	}
	return true
}

// newCluster makes the cluster of a driver.
func newCluster(driver string, cfg chaos.Config) (chaos.Cluster, error) {
	if driver == "docker" {
		return docker.New(cfg)
	}
	return process.New(cfg)
}

// capable refuses a driver that cannot do what is asked: a fault is never silently left out.
func capable(driver string, can chaos.Capabilities, kinds []string) error {
	var able []string
	for k, why := range can {
		if why == "" {
			able = append(able, k)
		}
	}
	slices.Sort(able)
	for _, k := range kinds {
		why, known := can[k]
		if known && why == "" {
			continue
		}
		if why == "" {
			why = "it does not know this fault"
		}
		return usage(fmt.Sprintf("the driver %s cannot do the fault %s here: %s", driver, k, why),
			"it can do "+strings.Join(able, ", ")+"; soak faults shows what each driver can do")
	}
	return nil
}
