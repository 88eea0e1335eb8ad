package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tclog "github.com/testcontainers/testcontainers-go/log"
)

const (
	// answerTime is how long an engine may take to answer before the driver counts as not available, where nobody has asked for it by name.
	answerTime = 2 * time.Second

	// callTime bounds each call that an engine answers at once when it is well.
	callTime = 15 * time.Second
)

// ErrUnavailable is wrapped by errors that say that no usable engine is there.
var ErrUnavailable = errors.New("no usable Docker engine")

// engine is a connection to a Docker engine.
type engine struct {
	*testcontainers.DockerClient
	version string
	api     string
	arch    string // as GOARCH says it
}

// Info is what an engine says of itself.
type Info struct {
	Version, API, Arch, Host string
}

// Available reports whether an engine on this machine answers within two seconds, or within ctx's own time where that is bounded: nil, or an
// error that names the engine and what is wrong with it.
func Available(ctx context.Context) error {
	_, err := Engine(ctx)
	return err
}

// Engine asks the engine what it is, with the errors of Available.
func Engine(ctx context.Context) (Info, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, answerTime)
		defer cancel()
	}
	e, err := connect(ctx)
	if err != nil {
		return Info{}, err
	}
	defer e.Close()
	return Info{Version: e.version, API: e.api, Arch: e.arch, Host: e.DaemonHost()}, nil
}

// connect finds the engine as testcontainers does: DOCKER_HOST, the docker context, the usual sockets.
func connect(ctx context.Context) (*engine, error) {
	configure("")
	type answer struct {
		e   *engine
		err error
	}
	done := make(chan answer, 1)
	go func() { // parts of the search take no context
		var a answer
		defer func() {
			if r := recover(); r != nil { // testcontainers panics where the engine falls silent in the middle of the search
				a.err = fmt.Errorf("looking for the engine: %v", r)
			}
			done <- a
		}()
		a.e, a.err = find(ctx)
	}()
	select {
	case a := <-done:
		if a.err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, a.err)
		}
		return a.e, nil
	case <-ctx.Done():
		go func() {
			if a := <-done; a.e != nil {
				a.e.Close()
			}
		}()
		return nil, fmt.Errorf("%w: it has not answered in time: %w", ErrUnavailable, ctx.Err())
	}
}

func find(ctx context.Context) (*engine, error) {
	c, err := testcontainers.NewDockerClientWithOpts(ctx)
	if err != nil {
		return nil, err
	}
	if err := local(c.DaemonHost()); err != nil {
		c.Close()
		return nil, err
	}
	v, err := c.ServerVersion(ctx, client.ServerVersionOptions{})
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("asking %s for its version: %w", c.DaemonHost(), err)
	}
	if v.Os != "linux" {
		c.Close()
		return nil, fmt.Errorf("%s runs %s containers, want linux", c.DaemonHost(), v.Os)
	}
	return &engine{DockerClient: c, version: v.Version, api: v.APIVersion, arch: v.Arch}, nil
}

// local refuses an engine on another machine: it publishes ports there, and clients dial loopback only.
func local(host string) error {
	u, err := url.Parse(host)
	if err != nil {
		return fmt.Errorf("reading the engine's address %q: %w", host, err)
	}
	switch u.Scheme {
	case "unix", "npipe", "fd":
		return nil
	case "tcp", "http", "https":
		if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
			return nil
		}
	}
	return fmt.Errorf("the engine at %s is not on this machine: its published ports cannot be dialled on loopback (use --driver process, or point DOCKER_HOST at a local engine)", host)
}

// configure sets what testcontainers reads from the environment, once a process, before it first does. A setting of the
// user's own stands.
func configure(session string) {
	set := func(name, value string) {
		if _, there := os.LookupEnv(name); !there && value != "" {
			os.Setenv(name, value) // fails for impossible names only
		}
	}
	set("TESTCONTAINERS_RYUK_DISABLED", "true")
	set("TESTCONTAINERS_DOCKER_SOCKET_OVERRIDE", "/var/run/docker.sock") // for its reaper only, which we do not use; it asks the engine twice for it otherwise
	set("TESTCONTAINERS_SESSION_ID", session)
	tclog.SetDefault(tclog.NewNoopLogger()) // it greets on standard error otherwise
}

// bounded gives a context for one call to the engine.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callTime, errSilent)
}

var errSilent = fmt.Errorf("the Docker engine has not answered within %v", callTime)

// explain puts what a call's context knows into its error: that the engine fell silent, or is gone.
func explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), errSilent):
		return errSilent
	case client.IsErrConnectionFailed(err), strings.Contains(err.Error(), "connection refused"):
		return fmt.Errorf("the Docker engine is gone: %w", err)
	}
	return err
}
