package docker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"soak/chaos/owner"
)

// keepImages is how long a node image is kept that no container uses. Making one again takes seconds.
const keepImages = 7 * 24 * time.Hour

// Clean removes the containers and networks of runs of this state directory that are gone, and node images of long
// ago, and says what it removed, a line each. A run that holds its lock is not touched, nor anything without our labels.
// Without an engine there is nothing to do: the error then wraps ErrUnavailable.
func Clean(ctx context.Context, logf func(format string, args ...any)) (removed []string, err error) {
	domain, err := owner.Domain()
	if err != nil {
		return nil, err
	}
	connectCtx, cancel := bounded(ctx)
	defer cancel()
	e, err := connect(connectCtx)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	return e.clean(ctx, domain, logf)
}

func (e *engine) clean(ctx context.Context, domain string, logf func(string, ...any)) (removed []string, err error) {
	ids, err := e.runs(ctx, domain)
	if err != nil {
		return nil, fmt.Errorf("looking for leftovers: %w", err)
	}
	var errs []error
	for _, id := range ids {
		if owner.Alive(id) {
			continue
		}
		r, err := e.removeRun(ctx, id, domain)
		removed = append(removed, r...)
		if err != nil {
			errs = append(errs, fmt.Errorf("cleaning up after run %s: %w", id, err))
		}
	}
	images, err := e.removeImages(ctx, domain)
	removed, errs = append(removed, images...), append(errs, err)
	for _, what := range removed {
		if logf != nil {
			logf("removed %s", what)
		}
	}
	return removed, errors.Join(errs...)
}

// ours filters by labels: those of a run, or with run "" of all runs of the domain.
func ours(domain, run string) client.Filters {
	labels := []string{labelOwner + "=" + domain, labelRun}
	if run != "" {
		labels[1] += "=" + run
	}
	return make(client.Filters).Add("label", labels...)
}

// runs lists the ids of all runs of the domain that something on the engine belongs to.
func (e *engine) runs(ctx context.Context, domain string) ([]string, error) {
	call, cancel := bounded(ctx)
	defer cancel()
	found := map[string]bool{}
	containers, err := e.ContainerList(call, client.ContainerListOptions{All: true, Filters: ours(domain, "")})
	if err != nil {
		return nil, explain(call, err)
	}
	for _, c := range containers.Items {
		found[c.Labels[labelRun]] = true
	}
	networks, err := e.NetworkList(call, client.NetworkListOptions{Filters: ours(domain, "")})
	if err != nil {
		return nil, explain(call, err)
	}
	for _, n := range networks.Items {
		found[n.Labels[labelRun]] = true
	}
	var ids []string
	for id := range found {
		if owner.ValidID(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// removeContainer ends and removes a container with its volume.
func (e *engine) removeContainer(ctx context.Context, c container.Summary) error {
	call, cancel := bounded(ctx)
	defer cancel()
	// On cgroup v1 a frozen process does not die of SIGKILL; an error means that it is not frozen.
	if c.State == "paused" {
		e.ContainerUnpause(call, c.ID, client.ContainerUnpauseOptions{})
	}
	_, err := e.ContainerRemove(call, c.ID, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	return explain(call, err)
}

// removeRun removes all that carries a run's labels: sidecars first, which live in nodes' namespaces, then nodes, then the network.
func (e *engine) removeRun(ctx context.Context, run, domain string) (removed []string, err error) {
	call, cancel := bounded(ctx)
	defer cancel()
	containers, err := e.ContainerList(call, client.ContainerListOptions{All: true, Filters: ours(domain, run)})
	if err != nil {
		return nil, explain(call, err)
	}
	var errs []error
	var mu sync.Mutex
	for _, part := range []string{"sidecar", "node"} {
		var all sync.WaitGroup
		for _, c := range containers.Items {
			if c.Labels[labelPart] != part {
				continue
			}
			all.Go(func() {
				what := fmt.Sprintf("container %.12s (%s %s) of run %s", c.ID, part, c.Labels[labelNode], run)
				err := e.removeContainer(ctx, c)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					removed = append(removed, what)
				case !gone(err):
					errs = append(errs, fmt.Errorf("removing %s: %w", what, err))
				}
			})
		}
		all.Wait()
	}
	call, cancel = bounded(ctx)
	defer cancel()
	networks, err := e.NetworkList(call, client.NetworkListOptions{Filters: ours(domain, run)})
	if err != nil {
		return removed, errors.Join(append(errs, explain(call, err))...)
	}
	for _, n := range networks.Items {
		_, err := e.NetworkRemove(call, n.ID, client.NetworkRemoveOptions{})
		switch {
		case err == nil:
			removed = append(removed, fmt.Sprintf("network %.12s of run %s", n.ID, run))
		case !gone(err):
			errs = append(errs, fmt.Errorf("removing network %.12s: %w", n.ID, explain(call, err)))
		}
	}
	return removed, errors.Join(errs...)
}

// gone reports whether somebody else has removed a thing, or is about to.
func gone(err error) bool {
	return cerrdefs.IsNotFound(err) || strings.Contains(err.Error(), "already in progress")
}

// removeImages removes node images of the domain that are old and unused.
func (e *engine) removeImages(ctx context.Context, domain string) (removed []string, err error) {
	call, cancel := bounded(ctx)
	defer cancel()
	images, err := e.ImageList(call, client.ImageListOptions{
		Filters: make(client.Filters).Add("label", labelImage+"=1", labelOwner+"="+domain),
	})
	if err != nil {
		return nil, fmt.Errorf("looking for old images: %w", explain(call, err))
	}
	var errs []error
	for _, i := range images.Items {
		if time.Since(time.Unix(i.Created, 0)) < keepImages {
			continue
		}
		_, err := e.ImageRemove(call, i.ID, client.ImageRemoveOptions{PruneChildren: true})
		switch {
		case err == nil:
			removed = append(removed, "image "+strings.Join(i.RepoTags, ", "))
		case !gone(err) && !cerrdefs.IsConflict(err): // a conflict: some container uses it
			errs = append(errs, fmt.Errorf("removing image %.19s: %w", i.ID, explain(call, err)))
		}
	}
	return removed, errors.Join(errs...)
}
