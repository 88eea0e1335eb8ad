package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// loaded is a run at 5,000 records a second with a fault now and then: its seconds, and the records of one request.
const loaded = `name: loaded
nodes: 3
election_interval: 2s
session_timeout: 1s
duration: %ds
steady: 2
topics:
  - {name: orders, partitions: 6}
  - {name: payments, partitions: 6}
workloads:
  produce: {rate: 5000, producers: 4, batch: %d, value_bytes: 256}
  metadata: {rate: 12, clients: 6, names: 4}
  consume: {readers: 2}
mix: {period: 5 intervals, quiet: 4, most: 1, kinds: [kill, partition, pause]}
`

// clockTicks are the units of /proc/PID/stat: 100 a second on every Linux that Go runs on.
const clockTicks = 100

// runner measures what share of a core the runner takes, its nodes not counted, from the run's tenth second to the end of its faults. What it takes goes
// with requests more than with records.
func runner(t table, soak, driver string, seconds int) error {
	for _, batch := range []int{5, 25} {
		if err := runnerOf(t, soak, driver, seconds, batch); err != nil {
			return err
		}
	}
	return nil
}

func runnerOf(t table, soak, driver string, seconds, batch int) error {
	dir, err := os.MkdirTemp("", "soak-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "loaded.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, loaded, seconds, batch), 0o600); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(seconds)*time.Second+2*patience)
	defer cancel()
	soak, err = filepath.Abs(soak)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, soak, "run", file, "--driver", driver, "--seed", "1", "--out", dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	share, peak, sampleErr := sample(cmd.Process.Pid, began, 10*time.Second, time.Duration(seconds-5)*time.Second)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("soak run: %w; it said:\n%s", err, out.Bytes())
	}
	if sampleErr != nil {
		return sampleErr
	}
	what := fmt.Sprintf("the runner at 5,000 records a second, batches of %d: ", batch)
	t.add(what+"of a core", share*100, "%", 0)
	t.add(what+"resident", peak, "MB", 0)
	return nil
}

// sample gives the processor time of a process over the time between two instants after its start, and its resident memory at the end.
func sample(pid int, began time.Time, from, to time.Duration) (share, megabytes float64, err error) {
	time.Sleep(time.Until(began.Add(from)))
	first, _, err := usage(pid)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	time.Sleep(time.Until(began.Add(to)))
	last, pages, err := usage(pid)
	if err != nil {
		return 0, 0, err
	}
	return (last - first) / time.Since(start).Seconds(), pages * float64(os.Getpagesize()) / 1e6, nil
}

// usage reads the processor seconds and the resident pages of a process, its children not counted (proc_pid_stat(5)).
func usage(pid int) (seconds, pages float64, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("what the runner takes: %w (only Linux tells)", err)
	}
	_, after, _ := strings.Cut(string(stat), ") ") // the name may hold blanks
	fields := strings.Fields(after)
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	var errs []error
	number := func(nth int) float64 { // as proc_pid_stat counts, where the state is the third
		v, err := strconv.ParseFloat(fields[nth-3], 64)
		errs = append(errs, err)
		return v
	}
	return (number(14) + number(15)) / clockTicks, number(24), errors.Join(errs...)
}
