package cli

import (
	"context"
	"errors"
	"time"

	"soak/chaos/docker"
	"soak/chaos/hand"
	"soak/chaos/process"
	"soak/cmd/soak/internal/show"
)

// cleanWithin bounds the cleaning before a run.
const cleanWithin = 20 * time.Second

func cleanCommand(e *env, args []string) (int, error) {
	fs := e.newFlags("clean", "clean", "Remove what runs that were killed left behind: processes, containers, networks, folders for data.\n"+
		"What belongs to a run that is still alive, or to anybody else, is not touched.")
	if err := parse(fs, args, 0, 0); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	removed, err := process.Clean(ctx, silent)
	more, derr := docker.Clean(ctx, silent)
	if errors.Is(derr, docker.ErrUnavailable) {
		e.note("no containers were looked for: %v", derr)
		derr = nil
	}
	removed, err = append(removed, more...), errors.Join(err, derr)
	homes, herr := hand.Clean()
	removed, err = append(removed, homes...), errors.Join(err, herr)
	for _, r := range removed {
		if perr := e.print("removed %s\n", r); perr != nil {
			return 0, perr
		}
	}
	if err != nil {
		return 0, harness("removing what is left behind", err, "try again when what holds it is gone")
	}
	if len(removed) == 0 {
		return exitHolds, e.print("nothing was left behind\n")
	}
	return exitHolds, nil
}

// cleanLeftovers does the same before a run, for the driver that the run uses. It never keeps a run from beginning.
func (t *task) cleanLeftovers() { t.env.cleanBefore(t.stop.ctx, t.driver, t.say) }

// cleanBefore removes leftovers before something is started on a driver, and never keeps it from being started.
func (e *env) cleanBefore(ctx context.Context, driver string, say func(format string, args ...any)) {
	ctx, cancel := context.WithTimeout(ctx, cleanWithin)
	defer cancel()
	removed, err := process.Clean(ctx, silent)
	if driver == "docker" {
		more, derr := docker.Clean(ctx, silent)
		removed, err = append(removed, more...), errors.Join(err, derr)
	}
	homes, herr := hand.Clean()
	removed, err = append(removed, homes...), errors.Join(err, herr)
	if len(removed) > 0 {
		say("removed %s of runs that were killed", show.Plural(int64(len(removed)), "leftover"))
	}
	if err != nil {
		e.note("removing leftovers of earlier runs: %v", err)
	}
}

// silent is for drivers that tell what they remove; what they return says the same.
func silent(string, ...any) {}
