// Package e2e holds the tests that start real clusters, one after the other: a cut-down clean run, the story's bugs and a runner that is killed, on
// each driver. They build the soak binary once and use it as a person would. Without a Docker engine the docker half is
// skipped, unless CI=true, where it fails.
package e2e
